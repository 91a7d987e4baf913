#!/usr/bin/env bash
# The node: the first process in namespaces of its own (mounts, processes, network, host name).
#
# It starts the cluster's programs and starts anew what ends, unless ctl.sh has stopped it. When it is
# killed, the kernel ends every process of the cluster, and with them go their mounts, links and
# firewall rules.
set -euo pipefail
# shellcheck source=tests/cluster/lib.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/lib.sh"
# Before /proc becomes that of the namespace: the number of this process on the machine.
read -r pid _ </proc/self/stat
echo "$pid" >"$STATE/node.pid.new"
mv "$STATE/node.pid.new" "$STATE/node.pid"

mount --make-rprivate /
mount -t proc proc /proc
mount --make-rshared /
hostname "drctl-$N"
# What the programs write at fixed places stays within this mount namespace.
for directory in /run/containerd /run/netns /var/lib/cni /var/log/containers; do
    mount -t tmpfs tmpfs "$directory"
done
for directory in /var/lib/kubelet /var/log/pods; do
    mount --bind "$STATE/${directory##*/}" "$directory"
done
ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward

# Its link to this machine is made from outside.
until ip link show eth0 >/dev/null 2>&1; do sleep 0.05; done
ip addr add "$NODE_IP/24" dev eth0
ip link set eth0 up
ip route add default via "$HOST_IP"

# The first packet of each connection of a pod waits for the verdict of `policies`: what passes through the node, and
# what a pod sends to the node itself (names, the API server). Nobody there to judge it: dropped, as a policy that is
# not enforced is none. The node's own packets, such as probes, are always let through. In a table of its own, before
# what kube-proxy accepts.
iptables -t mangle -A FORWARD -m conntrack --ctstate NEW -j NFQUEUE --queue-num 100
iptables -t mangle -A INPUT -s "$PODS" -m conntrack --ctstate NEW -j NFQUEUE --queue-num 100

supervise() {
    local name=$1
    shift
    while :; do
        while [ -e "$STATE/stopped/$name" ]; do sleep 0.1; done
        "$@" >>"$STATE/log/$name" 2>&1 &
        echo $! >"$STATE/pid/$name"
        wait $! || true
        rm -f "$STATE/pid/$name"
        sleep 0.3
    done
}

# shellcheck source=tests/cluster/components.sh
source "$HERE/components.sh"
for component in "${COMPONENTS[@]}"; do
    supervise "$component" "run_$component" &
done
wait
