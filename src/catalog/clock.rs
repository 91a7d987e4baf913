//! Clock difference between this host and the store; ages and deadlines depend on it.

use std::sync::Arc;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use crate::layout::TargetName;
use crate::store::Store;
use crate::util::error::Result;
use crate::util::times::minutes;

/// A larger clock difference causes a warning, and keeps retention from deleting anything.
pub const MOST_APART: SignedDuration = minutes(2);

/// Measures the clock difference by the modification time of a small object.
pub async fn apart(store: &Arc<dyn Store>, target: &TargetName) -> Result<SignedDuration> {
    let key = target.probe(rand::random());
    let before = Timestamp::now();
    store
        .put(
            &key,
            Bytes::from_static(b"drctl read the clock of the store\n"),
        )
        .await?;
    let meta = store.head(&key).await;
    let after = Timestamp::now();
    if let Err(error) = store.delete(&key).await {
        tracing::info!(%error, key, "cannot delete the object that the store's clock was read from");
    }
    // The store's time is truncated to seconds, and may be of any moment during the request.
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
    async fn a_clock_agrees_with_itself_and_no_object_remains() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let target = "shop".parse().unwrap();
        assert_eq!(apart(&store, &target).await.unwrap(), SignedDuration::ZERO);
        assert!(store.list("").await.unwrap().is_empty());
    }
}
