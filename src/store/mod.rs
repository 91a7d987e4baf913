//! Where archives live: few required operations, and their contract.
//!
//! One file a backend ([`file`], [`s3`], [`memory`]), one a wrapper ([`fault`], for tests).
//! [`keys`] is the only place that knows object names; [`config`] what a person may set.
//! Objects are written once: the only things ever rewritten are heartbeats and leases, by [`Store::put`].

pub mod config;
pub mod fault;
pub mod file;
pub mod keys;
pub mod memory;
pub mod s3;

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

pub use config::{StoreConfig, StoreUrl};

use crate::{Error, Result};

/// An object's name below the store's root: `shop/20261121T020000Z-3f9a1c/manifest.json`.
pub type Key = String;

/// What LIST and HEAD tell of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Its name below the store's root.
    pub key: Key,
    /// Stored bytes.
    pub size: u64,
    /// When the store says that it was written.
    pub modified: jiff::Timestamp,
    /// The store's own full-object checksum, base64 CRC-64/NVME, where it keeps one.
    pub crc64nvme: Option<String>,
}

/// How a store operation failed: the outcomes that a caller could branch on, and the rest.
///
/// Each says where: the URL or the path of the object, for people.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such object.
    #[error("{key}: no such object")]
    NotFound {
        /// Where it was looked for.
        key: String,
    },
    /// A put-if-absent met an existing object.
    #[error("{key}: exists already")]
    AlreadyExists {
        /// Where it is.
        key: String,
    },
    /// The store is there and says no: credentials, policy, a missing bucket. It did nothing.
    #[error("{action} {key}: denied: {why}")]
    Denied {
        /// What was attempted, as a verb.
        action: &'static str,
        /// Where.
        key: String,
        /// The store's own words, without secrets.
        why: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// The store says that the request is wrong, and would say so again. It did nothing.
    #[error("{action} {key}: refused: {why}")]
    Refused {
        /// What was attempted, as a verb.
        action: &'static str,
        /// Where.
        key: String,
        /// The store's own words, without secrets.
        why: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// The settings cannot be used: nothing was asked of the store.
    #[error("{why}")]
    Misconfigured {
        /// Which, and why; never a value.
        why: String,
    },
    /// The directory of a `file://` store is missing, or not one of drctl's: its disk may not be
    /// mounted.
    #[error("{place}: {why}")]
    NotAStore {
        /// The directory.
        place: String,
        /// What is wrong with it.
        why: String,
        /// Whether it is empty: a first backup may begin in it.
        empty: bool,
    },
    /// Anything else: unreachable, slow, full, broken. Whether the operation took effect is
    /// unknown.
    #[error("{action} {key}: {why}")]
    Failed {
        /// What was attempted, as a verb.
        action: &'static str,
        /// Where.
        key: String,
        /// What went wrong, without secrets.
        why: String,
    },
}

/// What was asked for an object by the configuration, and the store did not give it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    /// No retention, or another one.
    Retention(String),
    /// Not encrypted, or by another key.
    Encryption(String),
    /// Another storage class.
    StorageClass(String),
    /// Other tags.
    Tags(String),
}

impl Lack {
    /// Whether an object without it is not protected as it should be; the others cost only money.
    pub fn is_protection(&self) -> bool {
        matches!(self, Lack::Retention(_) | Lack::Encryption(_))
    }

    /// In words.
    pub fn what(&self) -> &str {
        match self {
            Lack::Retention(what)
            | Lack::Encryption(what)
            | Lack::StorageClass(what)
            | Lack::Tags(what) => what,
        }
    }
}

/// What became of an object that was deleted. Either way it is no longer listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone.
    Gone,
    /// A bucket with versions hid it behind a delete marker: its bytes stay until the bucket's own
    /// rules expire them.
    Hidden,
}

/// A place for objects. Every backend passes the one contract suite of `tests/it/store`.
#[async_trait]
pub trait Store: Debug + Send + Sync {
    /// The store's URL, for people; never a secret.
    fn location(&self) -> String;

    /// Whether the place is there and is a store: a disk may not be mounted. Every other operation
    /// asks this, too.
    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Gets an empty place ready for a first backup; `force` also one that does not exist, or that
    /// holds something else.
    async fn init(&self, _force: bool) -> Result<(), StoreError> {
        Ok(())
    }

    /// Creates an object atomically, only where none of that name exists.
    ///
    /// `AlreadyExists` is certain; after `Failed` the object may or may not exist: read it back.
    async fn put_new(&self, key: &str, body: Bytes) -> Result<(), StoreError>;

    /// Creates or replaces an object atomically, without any retention: for heartbeats and leases.
    async fn put(&self, key: &str, body: Bytes) -> Result<(), StoreError>;

    /// Reads an object, or exactly the given range of its bytes; a range that reaches past the
    /// end is an error.
    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Bytes, StoreError>;

    /// What the store knows of an object.
    async fn head(&self, key: &str) -> Result<ObjectMeta, StoreError>;

    /// What an object that was written since then lacks of what the configuration asks for such
    /// objects.
    async fn lacks(&self, _key: &str, _since: jiff::Timestamp) -> Result<Vec<Lack>, StoreError> {
        Ok(Vec::new())
    }

