//! The plain path: the archive through the ordinary client, as somebody without drctl would restore
//! it by its RESTORE.txt.
//!
//! What drctl's own loading and the client's disagree about is a bug of one of them, and here it
//! comes to light: the ledger of the result must be the same, and the server's own count of rows
//! ([`super::checks`]), with which drctl's scanner has nothing to do.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{ChildStdin, Command};

use crate::apply;
use crate::apply::accounts::made_plain;
use crate::apply::facts;
use crate::apply::frame::Frame;
use crate::apply::lane::{Lane, LaneConfig};
use crate::apply::look::{control_config, kept_here};
use crate::apply::offered::{self, Offered, is_public};
use crate::apply::options::RestoreOptions;
use crate::apply::read_ahead::ReadAhead;
use crate::apply::report::RestoreReport;
use crate::archive::index::FrameRecord;
use crate::archive::read::Archive;
use crate::archive::restore_txt::{SESSION, ViewsAgain, check_line};
use crate::cancel::Cancel;
use crate::drill::scratch::{Choice, given};
use crate::drill::{Drill, archive as whole};
use crate::error::{Error, Result};
use crate::proof::compare::{Class, Comparison, Difference, compare};
use crate::proof::explain::explain;
use crate::proof::normalise::Forgiven;
use crate::proof::redump::{Redump, redump};
use crate::proof::runs::{self, What};
use crate::server::blame::{GONE, NO_PLUGIN, is_of_the_server};
use crate::server::connect::{literal, server_error};
use crate::server::{Client, ServerConfig, connect, tie};
use crate::sql::computed::{self, Needs};
use crate::sql::definer::{Account, spelled};
use crate::sql::placement::{without_archived_counter, without_directories};
use crate::sql::statement::{Kind, ObjectId, ObjectKind, Section};
use crate::sql::tokens::Tokens;

/// How much of what the client complains is read, bytes.
const STDERR_BYTES: u64 = 16 << 20;

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
    let offered = offered::read(archive).await?;
    let accounts = missing_accounts(drill, &offered, server).await?;
    let ledger = archive.contents().ledger.iter();
    given::demand_room(server, ledger.map(|(object, _)| &object.schema)).await?;
    // From here on whatever bears these names is the drill's.
    restored.backup = archive.manifest().id.to_string();
    let ledger = archive.contents().ledger.iter();
    restored.made = ledger.map(|(object, _)| object.clone()).collect();
    restored.granted_to_public = offered.to_public;
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
        cancel.unless(run(client, &["--force"], feed)).await?;
        lock(server, restored).await?;
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
    let (mut fed, mut changed) = (Fed::default(), Changed::default());
    let guard = Arc::new(whole::guard(archive)?);
    let memory_bytes = RestoreOptions::default().memory_bytes;
    let feed = async |mut to: ChildStdin| {
        let mut frames = ReadAhead::whole(archive, &guard, memory_bytes, cancel);
        while let Some(ready) = frames.next().await? {
            let frame = &ready.frame;
            let mut sql = changed.take(frame);
            if !checks.is_empty() && frame.record.has(Section::PreData) {
                unenforce(sql.to_mut(), &checks);
            }
            fed.note(&frame.record, &sql);
            to.write_all(&sql).await?;
            drill.progress.advance(frame.record.raw, frame.record.rows);
        }
        Ok(())
    };
    let met = cancel.unless(run(client, &[], feed)).await?;
    if let Some(sql) = &sql {
        let feed = async |mut to: ChildStdin| Ok(to.write_all(sql).await?);
        let refused = cancel.unless(run(client, &["--force"], feed)).await?;
        judge_accounts(refused, restored)?;
    }
    if let Some(first) = met.into_iter().next() {
        let object = fed.object_at(archive, first.line).await?;
        let is_view = |object: &ObjectId| object.kind == ObjectKind::View;
        match object {
            Some(view) if is_view(&view) && first.has(&MADE_LATER) => {
                cancel.unless(views_again(archive, client, &view)).await?;
                restored.warn(format!(
                    "the plain client stopped at {view}: {}; it went on by the last step of RESTORE.txt, as a restore \
                     by hand has to",
                    first.text
                ));
            }
            object => return Err(first.failure(object)),
        }
    }
    if !afterwards.is_empty() {
        let feed = async |mut to: ChildStdin| Ok(to.write_all(afterwards.as_bytes()).await?);
        let refused = cancel.unless(run(client, &[], feed)).await?;
        if let Some(first) = refused.into_iter().next() {
            return Err(first.failure(None));
        }
    }
    restored.stage("data", since);

    changed.tell(restored);
    let since = Instant::now();
    let comparison = prove(drill, archive, server, changed.placed, restored).await?;
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

