//! The figures of a drill, held against the objectives: RTO from its stages and those before it, RPO
//! from all backups of the target.

use jiff::{SignedDuration, Timestamp};

use crate::catalog::Catalog;
use crate::error::{Error, Outcome, Result};
use crate::objectives::Objectives;
use crate::objectives::rpo_rto::{self, DrillTime, Pace, Snapshot, WINDOW};
use crate::report::model::{DrillReport, RpoFigure, RtoFigure};

/// Adds the figures to the report of a drill that proved its backup; exit 8 where one misses its
/// objective.
pub async fn judge(
    report: &mut DrillReport,
    past: &[DrillReport],
    catalog: &Catalog,
    declared: Objectives,
    pace: Pace,
) -> Result<()> {
    let passed = past.iter().filter(|report| report.verdict.proves());
    let mut drills: Vec<DrillTime> = passed.filter_map(DrillReport::time).collect();
    // A drill whose stages are no restore's, as that of the plain client, says nothing about the RTO.
    let own = report.time();
    drills.extend(own);
    let mut misses = Vec::new();
    if let Some(rto) = own.and_then(|_| rpo_rto::rto(&drills)) {
        report.rto = Some(RtoFigure::of(&rto, &declared));
        misses.extend(rto.miss(&declared));
    }
    let snapshots = snapshots(report, catalog).await?;
    let rpo = rpo_rto::rpo(&snapshots, None, Timestamp::now(), WINDOW);
    let objectives = rpo_rto::with_default_proven_rpo(declared, pace, || rpo.worst);
    let seconds = |span: SignedDuration| span.as_secs_f64();
    report.rpo = Some(RpoFigure {
        worst_seconds: rpo.worst.map(|gap| seconds(gap.length())),
        worst_from: rpo.worst.map(|gap| gap.from),
        worst_to: rpo.worst.map(|gap| gap.to),
        window_days: (WINDOW.as_hours() / 24) as u32,
        proven_seconds: rpo.proven.map(seconds),
        objective_seconds: objectives.rpo.map(seconds),
        proven_objective_seconds: objectives.proven_rpo.map(seconds),
    });
    misses.extend(rpo.misses(&objectives));
    report.misses = misses;
    match report.misses.as_slice() {
        [] => Ok(()),
        [first, more @ ..] => {
            let more = match more.len() {
                0 => String::new(),
                count => format!("; and {count} more"),
            };
            let what = format!("the data are right, but: {first}{more}");
            Err(Error::new(Outcome::Objective, what).hint(
                "back up more often or mend the schedule for an RPO; for an RTO look at the stages in the report",
            ))
        }
    }
}

/// All backups that protect somebody, with this drill's proof.
async fn snapshots(report: &DrillReport, catalog: &Catalog) -> Result<Vec<Snapshot>> {
    // Damaged ones are no protection, and somebody else's alarm.
    let (entries, _) = catalog.entries().await?;
    let mut snapshots = catalog.snapshots(&entries);
    for snapshot in &mut snapshots {
        snapshot.proven |= snapshot.snapshot_at == report.snapshot_at;
    }
    Ok(snapshots)
}
