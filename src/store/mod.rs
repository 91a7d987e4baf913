//! Where archives live: few required operations, and their contract.
//!
//! One file a backend ([`file`], [`s3`], [`memory`]), one a wrapper ([`retry`] where the backend
//! has none of its own, [`fault`] for tests). [`keys`] is the only place that knows object names.
//! Objects are written once: the only thing ever rewritten is a heartbeat, by [`Store::put`].

use std::fmt::Debug;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

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
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such object.
    #[error("{key}: no such object")]
    NotFound {
        /// Its name.
        key: Key,
    },
    /// A put-if-absent met an existing object.
    #[error("{key}: exists already")]
    AlreadyExists {
        /// Its name.
        key: Key,
    },
    /// The store is there and says no: credentials, policy, a missing bucket.
    #[error("{action} {key}: denied: {why}")]
    Denied {
        /// What was attempted, as a verb.
        action: &'static str,
        /// The object.
        key: Key,
        /// The store's own words, without secrets.
        why: String,
    },
    /// Anything else: unreachable, slow, full, broken. Whether the operation took effect is
    /// unknown.
    #[error("{action} {key}: {why}")]
    Failed {
        /// What was attempted, as a verb.
        action: &'static str,
        /// The object.
        key: Key,
        /// What went wrong, without secrets.
        why: String,
    },
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

    /// Creates or replaces an object atomically: for heartbeats alone.
    async fn put(&self, key: &str, body: Bytes) -> Result<(), StoreError>;

    /// Reads an object, or exactly the given range of its bytes; a range that reaches past the
    /// end is an error.
    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Bytes, StoreError>;

    /// What the store knows of an object.
    async fn head(&self, key: &str) -> Result<ObjectMeta, StoreError>;

    /// Every object whose name begins with `prefix`, sorted by name, however many pages it takes.
    /// Nothing that is not complete is listed.
    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError>;

    /// The names directly below `prefix` (which ends in `/`), each ending in `/`, sorted: what
    /// LIST with a delimiter answers as common prefixes.
    async fn list_dirs(&self, prefix: &str) -> Result<Vec<Key>, StoreError>;

    /// Removes an object; one that does not exist is removed already.
    async fn delete(&self, key: &str) -> Result<(), StoreError>;

    /// Begins a streamed object. It exists only after [`Upload::complete`].
    async fn upload(&self, key: &str) -> Result<Box<dyn Upload>, StoreError>;

    /// Removes unfinished uploads below `prefix` that were begun before `older_than`, and says how
    /// many: what a SIGKILL left behind.
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
    /// [`MIN_PART_BYTES`].
    async fn part(&mut self, body: Bytes) -> Result<(), StoreError>;

    /// Makes the object exist, atomically, replacing nothing: `AlreadyExists` where there is one.
    async fn complete(self: Box<Self>) -> Result<ObjectMeta, StoreError>;

    /// Gives up: nothing of it remains. A failure to abort is worth a log line, never an error
    /// that hides the first one.
    async fn abort(self: Box<Self>) -> Result<(), StoreError>;
}

/// The least that S3 accepts as a part that is not the last.
pub const MIN_PART_BYTES: usize = 5 << 20;

/// The most parts of one S3 object.
pub const MAX_PARTS: usize = 10_000;