    /// Every object whose name begins with `prefix`, sorted by name, however many pages it takes.
    /// Nothing that is not complete is listed.
    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError>;

    /// Removes an object; one that does not exist is removed already.
    async fn delete(&self, key: &str) -> Result<Deleted, StoreError>;

    /// How many bytes each part of an upload but the last should have. An object holds at most
    /// [`MAX_PARTS`] of them: a longer stream rolls over into another object.
    fn part_bytes(&self) -> usize {
        config::DEFAULT_PART_BYTES
    }

    /// Begins a streamed object. It exists only after [`Upload::complete`].
    async fn upload(&self, key: &str) -> Result<Box<dyn Upload>, StoreError>;

    /// Removes unfinished uploads below `prefix` (empty, or ending in `/`) that were begun before
    /// `older_than`, and says how many: what a SIGKILL left behind.
    async fn abort_stale_uploads(
        &self,
        prefix: &str,
        older_than: jiff::Timestamp,
    ) -> Result<usize, StoreError>;
}

/// A streamed object in the making. Dropping one without `complete` or `abort` leaves at worst an
/// unfinished upload, never a listed object.
#[async_trait]
pub trait Upload: Send {
    /// Appends bytes. All parts but the last are of the size of the first, at least
    /// [`MIN_PART_BYTES`]; best is [`Store::part_bytes`].
    ///
    /// Returns when the part is queued: its failure may show only at the next call. After any
    /// failure nothing but [`Upload::abort`] makes sense.
    async fn part(&mut self, body: Bytes) -> Result<(), StoreError>;

    /// Base64 CRC-64/NVME of everything appended, where the store keeps one with the object.
    fn crc64nvme(&self) -> Option<String> {
        None
    }

    /// Makes the object exist, atomically, replacing nothing: `AlreadyExists` where there is one.
    ///
    /// After `Failed` the object may or may not exist, whole: ask [`Store::head`]. In every case
    /// the upload itself is over, and nothing needs to be aborted.
    async fn complete(self: Box<Self>) -> Result<ObjectMeta, StoreError>;

    /// Gives up: nothing of it remains. A failure to abort is worth a log line, never an error
    /// that hides the first one.
    async fn abort(self: Box<Self>) -> Result<(), StoreError>;
}

/// The least that S3 accepts as a part that is not the last.
pub const MIN_PART_BYTES: usize = 5 << 20;

/// The most parts of one S3 object.
pub const MAX_PARTS: usize = 10_000;

/// Opens the store of a configuration. Nothing is asked of it yet, so nothing can be denied yet.
///
/// # Errors
/// `Usage`: settings that cannot be, or no region for S3.
pub async fn open(config: &StoreConfig) -> Result<Arc<dyn Store>> {
    config.check()?;
    match &config.url {
        StoreUrl::File(directory) => Ok(Arc::new(file::FileStore::new(directory))),
        StoreUrl::S3 { .. } => Ok(Arc::new(s3::S3Store::connect(config, None).await?)),
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Error {
        let hint = match &error {
            StoreError::NotFound { .. } => "see what the store holds with `drctl list`",
            StoreError::AlreadyExists { .. } => "see whether another run writes to this store",
            StoreError::Denied { hint, .. } | StoreError::Refused { hint, .. } => hint,
            StoreError::Misconfigured { why } => {
                return Error::usage(why.clone())
                    .hint("correct the credentials; see docs/store.md for where they come from");
            }
            StoreError::NotAStore { empty: true, .. } => {
                "mount its disk; if no backup was ever made there, drctl backup makes the first one"
            }
            StoreError::NotAStore { .. } => {
                "mount its disk; for a new store make an empty directory, or run drctl backup \
                 --init-store once"
            }
            StoreError::Failed { .. } => {
                "check that the store is reachable and has space, then run it again"
            }
        };
        Error::store(error.to_string()).hint(hint)
    }
}

/// What to do where the account of a store is the question.
pub(crate) const CHECK_ACCOUNT: &str =
    "check the credentials, what they may do, and the name of the bucket or directory";

/// Refuses what is no object name, before any backend reads it as something else.
fn check(action: &'static str, key: &str) -> Result<(), StoreError> {
    keys::check_key(key).map_err(|why| StoreError::Failed {
        action,
        key: key.into(),
        why: why.into(),
    })
}

/// Checks a range against an object's size.
fn check_range(key: &str, range: &Range<u64>, size: u64) -> Result<(), StoreError> {
    if range.start <= range.end && range.end <= size {
        return Ok(());
    }
    Err(StoreError::Failed {
        action: "get",
        key: key.into(),
        why: format!(
            "bytes {}..{} of an object of {size}",
            range.start, range.end
        ),
    })
}

/// A range of an object that is in memory.
fn slice(key: &str, body: &Bytes, range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
    let Some(range) = range else {
        return Ok(body.clone());
    };
    check_range(key, &range, body.len() as u64)?;
    Ok(body.slice(range.start as usize..range.end as usize))
}
