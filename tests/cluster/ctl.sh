#!/usr/bin/env bash
# A hand on the running cluster.
#
#   ctl.sh status                which programs run
#   ctl.sh restart PROGRAM       kill -9 and start again, and wait until it answers
#   ctl.sh stop|start PROGRAM    for as long as you like
#   ctl.sh pressure on|off       the node is short of memory, as its kubelet sees it, and evicts
#   ctl.sh logs PROGRAM          what it wrote
#   ctl.sh load [IMAGE...]       give it images of images.sh (all of them)
#   ctl.sh in COMMAND...         run something in the node's namespaces
#
# Programs: etcd kube-apiserver kube-controller-manager kube-scheduler containerd storage kubelet kube-proxy coredns
# policies
set -euo pipefail
# shellcheck source=tests/cluster/lib.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/lib.sh"

program() {
    [[ " ${COMPONENTS[*]} " == *" ${1:-} "* ]] || fail "no program is named ${1:-}; there are ${COMPONENTS[*]}"
}

end() {
    local pid
    pid=$(cat "$STATE/pid/$1" 2>/dev/null) || return 0
    in_node kill -KILL "$pid" 2>/dev/null || true
    # Its supervisor takes the file away, and may have begun the next one by now.
    while [ "$(cat "$STATE/pid/$1" 2>/dev/null)" = "$pid" ]; do sleep 0.05; done
}

wait_until_back() {
    local tries
    for tries in {1..300}; do
        if [ -e "$STATE/pid/$1" ] && kubectl get --raw /readyz --request-timeout 2s >/dev/null 2>&1 &&
            { [ "$1" != policies ] || policies_listen; }; then
            return
        fi
        sleep 0.1
    done
    fail "$1 is not back after ${tries} tries: see $STATE/log"
}

restart() {
    rm -f "$STATE/stopped/$1"
    end "$1"
    wait_until_back "$1"
}

# Nothing has to be used up for it: more has to be free than is. A hard limit would be taken from what the node has
# to give, and kubelet would turn its pods away as it starts.
pressure() {
    [[ ${1:-} =~ ^(on|off)$ ]] || fail "pressure is on or off"
    sed -i /^eviction[SM]/d "$STATE/kubelet.yaml"
    [ "$1" != on ] || cat >>"$STATE/kubelet.yaml" <<YAML
evictionSoft: {memory.available: 99%}
evictionSoftGracePeriod: {memory.available: 1s}
evictionMaxPodGracePeriod: 10
YAML
    restart kubelet
}

# A new image takes the name of the old one, of which containerd then deletes every layer that no other image has, also
# those that both have: `ctr images import` finds such a layer unpacked, and it is gone when the next one is to be put
# on it. So the old images have a second name while new ones are imported.
keep_images() {
    local image
    for image in $(in_node ctr --namespace k8s.io images list --quiet); do
        case $image in
        localhost/kept/*) ;;
        localhost/*)
            in_node ctr --namespace k8s.io images tag --force "$image" "localhost/kept/${image#localhost/}" >/dev/null
            ;;
        esac
    done
}

forget_kept_images() {
    local image
    for image in $(in_node ctr --namespace k8s.io images list --quiet); do
        case $image in
        localhost/kept/*) in_node ctr --namespace k8s.io images remove "$image" >/dev/null ;;
        esac
    done
}

load() {
    local name loading=()
    [ $# -gt 0 ] || set -- pause drctl mysql mariadb nginx
    keep_images
    for name in "$@"; do
        [ -e "$IMAGES/$name.tar" ] || fail "no image $name: tests/cluster/images.sh $name"
        cmp -s "$IMAGES/$name.version" "$STATE/containerd/$name.version" && continue
        in_node ctr --namespace k8s.io images import "$IMAGES/$name.tar" >/dev/null &&
            cp "$IMAGES/$name.version" "$STATE/containerd" &
        loading+=($!)
    done
    for name in "${loading[@]}"; do
        wait "$name" || fail "an image could not be loaded"
    done
    forget_kept_images
}

verb=${1:-help}
[ $# -eq 0 ] || shift
case $verb in
status)
    for name in "${COMPONENTS[@]}"; do
        state=runs
        [ -e "$STATE/pid/$name" ] || state=down
        printf '%-24s %s\n' "$name" "$state"
    done
    ;;
restart) program "${1:-}"; restart "$1" ;;
stop) program "${1:-}"; touch "$STATE/stopped/$1"; end "$1" ;;
start) program "${1:-}"; rm -f "$STATE/stopped/$1"; wait_until_back "$1" ;;
pressure) pressure "${1:-}" ;;
logs) program "${1:-}"; cat "$STATE/log/$1" ;;
load) load "$@" ;;
in) in_node "$@" ;;
*) sed -n '2,/^set/{s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" ;;
esac
