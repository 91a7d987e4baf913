//! Tests of what a look costs, and of what counts as covered.

use std::sync::Arc;

use crate::archive::fixture as backups;
use crate::archive::manifest::{Coordinates, FileFacts};
use crate::binlog::fixture::{self, file};
use crate::binlog::record::{Contents, FORMAT, Parent};
use crate::binlog::segment::{Packer, Place};
use crate::layout::LogObject;
use crate::store::fault::{FaultStore, Op};
use crate::store::memory::MemoryStore;
use crate::util::digest::Sha256Digest;

use super::*;

fn at(text: &str) -> Timestamp {
    format!("2026-11-{text}Z").parse().unwrap()
}

fn target() -> TargetName {
    "shop".parse().unwrap()
}

/// A timeline that began then, at this file.
fn timeline(began: &str, reason: Reason, first: u64, parent: Option<&Timeline>) -> Timeline {
    Timeline {
        reason,
        server: "a".into(),
        file: file(first),
        parent: parent.map(|parent| Parent {
            id: parent.id,
            file: file(9),
            log_pos: 100,
            gtid_set: None,
            covered_until: Some(at("20T11:00:00")),
        }),
        continues: reason == Reason::Failover,
        ..fixture::timeline(TimelineId::new(at(began), 7))
    }
}

fn head(timeline: &Timeline, number: u64, covered: &str) -> Head {
    Head {
        format: FORMAT,
        timeline: timeline.id,
        file: file(number),
        log_pos: 5000,
        segment: None,
        covered_until: Some(at(covered)),
        gtid_set: None,
        written_at: at(covered),
        lag_bytes: 0,
        commit_last: None,
        expire_seconds: Some(86_400),
        ahead_seconds: None,
        late: Vec::new(),
    }
}

async fn put(store: &MemoryStore, object: &LogObject, body: Vec<u8>) {
    store
        .put(&target().log_object(object), body.into())
        .await
        .unwrap();
}

/// Stores a timeline, and the first segment of each of its files.
async fn archive(store: &MemoryStore, timeline: &Timeline, files: std::ops::Range<u64>) {
    let json = serde_json::to_vec(timeline).unwrap();
    put(store, &LogObject::Timeline(timeline.id), json).await;
    for number in files {
        let mut packer = Packer::new().unwrap();
        packer.push(b"events").unwrap();
        let place = Place {
            timeline: timeline.id,
            file: file(number),
            from: 0,
            log_pos_to: 6,
            last_event: 6,
            seq: 0,
            prev: None,
            mariadb: false,
            gtid_set: None,
        };
        let contents = Contents {
            first_at: Some(timeline.id.began()),
            ..Contents::default()
        };
        let (_, body) = packer.finish(place, contents).unwrap();
        put(
            store,
            &LogObject::Segment(timeline.id, file(number), 0),
            body,
        )
        .await;
    }
}

async fn beats(store: &MemoryStore, head: &Head) {
    put(store, &LogObject::Head, serde_json::to_vec(head).unwrap()).await;
}

/// A backup that stands in this file.
fn backup(snapshot: &str, number: u64, position: u64) -> Manifest {
    let (_, place) = backups::place();
    let index = FileFacts {
        name: "index.jsonl.zst".into(),
        bytes: 0,
        sha256: Sha256Digest::of(""),
        plain_bytes: None,
    };
    let mut manifest = backups::manifest(&place, Vec::new(), index);
    manifest.snapshot_at = at(snapshot);
    manifest.coordinates = Some(Coordinates {
        file: file(number).to_string(),
        position,
        gtid: Some(String::new()),
        gtid_in_index: false,
    });
    manifest
}

fn snapshot(text: &str) -> Snapshot {
    Snapshot {
        snapshot_at: at(text),
        committed_at: at(text),
        verified: false,
    }
}

fn glancer(store: &MemoryStore) -> Glancer {
    Glancer::new(Arc::new(store.clone()), target())
}

