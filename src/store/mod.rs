//! The object store: few required operations with a documented contract.
//!
//! One module per backend ([`file`], [`s3`], [`memory`]), [`keyed`], which adds keys, and `fault`, a wrapper for tests. [`crate::layout`] is
//! the only module that knows object names; [`config`] contains the settings. Objects are written once; only
//! heartbeats and leases are ever rewritten, by [`Store::put`].

pub mod config;
#[cfg(test)]
pub mod fault;
pub mod file;
pub mod keyed;
pub mod memory;
pub mod s3;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

pub use config::{StoreConfig, StoreUrl};

use crate::keys::signers::Signed;
use crate::keys::{Keys, Trust};
use crate::layout::TargetName;
use crate::{Error, Result};

pub use crate::layout::Key;

/// Properties of an object, as LIST and HEAD return them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Name below the root of the store.
    pub key: Key,
    /// Size in bytes.
    pub size: u64,
    /// Time of the last write, by the clock of the store.
    pub modified: jiff::Timestamp,
    /// The store's checksum of the full object, CRC-64/NVME in base64; `None` if it keeps none.
    pub crc64nvme: Option<String>,
    /// The entity tag of a listed object, without quotes; `None` if the store has none. Often, but not always, the MD5 of
    /// the contents in hexadecimal digits: a caller may only find that it is.
    pub etag: Option<String>,
}

/// A failed operation: the outcomes that a caller may branch on, and [`StoreError::Failed`] for all others.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such object.
    #[error("{key}: no such object")]
    NotFound {
        /// URL or path of the object.
        key: String,
    },
    /// A put-if-absent found an existing object.
    #[error("{key}: already exists")]
    AlreadyExists {
        /// URL or path of the object.
        key: String,
    },
    /// The store denied access: credentials, policy, a missing bucket. The operation had no effect.
    #[error("{action} {key}: denied: {why}")]
    Denied {
        /// The operation, as a verb.
        action: &'static str,
        /// URL or path of the object.
        key: String,
        /// The store's message, without secrets.
        why: String,
        /// Next step for the operator.
        hint: &'static str,
    },
    /// The store rejected the request as invalid; a retry would fail, too. The operation had no effect.
    #[error("{action} {key}: refused: {why}")]
    Refused {
        /// The operation, as a verb.
        action: &'static str,
        /// URL or path of the object.
        key: String,
        /// The store's message, without secrets.
        why: String,
        /// Next step for the operator.
        hint: &'static str,
    },
    /// The settings are invalid; no request was sent.
    #[error("{why}")]
    Misconfigured {
        /// Which setting, and why, without its value.
        why: String,
    },
    /// The directory of a `file://` store is missing, or is not a store of drctl: its disk may not be mounted.
    #[error("{place}: {why}")]
    NotAStore {
        /// The directory.
        place: String,
        /// The reason.
        why: String,
        /// Whether the directory is empty, so that a first backup may initialise it.
        empty: bool,
    },
    /// An entry in the directory of a `file://` store is not an object: a dangling link, a FIFO. Whether there is
    /// an object behind it is unknown.
    #[error("{place}: {what}")]
    NotAnObject {
        /// Path of the entry.
        place: String,
        /// Type of the entry.
        what: String,
        /// Next step for the operator.
        hint: &'static str,
    },
    /// An object exceeds the maximum size of its kind; it was not read.
    #[error("{key} has {bytes} bytes, more than the maximum of {most}")]
    TooLong {
        /// URL or path of the object.
        key: String,
        /// Its size.
        bytes: u64,
        /// Maximum size.
        most: u64,
    },
    /// Any other failure: unreachable, slow, full, broken. Whether the operation took effect is unknown.
    #[error("{action} {key}: {why}")]
    Failed {
        /// The operation, as a verb.
        action: &'static str,
        /// URL or path of the object.
        key: String,
        /// The reason, without secrets.
        why: String,
    },
}

/// A configured property that an object does not have, with a description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    /// No retention, or a different one.
    Retention(String),
    /// Not encrypted, or with a different key.
    Encryption(String),
    /// A different storage class.
    StorageClass(String),
    /// Different tags.
    Tags(String),
}

impl Lack {
    /// Whether an object without the property is not protected as configured; the others only affect cost.
    pub fn is_protection(&self) -> bool {
        matches!(self, Lack::Retention(_) | Lack::Encryption(_))
    }

    /// The description.
    pub fn what(&self) -> &str {
        match self {
            Lack::Retention(what)
            | Lack::Encryption(what)
            | Lack::StorageClass(what)
            | Lack::Tags(what) => what,
        }
    }
}

/// Result of a delete. The object is no longer listed in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// The object is deleted.
    Gone,
    /// A bucket with versioning added a delete marker: the data remain until a lifecycle rule of the bucket
    /// expires them.
    Hidden,
}

/// An object store. Every backend passes the contract tests in `tests/it/store`.
#[async_trait]
pub trait Store: Debug + Send + Sync {
    /// URL of the store, for messages; contains no secrets.
    fn location(&self) -> String;

