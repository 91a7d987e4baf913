# shellcheck shell=bash
# The pieces of the lab that Kubernetes needs; ../lab/setup.sh reads this file and runs them.

CYCLONUS=v0.5.6

# What the chart is checked with: helm, helm-unittest and kubeconform, of the versions in chart-tools/go.mod.
piece_chart() { go_module chart-tools tool helm helm-unittest kubeconform; }

# Answers which traffic NetworkPolicies allow.
piece_cyclonus() { go_tool cyclonus github.com/mattfenwick/cyclonus/cmd/cyclonus "$CYCLONUS"; }

# Kubernetes as one program, with what enforces policies, and the names by which it is its parts. The version stands in go.mod.
piece_kubernetes() {
    local name version minor
    version=$(sed -n 's/^\tk8s.io\/kubernetes v//p' "$(dirname "$SELF")/../cluster/kubernetes/go.mod")
    minor=$(cut -d. -f2 <<<"$version")
    LDFLAGS="-X k8s.io/component-base/version.gitVersion=v$version
        -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=$minor" \
        go_module kubernetes ./... kubernetes pause
    for name in etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl coredns storage policies; do
        [ -L "$LAB/bin/$name" ] || ln -s kubernetes "$LAB/bin/$name"
    done
}

# What a node needs of the system. containerd is unpacked, not installed, so that no service starts.
piece_node() {
    local home="$LAB/node" new="$LAB/new.node"
    install_packages runc containernetworking-plugins iptables conntrack iproute2 socat openssl buildah
    [ -x "$home/usr/bin/containerd" ] && return
    say "unpacking containerd"
    rm -rf "$new"
    mkdir -p "$new"
    (cd "$new" && apt-get download -qq -o APT::Sandbox::User=root containerd)
    dpkg-deb --extract "$new"/containerd_*.deb "$new/root"
    "$new/root/usr/bin/containerd" --version >/dev/null || fail "containerd does not run here"
    rm -rf "$home"
    mv "$new/root" "$home"
    rm -rf "$new"
}

# Programs of one of our own modules, by what its go.sum pins: module, packages, names of the programs.
go_module() {
    local source packages=$2 name version new="$LAB/new.$1" stamp="$LAB/bin/$1.version"
    source="$(dirname "$SELF")/../cluster/$1"
    version=$(find "$source" -name 'go.*' -o -name '*.go' | sort | xargs cat | sha256sum)
    [ "$(cat "$stamp" 2>/dev/null)" = "$version" ] && return
    command -v go >/dev/null || fail "no Go toolchain on the PATH to build $1 with"
    say "building $1 (some minutes, once)"
    rm -rf "$new" "$stamp"
    mkdir -p "$new" "$LAB/bin"
    (cd "$source" && CGO_ENABLED=0 progress "$1" \
        go build -v -trimpath -ldflags "-s -w ${LDFLAGS:-}" -o "$new/" "$packages")
    for name in "${@:3}"; do
        [ -x "$new/$name" ] || fail "building $1 made no $name"
    done
    mv "$new"/* "$LAB/bin"
    echo "$version" >"$stamp"
    rm -rf "$new"
}
