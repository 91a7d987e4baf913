//! Leaves out the statements that are not replayed ([`super::refused`]), and lists them: a transaction that is one
//! such statement becomes an empty one of the same GTID. So does, unlisted, what a restore of some tables does without
//! ([`super::tables`]).
//!
//! What cannot be left out for sure, such as rows of the server's own tables and of others in one statement, ends
//! the replay. So does, on the way through the client, a statement that the client would take for several: the rest of
//! it would be executed, whatever it is.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;

use crate::binlog::event::{Checksum, Event, damaged, kind};
use crate::binlog::gtid::Gtid;
use crate::binlog::gtid_event;
use crate::binlog::statement::{Query, Statement, query, table, table_id};
use crate::replay::as_text::{SPLITS, splits, with_schema};
use crate::replay::feed::Events;
use crate::replay::payload::Payload;
use crate::replay::refused::{Verdict, is_closed, judge};
use crate::replay::tables::{Part, Tables};
use crate::replay::whole::{made, statement};
use crate::{Error, Result};

/// What is served has checksums.
const CHECKSUM: Checksum = Checksum::Crc32;

/// How much of an event inside of a compressed transaction is looked at, bytes.
const MOST_LOOKED_AT: u64 = 1 << 20;

/// A statement that was not replayed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Refused {
    /// GTID of its transaction.
    pub gtid: String,
    /// What it is: `GRANT`, `DROP TABLE mysql.x`.
    pub what: String,
}

/// Statements that were not replayed, in the order of the log; shared with the report.
pub type RefusedList = Arc<Mutex<Vec<Refused>>>;

/// Row events of the statement that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    /// There are none.
    None,
    /// They are replayed.
    Replayed,
    /// They are left out.
    LeftOut,
}

/// Serves events, but for what is refused.
pub struct Filter {
    events: Box<dyn Events>,
    /// The transaction that is open, or that was.
    gtid: Option<Gtid>,
    /// The event that begins it, until it is known what it begins.
    begin: Option<Bytes>,
    /// What belongs to the next statement, kept back until it is known whether that is replayed: the text of one with
    /// row events, and the values that one of statement format was executed with.
    prelude: Vec<Bytes>,
    rows: Rows,
    /// Whether a client reads it as text.
    as_text: bool,
    /// The tables that are replayed; `None` for all.
    tables: Option<Arc<Tables>>,
    /// Tables of the statement that is open, by number, that are not.
    others: BTreeSet<u64>,
    /// Rows of a selected table, until it is known that they are not the last ones of the statement.
    last_rows: Option<Bytes>,
    /// What is to be served next.
    ready: VecDeque<Bytes>,
    refused: RefusedList,
}

impl Filter {
    /// Of these events, which are whole transactions with checksums; `as_text` for a client that reads SQL.
    pub fn new(
        events: Box<dyn Events>,
        refused: RefusedList,
        as_text: bool,
        tables: Option<Arc<Tables>>,
    ) -> Filter {
        Filter {
            events,
            gtid: None,
            begin: None,
            prelude: Vec::new(),
            rows: Rows::None,
            as_text,
            tables,
            others: BTreeSet::new(),
            last_rows: None,
            ready: VecDeque::new(),
            refused,
        }
    }

