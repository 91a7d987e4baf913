# shellcheck shell=bash
# shellcheck disable=SC2034  # used by those who read it
# Where the test cluster stands and how it is entered. Read by up.sh, down.sh and ctl.sh, and by
# what runs inside of the node.
#
# DRCTL_CLUSTER, a digit, keeps clusters apart: 0 is the one for every day, tests can have their own.

N=${DRCTL_CLUSTER:-0}
[[ $N =~ ^[0-9]$ ]] || { echo "DRCTL_CLUSTER is $N, not a digit" >&2; exit 2; }
LAB=${DRCTL_LAB:-$HOME/.cache/drctl}
HERE=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
STATE=$LAB/cluster/$N
IMAGES=$LAB/images

# The node's address is seen from this machine as well, and so are pods and services.
NODE_IP=10.101.$N.1
HOST_IP=10.101.$N.254
PODS=10.102.$N.0/24
SERVICES=10.103.$N.0/24
API_IP=10.103.$N.1
DNS_IP=10.103.$N.10
LINK=drctl$N
CGROUP=drctl-cluster-$N
export PATH=$LAB/bin:$LAB/node/usr/bin:$PATH:/usr/sbin:/sbin KUBECONFIG=$STATE/admin.kubeconfig

# In the order in which they start.
COMPONENTS=(etcd kube-apiserver kube-controller-manager kube-scheduler containerd storage kubelet
    kube-proxy coredns policies)

say() { printf 'cluster: %s\n' "$*"; }
fail() { printf 'cluster: %s\n' "$*" >&2; exit 1; }

# Every node on this machine, of any cluster; in a backslash this pattern differs from itself.
all_nodes() { grep -lzE '/tests/cluster/node\.sh$' /proc/[0-9]*/cmdline 2>/dev/null | cut -d/ -f3 || true; }

# The processes of this cluster's node, also of one that its directory has forgotten.
node_processes() {
    local pid
    for pid in $(all_nodes); do
        if grep -qzFx "$STATE" "/proc/$pid/cmdline" 2>/dev/null; then echo "$pid"; fi
    done
}

# The node, the first process of a PID namespace. A number alone may by now be another process's.
node_pid() {
    local pid
    pid=$(cat "$STATE/node.pid" 2>/dev/null) || return 1
    grep -qzFx "$STATE" "/proc/$pid/cmdline" 2>/dev/null || return 1
    echo "$pid"
}

# Pieces of the lab that the script cannot do without: it gets them, and ends here where one cannot be had.
needs() { "$HERE/../lab/setup.sh" --needed "$@" || fail "the lab has not all that it takes: $*"; }

# Whether somebody judges the packets that node.sh queues.
policies_listen() { in_node grep -q '^ *100 ' /proc/net/netfilter/nfnetlink_queue; }

in_node() {
    local pid
    pid=$(node_pid) || fail "no cluster runs here: make cluster"
    nsenter --target "$pid" --mount --uts --net --pid -- "$@"
}
