//! What a stretch of events holds: transactions, times, statements, tables.

use std::collections::HashMap;

use jiff::Timestamp;

use super::event::{Checksum, Event, kind, rotated_to};
use super::group::{Groups, Step};
use super::gtid::{Gtid, GtidSet};
use super::gtid_event::{self, Begin};
use super::record::{Contents, FileEnd, LoggedStatement, TableBytes};
use super::statement::{mapped, query, table_id};
use crate::Result;

/// How many statements a segment lists.
const MOST_STATEMENTS: usize = 100;

/// How many tables a segment lists.
const MOST_TABLES: usize = 200;

/// How many numbers of tables are remembered: servers give new ones again and again.
const MOST_MAPPED: usize = 10_000;

/// Follows the events of a timeline.
#[derive(Debug, Clone)]
pub struct Digest {
    /// Where transactions begin and end.
    groups: Groups,
    /// Names of tables by their numbers.
    tables: HashMap<u64, String>,
    /// What the segment holds so far.
    contents: Contents,
    /// The transactions that ended in the segment.
    gtids: GtidSet,
    mariadb: bool,
}

impl Digest {
    /// At the beginning of a timeline, between transactions.
    pub fn new(mariadb: bool) -> Digest {
        Digest {
            groups: Groups::default(),
            tables: HashMap::new(),
            contents: Contents::default(),
            gtids: GtidSet::empty(mariadb),
            mariadb,
        }
    }

    /// Behind a segment, where a transaction may be open.
    pub fn behind(mariadb: bool, groups: Groups) -> Digest {
        Digest {
            groups,
            ..Digest::new(mariadb)
        }
    }

    /// Place among transactions.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// Whether no transaction is open.
    pub fn at_rest(&self) -> bool {
        self.groups.at_rest()
    }

    /// The transaction that is open.
    pub fn open(&self) -> Option<&Begin> {
        self.groups.open()
    }

    /// Takes an event, and returns the transaction that it ends.
    pub fn take(&mut self, event: &Event<'_>, checksum: Checksum) -> Result<Option<Option<Gtid>>> {
        let header = event.header;
        if self.contents.first_at.is_none() && header.timestamp != 0 {
            self.contents.first_at = Timestamp::from_second(header.timestamp.into()).ok();
        }
        if header.kind == kind::FORMAT_DESCRIPTION {
            // The server crashed in the midst of a transaction, which never happened.
            self.groups.abandon();
            self.tables.clear();
        }
        let open = self.groups.open().cloned();
        let step = self.groups.take(event, checksum)?;
        match header.kind {
            kind::QUERY | kind::MARIADB_QUERY_COMPRESSED => {
                let committed = open.map(|begin| (begin.gtid, begin.committed_at));
                self.list(event, checksum, committed)?;
            }
            kind::TABLE_MAP => {
                if self.tables.len() >= MOST_MAPPED {
                    self.tables.clear();
                }
                self.tables.extend(mapped(event, checksum));
            }
            kind::ROTATE => {
                let to = rotated_to(event.body(checksum));
                let to = to.and_then(|(_, name)| name.parse().ok());
                self.contents.ends = to.map(FileEnd::Rotate);
            }
            kind::STOP => self.contents.ends = Some(FileEnd::Stop),
            kind::INCIDENT => self.contents.ends = Some(FileEnd::Incident),
            other => self.rows(other, event, checksum),
        }
        let Step::Ends(begin) = step else {
            return Ok(None);
        };
        let at = begin.committed_at;
        let contents = &mut self.contents;
        contents.transactions += 1;
        contents.commit_first.get_or_insert(at);
        contents.commit_last = Some(contents.commit_last.map_or(at, |last| last.max(at)));
        if let Some(gtid) = &begin.gtid {
            self.gtids.add(gtid);
        }
        Ok(Some(begin.gtid))
    }

    fn list(
        &mut self,
        event: &Event<'_>,
        checksum: Checksum,
        committed: Option<(Option<Gtid>, Timestamp)>,
    ) -> Result<()> {
        let Some(listed) = query(event, checksum)?.listed() else {
            return Ok(());
        };
        if self.contents.statements.len() >= MOST_STATEMENTS {
            self.contents.more_statements += 1;
            return Ok(());
        }
        let second = Timestamp::from_second(event.header.timestamp.into()).unwrap_or_default();
        let (gtid, at) = committed.unwrap_or((None, second));
        self.contents.statements.push(LoggedStatement {
            gtid: gtid.map(|gtid| gtid.to_string()),
            at,
            kind: listed.kind,
            objects: listed.objects,
            sql: listed.sql,
        });
        Ok(())
    }

    /// Counts row events: of MySQL, of MariaDB 10, and the compressed ones of MariaDB.
    fn rows(&mut self, kind: u8, event: &Event<'_>, checksum: Checksum) {
        let body = event.body(checksum);
        let bytes = body.len() as u64;
        let change = match kind {
            23 | 30 | 166 | 169 => TableBytes {
                inserted: bytes,
                ..TableBytes::default()
            },
            24 | 31 | 39 | 167 | 170 => TableBytes {
                updated: bytes,
                ..TableBytes::default()
            },
            25 | 32 | 168 | 171 => TableBytes {
                deleted: bytes,
                ..TableBytes::default()
            },
            _ => return,
        };
        let Some(table) = table_id(body).and_then(|id| self.tables.get(&id)) else {
            return;
        };
        let tables = &mut self.contents.tables;
        if tables.len() >= MOST_TABLES && !tables.contains_key(table) {
            self.contents.more_tables += 1;
            return;
        }
        let sum = tables.entry(table.clone()).or_default();
        sum.inserted += change.inserted;
        sum.updated += change.updated;
        sum.deleted += change.deleted;
    }

    /// Ends the segment: what it held. The next one goes on where it ended.
    pub fn cut(&mut self, checksum: Checksum) -> Contents {
        let gtids = std::mem::replace(&mut self.gtids, GtidSet::empty(self.mariadb));
        Contents {
            gtids: gtids.to_string(),
            complete: self.groups.at_rest(),
            checksum: checksum == Checksum::Crc32,
            ..std::mem::take(&mut self.contents)
        }
    }

    /// What was executed before the file, if this event says so.
    pub fn previous(event: &Event<'_>, checksum: Checksum) -> Result<Option<GtidSet>> {
        gtid_event::previous(event, checksum)
    }
}
