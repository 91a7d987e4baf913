//! Restores a backup of a source other than MySQL.

use jiff::Timestamp;
use serde::Serialize;

use crate::catalog::history::{self, RunRecord};
use crate::catalog::lease::Lease;
use crate::cli::Context;
use crate::cli::args::RestoreArgs;
use crate::cli::output::progress::Bar;
use crate::cli::output::text;
use crate::kind::Kind;
use crate::layout::BackupId;
use crate::restore::of_kind::{self, Compared, Restored};
use crate::restore::report::Stage;
use crate::util::error::Result;
use crate::util::format::Output;

/// The result, as in `restore --output json`.
#[derive(Serialize)]
struct Report<'a> {
    backup: BackupId,
    into: &'a str,
    stages: &'a [Stage],
    objects: u64,
    /// `ledger`, the name of the program that checked it, or `none`.
    compared_by: &'a str,
}

/// Restores the selected backup, and compares the result.
pub(super) async fn run(context: &Context, args: &RestoreArgs, kind: &dyn Kind) -> Result<()> {
    if let Some(option) = of_mysql(args) {
        context.config.require_mysql(option)?;
    }
    super::confirm(context, args)?;
    let into = context.config.restore_place(args.into.as_deref())?;
    let which = match args.choose.is_none() {
        true => super::which_of_environment()?.ok_or_else(super::no_backup_selected)?,
        false => args.choose.which()?,
    };
    let (catalog, entry) = context.select(which).await?;
    entry.manifest.check_kind(kind.name())?;
    // Before the archive is read: while the lease exists, retention does not delete the backup.
    let lease = Lease::reading(&context.store, &catalog.place(entry.id)).await;
    let started_at = Timestamp::now();
    let progress = Bar::new(entry.manifest.totals.raw_bytes);
    let mut restored = Restored::default();
    let restoring = async {
        let archive = context.cancel.unless(catalog.open(entry.id)).await?;
        let cancel = &context.cancel;
        of_kind::restore(&archive, kind, &into, &progress, cancel, &mut restored).await
    };
    let done = restoring.await;
    let record = RunRecord::ends("restore", started_at, Some(entry.id), done.as_ref().err());
    history::record(&context.store, &context.config.target, &record).await;
    if let Some(lease) = lease {
        lease.end().await;
    }
    done?;
    print(context, entry.id, &into, &restored)
}

/// An option that only a MySQL or MariaDB server has.
fn of_mysql(args: &RestoreArgs) -> Option<&'static str> {
    let moment = &args.moment;
    let options = [
        ("--to", moment.to.is_some()),
        ("--to-gtid", moment.to_gtid.is_some()),
        ("--before-gtid", moment.before_gtid.is_some()),
        ("--to-position", moment.to_position.is_some()),
        ("--before-statement", moment.before_statement.is_some()),
        ("--path", args.path.is_some()),
        ("--tables", !args.tables.is_empty()),
        ("--rename", !args.rename.is_empty()),
        ("--plan", args.plan),
        ("--overwrite", args.overwrite),
        ("--accounts", args.accounts),
        ("--allow-connections", args.allow_connections),
        ("--allow-replica", args.allow_replica),
        ("--allow-cluster", args.allow_cluster),
        ("--definer", args.definer.is_some()),
        ("--discard", args.discard),
        ("--keep", args.keep),
        ("--undo-settings", args.undo_settings),
        ("--fast-unsafe", args.fast_unsafe),
        ("--no-binlog", args.no_binlog),
        ("--no-compare", args.no_compare),
        ("--lanes", args.lanes.is_some()),
    ];
    let given = options.into_iter().find(|(_, given)| *given);
    given.map(|(option, _)| option)
}

fn print(context: &Context, backup: BackupId, into: &str, restored: &Restored) -> Result<()> {
    let compared_by = match &restored.compared {
        Compared::Not => "none",
        Compared::Ledger(_) => "ledger",
        Compared::Program(name) => name,
    };
    let objects = restored.counts.entries();
    if context.output == Output::Json {
        return text::json(&Report {
            backup,
            into,
            stages: &restored.stages,
            objects,
            compared_by,
        });
    }
    let count = text::counted(objects, "object");
    let comparison = match &restored.compared {
        Compared::Not => "none configured: the data are not verified".to_owned(),
        Compared::Ledger(_) => format!("{count} equal to the backup"),
        Compared::Program(name) => {
            format!("{name} found the data right; drctl did not compare them")
        }
    };
    let stages = restored.stages.iter();
    let mut lines: Vec<(&str, String)> = stages
        .map(|stage| (stage.name, format!("{:.1} s", stage.seconds)))
        .collect();
    lines.push(("comparison", comparison));
    let page: String = lines
        .iter()
        .map(|(name, value)| format!("{name:>12}  {value}\n"))
        .collect();
    text::print(&format!("restored {backup} into {into}\n{page}"))
}
