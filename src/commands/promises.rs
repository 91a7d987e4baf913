//! What was promised of the target at hand, and what is so: for `doctor` and `prune`.

use jiff::{SignedDuration, Timestamp};

use crate::catalog::{Catalog, Entry};
use crate::commands::Run;
use crate::error::Result;
use crate::objectives::Objectives;
use crate::objectives::rpo_rto::{self, Rpo, WINDOW};
use crate::report::history;
use crate::store::keys::{DrillLevel, DrillName};
use crate::target;

/// The objectives, and the figures of now.
#[derive(Debug)]
pub struct Promises {
    /// What was declared, with the default of the proven RPO where drills are scheduled.
    pub objectives: Objectives,
    /// What disasters would have cost.
    pub rpo: Rpo,
    /// How long the newest trusted backup took.
    pub backup_took: Option<SignedDuration>,
}

impl Promises {
    /// Holds the backups that there are, and were, against what was declared.
    pub async fn of(
        run: &Run,
        catalog: &Catalog,
        entries: &[Entry],
        now: Timestamp,
    ) -> Result<Promises> {
        let bound = target::read(&run.store, &run.config.target).await?;
        let created_at = bound.map(|bound| bound.created_at);
        let rpo = rpo_rto::rpo(&catalog.snapshots(entries), created_at, now, WINDOW);
        let newest = entries.iter().find(|entry| entry.is_trusted());
        let (declared, schedules) = (run.config.objectives, &run.config.schedule);
        // A look into the store, where the default is made of it.
        let took = match (declared.proven_rpo, &schedules.verify) {
            (None, Some(_)) => drill_took(run, catalog).await?,
            _ => SignedDuration::ZERO,
        };
        let pace = schedules.pace(now, took);
        Ok(Promises {
            objectives: rpo_rto::with_default_proven_rpo(declared, pace, || rpo.worst),
            rpo,
            backup_took: newest.map(|newest| newest.manifest.took()),
        })
    }
}

/// How long the newest drill that proved something took; nothing where there was none.
async fn drill_took(run: &Run, catalog: &Catalog) -> Result<SignedDuration> {
    let proves = |drill: &DrillName| drill.level == DrillLevel::Restore && drill.verdict.proves();
    let newest = history::newest(&run.store, catalog, 1, proves, |_| true);
    let took = newest
        .await?
        .first()
        .map(|report| report.ended_at.duration_since(report.started_at));
    Ok(took.unwrap_or_default())
}
