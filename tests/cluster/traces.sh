# shellcheck shell=bash
# What a cluster leaves on the machine outside of its namespaces and its directory: made here, taken
# back here. Read by up.sh and down.sh.

# Places that have to exist to be mounted on. Nothing of the cluster is ever written into them.
MOUNT_POINTS=(/run/containerd /run/netns /var/lib/cni /var/log/containers /var/lib/kubelet /var/log/pods)
# What kubelet sets for the whole machine.
SYSCTLS=(vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops
    kernel/keys/root_maxkeys kernel/keys/root_maxbytes)

cgroup_mounts() { awk '$3 == "cgroup" || $3 == "cgroup2" { print $2 }' /proc/mounts; }

make_traces() {
    local directory key
    for directory in "${MOUNT_POINTS[@]}"; do
        [ -d "$directory" ] || { mkdir -p "$directory"; echo "$directory" >>"$STATE/made"; }
    done
    for key in "${SYSCTLS[@]}"; do
        echo "$key $(cat "/proc/sys/$key")" >>"$STATE/sysctls"
    done
    for directory in $(cgroup_mounts); do
        mkdir -p "$directory/$CGROUP" 2>/dev/null || true
        # A new cpuset has no processors; its children would have none either.
        for key in cpuset.cpus cpuset.mems; do
            [ ! -e "$directory/$CGROUP/$key" ] || cat "$directory/$key" >"$directory/$CGROUP/$key" 2>/dev/null || true
        done
    done
}

take_back_traces() {
    local directory key value
    ip link del "$LINK" 2>/dev/null || true
    for directory in $(cgroup_mounts); do
        [ -d "$directory/$CGROUP" ] || continue
        find "$directory/$CGROUP" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done
    while read -r directory; do
        rmdir --ignore-fail-on-non-empty "$directory" 2>/dev/null || true
    done < <(cat "$STATE/made" 2>/dev/null || true)
    while read -r key value; do
        echo "$value" >"/proc/sys/$key" || true
    done < <(cat "$STATE/sysctls" 2>/dev/null || true)
}
