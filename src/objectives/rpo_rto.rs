//! RPO and RTO: the data loss of past or possible disasters, and the duration of a restore, compared with
//! the objectives.
//!
//! At any moment a disaster costs the data since the newest snapshot *committed* by then. This exposure
//! grows with time and falls at each commit, so its peaks are the gaps "commit of a backup − snapshot of
//! the previous one", and the current gap up to now. The RPO is checked against the largest peak in the
//! window, not against the age of the newest backup, which looks good again as soon as a late backup
//! arrives.
//!
//! Where the binary log is archived, a disaster costs only what the log behind a backup does not cover: while it covers,
//! nothing, and afterwards what was written since its end.
//!
//! Counts the backups that `--latest` would select. A suspect one does not count until it is accepted, so
//! the caller omits it; one deleted by retention did protect the data before, so the caller includes it.

use std::cmp::Reverse;

use jiff::{SignedDuration, Timestamp};

use super::Objectives;
use super::schedule::Schedule;
use crate::util::format::span;
use crate::util::times::{apart, before, days};

/// The window of the RPO: 30 days.
pub const WINDOW: SignedDuration = days(30);

/// A usable backup, or one that was usable until retention deleted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// Time of its snapshot.
    pub snapshot_at: Timestamp,
    /// When its manifest was written; before that it protected nothing.
    pub committed_at: Timestamp,
    /// Whether it was verified.
    pub verified: bool,
}

/// A time in which every commit was restorable as soon as it was archived: by a backup and the log behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Covered {
    /// The commit of the backup that the log continues.
    pub from: Timestamp,
    /// Up to when the log covers every commit.
    pub to: Timestamp,
}

/// A period whose data would be lost in a disaster at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The newest snapshot committed before the end, or the end of the log behind it; the creation of the target if
    /// there was none.
    pub from: Timestamp,
    /// The commit of a newer backup, the time from which the log covers, or now.
    pub to: Timestamp,
    /// Whether the gap is the current one, which has not ended yet.
    pub open: bool,
}

impl Gap {
    /// Length of the gap, never negative: clocks may differ slightly.
    pub fn length(&self) -> SignedDuration {
        not_negative(self.to.duration_since(self.from))
    }
}

/// Data loss of disasters in the window, and of one now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rpo {
    /// The largest gap that ended in the window or is still open, with its full length even if it began
    /// before the window. `None` if there never was a backup and the creation of the target is unknown:
    /// everything would be lost.
    pub worst: Option<Gap>,
    /// Start of the known gaps: the start of the window, or its first commit if nothing earlier is known.
    /// Earlier times are not judged. `None` without a backup.
    pub known_since: Option<Timestamp>,
    /// Data at risk now: age of the newest snapshot, or of the end of the log behind a backup; `None` without a backup.
    pub newest: Option<SignedDuration>,
    /// Age of the newest verified snapshot; `None` without one.
    pub verified: Option<SignedDuration>,
}

