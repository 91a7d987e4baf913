//! The event that begins a transaction, and the one at the head of a file that says what came before.

use jiff::Timestamp;
use mysql_async::binlog::BinlogVersion;
use mysql_async::binlog::events::{
    Event as DriverEvent, FormatDescriptionEvent, GtidEvent, PreviousGtidsEvent,
};
use serde::{Deserialize, Serialize};

use super::event::{Checksum, Event, HEADER_BYTES, damaged, kind, u32_at, u64_at};
use super::gtid::{Gtid, GtidSet};
use crate::Result;

/// Beginning of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// Its id; `None` on a MySQL server without GTIDs.
    pub gtid: Option<Gtid>,
    /// When it was committed: to the microsecond on MySQL, to the second on MariaDB.
    pub committed_at: Timestamp,
    /// Whether it is one statement, without an event that ends it (MariaDB).
    pub standalone: bool,
}

/// Reads the event that begins a transaction; `None` if it is another one.
pub fn begin(event: &Event<'_>, checksum: Checksum) -> Result<Option<Begin>> {
    let short = || damaged("an event with a GTID is too short");
    let body = event.body(checksum);
    let second = Timestamp::from_second(event.header.timestamp.into()).unwrap_or_default();
    let begin = match event.header.kind {
        kind::GTID | kind::ANONYMOUS_GTID => {
            let source: [u8; 16] = body
                .get(1..17)
                .and_then(|b| b.try_into().ok())
                .ok_or_else(short)?;
            let number = u64_at(body, 17).ok_or_else(short)?;
            let origin = (u128::from_be_bytes(source), String::new());
            let is_named = event.header.kind == kind::GTID;
            Begin {
                gtid: is_named.then_some(Gtid::MySql(origin, number)),
                committed_at: immediate_commit(body).unwrap_or(second),
                standalone: false,
            }
        }
        kind::TAGGED_GTID => {
            let driver = for_driver(event, body)?;
            let read: GtidEvent = driver.read_event().map_err(|e| short().because(e))?;
            let tag = read.tag().map(ToString::to_string).unwrap_or_default();
            let origin = (u128::from_be_bytes(read.sid()), tag);
            Begin {
                gtid: Some(Gtid::MySql(origin, read.gno())),
                committed_at: microseconds(read.immediate_commit_timestamp()).unwrap_or(second),
                standalone: false,
            }
        }
        kind::MARIADB_GTID => {
            const STANDALONE: u8 = 1;
            let flags = *body.get(12).ok_or_else(short)?;
            Begin {
                gtid: Some(Gtid::MariaDb {
                    domain: u32_at(body, 8).ok_or_else(short)?,
                    server: event.header.server_id,
                    sequence: u64_at(body, 0).ok_or_else(short)?,
                }),
                committed_at: second,
                standalone: flags & STANDALONE != 0,
            }
        }
        _ => return Ok(None),
    };
    Ok(Some(begin))
}

/// The time of the commit on the server that wrote the log, from MySQL 8.0 on.
fn immediate_commit(body: &[u8]) -> Option<Timestamp> {
    const LOGICAL_CLOCK: u8 = 2;
    if *body.get(25)? != LOGICAL_CLOCK {
        return None;
    }
    let mut bytes = [0; 8];
    bytes[..7].copy_from_slice(body.get(42..49)?);
    // The highest bit says whether another server committed it at another time.
    microseconds(u64::from_le_bytes(bytes) & !(1 << 55))
}

fn microseconds(count: u64) -> Option<Timestamp> {
    let count = i64::try_from(count).ok().filter(|count| *count > 0)?;
    Timestamp::from_microsecond(count).ok()
}

