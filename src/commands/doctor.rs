//! `drctl doctor`: everything a backup needs, looked at without making one.
//!
//! A check that fails never stops those behind it, unless they cannot be made without it. What
//! was promised is looked at in `promises`, and rights on a cluster in `rights`.

mod promises;
mod rights;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;

use crate::baseline;
use crate::catalog::{Catalog, Which};
use crate::cli::Output;
use crate::clocks::MOST_APART;
use crate::commands::{Run, text};
use crate::error::{Error, Outcome, Result};
use crate::server::schemas::MARKER;
use crate::server::{Connection, ServerConfig, connect};
use crate::source::{Examination, Source};
use crate::store::StoreError;
use crate::times::{self, after};
use crate::words::counted;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum Status {
    Ok,
    Warn,
    Fail,
}

/// One check, as `doctor --output json` shows it.
#[derive(Debug, Clone, Serialize)]
struct Check {
    /// What was looked at.
    check: &'static str,
    /// How it ended.
    status: Status,
    /// What was found.
    what: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

/// All checks so far, and the failure that names the exit code.
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

/// Looks at everything, and says what it found.
pub async fn run(run: &Run) -> Result<()> {
    let mut findings = Findings::default();
    for unknown in &run.config.unknown_variables {
        let fix = format!("set {} instead, or take it out", unknown.nearest);
        findings.warn(
            "configuration",
            format!("the variable {} is unknown and ignored", unknown.name),
            Some(&fix),
        );
    }
    let (catalog, largest) = store(run, &mut findings).await?;
    promises::check(run, catalog.as_ref(), &mut findings).await?;
    source(run, catalog.as_ref(), &mut findings).await?;
    into(run, &mut findings, largest).await?;
    rights::check(run, &mut findings).await?;
    notifiers(run, &mut findings);
    match run.output {
        Output::Json => text::json(&findings.checks)?,
        Output::Text => text::print(&page(&findings.checks))?,
    }
    match findings.worst {
        None => Ok(()),
        Some(worst) => Err(Error::new(
            worst.outcome(),
            "not everything that a backup needs is there",
        )
        .hint("see FAIL above for what and how")),
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

/// The store: read, write, write only where there is nothing, clock. Gives its list, and the longest
/// statement of the newest backup, bytes.
async fn store(run: &Run, findings: &mut Findings) -> Result<(Option<Catalog>, Option<u64>)> {
    match run.store.check().await {
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
    let listed = run.catalog().await;
    run.cancel.check()?;
    let mut largest = None;
    if let Ok(catalog) = &listed {
        let count = catalog.committed().count();
        findings.ok(
            "store: list",
            format!(
                "{}, {}",
                run.store.location(),
                counted(count as u64, "backup")
            ),
        );
        match run.cancel.unless(catalog.find(Which::Latest)).await {
            Ok(entry) => {
                let now = Timestamp::now();
                let age = text::ago(entry.manifest.snapshot_at, now);
                let what = format!("{}, {age}", entry.id);
                match entry.manifest.snapshot_at > after(now, MOST_APART) {
                    true => findings.warn("newest backup", what, Some("set the clocks by NTP")),
                    false => findings.ok("newest backup", what),
                }
                largest = Some(entry.manifest.totals.largest_statement_bytes);
            }
            Err(error) if error.outcome() == Outcome::NothingToDo => {
                findings.warn(
                    "newest backup",
                    error.what(),
                    Some("make one with drctl backup"),
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
    let key = run.config.target.probe(rand::random());
    let probed = run.cancel.unless(probe(run, &key, findings)).await;
    if let Err(error) = run.store.delete(&key).await {
        let fix = "allow it, or leftovers of failed backups stay (unlisted)";
        findings.warn("store: delete", error.to_string(), Some(fix));
    }
    run.cancel.check()?;
    if let Err(error) = probed {
        findings.fail("store: write", error);
    }
    Ok((catalog, largest))
}

async fn probe(run: &Run, key: &str, findings: &mut Findings) -> Result<()> {
    let body = Bytes::from_static(b"drctl doctor was here\n");
    run.store.put_new(key, body.clone()).await?;
    let before = Timestamp::now();
    match run.store.put_new(key, body.clone()).await {
        Err(StoreError::AlreadyExists { .. }) => {}
        Ok(()) => {
            return Err(
                Error::store("the store replaces objects where it was told not to").hint(
                    "use a server that honours If-None-Match: two runs could overwrite each other",
                ),
            );
        }
        Err(error) => return Err(error.into()),
    }
    if run.store.get(key, None).await? != body {
        return Err(Error::store(
            "the store gives back other bytes than it was given",
        ));
    }
    let meta = run.store.head(key).await?;
    findings.ok("store: write", "writes, reads back, and replaces nothing");
    let apart = times::apart(meta.modified, before);
    if apart > MOST_APART {
        let what = format!(
            "this host's and the store's clock are {} apart",
            text::span(apart)
        );
        findings.warn("clocks", what, Some("set both by NTP"));
    }
    Ok(())
}

/// The source: all that a backup asks before it begins, by the same code, but without its lock.
async fn source(run: &Run, catalog: Option<&Catalog>, findings: &mut Findings) -> Result<()> {
    let config = match run.config.source() {
        Ok(config) => config,
        Err(error) => {
            findings.fail("source", error);
            return Ok(());
        }
    };
    let options = &run.config.backup.source;
    let met = run
        .cancel
        .unless(Source::look(&config, &run.config.target, options))
        .await;
    run.cancel.check()?;
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
        match run
            .cancel
            .unless(baseline::server(&run.store, catalog))
            .await
        {
            Ok(Some(known)) if known != source.identity() => {
                let what = format!("the backups so far are of another server, {known}");
                let fix = "the next backup will be suspect; if the target moved here, drctl accept it; \
                           if not, give this server a target name of its own";
                findings.warn("identity", what, Some(fix));
            }
            Ok(_) => {}
            Err(error) => findings.fail("identity", error),
        }
        run.cancel.check()?;
    }
    let looked = run.cancel.unless(source.examine()).await;
    source.close().await;
    run.cancel.check()?;
    match looked {
        Err(error) => findings.fail("preflight", error),
        Ok(examination) => examined(examination, findings),
    }
    Ok(())
}

fn examined(examination: Examination, findings: &mut Findings) {
    let Examination {
        faults,
        warnings,
        lossy,
        definers,
        schemas,
        objects,
    } = examination;
    if faults.is_empty() {
        let (schemas, objects) = (
            counted(schemas as u64, "schema"),
            counted(objects as u64, "object"),
        );
        let what = format!("{schemas} with {objects} can be dumped completely");
        findings.ok("preflight", what);
    }
    for fault in faults {
        findings.fail("preflight", fault);
    }
    for warning in warnings {
        findings.warn("preflight", warning, None);
    }
    for definer in definers {
        let fix = "create the account, or give its objects another definer";
        let what = format!("{definer} is the definer of objects, and does not exist");
        findings.warn("definer", what, Some(fix));
    }
    for column in lossy {
        findings.warn("lossy column", column, Some("see docs/proof.md"));
    }
}

/// The server to restore into, where one is configured.
async fn into(run: &Run, findings: &mut Findings, largest: Option<u64>) -> Result<()> {
    const CHECK: &str = "restore target";
    if !run.config.names_restore_target() {
        let fix = "set DRCTL_INTO_URL: the night of a disaster is late to look for it";
        findings.warn(CHECK, "none is configured", Some(fix));
        return Ok(());
    }
    let config = match run.config.restore_into(None) {
        Ok(config) => config,
        Err(error) => {
            findings.fail(CHECK, error);
            return Ok(());
        }
    };
    let looked = run.cancel.unless(look_into(&config)).await;
    run.cancel.check()?;
    let looked = match looked {
        Ok(looked) => looked,
        Err(error) => {
            findings.fail(CHECK, error);
            return Ok(());
        }
    };
    findings.ok(CHECK, config.url.to_string());
    if looked.marker {
        let what = format!("{} carries an unfinished restore", config.url);
        let fix = "finish it by the same drctl restore, or give it up by drctl restore --keep";
        findings.warn(CHECK, what, Some(fix));
    }
    if !looked.settings.is_empty() {
        let what = format!(
            "a restore that was killed left changed: {}",
            looked.settings.join(", ")
        );
        let fix = "put them back by drctl restore --undo-settings";
        findings.warn("settings", what, Some(fix));
    }
    if let Some(largest) = largest.filter(|largest| *largest >= looked.packet_bytes) {
        let what = format!(
            "the newest backup has a statement of {largest} bytes, and max_allowed_packet is {}",
            looked.packet_bytes
        );
        let fix = "SET GLOBAL max_allowed_packet = 1073741824, and in its option file";
        findings.warn("max_allowed_packet", what, Some(fix));
    }
    Ok(())
}

/// Who would be told of a failure: whether their addresses can be read, not whether they answer.
fn notifiers(run: &Run, findings: &mut Findings) {
    for (name, address) in run.config.notify.addresses() {
        match address.url() {
            Ok(_) => findings.ok("notifier", format!("{name}; drctl alert-test tries it")),
            Err(why) => findings.fail("notifier", Error::usage(why)),
        }
    }
}

/// What is known of a server to restore into.
struct Looked {
    /// Whether a restore into it is unfinished.
    marker: bool,
    /// The names of settings that such a restore changed.
    settings: Vec<String>,
    /// The longest statement that it takes, bytes.
    packet_bytes: u64,
}

async fn look_into(config: &ServerConfig) -> Result<Looked> {
    let mut connection: Connection = connect(config).await?;
    // One that is too old is refused by a restore, too.
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
    let settings = match tables.iter().any(|table| table == "settings") {
        true => {
            let names = format!("SELECT name FROM {MARKER}.settings ORDER BY name");
            connection.rows(&names).await?
        }
        false => Vec::new(),
    };
    connection.close().await;
    Ok(Looked {
        marker: schemas.iter().any(|schema| schema == MARKER),
        settings,
        packet_bytes,
    })
}
