//! What doctor says of schedules and objectives: when things run next, whether a schedule can meet the
//! RPO at all, and whether what happened did.

use jiff::{SignedDuration, Timestamp};

use super::Findings;
use crate::catalog::Catalog;
use crate::commands::Run;
use crate::commands::promises::Promises;
use crate::error::{Error, Outcome, Result};
use crate::objectives::rpo_rto::{self, Rpo};
use crate::objectives::schedule::Schedule;
use crate::words::span;

/// How many runs ahead are shown.
const RUNS_SHOWN: usize = 3;

/// Looks at all of it; nothing where nothing was declared.
pub(super) async fn check(
    run: &Run,
    catalog: Option<&Catalog>,
    findings: &mut Findings,
) -> Result<()> {
    let now = Timestamp::now();
    let schedules = &run.config.schedule;
    for (check, schedule) in [
        ("schedule: backup", &schedules.backup),
        ("schedule: verify", &schedules.verify),
        ("schedule: prune", &schedules.prune),
    ] {
        if let Some(schedule) = schedule {
            findings.ok(check, next_runs(schedule, now));
        }
    }
    let declared = &run.config.objectives;
    let judged =
        declared.rpo.is_some() || declared.proven_rpo.is_some() || schedules.verify.is_some();
    let (Some(catalog), true) = (catalog, judged) else {
        return Ok(());
    };
    let look = async {
        let (entries, _) = catalog.entries().await?;
        Promises::of(run, catalog, &entries, now).await
    };
    let promises = match run.cancel.unless(look).await {
        Ok(promises) => promises,
        Err(error) => {
            run.cancel.check()?;
            findings.fail("RPO", error);
            return Ok(());
        }
    };
    if let Some(rpo) = promises.objectives.rpo {
        by_schedule(
            schedules.backup.as_ref(),
            rpo,
            promises.backup_took,
            now,
            findings,
        );
        by_history(&promises.rpo, rpo, findings);
    }
    if let Some(objective) = promises.objectives.proven_rpo {
        proven(
            &promises.rpo,
            objective,
            declared.proven_rpo.is_some(),
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
    let told = schedule.and_then(|one| rpo_rto::of_schedule(one, objective, took, now));
    let Some((can, what)) = told else {
        let what = format!("an RPO of {} is declared, and no schedule", span(objective));
        let fix = "set schedule.backup to when backups run, so that doctor can tell whether that meets it";
        return findings.warn(CHECK, what, Some(fix));
    };
    if can {
        findings.ok(CHECK, what);
    } else {
        let hint = "back up more often, or declare an RPO that is longer than the worst case";
        findings.fail(CHECK, Error::new(Outcome::Objective, what).hint(hint));
    }
}

fn by_history(rpo: &Rpo, objective: SignedDuration, findings: &mut Findings) {
    const CHECK: &str = "RPO";
    let Some(gap) = rpo.worst else {
        let what = format!(
            "there is no backup to meet an RPO of {} with",
            span(objective)
        );
        return findings.warn(CHECK, what, Some("make one with drctl backup"));
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
                error.hint("run drctl backup, and find out why it did not run"),
            );
        }
        (true, false) => {
            let what = format!(
                "{worst}, longer than {}; since then all is well",
                span(objective)
            );
            let fix = "find out why no backup was made then: it counts for 30 days";
            findings.warn(CHECK, what, Some(fix));
        }
    }
}

fn proven(rpo: &Rpo, objective: SignedDuration, declared: bool, findings: &mut Findings) {
    const CHECK: &str = "proven RPO";
    const FIX: &str = "run drctl verify --latest";
    let what = match rpo.proven {
        Some(age) if age <= objective => {
            let what = format!(
                "the newest proven data are {} old, within {}",
                span(age),
                span(objective)
            );
            return findings.ok(CHECK, what);
        }
        Some(age) => format!(
            "the newest proven data are {} old, more than {}",
            span(age),
            span(objective)
        ),
        None => return findings.warn(CHECK, "no backup was ever proven", Some(FIX)),
    };
    match declared {
        true => findings.fail(CHECK, Error::new(Outcome::Objective, what).hint(FIX)),
        false => findings.warn(CHECK, what, Some(FIX)),
    }
}
