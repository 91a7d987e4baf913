//! Current problems of a target, by the conditions of `chart/alerts/rules.yaml`: for the status page, and
//! for notifications where there is no Prometheus.
//!
//! The alert rules wait some minutes before they fire; these conditions do not. `tests/it/alerts.rs` compares names and
//! severities; the conditions must be changed in both.

use jiff::{SignedDuration, Timestamp};

use crate::binlog::record::Reason;
use crate::layout::DrillLevel;
use crate::monitor::status::Status;
use crate::objectives::Objectives;
use crate::util::error::Outcome;
use crate::util::format::{count, span};
use crate::util::times::{days, hours};

/// How long a store may be unreachable before it is reported: one hour, as in the alert rules.
const UNREADABLE_AFTER: SignedDuration = hours(1);

/// How long a gap of the log is reported at least; longer if no backup was made since, as in the alert rules.
const GAP_SHOWN: SignedDuration = hours(1);

/// How long a rewound log is reported.
const REWOUND_SHOWN: SignedDuration = days(3);

/// Time until the server deletes log that is not archived, below which someone has to act at once.
const PURGE_NEAR: SignedDuration = hours(6);

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The runbook page: an alert's name, else a procedure.
    pub runbook: &'static str,
    /// Whether the alert is critical.
    pub is_critical: bool,
    /// Description in one line.
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

/// All problems, the most severe first.
pub fn problems(status: &Status) -> Vec<Problem> {
    let mut found = Vec::new();
    if let Some(why) = &status.failing {
        found.push(critical("DrctlStoreUnreachable", why.clone()));
    }
    found.extend(of_backups(status));
    found.extend(of_drills(status));
    found.extend(of_log(status));
    found.extend(of_objectives(status));
    found.extend(of_copy(status));
    found.extend(of_standbys(status));
    if let Some(most) = status.identity_drill {
        let all = status.scan.identities().into_iter();
        let unused = all.filter_map(|one| one.unused(most, status.now));
        found.extend(unused.map(|what| warning("DrctlIdentityUnproven", what)));
    }
    if let Some(run) = status.scan.last_run("prune").filter(|run| run.exit != 0) {
        let what = format!("retention failed: {}", exit_meaning(run.exit));
        found.push(warning("DrctlPruneFailed", what));
    }
    for (notifier, _) in status
        .scan
        .notifiers()
        .iter()
        .filter(|(_, delivered)| !delivered)
    {
        let what = format!("the last notification to {notifier} failed");
        found.push(warning("DrctlNotifierFailing", what));
    }
    found.sort_by_key(|problem| !problem.is_critical);
    found
}

fn of_backups(status: &Status) -> Vec<Problem> {
    let scan = &status.scan;
    let mut found = Vec::new();
    if let Some(age) = overdue_backup(status) {
        found.push(match scan.newest_usable() {
            Some(_) => critical(
                "DrctlBackupOverdue",
                format!("no new backup for {}: more than two intervals", span(age)),
            ),
            None => critical(
                "DrctlBackupNeverSucceeded",
                format!(
                    "no backup yet, {} after drctl first saw the target",
                    span(age)
                ),
            ),
        });
    }
    let suspects = scan.suspects().count();
    if suspects > 0 {
        let what = match suspects {
            1 => "the newest backup is suspect".to_owned(),
            more => format!("the newest {} backups are suspect", count(more as u64)),
        };
        found.push(critical("DrctlBackupSuspect", what));
    }
    if let Some(run) = scan.last_run("backup").filter(|run| run.exit != 0)
        && suspects == 0
    {
        let what = format!("the last backup failed: {}", exit_meaning(run.exit));
        found.push(warning("DrctlBackupFailed", what));
    }
    for damaged in &scan.damaged {
        found.push(critical("drill-failed", damaged.clone()));
    }
    found
}

fn of_drills(status: &Status) -> Vec<Problem> {
    let mut found = Vec::new();
    for level in DrillLevel::ALL {
        let last = status.scan.last_drill(level);
        if let Some(drill) = last.filter(|drill| !drill.is_good()) {
            let report = drill.report.as_ref();
            let why = report.and_then(|report| report.error.clone());
            let why = why.unwrap_or_else(|| "its report cannot be read".to_owned());
            let what = format!("the last drill ({}) failed: {why}", level.as_str());
            found.push(critical("DrctlVerifyFailed", what));
        }
    }
    if let Some(age) = overdue_drill(status) {
        let what = format!(
            "no verified restore for {}: more than two intervals",
            span(age)
        );
        found.push(critical("DrctlVerifyOverdue", what));
    }
    found
}