/// Computes the figures from a target's backups and the times that its log covers, in any order.
///
/// `created_at` is when the target was first bound to a server; a target without backups is judged from
/// then.
pub fn rpo(
    backups: &[Snapshot],
    covered: &[Covered],
    created_at: Option<Timestamp>,
    now: Timestamp,
    window: SignedDuration,
) -> Rpo {
    let begin = before(now, window);
    // A backup exists whatever its timestamps say, and contains no data written after its commit.
    let dated = |backup: &Snapshot| {
        let committed_at = backup.committed_at.min(now);
        (committed_at, backup.snapshot_at.min(committed_at))
    };
    let mut by_commit: Vec<(Timestamp, Timestamp)> = backups.iter().map(dated).collect();
    // Of several backups committed at once the newest counts: no older one was ever the newest.
    by_commit.sort_by_key(|(committed_at, snapshot_at)| (*committed_at, Reverse(*snapshot_at)));
    let first = by_commit.first().map(|first| first.0);
    // What becomes restorable at a time, and up to when the log then covers. A backup before the log behind it.
    let commits = by_commit
        .iter()
        .map(|&(at, snapshot_at)| (at, snapshot_at, None));
    let covers = covered
        .iter()
        .filter(|one| one.from <= one.to.min(now))
        .map(|one| (one.from, one.from, Some(one.to.min(now))));
    let mut steps: Vec<(Timestamp, Timestamp, Option<Timestamp>)> = commits.chain(covers).collect();
    steps.sort_by_key(|(at, snapshot_at, to)| (*at, to.is_some(), Reverse(*snapshot_at)));
    let mut newest: Option<Timestamp> = None;
    let mut covered_to: Option<Timestamp> = None;
    let mut worst: Option<Gap> = None;
    let mut peak = |from, to, open| {
        let gap = Gap { from, to, open };
        if worst.is_none_or(|worst| worst.length() <= gap.length()) {
            worst = Some(gap);
        }
    };
    for (at, restorable, to) in steps {
        let known = newest.max(covered_to.map(|covered_to| covered_to.min(at)));
        covered_to = covered_to.max(to);
        match known {
            // Committed late, with data older than those of earlier commits: it ends no gap.
            Some(known) if known >= restorable => continue,
            Some(known) if at > begin => peak(known, at, false),
            _ => {}
        }
        newest = Some(restorable);
    }
    let newest = newest.max(covered_to);
    if let Some(from) = newest.or(created_at) {
        peak(from, now, true);
    }
    let age = |at: Timestamp| not_negative(now.duration_since(at));
    let verified = backups.iter().filter(|backup| backup.verified);
    Rpo {
        worst,
        known_since: first.map(|first| first.max(begin)),
        newest: newest.map(age),
        verified: verified.map(|backup| backup.snapshot_at).max().map(age),
    }
}

/// The longest time that data are unprotected under a schedule: data written just after a snapshot are
/// protected when the next run has completed.
pub fn worst_of_schedule(
    largest_gap: SignedDuration,
    backup_took: SignedDuration,
) -> SignedDuration {
    largest_gap.saturating_add(backup_took)
}

/// Whether backups on a schedule can meet an RPO, with the reason; `None` if the schedule has no two runs.
pub fn of_schedule(
    schedule: &Schedule,
    objective: SignedDuration,
    backup_took: Option<SignedDuration>,
    now: Timestamp,
) -> Option<(bool, String)> {
    let gap = schedule.largest_gap(now)?;
    let can = worst_of_schedule(gap, backup_took.unwrap_or_default()) <= objective;
    let word = if can { "can" } else { "cannot" };
    let (rpo, gap) = (span(objective), span(gap));
    let took = backup_took.map_or("what".to_owned(), |took| format!("{} that", span(took)));
    Some((
        can,
        format!("{schedule} {word} meet an RPO of {rpo}: worst case {gap} + {took} a backup takes"),
    ))
}

/// Worst-case intervals of drills and backups, and the duration of a drill.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    /// Largest gap between two drills; `None` if not scheduled.
    pub drills: Option<SignedDuration>,
    /// Largest gap between two backups; `None` if not scheduled.
    pub backups: Option<SignedDuration>,
    /// Duration of the newest drill.
    pub drill_took: SignedDuration,
}

/// The declared objectives, with a default maximum age of verified data if none is declared and drills are
/// scheduled: one interval of drills until the next drill begins, plus one interval of backups for the age
/// of what it restores, plus the drill's duration. If no backups are scheduled here, their interval is the
/// RPO, else the largest actual gap; `worst` is called only in the latter case.
pub fn with_default_verified_rpo(
    declared: Objectives,
    pace: Pace,
    worst: impl FnOnce() -> Option<Gap>,
) -> Objectives {
    let came = || worst().map(|gap| gap.length());
    let default = || {
        let drills = pace.drills?;
        let backups = pace.backups.or(declared.rpo).or_else(came);
        let until_drilled = drills.saturating_add(backups.unwrap_or_default());
        Some(until_drilled.saturating_add(pace.drill_took))
    };
    Objectives {
        verified_rpo: declared.verified_rpo.or_else(default),
        ..declared
    }
}

