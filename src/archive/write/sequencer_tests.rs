//! Prologues, segments, samples, interleaved streams.

use std::collections::BTreeMap;

use super::*;
use crate::archive::codec::Codec;
use crate::archive::fixture::{self, dump, place, small};
use crate::archive::read::Archive;
use crate::archive::write::WriteOptions;
use crate::sql::ledger::Ledger;
use crate::sql::statement::{Kind, Section, Statement};
use crate::store::fault::{Fault, FaultStore, Op};
use crate::store::memory::MemoryStore;

async fn begin(segment_bytes: u64) -> (MemoryStore, Arc<dyn Store>, Sequencer) {
    let (memory, place) = place();
    let store: Arc<dyn Store> = Arc::new(memory.clone());
    let encoders = Encoders::new(Codec::None, 0);
    let sequencer = Sequencer::begin(store.clone(), place, encoders, segment_bytes)
        .await
        .unwrap();
    (memory, store, sequencer)
}

/// The session after a USE.
fn in_schema(name: &str) -> Session {
    let mut session = Session::default();
    session.apply(&Statement {
        text: b"",
        sql: b"",
        kind: Kind::Use {
            schema: name.into(),
        },
    });
    session
}

fn frame(stream: u32, sql: &str, before: &Session, after: &Session) -> RawFrame {
    RawFrame {
        stream,
        sql: sql.into(),
        sections: vec![Section::PreData],
        before: before.clone(),
        after: after.clone(),
        tables: vec![ObjectId::table("d", "t")],
        rows: Vec::new(),
        longest: sql.len(),
    }
}

/// The records of a written index, by kind and in order.
async fn records(store: &Arc<dyn Store>, written: &Written) -> Vec<Record> {
    let index = store.get(&written.index.key, None).await.unwrap();
    let text = zstd::decode_all(&index[..]).unwrap();
    text.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| Record::parse(line).unwrap().unwrap())
        .collect()
}

fn frames_of(records: Vec<Record>) -> Vec<FrameRecord> {
    let frames = records.into_iter().filter_map(|record| match record {
        Record::Frame(frame) => Some(frame),
        _ => None,
    });
    frames.collect()
}

