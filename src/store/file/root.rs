//! Whether the directory of a store is one: it carries drctl's mark. An unmounted disk leaves an
//! empty directory or none, and backups must neither go there nor be missed there.
//!
//! The mark is made by the first backup into an empty directory, or on demand. Stores made before
//! there was a mark are known by the targets that they hold, and get it with the next backup.

use std::fs;
use std::io;
use std::path::Path;

use super::{absent_as_none, create_directories};
use crate::store::{StoreError, keys};

/// The name of the mark.
pub(super) const MARK: &str = ".drctl-store";

/// What a file system puts into an empty directory.
pub(super) const LOST_AND_FOUND: &str = "lost+found";

/// What the mark says.
const TEXT: &str = "drctl keeps backups in this directory. Without this file it takes the disk for \
                    unmounted and does not use the directory.\n";

/// What a directory is to a store.
enum Found {
    /// It carries the mark.
    Marked,
    /// It holds targets, and no mark.
    Targets,
    /// It is not there.
    Missing,
    /// Nothing is in it.
    Empty,
    /// It holds something else.
    Foreign,
}

fn look(root: &Path) -> io::Result<Found> {
    if absent_as_none(fs::symlink_metadata(root.join(MARK)))?.is_some() {
        return Ok(Found::Marked);
    }
    let Some(entries) = absent_as_none(fs::read_dir(root))? else {
        return Ok(Found::Missing);
    };
    let mut empty = true;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name == LOST_AND_FOUND || name.starts_with(keys::TEMPORARY) {
            continue;
        }
        empty = false;
        if name.parse::<keys::TargetName>().is_ok() && is_target(&entry.path())? {
            return Ok(Found::Targets);
        }
    }
    Ok(match empty {
        true => Found::Empty,
        false => Found::Foreign,
    })
}

/// Whether a directory holds what a target owns: its identity, or a backup.
fn is_target(directory: &Path) -> io::Result<bool> {
    if absent_as_none(fs::metadata(directory.join("target.json")))?.is_some() {
        return Ok(true);
    }
    let Some(entries) = absent_as_none(fs::read_dir(directory))? else {
        return Ok(false);
    };
    for entry in entries {
        let name = entry?.file_name();
        if name
            .to_str()
            .is_some_and(|name| name.parse::<keys::BackupId>().is_ok())
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Refuses what is no store.
pub(super) fn check(root: &Path) -> io::Result<Result<(), StoreError>> {
    Ok(match look(root)? {
        Found::Marked | Found::Targets => Ok(()),
        other => Err(refusal(root, &other)),
    })
}

/// Marks an empty directory, and one that holds targets; by force any, and one to be made.
pub(super) fn init(root: &Path, force: bool) -> io::Result<Result<(), StoreError>> {
    match look(root)? {
        Found::Marked => return Ok(Ok(())),
        Found::Targets => {}
        Found::Empty if force || !is_unmounted(root) => {}
        Found::Missing | Found::Foreign | Found::Empty if force => {}
        other => return Ok(Err(refusal(root, &other))),
    }
    if force {
        create_directories(root, Path::new("/"))?;
    }
    super::write_file(root, &root.join(MARK), TEXT.as_bytes())?;
    Ok(Ok(()))
}

fn refusal(root: &Path, found: &Found) -> StoreError {
    let why = match found {
        Found::Missing => "there is no such directory",
        Found::Empty if is_unmounted(root) => "the disk of /etc/fstab for it is not mounted",
        Found::Empty => "it is empty and has no mark of drctl's: no backup was made there",
        _ => "it has no mark of drctl's and holds something else",
    };
    StoreError::NotAStore {
        place: root.display().to_string(),
        why: why.into(),
        empty: matches!(found, Found::Empty) && !is_unmounted(root),
    }
}

/// Whether a disk is to be mounted there, or above, and is not.
fn is_unmounted(root: &Path) -> bool {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    lacks_mount(&root, &read("/etc/fstab"), &read("/proc/self/mounts"))
}

/// By the texts of `/etc/fstab` and of the mounts.
fn lacks_mount(root: &Path, fstab: &str, mounts: &str) -> bool {
    let points = |text: &str| -> Vec<String> {
        let lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.starts_with('#'));
        let points = lines.filter_map(|line| line.split_whitespace().nth(1));
        points
            .map(|point| point.replace("\\040", " ").replace("\\011", "\t"))
            .filter(|point| point.starts_with('/') && point != "/")
            .collect()
    };
    let mounted = points(mounts);
    points(fstab)
        .iter()
        .any(|point| root.starts_with(point) && !mounted.contains(point))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_of_fstab_that_is_not_mounted_is_noticed() {
        let fstab = "# /dev/x /srv/commented ext4\n/dev/a / ext4 defaults 0 1\n\
                     UUID=1 /srv/backup\\040disk ext4 nofail 0 2\nnone swap swap sw 0 0\n";
        let mounts = "/dev/a / ext4 rw 0 0\nproc /proc proc rw 0 0\n";
        let root = Path::new("/srv/backup disk/drctl");
        assert!(lacks_mount(root, fstab, mounts));
        let mounted = format!("{mounts}/dev/b /srv/backup\\040disk ext4 rw 0 0\n");
        assert!(!lacks_mount(root, fstab, &mounted));
        assert!(!lacks_mount(Path::new("/srv/commented"), fstab, mounts));
        assert!(!lacks_mount(Path::new("/srv/backup disks"), fstab, mounts));
    }
}
