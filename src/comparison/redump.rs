//! Dumps the restored server to a ledger: with the client, options, scanner and digests of the backup; the
//! dump itself is not stored.
//!
//! ```text
//! mysqldump ─chunks→ scan ─batches of INSERTs→ digest (on every core) ─→ ledger
//! native reader ─rows→ digest ─────────────────────────────────────────────┘
//! ```
//!
//! The native reader reads the rows where it supports all tables ([`crate::comparison::rows`]).
//!
//! The commands come from [`crate::comparison::dump_commands`].
//!
//! Memory: [`crate::comparison::digests::BUDGET_BYTES`] of batches, and for each dump program a few chunks
//! and three times its longest statement: read, scanned and batched. [`dump_commands::at_once`] limits the
//! number of programs accordingly.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, StreamExt as _};
use tokio::sync::mpsc;

use crate::archive::manifest::ClientFacts;
use crate::comparison::digests::{Batch, Digests};
use crate::comparison::dump_commands::{self, DumpCommand, DumpScope};
use crate::comparison::normalise::ExpectedDeviations;
use crate::comparison::{rows, temporal};
use crate::mysql::client::dump_options::{has_history, is_ours};
use crate::mysql::client::line_ends::LineEnds;
use crate::mysql::{
    Client, Connection, DumpChild, Flavour, ServerConfig, ServerVersion, connect,
    unfiltered_session,
};
use crate::reader::Reader;
use crate::reader::tables::{self, TableRows};
use crate::sql::ledger::{Duplicate, Entries, Entry, Ledger, Omitted};
use crate::sql::scan::Scanner;
use crate::sql::session::Session;
use crate::sql::statement::{Kind, ObjectId, ObjectKind, Statement};
use crate::util::cancel::Cancel;
use crate::util::error::{Error, Result};

/// Bytes of INSERTs per batch.
const BATCH_BYTES: usize = 4 << 20;

/// Bytes of the dump per chunk.
const CHUNK_BYTES: usize = 256 << 10;

/// The server's definitions, by object.
pub type Definitions = BTreeMap<ObjectId, String>;

/// Maximum number of differing definitions kept.
const MAX_DEFINITIONS: usize = 20;

/// Maximum bytes kept of each.
const MAX_DEFINITION_BYTES: usize = 64 << 10;

/// DumpScope to dump, and what it will be compared with.
#[derive(Debug, Clone)]
pub struct Redump {
    /// The schemas or tables to dump.
    pub what: DumpScope,
    /// The ledger of the backup.
    pub expected: Arc<Entries>,
    /// Deviations caused by the restore itself, removed before digesting.
    pub deviations: ExpectedDeviations,
    /// Columns of tables whose values are not digested, by the dump program alone.
    pub without: Arc<BTreeMap<ObjectId, Omitted>>,
    /// What reads the rows.
    pub reader: Reader,
    /// Number of connections or dump programs at a time ([`dump_commands::at_once`]).
    pub jobs: usize,
    /// Whether other clients may write: several dump programs would see different data.
    pub shared: bool,
}

impl Redump {
    /// The tables in scope with the numbers of rows that the backup has of them, if the native reader supports all.
    async fn tables(
        &self,
        connection: &mut Connection,
        version: &ServerVersion,
        program: Flavour,
        history: bool,
    ) -> Result<Option<Vec<TableRows>>> {
        let schemas: Vec<String> = match &self.what {
            DumpScope::Schemas(schemas) => schemas.iter().cloned().collect(),
            DumpScope::Tables(tables) => tables.keys().cloned().collect(),
        };
        let mut all = match tables::of(connection, version, program, &schemas, history).await? {
            Ok(all) => all,
            Err(why) => {
                tracing::debug!(why, "the dump program reads the rows");
                return Ok(None);
            }
        };
        if let DumpScope::Tables(tables) = &self.what {
            let is_in_scope = |table: &ObjectId| {
                let of_schema = tables.get(&table.schema);
                of_schema.is_some_and(|names| names.contains(&table.name))
            };
            all.retain(|rows| is_in_scope(&rows.table));
        }
        Ok(Some(all))
    }
}

/// Result of the dump.
#[derive(Debug, Default)]
pub struct Found {
    /// The server's ledger.
    pub ledger: Ledger,
    /// The first definitions that differ from the backup's.
    pub words: Definitions,
}

impl Found {
    fn add(&mut self, (ledger, words): (Ledger, Definitions)) -> Result<()> {
        self.words.extend(words);
        self.ledger.merge(ledger).map_err(contradiction)
    }
}

