//! Limits.

use std::sync::Arc;

use super::*;
use crate::catalog::Marks;
use crate::layout::TargetName;
use crate::store::memory::MemoryStore;
use crate::util::digest;

fn name(level: u8) -> SummaryName {
    let written = BackupId::new(Timestamp::UNIX_EPOCH, 1);
    SummaryName { written, level }
}

fn record(number: i64) -> Record {
    Record {
        id: BackupId::new(Timestamp::from_second(number).unwrap(), 1),
        modified: Timestamp::UNIX_EPOCH,
        manifest: format!("{number}"),
        signature: None,
    }
}

/// Reads of a list of a hundred backups, of which each is wanted.
fn reading() -> Reading {
    let target: TargetName = "shop".parse().unwrap();
    let mut catalog = Catalog::of(Arc::new(MemoryStore::new()), target, &[]);
    for record in (0..100).map(record) {
        let marks = Marks {
            committed: true,
            manifest_bytes: record.manifest.len() as u64,
            manifest_at: Some(record.modified),
            manifest_etag: Some(digest::md5(&record.manifest)),
            ..Marks::default()
        };
        catalog.marks.insert(record.id, marks);
    }
    let wanted = catalog.marks.keys().copied().collect();
    Reading::new(&catalog, wanted, true)
}

fn lines(numbers: impl Iterator<Item = i64>) -> String {
    let lines = numbers.map(|number| serde_json::to_string(&record(number)).unwrap() + "\n");
    lines.collect()
}

fn stored(text: &str) -> Vec<u8> {
    zstd::encode_all(text.as_bytes(), 1).unwrap()
}

#[test]
fn a_record_that_is_too_long_ends_a_summary() {
    let mut reading = reading();
    let spaces = " ".repeat(2 * MAX_LINE_BYTES as usize);
    let text = lines(0..1) + &spaces + &lines(1..3);
    reading.add(name(0), &stored(&text));
    assert_eq!(reading.records.len(), 1);
}

#[test]
fn the_records_of_one_backup_are_kept_once() {
    let mut reading = reading();
    reading.add(
        name(0),
        &stored(&lines((0..1_000).map(|number| number % 50))),
    );
    assert_eq!(reading.records.len(), 50);
    assert!(!reading.is_done());
    reading.add(name(0), &stored(&lines(50..100)));
    assert!(reading.is_done());
}

#[test]
fn all_summaries_share_one_budget() {
    let mut reading = reading();
    let text = lines(0..10);
    reading.budget = text.len() as u64 + 10;
    reading.add(name(0), &stored(&text));
    assert_eq!((reading.records.len(), reading.budget), (10, 10));
    reading.add(name(1), &stored(&lines(10..20)));
    assert_eq!((reading.records.len(), reading.budget), (10, 0));
    assert!(reading.is_done());
    assert!(!reading.is_useless(&name(1)), "it was not read to the end");
}

#[test]
fn a_frame_with_a_huge_window_is_not_decompressed() {
    let mut text = zstd::Encoder::new(Vec::new(), 1).unwrap();
    text.window_log(27).unwrap();
    std::io::Write::write_all(&mut text, lines(0..10).as_bytes()).unwrap();
    let mut reading = reading();
    reading.add(name(0), &text.finish().unwrap());
    assert_eq!(reading.records.len(), 0);
}
