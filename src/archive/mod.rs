//! Format 1 of an archive, and both directions through it.
//!
//! A backup is a handful of objects: segments of independently compressed frames, an index, and a
//! manifest that is written last and never overwritten; without it nothing exists. The format is
//! public (docs/format.md), and the segments alone are ordinary `mysqldump` output to the ordinary
//! tools.
//!
//! - [`manifest`], [`index`]: the two documents of a backup.
//! - [`codec`]: a frame's bytes, compressed and back.
//! - [`write`]: statements → frames → segments → commit.
//! - [`read`]: manifest and index → checked, decoded frames.
//! - [`whole`]: what only a reading of the whole archive can check.

pub mod codec;
#[cfg(test)]
mod fixture;
pub mod index;
pub mod manifest;
pub mod read;
pub mod remove;
pub mod restore_txt;
pub mod stored_index;
pub mod whole;
pub mod write;

use crate::store::Key;
use crate::store::keys::{BackupId, BackupObject, TargetName};

/// Where one backup's objects are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupPlace {
    /// Whose backup it is.
    pub target: TargetName,
    /// Which one.
    pub id: BackupId,
}

impl BackupPlace {
    /// The key of one of its objects.
    pub fn key(&self, object: &BackupObject) -> Key {
        self.target.object(self.id, object)
    }

    /// What the keys of all its objects begin with.
    pub fn prefix(&self) -> Key {
        self.target.backup(self.id)
    }
}

impl std::fmt::Display for BackupPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "backup {} of {}", self.id, self.target)
    }
}