/// Dumps a restored server to a ledger.
pub async fn redump(
    server: &ServerConfig,
    client: &ClientFacts,
    redump: &Redump,
    cancel: &Cancel,
) -> Result<Found> {
    let mut connection = connect(server).await?;
    let version = connection.version().await?;
    let program = Client::for_server(server, &connection, &version).await?;
    let ends = LineEnds::of(&mut connection).await?;
    let history = has_history(&client.options);
    let tables = match redump.reader {
        Reader::Native => {
            redump
                .tables(&mut connection, &version, program.flavour, history)
                .await?
        }
        Reader::Mysqldump => None,
    };
    connection.close().await;
    unfiltered_session::check_client(server, &program).await?;
    let knows = |option: &str| program.knows(option);
    let mut options = comparison_options(&client.options, knows);
    options.extend(unfiltered_session::init_command(knows, &[]));
    let mut found = Found::default();
    let digests = Digests::new(redump.without.clone());
    let several = redump.jobs > 1 && !redump.shared;
    let first = match tables.is_some() || several {
        true => dump_commands::definitions(&redump.what, &options),
        false => dump_commands::whole(&redump.what, &options),
    };
    for command in first {
        found.add(dump_one(&program, &ends, command, redump, &digests, cancel).await?)?;
    }
    if let Some(tables) = tables {
        let sums = rows::digests(server, &version, &tables, redump.jobs);
        for (table, sum) in cancel.unless(sums).await? {
            found.ledger.add_rows(&table, sum);
        }
    } else if several {
        let rows = |table: &ObjectId| redump.expected.get(table).and_then(|entry| entry.rows);
        let tables = found.ledger.iter().map(|(object, _)| object);
        let tables = tables.filter(|object| object.kind == ObjectKind::Table);
        let tables = tables.map(|table| (table, rows(table).map_or(0, |sum| sum.rows)));
        let commands = dump_commands::rows(tables, &options, redump.jobs);
        let mut dumps = stream::iter(commands)
            .map(|command| dump_one(&program, &ends, command, redump, &digests, cancel))
            .buffer_unordered(redump.jobs);
        while let Some(dumped) = dumps.next().await {
            found.add(dumped?)?;
        }
    }
    for (table, rows) in digests.finish().await? {
        found.ledger.add_rows(&table, rows);
    }
    Ok(found)
}

/// The options of the backup's dump, without those specific to it, such as connection options, and without
/// those unknown to this server's client.
fn comparison_options(options: &[String], knows: impl Fn(&str) -> bool) -> Vec<String> {
    let known = |option: &str| {
        let option = option.trim_start_matches('-');
        let name = option.split('=').next().unwrap_or(option);
        knows(name) || name.strip_prefix("skip-").is_some_and(&knows)
    };
    options
        .iter()
        .filter(|option| is_ours(option) && known(option))
        .cloned()
        .collect()
}

async fn dump_one(
    client: &Client,
    ends: &LineEnds,
    command: DumpCommand,
    redump: &Redump,
    digests: &Digests,
    cancel: &Cancel,
) -> Result<(Ledger, Definitions)> {
    let mut child = DumpChild::spawn(client, &command.arguments)?.with(ends);
    let (chunks, received) = mpsc::channel(8);
    let scan = Scan {
        schema: command.schema,
        redump: redump.clone(),
        words: Definitions::default(),
        digests: digests.clone(),
        handle: tokio::runtime::Handle::current(),
    };
    let scanning = tokio::task::spawn_blocking(move || scan.run(received));
    let read = cancel.unless(read_all(&mut child, &chunks)).await;
    if read.is_err() {
        child.stop().await;
    }
    drop(chunks);
    let scanned = scanning.await.map_err(|e| {
        Error::unexpected("scanning the restored server's dump was interrupted").because(e)
    })?;
    // A scan error is the reason why the reader was stopped, and has more detail.
    match (read, scanned) {
        (_, Err(error)) | (Err(error), Ok(_)) => Err(error),
        (Ok(()), Ok(Some(scanned))) => Ok(scanned),
        (Ok(()), Ok(None)) => Err(Error::unexpected("the dump was not scanned completely")),
    }
}

fn contradiction(twice: Duplicate) -> Error {
    Error::server("inconsistent dump").because(twice)
}