    async fn take(&mut self, bytes: Bytes) -> Result<()> {
        let bytes = match self.as_text {
            true => self.legible(bytes)?,
            false => bytes,
        };
        let event = Event::parse(&bytes)?;
        if let Some(begin) = gtid_event::begin(&event, CHECKSUM)? {
            self.rows = Rows::None;
            self.ready.extend(self.prelude.drain(..));
            self.gtid = begin.gtid;
            self.begin = Some(bytes);
            return Ok(());
        }
        if let Some(begin) = self.begin.take() {
            let is_alone = stands_alone(&begin, &event)?;
            let verdict = match event.header.kind {
                kind::QUERY | kind::MARIADB_QUERY_COMPRESSED if is_alone => {
                    decide(&query(&event, CHECKSUM)?, self.tables.as_deref())
                }
                kind::TRANSACTION_PAYLOAD => {
                    let (payload, as_text) = (bytes.clone(), self.as_text);
                    let tables = self.tables.clone();
                    let look = move || inside(&payload, as_text, tables.as_deref());
                    let looked = tokio::task::spawn_blocking(look).await;
                    looked.map_err(|e| Error::unexpected("cannot decompress").because(e))??
                }
                _ => {
                    self.ready.push_back(begin);
                    return self.inside(bytes);
                }
            };
            match verdict {
                Verdict::Replay => self.ready.extend([begin, bytes]),
                Verdict::Refuse(what) => {
                    self.list(what);
                    self.ready.extend(empty(&begin)?);
                }
                Verdict::DoWithout => self.ready.extend(empty(&begin)?),
                Verdict::Unclear(what) => return Err(self.unclear(&what)),
            }
            return Ok(());
        }
        self.inside(bytes)
    }

    /// An event that a client reads as it is meant.
    fn legible(&self, bytes: Bytes) -> Result<Bytes> {
        let event = Event::parse(&bytes)?;
        if splits(&event, CHECKSUM)? {
            return Err(self.unclear(SPLITS));
        }
        Ok(with_schema(&event, CHECKSUM)?.unwrap_or(bytes))
    }

    /// An event inside of a transaction, or between two.
    fn inside(&mut self, bytes: Bytes) -> Result<()> {
        let event = Event::parse(&bytes)?;
        match event.header.kind {
            kind::QUERY | kind::MARIADB_QUERY_COMPRESSED => {
                let statement = query(&event, CHECKSUM)?;
                if statement.control() == Query::Other {
                    match decide(&statement, self.tables.as_deref()) {
                        Verdict::Replay => {}
                        Verdict::Refuse(what) => {
                            self.list(what);
                            self.prelude.clear();
                            return Ok(());
                        }
                        Verdict::DoWithout => {
                            self.prelude.clear();
                            return Ok(());
                        }
                        Verdict::Unclear(what) => return Err(self.unclear(&what)),
                    }
                }
            }
            kind::EXECUTE_LOAD_QUERY => {
                let loads = load_statement(&event).ok_or_else(|| damaged("a LOAD is too short"))?;
                if judge(&loads) != Verdict::Replay {
                    return Err(self.unclear("LOAD DATA into the server's own tables"));
                }
                if self.tables.is_some() {
                    return Err(self.unclear("LOAD DATA in statement format"));
                }
            }
            INTVAR | RAND | USER_VAR | ROWS_QUERY | kind::MARIADB_ANNOTATE_ROWS => {
                self.prelude.push(bytes);
                return Ok(());
            }
            other if is_rows(other) && self.tables.is_some() => return self.rows_of_some(bytes),
            kind::TABLE_MAP => {
                let (id, table) = table(&event, CHECKSUM)?;
                if let Some(tables) = &self.tables {
                    match tables.has(&table) {
                        true => self.prelude.push(bytes),
                        false => drop(self.others.insert(id)),
                    }
                    return Ok(());
                }
                let rows = match is_closed(schema_of(&table)) {
                    true => Rows::LeftOut,
                    false => Rows::Replayed,
                };
                if self.rows != Rows::None && self.rows != rows {
                    let what = format!("rows of {table} and of others in one statement");
                    return Err(self.unclear(&what));
                }
                if self.rows == Rows::None && rows == Rows::LeftOut {
                    self.prelude.clear();
                    self.list(format!("rows of {table}"));
                }
                self.rows = rows;
                if rows == Rows::LeftOut {
                    return Ok(());
                }
            }
            other if is_rows(other) => {
                let rows = self.rows;
                if ends_statement(&event) {
                    self.rows = Rows::None;
                }
                if rows == Rows::LeftOut {
                    return Ok(());
                }
            }
            _ => {}
        }
        self.ready.extend(self.prelude.drain(..));
        self.ready.push_back(bytes);
        Ok(())
    }

