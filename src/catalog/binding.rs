//! `target.json`: binds a target to a server at its first backup.
//!
//! After a disaster a StatefulSet may come back empty with the same name and address. Its dump is then that
//! of another server, and must not silently become the latest backup.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::layout::TargetName;
use crate::store::{MOST_RECORD_BYTES, Store, StoreError};
use crate::util::error::{Error, Result};

/// Identity of a target at its first backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetFile {
    /// The target's name.
    pub target: TargetName,
    /// Identity of the server.
    pub identity: String,
    /// When the first backup began.
    pub created_at: Timestamp,
}

/// Binds a target to a server at its first backup; returns the existing binding, if any.
pub async fn bind(
    store: &Arc<dyn Store>,
    target: &TargetName,
    identity: &str,
    now: Timestamp,
) -> Result<TargetFile> {
    let key = target.identity();
    let file = TargetFile {
        target: target.clone(),
        identity: identity.to_owned(),
        created_at: now,
    };
    let body = serde_json::to_vec_pretty(&file)
        .map_err(|e| Error::unexpected("cannot write target.json").because(e))?;
    let refusal = match store.put_new(&key, Bytes::from(body)).await {
        Ok(()) => return Ok(file),
        Err(error @ (StoreError::Denied { .. } | StoreError::Refused { .. })) => {
            return Err(error.into());
        }
        Err(error) => error,
    };
    // Already bound, or the response was lost: the stored object decides.
    read(store, target).await?.ok_or_else(|| refusal.into())
}

/// The binding of a target; `None` before its first backup.
pub async fn read(store: &Arc<dyn Store>, target: &TargetName) -> Result<Option<TargetFile>> {
    let key = target.identity();
    match store.get_at_most(&key, MOST_RECORD_BYTES).await {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| Error::archive(format!("{key} is damaged")).because(e)),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
