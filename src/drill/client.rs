//! The plain path: the archive through the ordinary client, as somebody without drctl would restore
//! it by its RESTORE.txt.
//!
//! What drctl's own loading and the client's disagree about is a bug of one of them, and here it
//! comes to light: the ledger of the result must be the same, and the server's own count of rows
//! ([`super::checks`]), with which drctl's scanner has nothing to do.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{ChildStdin, Command};

use crate::apply;
use crate::apply::lane::{Lane, LaneConfig};
use crate::apply::look::control_config;
use crate::apply::offered;
use crate::apply::options::RestoreOptions;
use crate::apply::read_ahead::ReadAhead;
use crate::apply::report::RestoreReport;
use crate::archive::read::Archive;
use crate::archive::restore_txt::{SESSION, check_line};
use crate::archive::whole::Turns;
use crate::drill::scratch::{Choice, given};
use crate::drill::{Drill, archive as whole};
use crate::error::{Error, Result};
use crate::proof::compare::{Class, Comparison, Difference, compare};
use crate::proof::explain::explain;
use crate::proof::normalise::Forgiven;
use crate::proof::redump::{Redump, redump};
use crate::proof::runs::{self, What};
use crate::server::connect::literal;
use crate::server::{Client, ServerConfig, connect, tie};
use crate::sql::computed::{self, Needs};
use crate::sql::definer::{Account, spelled};
use crate::sql::statement::{Kind, ObjectId, ObjectKind, Section};
use crate::sql::tokens::Tokens;

/// How much of what the client complains is read, bytes.
const STDERR_BYTES: u64 = 16 << 10;

/// Restores through the client and proves the result.
pub async fn restore(
    drill: &Drill<'_>,
    archive: &Archive,
    server: &Arc<ServerConfig>,
    restored: &mut RestoreReport,
) -> Result<()> {
    restored.lanes = 1;
    let cancel = drill.cancel;
    // The lock of restores keeps every other drctl away from here to the end.
    let control = Lane::open(control_config(server, true, cancel)).await?;
    let client = cancel.unless(Client::of(server)).await?;
    let accounts = missing_accounts(drill, archive, server).await?;
    let ledger = archive.contents().ledger.iter();
    given::demand_room(server, ledger.map(|(object, _)| &object.schema)).await?;
    // From here on whatever bears these names is the drill's.
    restored.backup = archive.manifest().id.to_string();
    let ledger = archive.contents().ledger.iter();
    restored.made = ledger.map(|(object, _)| object.clone()).collect();
    let done = load_and_prove(drill, archive, server, &client, accounts, restored).await;
    control.close().await;
    done
}

async fn load_and_prove(
    drill: &Drill<'_>,
    archive: &Archive,
    server: &Arc<ServerConfig>,
    client: &Client,
    accounts: Vec<String>,
    restored: &mut RestoreReport,
) -> Result<()> {
    let cancel = drill.cancel;
    let since = Instant::now();
    let sql = cancel.unless(archive.accounts()).await?;
    if let Some(sql) = &sql {
        restored.created_accounts = accounts;
        // What is granted on single objects fails for now: they are not there yet.
        let feed = async |mut to: ChildStdin| Ok(to.write_all(sql).await?);
        cancel.unless(run(client, &["--force"], feed)).await.ok();
        cancel.check()?;
        lock(server, &restored.created_accounts).await?;
    }
    restored.stage("accounts", since);

    let since = Instant::now();
    let inventory = archive.contents().inventory.iter();
    let needs = inventory.filter_map(|entry| Some((&entry.object, entry.needs.as_ref()?)));
    let needs = needs.filter(|(_, needs)| !needs.is_usual());
    let (mut checks, mut afterwards) = (Vec::new(), String::new());
    for (table, needs) in needs {
        checks.extend(needs.checks.iter().map(|name| check_line(name)));
        afterwards.extend(needs.afterwards(table));
        afterwards.push('\n');
    }
    let feed = async |mut to: ChildStdin| {
        let (mut frames, mut turns) = (archive.frames()?, Turns::default());
        while let Some(frame) = frames.next()? {
            let mut sql = archive.fetch_in_turn(&frame, turns.take()).await?;
            if frame.has(Section::PreData) {
                unenforce(&mut sql, &checks);
            }
            to.write_all(&sql).await?;
            drill.progress.advance(frame.raw, frame.rows);
        }
        Ok(())
    };
    cancel.unless(run(client, &[], feed)).await?;
    if let Some(sql) = &sql {
        let feed = async |mut to: ChildStdin| Ok(to.write_all(sql).await?);
        cancel.unless(run(client, &[], feed)).await?;
    }
    if !afterwards.is_empty() {
        let feed = async |mut to: ChildStdin| Ok(to.write_all(afterwards.as_bytes()).await?);
        cancel.unless(run(client, &[], feed)).await?;
    }
    restored.stage("data", since);

    let since = Instant::now();
    let comparison = prove(drill, archive, server, restored).await?;
    restored.stage("prove", since);
    let (equal, summary) = (comparison.is_equal(), comparison.summary());
    restored.proof = Some(comparison);
    match equal {
        true => Ok(()),
        false => Err(Error::verification(format!(
            "what the plain client restored is not what was dumped: {summary}"
        ))
        .hint("see the report for all differences")),
    }
}