/// What was executed before a file, from the event at its head; `None` if the event is another one.
pub fn previous(event: &Event<'_>, checksum: Checksum) -> Result<Option<GtidSet>> {
    let body = event.body(checksum);
    match event.header.kind {
        kind::PREVIOUS_GTIDS => {
            let wrong = || damaged("the GTIDs at the head of a file cannot be read");
            let driver = for_driver(event, body)?;
            let read: PreviousGtidsEvent<'_> =
                driver.read_event().map_err(|e| wrong().because(e))?;
            let mut set = GtidSet::empty(false);
            for sid in read.sids() {
                let tag = sid.tag().map(ToString::to_string).unwrap_or_default();
                let origin = (u128::from_be_bytes(sid.uuid()), tag);
                for interval in sid.intervals() {
                    let last = interval.end().checked_sub(1).ok_or_else(wrong)?;
                    if interval.start() == 0 || interval.start() > last {
                        return Err(wrong());
                    }
                    set.add_interval(origin.clone(), interval.start(), last);
                }
            }
            Ok(Some(set))
        }
        kind::MARIADB_GTID_LIST => {
            const COUNT: u32 = (1 << 28) - 1;
            let short = || damaged("the GTIDs at the head of a file are cut off");
            let count = u32_at(body, 0).ok_or_else(short)? & COUNT;
            let mut set = GtidSet::empty(true);
            for n in 0..count as usize {
                let at = 4 + n * 16;
                set.add(&Gtid::MariaDb {
                    domain: u32_at(body, at).ok_or_else(short)?,
                    server: u32_at(body, at + 4).ok_or_else(short)?,
                    sequence: u64_at(body, at + 8).ok_or_else(short)?,
                });
            }
            Ok(Some(set))
        }
        _ => Ok(None),
    }
}

/// The event as the driver reads it, without its checksum.
fn for_driver(event: &Event<'_>, body: &[u8]) -> Result<DriverEvent> {
    let mut header = event.header;
    header.size = (HEADER_BYTES + body.len()) as u32;
    let bytes = [&header.to_bytes()[..], body].concat();
    let description = FormatDescriptionEvent::new(BinlogVersion::Version4);
    DriverEvent::read(&description, bytes.as_slice())
        .map_err(|e| damaged("an event cannot be read").because(e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::event::tests::event;

    #[test]
    fn a_transaction_of_mysql_has_its_commit_to_the_microsecond() {
        let mut body = vec![1];
        body.extend([0xab; 16]);
        body.extend(7u64.to_le_bytes());
        body.push(2);
        body.extend([0; 16]);
        let time: Timestamp = "2026-11-29T22:23:10.123456Z".parse().unwrap();
        let stamp = time.as_microsecond() as u64 | 1 << 55;
        body.extend(&stamp.to_le_bytes()[..7]);
        let bytes = event(kind::GTID, 500, &body);
        let read = begin(&Event::parse(&bytes).unwrap(), Checksum::Crc32);
        let read = read.unwrap().unwrap();
        assert_eq!(read.committed_at, time);
        let id = "abababab-abab-abab-abab-abababababab:7";
        assert_eq!(read.gtid.unwrap().to_string(), id);
        let bytes = event(kind::GTID, 500, &body[..20]);
        assert!(begin(&Event::parse(&bytes).unwrap(), Checksum::Crc32).is_err());
    }

    #[test]
    fn a_transaction_of_mariadb_has_its_server_in_the_header() {
        let body = [&9u64.to_le_bytes()[..], &3u32.to_le_bytes(), &[1]].concat();
        let bytes = event(kind::MARIADB_GTID, 500, &body);
        let read = begin(&Event::parse(&bytes).unwrap(), Checksum::Crc32);
        let read = read.unwrap().unwrap();
        assert_eq!(read.gtid.unwrap().to_string(), "3-1-9");
        assert!(read.standalone);
    }

    #[test]
    fn what_came_before_a_file_is_read_of_both_flavours() {
        let mut body = 1u64.to_le_bytes().to_vec();
        body.extend([0x11; 16]);
        body.extend(1u64.to_le_bytes());
        body.extend([1u64.to_le_bytes(), 6u64.to_le_bytes()].concat());
        let bytes = event(kind::PREVIOUS_GTIDS, 500, &body);
        let set = previous(&Event::parse(&bytes).unwrap(), Checksum::Crc32);
        let shown = "11111111-1111-1111-1111-111111111111:1-5";
        assert_eq!(set.unwrap().unwrap().to_string(), shown);
        let entry = |server: u32, sequence: u64| {
            [
                &0u32.to_le_bytes()[..],
                &server.to_le_bytes(),
                &sequence.to_le_bytes(),
            ]
            .concat()
        };
        let body = [2u32.to_le_bytes().to_vec(), entry(2, 40), entry(1, 59)].concat();
        let bytes = event(kind::MARIADB_GTID_LIST, 500, &body);
        let set = previous(&Event::parse(&bytes).unwrap(), Checksum::Crc32);
        assert_eq!(set.unwrap().unwrap().to_string(), "0-1-59");
    }
}
