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

/// By how much the clock of this host is ahead of the store's; negative if it is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ahead {
    /// At least.
    pub least: SignedDuration,
    /// At most.
    pub most: SignedDuration,
}

impl Ahead {
    /// By the modification time of an object that was written between two moments of this host.
    pub fn of(before: Timestamp, modified: Timestamp, after: Timestamp) -> Ahead {
        // The store's time is truncated to seconds, and may be of any moment during the request.
        let second = SignedDuration::from_secs(1);
        Ahead {
            least: before.duration_since(modified).saturating_sub(second),
            most: after.duration_since(modified),
        }
    }

    /// By how much the clocks differ at least.
    pub fn apart(self) -> SignedDuration {
        let behind = self.most.checked_neg().unwrap_or(SignedDuration::MAX);
        self.least.max(behind).max(SignedDuration::ZERO)
    }
}

/// Measures the clock difference by the modification time of a small object.
pub async fn measure(store: &Arc<dyn Store>, target: &TargetName) -> Result<Ahead> {
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
    Ok(Ahead::of(before, meta?.modified, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    #[test]
    fn a_difference_lies_between_what_the_request_allows() {
        let at = |second: i64| Timestamp::from_second(1_000 + second).unwrap();
        let span = SignedDuration::from_secs;
        let ahead = Ahead::of(at(0), at(-90), at(2));
        assert_eq!((ahead.least, ahead.most), (span(89), span(92)));
        assert_eq!(ahead.apart(), span(89));
        assert_eq!(Ahead::of(at(0), at(90), at(2)).apart(), span(88));
        assert_eq!(Ahead::of(at(0), at(1), at(2)).apart(), span(0));
    }

    #[tokio::test]
    async fn a_clock_agrees_with_itself_and_no_object_remains() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let target = "shop".parse().unwrap();
        let ahead = measure(&store, &target).await.unwrap();
        assert_eq!(ahead.apart(), SignedDuration::ZERO);
        assert!(ahead.least <= ahead.most, "{ahead:?}");
        assert!(store.list("").await.unwrap().is_empty());
    }
}
