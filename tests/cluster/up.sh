#!/usr/bin/env bash
# Starts a Kubernetes cluster of one node on this machine; says so if it runs.
#
#   up.sh           use the one that runs, if it is whole
#   up.sh --fresh   begin from nothing
#
# It gets the programs that it needs; the images are there by `make cluster`. It needs root: see README.md.
set -euo pipefail
# shellcheck source=tests/cluster/lib.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/lib.sh"
# shellcheck source=tests/cluster/traces.sh
source "$HERE/traces.sh"
# shellcheck source=tests/cluster/config.sh
source "$HERE/config.sh"

next_steps() {
    cat <<TEXT

  export KUBECONFIG=$KUBECONFIG
  export PATH=$LAB/bin:\$PATH
  kubectl get pods -A
  NodePorts are on http://$NODE_IP:PORT; pods and services have routes from this machine.
  tests/cluster/ctl.sh help    programs, logs, images        make cluster-down    ends it
TEXT
}

# What a cluster is made of, so that one of yesterday's programs is not taken for today's.
stamp() { cat "$LAB/bin/kubernetes.version" "$HERE"/{node,components,config,lib}.sh | sha256sum; }

is_whole() {
    node_pid >/dev/null && [ "$(cat "$STATE/whole" 2>/dev/null)" = "$(stamp)" ] &&
        kubectl get --raw /readyz --request-timeout 3s >/dev/null 2>&1
}

wait_for() {
    local what=$1 tries=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || fail "$what: not within time; see $STATE/log"
        [ ! -e "$STATE/node.pid" ] || node_pid >/dev/null || fail "the node ended; see $STATE/log/node"
        sleep 0.2
    done
}

# The containers of the cluster before, of which containerd still knows; it has to be told from its beginning.
forget_containers() {
    local containers
    containers=$(in_node ctr --namespace k8s.io containers list --quiet)
    [ -n "$containers" ] || return 0
    # shellcheck disable=SC2086  # a word for each
    in_node ctr --namespace k8s.io containers delete $containers
    "$HERE/ctl.sh" stop containerd
    rm "$STATE/stopped/containerd"
    wait_for containerd 150 in_node ctr version
}

[ "$(id -u)" = 0 ] || fail "it takes root to run a node: sudo -E $0"
needs kubernetes node
mkdir -p "$LAB/cluster"
exec 7>"$LAB/cluster/.lock.$N"
flock 7

if [ "${1:-}" != --fresh ] && is_whole; then
    say "drctl-$N runs already"
    next_steps
    exit
fi
begin=$(date +%s)
"$HERE/down.sh" --quiet
mkdir -p "$STATE"/{log,pid,stopped,etcd,kubelet,pods,volumes}
if [ -d "$IMAGES/containerd.$N" ]; then mv "$IMAGES/containerd.$N" "$STATE/containerd"; else mkdir "$STATE/containerd"; fi
touch "$STATE/stopped/kubelet"
make_certificates
configure
make_traces

cd /
setsid unshare --mount --uts --net --pid --fork --kill-child "$HERE/node.sh" "$STATE" \
    </dev/null >>"$STATE/log/node" 2>&1 7>&- &
wait_for "the node" 50 test -s "$STATE/node.pid"
ip link add "$LINK" type veth peer name eth0 netns "$(node_pid)"
ip addr add "$HOST_IP/24" dev "$LINK"
ip link set "$LINK" up
ip route replace "$PODS" via "$NODE_IP"
ip route replace "$SERVICES" via "$NODE_IP"

say "drctl-$N: its programs start"
wait_for containerd 150 in_node ctr version
forget_containers
rm "$STATE/stopped/kubelet"
"$HERE/ctl.sh" load &
loading=$!
say "drctl-$N: images are loaded, the API server starts"
wait_for "the API server" 300 kubectl get --raw /readyz
wait_for "the default account" 150 kubectl get serviceaccount default
kubectl apply -f "$STATE/base.yaml" >/dev/null
wait_for "the node to be registered" 300 kubectl get node "drctl-$N"
kubectl wait --for condition=Ready --timeout 60s "node/drctl-$N" >/dev/null
wait_for "the engine of policies" 150 policies_listen
wait $loading || fail "the images could not be loaded"
stamp >"$STATE/whole"
say "drctl-$N is ready after $(($(date +%s) - begin)) s"
next_steps
