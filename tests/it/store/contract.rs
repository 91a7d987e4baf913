//! The contract of [`Store`], held against memory, a directory and a real S3 server.

use std::collections::BTreeSet;

use bytes::Bytes;
use drctl::layout::{BackupId, BackupObject, TargetName};
use drctl::store::file::FileStore;
use drctl::store::memory::MemoryStore;
use drctl::store::{MIN_PART_BYTES, Store, StoreError, Upload};
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use jiff::{SignedDuration, Timestamp};

use crate::support::lab::ScratchDir;
use crate::support::versitygw::{Gateway, open};

/// One case for each backend: `name::memory`, `name::file`, `name::s3`.
macro_rules! on_every_store {
    ($(#[$meta:meta])* async fn $name:ident($store:ident) $body:block) => {
        mod $name {
            #[allow(unused_imports, reason = "a body may need nothing from outside")]
            use super::*;

            $(#[$meta])*
            async fn on($store: &dyn Store) $body

            #[tokio::test]
            async fn memory() {
                on(&MemoryStore::new()).await;
            }

            #[tokio::test]
            async fn file() {
                let directory = ScratchDir::new();
                let store = FileStore::new(directory.path().join("not/there/yet"));
                store.init(true).await.unwrap();
                on(&store).await;
            }

            #[tokio::test]
            async fn s3() {
                crate::need!(Gateway);
                let gateway = Gateway::shared();
                on(&open(&gateway.config(&format!("{}/pre/fix", gateway.bucket()))).await).await;
            }
        }
    };
}

on_every_store!(
    async fn an_object_is_read_as_it_was_written(store) {
        let body = noise(100_000);
        store.put_new("a/b", body.clone()).await.unwrap();
        assert_eq!(store.get("a/b", None).await.unwrap(), body);
        let meta = store.head("a/b").await.unwrap();
        assert_eq!((meta.key.as_str(), meta.size), ("a/b", 100_000));
        let age = Timestamp::now().duration_since(meta.modified).abs();
        assert!(age < SignedDuration::from_secs(60), "{age:?}");
    }
);

on_every_store!(
    async fn put_new_never_replaces(store) {
        store.put_new("a", "first".into()).await.unwrap();
        assert_exists(store.put_new("a", "second".into()).await);
        assert_exists(store.put_new("a", "first".into()).await);
        assert_eq!(store.get("a", None).await.unwrap(), "first");
    }
);

on_every_store!(
    async fn of_ten_that_put_the_same_new_object_one_wins(store) {
        let bodies: Vec<String> = (0..10).map(|n| format!("writer {n}")).collect();
        let puts = bodies.iter().map(|body| store.put_new("a", body.clone().into()));
        let results = join_all(puts).await;
        let winners: Vec<usize> = (0..10).filter(|n| results[*n].is_ok()).collect();
        assert_eq!(winners.len(), 1, "{results:?}");
        for result in results.into_iter().filter(Result::is_err) {
            assert_exists(result);
        }
        assert_eq!(store.get("a", None).await.unwrap(), bodies[winners[0]]);
    }
);

on_every_store!(
    async fn put_replaces(store) {
        store.put("a", "first".into()).await.unwrap();
        store.put("a", "second".into()).await.unwrap();
        assert_eq!(store.get("a", None).await.unwrap(), "second");
        assert_eq!(store.list("").await.unwrap().len(), 1);
    }
);

on_every_store!(
    async fn what_does_not_exist_is_not_found(store) {
        store.put_new("a/b", "x".into()).await.unwrap();
        for absent in ["b", "a", "a/b/c", "a/c"] {
            assert_absent(store.get(absent, None).await);
            assert_absent(store.get(absent, Some(0..1)).await);
            assert_absent(store.head(absent).await);
        }
    }
);

on_every_store!(
    async fn ranges_are_exact_and_past_the_end_is_an_error(store) {
        store.put_new("a", "0123456789".into()).await.unwrap();
        let good = [(0..10, "0123456789"), (0..1, "0"), (9..10, "9"), (3..7, "3456")];
        for (range, expected) in good {
            assert_eq!(store.get("a", Some(range)).await.unwrap(), expected);
        }
        assert_eq!(store.get("a", Some(4..4)).await.unwrap(), "");
        for (start, end) in [(0, 11), (9, 11), (10, 11), (100, 200), (11, 11), (5, 4)] {
            assert_failed(store.get("a", Some(start..end)).await);
        }
    }
);

on_every_store!(
    async fn an_object_that_is_longer_than_it_may_be_is_not_read(store) {
        store.put_new("t/a", noise(1_000)).await.unwrap();
        assert_eq!(store.get_at_most("t/a", 1_000).await.unwrap().len(), 1_000);
        let longer = store.get_at_most("t/a", 999).await.unwrap_err();
        assert!(matches!(longer, StoreError::TooLong { bytes: 1_000, most: 999, .. }), "{longer:?}");
        assert_absent(store.get_at_most("t/b", 999).await);
        store.put_new("t/empty", Bytes::new()).await.unwrap();
        assert_eq!(store.get_at_most("t/empty", 0).await.unwrap(), "");
    }
);

on_every_store!(
    async fn objects_may_be_empty(store) {
        store.put_new("a", Bytes::new()).await.unwrap();
        let upload = store.upload("b").await.unwrap();
        assert_eq!(upload.complete().await.unwrap().size, 0);
        for key in ["a", "b"] {
            assert_eq!(store.head(key).await.unwrap().size, 0);
            assert_eq!(store.get(key, None).await.unwrap(), "");
            assert_failed(store.get(key, Some(0..1)).await);
        }
    }
);

on_every_store!(
    async fn odd_names_are_names(store) {
        let names = ["a b", "ü/ñ/日本", "x+y=z&c", "per%41cent", "..a/b..", "q?r#s", "'\"<>", "~", "back\\slash"];
        for name in names {
            store.put_new(name, name.into()).await.unwrap();
        }
        let mut listed: Vec<String> = keys(store, "").await;
        for name in names {
            assert_eq!(store.get(name, None).await.unwrap(), name);
            store.delete(name).await.unwrap();
        }
        let mut expected = names.map(str::to_owned);
        expected.sort();
        listed.sort();
        assert_eq!(listed, expected);
        assert_eq!(keys(store, "").await, [""; 0]);
    }
);

on_every_store!(
    async fn names_that_leave_the_store_are_refused(store) {
        for bad in ["../a", "/a", "a//b", "a/", "", "a/../../b", "./a", "a\0b"] {
            assert_failed(store.put_new(bad, "x".into()).await);
            assert_failed(store.put(bad, "x".into()).await);
            assert_failed(store.get(bad, None).await);
            assert_failed(store.head(bad).await);
            assert_failed(store.delete(bad).await);
            assert_failed(store.upload(bad).await.map(drop));
        }
    }
);

on_every_store!(
    async fn a_list_is_by_prefix_and_sorted(store) {
        assert_eq!(keys(store, "").await, [""; 0]);
        for key in ["b/c", "a/b/c", "a/bb", "a-/x", "a", "ab", "a/b/a"].iter().filter(|k| **k != "a") {
            store.put_new(key, "x".into()).await.unwrap();
        }
        assert_eq!(keys(store, "").await, ["a-/x", "a/b/a", "a/b/c", "a/bb", "ab", "b/c"]);
        assert_eq!(keys(store, "a/").await, ["a/b/a", "a/b/c", "a/bb"]);
        assert_eq!(keys(store, "a/b").await, ["a/b/a", "a/b/c", "a/bb"]);
        assert_eq!(keys(store, "a/b/").await, ["a/b/a", "a/b/c"]);
        assert_eq!(keys(store, "c/").await, [""; 0]);
        let after: Vec<String> = store.list_after("a/", "a/b/a").await.unwrap().into_iter().map(|o| o.key).collect();
        assert_eq!(after, ["a/b/c", "a/bb"]);
        assert!(store.list_after("a/", "a/bb").await.unwrap().is_empty());
        assert_eq!(store.list("b/").await.unwrap()[0].size, 1);
    }
);

on_every_store!(
    async fn folders_are_those_directly_below(store) {
        assert_eq!(store.folders("t/").await.unwrap(), [""; 0]);
        for key in ["t/b/c/d", "t/b/e", "t/a", "t/b-/x", "tt/x/y", "t/ü/x"] {
            store.put_new(key, "x".into()).await.unwrap();
        }
        assert_eq!(store.folders("t/").await.unwrap(), ["b", "b-", "ü"]);
        assert_eq!(store.folders("t/b/").await.unwrap(), ["c"]);
        store.delete("t/b/c/d").await.unwrap();
        assert_eq!(store.folders("t/b/").await.unwrap(), [""; 0]);
        let put = |n: usize| async move {
            store.put_new(&format!("m/{n:04}/x"), "x".into()).await.unwrap();
        };
        stream::iter(0..1_005).map(put).buffer_unordered(32).collect::<Vec<()>>().await;
        let folders = store.folders("m/").await.unwrap();
        assert!(folders.len() == 1_005 && folders.is_sorted());
    }
);

on_every_store!(
    async fn a_list_of_more_than_a_thousand_is_whole(store) {
        let put = |n: usize| async move {
            store.put_new(&format!("t/{n:04}/manifest.json"), "{}".into()).await.unwrap();
        };
        stream::iter(0..1_005).map(put).buffer_unordered(32).collect::<Vec<()>>().await;
        let listed = keys(store, "t/").await;
        assert_eq!(listed.len(), 1_005);
        assert!(listed.is_sorted());
        assert_eq!(listed.iter().collect::<BTreeSet<_>>().len(), 1_005);
    }
);

on_every_store!(
    async fn the_backups_of_a_target_are_listed_whole(store) {
        let target: TargetName = "shop".parse().unwrap();
        // Sparse, then dense, and by clocks that were wrong.
        let mut ids: Vec<BackupId> = ["19700101T000007Z-00000a", "29991231T235959Z-00000b"]
            .iter()
            .map(|id| id.parse().unwrap())
            .collect();
        let begin: Timestamp = "2024-02-29T23:59:59Z".parse().unwrap();
        for n in 0..1_600 {
            let hours = if n < 400 { n * 24 } else { 9_600 + n / 2 };
            let at = begin + SignedDuration::from_hours(hours);
            ids.push(BackupId::new(at, n as u32));
        }
        let objects = [BackupObject::Index, BackupObject::Manifest];
        let mut written: Vec<String> = Vec::new();
        for id in &ids {
            written.extend(objects.iter().map(|object| target.object(*id, object)));
        }
        // A name on which no part may begin or end wrongly, and others that are no backup's.
        written.push("shop/20240301T000000Z".into());
        for other in ["shop/runs/20240301T000000Z-backup-0.json", "shop-2/20240301T000000Z-00000a/manifest.json"] {
            store.put_new(other, "{}".into()).await.unwrap();
        }
        let put = |key: String| async move { store.put_new(&key, "{}".into()).await.unwrap() };
        stream::iter(written.clone()).map(put).buffer_unordered(32).collect::<Vec<()>>().await;
        let listed = store.list_backups(&target).await.unwrap();
        let listed: Vec<String> = listed.into_iter().map(|object| object.key).collect();
        written.sort();
        assert!(listed == written, "{} of {}", listed.len(), written.len());
    }
);

on_every_store!(
    async fn a_delete_may_be_repeated(store) {
        store.put_new("a/b", "x".into()).await.unwrap();
        for _ in 0..2 {
            store.delete("a/b").await.unwrap();
            assert_absent(store.head("a/b").await);
        }
        store.delete("never/was").await.unwrap();
        store.put_new("a/b", "again".into()).await.unwrap();
    }
);

on_every_store!(
    async fn an_upload_exists_only_when_complete(store) {
        let parts = [noise(MIN_PART_BYTES), noise(MIN_PART_BYTES), noise(1_234)];
        let mut upload = store.upload("t/dump").await.unwrap();
        for part in &parts {
            upload.part(part.clone()).await.unwrap();
            assert_eq!(keys(store, "").await, [""; 0]);
            assert_absent(store.head("t/dump").await);
        }
        let meta = upload.complete().await.unwrap();
        let whole = parts.concat();
        assert_eq!((meta.key.as_str(), meta.size), ("t/dump", whole.len() as u64));
        assert_eq!(store.head("t/dump").await.unwrap().size, whole.len() as u64);
        assert_eq!(keys(store, "").await, ["t/dump"]);
        assert_eq!(store.get("t/dump", None).await.unwrap(), whole);
        // Across the border of two parts.
        let range = MIN_PART_BYTES - 10..MIN_PART_BYTES + 10;
        let read = store.get("t/dump", Some(range.start as u64..range.end as u64)).await.unwrap();
        assert_eq!(read, whole[range]);
    }
);

on_every_store!(
    async fn an_upload_of_one_short_part_is_an_object(store) {
        let upload = upload_of(store, "a", ["short"]).await;
        assert_eq!(upload.complete().await.unwrap().size, 5);
        assert_eq!(store.get("a", None).await.unwrap(), "short");
        assert_nothing_unfinished(store).await;
    }
);

on_every_store!(
    async fn an_upload_replaces_nothing(store) {
        for parts in [vec![noise(10)], vec![noise(MIN_PART_BYTES), noise(10)]] {
            let key = format!("t/{}", parts.len());
            let upload = upload_of(store, &key, parts).await;
            store.put_new(&key, "was here first".into()).await.unwrap();
            assert_exists(upload.complete().await);
            assert_eq!(store.get(&key, None).await.unwrap(), "was here first");
        }
        assert_nothing_unfinished(store).await;
    }
);

on_every_store!(
    async fn of_two_uploads_of_one_name_one_wins(store) {
        let parts = |text: &'static str| [noise(MIN_PART_BYTES), text.into()];
        let one = upload_of(store, "t/dump", parts("one")).await;
        let two = upload_of(store, "t/dump", parts("the other")).await;
        let (one, two) = tokio::join!(one.complete(), two.complete());
        assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
        let winner = one.or(two).unwrap();
        assert_eq!(store.head("t/dump").await.unwrap().size, winner.size);
        assert_nothing_unfinished(store).await;
    }
);

on_every_store!(
    async fn an_aborted_upload_leaves_nothing(store) {
        for parts in [vec![], vec![noise(10)], vec![noise(MIN_PART_BYTES), noise(10)]] {
            let upload = upload_of(store, "t/dump", parts).await;
            upload.abort().await.unwrap();
            assert_absent(store.head("t/dump").await);
            assert_nothing_unfinished(store).await;
        }
        assert_eq!(keys(store, "").await, [""; 0]);
    }
);

on_every_store!(
    async fn stale_uploads_are_aborted_and_no_others(store) {
        let parts = || [noise(MIN_PART_BYTES), noise(10)];
        store.put_new("t/whole", "x".into()).await.unwrap();
        let stale = upload_of(store, "t/stale", parts()).await;
        let elsewhere = upload_of(store, "u/stale", parts()).await;
        let before = Timestamp::now() - SignedDuration::from_hours(1);
        assert_eq!(store.abort_stale_uploads("t/", before).await.unwrap(), 0);
        let later = Timestamp::now() + SignedDuration::from_hours(1);
        assert_eq!(store.abort_stale_uploads("t/", later).await.unwrap(), 1);
        assert_eq!(store.abort_stale_uploads("t/", later).await.unwrap(), 0);
        // What was swept away can never turn up as an object.
        assert!(stale.complete().await.is_err());
        assert_eq!(elsewhere.complete().await.unwrap().size, MIN_PART_BYTES as u64 + 10);
        assert_eq!(keys(store, "").await, ["t/whole", "u/stale"]);
    }
);

/// Bytes without a pattern.
pub(super) fn noise(bytes: usize) -> Bytes {
    use rand::RngCore as _;
    let mut body = vec![0; bytes];
    rand::rng().fill_bytes(&mut body);
    body.into()
}

/// An upload with these parts, not complete.
pub(super) async fn upload_of<B: Into<Bytes>>(
    store: &dyn Store,
    key: &str,
    parts: impl IntoIterator<Item = B>,
) -> Box<dyn Upload> {
    let mut upload = store.upload(key).await.unwrap();
    for part in parts {
        upload.part(part.into()).await.unwrap();
    }
    upload
}

pub(super) async fn keys(store: &dyn Store, prefix: &str) -> Vec<String> {
    let listed = store.list(prefix).await.unwrap();
    listed.into_iter().map(|object| object.key).collect()
}

async fn assert_nothing_unfinished(store: &dyn Store) {
    let later = Timestamp::now() + SignedDuration::from_hours(1);
    assert_eq!(store.abort_stale_uploads("", later).await.unwrap(), 0);
}

#[track_caller]
fn assert_exists<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert!(
        matches!(result, Err(StoreError::AlreadyExists { .. })),
        "{result:?}"
    );
}

#[track_caller]
fn assert_absent<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert!(
        matches!(result, Err(StoreError::NotFound { .. })),
        "{result:?}"
    );
}

#[track_caller]
pub(super) fn assert_failed<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Failed { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}
