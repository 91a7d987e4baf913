//! Format 1 of archives: reading and writing.
//!
//! A backup consists of segments of independently compressed frames, an index, and a manifest that is written last and
//! never overwritten; without it the backup does not exist. The format is public (docs/format.md), and standard tools
//! decompress the segments into ordinary `mysqldump` output.
//!
//! - [`manifest`], [`index`]: the two documents of a backup.
//! - [`codec`]: compression of frames.
//! - [`write`]: statements → frames → segments → commit.
//! - [`read`]: manifest and index → verified, decoded frames; [`stored_index`]: the index as stored;
//!   [`stored_object`]: ranges of an object, decrypted.
//! - [`rekey`]: the same backup for other recipients.
//! - [`accounts`]: accounts.sql; [`restore_txt`]: instructions for a restore without drctl.
//! - [`segment_digests`], [`documents`]: what only a reader of the whole archive can verify.

pub mod accounts;
pub mod codec;
pub mod documents;
#[cfg(test)]
pub(crate) mod fixture;
pub mod index;
pub mod manifest;
pub mod read;
pub mod rekey;
pub mod restore_txt;
#[cfg(test)]
mod scale_tests;
pub mod segment_digests;
pub mod stored_index;
pub mod stored_object;
pub mod write;

use crate::layout::{BackupId, BackupObject, TargetName};
use crate::store::Key;

/// The location of a backup in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupPlace {
    /// The target.
    pub target: TargetName,
    /// Id of the backup.
    pub id: BackupId,
}

impl BackupPlace {
    /// Key of an object of the backup.
    pub fn key(&self, object: &BackupObject) -> Key {
        self.target.object(self.id, object)
    }

    /// Prefix of the keys of all its objects.
    pub fn prefix(&self) -> Key {
        self.target.backup(self.id)
    }
}

impl std::fmt::Display for BackupPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "backup {} of {}", self.id, self.target)
    }
}
