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
    /// The store is there and says no: credentials, policy, a missing bucket.
    #[error("{action} {key}: denied: {why}")]
    Denied {
        /// What was attempted, as a verb.
        action: &'static str,
        /// Where.
        key: String,
        /// The store's own words, without secrets.
        why: String,
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

    /// Every object whose name begins with `prefix`, sorted by name, however many pages it takes.
    /// Nothing that is not complete is listed.
    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError>;

    /// The names directly below `prefix` (empty, or ending in `/`) that hold objects, each ending
    /// in `/`, sorted: what LIST with a delimiter answers as common prefixes.
    async fn list_dirs(&self, prefix: &str) -> Result<Vec<Key>, StoreError>;

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
        StoreUrl::S3 { .. } => {
            let aws = aws_config::defaults(aws_config::BehaviorVersion::latest());
            Ok(Arc::new(s3::S3Store::connect(config, aws).await?))
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Error {
        let hint = match &error {
            StoreError::NotFound { .. } => "see what the store holds with `drctl list`",
            StoreError::AlreadyExists { .. } => "see whether another run writes to this store",
            StoreError::Denied { .. } => {
                "check the credentials, what they may do, and the name of the bucket or directory"
            }
            StoreError::Failed { .. } => {
                "check that the store is reachable and has space, then run it again"
            }
        };
        Error::store(error.to_string()).hint(hint)
    }
}

/// Refuses what is no object name, before any backend reads it as something else.
fn check(action: &'static str, key: &str) -> Result<(), StoreError> {
    keys::check_key(key).map_err(|why| StoreError::Failed {
        action,
        key: key.into(),
        why: why.into(),
    })
}

/// The directory directly below `prefix` that `key` lies in: `a/` and `a/b/c` give `a/b/`.
fn directory_below(prefix: &str, key: &str) -> Option<Key> {
    let (name, _) = key.strip_prefix(prefix)?.split_once('/')?;
    Some(format!("{prefix}{name}/"))
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
