//! Framing of real and constructed dumps.

use std::fs;
use std::path::Path;

use super::*;
use crate::sql::scan::Scanner;

/// The frames of a dump, and the end of its stream.
fn frames(stream: u32, dump: &[u8], frame_bytes: usize) -> Result<(Vec<RawFrame>, StreamEnd)> {
    let mut scanner = Scanner::new();
    let mut framer = Framer::new(stream, Session::default(), frame_bytes);
    scanner.push(dump);
    scanner.finish();
    let mut frames = Vec::new();
    while let Some(statement) = scanner.next().unwrap() {
        framer.push(&statement)?;
        frames.extend(std::iter::from_fn(|| framer.due()));
    }
    let (last, end) = framer.finish()?;
    assert!(last.after_rows.is_none());
    frames.extend(last.frame);
    Ok((frames, end))
}

fn texts(frames: &[RawFrame]) -> Vec<&str> {
    frames
        .iter()
        .map(|frame| std::str::from_utf8(&frame.sql).unwrap())
        .collect()
}

const TABLE: &str = "CREATE TABLE `t` (`a` int);\n";

/// An INSERT of this many bytes.
fn insert(bytes: usize) -> String {
    let empty = "INSERT INTO `t` VALUES ('');\n";
    let value = "x".repeat(bytes - empty.len());
    format!("INSERT INTO `t` VALUES ('{value}');\n")
}

fn corpus() -> impl Iterator<Item = Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/dumps");
    let paths = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|it| it == "sql"))
        .map(|path| fs::read(path).unwrap())
}

#[test]
fn the_concatenated_frames_of_a_real_dump_are_the_dump_for_any_frame_size() {
    let mut most = 0;
    for dump in corpus() {
        for frame_bytes in [1, 100, 1000, 4000, FRAME_BYTES] {
            let (frames, end) = frames(0, &dump, frame_bytes).unwrap();
            let all: Vec<u8> = frames
                .iter()
                .chain([&end.trailer])
                .flat_map(|frame| frame.sql.clone())
                .collect();
            assert!(all == dump);
            let mut session = Session::default();
            for frame in frames.iter().chain([&end.trailer]) {
                assert_eq!(frame.before, session);
                session = frame.after.clone();
            }
            most = most.max(frames.len());
        }
    }
    assert!(most > 20, "{most}");
}

#[test]
fn a_frame_of_a_real_dump_has_the_same_statements_alone_as_in_the_dump() {
    for dump in corpus() {
        for frame_bytes in [1, 300, 2000] {
            let (frames, _) = frames(0, &dump, frame_bytes).unwrap();
            for frame in frames {
                let mut scanner = Scanner::resuming(frame.before.clone());
                scanner.push(&frame.sql);
                scanner.finish();
                let (mut sections, mut longest) = (Vec::new(), 0);
                while let Some(statement) = scanner.next().unwrap() {
                    longest = longest.max(statement.text.len());
                    if let Some(section) = statement.kind.section() {
                        note(&mut sections, &section);
                    }
                }
                assert_eq!(sections, frame.sections);
                assert_eq!(longest, frame.longest);
                assert_eq!(scanner.session(), &frame.after);
                assert!(scanner.session().at_rest());
                for rows in &frame.rows {
                    assert!(frame.sql[rows.text.clone()].starts_with(b"INSERT"));
                    assert!(frame.tables.contains(&rows.table));
                }
            }
        }
    }
}

#[test]
fn a_frame_that_is_exactly_full_is_one_frame_and_another_byte_makes_two() {
    let other = "CREATE TABLE `u` (`a` int);\n";
    let dump = format!("{TABLE}{other}");
    assert_eq!(frames(0, dump.as_bytes(), dump.len()).unwrap().0.len(), 1);
    let (two, _) = frames(0, dump.as_bytes(), dump.len() - 1).unwrap();
    assert_eq!(texts(&two), [TABLE, other]);
}

#[test]
fn a_statement_that_is_longer_than_a_frame_has_a_separate_frame() {
    let (small, long) = (insert(50), insert(5000));
    let dump = format!("{TABLE}{long}{small}{small}");
    let (frames, _) = frames(0, dump.as_bytes(), 1000).unwrap();
    assert_eq!(texts(&frames), [TABLE, &long, &small.repeat(2)]);
    let longest: Vec<usize> = frames.iter().map(|frame| frame.longest).collect();
    assert_eq!(longest, [TABLE.len(), 5000, 50]);
}

#[test]
fn a_statement_that_is_longer_than_a_frame_is_complete_before_the_next_one() {
    let mut scanner = Scanner::new();
    let mut framer = Framer::new(0, Session::default(), 1000);
    scanner.push(format!("{TABLE}{}{}", insert(50), insert(5000)).as_bytes());
    let mut waiting = Vec::new();
    while let Some(statement) = scanner.next().unwrap() {
        framer.push(&statement).unwrap();
        while framer.due().is_some() {}
        waiting.push(framer.frame.sql.len());
    }
    assert_eq!(waiting, [TABLE.len(), TABLE.len() + 50, 0]);
}

#[test]
fn long_runs_of_rows_are_in_separate_frames() {
    let row = insert(60);
    let other = "CREATE TABLE `u` (`a` int);\n";
    // A long run has more than an eighth of 1000 bytes: not two rows, but three.
    let few = format!("{TABLE}{row}{row}{other}");
    assert_eq!(frames(0, few.as_bytes(), 1000).unwrap().0.len(), 1);
    let many = format!("{TABLE}{row}{row}{row}{other}");
    let (many, _) = frames(0, many.as_bytes(), 1000).unwrap();
    assert_eq!(texts(&many), [TABLE, &row.repeat(3), other]);
    let sections: Vec<_> = many.iter().map(|frame| frame.sections.clone()).collect();
    assert_eq!(
        sections,
        [[Section::PreData], [Section::Data], [Section::PreData]]
    );
    assert_eq!(many[1].tables, [ObjectId::table("", "t")]);
    let places: Vec<usize> = (many[1].rows.iter()).map(|rows| rows.text.start).collect();
    assert_eq!(places, [0, 60, 120]);
}