    /// Rows, where not all tables are replayed: the last rows that are have to say that they end their statement.
    fn rows_of_some(&mut self, bytes: Bytes) -> Result<()> {
        let event = Event::parse(&bytes)?;
        let id = table_id(event.body(CHECKSUM)).ok_or_else(no_rows)?;
        let ends = ends_statement(&event);
        if !self.others.contains(&id) {
            self.ready.extend(self.last_rows.take());
            self.ready.extend(self.prelude.drain(..));
            self.last_rows = Some(bytes);
        } else if ends && let Some(last) = self.last_rows.take() {
            self.last_rows = Some(ending(&last)?);
        }
        if ends {
            self.ready.extend(self.last_rows.take());
            self.prelude.clear();
            self.others.clear();
        }
        Ok(())
    }

    fn name(&self) -> String {
        self.gtid
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default()
    }

    fn list(&self, what: String) {
        let refused = Refused {
            gtid: self.name(),
            what,
        };
        let mut list = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        // A replica that came back is served some of them again.
        if !list.contains(&refused) {
            list.push(refused);
        }
    }

    fn unclear(&self, what: &str) -> Error {
        let gtid = self.name();
        Error::refused(format!(
            "transaction {gtid} can neither be replayed nor left out: {what}"
        ))
        .hint(format!(
            "restore to the moment before it: --before-gtid {gtid}"
        ))
    }
}

#[async_trait]
impl Events for Filter {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Ok(Some(ready));
            }
            match self.events.next().await? {
                Some(bytes) => self.take(bytes).await?,
                None => return Ok(None),
            }
        }
    }
}

/// Values that the next statement was executed with.
const INTVAR: u8 = 5;
const RAND: u8 = 13;
const USER_VAR: u8 = 14;
/// Text of a statement whose rows follow, of MySQL.
const ROWS_QUERY: u8 = 29;

/// Whether an event holds rows: of MySQL, of MariaDB, and the compressed ones of MariaDB.
fn is_rows(of: u8) -> bool {
    matches!(of, 23..=25 | 30..=32 | 39 | 166..=171)
}

/// Where row events have their flags, and the one of the last event of a statement.
const ROWS_FLAGS: usize = 6;
const STMT_END: u8 = 1;

/// Whether it is the last event with rows of its statement.
fn ends_statement(event: &Event<'_>) -> bool {
    event
        .body(CHECKSUM)
        .get(ROWS_FLAGS)
        .is_some_and(|flags| flags & STMT_END != 0)
}

/// The same rows as the last ones of their statement.
fn ending(rows: &Bytes) -> Result<Bytes> {
    let event = Event::parse(rows)?;
    let mut body = event.body(CHECKSUM).to_vec();
    *body.get_mut(ROWS_FLAGS).ok_or_else(no_rows)? |= STMT_END;
    Ok(made(event.header, &body))
}

fn no_rows() -> Error {
    damaged("rows in the log cannot be read")
}

/// Decides about a statement, also by the tables that are replayed.
fn decide(statement: &Statement, tables: Option<&Tables>) -> Verdict {
    let verdict = judge(statement);
    let (Verdict::Replay, Some(tables)) = (&verdict, tables) else {
        return verdict;
    };
    let kind = || statement.listed().map_or_else(String::new, |one| one.kind);
    match tables.part_of(statement) {
        Part::All => Verdict::Replay,
        Part::None => Verdict::DoWithout,
        Part::Unclear => Verdict::Unclear(format!(
            "{}, which may change selected tables and others (--tables needs binlog_format = ROW)",
            kind()
        )),
    }
}

/// Whether the event behind the one with the GTID is all of its transaction.
fn stands_alone(begin: &Bytes, event: &Event<'_>) -> Result<bool> {
    let begin = Event::parse(begin)?;
    if begin.header.kind == kind::MARIADB_GTID {
        return Ok(gtid_event::begin(&begin, CHECKSUM)?.is_some_and(|begin| begin.standalone));
    }
    let is_query = event.header.kind == kind::QUERY;
    Ok(is_query && query(event, CHECKSUM)?.control() != Query::Begin)
}

