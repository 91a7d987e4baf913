#!/usr/bin/env bash
# Ends the cluster and leaves nothing of it: also what a run that was killed has left.
set -euo pipefail
# shellcheck source=tests/cluster/lib.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/lib.sh"
# shellcheck source=tests/cluster/traces.sh
source "$HERE/traces.sh"

[ -d "$STATE" ] || [ -n "$(node_processes)" ] || { [ "${1:-}" = --quiet ] || say "no drctl-$N runs"; exit 0; }
# The kernel ends everything in the node's PID namespace, then its mounts and its network.
for _ in {1..150}; do
    processes=$(node_processes)
    [ -n "$processes" ] || break
    # shellcheck disable=SC2086  # a word for each
    kill -KILL $processes 2>/dev/null || true
    sleep 0.1
done
[ -z "$processes" ] || fail "these do not end: ${processes//$'\n'/ }"
take_back_traces
# The images that it has unpacked are the next one's.
if [ -d "$STATE/containerd" ]; then
    rm -rf "$IMAGES/containerd.$N"
    mv "$STATE/containerd" "$IMAGES/containerd.$N"
fi
rm -rf "$STATE"
[ "${1:-}" = --quiet ] || say "drctl-$N is gone"
