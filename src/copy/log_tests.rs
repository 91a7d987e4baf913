//! Tests of the log with segments of any size, in memory.

use super::*;
use crate::binlog::group::Groups;
use crate::binlog::note::{LastEvents, Note};
use crate::binlog::record::{Contents, FORMAT, Reason, Timeline};
use crate::binlog::segment;
use crate::binlog::segment::{Packer, Place as At};
use crate::copy::rate::Limiter;
use crate::copy::timeline::LARGE_BYTES;
use crate::keys::{Keys, KeysConfig};
use crate::store::memory::MemoryStore;
use crate::util::cancel::Cancel;

const FILE: &str = "binlog.000001";

fn id() -> TimelineId {
    "20261129T222310Z-3f9a".parse().unwrap()
}

fn ends() -> Ends {
    Ends {
        primary: Arc::new(MemoryStore::default()),
        second: Arc::new(MemoryStore::default()),
        target: "shop".parse().unwrap(),
        limiter: Arc::new(Limiter::new(None)),
        objects_at_once: 1,
        cancel: Cancel::default(),
    }
}

/// Bytes that do not compress.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

/// Keys that encrypt, and cannot decrypt.
fn encrypting() -> Keys {
    let identity = age::x25519::Identity::generate();
    let config = KeysConfig {
        recipients: vec![identity.to_public().to_string()],
        ..KeysConfig::default()
    };
    Keys::new(config).unwrap()
}

/// A log of these raw sizes, and a heartbeat at its end; returns the keys of its segments.
async fn archive(ends: &Ends, sizes: &[usize], keys: &Keys) -> Vec<String> {
    let recipients = keys.recipients().unwrap();
    let (mut from, mut prev, mut keys) = (0, None, Vec::new());
    let mut packer = Packer::new().unwrap();
    let put = async |object: LogObject, body: Vec<u8>| {
        let key = ends.target.log_object(&object);
        ends.primary.put_new(&key, body.into()).await.unwrap();
        key
    };
    let timeline = Timeline {
        format: FORMAT,
        id: id(),
        reason: Reason::First,
        server: "s".into(),
        version: "8.4".into(),
        mariadb: false,
        file: FILE.parse().unwrap(),
        gtid_set: None,
        parent: None,
        continues: false,
        missing: None,
        target: None,
    };
    let timeline = serde_json::to_vec(&timeline).unwrap();
    put(LogObject::Timeline(id()), timeline).await;
    for (seq, size) in sizes.iter().enumerate() {
        packer.push(&noise(*size)).unwrap();
        let at = At {
            timeline: id(),
            file: FILE.parse().unwrap(),
            from,
            log_pos_to: from + *size as u64,
            last_event: 31,
            seq: seq as u64,
            prev: prev.take(),
            mariadb: false,
            gtid_set: None,
        };
        let (record, mut object) = packer.finish(at, Contents::default()).unwrap();
        let mut segment = LogObject::Segment(id(), FILE.parse().unwrap(), from);
        if let Some(recipients) = &recipients {
            let note = Note::of(&record, LastEvents::default(), Groups::default());
            let note = Some(note.to_bytes().unwrap());
            object = recipients.encrypt_all(&object, note).unwrap();
            segment = LogObject::EncryptedSegment(id(), FILE.parse().unwrap(), from);
        }
        prev = Some(segment::sha256(&object));
        keys.push(put(segment, object).await);
        from = record.to;
    }
    let head = serde_json::json!({
        "format": FORMAT, "timeline": id(), "file": FILE, "log_pos": from, "lag_bytes": 0,
        "written_at": "2026-11-29T23:00:00Z", "covered_until": null, "gtid_set": null,
    });
    put(LogObject::Head, head.to_string().into_bytes()).await;
    keys
}

async fn all(store: &Arc<dyn Store>) -> Vec<(String, Bytes)> {
    let mut all = Vec::new();
    for meta in store.list("").await.unwrap() {
        all.push((meta.key.clone(), store.get(&meta.key, None).await.unwrap()));
    }
    all
}

#[tokio::test]
async fn segments_that_are_read_whole_and_those_that_are_streamed_are_one_chain() {
    let large = LARGE_BYTES as usize + (9 << 20);
    for keys in [Keys::default(), encrypting()] {
        let ends = ends();
        let keys = archive(&ends, &[1_000, large, 2_000, large, 500], &keys).await;
        let mut tally = Tally::default();
        copy(&ends, &mut LogCopy::default(), &mut tally)
            .await
            .unwrap();
        assert!(tally.failed.is_empty(), "{:?}", tally.failed);
        assert_eq!(tally.segments, keys.len() as u64);
        assert!(all(&ends.primary).await == all(&ends.second).await);
    }
}

#[tokio::test]
async fn a_damaged_segment_that_is_streamed_is_not_there_and_neither_is_what_follows() {
    let large = LARGE_BYTES as usize + (9 << 20);
    for (flip, keys) in [
        (0.0, Keys::default()),
        (0.3, Keys::default()),
        (0.9999999, Keys::default()),
        (0.0, encrypting()),
        (0.3, encrypting()),
        (0.9999999, encrypting()),
    ] {
        let ends = ends();
        let keys = archive(&ends, &[1_000, large, 2_000], &keys).await;
        let whole = ends.primary.get(&keys[1], None).await.unwrap();
        let mut bytes = whole.to_vec();
        let at = (bytes.len() as f64 * flip) as usize;
        bytes[at] ^= 1;
        ends.primary.put(&keys[1], bytes.into()).await.unwrap();
        let (mut state, mut tally) = (LogCopy::default(), Tally::default());
        copy(&ends, &mut state, &mut tally).await.unwrap();
        assert_eq!(tally.failed.len(), 1, "{flip}: {:?}", tally.failed);
        let there = all(&ends.second).await;
        let names: Vec<&str> = there.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(names.contains(&keys[0].as_str()));
        // The next pass of the same process goes on.
        ends.primary.put(&keys[1], whole).await.unwrap();
        let mut tally = Tally::default();
        copy(&ends, &mut state, &mut tally).await.unwrap();
        assert!(tally.failed.is_empty(), "{:?}", tally.failed);
        assert!(all(&ends.primary).await == all(&ends.second).await);
    }
}