async fn text(store: &Arc<dyn Store>, written: &Written) -> String {
    let mut text = Vec::new();
    for segment in &written.segments {
        text.extend(store.get(&segment.key, None).await.unwrap());
    }
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn a_prologue_is_inserted_only_where_the_session_changes() {
    let (_, store, mut sequencer) = begin(1000).await;
    let (none, a, b) = (Session::default(), in_schema("a"), in_schema("b"));
    for (stream, before, after) in [
        (0, &none, &a),
        (0, &a, &a),
        (1, &b, &b),
        (1, &b, &a),
        (0, &a, &a),
    ] {
        sequencer
            .push_raw(frame(stream, "x;\n", before, after))
            .await
            .unwrap();
    }
    let written = sequencer
        .finish(Ledger::default(), Vec::new())
        .await
        .unwrap();
    assert_eq!(
        text(&store, &written).await,
        "x;\nx;\n-- drctl: stream 1\nUSE `b`;\nx;\nx;\nx;\n"
    );
    let frames = frames_of(records(&store, &written).await);
    let streams: Vec<_> = frames
        .iter()
        .map(|frame| (frame.stream, frame.session, frame.sections.len()))
        .collect();
    assert_eq!(
        streams,
        [
            (0, 0, 1),
            (0, 1, 1),
            (1, 1, 0),
            (1, 2, 1),
            (1, 2, 1),
            (0, 1, 1)
        ]
    );
    assert_eq!(written.longest, "-- drctl: stream 1\n".len() as u64);
}

#[tokio::test]
async fn sessions_and_tables_are_declared_once_before_their_first_use() {
    let (_, store, mut sequencer) = begin(1000).await;
    let none = Session::default();
    for _ in 0..3 {
        sequencer
            .push_raw(frame(0, "x;\n", &none, &none))
            .await
            .unwrap();
    }
    let written = sequencer
        .finish(Ledger::default(), Vec::new())
        .await
        .unwrap();
    let kinds: Vec<&str> = records(&store, &written)
        .await
        .iter()
        .map(|record| match record {
            Record::Session(_) => "session",
            Record::Table(_) => "table",
            Record::Frame(_) => "frame",
            _ => "other",
        })
        .collect();
    assert_eq!(kinds, ["session", "table", "frame", "frame", "frame"]);
}

#[tokio::test]
async fn a_segment_that_is_exactly_full_is_followed_by_the_next() {
    for (limit, segments) in [
        (4, [0, 1, 2]),
        (5, [0, 0, 1]),
        (8, [0, 0, 1]),
        (9, [0, 0, 0]),
        (1, [0, 1, 2]),
    ] {
        let (_, store, mut sequencer) = begin(limit).await;
        let none = Session::default();
        for _ in segments {
            sequencer
                .push_raw(frame(0, "xyz\n", &none, &none))
                .await
                .unwrap();
        }
        let written = sequencer
            .finish(Ledger::default(), Vec::new())
            .await
            .unwrap();
        let frames = frames_of(records(&store, &written).await);
        let found: Vec<u32> = frames.iter().map(|frame| frame.segment).collect();
        assert_eq!(found, segments, "{limit}");
        // No empty segment is begun.
        assert_eq!(written.segments.len() as u32, segments[2] + 1);
        let mut filled = BTreeMap::<u32, u64>::new();
        for frame in &frames {
            let place = filled.entry(frame.segment).or_default();
            assert_eq!(frame.offset, *place);
            *place += frame.stored;
        }
        assert!(
            filled
                .into_values()
                .eq(written.segments.iter().map(|it| it.facts.bytes))
        );
        assert_eq!((written.stored_bytes, written.frames), (12, 3));
    }
}

#[tokio::test]
async fn an_empty_frame_is_not_written() {
    let (_, store, mut sequencer) = begin(1000).await;
    let other = in_schema("b");
    sequencer
        .push_raw(frame(0, "", &other, &other))
        .await
        .unwrap();
    let written = sequencer
        .finish(Ledger::default(), Vec::new())
        .await
        .unwrap();
    assert_eq!((written.frames, written.segments.len()), (0, 0));
    assert!(frames_of(records(&store, &written).await).is_empty());
}

#[tokio::test]
async fn the_sample_is_bounded_evenly_spread_and_begins_with_the_first_frame() {
    let (_, _, mut sequencer) = begin(1 << 20).await;
    let none = Session::default();
    for _ in 0..1000 {
        sequencer
            .push_raw(frame(0, "x;\n", &none, &none))
            .await
            .unwrap();
    }
    let written = sequencer
        .finish(Ledger::default(), Vec::new())
        .await
        .unwrap();
    let sample: Vec<u64> = written.sample.iter().map(|frame| frame.n).collect();
    assert!((16..=32).contains(&sample.len()), "{}", sample.len());
    let step = sample[1];
    assert!(
        sample
            .iter()
            .enumerate()
            .all(|(at, n)| *n == at as u64 * step)
    );
    assert!(sample.last() > Some(&(1000 - 2 * step)), "{sample:?}");
}

/// A ledger of one table.
fn defines(definition: &str) -> Ledger {
    let mut ledger = Ledger::default();
    let statement = Statement {
        text: b"",
        sql: definition.as_bytes(),
        kind: Kind::Create {
            object: ObjectId::table("d", "t"),
            placeholder: false,
        },
    };
    ledger.observe(&statement, &Session::default()).unwrap();
    ledger
}

#[tokio::test]
async fn an_inconsistent_dump_leaves_no_upload_open() {
    let (memory, store, mut sequencer) = begin(1000).await;
    let none = Session::default();
    sequencer
        .push_raw(frame(0, "x;\n", &none, &none))
        .await
        .unwrap();
    sequencer.ledger = defines("CREATE TABLE `t` (`a` int)");
    let other = defines("CREATE TABLE `t` (`b` int)");
    let error = sequencer.finish(other, Vec::new()).await.unwrap_err();
    assert_eq!(error.outcome().code(), 4);
    assert_eq!(memory.unfinished_uploads(), 0);
    // Complete objects are left to `discard`.
    let left = store.list("").await.unwrap();
    assert!(left.iter().all(|object| object.key.ends_with("dump.sql")));
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_are_encoded_out_of_order_are_written_in_order() {
    // Alternately large and small frames: the small ones are ready first.
    let mut sql = String::from("CREATE DATABASE `d`;\nUSE `d`;\nCREATE TABLE `t` (`a` int);\n");
    for n in 0..40u32 {
        let noise: String = (0..if n % 2 == 0 { 20_000 } else { 1 })
            .map(|at: u32| format!("{:08x}", (at ^ n).wrapping_mul(2_654_435_761)))
            .collect();
        sql += &format!("INSERT INTO `t` VALUES ('{noise}');\n");
    }
    sql += "-- Dump completed\n";
    let options = WriteOptions {
        level: 9,
        ..small(1000, 1 << 20)
    };
    let (store, place, manifest) = fixture::archive(&[&sql], options).await;
    assert!(manifest.totals.frames >= 40);
    let archive = Archive::open(store, place).await.unwrap();
    assert!(fixture::text(&archive).await.unwrap() == sql);
}

#[tokio::test(flavor = "multi_thread")]
async fn interleaved_streams_can_be_separated_again() {
    let (a, b) = (dump("a", 60), dump("b", 60));
    let (store, place, manifest) = fixture::archive(&[&a, &b], small(500, 2000)).await;
    assert_eq!(manifest.totals.rows, 120);
    let archive = Archive::open(store, place).await.unwrap();
    let mut frames = archive.frames().unwrap();
    let mut streams = [String::new(), String::new()];
    let mut prologues = 0;
    while let Some(frame) = frames.read().unwrap() {
        let sql = String::from_utf8(archive.fetch(&frame).await.unwrap()).unwrap();
        if sql.starts_with("-- drctl: stream") {
            prologues += 1;
        } else {
            streams[frame.stream as usize] += &sql;
        }
    }
    assert!(prologues >= 2, "{prologues}");
    assert_eq!(streams[0], a);
    let body = b.find("CREATE DATABASE").unwrap()..b.find("SET SQL_MODE=@OLD").unwrap();
    assert_eq!(streams[1], b[body]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_the_store_leaves_no_upload_open() {
    for (op, suffix) in [
        (Op::Upload, "dump.sql.zst"),
        (Op::Upload, "dump.sql.zst.001"),
        (Op::Complete, "dump.sql.zst"),
        (Op::Complete, "index.jsonl.zst"),
    ] {
        let (memory, place) = place();
        let failing = FaultStore::new(Arc::new(memory.clone())).always(op, suffix, Fault::Deny);
        let store: Arc<dyn Store> = Arc::new(failing);
        let (sql, options) = (dump("d", 60), small(500, 300));
        let done = fixture::write(&store, &place, &[&sql], options, Vec::new()).await;
        assert_eq!(done.unwrap_err().outcome().code(), 5, "{op:?} {suffix}");
        // The completion never reaches the store behind the fault, where the upload remains open.
        let kept = usize::from(op == Op::Complete);
        assert_eq!(memory.unfinished_uploads(), kept, "{op:?} {suffix}");
    }
}
