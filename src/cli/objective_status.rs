//! Objectives of the target and its current figures, for `doctor` and `prune`.

use jiff::{SignedDuration, Timestamp};

use crate::catalog::binding;
use crate::catalog::{Catalog, Entry};
use crate::cli::Context;
use crate::layout::{DrillLevel, DrillName};
use crate::monitor::report::drill_history;
use crate::objectives::Objectives;
use crate::objectives::rpo_rto::{self, Rpo, WINDOW};
use crate::stream::glance;
use crate::util::error::Result;

/// The objectives and the current figures.
#[derive(Debug)]
pub struct ObjectiveStatus {
    /// The declared objectives, with the default of the verified RPO if drills are scheduled.
    pub objectives: Objectives,
    /// Worst past data loss, and that of a disaster now.
    pub rpo: Rpo,
    /// Duration of the newest usable backup; `None` if there is none.
    pub backup_took: Option<SignedDuration>,
}

impl ObjectiveStatus {
    /// Compares existing and deleted backups with the objectives.
    pub async fn of(
        context: &Context,
        catalog: &Catalog,
        entries: &[Entry],
        now: Timestamp,
    ) -> Result<ObjectiveStatus> {
        let bound = binding::read(&context.store, &context.config.target).await?;
        let created_at = bound.map(|bound| bound.created_at);
        let snapshots = catalog.snapshots(entries);
        let covered = glance::covered(catalog, entries, &snapshots, now).await?;
        let rpo = rpo_rto::rpo(&snapshots, &covered, created_at, now, WINDOW);
        let newest = entries.iter().find(|entry| entry.is_usable());
        let (declared, schedules) = (context.config.objectives, &context.config.schedule);
        // Needs a request to the store, so only if the default depends on it.
        let took = match (declared.verified_rpo, &schedules.verify) {
            (None, Some(_)) => drill_took(context, catalog).await?,
            _ => SignedDuration::ZERO,
        };
        let pace = schedules.pace(now, took);
        Ok(ObjectiveStatus {
            objectives: rpo_rto::with_default_verified_rpo(declared, pace, || rpo.worst),
            rpo,
            backup_took: newest.map(|newest| newest.manifest.took()),
        })
    }
}

/// Duration of the newest drill that verified its backup; zero if there is none.
async fn drill_took(context: &Context, catalog: &Catalog) -> Result<SignedDuration> {
    // Not one that also replayed the log, which takes longer.
    let verifies =
        |drill: &DrillName| drill.level == DrillLevel::Restore && drill.verifies_restore();
    let newest = drill_history::newest(&context.store, catalog, 1, verifies, |_| true);
    let took = newest
        .await?
        .first()
        .map(|report| report.ended_at.duration_since(report.started_at));
    Ok(took.unwrap_or_default())
}
