//! Disk space and memory of this machine for a scratch server.

use std::path::Path;

use crate::archive::manifest::Manifest;
use crate::util::error::{Error, Result};
use crate::util::format;

/// Fails if the free disk space is less than data and indexes plus as much again for building keys.
pub fn need_space(parent: &Path, manifest: &Manifest) -> Result<()> {
    const EMPTY_SERVER_BYTES: u64 = 300 << 20;
    let Ok(space) = rustix::fs::statvfs(parent) else {
        return Ok(());
    };
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let data = manifest.server.bytes.max(manifest.totals.raw_bytes);
    let needed = data
        .saturating_add(data / 2)
        .saturating_add(EMPTY_SERVER_BYTES);
    if free >= needed {
        return Ok(());
    }
    Err(Error::server(format!(
        "{} has {} free, but a scratch server of this backup needs about {}",
        parent.display(),
        format::bytes(free),
        format::bytes(needed)
    ))
    .hint("free disk space, or set verify.scratch_dir to another directory"))
}

/// Available memory in bytes: that of the machine, within the container's limit.
pub fn available_memory() -> u64 {
    const UNKNOWN: u64 = 1 << 30;
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/meminfo");
    let machine = info
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok())
        .map_or(UNKNOWN, |kib| kib << 10);
    let limit = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ]
    .iter()
    .find_map(|path| read(path).trim().parse::<u64>().ok());
    machine.min(limit.unwrap_or(u64::MAX))
}
