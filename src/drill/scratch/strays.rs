//! The private directories of local scratch servers, and the end of those that were left behind.
//!
//! A scratch server ends with its drctl, however that ends: the kernel sees to it
//! ([`crate::server::tie`]). Its directory stays after a SIGKILL, and the next drill removes it. An
//! owner holds a lock on a file in it for as long as it lives, so that nobody else's is touched.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::error::{Error, Result};

/// What the names of the directories begin with.
const PREFIX: &str = "drctl-scratch-";

/// The file that is locked by whoever uses the directory.
const OWNER: &str = "owner.lock";

/// The file that says that the directory is to stay.
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
    /// Makes one below `parent`, for this user alone.
    pub fn new(parent: &Path) -> Result<PrivateDir> {
        let failed = |e: std::io::Error| {
            Error::server(format!("make a scratch directory in {}", parent.display()))
                .because(e)
                .hint("name another directory in verify.scratch_dir")
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

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets it stay: neither the end of this value nor another drill removes it.
    pub fn keep(&mut self) -> Result<PathBuf> {
        File::create(self.path.join(KEPT))
            .map_err(|e| Error::server("mark the scratch directory to be kept").because(e))?;
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

/// Removes what killed drills of this user left below `parent`; says what.
pub fn reap(parent: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else {
        return Vec::new();
    };
    let ours = rustix::process::geteuid().as_raw();
    let dirs = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut reaped = Vec::new();
    for dir in dirs.filter(|dir| is_named_so(dir)) {
        // Never through a link, and never what another user made.
        let own =
            std::fs::symlink_metadata(&dir).is_ok_and(|meta| meta.is_dir() && meta.uid() == ours);
        if own && is_stray(&dir) && std::fs::remove_dir_all(&dir).is_ok() {
            reaped.push(dir);
        }
    }
    reaped
}

fn is_named_so(dir: &Path) -> bool {
    let name = dir.file_name().map(|name| name.to_string_lossy());
    name.is_some_and(|name| name.starts_with(PREFIX))
}

fn is_stray(dir: &Path) -> bool {
    if dir.join(KEPT).exists() {
        return false;
    }
    let owner = OpenOptions::new().read(true).open(dir.join(OWNER));
    // Without the file, its owner has only just begun, or was removing it when it was killed.
    owner.is_ok_and(|owner| flock(&owner, FlockOperation::NonBlockingLockExclusive).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_holds_is_reaped() {
        let parent = tempfile::tempdir().unwrap();
        let held = PrivateDir::new(parent.path()).unwrap();
        let kept = {
            let mut dir = PrivateDir::new(parent.path()).unwrap();
            dir.keep().unwrap()
        };
        let left = parent.path().join("drctl-scratch-0000beef");
        std::fs::create_dir(&left).unwrap();
        File::create(left.join(OWNER)).unwrap();
        let other = parent.path().join("somebody-else");
        std::fs::create_dir(&other).unwrap();
        File::create(other.join(OWNER)).unwrap();
        assert_eq!(reap(parent.path()), [left]);
        assert!(held.path().exists() && kept.exists() && other.exists());
        let path = held.path().to_owned();
        drop(held);
        assert!(!path.exists());
    }
}
