//! Doctor checks of schedules and objectives: next runs, whether the schedule can meet the RPO, and whether
//! past backups met it.

use jiff::{SignedDuration, Timestamp};

use crate::catalog::Catalog;
use crate::cli::Context;
use crate::cli::doctor::Findings;
use crate::cli::objective_status::ObjectiveStatus;
use crate::objectives::rpo_rto::{self, Rpo};
use crate::objectives::schedule::Schedule;
use crate::util::error::{Error, Outcome, Result};
use crate::util::format::span;

/// Number of next runs shown.
const RUNS_SHOWN: usize = 3;

/// Checks schedules and objectives; does nothing if none are configured.
pub(super) async fn check(
    context: &Context,
    catalog: Option<&Catalog>,
    findings: &mut Findings,
) -> Result<()> {
    let now = Timestamp::now();
    let schedules = &context.config.schedule;
    for (check, schedule) in [
        ("schedule: backup", &schedules.backup),
        ("schedule: verify", &schedules.verify),
        ("schedule: prune", &schedules.prune),
    ] {
        if let Some(schedule) = schedule {
            findings.ok(check, next_runs(schedule, now));
        }
    }
    let declared = &context.config.objectives;
    let is_checked =
        declared.rpo.is_some() || declared.verified_rpo.is_some() || schedules.verify.is_some();
    let (Some(catalog), true) = (catalog, is_checked) else {
        return Ok(());
    };
    let look = async {
        let (entries, _) = catalog.entries().await?;
        ObjectiveStatus::of(context, catalog, &entries, now).await
    };
    let status = match context.cancel.unless(look).await {
        Ok(status) => status,
        Err(error) => {
            context.cancel.check()?;
            findings.fail("RPO", error);
            return Ok(());
        }
    };
    if let Some(rpo) = status.objectives.rpo {
        by_schedule(
            schedules.backup.as_ref(),
            rpo,
            status.backup_took,
            now,
            findings,
        );
        by_history(&status.rpo, rpo, findings);
    }
    if let Some(objective) = status.objectives.verified_rpo {
        verified(
            &status.rpo,
            objective,
            declared.verified_rpo.is_some(),
            findings,
        );
    }
    Ok(())
}

fn next_runs(schedule: &Schedule, now: Timestamp) -> String {
    let shown = |run: Timestamp| {
        run.to_zoned(schedule.zone().clone())
            .strftime("%F %H:%M %Z")
            .to_string()
    };
    let runs: Vec<String> = schedule.runs(now).take(RUNS_SHOWN).map(shown).collect();
    format!("{schedule}: next {}", runs.join(", "))
}

fn by_schedule(
    schedule: Option<&Schedule>,
    objective: SignedDuration,
    took: Option<SignedDuration>,
    now: Timestamp,
    findings: &mut Findings,
) {
    const CHECK: &str = "RPO by schedule";
    let result = schedule.and_then(|one| rpo_rto::of_schedule(one, objective, took, now));
    let Some((can, what)) = result else {
        let what = format!("an RPO of {} is declared, but no schedule", span(objective));
        let fix = "set schedule.backup, so that doctor can check it against the RPO";
        return findings.warn(CHECK, what, Some(fix));
    };
    if can {
        findings.ok(CHECK, what);
    } else {
        let hint = "schedule backups more often, or declare an RPO longer than the worst case";
        findings.fail(CHECK, Error::new(Outcome::Objective, what).hint(hint));
    }
}

fn by_history(rpo: &Rpo, objective: SignedDuration, findings: &mut Findings) {
    const CHECK: &str = "RPO";
    let Some(gap) = rpo.worst else {
        let what = format!(
            "an RPO of {} is declared, but there is no backup",
            span(objective)
        );
        return findings.warn(CHECK, what, Some("create one with drctl backup"));
    };
    let since = rpo
        .known_since
        .map_or(String::new(), |since| format!(" since {since:.0}"));
    let worst = format!(
        "worst gap{since}: {}, {:.0} to {:.0}",
        span(gap.length()),
        gap.from,
        gap.to
    );
    let open = rpo.newest.is_none_or(|age| age > objective);
    match (gap.length() > objective, open) {
        (false, _) => findings.ok(CHECK, format!("{worst}, within {}", span(objective))),
        (true, true) => {
            let what = format!(
                "{worst}, and the newest backup is older than {}",
                span(objective)
            );
            let error = Error::new(Outcome::Objective, what);
            findings.fail(
                CHECK,
                error.hint("run drctl backup, and find out why no scheduled backup succeeded"),
            );
        }
        (true, false) => {
            let what = format!("{worst}, longer than {}; met since then", span(objective));
            let fix = "find out why no backup succeeded then; the gap counts for 30 days";
            findings.warn(CHECK, what, Some(fix));
        }
    }
}

fn verified(rpo: &Rpo, objective: SignedDuration, declared: bool, findings: &mut Findings) {
    const CHECK: &str = "verified RPO";
    const FIX: &str = "run drctl verify --latest";
    let what = match rpo.verified {
        Some(age) if age <= objective => {
            let what = format!(
                "the newest verified data are {} old, within {}",
                span(age),
                span(objective)
            );
            return findings.ok(CHECK, what);
        }
        Some(age) => format!(
            "the newest verified data are {} old, more than {}",
            span(age),
            span(objective)
        ),
        None => return findings.warn(CHECK, "no backup was ever verified", Some(FIX)),
    };
    if declared {
        findings.fail(CHECK, Error::new(Outcome::Objective, what).hint(FIX));
    } else {
        findings.warn(CHECK, what, Some(FIX));
    }
}
