//! The restored server, dumped once more, to a ledger: the same client, the same options, the same
//! scanner and digests as the backup, and no bytes kept.
//!
//! ```text
//! mysqldump ─chunks→ scan ─batches of INSERTs→ digest (on every core) ─→ ledger
//! ```
//!
//! [`super::runs`] says in how many runs.
//!
//! Memory: [`super::digests::BUDGET_BYTES`] of batches, and for each dump program a few chunks and the
//! longest statement three times: read, scanned and batched. [`runs::at_once`] bounds their number by that.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, StreamExt as _};
use tokio::sync::mpsc;

use crate::archive::manifest::ClientFacts;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::proof::digests::{Batch, Digests};
use crate::proof::normalise::Forgiven;
use crate::proof::runs::{self, Run, What};
use crate::server::dump_options::is_ours;
use crate::server::line_ends::LineEnds;
use crate::server::{Client, DumpChild, ServerConfig, connect, whole};
use crate::sql::ledger::{Duplicate, Entries, Entry, Ledger};
use crate::sql::scan::Scanner;
use crate::sql::session::Session;
use crate::sql::statement::{Kind, ObjectId, ObjectKind, Statement};

/// Bytes of INSERTs that are digested at once.
const BATCH_BYTES: usize = 4 << 20;

/// Bytes of the dump that are handed on at once.
const CHUNK_BYTES: usize = 256 << 10;

/// Definitions in the server's words, by object.
pub type Words = BTreeMap<ObjectId, String>;

/// How many definitions that are not as expected are kept.
const MAX_WORDS: usize = 20;

/// How much of each, bytes.
const MAX_WORDS_BYTES: usize = 64 << 10;

/// What is dumped again, and what it is going to be held against.
#[derive(Debug, Clone)]
pub struct Redump {
    /// What.
    pub what: What,
    /// The ledger of the backup.
    pub expected: Arc<Entries>,
    /// What is summed up as it would be without the restore's own doing.
    pub forgiven: Forgiven,
    /// How many dump programs at once ([`runs::at_once`]): one, and with it one snapshot, where others
    /// may write.
    pub programs: usize,
}

/// What a restored server holds.
#[derive(Debug, Default)]
pub struct Found {
    /// Its ledger.
    pub ledger: Ledger,
    /// The first definitions that are not as expected.
    pub words: Words,
}

impl Found {
    fn add(&mut self, (ledger, words): (Ledger, Words)) -> Result<()> {
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
    let program = Client::of(server).await?;
    let mut connection = connect(server).await?;
    let ends = LineEnds::of(&mut connection).await?;
    connection.close().await;
    whole::demand(server, &program).await?;
    let knows = |option: &str| program.knows(option);
    let mut options = proof_options(&client.options, knows);
    options.extend(whole::first_statement(knows, &[]));
    let mut found = Found::default();
    let digests = Digests::default();
    let several = redump.programs > 1;
    let first = match several {
        false => runs::whole(&redump.what, &options),
        true => runs::definitions(&redump.what, &options),
    };
    for run in first {
        found.add(dump_one(&program, &ends, run, redump, &digests, cancel).await?)?;
    }
    if several {
        let rows = |table: &ObjectId| redump.expected.get(table).and_then(|entry| entry.rows);
        let tables = found.ledger.iter().map(|(object, _)| object);
        let tables = tables.filter(|object| object.kind == ObjectKind::Table);
        let tables = tables.map(|table| (table, rows(table).map_or(0, |sum| sum.rows)));
        let runs = runs::rows(tables, &options, redump.programs);
        let mut dumps = stream::iter(runs)
            .map(|run| dump_one(&program, &ends, run, redump, &digests, cancel))
            .buffer_unordered(redump.programs);
        while let Some(dumped) = dumps.next().await {
            found.add(dumped?)?;
        }
    }
    for (table, rows) in digests.finish().await? {
        found.ledger.add_rows(&table, rows);
    }
    Ok(found)
}

/// The options of the backup's dump, less those that are not any dump's, such as those about where its
/// source stood, and those that the client of this server does not know.
fn proof_options(options: &[String], knows: impl Fn(&str) -> bool) -> Vec<String> {
    let known = |option: &str| {
        let option = option.trim_start_matches('-');
        let name = option.split('=').next().unwrap_or(option);
        knows(name) || name.strip_prefix("skip-").is_some_and(&knows)
    };
    let ours = options.iter().filter(|option| is_ours(option));
    ours.filter(|option| known(option)).cloned().collect()
}

async fn dump_one(
    client: &Client,
    ends: &LineEnds,
    run: Run,
    redump: &Redump,
    digests: &Digests,
    cancel: &Cancel,
) -> Result<(Ledger, Words)> {
    let mut child = DumpChild::spawn(client, &run.arguments)?.with(ends);
    let (chunks, received) = mpsc::channel(8);
    let scan = Scan {
        schema: run.schema,
        redump: redump.clone(),
        words: Words::default(),
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
        Error::unexpected("scanning the restored server's dump broke off").because(e)
    })?;
    // What the scanner could not read explains why the reader was stopped, and more.
    match (read, scanned) {
        (_, Err(error)) | (Err(error), Ok(_)) => Err(error),
        (Ok(()), Ok(Some(scanned))) => Ok(scanned),
        (Ok(()), Ok(None)) => Err(Error::unexpected("the dump was not scanned to its end")),
    }
}

fn contradiction(twice: Duplicate) -> Error {
    Error::server("the dump contradicts itself").because(twice)
}

/// Passes the dump on; its last piece only when the program ended well.
async fn read_all(child: &mut DumpChild, chunks: &mpsc::Sender<Input>) -> Result<()> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(CHUNK_BYTES - buffer.len().min(CHUNK_BYTES - 1));
        let count = child.read(&mut buffer).await?;
        if count == 0 || buffer.len() >= CHUNK_BYTES / 2 {
            let chunk = Input::Chunk(buffer.split().freeze());
            if chunks.send(chunk).await.is_err() {
                // The scanner stopped, and says why.
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
    words: Words,
    digests: Digests,
    handle: tokio::runtime::Handle,
}

impl Scan {
    /// The definitions; `None` where the dump was given up before its end.
    fn run(mut self, mut chunks: mpsc::Receiver<Input>) -> Result<Option<(Ledger, Words)>> {
        let unknown = |e| Error::server("the restored server's dump cannot be read").because(e);
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

    /// Notes a definition, less what is forgiven, and keeps its words if they are not as expected.
    fn define(
        &mut self,
        ledger: &mut Ledger,
        statement: &Statement<'_>,
        session: &Session,
    ) -> Result<()> {
        let sql = match &statement.kind {
            Kind::Create { object, .. } => self.redump.forgiven.apply(object, statement.sql),
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
            let ddl = |entry: Option<&Entry>| entry.and_then(|entry| entry.ddl.clone());
            let expected = ddl(self.redump.expected.get(object));
            let differs = expected.is_some() && expected != ddl(ledger.get(object));
            if differs && self.words.len() < MAX_WORDS {
                let kept = &sql[..sql.len().min(MAX_WORDS_BYTES)];
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
    fn where_the_source_stood_is_not_asked_of_the_restored_server() {
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
            proof_options(&options, |name| known.contains(&name)),
            own(&[
                "--single-transaction",
                "--skip-lock-tables",
                "--set-gtid-purged=OFF"
            ])
        );
    }
}
