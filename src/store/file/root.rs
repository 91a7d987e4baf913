//! Checks that a directory is a store of drctl: it contains a marker file. An unmounted disk leaves an empty
//! directory or none, which must neither receive backups nor count as a store without backups.
//!
//! The marker is created by the first backup into an empty directory, or on request. Older stores without a marker
//! are recognised by their targets, and get a marker with the next backup.

use std::fs;
use std::io;
use std::path::Path;

use super::{absent_as_none, create_directories};
use crate::layout;
use crate::store::StoreError;

/// Name of the marker file.
pub(super) const MARKER: &str = ".drctl-store";

/// Directory that file systems create at their root.
pub(super) const LOST_AND_FOUND: &str = "lost+found";

/// Content of the marker file.
const TEXT: &str = "drctl stores backups in this directory. Without this file, drctl assumes that the disk is \
                    not mounted, and does not use the directory.\n";

/// Content of a directory.
enum Found {
    /// The marker.
    Marked,
    /// Targets, without a marker.
    Targets,
    /// A marker that is not a regular file.
    InvalidMarker,
    /// The directory does not exist.
    Missing,
    /// The path is not a directory.
    NotADirectory,
    /// Nothing.
    Empty,
    /// Other files.
    Foreign,
}

fn inspect(root: &Path) -> io::Result<Found> {
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Ok(Found::NotADirectory);
        }
        entries => absent_as_none(entries)?,
    };
    let Some(entries) = entries else {
        return Ok(Found::Missing);
    };
    let marker = root.join(MARKER);
    if absent_as_none(fs::symlink_metadata(&marker))?.is_some() {
        let is_marker = fs::metadata(&marker).is_ok_and(|metadata| metadata.is_file());
        return Ok(if is_marker {
            Found::Marked
        } else {
            Found::InvalidMarker
        });
    }
    let mut empty = true;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name == LOST_AND_FOUND || name.starts_with(layout::TEMPORARY) {
            continue;
        }
        empty = false;
        let is_directory = || fs::metadata(entry.path()).is_ok_and(|entry| entry.is_dir());
        let is_name = name.parse::<layout::TargetName>().is_ok();
        if is_name && is_directory() && is_target(&entry.path())? {
            return Ok(Found::Targets);
        }
    }
    Ok(if empty { Found::Empty } else { Found::Foreign })
}

/// Whether a directory is that of a target: it contains `target.json` or a backup.
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
            .is_some_and(|name| name.parse::<layout::BackupId>().is_ok())
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Checks that a directory is a store.
pub(super) fn check(root: &Path) -> io::Result<Result<(), StoreError>> {
    Ok(match inspect(root)? {
        Found::Marked | Found::Targets => Ok(()),
        other => Err(refusal(root, &other)),
    })
}

/// Creates the marker in a directory that is empty or contains targets; with `force`, in any directory, which is
/// created if necessary.
pub(super) fn init(root: &Path, force: bool) -> io::Result<Result<(), StoreError>> {
    match inspect(root)? {
        Found::Marked => return Ok(Ok(())),
        Found::Targets => {}
        Found::Empty if force || !is_unmounted(root) => {}
        Found::Missing | Found::Foreign | Found::Empty if force => {}
        other => return Ok(Err(refusal(root, &other))),
    }
    if force {
        create_directories(root, Path::new("/"))?;
    }
    super::write_file(root, &root.join(MARKER), TEXT.as_bytes())?;
    Ok(Ok(()))
}

fn refusal(root: &Path, found: &Found) -> StoreError {
    let why = match found {
        Found::Missing => "no such directory",
        Found::NotADirectory => "it is not a directory",
        Found::InvalidMarker => "its marker .drctl-store is not a regular file",
        Found::Empty if is_unmounted(root) => "its disk in /etc/fstab is not mounted",
        Found::Empty => "it is empty and has no marker of drctl: it has no backups",
        _ => "it has no marker of drctl and contains other files",
    };
    StoreError::NotAStore {
        place: root.display().to_string(),
        why: why.into(),
        empty: matches!(found, Found::Empty) && !is_unmounted(root),
    }
}

/// Whether a disk in /etc/fstab for this directory, or one above it, is not mounted.
fn is_unmounted(root: &Path) -> bool {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    lacks_mount(&root, &read("/etc/fstab"), &read("/proc/self/mounts"))
}

/// The same, from the texts of `/etc/fstab` and `/proc/self/mounts`.
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
    fn an_unmounted_disk_in_fstab_is_detected() {
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