/// A transaction of the same GTID in which nothing happens.
fn empty(begin: &Bytes) -> Result<Vec<Bytes>> {
    let event = Event::parse(begin)?;
    if event.header.kind != kind::MARIADB_GTID {
        let [first, last] = ["BEGIN", "COMMIT"].map(|sql| statement(event.header, sql));
        return Ok(vec![begin.clone(), first, last]);
    }
    /// Flags of MariaDB's event: all of the transaction is one event; it is a definition.
    const STANDALONE_AND_DDL: u8 = 1 | 32;
    let mut body = event.body(CHECKSUM).to_vec();
    let flags = body
        .get_mut(12)
        .ok_or_else(|| damaged("an event with a GTID is too short"))?;
    *flags &= !STANDALONE_AND_DDL;
    Ok(vec![
        made(event.header, &body),
        statement(event.header, "COMMIT"),
    ])
}

fn schema_of(table: &str) -> &str {
    table.split_once('.').map_or(table, |(schema, _)| schema)
}

/// The statement of LOAD DATA, of which the file's contents stand elsewhere.
fn load_statement(event: &Event<'_>) -> Option<Statement> {
    /// The part of fixed length.
    const HEAD: usize = 26;
    let body = event.body(CHECKSUM);
    let schema_bytes = usize::from(*body.get(8)?);
    let variables = usize::from(u16::from_le_bytes([*body.get(11)?, *body.get(12)?]));
    let rest = body.get(HEAD + variables..)?;
    Some(Statement {
        schema: String::from_utf8_lossy(rest.get(..schema_bytes)?).into_owned(),
        sql: rest.get(schema_bytes + 1..)?.to_vec(),
    })
}

/// Decides about a compressed transaction of MySQL: all of it, or nothing.
fn inside(payload: &Bytes, as_text: bool, tables: Option<&Tables>) -> Result<Verdict> {
    let mut payload = Payload::open(&Event::parse(payload)?)?;
    let most = if as_text { u64::MAX } else { MOST_LOOKED_AT };
    let (mut refused, mut replayed, mut others) = (Vec::new(), 0u64, 0u64);
    while let Some((header, bytes)) = payload.next(most)? {
        let event = Event {
            header,
            bytes: &bytes,
        };
        if as_text && splits(&event, Checksum::Off)? {
            return Ok(Verdict::Unclear(SPLITS.to_owned()));
        }
        let verdict = match header.kind {
            kind::QUERY => {
                let statement = query(&event, Checksum::Off)?;
                match statement.control() {
                    Query::Other => decide(&statement, tables),
                    _ => continue,
                }
            }
            kind::TABLE_MAP => {
                let (_, table) = table(&event, Checksum::Off)?;
                match tables {
                    Some(tables) if !tables.has(&table) => Verdict::DoWithout,
                    _ if is_closed(schema_of(&table)) => {
                        Verdict::Refuse(format!("rows of {table}"))
                    }
                    _ => Verdict::Replay,
                }
            }
            _ => continue,
        };
        match verdict {
            Verdict::Replay => replayed += 1,
            Verdict::Refuse(what) => refused.push(what),
            Verdict::DoWithout => others += 1,
            unclear @ Verdict::Unclear(_) => return Ok(unclear),
        }
    }
    Ok(match (refused.into_iter().next(), replayed, others) {
        (None, _, 0) => Verdict::Replay,
        (None, 0, _) => Verdict::DoWithout,
        (None, ..) => {
            Verdict::Unclear("selected tables and others in a compressed transaction".to_owned())
        }
        (Some(what), 0, _) => Verdict::Refuse(what),
        (Some(what), ..) => {
            Verdict::Unclear(format!("{what} in a compressed transaction with others"))
        }
    })
}