    /// The keys to what the store holds.
    fn keys(&self) -> &Keys {
        Keys::none()
    }

    /// Whether modification times are by one clock, that of the store, whichever machine writes.
    fn has_one_clock(&self) -> bool {
        false
    }

    /// Checks that the location exists and is a store: a disk may not be mounted. Every other operation checks
    /// this, too.
    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Initialises an empty location for a first backup; with `force`, also a location that does not exist or
    /// contains something else.
    async fn init(&self, _force: bool) -> Result<(), StoreError> {
        Ok(())
    }

    /// Creates an object atomically, unless one of that name exists.
    ///
    /// `AlreadyExists` is definite. After `Failed` the object may or may not exist: read it back.
    async fn put_new(&self, key: &str, body: Bytes) -> Result<(), StoreError>;

    /// Creates or replaces an object atomically, without retention: for heartbeats and leases.
    async fn put(&self, key: &str, body: Bytes) -> Result<(), StoreError>;

    /// Reads an object, or exactly the given range of its bytes. A range beyond the end is an error.
    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Bytes, StoreError>;

    /// Reads an object of at most `most` bytes. A longer one is `TooLong`, and no memory is allocated for it.
    async fn get_at_most(&self, key: &str, most: u64) -> Result<Bytes, StoreError> {
        let size = self.head(key).await?.size;
        if size > most {
            let key = format!("{}/{key}", self.location());
            return Err(StoreError::TooLong {
                key,
                bytes: size,
                most,
            });
        }
        self.get(key, Some(0..size)).await
    }

    /// Properties of an object.
    async fn head(&self, key: &str) -> Result<ObjectMeta, StoreError>;

    /// Configured properties that an object written after `since` does not have.
    async fn lacks(&self, _key: &str, _since: jiff::Timestamp) -> Result<Vec<Lack>, StoreError> {
        Ok(Vec::new())
    }

    /// All objects whose name begins with `prefix`, sorted by name. Incomplete objects are not listed.
    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError>;

    /// As [`Store::list`], the objects whose name is greater than `after` alone; costs no more for those before.
    async fn list_after(&self, prefix: &str, after: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        let mut objects = self.list(prefix).await?;
        objects.retain(|object| object.key.as_str() > after);
        Ok(objects)
    }

    /// All objects of all backups of a target, sorted by name within each of [`TargetName::backups`]. A store that
    /// lists in pages reads several parts of a long list at once.
    async fn list_backups(&self, target: &TargetName) -> Result<Vec<ObjectMeta>, StoreError> {
        let mut objects = Vec::new();
        for prefix in target.backups() {
            objects.extend(self.list(&prefix).await?);
        }
        Ok(objects)
    }

    /// Names of the folders directly below `prefix` (ending in `/`), sorted: `b` below `a/` if there is an object
    /// `a/b/c`. Costs no more for the objects in them.
    async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let mut names = BTreeSet::new();
        for object in self.list(prefix).await? {
            let below = object.key.strip_prefix(prefix).unwrap_or_default();
            names.extend(below.split_once('/').map(|(name, _)| name.to_owned()));
        }
        Ok(names.into_iter().collect())
    }

    /// Deletes an object. Succeeds if it does not exist.
    async fn delete(&self, key: &str) -> Result<Deleted, StoreError>;

    /// Size of each part of an upload except the last. An object has at most [`MAX_PARTS`] parts: a longer stream
    /// continues in another object.
    fn part_bytes(&self) -> usize {
        config::DEFAULT_PART_BYTES
    }

    /// Begins an upload. The object exists only after [`Upload::complete`].
    async fn upload(&self, key: &str) -> Result<Box<dyn Upload>, StoreError>;

    /// Removes unfinished uploads below `prefix` (empty, or ending in `/`) that were begun before `older_than`,
    /// as a SIGKILL leaves them. Returns their number.
    async fn abort_stale_uploads(
        &self,
        prefix: &str,
        older_than: jiff::Timestamp,
    ) -> Result<usize, StoreError>;
}

/// An upload of an object in parts. Dropping it without `complete` or `abort` leaves at most an unfinished upload,
/// never a listed object.
#[async_trait]
pub trait Upload: Send {
    /// Appends a part. All parts except the last have the size of the first, at least [`MIN_PART_BYTES`]; the
    /// usual size is [`Store::part_bytes`].
    ///
    /// Returns when the part is queued: its failure may be reported by the next call. After any failure, or if this
    /// future is dropped, the only valid call is [`Upload::abort`].
    async fn part(&mut self, body: Bytes) -> Result<(), StoreError>;

    /// CRC-64/NVME in base64 of everything appended; `None` if the store keeps no checksum.
    fn crc64nvme(&self) -> Option<String> {
        None
    }

    /// Creates the object atomically, without replacing an existing one (`AlreadyExists`).
    ///
    /// After `Failed` the complete object may or may not exist: check with [`Store::head`]. The upload has ended in
    /// any case and need not be aborted.
    async fn complete(self: Box<Self>) -> Result<ObjectMeta, StoreError>;