/// Passes the dump on; its last chunk only after the program succeeded.
async fn read_all(child: &mut DumpChild, chunks: &mpsc::Sender<Input>) -> Result<()> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(CHUNK_BYTES - buffer.len().min(CHUNK_BYTES - 1));
        let count = child.read(&mut buffer).await?;
        if count == 0 || buffer.len() >= CHUNK_BYTES / 2 {
            let chunk = Input::Chunk(buffer.split().freeze());
            if chunks.send(chunk).await.is_err() {
                // The scanner stopped, and returns the cause.
                return Ok(());
            }
        }
        if count == 0 {
            let _ = chunks.send(Input::End).await;
            return Ok(());
        }
    }
}

enum Input {
    Chunk(Bytes),
    End,
}

/// The scanner's thread.
struct Scan {
    schema: Option<String>,
    redump: Redump,
    words: Definitions,
    digests: Digests,
    handle: tokio::runtime::Handle,
}

impl Scan {
    /// Scans to the end of the dump; `None` if the dump was aborted.
    fn run(mut self, mut chunks: mpsc::Receiver<Input>) -> Result<Option<(Ledger, Definitions)>> {
        let unknown = |e| Error::server("cannot scan the restored server's dump").because(e);
        let mut session = Session::default();
        if let Some(schema) = &self.schema {
            let kind = Kind::Use {
                schema: schema.clone(),
            };
            session.apply(&Statement {
                text: b"",
                sql: b"",
                kind,
            });
        }
        let mut scanner = Scanner::resuming(session);
        let mut ledger = Ledger::default();
        let mut batch = Batch::default();
        loop {
            let ended = match chunks.blocking_recv() {
                Some(Input::Chunk(chunk)) => {
                    scanner.push(&chunk);
                    false
                }
                Some(Input::End) => {
                    scanner.finish();
                    true
                }
                None => return Ok(None),
            };
            let mut session = scanner.session().clone();
            while let Some(statement) = scanner.next().map_err(unknown)? {
                match &statement.kind {
                    Kind::Insert { table } => {
                        batch.push(table, statement.sql);
                        if batch.len() >= BATCH_BYTES {
                            self.digests.begin(std::mem::take(&mut batch), &self.handle);
                        }
                    }
                    _ => {
                        self.define(&mut ledger, &statement, &session)?;
                        session.apply(&statement);
                    }
                }
            }
            if ended {
                break;
            }
        }
        self.digests.begin(batch, &self.handle);
        Ok(Some((ledger, self.words)))
    }

    /// Records a definition, without expected deviations, and keeps its text if it differs from the
    /// backup's.
    fn define(
        &mut self,
        ledger: &mut Ledger,
        statement: &Statement<'_>,
        session: &Session,
    ) -> Result<()> {
        let sql = match &statement.kind {
            Kind::Create { object, .. } => {
                let sql = self.redump.deviations.apply(object, statement.sql);
                let expected = self.redump.expected.get(object).and_then(|entry| entry.ddl);
                match (object.kind, expected) {
                    (ObjectKind::Table, Some(digest)) => temporal::as_dumped(sql, digest),
                    _ => sql,
                }
            }
            Kind::CreateSchema { schema } => {
                let schema = ObjectId::schema(schema.as_str());
                self.redump.deviations.apply(&schema, statement.sql)
            }
            _ => Cow::Borrowed(statement.sql),
        };
        let statement = Statement {
            sql: &sql,
            ..statement.clone()
        };
        ledger.observe(&statement, session).map_err(contradiction)?;
        if let Kind::Create {
            object,
            placeholder: false,
        } = &statement.kind
        {
            let ddl = |entry: Option<&Entry>| entry.and_then(|entry| entry.ddl);
            let expected = ddl(self.redump.expected.get(object));
            let differs = expected.is_some() && expected != ddl(ledger.get(object));
            if differs && self.words.len() < MAX_DEFINITIONS {
                let kept = &sql[..sql.len().min(MAX_DEFINITION_BYTES)];
                let words = String::from_utf8_lossy(kept).into_owned();
                self.words.insert(object.clone(), words);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn the_options_for_coordinates_are_not_used_on_the_restored_server() {
        let options = own(&[
            "--single-transaction",
            "--source-data=2",
            "--skip-lock-tables",
            "--set-gtid-purged=OFF",
            "--init-command=SET SESSION net_write_timeout=3600",
            "--quick",
            "--databases",
            "shop",
        ]);
        let known = [
            "single-transaction",
            "source-data",
            "lock-tables",
            "set-gtid-purged",
            "databases",
        ];
        assert_eq!(
            comparison_options(&options, |name| known.contains(&name)),
            own(&[
                "--single-transaction",
                "--skip-lock-tables",
                "--set-gtid-purged=OFF"
            ])
        );
    }
}