/// Runs the client as RESTORE.txt says, with what `feed` writes.
async fn run(
    client: &Client,
    more: &[&str],
    feed: impl AsyncFnOnce(ChildStdin) -> std::result::Result<(), Feed>,
) -> Result<()> {
    let session = format!("--init-command={SESSION}");
    let usual = [
        "--binary-mode",
        "--comments",
        "--max-allowed-packet=1G",
        &session,
    ];
    let mut command: Command = client.shell_command(usual.iter().chain(more))?;
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child =
        tie::spawn(command).map_err(|e| Error::server("start the mysql client").because(e))?;
    let (Some(stdin), Some(stderr)) = (child.stdin.take(), child.stderr.take()) else {
        return Err(Error::unexpected("the mysql client has no pipes"));
    };
    let mut said = Vec::new();
    let listen = async {
        let mut first = stderr.take(STDERR_BYTES);
        first.read_to_end(&mut said).await?;
        // A client whose complaints nobody takes would stand still.
        tokio::io::copy(&mut first.into_inner(), &mut tokio::io::sink()).await
    };
    let (fed, read) = tokio::join!(feed(stdin), listen);
    if let Err(Feed::Archive(error)) = fed {
        return Err(error);
    }
    let broke = |e| Error::server("run the mysql client").because(e);
    read.map_err(broke)?;
    let status = child.wait().await.map_err(broke)?;
    // A pipe that broke is the client's failure, which it explains itself.
    if status.success() && fed.is_ok() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said).into_owned();
    let line = said.lines().find(|line| line.starts_with("ERROR"));
    Err(Error::server(format!(
        "the mysql client failed ({status}): {}",
        line.unwrap_or("it said nothing")
    )))
}

/// Makes the CHECKs whose lines begin so NOT ENFORCED, as RESTORE.txt has it done by sed.
fn unenforce(sql: &mut Vec<u8>, checks: &[String]) {
    for begin in checks {
        let line = format!("\n{begin}");
        let Some(at) = memchr::memmem::find(sql, line.as_bytes()) else {
            continue;
        };
        let body = at + line.len();
        let end = memchr::memchr(b'\n', &sql[body..]).map_or(sql.len(), |length| body + length);
        let end = if sql[..end].ends_with(b",") {
            end - 1
        } else {
            end
        };
        sql.splice(end..end, b" NOT ENFORCED".iter().copied());
    }
}

/// Why feeding the client ended.
enum Feed {
    /// The archive could not be read.
    Archive(Error),
    /// The client no longer listens.
    Pipe,
}

impl From<Error> for Feed {
    fn from(error: Error) -> Feed {
        Feed::Archive(error)
    }
}

