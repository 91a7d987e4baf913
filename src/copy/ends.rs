//! The two stores of a copy, and errors that say which of them failed.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use crate::copy::rate::Limiter;
use crate::keys::signers::Signed;
use crate::layout::TargetName;
use crate::store::{Store, StoreError};
use crate::util::cancel::Cancel;
use crate::{Error, Outcome, Result};

/// Where a copy comes from and where it goes.
#[derive(Debug, Clone)]
pub struct Ends {
    /// The primary store. It is only read, but for the leases on backups that are being read.
    pub primary: Arc<dyn Store>,
    /// The second store. Objects are only added; heartbeats and leases are rewritten.
    pub second: Arc<dyn Store>,
    /// The target.
    pub target: TargetName,
    /// The rate at which the primary store is read.
    pub limiter: Arc<Limiter>,
    /// Number of objects of a backup that are copied in parallel.
    pub objects_at_once: usize,
    /// Cancellation of the run.
    pub cancel: Cancel,
}

impl Ends {
    /// Reads a range of an object of the primary store, within the rate.
    pub async fn read(
        &self,
        key: &str,
        range: std::ops::Range<u64>,
    ) -> std::result::Result<Bytes, StoreError> {
        self.limiter
            .take(range.end.saturating_sub(range.start))
            .await;
        self.primary.get(key, Some(range)).await
    }
}

/// A failure of the primary store.
pub fn of_primary(error: impl Into<Error>) -> Error {
    error.into().context("primary store")
}

/// A failure of the second store, with its own settings and verb in the hint.
pub fn of_second(error: impl Into<Error>) -> Error {
    let error = error.into();
    let hint = error.next_step().map(|hint| {
        hint.replace("store.s3", "copy.s3")
            .replace("drctl backup", "drctl copy")
    });
    let error = error.context("second store");
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// An object of the primary store that is not what it has to be. It is not copied.
pub fn damaged(key: &str, why: &str) -> Error {
    Error::archive(format!("primary store: {key} {why}; it was not copied")).hint(
        "find out what changed the primary store; a backup that was copied earlier is in the second store",
    )
}

/// Whether a document of the primary store may be copied, by its signature. `at` is when it was made, by its own word.
///
/// # Errors
/// `Archive`: signatures are required, and it has none that counts. `Usage`: the allowed signers cannot be read.
pub fn trusted(
    ends: &Ends,
    key: &str,
    document: &[u8],
    signature: Option<&Bytes>,
    at: Timestamp,
) -> Result<()> {
    let signature = signature.map(|signature| &signature[..]);
    match ends.primary.keys().verify(document, signature, at)? {
        Signed::Refused(why) => Err(damaged(key, &why)
            .hint("find out who wrote it; DRCTL_TRUST=off or warn copies it nevertheless")),
        Signed::Warned(why) => {
            tracing::warn!("primary store: {key} {why}; it is copied nevertheless");
            Ok(())
        }
        Signed::By(_) | Signed::Unverified => Ok(()),
    }
}

/// An object of the second store that is not the one of the primary store. It is not overwritten.
pub fn differs(key: &str) -> Error {
    Error::archive(format!(
        "second store: {key} exists with other bytes than in the primary store; it was not overwritten"
    ))
    .hint("find out what wrote it; remove it, or copy to another prefix")
}

/// Whether the copy goes on after a failure: one of these objects is wrong, not one of the stores.
pub fn is_of_one_object(error: &Error) -> bool {
    error.outcome() == Outcome::Archive
}
