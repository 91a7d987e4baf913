//! Marks and drill reports of a backup: pins, acceptance, reports.
//!
//! Each store may have its own: what is there already is left alone. Tombstones are not copied: they say what a store
//! once held.

use crate::Result;
use crate::copy::ends::{Ends, of_primary, of_second};
use crate::store::{MOST_RECORD_BYTES, StoreError};
use crate::util::cancel::awaited;

/// Copies a mark or a report, unless one of that name is there; returns whether it was copied.
pub async fn copy(ends: &Ends, key: &str) -> Result<bool> {
    let read = async { Ok(ends.primary.get_at_most(key, MOST_RECORD_BYTES).await) };
    let body = match ends.cancel.unless(read).await? {
        Ok(body) => body,
        // A pin that was removed meanwhile.
        Err(StoreError::NotFound { .. }) => return Ok(false),
        Err(error) => return Err(of_primary(error)),
    };
    let put = async {
        match ends.second.put_new(key, body).await {
            Ok(()) => Ok(true),
            Err(StoreError::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(of_second(error)),
        }
    };
    awaited(&ends.cancel, || {}, put).await
}
