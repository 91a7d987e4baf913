//! Whether this host and the store agree on the time, on which everything that is old or late rests.

use std::sync::Arc;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use crate::error::Result;
use crate::store::Store;
use crate::store::keys::TargetName;
use crate::times::minutes;

/// Clocks further apart than this are worth a warning, and keep retention from deleting anything.
pub const MOST_APART: SignedDuration = minutes(2);

/// How far the two clocks are apart: by when the store says that it took a small object.
pub async fn apart(store: &Arc<dyn Store>, target: &TargetName) -> Result<SignedDuration> {
    let key = target.probe(rand::random());
    let before = Timestamp::now();
    store
        .put(&key, Bytes::from_static(b"drctl looked at the clock\n"))
        .await?;
    let meta = store.head(&key).await;
    let after = Timestamp::now();
    if let Err(error) = store.delete(&key).await {
        tracing::info!(%error, key, "cannot delete what the clock was read from");
    }
    // Whole seconds, cut off; and it may have been taken at any moment in between.
    let taken = meta?.modified;
    let early = before
        .duration_since(taken)
        .saturating_sub(SignedDuration::from_secs(1));
    let late = taken.duration_since(after);
    Ok(early.max(late).max(SignedDuration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    #[tokio::test]
    async fn one_clock_agrees_with_itself_and_nothing_is_left_behind() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let target = "shop".parse().unwrap();
        assert_eq!(apart(&store, &target).await.unwrap(), SignedDuration::ZERO);
        assert!(store.list("").await.unwrap().is_empty());
    }
}
