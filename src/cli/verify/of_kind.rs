//! Drills of a source other than MySQL.

use crate::catalog::lease::Lease;
use crate::cli::Context;
use crate::cli::args::{LevelArg, VerifyArgs};
use crate::cli::output::progress::Bar;
use crate::kind::Kind;
use crate::layout::{BackupId, DrillLevel};
use crate::monitor::report::drill_history;
use crate::util::error::Result;
use crate::verify::of_kind::KindDrill;

/// Runs a drill.
pub(super) async fn run(
    context: &Context,
    args: &VerifyArgs,
    kind: &dyn Kind,
    backup: &mut Option<BackupId>,
) -> Result<()> {
    let of_mysql = [
        ("--level log", args.level == Some(LevelArg::Log)),
        ("--level pitr", args.level == Some(LevelArg::Pitr)),
        ("--scratch", args.scratch.is_some()),
        ("--path", args.path.is_some()),
        ("--scratch-profile", args.scratch_profile.is_some()),
    ];
    if let Some((option, _)) = of_mysql.iter().find(|(_, given)| *given) {
        context.config.require_mysql(option)?;
    }
    let level = match args.level {
        Some(LevelArg::Archive) => DrillLevel::Archive,
        _ => {
            kind.check_drill()?;
            DrillLevel::Restore
        }
    };
    let catalog = context.catalog().await?;
    let found = async {
        match args.oldest_unverified {
            true => catalog.oldest_unverified().await,
            false => catalog.find(args.choose.which()?).await,
        }
    };
    let entry = context.cancel.unless(found).await?;
    entry.manifest.check_kind(kind.name())?;
    *backup = Some(entry.id);
    let waits = context
        .cancel
        .unless(catalog.newest_suspect_notice())
        .await?;
    let past = super::past(context, &catalog, DrillLevel::Restore);
    let past = context.cancel.unless(past).await?;
    let place = catalog.place(entry.id);
    let lease = Lease::reading(&context.store, &place).await;
    let progress = Bar::new(entry.manifest.totals.raw_bytes);
    let drill = KindDrill {
        catalog: &catalog,
        entry: &entry,
        kind,
        level,
        scratch_dir: &context.config.verify.drill.scratch_dir,
        keep: args.keep,
        progress: &progress,
        cancel: &context.cancel,
    };
    tracing::info!(backup = %entry.id, level = level.as_str(), "drill");
    let (mut report, mut done) = drill.run().await;
    if let Some(lease) = lease {
        lease.end().await;
    }
    if done.is_ok() && level == DrillLevel::Restore {
        done = super::judge(context, &catalog, &past, &mut report).await;
    }
    super::warn_of_schedule(context, &entry, &mut report);
    if let Some(waits) = waits {
        tracing::warn!("{waits}");
        report.warn(waits);
    }
    let written = drill_history::write(&context.store, &place, &report).await;
    let printed = super::print_report(context, &report);
    done.and(written).and(printed)
}
