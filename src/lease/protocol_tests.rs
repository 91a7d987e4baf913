//! Two sides and one store: who gets the lease, and when the other one cannot be writable any more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::chain::Chain;
use super::renewal::{Renewer, Standing};
use super::*;
use crate::Outcome;
use crate::layout::{Epoch, LeaseObject, TargetName};
use crate::lease::release::release;
use crate::store::fault::{Fault, FaultStore, Op};
use crate::store::file::FileStore;
use crate::store::memory::MemoryStore;
use crate::store::{Store, StoreError};
use crate::util::cancel::Cancel;

fn target() -> TargetName {
    "shop".parse().unwrap()
}

fn side(name: &str) -> Side {
    name.parse().unwrap()
}

fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

async fn taken(store: &Arc<dyn Store>, name: &str) -> Taken {
    take(store, &target(), &side(name), Reason::Promote)
        .await
        .unwrap()
}

fn renewer(store: &Arc<dyn Store>, name: &str, first: bool) -> Renewer {
    let lease = Duration::from_secs(1);
    Renewer::new(store.clone(), target(), side(name), lease, first)
}

async fn renewed(renewer: &mut Renewer) -> Standing {
    renewer.once(None).await.unwrap()
}

fn is_ours(standing: &Standing, is_fenced: bool) -> bool {
    matches!(standing, Standing::Ours { fenced, .. } if *fenced == is_fenced)
}

#[tokio::test]
async fn one_of_several_that_take_an_epoch_at_once_gets_it() {
    let store = memory();
    // Each sees the same newest epoch before one of them takes the next.
    let slow = FaultStore::new(store.clone()).always(
        Op::PutNew,
        ".json",
        Fault::Delay(Duration::from_millis(50)),
    );
    let slow: Arc<dyn Store> = Arc::new(slow);
    let tries = ["a", "b", "c", "a"].map(|name| {
        let slow = slow.clone();
        tokio::spawn(async move { take(&slow, &target(), &side(name), Reason::Promote).await })
    });
    let mut won = 0;
    for one in tries {
        match one.await.unwrap() {
            Ok(taken) => {
                assert_eq!(taken.epoch(), Epoch::FIRST);
                won += 1;
            }
            Err(error) => assert_eq!(error.outcome(), Outcome::Locked, "{error}"),
        }
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn a_take_without_a_response_is_settled_by_what_the_store_has() {
    for (fault, is_taken) in [(Fault::LoseAnswer, true), (Fault::Fail, false)] {
        let inner = memory();
        let store: Arc<dyn Store> =
            Arc::new(FaultStore::new(inner.clone()).nth(1, Op::PutNew, "", fault));
        match take(&store, &target(), &side("a"), Reason::First).await {
            Ok(_) => assert!(is_taken),
            Err(error) => {
                assert!(
                    !is_taken && error.to_string().contains("unknown whether"),
                    "{error}"
                );
            }
        }
        let there = inner.head("shop/leader/00000001.json").await;
        assert_eq!(there.is_ok(), is_taken);
    }
}

#[tokio::test]
async fn a_take_that_is_repeated_has_the_same_epoch_and_another_side_the_next() {
    let store = memory();
    assert_eq!(taken(&store, "a").await.epoch(), Epoch::FIRST);
    assert_eq!(taken(&store, "a").await.epoch(), Epoch::FIRST);
    assert_eq!(Some(taken(&store, "b").await.epoch()), Epoch::FIRST.next());
}

#[tokio::test]
async fn a_first_lease_is_writable_at_once_and_only_taken_where_none_was() {
    let store = memory();
    assert_eq!(
        renewed(&mut renewer(&store, "a", false)).await,
        Standing::Nobody
    );
    assert!(is_ours(
        &renewed(&mut renewer(&store, "a", true)).await,
        true
    ));
    let other = renewed(&mut renewer(&store, "b", true)).await;
    assert!(matches!(other, Standing::Theirs { .. }), "{other:?}");
}

#[tokio::test]
async fn a_store_that_lost_its_epochs_gives_nobody_a_first_one() {
    let store = memory();
    let mut keeper = renewer(&store, "a", true);
    renewed(&mut keeper).await;
    store.delete("shop/leader/00000001.json").await.unwrap();
    assert_eq!(renewed(&mut keeper).await, Standing::Nobody);
}

#[tokio::test]
async fn an_epoch_that_vanishes_does_not_bring_the_one_before_back() {
    let store = memory();
    let mut keeper = renewer(&store, "a", true);
    renewed(&mut keeper).await;
    taken(&store, "b").await;
    assert!(matches!(
        renewed(&mut keeper).await,
        Standing::Theirs { .. }
    ));
    store.delete("shop/leader/00000002.json").await.unwrap();
    let error = keeper.once(None).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Archive, "{error}");
}

#[tokio::test]
async fn an_epoch_taken_during_a_renewal_makes_it_void() {
    let store = memory();
    let faulty: Arc<dyn Store> = Arc::new(FaultStore::new(store.clone()).nth(
        2,
        Op::Put,
        "renewed.json",
        Fault::Delay(Duration::from_millis(300)),
    ));
    let mut keeper = renewer(&faulty, "a", true);
    assert!(is_ours(&renewed(&mut keeper).await, true));
    let other = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        taken(&store, "b").await
    };
    let (standing, _) = tokio::join!(renewed(&mut keeper), other);
    assert!(matches!(standing, Standing::Theirs { .. }), "{standing:?}");
}