impl From<std::io::Error> for Feed {
    fn from(_: std::io::Error) -> Feed {
        Feed::Pipe
    }
}

/// Accounts of the backup that the server does not have. On a given server all of them are missing: the
/// plain client would give privileges to those that are there.
async fn missing_accounts(
    drill: &Drill<'_>,
    archive: &Archive,
    server: &ServerConfig,
) -> Result<Vec<String>> {
    let mut connection = connect(server).await?;
    let there: Vec<(String, String)> = connection.rows("SELECT user, host FROM mysql.user").await?;
    connection.close().await;
    let there: BTreeSet<(String, String)> = there.into_iter().collect();
    let is_there =
        |account: &Account| there.contains(&(account.user.clone(), account.host.clone()));
    let (met, missing): (Vec<Account>, Vec<Account>) = offered::accounts(archive)
        .await?
        .into_iter()
        .partition(is_there);
    // Every fresh server has some of root's, which may do anything already.
    let met = met.iter().find(|account| account.user != "root");
    match (met, &drill.scratch) {
        (Some(account), Choice::Given(_)) => Err(Error::refused(format!(
            "the scratch server has the account {account}, and so has the backup"
        ))
        .hint("drop it there, or drill with --path lanes, which leaves it alone")),
        _ => Ok(missing.iter().map(Account::to_string).collect()),
    }
}

/// Nobody logs in to a scratch server with an account of the backup.
async fn lock(server: &ServerConfig, accounts: &[String]) -> Result<()> {
    let mut connection = connect(server).await?;
    for account in accounts.iter().filter(|account| !given::is_role(account)) {
        connection
            .run(&format!("ALTER USER IF EXISTS {account} ACCOUNT LOCK"))
            .await?;
    }
    connection.close().await;
    Ok(())
}

/// The restored server's ledger against the archive's.
async fn prove(
    drill: &Drill<'_>,
    archive: &Archive,
    server: &Arc<ServerConfig>,
    restored: &mut RestoreReport,
) -> Result<Comparison> {
    let expected = Arc::new(archive.contents().ledger.entries().clone());
    let schemas = expected
        .keys()
        .map(|object| object.schema.clone())
        .collect();
    let longest = archive.manifest().totals.largest_statement_bytes;
    let found = redump(
        server,
        &archive.manifest().client,
        &Redump {
            what: What::Schemas(schemas),
            expected: expected.clone(),
            forgiven: Forgiven::default(),
            programs: runs::at_once(drill.options(archive).lanes, longest),
        },
        drill.cancel,
    )
    .await?;
    let mut comparison = compare(&expected, found.ledger.entries());
    let other = computed_otherwise(drill, archive, server).await?;
    comparison.differences.extend(other);
    comparison.differences.sort();
    explain(archive, &mut comparison, &found.words).await?;
    let lost = comparison.differences.iter().filter(|one| {
        (one.class, one.object.kind) == (Class::MissingObject, ObjectKind::Event)
            && found.ledger.get(&one.object).is_none()
    });
    let lost: BTreeSet<ObjectId> = lost.map(|one| one.object.clone()).collect();
    let expired = expired_events(drill, archive, server, &lost).await?;
    comparison
        .differences
        .retain(|one| !expired.contains(&one.object));
    restored.expired_events = expired.into_iter().collect();
    Ok(comparison)
}

