//! `drctl doctor`: checks everything a backup needs, without making one.
//!
//! A failed check never skips later ones, unless they depend on it. Schedules and objectives are checked in
//! `objectives`, encryption and signatures in `keys`, Kubernetes permissions in `rights`, the binary log in `stream`, the
//! second store in `copy`, standby and lease in `standby`.

mod copy;
mod keys;
mod objectives;
mod rights;
mod standby;
mod stream;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;

use crate::archive::manifest::{Manifest, SnapshotMethod};
use crate::backup::anomaly::baseline;
use crate::backup::preflight::{self, Examination, Reading};
use crate::backup::source::Source;
use crate::catalog::clock::MOST_APART;
use crate::catalog::{Catalog, Which};
use crate::cli::Context;
use crate::cli::output::text;
use crate::kind::Kind;
use crate::mysql::schemas::MARKER;
use crate::mysql::{Connection, ServerConfig, connect};
use crate::restore::inspect;
use crate::restore::inspect::refusal::Refusal;
use crate::store::StoreError;
use crate::util::error::{Error, Outcome, Result};
use crate::util::format::Output;
use crate::util::format::counted;
use crate::util::times::{self, after};

/// Result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum Status {
    Ok,
    Warn,
    Fail,
}

/// One check, as in `doctor --output json`.
#[derive(Debug, Clone, Serialize)]
struct Check {
    /// Name of the check.
    check: &'static str,
    /// Its result.
    status: Status,
    /// What was found.
    what: String,
    /// How to fix it.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

/// All findings so far, and the failure that determines the exit code.
#[derive(Default)]
struct Findings {
    checks: Vec<Check>,
    worst: Option<Error>,
}

impl Findings {
    fn ok(&mut self, check: &'static str, what: impl Into<String>) {
        self.note(check, Status::Ok, what.into(), None);
    }

    fn warn(&mut self, check: &'static str, what: impl Into<String>, fix: Option<&str>) {
        self.note(check, Status::Warn, what.into(), fix.map(str::to_owned));
    }

    fn fail(&mut self, check: &'static str, error: Error) {
        let fix = error.next_step().map(str::to_owned);
        self.note(check, Status::Fail, error.what().to_owned(), fix);
        self.worst = Some(match self.worst.take() {
            Some(worst) => worst.most_severe(error),
            None => error,
        });
    }