#[tokio::test]
async fn a_holder_that_released_its_lease_is_not_waited_for() {
    let store = memory();
    renewed(&mut renewer(&store, "a", true)).await;
    let b = taken(&store, "b").await;
    let state = state(&store, &target()).await.unwrap().unwrap();
    assert!(state.is_kept_by_another(&side("b")) && state.fenced.is_none());
    release(&store, &target(), &side("a"), b.epoch(), "1-2-3".into())
        .await
        .unwrap();
    let begun = Instant::now();
    let how = b.fenced(&Cancel::default()).await.unwrap();
    assert!(
        matches!(how, How::Released { ref gtids, .. } if gtids == "1-2-3"),
        "{how:?}"
    );
    assert!(begun.elapsed() < Duration::from_secs(1));
    // Its own epoch is given up for good; it comes back with another one.
    let mut keeper = renewer(&store, "a", false);
    assert!(matches!(
        renewed(&mut keeper).await,
        Standing::Theirs { .. }
    ));
}

#[tokio::test]
async fn a_silent_holder_is_waited_for_whatever_its_clock_says() {
    let store = memory();
    renewed(&mut renewer(&store, "a", true)).await;
    // Its clock is years ahead.
    let key = target().lease_object(LeaseObject::Renewed(Epoch::FIRST));
    let body = store.get(&key, None).await.unwrap();
    let mut renewal: serde_json::Value = serde_json::from_slice(&body).unwrap();
    renewal["at"] = "2099-01-01T00:00:00Z".into();
    store.put(&key, renewal.to_string().into()).await.unwrap();
    let begun = Instant::now();
    let b = taken(&store, "b").await;
    // The keeper of the new holder does not trust it before, either.
    let mut keeper = renewer(&store, "b", false);
    assert!(is_ours(&renewed(&mut keeper).await, false));
    assert_eq!(b.fenced(&Cancel::default()).await.unwrap(), How::Expired);
    let waited = begun.elapsed();
    assert!(
        (Duration::from_secs(6)..Duration::from_secs(9)).contains(&waited),
        "{waited:?}"
    );
    // What one run has found, the others need not wait for.
    assert!(is_ours(&renewed(&mut keeper).await, true));
    assert!(is_ours(
        &renewed(&mut renewer(&store, "b", false)).await,
        true
    ));
}

#[tokio::test]
async fn a_side_whose_keeper_never_ran_is_reported() {
    let store = memory();
    taken(&store, "a").await;
    let b = taken(&store, "b").await;
    let state = state(&store, &target()).await.unwrap().unwrap();
    assert!(!state.is_kept_by_another(&side("b")));
    assert_eq!(b.fenced(&Cancel::default()).await.unwrap(), How::NeverHeld);
}

