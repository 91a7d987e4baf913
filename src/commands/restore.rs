//! `drctl restore`: a backup into a server, and the proof that it arrived.
//!
//! choose → plan → (fence) → restore → prove → say how long each stage took

use std::sync::Arc;

use jiff::Timestamp;

use crate::apply;
use crate::apply::options::{Check, RestoreOptions, Scope, Tuning};
use crate::apply::report::{Progress, RestoreReport};
use crate::archive::BackupPlace;
use crate::catalog::{Catalog, Entry, Which};
use crate::cli::RestoreArgs;
use crate::commands::progress::Bar;
use crate::commands::restore::fenced::{Closed, foresee};
use crate::commands::restore::page::{announce, say_plan, say_report};
use crate::commands::{Run, unfinished};
use crate::drill;
use crate::error::{Error, Result};
use crate::proof::compare::Comparison;
use crate::reading::Reading;
use crate::report::history;
use crate::runs::{self, RunRecord};
use crate::server::ServerConfig;
use crate::sql::definer::Account;

mod fenced;
mod page;

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
    let foreseen = foresee(run, catalog, entry, server, &options);
    let fence = Closed::begin(&run.config.restore.fence, foreseen, &run.cancel).await?;
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
        check: match entry.marks.proven_at {
            // What is about to replace something is read to its end before anything is dropped.
            _ if args.check_first || args.overwrite => Check::First,
            None => Check::Loading,
            Some(_) => Check::Executed,
        },
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
