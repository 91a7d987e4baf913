//! `drctl restore`: a backup into a server, and the proof that it arrived.
//!
//! choose → plan → (fence) → restore → prove → say how long each stage took

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::apply;
use crate::apply::options::{RestoreOptions, Scope, Tuning};
use crate::apply::plan::RestorePlan;
use crate::apply::refusal::refused;
use crate::apply::report::{Progress, RestoreReport};
use crate::archive::BackupPlace;
use crate::catalog::{Catalog, Entry, Which};
use crate::cli::{Output, RestoreArgs};
use crate::commands::fence::{Closed, still_fenced};
use crate::commands::progress::Bar;
use crate::commands::{Run, text, unfinished};
use crate::drill;
use crate::error::{Error, Outcome, Result};
use crate::proof::compare::Comparison;
use crate::reading::Reading;
use crate::report::history;
use crate::runs::{self, RunRecord};
use crate::server::ServerConfig;
use crate::sql::definer::Account;

/// Restores it, or says what restoring it would do.
pub async fn run(run: &Run, args: RestoreArgs) -> Result<()> {
    run.cancel.on_deadline(run.config.restore.deadline);
    let server = Arc::new(run.config.restore_into(args.into.as_deref())?);
    if args.undo_settings {
        return unfinished::undo_settings(run, &server).await;
    }
    if args.keep {
        return unfinished::keep(run, &server).await;
    }
    if args.discard && args.choose.is_none() && !args.plan {
        confirm(run, &args)?;
        return unfinished::discard(run, &server).await;
    }
    let which = match args.choose.is_none() {
        true => of_environment()?,
        false => args.choose.which()?,
    };
    confirm(run, &args)?;
    let catalog = run.catalog().await?;
    let entry = run.cancel.unless(catalog.find(which)).await?;
    let options = options(run, &args, &entry)?;
    announce(&entry, &server);
    if args.plan {
        let archive = run.cancel.unless(catalog.open(entry.id)).await?;
        let silent: Arc<dyn Progress> = Arc::new(apply::report::Silent);
        let plan = apply::plan(&archive, &server, &options, &silent, &run.cancel).await?;
        return say_plan(run, &plan);
    }
    // Before anything of it is read: from here on retention spares it.
    let lease = Reading::begin(&run.store, &catalog.place(entry.id)).await;
    // Whoever names a server restores for a look: the application uses the configured one.
    let done = match args.into {
        None => behind_a_fence(run, &catalog, &entry, &server, options).await,
        Some(_) => {
            let done = restore(run, &catalog, &entry, &server, options).await;
            done.and_then(|report| say_report(run, &report))
        }
    };
    if let Some(lease) = lease {
        lease.end().await;
    }
    done
}

/// Restores it while the application is kept out, where a fence is configured.
async fn behind_a_fence(
    run: &Run,
    catalog: &Catalog,
    entry: &Entry,
    server: &Arc<ServerConfig>,
    options: RestoreOptions,
) -> Result<()> {
    let config = &run.config.restore.fence;
    if !config.workloads.is_empty()
        && let Err(error) = foresee(run, catalog, entry, server, &options).await
    {
        return Err(still_fenced(config, &run.cancel, error).await);
    }
    let fence = Closed::begin(config, &run.cancel).await?;
    let done = restore(run, catalog, entry, server, options).await;
    let Some(fence) = fence else {
        return say_report(run, &done?);
    };
    let report = match done {
        Err(error) => return Err(fence.stays(error)),
        Ok(report) => report,
    };
    let opened = match report.proof.as_ref().is_some_and(Comparison::is_equal) {
        true => fence.open().await,
        false => {
            fence.say_that_it_stays();
            Ok(())
        }
    };
    // Behind it: what nobody can read keeps no application out.
    let said = say_report(run, &report);
    opened.and(said)
}