    fn note(&mut self, check: &'static str, status: Status, what: String, fix: Option<String>) {
        self.checks.push(Check {
            check,
            status,
            what,
            fix,
        });
    }
}

/// Runs all checks and prints the findings.
pub async fn run(context: &Context) -> Result<()> {
    let mut findings = Findings::default();
    for unknown in &context.config.unknown_variables {
        let fix = format!("set {} instead, or remove it", unknown.nearest);
        findings.warn(
            "configuration",
            format!("the variable {} is unknown and ignored", unknown.name),
            Some(&fix),
        );
    }
    let (catalog, newest) = store(context, &mut findings).await?;
    keys::check(context, newest.as_ref(), &mut findings).await?;
    copy::check(context, &mut findings).await?;
    standby::check(context, &mut findings).await?;
    objectives::check(context, catalog.as_ref(), &mut findings).await?;
    match context.config.kind() {
        Ok(Some(kind)) => of_kind(context, kind.as_ref(), &mut findings).await?,
        Ok(None) => {
            source(context, catalog.as_ref(), &mut findings).await?;
            stream::check(context, &mut findings).await?;
            into(context, &mut findings, newest.as_ref()).await?;
        }
        Err(error) => findings.fail("source", error),
    }
    rights::check(context, &mut findings).await?;
    notifiers(context, &mut findings);
    let said = match context.output {
        Output::Json => text::json(&findings.checks),
        Output::Text => text::print(&page(&findings.checks)),
    };
    match findings.worst {
        None => said,
        Some(worst) => Err(
            Error::new(worst.outcome(), "prerequisites of backups are not met")
                .hint("fix the findings marked FAIL above"),
        ),
    }
}

fn page(checks: &[Check]) -> String {
    let row = |check: &Check| {
        let fix = check
            .fix
            .as_ref()
            .map_or(String::new(), |fix| format!("; {fix}"));
        let status = format!("{:?}", check.status).to_uppercase();
        vec![
            status,
            check.check.to_owned(),
            format!("{}{fix}", check.what),
        ]
    };
    text::table(
        &["", "CHECK", "WHAT"],
        &checks.iter().map(row).collect::<Vec<_>>(),
    )
}

/// Checks the store: list, read, write, conditional write, clock. Returns the catalog, and the manifest of the
/// newest backup.
async fn store(
    context: &Context,
    findings: &mut Findings,
) -> Result<(Option<Catalog>, Option<Manifest>)> {
    match context.store.check().await {
        Ok(()) => {}
        Err(error @ StoreError::NotAStore { empty: true, .. }) => {
            let error = Error::from(error);
            findings.warn("store", error.what(), error.next_step());
            return Ok((None, None));
        }
        Err(error) => {
            findings.fail("store", error.into());
            return Ok((None, None));
        }
    }
    let listed = context.catalog().await;
    context.cancel.check()?;
    let mut newest = None;
    if let Ok(catalog) = &listed {
        let count = catalog.committed().count();
        findings.ok(
            "store: list",
            format!(
                "{}, {}",
                context.store.location(),
                counted(count as u64, "backup")
            ),
        );
        match context.cancel.unless(catalog.find(Which::Latest)).await {
            Ok(entry) => {
                let now = Timestamp::now();
                let age = text::ago(entry.manifest.snapshot_at, now);
                let what = format!("{}, {age}", entry.id);
                if entry.manifest.snapshot_at > after(now, MOST_APART) {
                    findings.warn("newest backup", what, Some("synchronise the clocks by NTP"));
                } else {
                    findings.ok("newest backup", what);
                }
                newest = Some(entry.manifest);
            }
            Err(error) if error.outcome() == Outcome::NothingToDo => {
                findings.warn(
                    "newest backup",
                    error.what(),
                    Some("create one with drctl backup"),
                );
            }
            Err(error) => findings.fail("newest backup", error),
        }
    }
    let catalog = match listed {
        Ok(catalog) => Some(catalog),
        Err(error) => {
            findings.fail("store: list", error);
            None
        }
    };
    let key = context.config.target.probe(rand::random());
    let probed = context.cancel.unless(probe(context, &key, findings)).await;
    if let Err(error) = context.store.delete(&key).await {
        let fix = "grant it; otherwise the objects of failed backups are never cleaned up (they are not listed as backups)";
        findings.warn("store: delete", error.to_string(), Some(fix));
    }
    context.cancel.check()?;
    if let Err(error) = probed {
        findings.fail("store: write", error);
    }
    Ok((catalog, newest))
}

async fn probe(context: &Context, key: &str, findings: &mut Findings) -> Result<()> {
    let body = Bytes::from_static(b"drctl doctor was here\n");
    context.store.put_new(key, body.clone()).await?;
    let before = Timestamp::now();
    match context.store.put_new(key, body.clone()).await {
        Err(StoreError::AlreadyExists { .. }) => {}
        Ok(()) => {
            return Err(
                Error::store("the store ignores If-None-Match and overwrites objects").hint(
                    "use a store that supports If-None-Match: two runs could overwrite each other's objects",
                ),
            );
        }
        Err(error) => return Err(error.into()),
    }
    if context.store.get(key, None).await? != body {
        return Err(Error::store(
            "the store did not return the bytes that were written",
        ));
    }
    let meta = context.store.head(key).await?;
    findings.ok("store: write", "write, read and conditional write work");
    let apart = times::apart(meta.modified, before);
    if apart > MOST_APART {
        let what = format!(
            "the clocks of this host and the store differ by {}",
            text::span(apart)
        );
        findings.warn("clocks", what, Some("synchronise both by NTP"));
    }
    Ok(())
}

/// Checks a source other than MySQL, and whether its drills prove anything.
async fn of_kind(context: &Context, kind: &dyn Kind, findings: &mut Findings) -> Result<()> {
    let about = context.cancel.unless(kind.about()).await;
    context.cancel.check()?;
    match about {
        Ok(about) => findings.ok("source", format!("{}, {}", kind.name(), about.identity)),
        Err(error) => findings.fail("source", error),
    }
    match kind.check_drill() {
        Ok(()) => findings.ok("drill", "a restored backup is compared"),
        Err(error) => findings.warn("drill", error.what(), error.next_step()),
    }
    Ok(())
}

/// Checks the target: the preflight of a backup, by the same code, without its lock.
async fn source(
    context: &Context,
    catalog: Option<&Catalog>,
    findings: &mut Findings,
) -> Result<()> {
    let config = match context.config.source() {
        Ok(config) => config,
        Err(error) => {
            findings.fail("source", error);
            return Ok(());
        }
    };
    let options = &context.config.backup.source;
    let met = context
        .cancel
        .unless(Source::connect_unlocked(
            &config,
            &context.config.target,
            options,
        ))
        .await;
    context.cancel.check()?;
    let mut source = match met {
        Ok(source) => source,
        Err(error) => {
            findings.fail("source", error);
            return Ok(());
        }
    };
    findings.ok("source", format!("{}, {}", config.url, source.identity()));
    let client = source.client();
    findings.ok("client", format!("{} {}", client.name(), client.banner));
    if let Some(catalog) = catalog {
        match context
            .cancel
            .unless(baseline::server(&context.store, catalog))
            .await
        {
            Ok(Some(known)) if known != source.identity() => {
                let what = format!("existing backups are from a different server, {known}");
                let fix = "the next backup will be suspect; if the target moved here, run drctl accept on it; \
                           otherwise give this server its own target name";
                findings.warn("identity", what, Some(fix));
            }
            Ok(_) => {}
            Err(error) => findings.fail("identity", error),
        }
        context.cancel.check()?;
    }
    let looked = context.cancel.unless(preflight::examine(&mut source)).await;
    source.close().await;
    context.cancel.check()?;
    match looked {
        Err(error) => findings.fail("preflight", error),
        Ok(examination) => examined(examination, findings),
    }
    Ok(())
}

fn examined(examination: Examination, findings: &mut Findings) {
    let Examination {
        blockers,
        warnings,
        lossy,
        reading,
        definers,
        schemas,
        objects,
    } = examination;
    if blockers.is_empty() {
        let (schemas, objects) = (
            counted(schemas as u64, "schema"),
            counted(objects as u64, "object"),
        );
        let what = format!("{schemas} with {objects}: everything can be dumped");
        findings.ok("preflight", what);
    }
    for blocker in blockers {
        findings.fail("preflight", blocker);
    }
    read(&reading, findings);
    for warning in warnings {
        findings.warn("preflight", warning, None);
    }
    for definer in definers {
        let fix = "create the account, or change the definer of its objects";
        let what = format!("definer {definer} of existing objects does not exist");
        findings.warn("definer", what, Some(fix));
    }
    for column in lossy {
        findings.warn("lossy column", column, Some("see docs/proof.md"));
    }
}

/// How the rows are read.
fn read(reading: &Reading, findings: &mut Findings) {
    const CHECK: &str = "reader";
    let (jobs, method) = match reading {
        Reading::Connections(jobs, method) => (counted(*jobs as u64, "connection"), method),
        Reading::Program(None) => return findings.ok(CHECK, "the dump program (source.reader)"),
        Reading::Program(Some(why)) => {
            return findings.ok(CHECK, format!("the dump program: {why}"));
        }
    };
    match method {
        SnapshotMethod::Verified => findings.ok(CHECK, format!("{jobs}, without a lock")),
        SnapshotMethod::GlobalLock => {
            findings.ok(CHECK, format!("{jobs}; the global read lock for a moment"));
        }
        SnapshotMethod::TableLocks => {
            findings.ok(
                CHECK,
                format!("{jobs}; read locks on all tables for a moment"),
            );
        }
        SnapshotMethod::OneConnection => {
            let what = "one connection: the account cannot make several see the same data";
            let fix = "grant REPLICATION CLIENT (with GTIDs on MySQL), RELOAD or LOCK TABLES, or set backup.jobs: 1";
            findings.warn(CHECK, what, Some(fix));
        }
    }
}

/// Checks the destination, if one is configured.
async fn into(context: &Context, findings: &mut Findings, newest: Option<&Manifest>) -> Result<()> {
    const CHECK: &str = "restore destination";
    if !context.config.names_destination() {
        let fix = "set DRCTL_INTO_URL before a restore is needed";
        findings.warn(CHECK, "no destination is configured", Some(fix));
        return Ok(());
    }
    let config = match context.config.restore_into(None) {
        Ok(config) => config,
        Err(error) => {
            findings.fail(CHECK, error);
            return Ok(());
        }
    };
    let replays = context.config.stream.is_configured();
    let looked = context
        .cancel
        .unless(look_into(&config, newest, replays))
        .await;
    context.cancel.check()?;
    let looked = match looked {
        Ok(looked) => looked,
        Err(error) => {
            findings.fail(CHECK, error);
            return Ok(());
        }
    };
    findings.ok(CHECK, config.url.to_string());
    if looked.marker {
        let what = format!("{} has an unfinished restore", config.url);
        let fix = "resume it with the same drctl restore command, or end it with drctl restore --keep or --discard";
        findings.warn(CHECK, what, Some(fix));
    }
    if !looked.settings.is_empty() {
        let what = format!(
            "an interrupted restore left settings changed: {}",
            looked.settings.join(", ")
        );
        let fix = "revert them with drctl restore --undo-settings";
        findings.warn("settings", what, Some(fix));
    }
    for refusal in looked.unfit {
        findings.warn(CHECK, refusal.what, Some(&refusal.hint));
    }
    let largest = newest.map(|newest| newest.totals.largest_statement_bytes);
    if let Some(largest) = largest.filter(|largest| *largest >= looked.packet_bytes) {
        let what = format!(
            "the newest backup contains a statement of {largest} bytes, but max_allowed_packet is {}",
            looked.packet_bytes
        );
        let fix =
            "SET GLOBAL max_allowed_packet = 1073741824, and set it in the server's option file";
        findings.warn("max_allowed_packet", what, Some(fix));
    }
    Ok(())
}

/// Checks that each notifier's URL can be read; sends nothing.
fn notifiers(context: &Context, findings: &mut Findings) {
    for (name, address) in context.config.notify.addresses() {
        match address.url() {
            Ok(_) => findings.ok("notifier", format!("{name}; test it with drctl alert-test")),
            Err(why) => findings.fail("notifier", Error::usage(why)),
        }
    }
}

/// Relevant state of the destination.
struct Looked {
    /// Whether it has an unfinished restore.
    marker: bool,
    /// Names of settings changed by that restore.
    settings: Vec<String>,
    /// `max_allowed_packet` in bytes.
    packet_bytes: u64,
    /// Settings under which every restore would be refused.
    unfit: Vec<Refusal>,
}

async fn look_into(
    config: &ServerConfig,
    newest: Option<&Manifest>,
    replays: bool,
) -> Result<Looked> {
    let mut connection: Connection = connect(config).await?;
    // A restore also rejects a server that is too old.
    connection.version().await?;
    let packet_bytes = connection.one("SELECT @@global.max_allowed_packet").await?;
    let tables: Vec<String> = connection
        .rows(&format!(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = '{MARKER}'"
        ))
        .await?;
    let schemas: Vec<String> = connection
        .rows("SELECT schema_name FROM information_schema.schemata")
        .await?;
    let settings = if tables.iter().any(|table| table == "settings") {
        let names = format!("SELECT name FROM {MARKER}.settings ORDER BY name");
        connection.rows(&names).await?
    } else {
        Vec::new()
    };
    let unfit = inspect::unfit(&mut connection, newest, replays).await?;
    connection.close().await;
    Ok(Looked {
        marker: schemas.iter().any(|schema| schema == MARKER),
        settings,
        packet_bytes,
        unfit,
    })
}
