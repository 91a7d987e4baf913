#!/usr/bin/env bash
# Writes what drctl's image is made of, as CycloneDX 1.5: its Debian packages, those of which it has a
# program or two, and the crates that the binary is linked from.
#
#   sbom.sh ROOT    where the image's file system is mounted
set -euo pipefail
root=$1
top=$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../..

# Every paragraph that names a package, as a line.
packages() {
    local file
    for file in "$root"/var/lib/dpkg/status "$root"/var/lib/dpkg/status.d/*; do
        cat "$file"
        echo
    done | awk '
        /^Package: / { name = $2 }
        /^Version: / { version = $2 }
        /^Architecture: / { architecture = $2 }
        /^$/ && name { print "deb|" name "|" version "|" architecture; name = "" }'
}

crates() {
    cargo tree --quiet --locked --manifest-path "$top/Cargo.toml" -e normal --target "$(uname -m)-unknown-linux-gnu" \
        --prefix none --format '{p}|{l}' | sed -E 's/ \(\*\)$//; s/ \([^)|]*\)//' | sort -u |
        awk -F'[ |]' '{ licence = $0; sub(/^[^|]*\|/, "", licence); print "cargo|" $1 "|" substr($2, 2) "|" licence }'
}

{ packages; crates; } | jq -R -n '{bomFormat: "CycloneDX", specVersion: "1.5", version: 1,
    metadata: {component: {type: "container", name: "drctl"}},
    components: [inputs | split("|") | {type: "library", name: .[1], version: .[2]} +
        if .[0] == "deb"
        then {purl: "pkg:deb/debian/\(.[1])@\(.[2] | @uri)?arch=\(.[3])"}
        else {purl: "pkg:cargo/\(.[1])@\(.[2])", licenses: [{expression: .[3]}]} end]}'
