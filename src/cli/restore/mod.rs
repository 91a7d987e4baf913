//! `drctl restore`: restores a backup into the destination and verifies the result.
//!
//! select → plan → (fence) → restore → compare → print the duration of each stage

use std::sync::Arc;

use jiff::Timestamp;

use crate::archive::BackupPlace;
use crate::archive::manifest::Manifest;
use crate::catalog::history::{self, RunRecord};
use crate::catalog::lease::Lease;
use crate::catalog::{Catalog, Entry, Which};
use crate::cli::args::{MomentArgs, RestoreArgs};
use crate::cli::output::progress::Bar;
use crate::cli::restore::fenced::{ClosedFence, foreseeable_blockers};
use crate::cli::restore::moment::Moment;
use crate::cli::restore::page::{announce, print_plan, print_report};
use crate::cli::{Context, unfinished};
use crate::comparison::compare::Comparison;
use crate::monitor::report::drill_history;
use crate::mysql::ServerConfig;
use crate::replay::Stretch;
use crate::replay::tables::Tables;
use crate::restore;
use crate::restore::options::{Check, Destination, Permissions, Resources, RestoreOptions, Tuning};
use crate::restore::report::{Progress, RestoreReport};
use crate::restore::scope::Scope;
use crate::sql::definer::Account;
use crate::util::error::{Error, Result};
use crate::verify;

mod fenced;
mod moment;
mod of_kind;
mod page;

/// Restores a backup, or prints the plan.
pub async fn run(context: &Context, args: RestoreArgs) -> Result<()> {
    context
        .cancel
        .on_deadline(context.config.restore.deadline_seconds.limit());
    if let Some(kind) = context.config.kind()? {
        return of_kind::run(context, &args, kind.as_ref()).await;
    }
    let server = Arc::new(context.config.restore_into(args.into.as_deref())?);
    if args.undo_settings {
        return unfinished::undo_settings(context, &server).await;
    }
    if args.keep {
        return unfinished::keep(context, &server).await;
    }
    let named = Moment::of(&args.moment);
    let moment = match named.is_none() && args.choose.is_none() {
        true => Moment::of(&MomentArgs::of_environment()?),
        false => named,
    };
    if args.discard && args.choose.is_none() && moment.is_none() && !args.plan {
        confirm(context, &args)?;
        return unfinished::discard(context, &server).await;
    }
    let chosen = match args.choose.is_none() {
        true => which_of_environment()?,
        false => Some(args.choose.which()?),
    };
    let (catalog, entry, replay) = match moment {
        None if args.path.is_some() => {
            return Err(Error::usage(
                "--path is about the binary log, and no point in time is given",
            )
            .hint("add --to TIME, or leave out --path"));
        }
        None => {
            let which = chosen.ok_or_else(no_backup_selected)?;
            confirm(context, &args)?;
            let (catalog, entry) = context.select(which).await?;
            (catalog, entry, None)
        }
        Some(moment) => {
            confirm(context, &args)?;
            let catalog = context.catalog().await?;
            let found = moment::find(context, &args, &catalog, chosen, moment, &server);
            let (entry, stretch) = context.cancel.unless(found).await?;
            (catalog, entry, Some(stretch))
        }
    };
    entry.manifest.check_kind(context.config.kind_name())?;
    let mut options = options(context, &args, &entry)?;
    options.replay = replay.map(|stretch| Stretch {
        tables: replayed_tables(&options.scope, &entry.manifest),
        ..stretch
    });
    announce(&entry, &server);
    if args.plan {
        let archive = context.cancel.unless(catalog.open(entry.id)).await?;
        let silent: Arc<dyn Progress> = Arc::new(restore::report::Silent);
        let plan = restore::plan(&archive, &server, &options, &silent, &context.cancel).await?;
        return print_plan(context, &plan);
    }
    // Before the archive is read: while the lease exists, retention does not delete the backup.
    let lease = Lease::reading(&context.store, &catalog.place(entry.id)).await;
    // The application uses the configured server, so no fence is needed for one given on the command line.
    let done = match args.into {
        None => Box::pin(restore_fenced(context, &catalog, &entry, &server, options)).await,
        Some(_) => {
            let done = restore(context, &catalog, &entry, &server, options).await;
            done.and_then(|report| print_report(context, &report))
        }
    };
    if let Some(lease) = lease {
        lease.end().await;
    }
    done
}

/// Restores with the workloads stopped, if a fence is configured.
async fn restore_fenced(
    context: &Context,
    catalog: &Catalog,
    entry: &Entry,
    server: &Arc<ServerConfig>,
    options: RestoreOptions,
) -> Result<()> {
    let foreseen = foreseeable_blockers(context, catalog, entry, server, &options);
    let fence =
        ClosedFence::begin(&context.config.restore.fence, foreseen, &context.cancel).await?;
    let done = restore(context, catalog, entry, server, options).await;
    let Some(fence) = fence else {
        return print_report(context, &done?);
    };
    let report = match done {
        Err(error) => return Err(fence.still_fenced(error)),
        Ok(report) => report,
    };
    let opened = if report.is_verified() {
        fence.open().await
    } else {
        fence.warn_still_fenced();
        Ok(())
    };
    let printed = print_report(context, &report);
    opened.and(printed)
}

