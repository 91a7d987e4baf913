# shellcheck shell=bash
# What a cluster leaves on the machine outside of its namespaces and its directory: made here, taken
# back here. Read by up.sh and down.sh.

# Places that have to exist to be mounted on. Nothing of the cluster is ever written into them.
MOUNT_POINTS=(/run/containerd /run/netns /var/lib/cni /var/log/containers /var/lib/kubelet /var/log/pods)
# What kubelet sets for the whole machine.
SYSCTLS=(vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops
    kernel/keys/root_maxkeys kernel/keys/root_maxbytes)

cgroup_mounts() { awk '$3 == "cgroup" || $3 == "cgroup2" { print $2 }' /proc/mounts; }

# The first cluster notes how the machine was, the last one makes it so again.
MACHINE=/run/drctl-cluster

make_traces() {
    local directory key
    if mkdir "$MACHINE" 2>/dev/null; then
        for key in "${SYSCTLS[@]}"; do
            echo "$key $(cat "/proc/sys/$key")" >>"$MACHINE/sysctls"
        done
    fi
    for directory in "${MOUNT_POINTS[@]}"; do
        [ -d "$directory" ] || { mkdir -p "$directory"; echo "$directory" >>"$MACHINE/made"; }
    done
    for directory in $(cgroup_mounts); do
        mkdir -p "$directory/$CGROUP" 2>/dev/null || true
    done
}

take_back_traces() {
    local directory key value
    ip link del "$LINK" 2>/dev/null || true
    for directory in $(cgroup_mounts); do
        [ -d "$directory/$CGROUP" ] || continue
        find "$directory/$CGROUP" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done
    # Taking away a mount point would unmount what another node has there.
    [ -d "$MACHINE" ] && [ -z "$(all_nodes)" ] || return 0
    for directory in $(cat "$MACHINE/made" 2>/dev/null || true); do
        rmdir --ignore-fail-on-non-empty "$directory" 2>/dev/null || true
    done
    while read -r key value; do
        echo "$value" >"/proc/sys/$key" || true
    done <"$MACHINE/sysctls"
    rm -rf "$MACHINE"
}
