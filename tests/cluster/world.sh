#!/usr/bin/env bash
# An outside of the cluster: addresses that are neither a pod's nor the node's, in a network namespace of their own
# behind the node. Whoever connects to one of its ports is let in, if the node lets it through.
#
#   world.sh begin "ADDRESS..." "PORT..."     makes it, with these
#   world.sh try                              reads lines `NAME FROM TO PORT`, tries all at once from its address FROM,
#                                             and says for each `NAME open|silent|refused`
#   world.sh end
set -euo pipefail
# shellcheck source=tests/cluster/lib.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/lib.sh"
LINK_IN_NODE=world

begin() {
    local address port
    in_node ip netns add world
    in_node ip link add $LINK_IN_NODE type veth peer name eth0 netns world
    in_node ip link set $LINK_IN_NODE up
    in_node ip -n world link set lo up
    in_node ip -n world link set eth0 up
    in_node ip -n world route add "$NODE_IP" dev eth0
    for address in $1; do
        in_node ip -n world addr add "$address/32" dev eth0
        in_node ip route add "$address/32" dev $LINK_IN_NODE
    done
    in_node ip -n world route add default via "$NODE_IP" dev eth0
    for port in $2; do
        in_node setsid ip netns exec world socat "TCP-LISTEN:$port,fork,reuseaddr" "OPEN:/dev/null" \
            </dev/null >/dev/null 2>&1 &
    done
    for port in $2; do
        for _ in {1..50}; do
            ! in_node ip netns exec world socat -u OPEN:/dev/null "TCP:127.0.0.1:$port" 2>/dev/null || break
            sleep 0.1
        done
    done
}

try() {
    local name from to port trying=()
    while read -r name from to port; do
        (
            status=0
            in_node ip netns exec world timeout 4 socat -u OPEN:/dev/null "TCP:$to:$port,bind=$from" \
                2>/dev/null || status=$?
            case $status in
            0) echo "$name open" ;;
            124) echo "$name silent" ;;
            *) echo "$name refused" ;;
            esac
        ) &
        trying+=($!)
    done
    for name in "${trying[@]}"; do wait "$name"; done
}

end() {
    local processes
    processes=$(in_node ip netns pids world 2>/dev/null) || return 0
    # shellcheck disable=SC2086  # a word for each
    [ -z "$processes" ] || in_node kill -KILL $processes
    in_node ip link del $LINK_IN_NODE 2>/dev/null || true
    in_node ip netns del world
}

case ${1:-} in
begin) end; begin "$2" "$3" ;;
try) try ;;
end) end ;;
*) fail "world.sh begin, try or end" ;;
esac
