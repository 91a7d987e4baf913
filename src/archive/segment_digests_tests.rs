//! Frames fetched out of order, and segments that do not match the manifest.

use std::sync::Arc;

use super::*;
use crate::archive::BackupPlace;
use crate::archive::fixture::{archive, dump, edit, replace_manifest, small};
use crate::store::Store;

async fn open(store: &Arc<dyn Store>, place: &BackupPlace) -> Archive {
    Archive::open(store.clone(), place.clone()).await.unwrap()
}

/// Fetches all frames at once, the last one first. Returns the numbers of those that were returned, and the first
/// error.
async fn fetch_all(archive: &Archive) -> (Vec<u64>, Option<String>) {
    let mut frames = archive.frames().unwrap();
    let mut digests = SegmentDigests::default();
    let mut waiting = Vec::new();
    while let Some(frame) = frames.read().unwrap() {
        waiting.push((frame, digests.turn()));
    }
    let mut tasks = Vec::new();
    for (frame, turn) in waiting.into_iter().rev() {
        let archive = archive.clone();
        let n = frame.n;
        let task = tokio::spawn(async move { archive.fetch_in_turn(&frame, turn).await });
        tasks.push((n, task));
        tokio::task::yield_now().await;
    }
    let (mut given, mut error) = (Vec::new(), None);
    for (n, task) in tasks.into_iter().rev() {
        match task.await.unwrap() {
            Ok(_) => given.push(n),
            Err(e) if error.is_none() => error = Some(e.to_string()),
            Err(_) => {}
        }
    }
    (given, error)
}

#[tokio::test(flavor = "multi_thread")]
async fn all_frames_are_returned_whatever_the_order_in_which_they_arrive() {
    let (store, place, manifest) = archive(&[&dump("d", 50)], small(1000, 200)).await;
    assert!(manifest.segments.len() >= 3);
    let archive = open(&store, &place).await;
    let (given, error) = fetch_all(&archive).await;
    assert_eq!(error, None);
    assert_eq!(given, (0..manifest.totals.frames).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_frame_of_a_segment_with_another_digest_and_all_later_ones_are_withheld() {
    let (store, place, mut manifest) = archive(&[&dump("d", 50)], small(1000, 200)).await;
    manifest.segments[1].sha256 = manifest.segments[0].sha256;
    replace_manifest(&store, &place, &manifest).await;
    let archive = open(&store, &place).await;
    let mut frames = archive.frames().unwrap();
    let mut last = 0;
    while let Some(frame) = frames.read().unwrap() {
        if frame.segment == 1 {
            last = frame.n;
        }
    }
    let (given, error) = fetch_all(&archive).await;
    assert_eq!(given, (0..last).collect::<Vec<_>>());
    let error = error.unwrap();
    assert!(error.contains("dump.sql.zst.001 does not match"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_a_damaged_frame_is_withheld() {
    let (store, place, _) = archive(&[&dump("d", 50)], small(1000, 1 << 20)).await;
    let archive = open(&store, &place).await;
    let mut frames = archive.frames().unwrap();
    frames.read().unwrap();
    let second = frames.read().unwrap().unwrap();
    let key = archive.segment(&second).unwrap().key().clone();
    edit(&store, &key, |bytes| bytes[second.offset as usize + 9] ^= 1).await;
    let (given, error) = fetch_all(&archive).await;
    assert_eq!(given, [0]);
    let error = error.unwrap();
    assert!(
        error.contains("frame 1 does not match its SHA-256"),
        "{error}"
    );
}