/// Backup selection from the environment, for a Job created from a suspended CronJob, which takes no
/// arguments.
fn which_of_environment() -> Result<Option<Which>> {
    let named = std::env::var("DRCTL_RESTORE").unwrap_or_default();
    match named.as_str() {
        "" => Ok(None),
        "latest" => Ok(Some(Which::Latest)),
        "latest-verified" => Ok(Some(Which::LatestVerified)),
        text => match (text.parse(), text.parse()) {
            (Ok(id), _) => Ok(Some(Which::Id(id))),
            (_, Ok(time)) => Ok(Some(Which::Before(time))),
            _ => Err(
                Error::usage(format!("DRCTL_RESTORE={text} does not select a backup"))
                    .hint("set it to an ID, a time, latest or latest-verified"),
            ),
        },
    }
}

fn no_backup_selected() -> Error {
    Error::usage("no backup selected").hint(
        "pass a backup ID, --latest, --latest-verified, --before TIME or --to TIME, or set DRCTL_RESTORE or \
         DRCTL_RESTORE_TO",
    )
}

/// Restores, and writes the report to the store.
async fn restore(
    context: &Context,
    catalog: &Catalog,
    entry: &Entry,
    server: &Arc<ServerConfig>,
    options: RestoreOptions,
) -> Result<RestoreReport> {
    let archive = context.cancel.unless(catalog.open(entry.id)).await?;
    let whole = options.scope.is_everything() && options.scope.rename.is_empty();
    let started_at = Timestamp::now();
    let progress = Arc::new(Bar::new(entry.manifest.totals.raw_bytes));
    let mut report = RestoreReport::default();
    let done = restore::restore(
        &archive,
        server,
        options,
        progress,
        &context.cancel,
        &mut report,
    )
    .await;
    let record = RunRecord::ends("restore", started_at, Some(entry.id), done.as_ref().err());
    history::record(&context.store, &context.config.target, &record).await;
    done?;
    // With substituted definers, the result differs from the dump in these.
    let whole = whole && report.substituted.is_empty();
    if whole && report.comparison.as_ref().is_some_and(Comparison::is_equal) {
        record_verification(context, entry, &catalog.place(entry.id), &report).await;
    }
    Ok(report)
}

/// Writes a drill report: a verified restore of the whole backup counts as a drill. Best effort, since the
/// account may have read access only.
async fn record_verification(
    context: &Context,
    entry: &Entry,
    place: &BackupPlace,
    report: &RestoreReport,
) {
    let drill = verify::of_restore(entry, report);
    if let Err(error) = drill_history::write(&context.store, place, &drill).await {
        tracing::warn!(%error, "cannot write the report of the verified restore");
    }
}

/// Checks the confirmation: dropping objects requires the target's name again. Another name is rejected for
/// every restore, since a Job from the suspended CronJob always passes it.
fn confirm(context: &Context, args: &RestoreArgs) -> Result<()> {
    match &args.confirmation.confirm {
        Some(name) if name != context.config.target.as_str() => Err(Error::usage(format!(
            "--confirm {name} is not the target, {}",
            context.config.target
        ))
        .hint("make sure that this is the server you want to overwrite")),
        _ => Ok(()),
    }
}

fn options(context: &Context, args: &RestoreArgs, entry: &Entry) -> Result<RestoreOptions> {
    let config = &context.config.restore;
    let default = Resources::default();
    Ok(RestoreOptions {
        scope: scope(args)?,
        accounts: args.accounts,
        substitute_definer: args.definer.as_deref().map(parse_account).transpose()?,
        check: match entry.marks.verified_at {
            // An archive that replaces data is read completely before anything is dropped.
            _ if args.check_first || args.overwrite => Check::First,
            None => Check::Loading,
            Some(_) => Check::Executed,
        },
        compare: !args.no_compare,
        binlog: !args.no_binlog,
        destination: Destination::Server(Permissions {
            overwrite: args.overwrite,
            discard: args.discard,
            connected_clients: args.allow_connections,
            replica: args.allow_replica,
            cluster: args.allow_cluster,
        }),
        tuning: if args.fast_unsafe {
            Tuning::FastUnsafe
        } else {
            Tuning::Keep
        },
        resources: Resources {
            loader: config.loader,
            lanes: args.lanes.or(config.lanes).unwrap_or(default.lanes),
            reconnect: config.reconnect_seconds.duration(),
            reader: context.config.backup.source.reader,
        },
        replay: None,
    })
}

/// The tables that are replayed behind a backup that is restored in part; `None` for all.
fn replayed_tables(scope: &Scope, manifest: &Manifest) -> Option<Arc<Tables>> {
    let case = manifest.server.fingerprint.get("lower_case_table_names");
    let folds = case.is_some_and(|value| value != "0");
    (!scope.is_everything()).then(|| Arc::new(Tables::new(&scope.tables, folds)))
}

fn scope(args: &RestoreArgs) -> Result<Scope> {
    let mut scope = Scope::default();
    for name in &args.tables {
        let (schema, table) = name.split_once('.').ok_or_else(|| {
            Error::usage(format!("--tables {name} has no schema"))
                .hint("write SCHEMA.TABLE, as in shop.orders")
        })?;
        scope.tables.insert((schema.to_owned(), table.to_owned()));
    }
    for (old, new) in &args.rename {
        scope.rename_to(old, new)?;
    }
    Ok(scope)
}

fn parse_account(text: &str) -> Result<Account> {
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