/// What the plain client does not make of a view in its turn, since another view or a privilege of its definer
/// comes later: no such table, not updatable (CHECK OPTION), not usable.
const MADE_LATER: [u16; 3] = [1146, 1356, 1368];

/// Makes the views again, as often as it takes for each to find those that it is about.
async fn views_again(archive: &Archive, client: &Client, first: &ObjectId) -> Result<()> {
    let mut before = usize::MAX;
    loop {
        let feed = async |mut to: ChildStdin| {
            let (mut frames, mut views) = (archive.frames()?, ViewsAgain::default());
            while let Some(frame) = frames.read()? {
                to.write_all(&views.take(&archive.fetch(&frame).await?))
                    .await?;
            }
            Ok(())
        };
        let met = run(client, &["--force"], feed).await?;
        let count = met.len();
        match met.into_iter().next() {
            None => return Ok(()),
            Some(complaint) if count >= before => {
                return Err(complaint.failure(Some(first.clone())));
            }
            Some(_) => before = count,
        }
    }
}

/// What accounts.sql says that the server did not do, where that is more than it could.
fn judge_accounts(refused: Vec<Complaint>, restored: &mut RestoreReport) -> Result<()> {
    for one in refused {
        if one.has(&GONE) {
            restored.warn(format!(
                "an account was not given a privilege on what is not restored here: {}",
                one.text
            ));
        } else if !one.has(&[NO_PLUGIN]) {
            // The server may quote a password's hash.
            let code = one.code;
            return Err(Complaint {
                text: format!("accounts.sql, line {}: error {code}", one.line),
                ..one
            }
            .failure(None));
        }
    }
    Ok(())
}

/// Definitions that the client is fed otherwise than they were dumped.
#[derive(Debug, Default)]
struct Changed {
    /// Tables that name directories, as the dump defines them: a drill writes into none but its own.
    placed: BTreeMap<ObjectId, Vec<u8>>,
    /// Tables of the engine ARCHIVE, without their counters, as RESTORE.txt says.
    archived: Vec<ObjectId>,
}

impl Changed {
    /// The SQL of a frame, changed where it has to be.
    fn take<'a>(&mut self, frame: &'a Frame) -> Cow<'a, [u8]> {
        let mut changes = Vec::new();
        for (statement, sql) in frame.of(Section::PreData) {
            let Kind::Create { object, .. } = &statement.kind else {
                continue;
            };
            let mut new = Cow::Borrowed(sql);
            if let Some(without) = without_archived_counter(&new) {
                self.archived.push(object.clone());
                new = Cow::Owned(without);
            }
            if let Some(without) = without_directories(&new) {
                self.placed.insert(object.clone(), sql.to_vec());
                new = Cow::Owned(without);
            }
            if let Cow::Owned(new) = new {
                changes.push((
                    statement.begins_at()..statement.begins_at() + sql.len(),
                    new,
                ));
            }
        }
        if changes.is_empty() {
            return Cow::Borrowed(frame.raw());
        }
        let (mut all, mut from) = (Vec::new(), 0);
        for (place, new) in changes {
            all.extend_from_slice(&frame.raw()[from..place.start]);
            all.extend_from_slice(&new);
            from = place.end;
        }
        all.extend_from_slice(&frame.raw()[from..]);
        Cow::Owned(all)
    }

    fn tell(&self, restored: &mut RestoreReport) {
        if !self.placed.is_empty() {
            let tables: Vec<ObjectId> = self.placed.keys().cloned().collect();
            restored.warn(kept_here(&tables));
        }
        if let Some(table) = self.archived.first() {
            restored.warn(format!(
                "the plain client was given {table} without the counter of its engine ARCHIVE, which refuses rows below \
                 it (1022): a restore by hand has to leave it out too, as RESTORE.txt says"
            ));
        }
    }
}