/// Tables that compute otherwise than they did, by the words of the archive.
async fn computed_otherwise(
    drill: &Drill<'_>,
    archive: &Archive,
    server: &Arc<ServerConfig>,
) -> Result<Vec<Difference>> {
    let inventory = archive.contents().inventory.iter();
    let needs: BTreeMap<ObjectId, Needs> = inventory
        .filter_map(|entry| Some((entry.object.clone(), entry.needs.clone()?)))
        .collect();
    if needs.is_empty() {
        return Ok(Vec::new());
    }
    let guard = Arc::new(whole::guard(archive)?);
    let memory_bytes = RestoreOptions::default().memory_bytes;
    let mut frames = ReadAhead::begin(archive, &guard, memory_bytes, drill.cancel, |record| {
        record.has(Section::PreData)
    });
    let mut all = BTreeMap::new();
    while let Some(ready) = frames.next().await? {
        for (statement, sql) in ready.frame.of(Section::PreData) {
            if let Kind::Create { object, .. } = &statement.kind
                && needs.contains_key(object)
            {
                all.insert(object.clone(), computed::of_table(sql));
            }
        }
    }
    let config = LaneConfig {
        lock: None,
        ..control_config(server, true, drill.cancel)
    };
    let mut lane = Lane::open(config).await?;
    let differences = apply::prove::computed_otherwise(&mut lane, &needs, &all).await?;
    lane.close().await;
    Ok(differences)
}

/// Those of the events that ran once, at a time that is over: a server drops them as they are created.
async fn expired_events(
    drill: &Drill<'_>,
    archive: &Archive,
    server: &ServerConfig,
    lost: &BTreeSet<ObjectId>,
) -> Result<BTreeSet<ObjectId>> {
    let mut expired = BTreeSet::new();
    if lost.is_empty() {
        return Ok(expired);
    }
    let mut connection = connect(server).await?;
    // Dumps create events in the server's own time zone.
    connection.run("SET SESSION time_zone = 'SYSTEM'").await?;
    let guard = Arc::new(whole::guard(archive)?);
    let memory_bytes = RestoreOptions::default().memory_bytes;
    let mut frames = ReadAhead::begin(archive, &guard, memory_bytes, drill.cancel, |record| {
        record.has(Section::PostData)
    });
    while let Some(ready) = frames.next().await? {
        for (statement, sql) in ready.frame.of(Section::PostData) {
            let Kind::Create { object, .. } = &statement.kind else {
                continue;
            };
            if !lost.contains(object) {
                continue;
            }
            if let Some(time) = only_time(sql) {
                let sql = format!("SELECT {} < NOW()", literal(&time));
                let over: Option<u8> = connection.one(&sql).await?;
                if over == Some(1) {
                    expired.insert(object.clone());
                }
            }
        }
    }
    connection.close().await;
    Ok(expired)
}

/// The time at which an event runs for the last time, where it is dropped then.
fn only_time(sql: &[u8]) -> Option<String> {
    let mut tokens = Tokens::new(sql);
    tokens.find(|token| token.is("EVENT"))?;
    tokens.find(|token| token.is("SCHEDULE"))?;
    let mut last = tokens.eat("AT").then(|| tokens.next()).flatten();
    while !tokens.clone().eat_all(&["ON", "COMPLETION"]) {
        if tokens.next()?.is("ENDS") {
            last = tokens.next();
        }
    }
    let time = spelled(last?)?;
    tokens
        .eat_all(&["ON", "COMPLETION", "NOT", "PRESERVE"])
        .then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_events_that_are_dropped_at_their_end_have_a_last_time() {
        let of = |schedule: &str| {
            let sql = format!(
                "CREATE DEFINER=`r`@`h` EVENT `s`.`e` ON SCHEDULE {schedule} ENABLE DO SELECT 'ENDS'"
            );
            only_time(sql.as_bytes())
        };
        let time = Some("2020-01-01 00:00:00".to_owned());
        assert_eq!(
            of("AT '2020-01-01 00:00:00' ON COMPLETION NOT PRESERVE"),
            time
        );
        assert_eq!(
            of(
                "EVERY 1 SECOND STARTS '2019-01-01 00:00:00' ENDS '2020-01-01 00:00:00' ON COMPLETION NOT PRESERVE"
            ),
            time
        );
        assert_eq!(of("AT '2020-01-01 00:00:00' ON COMPLETION PRESERVE"), None);
        assert_eq!(
            of("EVERY 1 DAY STARTS '2020-01-01 00:00:00' ON COMPLETION NOT PRESERVE"),
            None
        );
    }
}
