//! Whether this machine has room for a scratch server: disk, and memory.

use std::path::Path;

use crate::archive::manifest::Manifest;
use crate::error::{Error, Result};
use crate::words;

/// Refuses to begin what cannot end well: data and indexes, and as much again for building keys.
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
        "{} has {} free, and a scratch server of this backup needs about {}",
        parent.display(),
        words::bytes(free),
        words::bytes(needed)
    ))
    .hint("make room, or name another directory in verify.scratch_dir"))
}

/// Memory that can be taken, bytes: what the machine has to spare, within the limit of the container.
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