/// Durability settings of the scratch server of a drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Fastest: faster than a production server.
    Relaxed,
    /// The target's own durability, binary log, CPU and memory.
    Production,
}

/// Duration of one passed drill.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DrillTime {
    /// When the drill ended.
    pub ended_at: Timestamp,
    /// Its settings.
    pub profile: Profile,
    /// Total duration of its stages in seconds.
    pub seconds: f64,
}

/// What an RTO is based on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Basis {
    /// A drill under the production profile.
    Measured,
    /// A relaxed drill, multiplied by the last measured ratio of a production drill to a relaxed one.
    Estimated {
        /// The ratio, at least 1.
        ratio: f64,
    },
    /// A relaxed drill only: the production profile was never measured, and takes longer.
    AtLeast,
}

/// Duration of a restore, without detection, decision and switching traffic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rto {
    /// Duration in seconds.
    pub seconds: f64,
    /// What the duration is based on.
    pub basis: Basis,
    /// End of the drill that it is based on.
    pub at: Timestamp,
}

/// The RTO from all passed drills, in any order; `None` if there are none.
///
/// The newest drill determines it. If that was relaxed, the ratio comes from the newest production drill
/// and the relaxed drill nearest to it in time.
pub fn rto(drills: &[DrillTime]) -> Option<Rto> {
    let of = |profile| drills.iter().filter(move |drill| drill.profile == profile);
    let newest = drills.iter().max_by_key(|drill| drill.ended_at)?;
    if newest.profile == Profile::Production {
        return Some(Rto {
            seconds: newest.seconds,
            basis: Basis::Measured,
            at: newest.ended_at,
        });
    }
    let measured = of(Profile::Production).max_by_key(|drill| drill.ended_at);
    let ratio = measured.and_then(|measured| {
        let distance = |drill: &&DrillTime| apart(drill.ended_at, measured.ended_at);
        let beside = of(Profile::Relaxed).min_by_key(distance)?;
        let ratio = measured.seconds / beside.seconds;
        ratio.is_finite().then_some(ratio.max(1.0))
    });
    Some(Rto {
        seconds: newest.seconds * ratio.unwrap_or(1.0),
        basis: ratio.map_or(Basis::AtLeast, |ratio| Basis::Estimated { ratio }),
        at: newest.ended_at,
    })
}

/// A missed objective, in one line without a final full stop.
pub type Miss = String;

impl Rpo {
    /// Misses of the RPO and the verified RPO; empty if both are met or not declared.
    pub fn misses(&self, objectives: &Objectives) -> Vec<Miss> {
        let mut misses = Vec::new();
        if let Some(objective) = objectives.rpo {
            let said = span(objective);
            match self.worst {
                None => misses.push(format!("RPO of {said} missed: there is no backup")),
                Some(gap) if gap.length() > objective => {
                    let end = if gap.open { "now" } else { "the next commit" };
                    let length = span(gap.length());
                    misses.push(format!(
                        "RPO of {said} missed: {length} from {:.0} to {end} at {:.0}",
                        gap.from, gap.to
                    ));
                }
                Some(_) => {}
            }
        }
        if let Some(objective) = objectives.verified_rpo {
            let said = span(objective);
            match self.verified {
                None => misses.push(format!(
                    "verified RPO of {said} missed: no backup is verified"
                )),
                Some(age) if age > objective => misses.push(format!(
                    "verified RPO of {said} missed: the newest verified data are {} old",
                    span(age)
                )),
                Some(_) => {}
            }
        }
        misses
    }
}

