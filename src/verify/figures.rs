//! RTO and RPO of a drill, compared with the objectives: the RTO from its stages and those of earlier
//! drills, the RPO from all backups of the target and its archived log.

use jiff::{SignedDuration, Timestamp};

use crate::catalog::{Catalog, Entry};
use crate::monitor::report::model::{DrillReport, RpoFigure, RtoFigure};
use crate::objectives::Objectives;
use crate::objectives::rpo_rto::{self, DrillTime, Pace, Snapshot, WINDOW};
use crate::stream::glance;
use crate::util::error::{Error, Outcome, Result};

/// Adds the figures to the report of a drill that verified its backup; exit 8 if one misses its objective.
pub async fn add(
    report: &mut DrillReport,
    past: &[DrillReport],
    catalog: &Catalog,
    declared: Objectives,
    pace: Pace,
) -> Result<()> {
    let passed = past.iter().filter(|report| report.verdict.is_verified());
    let mut drills: Vec<DrillTime> = passed.filter_map(DrillReport::drill_time).collect();
    // Stages that differ from a restore's, as with the plain client, do not count for the RTO.
    let own = report.drill_time();
    drills.extend(own);
    let mut misses = Vec::new();
    if let Some(rto) = own.and_then(|_| rpo_rto::rto(&drills)) {
        report.rto = Some(RtoFigure::of(&rto, &declared));
        misses.extend(rto.miss(&declared));
    }
    // Damaged backups do not count; they have their own alert.
    let (entries, _) = catalog.entries().await?;
    let (snapshots, now) = (snapshots(report, catalog, &entries), Timestamp::now());
    let covered = glance::covered(catalog, &entries, &snapshots, now).await?;
    let rpo = rpo_rto::rpo(&snapshots, &covered, None, now, WINDOW);
    let objectives = rpo_rto::with_default_verified_rpo(declared, pace, || rpo.worst);
    let seconds = |span: SignedDuration| span.as_secs_f64();
    report.rpo = Some(RpoFigure {
        worst_seconds: rpo.worst.map(|gap| seconds(gap.length())),
        worst_from: rpo.worst.map(|gap| gap.from),
        worst_to: rpo.worst.map(|gap| gap.to),
        window_days: (WINDOW.as_hours() / 24) as u32,
        verified_seconds: rpo.verified.map(seconds),
        objective_seconds: objectives.rpo.map(seconds),
        verified_objective_seconds: objectives.verified_rpo.map(seconds),
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
            let what = format!("the data are correct, but: {first}{more}");
            Err(Error::new(Outcome::Objective, what).hint(
                "for an RPO schedule backups more often; for an RTO check the stages in the report",
            ))
        }
    }
}

/// All backups that count for the RPO, with this drill's result.
fn snapshots(report: &DrillReport, catalog: &Catalog, entries: &[Entry]) -> Vec<Snapshot> {
    let mut snapshots = catalog.snapshots(entries);
    for snapshot in &mut snapshots {
        snapshot.verified |= snapshot.snapshot_at == report.snapshot_at;
    }
    snapshots
}
