//! Records for tests, which change what they are about.

use crate::binlog::record::{Contents, FORMAT, Reason, Record, Timeline};
use crate::layout::{LogFile, TimelineId};

/// The first timeline of the server `mysql:a`, from file 1 on.
pub(crate) fn timeline(id: TimelineId) -> Timeline {
    Timeline {
        format: FORMAT,
        id,
        reason: Reason::First,
        server: "mysql:a".into(),
        version: "9.7.4".into(),
        mariadb: false,
        file: file(1),
        gtid_set: None,
        parent: None,
        continues: false,
        missing: None,
        target: None,
    }
}

/// A file of that server.
pub(crate) fn file(number: u64) -> LogFile {
    format!("b.{number:06}").parse().unwrap()
}

/// The only segment of a file of 1,000 bytes.
pub(crate) fn record(timeline: TimelineId, file: LogFile) -> Record {
    Record {
        format: FORMAT,
        timeline,
        file,
        from: 0,
        to: 1000,
        log_pos_to: 1000,
        last_event: 31,
        seq: 0,
        prev: None,
        xxh3: String::new(),
        mariadb: false,
        contents: Contents::default(),
        gtid_set: None,
    }
}
