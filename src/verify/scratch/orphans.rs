//! Private directories of local scratch servers, and removal of those left by killed drills.
//!
//! A scratch server ends with its drctl, even after a SIGKILL: the kernel kills it
//! ([`crate::util::pdeathsig`]). Its directory then remains, and the next drill removes it. The owner locks
//! a file in the directory while it runs, so that a directory in use is never removed.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::util::error::{Error, Result};

/// Name prefix of the directories.
const PREFIX: &str = "drctl-scratch-";

/// Lock file, locked by the owner of the directory.
const OWNER: &str = "owner.lock";

/// Marker file: the directory is kept.
const KEPT: &str = "kept";

/// A private directory, removed when dropped.
#[derive(Debug)]
pub struct PrivateDir {
    path: PathBuf,
    /// Holds the lock.
    _owner: File,
    kept: bool,
}

impl PrivateDir {
    /// Creates a directory below `parent`, accessible to this user only.
    pub fn new(parent: &Path) -> Result<PrivateDir> {
        let failed = |e: std::io::Error| {
            Error::server(format!(
                "cannot create a scratch directory in {}",
                parent.display()
            ))
            .because(e)
            .hint("set verify.scratch_dir to another directory")
        };
        let path = parent.join(format!("{PREFIX}{:08x}", rand::random::<u32>()));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(failed)?;
        let owner = File::create_new(path.join(OWNER)).map_err(failed)?;
        flock(&owner, FlockOperation::NonBlockingLockExclusive).map_err(|e| failed(e.into()))?;
        Ok(PrivateDir {
            path,
            _owner: owner,
            kept: false,
        })
    }

    /// Path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps the directory: neither dropping this value nor another drill removes it.
    pub fn keep(&mut self) -> Result<PathBuf> {
        File::create(self.path.join(KEPT))
            .map_err(|e| Error::server("cannot mark the scratch directory as kept").because(e))?;
        self.kept = true;
        Ok(self.path.clone())
    }
}

impl Drop for PrivateDir {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            tracing::warn!(%error, dir = %self.path.display(), "cannot remove the scratch directory");
        }
    }
}

/// Removes directories of killed drills of this user below `parent`; returns their paths.
pub fn reap(parent: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else {
        return Vec::new();
    };
    let ours = rustix::process::geteuid().as_raw();
    let dirs = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut reaped = Vec::new();
    for dir in dirs.filter(|dir| has_our_name(dir)) {
        // Never through a symbolic link, and never a directory of another user.
        let own =
            std::fs::symlink_metadata(&dir).is_ok_and(|meta| meta.is_dir() && meta.uid() == ours);
        if own && is_orphan(&dir) && std::fs::remove_dir_all(&dir).is_ok() {
            reaped.push(dir);
        }
    }
    reaped
}

fn has_our_name(dir: &Path) -> bool {
    let name = dir.file_name().map(|name| name.to_string_lossy());
    name.is_some_and(|name| name.starts_with(PREFIX))
}

fn is_orphan(dir: &Path) -> bool {
    if dir.join(KEPT).exists() {
        return false;
    }
    let owner = OpenOptions::new().read(true).open(dir.join(OWNER));
    // Without the lock file, the owner is just starting, or was killed while removing the directory.
    owner.is_ok_and(|owner| flock(&owner, FlockOperation::NonBlockingLockExclusive).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unlocked_directories_are_removed() {
        let parent = tempfile::tempdir().unwrap();
        let held = PrivateDir::new(parent.path()).unwrap();
        let kept = {
            let mut dir = PrivateDir::new(parent.path()).unwrap();
            dir.keep().unwrap()
        };
        let left = parent.path().join("drctl-scratch-0000beef");
        std::fs::create_dir(&left).unwrap();
        File::create(left.join(OWNER)).unwrap();
        let other = parent.path().join("another-program");
        std::fs::create_dir(&other).unwrap();
        File::create(other.join(OWNER)).unwrap();
        assert_eq!(reap(parent.path()), [left]);
        assert!(held.path().exists() && kept.exists() && other.exists());
        let path = held.path().to_owned();
        drop(held);
        assert!(!path.exists());
    }
}