#[tokio::test]
async fn a_holder_two_epochs_ago_that_nobody_waited_for_is_waited_for() {
    let store = memory();
    renewed(&mut renewer(&store, "a", true)).await;
    // b took an epoch, and was killed before a was fenced.
    taken(&store, "b").await;
    let c = taken(&store, "c").await;
    let chain = Chain::list(&store, &target()).await.unwrap();
    assert_eq!(c.decide(&chain).await.unwrap(), None);
}

#[tokio::test]
async fn a_later_epoch_of_another_side_ends_the_wait() {
    let store = memory();
    renewed(&mut renewer(&store, "a", true)).await;
    let b = taken(&store, "b").await;
    taken(&store, "c").await;
    let error = b.fenced(&Cancel::default()).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Locked, "{error}");
}

/// What is decided about a holder whose last renewal has this age by the times of the store.
async fn aged(age: Duration, has_one_clock: bool) -> Option<How> {
    #[derive(Debug)]
    struct Aged(MemoryStore, Duration, bool);
    #[async_trait::async_trait]
    impl Store for Aged {
        fn location(&self) -> String {
            self.0.location()
        }
        fn has_one_clock(&self) -> bool {
            self.2
        }
        async fn put_new(&self, key: &str, body: bytes::Bytes) -> Result<(), StoreError> {
            self.0.put_new(key, body).await
        }
        async fn put(&self, key: &str, body: bytes::Bytes) -> Result<(), StoreError> {
            self.0.put(key, body).await
        }
        async fn get(
            &self,
            key: &str,
            range: Option<std::ops::Range<u64>>,
        ) -> Result<bytes::Bytes, StoreError> {
            self.0.get(key, range).await
        }
        async fn head(&self, key: &str) -> Result<crate::store::ObjectMeta, StoreError> {
            self.0.head(key).await
        }
        async fn list(&self, prefix: &str) -> Result<Vec<crate::store::ObjectMeta>, StoreError> {
            let mut objects = self.0.list(prefix).await?;
            for object in &mut objects {
                if object.key.ends_with("renewed.json") {
                    object.modified -= jiff::SignedDuration::try_from(self.1).unwrap();
                }
            }
            Ok(objects)
        }
        async fn delete(&self, key: &str) -> Result<crate::store::Deleted, StoreError> {
            self.0.delete(key).await
        }
        async fn upload(&self, key: &str) -> Result<Box<dyn crate::store::Upload>, StoreError> {
            self.0.upload(key).await
        }
        async fn abort_stale_uploads(
            &self,
            prefix: &str,
            older_than: Timestamp,
        ) -> Result<usize, StoreError> {
            self.0.abort_stale_uploads(prefix, older_than).await
        }
    }
    let store: Arc<dyn Store> = Arc::new(Aged(MemoryStore::new(), age, has_one_clock));
    renewed(&mut renewer(&store, "a", true)).await;
    let b = taken(&store, "b").await;
    let chain = Chain::list(&store, &target()).await.unwrap();
    b.decide(&chain).await.unwrap()
}

#[tokio::test]
async fn a_holder_that_did_not_renew_for_long_by_the_clock_of_the_store_is_not_waited_for() {
    let (long, short) = (Duration::from_secs(13), Duration::from_secs(8));
    assert_eq!(aged(long, true).await, Some(How::Expired));
    assert_eq!(aged(short, true).await, None);
    assert_eq!(
        aged(long, false).await,
        None,
        "a mount may use the clocks of its clients"
    );
    let directory = FileStore::new("/nonexistent");
    assert!(!directory.has_one_clock());
}

#[tokio::test]
async fn an_object_of_a_later_version_is_refused() {
    let store = memory();
    store
        .put_new("shop/leader/00000001.json", "{\"format\":2}".into())
        .await
        .unwrap();
    let error = state(&store, &target()).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Refused, "{error}");
}