#[tokio::test]
async fn a_look_costs_the_same_with_a_hundred_thousand_objects() {
    let store = MemoryStore::new();
    let first = timeline("20T00:00:00", Reason::First, 1, None);
    archive(&store, &first, 1..10).await;
    for from in 1..100_000 {
        let object = LogObject::Segment(first.id, file(9), from);
        put(&store, &object, Vec::new()).await;
    }
    beats(&store, &head(&first, 9, "21T12:00:00")).await;
    let counted = FaultStore::new(Arc::new(store.clone()));
    let mut glancer = Glancer::new(Arc::new(counted.clone()), target());
    let backups = [backup("20T06:00:00", 3, 100), backup("20T18:00:00", 5, 100)];
    let usable: Vec<&Manifest> = backups.iter().collect();
    let requests = || {
        let of = |op| counted.count(op, "");
        (of(Op::List), of(Op::Get), of(Op::Head))
    };
    let now = at("21T12:00:30");
    let glance = glancer.look(&usable, now).await.unwrap().unwrap();
    assert_eq!(glance.recoverable_from, Some(at("20T06:00:00")));
    assert_eq!(requests(), (0, 3, 2));
    glancer.look(&usable, now).await.unwrap().unwrap();
    assert_eq!(requests(), (0, 4, 3), "a GET and a HEAD more");
    // Retention deletes files in their order; what was recoverable no longer is.
    for number in 1..4 {
        let key = target().log_object(&LogObject::Segment(first.id, file(number), 0));
        store.delete(&key).await.unwrap();
    }
    let glance = glancer.look(&usable, now).await.unwrap().unwrap();
    assert_eq!(glance.recoverable_from, Some(at("20T18:00:00")));
    assert_eq!(requests(), (0, 5, 6), "once, both names of what is gone");
    glancer.look(&usable, now).await.unwrap().unwrap();
    assert_eq!(requests(), (0, 6, 7));
}

#[tokio::test]
async fn without_a_log_a_look_is_one_request() {
    let counted = FaultStore::new(Arc::new(MemoryStore::new()));
    let mut glancer = Glancer::new(Arc::new(counted.clone()), target());
    assert_eq!(glancer.look(&[], at("21T00:00:00")).await.unwrap(), None);
    assert_eq!(
        (counted.count(Op::Get, ""), counted.count(Op::Head, "")),
        (1, 0)
    );
}

#[tokio::test]
async fn a_backup_counts_only_where_it_stands_in_the_newest_timeline() {
    let store = MemoryStore::new();
    let first = timeline("20T00:00:00", Reason::First, 1, None);
    let gap = timeline("21T00:00:00", Reason::Gap, 20, Some(&first));
    archive(&store, &first, 1..10).await;
    archive(&store, &gap, 20..30).await;
    beats(&store, &head(&gap, 29, "21T12:00:00")).await;
    let now = at("21T12:00:30");
    let from = async |backups: &[Manifest]| {
        let usable: Vec<&Manifest> = backups.iter().collect();
        let glance = glancer(&store).look(&usable, now).await.unwrap().unwrap();
        assert_eq!(glance.gaps(now).count(), 1);
        (glance.recoverable_from, glance.restorable_until())
    };
    // In the timeline before, of the same names but older than the gap, and ahead of the archive.
    let none = [
        backup("20T06:00:00", 3, 100),
        backup("20T23:00:00", 25, 100),
        backup("21T11:00:00", 29, 5001),
    ];
    assert_eq!(from(&none).await, (None, None));
    let mut elsewhere = backup("21T06:00:00", 25, 100);
    elsewhere.server.identity = "b".into();
    let mut nowhere = backup("21T06:00:00", 25, 100);
    nowhere.coordinates = None;
    assert_eq!(from(&[elsewhere, nowhere]).await.0, None);
    let good = backup("21T06:00:00", 25, 100);
    let found = (Some(at("21T06:00:00")), Some(at("21T12:00:00")));
    assert_eq!(from(&[good.clone(), none[0].clone()]).await, found);
    let with_gtids = |gtid: Option<&str>, gtid_in_index| {
        let mut backup = good.clone();
        let at = backup.coordinates.as_mut().unwrap();
        (at.gtid, at.gtid_in_index) = (gtid.map(str::to_owned), gtid_in_index);
        backup
    };
    assert_eq!(
        from(&[with_gtids(None, true)]).await,
        found,
        "too long for the manifest"
    );
    assert_eq!(from(&[with_gtids(None, false)]).await.0, None);
}

