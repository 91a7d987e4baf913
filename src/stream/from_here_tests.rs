//! Backups and stretches of a log: which lie in which.

use super::*;
use crate::binlog::fixture;
use crate::binlog::record::Timeline;

const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

fn time(text: &str) -> Timestamp {
    format!("2026-11-30T{text}Z").parse().unwrap()
}

/// Files 3 to 5 of a server, archived up to position 1000, with all transactions from 11 to 50.
fn stretch(id: &str, from: &str, to: &str) -> Stretch {
    let id: TimelineId = id.parse().unwrap();
    Stretch {
        timeline: Timeline {
            gtid_set: Some(format!("{A}:1-10")),
            ..fixture::timeline(id)
        },
        first_file: fixture::file(3),
        last_file: fixture::file(5),
        log_pos: 1000,
        gtid_set: Some(format!("{A}:1-50")),
        from: time(from),
        to: time(to),
    }
}

fn manifest(at: &str, file: u32, position: u64, gtids: Option<&str>) -> Manifest {
    let golden = "tests/golden/one-stream/golden/20261121T020000Z-000001/manifest.json";
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(golden);
    let mut manifest = Manifest::from_bytes(&std::fs::read(golden).unwrap()).unwrap();
    manifest.snapshot_at = time(at);
    manifest.server.flavour = "mysql".into();
    manifest.server.identity = "mysql:a".into();
    manifest.coordinates = Some(Coordinates {
        file: format!("b.{file:06}"),
        position,
        gtid: gtids.map(|gtids| format!("{A}:{gtids}")),
        gtid_in_index: gtids.is_none(),
    });
    manifest
}

#[test]
fn a_backup_lies_in_the_log_by_file_position_gtids_and_time() {
    let one = || vec![stretch("20261130T010000Z-0001", "01:00:00", "02:00:00")];
    // Behind it the same files again, after a RESET.
    let two = || {
        let mut all = one();
        all.push(stretch("20261130T030000Z-0002", "03:00:00", "04:00:00"));
        all
    };
    // The same, soon: its files end before the place of a backup made just before.
    let soon = || {
        let mut all = vec![stretch("20261130T010000Z-0001", "01:00:00", "02:59:00")];
        let mut next = stretch("20261130T030000Z-0002", "03:00:00", "04:00:00");
        next.last_file = next.first_file.clone();
        next.gtid_set = Some(format!("{A}:1-12"));
        all.push(next);
        all
    };
    for (stretches, backup, said) in [
        (
            one(),
            manifest("01:30:00", 4, 500, Some("1-30")),
            "yes, up to 2026-11-30T02:00:00Z",
        ),
        (one(), manifest("01:30:00", 5, 999, None), "yes, up to"),
        // The beginning: what is before it may be of another life.
        (
            one(),
            manifest("01:00:00", 3, 4, Some("1-10")),
            "yes, up to",
        ),
        (
            one(),
            manifest("00:59:59", 3, 4, Some("1-10")),
            "no (its place, b.000003:4, is not archived)",
        ),
        // The end: what follows may be of another life, unless it is exactly the end.
        (
            one(),
            manifest("02:01:00", 5, 1000, Some("1-50")),
            "yes, up to 2026-11-30T02:01:00Z",
        ),
        (
            one(),
            manifest("02:01:00", 5, 1000, None),
            "not yet (the log is covered up to 2026-11-30T02:00:00Z)",
        ),
        (
            one(),
            manifest("02:01:00", 4, 500, Some("1-30")),
            "not yet (the log is covered up to",
        ),
        (
            one(),
            manifest("02:01:00", 5, 1001, Some("1-51")),
            "not yet (the log is archived up to b.000005 position 1000)",
        ),
        (
            one(),
            manifest("02:01:00", 6, 200, None),
            "not yet (the log is archived up to",
        ),
        // Another life of the server, by its GTIDs.
        (
            one(),
            manifest("02:01:00", 6, 200, Some("1-40")),
            "no (its place",
        ),
        (
            one(),
            manifest("01:30:00", 4, 500, Some("1-9")),
            "no (its place",
        ),
        (
            one(),
            manifest("01:30:00", 4, 500, Some("1-51")),
            "no (its place",
        ),
        // Deleted, or never archived.
        (
            one(),
            manifest("01:30:00", 2, 500, Some("1-15")),
            "no (its place",
        ),
        (
            vec![],
            manifest("01:30:00", 4, 500, Some("1-30")),
            "no (no binary log is archived)",
        ),
        // Two timelines with the same names.
        (
            two(),
            manifest("01:30:00", 4, 500, Some("1-30")),
            "yes, up to 2026-11-30T02:00:00Z",
        ),
        (
            two(),
            manifest("03:30:00", 4, 500, Some("1-30")),
            "yes, up to 2026-11-30T04:00:00Z",
        ),
        (
            two(),
            manifest("02:30:00", 4, 500, Some("1-30")),
            "no (its place",
        ),
        (
            two(),
            manifest("02:30:00", 5, 1001, Some("1-51")),
            "no (its place",
        ),
        (
            soon(),
            manifest("02:58:00", 4, 500, Some("1-30")),
            "yes, up to 2026-11-30T02:59:00Z",
        ),
    ] {
        let here = FromHere::of(&backup, &stretches).to_string();
        assert!(here.starts_with(said), "{here}, not {said}: {backup:?}");
    }
}

#[test]
fn without_coordinates_or_on_another_server_nothing_can_begin() {
    let stretches = [stretch("20261130T010000Z-0001", "01:00:00", "02:00:00")];
    let mut backup = manifest("01:30:00", 4, 500, Some("1-30"));
    backup.server.identity = "mysql:b".into();
    let said = |backup: &Manifest| FromHere::of(backup, &stretches).to_string();
    assert_eq!(said(&backup), "no (the archived log is another server's)");
    backup.coordinates.as_mut().unwrap().gtid = None;
    assert_eq!(said(&backup), "no (its GTIDs are not recorded)");
    backup.coordinates = None;
    assert_eq!(
        said(&backup),
        "no (its place in the binary log is not recorded)"
    );
}
