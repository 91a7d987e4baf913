# shellcheck shell=bash
# The pieces of the lab that Kubernetes needs; ../lab/setup.sh reads this file and runs them.

CYCLONUS=v0.5.6

# What the chart is checked with: helm, helm-unittest and kubeconform, of the versions in chart-tools/go.mod.
piece_chart() { go_module chart-tools tool helm helm-unittest kubeconform; }

# Answers which traffic NetworkPolicies allow.
piece_cyclonus() { go_tool cyclonus github.com/mattfenwick/cyclonus/cmd/cyclonus "$CYCLONUS"; }

# Programs of one of our own modules, by what its go.sum pins: module, packages, names of the programs.
go_module() {
    local source packages=$2 name version new="$LAB/new.$1" stamp="$LAB/bin/$1.version"
    source="$(dirname "$SELF")/../cluster/$1"
    version=$(find "$source" -maxdepth 1 -name 'go.*' -o -maxdepth 1 -name '*.go' | sort | xargs cat | sha256sum)
    [ "$(cat "$stamp" 2>/dev/null)" = "$version" ] && return
    command -v go >/dev/null || fail "no Go toolchain on the PATH to build $1 with"
    say "building $1 (some minutes, once)"
    rm -rf "$new" "$stamp"
    mkdir -p "$new" "$LAB/bin"
    (cd "$source" && CGO_ENABLED=0 go build -trimpath -ldflags "-s -w ${LDFLAGS:-}" -o "$new/" "$packages")
    for name in "${@:3}"; do
        [ -x "$new/$name" ] || fail "building $1 made no $name"
    done
    mv "$new"/* "$LAB/bin"
    echo "$version" >"$stamp"
    rm -rf "$new"
}