#[tokio::test]
async fn what_was_covered_is_behind_a_backup_and_not_late() {
    let store = MemoryStore::new();
    let first = timeline("19T00:00:00", Reason::First, 1, None);
    let gap = timeline("20T12:00:00", Reason::Rewound, 1, Some(&first));
    archive(&store, &first, 1..10).await;
    archive(&store, &gap, 1..10).await;
    let head = Head {
        ahead_seconds: None,
        late: vec![Late {
            from: at("21T03:00:00"),
            to: at("21T05:00:00"),
        }],
        ..head(&gap, 9, "21T12:00:00")
    };
    beats(&store, &head).await;
    let now = at("21T12:00:30");
    let backups = [backup("20T18:00:00", 5, 100)];
    let usable: Vec<&Manifest> = backups.iter().collect();
    let glance = glancer(&store).look(&usable, now).await.unwrap().unwrap();
    let snapshots = [snapshot("19T06:00:00"), snapshot("20T18:00:00")];
    let covered = |from: &str, to: &str| Covered {
        from: at(from),
        to: at(to),
    };
    assert_eq!(
        glance.covered(&snapshots),
        [
            covered("19T06:00:00", "20T11:00:00"),
            covered("20T18:00:00", "21T03:00:00"),
            covered("21T05:00:00", "21T12:00:00"),
        ]
    );
    assert!(glance.newest(Reason::Rewound, now).is_some());
    assert!(glance.newest(Reason::Gap, now).is_none());
    // Without a backup in the newest timeline nothing of it can be restored.
    let glance = glancer(&store).look(&[], now).await.unwrap().unwrap();
    assert_eq!(glance.covered(&snapshots).len(), 1);
    let month = now + SignedDuration::from_hours(32 * 24);
    assert_eq!(glance.gaps(month).count(), 0);
}

#[tokio::test]
async fn the_margin_shrinks_while_nothing_is_archived() {
    let store = MemoryStore::new();
    let first = timeline("20T00:00:00", Reason::First, 1, None);
    archive(&store, &first, 1..2).await;
    beats(&store, &head(&first, 1, "21T12:00:00")).await;
    let margin = async |store: &MemoryStore, now: Timestamp| {
        let glance = glancer(store).look(&[], now).await.unwrap().unwrap();
        glance.purge_margin(now).map(|margin| margin.as_secs())
    };
    assert_eq!(margin(&store, at("21T12:00:00")).await, Some(86_400));
    assert_eq!(margin(&store, at("22T13:00:00")).await, Some(-3600));
    let forever = Head {
        expire_seconds: None,
        ..head(&first, 1, "21T12:00:00")
    };
    beats(&store, &forever).await;
    assert_eq!(margin(&store, at("22T13:00:00")).await, None);
}

#[tokio::test]
async fn a_heartbeat_that_cannot_be_read_only_gets_older() {
    let store = MemoryStore::new();
    let first = timeline("20T00:00:00", Reason::First, 1, None);
    archive(&store, &first, 1..2).await;
    let good = head(&first, 1, "21T12:00:00");
    beats(&store, &good).await;
    let mut glancer = glancer(&store);
    let now = at("21T12:00:30");
    glancer.look(&[], now).await.unwrap();
    put(&store, &LogObject::Head, b"{".to_vec()).await;
    let glance = glancer.look(&[], now).await.unwrap().unwrap();
    assert_eq!(glance.head, good);
    let unread = Glancer::new(Arc::new(store.clone()), target())
        .look(&[], now)
        .await;
    assert_eq!(unread.unwrap_err().outcome(), Outcome::Archive);
}

#[test]
fn a_heartbeat_of_an_older_streamer_is_read() {
    let json = r#"{"format":1,"timeline":"20261120T000000Z-0007","file":"b.000001","log_pos":5,
        "covered_until":null,"gtid_set":null,"written_at":"2026-11-20T00:00:00Z","lag_bytes":0}"#;
    let head: Head = serde_json::from_str(json).unwrap();
    assert_eq!((head.expire_seconds, head.late.len()), (None, 0));
}