#[test]
fn settings_comments_and_drops_belong_to_the_next_block() {
    let behind = "-- c\nSET sql_mode='';\nDROP TABLE IF EXISTS `u`;\nCREATE TABLE `u` (`a` int);\n";
    let dump = format!("{TABLE}{behind}");
    let (two, _) = frames(0, dump.as_bytes(), 1).unwrap();
    assert_eq!(texts(&two), [TABLE, behind]);
}

#[test]
fn statements_between_a_setting_and_its_restoration_are_not_divided() {
    let trigger = "SET @saved_sql_mode = @@sql_mode;\nSET sql_mode='';\n";
    let body = "CREATE TRIGGER `r` BEFORE INSERT ON `t` FOR EACH ROW SET @a=1;\n";
    let back = "SET sql_mode = @saved_sql_mode;\n";
    let first = "SET sql_mode='ANSI';\n";
    let dump = format!("{first}{trigger}{body}{body}{back}{TABLE}").replacen("`r`", "`q`", 1);
    let (frames, _) = frames(0, dump.as_bytes(), 1).unwrap();
    assert_eq!(frames.len(), 2);
    assert!(texts(&frames)[0].ends_with(back));
    assert_eq!(texts(&frames)[1], TABLE);
}

#[test]
fn a_stream_without_statements_has_no_frames() {
    let (none, end) = frames(0, b"", 100).unwrap();
    assert!(none.is_empty() && end.trailer.sql.is_empty());
    let (none, end) = frames(0, b"-- only words\nSET sql_mode='';\n", 1).unwrap();
    assert!(none.is_empty());
    assert_eq!(end.trailer.sql, b"-- only words\nSET sql_mode='';\n");
    assert_ne!(end.trailer.after, end.trailer.before);
}

#[test]
fn a_truncated_stream_is_rejected() {
    for dump in [
        "SET sql_mode='ANSI';\nSET @saved_sql_mode = @@sql_mode;\nSET sql_mode='';\n",
        "DELIMITER ;;\n",
    ] {
        let error = frames(0, dump.as_bytes(), 100).unwrap_err();
        assert_eq!(error.outcome().code(), 4, "{dump}");
    }
}

#[test]
fn a_dump_that_defines_an_object_twice_is_rejected() {
    let dump = format!("{TABLE}{}", TABLE.replace("int", "bigint"));
    assert_eq!(
        frames(0, dump.as_bytes(), 100)
            .unwrap_err()
            .outcome()
            .code(),
        4
    );
}

#[test]
fn only_the_header_of_the_first_stream_is_kept() {
    let header = "-- header\nSET sql_mode='ANSI';\n";
    let first = "DROP DATABASE IF EXISTS `d`;\n-- more\nCREATE DATABASE `d`;\n";
    let dump = format!("{header}{first}");
    let (with, _) = frames(0, dump.as_bytes(), 1000).unwrap();
    assert_eq!(texts(&with), [&dump]);
    let (without, _) = frames(1, dump.as_bytes(), 1000).unwrap();
    assert_eq!(texts(&without), [first]);
    assert_eq!(without[0].before.variable("sql_mode"), Some("'ANSI'"));
}

/// The definitions in frames, each executed in its own session.
fn definitions(frames: &[RawFrame]) -> Ledger {
    let mut objects = Ledger::default();
    for frame in frames {
        let mut scanner = Scanner::resuming(frame.before.clone());
        scanner.push(&frame.sql);
        scanner.finish();
        let mut session = frame.before.clone();
        while let Some(statement) = scanner.next().unwrap() {
            objects.observe(&statement, &session).unwrap();
            session.apply(&statement);
        }
        assert_eq!(session, frame.after);
    }
    objects
}

#[test]
fn definitions_alone_are_divided_by_whether_they_follow_the_rows_and_keep_their_sessions() {
    let mut followed = 0;
    for dump in corpus() {
        for frame_bytes in [1, 300, FRAME_BYTES] {
            let mut scanner = Scanner::new();
            scanner.push(&dump);
            scanner.finish();
            let mut framer = Framer::of_definitions(0, 1, frame_bytes);
            let (mut before, mut after) = (Vec::new(), Vec::new());
            while let Some(statement) = scanner.next().unwrap() {
                if statement.kind.section() != Some(Section::Data) {
                    framer.push(&statement).unwrap();
                }
                before.extend(std::iter::from_fn(|| framer.due()));
                after.extend(std::iter::from_fn(|| framer.due_after_rows()));
            }
            let (last, end) = framer.finish().unwrap();
            before.extend(last.frame);
            after.extend(last.after_rows);
            assert!(
                before
                    .iter()
                    .all(|it| !it.sections.contains(&Section::PostData))
            );
            assert!(
                after
                    .iter()
                    .all(|it| it.sections == [Section::PostData] && it.stream == 1)
            );
            let mut divided = definitions(&before);
            divided.merge(definitions(&after)).unwrap();
            assert!(divided.iter().eq(end.objects.iter()), "{frame_bytes}");
            followed += after.len();
        }
    }
    assert!(followed > 20, "{followed}");
}