/// What the client was fed, to find what stands in a line of it.
#[derive(Debug, Default)]
struct Fed {
    /// The first line of each frame, from 1, and the frame.
    frames: Vec<(u64, FrameRecord)>,
    /// Lines so far.
    lines: u64,
}

impl Fed {
    fn note(&mut self, frame: &FrameRecord, sql: &[u8]) {
        self.frames.push((self.lines + 1, frame.clone()));
        self.lines += count_lines(sql);
    }

    /// The object whose statement stands in a line, or ends first behind it.
    async fn object_at(&self, archive: &Archive, line: u64) -> Result<Option<ObjectId>> {
        let at = self.frames.partition_point(|(first, _)| *first <= line);
        let Some((first, frame)) = at.checked_sub(1).and_then(|at| self.frames.get(at)) else {
            return Ok(None);
        };
        let guard = Arc::new(whole::guard(archive)?);
        let n = frame.n;
        let memory_bytes = RestoreOptions::default().memory_bytes;
        let mut frames = ReadAhead::begin(
            archive,
            &guard,
            memory_bytes,
            &Cancel::default(),
            move |record| record.n == n,
        );
        let Some(ready) = frames.next().await? else {
            return Ok(None);
        };
        let mut last = None;
        for (statement, sql) in ready.frame.statements() {
            let object = match &statement.kind {
                Kind::Create { object, .. } | Kind::SetSequence { object } => object.clone(),
                Kind::Insert { table } => table.clone(),
                Kind::CreateSchema { schema } | Kind::AlterSchema { schema } => {
                    ObjectId::schema(schema.clone())
                }
                _ => continue,
            };
            let begins = first + count_lines(&ready.frame.raw()[..statement.begins_at()]);
            last = Some(object);
            if begins + count_lines(sql) >= line {
                break;
            }
        }
        Ok(last)
    }
}

fn count_lines(sql: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', sql).count() as u64
}

/// A line in which the client says what the server refused.
#[derive(Debug)]
struct Complaint {
    /// The server's error number.
    code: u16,
    /// The line of what it was fed, from 1; 0 where it names none.
    line: u64,
    /// What it says.
    text: String,
}

impl Complaint {
    /// `ERROR 1368 (HY000) at line 12: CHECK OPTION …`.
    fn parse(said: &str) -> Option<Complaint> {
        let rest = said.strip_prefix("ERROR ")?;
        let (code, _) = rest.split_once(' ')?;
        let line = rest.split_once(" at line ").and_then(|(_, rest)| {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            rest[..digits].parse().ok()
        });
        Some(Complaint {
            code: code.parse().ok()?,
            line: line.unwrap_or(0),
            text: said.to_owned(),
        })
    }

    fn has(&self, codes: &[u16]) -> bool {
        codes.contains(&self.code)
    }

    /// The failure of whoever cannot go on.
    fn failure(self, object: Option<ObjectId>) -> Error {
        let error = Error::server(format!("the plain client: {}", self.text))
            .caused_by(server_error(self.code, self.text));
        match object {
            Some(object) => error.context(object),
            None => error,
        }
    }
}