/// What will be refused is refused before the application is taken from its users. A server that does
/// not answer may do so once it is rid of them.
async fn foresee(
    run: &Run,
    catalog: &Catalog,
    entry: &Entry,
    server: &Arc<ServerConfig>,
    options: &RestoreOptions,
) -> Result<()> {
    let options = RestoreOptions {
        check_first: false,
        // Those of the application will be gone.
        allow_connections: true,
        reconnect: Duration::ZERO,
        ..options.clone()
    };
    let archive = run.cancel.unless(catalog.open(entry.id)).await?;
    let silent: Arc<dyn Progress> = Arc::new(apply::report::Silent);
    let plan = apply::plan(&archive, server, &options, &silent, &run.cancel);
    match run.cancel.unless(plan).await {
        Ok(plan) => refused(&plan.refusals).map_or(Ok(()), Err),
        Err(error) if error.outcome() == Outcome::Server => {
            tracing::debug!(%error, "cannot foresee what the restore will meet");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// The emergency button: a Job that is made of a suspended CronJob takes no arguments.
fn of_environment() -> Result<Which> {
    let named = std::env::var("DRCTL_RESTORE").unwrap_or_default();
    match named.as_str() {
        "" => Err(Error::usage("no backup is named").hint(
            "give an ID, --latest, --latest-verified or --at TIME, or one of them in DRCTL_RESTORE",
        )),
        "latest" => Ok(Which::Latest),
        "latest-verified" => Ok(Which::LatestVerified),
        text => match (text.parse(), text.parse()) {
            (Ok(id), _) => Ok(Which::Id(id)),
            (_, Ok(time)) => Ok(Which::At(time)),
            _ => Err(
                Error::usage(format!("DRCTL_RESTORE={text} names no backup"))
                    .hint("set it to an ID, a time, latest or latest-verified"),
            ),
        },
    }
}

/// Restores it, and leaves what is known of it in the store.
async fn restore(
    run: &Run,
    catalog: &Catalog,
    entry: &Entry,
    server: &Arc<ServerConfig>,
    options: RestoreOptions,
) -> Result<RestoreReport> {
    let archive = run.cancel.unless(catalog.open(entry.id)).await?;
    let whole = options.scope.is_everything() && options.scope.rename.is_empty();
    let started_at = Timestamp::now();
    let progress = Arc::new(Bar::new(entry.manifest.totals.raw_bytes));
    let mut report = RestoreReport::default();
    let done = apply::restore(
        &archive,
        server,
        options,
        progress,
        &run.cancel,
        &mut report,
    )
    .await;
    let record = RunRecord::ends("restore", started_at, Some(entry.id), done.as_ref().err());
    runs::record(&run.store, &run.config.target, &record).await;
    done?;
    // With other definers it is equal to the dump but for them.
    let whole = whole && report.substituted.is_empty();
    if whole && report.proof.as_ref().is_some_and(Comparison::is_equal) {
        note_proof(run, entry, &catalog.place(entry.id), &report).await;
    }
    Ok(report)
}

/// Leaves the evidence beside the backup: a restore of all of it that was proven is as good as a
/// drill. Best effort, since whoever restores may only be allowed to read.
async fn note_proof(run: &Run, entry: &Entry, place: &BackupPlace, report: &RestoreReport) {
    let drill = drill::of_restore(&entry.manifest, report);
    if let Err(error) = history::keep(&run.store, place, &drill).await {
        tracing::warn!(%error, "the proof is not noted in the store");
    }
}

/// Dropping what exists takes the target's name, typed once more. Who types another one is in the wrong place,
/// whatever is asked for: the button is given it each time.
fn confirm(run: &Run, args: &RestoreArgs) -> Result<()> {
    match &args.confirm {
        Some(name) if name != run.config.target.as_str() => Err(Error::usage(format!(
            "--confirm {name} is not the target, {}",
            run.config.target
        ))
        .hint("look twice at what you are about to replace")),
        _ => Ok(()),
    }
}

fn options(run: &Run, args: &RestoreArgs, entry: &Entry) -> Result<RestoreOptions> {
    let usual = RestoreOptions::default();
    Ok(RestoreOptions {
        scope: scope(args)?,
        lanes: args
            .lanes
            .or(run.config.restore.lanes)
            .unwrap_or(usual.lanes),
        overwrite: args.overwrite,
        // What is about to replace something, or was never restored before, is read to its end
        // before anything is touched.
        check_first: args.check_first || args.overwrite || entry.marks.proven_at.is_none(),
        accounts: args.accounts,
        allow_connections: args.allow_connections,
        allow_replica: args.allow_replica,
        allow_cluster: args.allow_cluster,
        substitute_definer: args.definer.as_deref().map(account).transpose()?,
        discard: args.discard,
        prove: !args.no_prove,
        tuning: if args.fast_unsafe {
            Tuning::FastUnsafe
        } else {
            Tuning::Keep
        },
        binlog: !args.no_binlog,
        reconnect: run.config.restore.reconnect,
        ..usual
    })
}

fn scope(args: &RestoreArgs) -> Result<Scope> {
    let mut scope = Scope::default();
    for name in &args.tables {
        let (schema, table) = name.split_once('.').ok_or_else(|| {
            Error::usage(format!("--tables {name}: no schema"))
                .hint("write SCHEMA.TABLE, as in shop.orders")
        })?;
        scope.tables.insert((schema.to_owned(), table.to_owned()));
    }
    for (old, new) in &args.rename {
        if scope.rename.insert(old.clone(), new.clone()).is_some() {
            return Err(Error::usage(format!("--rename names {old} twice")));
        }
    }
    Ok(scope)
}

fn account(text: &str) -> Result<Account> {
    match text.rsplit_once('@') {
        Some((user, host)) if !user.is_empty() => Ok(Account {
            user: user.to_owned(),
            host: host.to_owned(),
        }),
        _ => {
            Err(Error::usage(format!("--definer {text} is not an account")).hint("write user@host"))
        }
    }
}

/// Which backup it is, how old, and whether anybody ever restored it: before anything is done.
fn announce(entry: &Entry, server: &ServerConfig) {
    let now = Timestamp::now();
    let proven = entry
        .marks
        .proven_at
        .map_or("never proven".to_owned(), |at| {
            format!("proven {}", text::ago(at, now))
        });
    tracing::info!(
        backup = %entry.id,
        taken = text::ago(entry.manifest.snapshot_at, now),
        proven,
        authenticated = entry.manifest.is_authenticated(),
        into = %server.url,
        "restore"
    );
    if !entry.is_trusted() {
        tracing::warn!(
            reasons = entry.suspect().join("; "),
            "the backup is suspect"
        );
    }
}

fn say_plan(run: &Run, plan: &RestorePlan) -> Result<()> {
    if run.output == Output::Json {
        text::json(plan)?;
    } else {
        text::print(&plan_page(plan))?;
    }
    match plan.refusals.as_slice() {
        [] => Ok(()),
        refusals => {
            let what: Vec<&str> = refusals
                .iter()
                .map(|refusal| refusal.what.as_str())
                .collect();
            Err(
                Error::refused(format!("the restore would be refused: {}", what.join("; ")))
                    .hint(refusals[0].hint.clone()),
            )
        }
    }
}

fn plan_page(plan: &RestorePlan) -> String {
    let mut lines = vec![
        ("backup", plan.backup.clone()),
        ("into", plan.server.clone()),
        ("tables", text::count(plan.tables)),
        ("rows", text::count(plan.rows)),
        ("SQL", text::bytes(plan.raw_bytes)),
        ("disk", format!("about {}", text::bytes(plan.disk_bytes))),
        (
            "binary log",
            format!("about {}", text::bytes(plan.binlog_bytes)),
        ),
        (
            "time",
            format!(
                "about {} without the proof, judged by {}",
                text::span(jiff::SignedDuration::from_secs(
                    plan.estimated_seconds.ceil() as i64
                )),
                plan.estimated_from
            ),
        ),
    ];
    if plan.resumes {
        lines.push(("resumes", "an unfinished restore of this backup".into()));
    }
    lines.extend(plan.discards.iter().map(|id| {
        (
            "DISCARDS",
            format!("the unfinished restore of {id}, and all that it made"),
        )
    }));
    lines.extend(
        plan.creates
            .iter()
            .map(|object| ("creates", object.to_string())),
    );
    lines.extend(
        plan.replaces
            .iter()
            .map(|object| ("REPLACES", object.to_string())),
    );
    lines.extend(plan.definers.iter().map(|(account, there)| {
        let there = match there {
            Some(true) => "is there",
            Some(false) => "is missing",
            None => "cannot be looked for",
        };
        ("definer", format!("{account} {there}"))
    }));
    lines.extend(
        plan.settings
            .iter()
            .map(|setting| ("changes", (*setting).to_owned())),
    );
    lines.extend(
        plan.warnings
            .iter()
            .map(|warning| ("warning", warning.clone())),
    );
    lines.extend(
        plan.refusals
            .iter()
            .map(|refusal| ("REFUSED", format!("{}; {}", refusal.what, refusal.hint))),
    );
    lines
        .iter()
        .map(|(name, value)| format!("{name:>11}  {value}\n"))
        .collect()
}

fn say_report(run: &Run, report: &RestoreReport) -> Result<()> {
    if run.output == Output::Json {
        return text::json(report);
    }
    let mut lines: Vec<(&str, String)> = report
        .stages
        .iter()
        .map(|stage| (stage.name, format!("{:.1} s", stage.seconds)))
        .collect();
    lines.push(("total", format!("{:.1} s", report.total().as_secs_f64())));
    lines.push((
        "loaded",
        format!(
            "{} rows, {} of SQL, over {} connections",
            text::count(report.rows),
            text::bytes(report.raw_bytes),
            report.lanes
        ),
    ));
    lines.extend(
        report
            .expired_events
            .iter()
            .map(|event| ("expired", format!("{event}: its time has passed"))),
    );
    lines.extend(
        report
            .warnings
            .iter()
            .map(|warning| ("warning", warning.clone())),
    );
    lines.push(match &report.proof {
        Some(proof) => ("proof", proof.summary()),
        None => (
            "proof",
            "skipped: nothing says that the data are right".into(),
        ),
    });
    let page: String = lines
        .iter()
        .map(|(name, value)| format!("{name:>12}  {value}\n"))
        .collect();
    text::print(&format!("restored {}\n{page}", report.backup))
}
