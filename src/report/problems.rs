//! What is wrong with a target now: the judgements of `chart/alerts/rules.yaml`, for those who look at the
//! status page, and for telling of what is late where there is no Prometheus.
//!
//! The rules wait some minutes before they speak; these do not.

use jiff::{SignedDuration, Timestamp};

use crate::error::Outcome;
use crate::objectives::Objectives;
use crate::report::status::Status;
use crate::store::keys::DrillLevel;
use crate::times::hours;
use crate::words::{count, span};

/// How long a store may be out of reach before somebody is told: as in the rules, an hour.
const UNREAD: SignedDuration = hours(1);

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The page of the runbooks for it: an alert's name, else a procedure.
    pub runbook: &'static str,
    /// Whether it would wake somebody.
    pub is_critical: bool,
    /// What it is, in one line.
    pub what: String,
}

fn critical(runbook: &'static str, what: String) -> Problem {
    Problem {
        runbook,
        is_critical: true,
        what,
    }
}

fn warning(runbook: &'static str, what: String) -> Problem {
    Problem {
        runbook,
        is_critical: false,
        what,
    }
}

/// All of them, the worst first.
pub fn problems(status: &Status) -> Vec<Problem> {
    let mut found = Vec::new();
    if let Some(why) = &status.failing {
        found.push(critical("DrctlStoreUnreachable", why.clone()));
    }
    found.extend(of_backups(status));
    found.extend(of_drills(status));
    found.extend(of_objectives(status));
    if let Some(run) = status.past.last_run("prune").filter(|run| run.exit != 0) {
        let what = format!("old backups are not pruned: {}", meaning(run.exit));
        found.push(warning("DrctlPruneFailed", what));
    }
    for (notifier, _) in status.past.notifiers().iter().filter(|(_, told)| !told) {
        let what = format!("{notifier} could not be told of the last run");
        found.push(warning("DrctlNotifierFailing", what));
    }
    found.sort_by_key(|problem| !problem.is_critical);
    found
}

fn of_backups(status: &Status) -> Vec<Problem> {
    let past = &status.past;
    let mut found = Vec::new();
    if let Some(age) = late_backup(status) {
        found.push(match past.newest_trusted() {
            Some(_) => critical(
                "DrctlBackupOverdue",
                format!("no new backup for {}: more than two intervals", span(age)),
            ),
            None => critical(
                "DrctlBackupNeverSucceeded",
                format!("never backed up, known since {}", span(age)),
            ),
        });
    }
    let suspects = past.suspects().count();
    if suspects > 0 {
        let what = match suspects {
            1 => "the newest backup is suspect".to_owned(),
            more => format!("the newest {} backups are suspect", count(more as u64)),
        };
        found.push(critical("DrctlBackupSuspect", what));
    }
    if let Some(run) = past.last_run("backup").filter(|run| run.exit != 0)
        && suspects == 0
    {
        let what = format!("the last backup failed: {}", meaning(run.exit));
        found.push(warning("DrctlBackupFailed", what));
    }
    for damaged in &past.damaged {
        found.push(critical("drill-failed", damaged.clone()));
    }
    found
}

fn of_drills(status: &Status) -> Vec<Problem> {
    let mut found = Vec::new();
    for level in [DrillLevel::Restore, DrillLevel::Archive] {
        let last = status.past.last_drill(level);
        if let Some(drill) = last.filter(|drill| !drill.is_good()) {
            let report = drill.report.as_ref();
            let why = report.and_then(|report| report.error.clone());
            let why = why.unwrap_or_else(|| "its report cannot be read".to_owned());
            let what = format!("the last drill ({}) failed: {why}", level.as_str());
            found.push(critical("DrctlVerifyFailed", what));
        }
    }
    if let Some(age) = late_drill(status) {
        let what = format!(
            "nothing was proven for {}: more than two intervals",
            span(age)
        );
        found.push(critical("DrctlVerifyOverdue", what));
    }
    found
}

fn of_objectives(status: &Status) -> Vec<Problem> {
    let mut found = Vec::new();
    let objectives = status.objectives();
    let rpo = status.rpo();
    let breached = matches!((rpo.newest, objectives.rpo), (Some(age), Some(most)) if age > most);
    let only = |rpo, proven_rpo| Objectives {
        rpo,
        proven_rpo,
        rto: None,
    };
    // Where there never was a backup, that is what is wrong.
    let judged = objectives.rpo.filter(|_| rpo.worst.is_some());
    for miss in rpo.misses(&only(judged, None)) {
        found.push(match breached {
            true => critical("DrctlRpoBreached", miss),
            false => warning("DrctlRpoGap", miss),
        });
    }
    // Where nothing is proven, that is overdue sooner or later.
    let judged = objectives.proven_rpo.filter(|_| rpo.proven.is_some());
    for miss in rpo.misses(&only(None, judged)) {
        found.push(warning("DrctlProvenRpoBreached", miss));
    }
    let missed = status.past.rto().and_then(|rto| rto.miss(&objectives));
    found.extend(missed.map(|miss| warning("DrctlRtoBreached", miss)));
    found
}

/// How long there was no new backup that may be trusted, where that is more than two intervals of the
/// schedule.
pub fn late_backup(status: &Status) -> Option<SignedDuration> {
    let since = match status.past.newest_trusted() {
        Some(backup) => Some(backup.committed_at),
        None => status.past.known_since,
    };
    late(status, "backup", since?)
}

/// How long nothing was proven by a restore, where that is more than two intervals of the schedule and
/// there is something to prove.
pub fn late_drill(status: &Status) -> Option<SignedDuration> {
    status.past.newest_trusted()?;
    let since = match status.past.last_good_drill(DrillLevel::Restore) {
        Some(drill) => Some(drill.name.time),
        None => status.past.known_since,
    };
    late(status, "verify", since?)
}

/// How long the store could not be read, and why, where that is too long; `begun` is since when that was
/// tried.
pub fn unread_store(status: &Status, begun: Timestamp) -> Option<(SignedDuration, &str)> {
    let why = status.failing.as_deref()?;
    let since = status.scanned_at.unwrap_or(begun);
    let age = status.now.duration_since(since);
    (age > UNREAD).then_some((age, why))
}

fn late(status: &Status, task: &str, since: Timestamp) -> Option<SignedDuration> {
    let interval = status.plan(task)?.interval?;
    let age = status.now.duration_since(since);
    (age > interval.saturating_mul(2)).then_some(age)
}

/// What an exit code means, for people.
pub fn meaning(exit: u8) -> String {
    let known = Outcome::TABLE.iter().find(|row| row.1 == exit);
    let words = known.map_or("unknown", |row| row.2);
    format!("exit {exit}, {words}")
}