impl Rto {
    /// Whether the objective is missed; `None` if relaxed drills alone cannot show it.
    pub fn is_missed(&self, objective: SignedDuration) -> Option<bool> {
        let missed = self.seconds > objective.as_secs_f64();
        match self.basis {
            Basis::AtLeast if !missed => None,
            _ => Some(missed),
        }
    }

    /// The missed RTO, if one is declared.
    pub fn miss(&self, objectives: &Objectives) -> Option<Miss> {
        let objective = objectives.rto?;
        let how = match self.basis {
            Basis::Measured => String::new(),
            Basis::Estimated { ratio } => format!(" (estimated with a ratio of {ratio:.1})"),
            Basis::AtLeast => " at least".to_owned(),
        };
        (self.is_missed(objective) == Some(true)).then(|| {
            let took = span(SignedDuration::from_millis((self.seconds * 1e3) as i64));
            format!(
                "RTO of {} missed: a restore takes {took}{how}",
                span(objective)
            )
        })
    }
}

fn not_negative(duration: SignedDuration) -> SignedDuration {
    duration.max(SignedDuration::ZERO)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn secs(seconds: i64) -> SignedDuration {
        SignedDuration::from_secs(seconds)
    }

    fn backup(snapshot: i64, committed: i64) -> Snapshot {
        Snapshot {
            snapshot_at: at(snapshot),
            committed_at: at(committed),
            verified: false,
        }
    }

    fn worst(backups: &[Snapshot], now: i64, window: i64) -> i64 {
        let judged = rpo(backups, &[], None, at(now), secs(window));
        judged.worst.unwrap().length().as_secs()
    }

    #[test]
    fn a_gap_lasts_from_a_snapshot_to_the_commit_of_the_next() {
        assert_eq!(worst(&[backup(0, 10), backup(100, 150)], 160, 1000), 150);
    }

    #[test]
    fn the_open_gap_counts() {
        assert_eq!(worst(&[backup(0, 10), backup(100, 110)], 500, 1000), 400);
    }

    #[test]
    fn the_gap_before_a_late_backup_still_counts() {
        let judged = rpo(
            &[backup(0, 10), backup(900, 910)],
            &[],
            None,
            at(920),
            secs(1000),
        );
        let gap = judged.worst.unwrap();
        assert_eq!((gap.from, gap.to, gap.open), (at(0), at(910), false));
        assert_eq!(judged.newest, Some(secs(20)));
    }

    #[test]
    fn a_gap_that_began_before_the_window_counts_in_full() {
        let backups = [backup(0, 10), backup(300, 310), backup(390, 400)];
        assert_eq!(worst(&backups, 405, 100), 310);
        assert_eq!(worst(&backups, 405, 95), 100);
    }

    #[test]
    fn times_before_the_first_known_commit_are_not_checked() {
        let judged = rpo(
            &[backup(950, 960), backup(970, 980)],
            &[],
            Some(at(0)),
            at(990),
            secs(500),
        );
        assert_eq!(judged.worst.unwrap().length(), secs(30));
        assert_eq!(judged.known_since, Some(at(960)));
    }

    #[test]
    fn without_any_backup_all_since_the_targets_creation_is_lost() {
        let judged = rpo(&[], &[], Some(at(100)), at(400), WINDOW);
        assert_eq!(judged.worst.unwrap().length(), secs(300));
        assert!(judged.worst.unwrap().open);
        let nothing = rpo(&[], &[], None, at(400), WINDOW);
        assert_eq!(nothing.worst, None);
        let declared = Objectives {
            rpo: Some(secs(3600)),
            rto: None,
            verified_rpo: Some(secs(3600)),
        };
        assert_eq!(
            nothing.misses(&declared),
            [
                "RPO of 1 h missed: there is no backup",
                "verified RPO of 1 h missed: no backup is verified"
            ]
        );
    }

    #[test]
    fn a_commit_of_older_data_ends_no_gap() {
        let backups = [backup(0, 10), backup(200, 210), backup(100, 500)];
        assert_eq!(worst(&backups, 600, 1000), 400);
    }

    #[test]
    fn of_two_that_came_at_once_the_older_was_never_there_alone() {
        assert_eq!(worst(&[backup(112, 143), backup(92, 143)], 143, 1), 31);
        assert_eq!(worst(&[backup(92, 143), backup(112, 143)], 143, 1), 31);
    }

    #[test]
    fn clocks_that_disagree_make_no_negative_gap() {
        assert_eq!(worst(&[backup(50, 40), backup(70, 60)], 65, 1000), 20);
        assert_eq!(worst(&[backup(50, 400)], 60, 1000), 10);
    }

    #[test]
    fn a_snapshot_from_the_future_hides_no_gap_behind_it() {
        let backups = [backup(90, 10), backup(20, 20), backup(80, 80)];
        assert_eq!(worst(&backups, 80, 1000), 60);
    }

    #[test]
    fn the_newest_verified_snapshot_is_the_verified_rpo() {
        let verified = Snapshot {
            verified: true,
            ..backup(100, 110)
        };
        let judged = rpo(&[backup(200, 210), verified], &[], None, at(300), WINDOW);
        assert_eq!(judged.verified, Some(secs(200)));
        let declared = Objectives {
            rpo: Some(secs(100)),
            rto: None,
            verified_rpo: Some(secs(199)),
        };
        assert_eq!(
            judged.misses(&declared),
            [
                "RPO of 1 min 40 s missed: 1 min 50 s from 1970-01-01T00:01:40Z to the next commit \
                 at 1970-01-01T00:03:30Z",
                "verified RPO of 3 min 19 s missed: the newest verified data are 3 min 20 s old"
            ]
        );
    }

    #[test]
    fn an_objective_that_is_just_met_is_met() {
        let judged = rpo(&[backup(100, 110)], &[], None, at(300), WINDOW);
        let declared = Objectives {
            rpo: Some(secs(200)),
            ..Objectives::default()
        };
        assert_eq!(judged.misses(&declared), Vec::<String>::new());
    }

    fn covered(from: i64, to: i64) -> Covered {
        Covered {
            from: at(from),
            to: at(to),
        }
    }

    /// The worst gap, and the data at risk now.
    fn with_log(backups: &[Snapshot], log: &[Covered], now: i64) -> ((i64, i64), i64) {
        let judged = rpo(backups, log, None, at(now), secs(10_000));
        let worst = judged.worst.unwrap();
        let gap = (worst.from.as_second(), worst.to.as_second());
        (gap, judged.newest.unwrap().as_secs())
    }

    #[test]
    fn the_log_behind_a_backup_protects_up_to_its_end() {
        let backups = [backup(0, 10), backup(1000, 1050)];
        assert_eq!(with_log(&backups, &[covered(10, 2000)], 2005), ((0, 10), 5));
        // It ended: what was written since is at risk, also behind a backup of before.
        assert_eq!(
            with_log(&backups, &[covered(10, 1500)], 2005),
            ((1500, 2005), 505)
        );
        // The log was away in between, and the backup began before it was.
        let twice = [covered(10, 1020), covered(1500, 2000)];
        assert_eq!(with_log(&backups, &twice, 2001), ((1020, 1500), 1));
        // A backup ends the gap of a log that ended.
        let backups = [backup(0, 10), backup(1100, 1150)];
        assert_eq!(
            with_log(&backups, &[covered(10, 1020)], 1200),
            ((1020, 1150), 100)
        );
    }

    #[test]
    fn a_log_from_the_future_protects_nothing_that_was_not_written() {
        assert_eq!(
            with_log(&[backup(0, 10)], &[covered(10, 900)], 100),
            ((0, 10), 0)
        );
        assert_eq!(
            with_log(&[backup(0, 10)], &[covered(500, 900)], 100),
            ((0, 100), 100)
        );
    }

    fn drill(ended: i64, profile: Profile, seconds: f64) -> DrillTime {
        DrillTime {
            ended_at: at(ended),
            profile,
            seconds,
        }
    }

    #[test]
    fn an_rto_is_measured_estimated_or_at_least() {
        use Profile::{Production, Relaxed};
        let of = |drills: &[DrillTime]| rto(drills).map(|rto| (rto.seconds, rto.basis));
        assert_eq!(of(&[]), None);
        let relaxed = drill(10, Relaxed, 60.0);
        assert_eq!(of(&[relaxed]), Some((60.0, Basis::AtLeast)));
        let measured = drill(20, Production, 120.0);
        assert_eq!(of(&[relaxed, measured]), Some((120.0, Basis::Measured)));
        let later = drill(500, Relaxed, 70.0);
        assert_eq!(
            of(&[later, relaxed, measured]),
            Some((140.0, Basis::Estimated { ratio: 2.0 }))
        );
        // Faster with production settings than without: noise, which must not lower the estimate.
        let odd = drill(21, Production, 30.0);
        assert_eq!(
            of(&[later, relaxed, odd]),
            Some((70.0, Basis::Estimated { ratio: 1.0 }))
        );
    }

    #[test]
    fn a_relaxed_drill_alone_can_miss_an_rto_but_never_meet_it() {
        let rto = rto(&[drill(10, Profile::Relaxed, 60.0)]).unwrap();
        assert_eq!(rto.is_missed(secs(59)), Some(true));
        assert_eq!(rto.is_missed(secs(61)), None);
        let declared = Objectives {
            rto: Some(secs(59)),
            ..Objectives::default()
        };
        assert_eq!(
            rto.miss(&declared).unwrap(),
            "RTO of 59 s missed: a restore takes 1 min at least"
        );
    }

    /// Snapshots, durations, and the order of the list.
    fn backups() -> impl Strategy<Value = Vec<Snapshot>> {
        let one = (0i64..300, 0i64..60).prop_map(|(at, took)| backup(at, at + took));
        proptest::collection::vec(one, 1..12)
    }

    proptest! {
        /// The data loss of a disaster in every single second.
        #[test]
        fn the_worst_gap_is_what_the_worst_second_would_have_cost(
            backups in backups(), rest in 0i64..100, window in 1i64..400,
        ) {
            let now = backups.iter().map(|b| b.committed_at.as_second()).max().unwrap() + rest;
            let newest = |before: i64, or_at: bool| backups.iter()
                .filter(|b| b.committed_at.as_second() < before || or_at && b.committed_at.as_second() == before)
                .map(|b| b.snapshot_at.as_second())
                .max();
            let costs = (now - window + 1..=now).filter_map(|t| Some(t - newest(t, false)?));
            let cost_now = now - newest(now, true).unwrap();
            prop_assert_eq!(worst(&backups, now, window), costs.chain([cost_now]).max().unwrap());
        }

        #[test]
        fn an_additional_backup_makes_nothing_worse(
            backups in backups(), more in (0i64..300, 0i64..60), rest in 0i64..100,
        ) {
            let now = backups.iter().map(|b| b.committed_at.as_second()).max().unwrap() + rest;
            let more = backup(more.0, more.0 + more.1);
            // A backup older than all others extends the known time, and so may reveal a larger gap.
            prop_assume!(backups.iter().any(|b| b.committed_at <= more.committed_at));
            prop_assume!(more.committed_at.as_second() <= now);
            let with = [&backups[..], &[more]].concat();
            prop_assert!(worst(&with, now, 1000) <= worst(&backups, now, 1000));
        }

        #[test]
        fn the_worst_gap_is_never_shorter_than_the_age_of_the_newest(backups in backups(), rest in 0i64..100) {
            let now = backups.iter().map(|b| b.committed_at.as_second()).max().unwrap() + rest;
            let judged = rpo(&backups, &[], None, at(now), secs(50));
            prop_assert!(judged.worst.unwrap().length() >= judged.newest.unwrap());
        }
    }
}