/// Runs the client as RESTORE.txt says, with what `feed` writes; gives what the server refused.
async fn run(
    client: &Client,
    more: &[&str],
    feed: impl AsyncFnOnce(ChildStdin) -> std::result::Result<(), Feed>,
) -> Result<Vec<Complaint>> {
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
    if said.len() as u64 >= STDERR_BYTES {
        return Err(Error::server(
            "the plain client complains of more than can be judged",
        ));
    }
    let said = String::from_utf8_lossy(&said);
    let met: Vec<Complaint> = said.lines().filter_map(Complaint::parse).collect();
    // With --force it goes on, and that without a server too.
    if let Some(trouble) = met
        .iter()
        .find(|one| is_of_the_server(one.code, &one.text) && !one.has(&[NO_PLUGIN]))
    {
        let (code, text) = (trouble.code, trouble.text.clone());
        return Err(
            Error::server(format!("the plain client: {text}")).caused_by(server_error(code, text))
        );
    }
    // A pipe that broke is the client's failure, which it explains itself.
    if !met.is_empty() || (status.success() && fed.is_ok()) {
        return Ok(met);
    }
    Err(Error::server(format!(
        "the mysql client failed ({status}) and named no error"
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
    offered: &Offered,
    server: &ServerConfig,
) -> Result<Vec<String>> {
    let there = accounts_there(server).await?;
    let (met, missing): (Vec<&Account>, Vec<&Account>) = offered
        .accounts
        .iter()
        .partition(|account| there.contains(*account));
    // Every fresh server has some of root's, which may do anything already.
    let mut met: Vec<&Account> = met
        .into_iter()
        .filter(|account| account.user != "root")
        .collect();
    if !offered.to_public.is_empty() {
        met.extend(there.iter().filter(|account| is_public(account)));
    }
    match (met.first(), &drill.scratch) {
        (Some(account), Choice::Given(_)) => Err(Error::refused(format!(
            "the scratch server has the account {account}, and so has the backup"
        ))
        .hint("drop it there, or drill with --path lanes, which leaves it alone")),
        _ => Ok(missing.iter().map(ToString::to_string).collect()),
    }
}

async fn accounts_there(server: &ServerConfig) -> Result<BTreeSet<Account>> {
    let mut connection = connect(server).await?;
    let version = connection.version().await?;
    let there = facts::accounts(&mut connection, &version).await?;
    connection.close().await;
    there.ok_or_else(|| {
        Error::refused("the account of the drill may not see which accounts the scratch server has")
            .hint("grant it SELECT on mysql.user")
    })
}

/// Nobody logs in to a scratch server with an account of the backup. One that it could not make, for want of the
/// plugin by which it logs in, is made without: definers have to exist.
async fn lock(server: &ServerConfig, restored: &mut RestoreReport) -> Result<()> {
    let there = accounts_there(server).await?;
    let there: BTreeSet<String> = there.iter().map(ToString::to_string).collect();
    let mut connection = connect(server).await?;
    for account in restored.created_accounts.clone() {
        if given::is_role(&account) {
            continue;
        }
        let sql = match there.contains(&account) {
            true => format!("ALTER USER {account} ACCOUNT LOCK"),
            false => {
                restored.warn(made_plain(&account));
                format!("CREATE USER {account} ACCOUNT LOCK")
            }
        };
        connection.run(&sql).await?;
    }
    connection.close().await;
    Ok(())
}

/// The restored server's ledger against the archive's.
async fn prove(
    drill: &Drill<'_>,
    archive: &Archive,
    server: &Arc<ServerConfig>,
    placed: BTreeMap<ObjectId, Vec<u8>>,
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
            forgiven: Forgiven {
                placed,
                ..Forgiven::default()
            },
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
    fn a_complaint_of_the_client_is_taken_apart() {
        let said = "ERROR 1368 (HY000) at line 120: CHECK OPTION on non-updatable view 'd.a'";
        let one = Complaint::parse(said).unwrap();
        assert_eq!((one.code, one.line), (1368, 120));
        let one = Complaint::parse("ERROR 2002 (HY000): Can't connect at line").unwrap();
        assert_eq!((one.code, one.line), (2002, 0));
        for other in [
            "",
            "ERROR at line 9: Unknown command",
            "mysql: [Warning] Using a password",
        ] {
            assert!(Complaint::parse(other).is_none(), "{other}");
        }
    }

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
