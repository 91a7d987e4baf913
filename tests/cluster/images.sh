#!/usr/bin/env bash
# Builds the images of the test cluster, each anew only when what it is made of has changed.
#
#   images.sh             all
#   images.sh NAME...     single ones: pause drctl mysql mariadb nginx
#
# No registry is needed: all stand on one base that mmdebstrap makes. They are kept as archives in $LAB/images;
# one that is new is given to the cluster, if one runs. Prints nothing when there is nothing to do.
set -euo pipefail
# shellcheck source=tests/cluster/lib.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/lib.sh"

BASE_SUITE=trixie
BASE_IMAGE=localhost/debian:$BASE_SUITE
DOCKERFILE=$HERE/../../Dockerfile

builder() { buildah --root "$IMAGES/storage" --runroot "$IMAGES/run" --storage-driver overlay "$@"; }

# What it is made of decides whether a step is done again.
is_made() { [ "$(cat "$IMAGES/$1.version" 2>/dev/null)" = "$2" ] && [ -e "$IMAGES/$1.tar" ]; }

tag() {
    case $1 in
    pause) echo localhost/pause:1 ;;
    drctl) echo localhost/drctl:dev ;;
    mysql) echo localhost/mysql:9.7 ;;
    mariadb) echo localhost/mariadb:11.8 ;;
    nginx) echo localhost/nginx:test ;;
    *) fail "no image is named $1" ;;
    esac
}

base() {
    local version="$BASE_SUITE ${DRCTL_DEBIAN_MIRROR:-} 1"
    is_made base "$version" && return
    say "making the base of the images, $BASE_SUITE"
    rm -f "$IMAGES/base.version"
    mmdebstrap --quiet --variant=minbase --include=ca-certificates,tzdata \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='APT::Install-Recommends "false"' \
        "$BASE_SUITE" "$IMAGES/base.tar" ${DRCTL_DEBIAN_MIRROR:+"$DRCTL_DEBIAN_MIRROR"} 2>"$IMAGES/base.log" ||
        fail "mmdebstrap failed: $(tail -n 3 "$IMAGES/base.log" | tr '\n' ' ')"
    commit_from_scratch "$IMAGES/base.tar" / "$BASE_IMAGE"
    echo "$version" >"$IMAGES/base.version"
}

commit_from_scratch() {
    local content=$1 place=$2 name=$3 container
    shift 3
    container=$(builder from scratch)
    builder add --quiet "$container" "$content" "$place" >/dev/null
    [ $# -eq 0 ] || builder config "$@" "$container"
    builder commit --quiet --rm "$container" "$name" >/dev/null
}

build() {
    local name=$1 context=$IMAGES/context.$1 version
    rm -rf "$context"
    mkdir -p "$context"
    case $name in
    pause) cp "$LAB/bin/pause" "$context" ;;
    drctl) cp "$DOCKERFILE" "${DRCTL_BINARY:-${CARGO_TARGET_DIR:-$LAB/target}/release/drctl}" "$context" ;;
    *) cp "$HERE/images/$name"/* "$HERE/images/entrypoint.sh" "$context" ;;
    esac
    version=$(cd "$context" && sha256sum ./* && cat "$IMAGES/base.version")
    if ! is_made "$name" "$version"; then
        say "[$number/$all] building $(tag "$name")"
        rm -f "$IMAGES/$name.version"
        case $name in
        pause) commit_from_scratch "$context/pause" /pause "$(tag pause)" --entrypoint '["/pause"]' ;;
        drctl) dockerfile drctl --build-arg BINARY=drctl \
            --build-arg REVISION="$(git -C "$HERE" rev-parse --short HEAD 2>/dev/null || echo unknown)" ;;
        *) dockerfile "$name" ;;
        esac
        rm -f "$IMAGES/$name.tar.new"
        builder push --quiet "$(tag "$name")" "docker-archive:$IMAGES/$name.tar.new:$(tag "$name")"
        mv "$IMAGES/$name.tar.new" "$IMAGES/$name.tar"
        [ "$name" != drctl ] || bill_of_materials
        echo "$version" >"$IMAGES/$name.version"
        if node_pid >/dev/null; then "$HERE/ctl.sh" load "$name"; fi
    fi
    rm -rf "$context"
}

dockerfile() {
    local name=$1 context=$IMAGES/context.$1
    shift
    BUILDAH_ISOLATION=chroot builder bud --quiet --layers --network host --build-arg BASE="$BASE_IMAGE" "$@" \
        --tag "$(tag "$name")" "$context" >"$IMAGES/$name.log" 2>&1 ||
        fail "building $name failed: $(tail -n 5 "$IMAGES/$name.log")"
}

bill_of_materials() {
    local container
    container=$(builder from --quiet "$(tag drctl)")
    "$HERE/sbom.sh" "$(builder mount "$container")" >"$IMAGES/drctl.cdx.json"
    builder rm "$container" >/dev/null
}

needs packages kubernetes node
mkdir -p "$IMAGES"
exec 8>"$IMAGES/.lock"
flock 8
[ $# -gt 0 ] || set -- pause drctl mysql mariadb nginx
base
number=0 all=$#
for name in "$@"; do
    number=$((number + 1))
    build "$name"
done
