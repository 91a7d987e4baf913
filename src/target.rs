//! `target.json`: which server a target is, bound at its first backup.
//!
//! After a disaster a StatefulSet comes back empty under the same name and address. Its dump is
//! then the dump of another server, and must not become "the latest" in silence.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::store::keys::TargetName;
use crate::store::{Store, StoreError};

/// What a target was when it was first backed up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetFile {
    /// The target's name.
    pub target: TargetName,
    /// The server's identity then.
    pub identity: String,
    /// When the first backup began.
    pub created_at: Timestamp,
}

/// Binds a target to a server at its first backup; gives what it is bound to.
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
    // There already, or the answer was lost: what the store has decides.
    read(store, target).await?.ok_or_else(|| refusal.into())
}

/// What a target is bound to; `None` before its first backup.
pub async fn read(store: &Arc<dyn Store>, target: &TargetName) -> Result<Option<TargetFile>> {
    let key = target.identity();
    match store.get(&key, None).await {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| Error::archive(format!("{key} is damaged")).because(e)),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