fn of_log(status: &Status) -> Vec<Problem> {
    let mut found = Vec::new();
    let (scan, now) = (&status.scan, status.now);
    if let Some(why) = &scan.log_damaged {
        found.push(critical("DrctlLogGap", why.clone()));
    }
    if let Some(age) = status.uncovered().filter(|_| status.scanned_at.is_some()) {
        let what = match scan.log {
            Some(_) => format!("nothing of the binary log was archived for {}", span(age)),
            None => {
                "a streamer is configured, and nothing of the binary log is archived".to_owned()
            }
        };
        found.push(critical("DrctlLogNotCovered", what));
    }
    let Some(log) = &scan.log else {
        return found;
    };
    let since = |time: Timestamp| now.duration_since(time);
    if let Some(gap) = log.gaps(now).next_back() {
        let began = gap.timeline.id.began();
        let backed_up = scan
            .newest_usable()
            .is_some_and(|one| one.snapshot_at > began);
        if !backed_up || since(began) < GAP_SHOWN {
            let missing = gap.timeline.missing.as_deref().unwrap_or("unknown");
            let what = format!("the archived log has a gap at {began:.0}: {missing}");
            found.push(critical("DrctlLogGap", what));
        }
    }
    if let (Some(margin), Some(kept)) = (log.purge_margin(now), log.head.expire_seconds) {
        let half = SignedDuration::from_secs(i64::try_from(kept / 2).unwrap_or(i64::MAX));
        let what = match margin.is_negative() {
            true => "the server may have deleted binary log that is not archived".to_owned(),
            false => format!(
                "the server deletes binary log that is not archived in {}",
                span(margin)
            ),
        };
        match margin < half {
            true if margin < PURGE_NEAR => found.push(critical("DrctlLogPurgeNear", what)),
            true => found.push(warning("DrctlLogPurgeNear", what)),
            false => {}
        }
    }
    let rewound = log.newest(Reason::Rewound, now);
    if let Some(rewound) = rewound.filter(|one| since(one.timeline.id.began()) < REWOUND_SHOWN) {
        let began = rewound.timeline.id.began();
        let missing = rewound.timeline.missing.as_deref().unwrap_or("unknown");
        let what = format!("at {began:.0} the server no longer had what is archived: {missing}");
        found.push(warning("DrctlTimelineRewound", what));
    }
    found
}

fn of_copy(status: &Status) -> Vec<Problem> {
    let mut found = Vec::new();
    let Some(copy) = &status.scan.copy else {
        return found;
    };
    if let Some(age) = copy.behind(status.scan.known_since, status.now) {
        let what = match copy.recovery_point() {
            Some(_) => format!("the second store {} is {} behind", copy.store, span(age)),
            None => format!("the second store {} has no usable backup", copy.store),
        };
        found.push(warning("DrctlCopyBehind", what));
    } else if let Some(why) = &copy.failing {
        found.push(warning("DrctlCopyBehind", why.clone()));
    }
    found
}

fn of_standbys(status: &Status) -> Vec<Problem> {
    let mut found = Vec::new();
    if let Some(age) = status.missing_standby() {
        let what = format!(
            "standby.lag_seconds is configured, and no standby has reported for {}",
            span(age)
        );
        found.push(critical("DrctlStandbyBroken", what));
    }
    for glance in &status.scan.standbys {
        let store = &glance.store;
        if let Some(why) = &glance.damaged {
            let what = format!("the state of the standby of {store} is unknown: {why}");
            found.push(critical("DrctlStandbyBroken", what));
        }
        let Some(report) = &glance.report else {
            continue;
        };
        for why in report.broken(glance.seen_at, status.now) {
            let what = format!("the standby of {store} {why}");
            found.push(critical("DrctlStandbyBroken", what));
        }
        let most = status.standby_lag;
        if let Some(lag) = most.and_then(|most| report.late(most, status.now)) {
            let what = format!("the standby of {store} is {} behind", span(lag));
            found.push(warning("DrctlStandbyLate", what));
        }
    }
    found
}

fn of_objectives(status: &Status) -> Vec<Problem> {
    let mut found = Vec::new();
    let objectives = status.objectives();
    let rpo = status.rpo();
    let breached = matches!((rpo.newest, objectives.rpo), (Some(age), Some(most)) if age > most);
    let only = |rpo, verified_rpo| Objectives {
        rpo,
        verified_rpo,
        rto: None,
    };
    // Without any backup, that is the problem to report.
    let judged = objectives.rpo.filter(|_| rpo.worst.is_some());
    for miss in rpo.misses(&only(judged, None)) {
        found.push(if breached {
            critical("DrctlRpoBreached", miss)
        } else {
            warning("DrctlRpoGap", miss)
        });
    }
    // Without any verified restore, the overdue drill is the problem to report.
    let judged = objectives.verified_rpo.filter(|_| rpo.verified.is_some());
    for miss in rpo.misses(&only(None, judged)) {
        found.push(warning("DrctlVerifiedRpoBreached", miss));
    }
    let missed = status.scan.rto().and_then(|rto| rto.miss(&objectives));
    found.extend(missed.map(|miss| warning("DrctlRtoBreached", miss)));
    found
}

/// Time without a new usable backup (not suspect, or accepted), if that exceeds two intervals of the
/// schedule.
pub fn overdue_backup(status: &Status) -> Option<SignedDuration> {
    let since = match status.scan.newest_usable() {
        Some(backup) => Some(backup.committed_at),
        None => status.scan.known_since,
    };
    overdue(status, "backup", since?)
}

/// Time without a verified restore, if that exceeds two intervals of the schedule and there is a backup to
/// verify.
pub fn overdue_drill(status: &Status) -> Option<SignedDuration> {
    status.scan.newest_usable()?;
    let since = match status.scan.last_good_drill(DrillLevel::Restore) {
        Some(drill) => Some(drill.name.time),
        None => status.scan.known_since,
    };
    overdue(status, "verify", since?)
}

/// How long the store has been unreadable, and why, if that is longer than an hour; `begun` is the time of
/// the first attempt.
pub fn unreadable_store(status: &Status, begun: Timestamp) -> Option<(SignedDuration, &str)> {
    let why = status.failing.as_deref()?;
    let since = status.scanned_at.unwrap_or(begun);
    let age = status.now.duration_since(since);
    (age > UNREADABLE_AFTER).then_some((age, why))
}

fn overdue(status: &Status, task: &str, since: Timestamp) -> Option<SignedDuration> {
    let interval = status.scheduled(task)?.interval?;
    let age = status.now.duration_since(since);
    (age > interval.saturating_mul(2)).then_some(age)
}

/// Meaning of an exit code, as text.
pub fn exit_meaning(exit: u8) -> String {
    let words = Outcome::of_code(exit.into()).map_or("unknown", Outcome::meaning);
    format!("exit {exit}, {words}")
}