    /// Discards the upload. Log a failure to abort; it must not hide the first error.
    async fn abort(self: Box<Self>) -> Result<(), StoreError>;
}

/// Minimum size of an S3 part other than the last.
pub const MIN_PART_BYTES: usize = 5 << 20;

/// Maximum number of parts of an S3 object.
pub const MAX_PARTS: usize = 10_000;

/// Maximum size of a run record, drill report or target binding.
pub const MOST_RECORD_BYTES: u64 = 16 << 20;

/// Maximum size of a signature in bytes; one by Ed25519 has 300.
pub const MOST_SIGNATURE_BYTES: u64 = 16 << 10;

/// Opens the configured store, without a request to it.
///
/// # Errors
/// `Usage`: invalid settings, or no region for S3.
pub async fn open(config: &StoreConfig, keys: Keys) -> Result<Arc<dyn Store>> {
    config.check()?;
    let store: Arc<dyn Store> = match &config.url {
        StoreUrl::File(directory) => Arc::new(file::FileStore::new(directory)),
        StoreUrl::S3 { .. } => Arc::new(s3::S3Store::connect(config, None).await?),
    };
    Ok(Arc::new(keyed::KeyedStore::new(store, keys)))
}

/// How long a signature may take: an agent may ask for confirmation.
const SIGNING: std::time::Duration = std::time::Duration::from_secs(60);

/// Signs a document with the store's signing key; `None` if there is none. An agent may take its time.
///
/// # Errors
/// `Usage` if the key cannot be read, or the agent does not sign with it.
pub async fn sign(store: &Arc<dyn Store>, document: Bytes) -> Result<Option<String>> {
    let store = store.clone();
    let sign = move || {
        let key = store.keys().signing()?;
        key.map(|key| key.sign(&document)).transpose()
    };
    match tokio::time::timeout(SIGNING, tokio::task::spawn_blocking(sign)).await {
        Ok(signed) => {
            signed.map_err(|e| Error::unexpected("signing was interrupted").because(e))?
        }
        Err(_) => Err(
            Error::usage(format!("the agent did not sign within {SIGNING:?}"))
                .hint("check the agent at SSH_AUTH_SOCK, or name a file with a private key"),
        ),
    }
}

/// Who signed a document of the store that was made at the time `at` by its own word; `signature` is the key of its
/// signature, which is read only where signatures count.
///
/// # Errors
/// `Usage` if the allowed signers cannot be read; those of the store.
pub async fn verify(
    store: &Arc<dyn Store>,
    document: &[u8],
    signature: &str,
    at: jiff::Timestamp,
) -> Result<Signed> {
    let keys = store.keys();
    let signature = match keys.trust() {
        Trust::Off => None,
        Trust::Warn | Trust::Require => {
            match store.get_at_most(signature, MOST_SIGNATURE_BYTES).await {
                Ok(bytes) => Some(bytes),
                Err(StoreError::NotFound { .. } | StoreError::TooLong { .. }) => None,
                Err(error) => return Err(error.into()),
            }
        }
    };
    keys.verify(document, signature.as_deref(), at)
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Error {
        let hint = match &error {
            StoreError::NotFound { .. } => "list the backups with `drctl list`",
            StoreError::AlreadyExists { .. } => "check whether another run writes to this store",
            StoreError::Denied { hint, .. }
            | StoreError::Refused { hint, .. }
            | StoreError::NotAnObject { hint, .. } => hint,
            StoreError::TooLong { .. } => {
                return Error::archive(error.to_string())
                    .hint("restore another backup, and find out what changed the store");
            }
            StoreError::Misconfigured { why } => {
                return Error::usage(why.clone())
                    .hint("correct the credentials; docs/store.md lists their sources");
            }
            StoreError::NotAStore { empty: true, .. } => {
                "mount its disk; if it has no backups yet, drctl backup creates the first one"
            }
            StoreError::NotAStore { .. } => {
                "mount its disk; for a new store create an empty directory, or run drctl backup \
                 --init-store once"
            }
            StoreError::Failed { .. } => {
                "check that the store is reachable and has space, then run it again"
            }
        };
        Error::store(error.to_string()).hint(hint)
    }
}

/// Hint if access was denied to the account.
pub(crate) const CHECK_ACCOUNT: &str =
    "check the credentials, their permissions and the name of the bucket";

/// Checks that `key` is a valid object name.
fn check(action: &'static str, key: &str) -> Result<(), StoreError> {
    crate::layout::check_key(key).map_err(|why| StoreError::Failed {
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
            "the range {}..{} is not within the {size} bytes of the object",
            range.start, range.end
        ),
    })
}

/// A range of an object in memory.
fn slice(key: &str, body: &Bytes, range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
    let Some(range) = range else {
        return Ok(body.clone());
    };
    check_range(key, &range, body.len() as u64)?;
    Ok(body.slice(range.start as usize..range.end as usize))
}
