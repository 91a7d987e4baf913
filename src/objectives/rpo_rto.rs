//! RPO and RTO: what a disaster would have cost, from backups and drills, held against the objectives.
//!
//! At any moment a disaster costs the data since the newest snapshot that was *committed* by then.
//! That exposure grows with the clock and falls at each commit, so its peaks are the gaps
//! "commit of the next − snapshot of the one before", and the one that is still open, up to now. The
//! RPO is judged on the largest peak of the window, not on the age of the newest backup: that one
//! looks well again the moment a late backup arrives.
//!
//! What counts: backups that `--latest` would choose. A suspect one protects nobody until it is
//! accepted, so the caller leaves it out; a pruned one did protect while it was needed, so the caller
//! leaves it in.

use std::cmp::Reverse;

use jiff::{SignedDuration, Timestamp};

use super::Objectives;
use super::schedule::Schedule;
use crate::times::{apart, before, days};
use crate::words::span;

/// The window of the RPO: 30 days.
pub const WINDOW: SignedDuration = days(30);

/// One backup that is, or until it was pruned was, trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// When the data were as they are in it.
    pub snapshot_at: Timestamp,
    /// When its manifest was written: until then it protected nothing.
    pub committed_at: Timestamp,
    /// Whether a restore of it was verified.
    pub proven: bool,
}

/// A stretch of time whose data a disaster at its end would have cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The newest snapshot committed before its end; the target's creation where there was none.
    pub from: Timestamp,
    /// The commit of a newer one, or now.
    pub to: Timestamp,
    /// Whether it is the one that has not ended yet.
    pub open: bool,
}

impl Gap {
    /// Its length, never negative: clocks may disagree by a little.
    pub fn length(&self) -> SignedDuration {
        not_negative(self.to.duration_since(self.from))
    }
}

/// What disasters of the last days would have cost, and one of now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rpo {
    /// The largest gap that ended in the window or is open, in its whole length: one that began
    /// before the window was as long as it was. `None` where there never was a backup, and nothing
    /// says since when there should be: the loss is everything.
    pub worst: Option<Gap>,
    /// From when on the gaps are known: the beginning of the window, or the first commit in it where
    /// none is known before. What was before is not judged. `None` where there is no backup.
    pub known_since: Option<Timestamp>,
    /// The age of the newest snapshot.
    pub newest: Option<SignedDuration>,
    /// The age of the newest snapshot of which a restore was verified.
    pub proven: Option<SignedDuration>,
}

/// Judges the backups of a target, in any order.
///
/// `created_at` is when the target was first bound to a server; it is what a target without any
/// backup is judged from.
pub fn rpo(
    backups: &[Snapshot],
    created_at: Option<Timestamp>,
    now: Timestamp,
    window: SignedDuration,
) -> Rpo {
    let begin = before(now, window);
    // It is there, whatever the clocks that dated it say, and holds nothing of what came after.
    let dated = |backup: &Snapshot| {
        let committed_at = backup.committed_at.min(now);
        (committed_at, backup.snapshot_at.min(committed_at))
    };
    let mut by_commit: Vec<(Timestamp, Timestamp)> = backups.iter().map(dated).collect();
    // Of several that came at once the newest protects: none of them was ever there alone.
    by_commit.sort_by_key(|(committed_at, snapshot_at)| (*committed_at, Reverse(*snapshot_at)));
    let mut newest: Option<Timestamp> = None;
    let mut worst: Option<Gap> = None;
    let mut peak = |from, to, open| {
        let gap = Gap { from, to, open };
        if worst.is_none_or(|worst| worst.length() <= gap.length()) {
            worst = Some(gap);
        }
    };
    for &(committed_at, snapshot_at) in &by_commit {
        match newest {
            // Committed late, with data older than others had brought before: it ends nothing.
            Some(newest) if newest >= snapshot_at => continue,
            Some(newest) if committed_at > begin => peak(newest, committed_at, false),
            _ => {}
        }
        newest = Some(snapshot_at);
    }
    if let Some(from) = newest.or(created_at) {
        peak(from, now, true);
    }
    let age = |at: Timestamp| not_negative(now.duration_since(at));
    let proven = backups.iter().filter(|backup| backup.proven);
    Rpo {
        worst,
        known_since: by_commit.first().map(|first| first.0.max(begin)),
        newest: newest.map(age),
        proven: proven.map(|backup| backup.snapshot_at).max().map(age),
    }
}

/// The longest that data can be unprotected under a schedule: the data of a moment just after a
/// snapshot wait for the next run to begin, and for its end.
pub fn worst_of_schedule(
    largest_gap: SignedDuration,
    backup_took: SignedDuration,
) -> SignedDuration {
    largest_gap.saturating_add(backup_took)
}

/// Whether backups by a schedule can meet an RPO at all, and why; `None` where it never comes due.
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

/// How often drills and backups are to run, at worst, and how long a drill takes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    /// The largest gap between two drills; `None` where none are scheduled.
    pub drills: Option<SignedDuration>,
    /// The largest gap between two backups; `None` where none are scheduled.
    pub backups: Option<SignedDuration>,
    /// How long the newest drill took.
    pub drill_took: SignedDuration,
}

/// What was declared, with how old the newest verified data may be where nobody declared it and drills
/// are scheduled: until the next drill begins, one interval of drills; what it restores is up to one
/// interval of backups old; and it takes its time. Backups that nobody scheduled here come as often as
/// the RPO asks for, or as they did: only then `worst` is asked.
pub fn with_default_proven_rpo(
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
        proven_rpo: declared.proven_rpo.or_else(default),
        ..declared
    }
}

/// The settings of the scratch server that a drill restored into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// As relaxed as can be: faster than the server that matters.
    Relaxed,
    /// The target's own durability, binary log, CPU and memory.
    Production,
}

/// How long one drill that passed took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DrillTime {
    /// When it ended.
    pub ended_at: Timestamp,
    /// Under which settings.
    pub profile: Profile,
    /// All its stages, seconds.
    pub seconds: f64,
}

/// What an RTO rests on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Basis {
    /// A drill under the production profile.
    Measured,
    /// A relaxed drill, times what the production profile last took against a relaxed one.
    Estimated {
        /// That ratio, at least 1.
        ratio: f64,
    },
    /// A relaxed drill alone: the production profile was never measured, and takes longer.
    AtLeast,
}

/// How long a restore takes; detection, decision and the switch of traffic are not in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rto {
    /// Seconds.
    pub seconds: f64,
    /// What they rest on.
    pub basis: Basis,
    /// The drill that they come from.
    pub at: Timestamp,
}

/// The RTO by all drills that passed, in any order; `None` where there was none.
///
/// The newest drill tells. If it was a relaxed one, the ratio comes from the newest production drill
/// and the relaxed one nearest to it in time.
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

/// An objective that was missed, in one line without a final stop.
pub type Miss = String;

impl Rpo {
    /// What of the RPO and the proven RPO is missed; empty where all is well or nothing was declared.
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
        if let Some(objective) = objectives.proven_rpo {
            let said = span(objective);
            match self.proven {
                None => misses.push(format!("proven RPO of {said} missed: no backup is proven")),
                Some(age) if age > objective => misses.push(format!(
                    "proven RPO of {said} missed: the newest proven data are {} old",
                    span(age)
                )),
                Some(_) => {}
            }
        }
        misses
    }
}

impl Rto {
    /// Whether the objective is missed; `None` where a relaxed drill alone cannot tell.
    pub fn is_missed(&self, objective: SignedDuration) -> Option<bool> {
        let missed = self.seconds > objective.as_secs_f64();
        match self.basis {
            Basis::AtLeast if !missed => None,
            _ => Some(missed),
        }
    }

    /// The missed RTO, where one was declared.
    pub fn miss(&self, objectives: &Objectives) -> Option<Miss> {
        let objective = objectives.rto?;
        let how = match self.basis {
            Basis::Measured => String::new(),
            Basis::Estimated { ratio } => format!(" (estimated, by a ratio of {ratio:.1})"),
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
            proven: false,
        }
    }

    fn worst(backups: &[Snapshot], now: i64, window: i64) -> i64 {
        let judged = rpo(backups, None, at(now), secs(window));
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
    fn a_late_backup_does_not_make_its_gap_forgotten() {
        let judged = rpo(
            &[backup(0, 10), backup(900, 910)],
            None,
            at(920),
            secs(1000),
        );
        let gap = judged.worst.unwrap();
        assert_eq!((gap.from, gap.to, gap.open), (at(0), at(910), false));
        assert_eq!(judged.newest, Some(secs(20)));
    }

    #[test]
    fn a_gap_that_began_before_the_window_counts_whole_and_one_that_ended_before_it_not() {
        let backups = [backup(0, 10), backup(300, 310), backup(390, 400)];
        assert_eq!(worst(&backups, 405, 100), 310);
        assert_eq!(worst(&backups, 405, 95), 100);
    }

    #[test]
    fn what_was_before_the_first_known_commit_is_not_judged_and_that_is_said() {
        let judged = rpo(
            &[backup(950, 960), backup(970, 980)],
            Some(at(0)),
            at(990),
            secs(500),
        );
        assert_eq!(judged.worst.unwrap().length(), secs(30));
        assert_eq!(judged.known_since, Some(at(960)));
    }

    #[test]
    fn without_any_backup_all_since_the_targets_creation_is_lost() {
        let judged = rpo(&[], Some(at(100)), at(400), WINDOW);
        assert_eq!(judged.worst.unwrap().length(), secs(300));
        assert!(judged.worst.unwrap().open);
        let nothing = rpo(&[], None, at(400), WINDOW);
        assert_eq!(nothing.worst, None);
        let declared = Objectives {
            rpo: Some(secs(3600)),
            rto: None,
            proven_rpo: Some(secs(3600)),
        };
        assert_eq!(
            nothing.misses(&declared),
            [
                "RPO of 1 h missed: there is no backup",
                "proven RPO of 1 h missed: no backup is proven"
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
    fn the_newest_proven_snapshot_is_the_proven_rpo() {
        let proven = Snapshot {
            proven: true,
            ..backup(100, 110)
        };
        let judged = rpo(&[backup(200, 210), proven], None, at(300), WINDOW);
        assert_eq!(judged.proven, Some(secs(200)));
        let declared = Objectives {
            rpo: Some(secs(100)),
            rto: None,
            proven_rpo: Some(secs(199)),
        };
        assert_eq!(
            judged.misses(&declared),
            [
                "RPO of 1 min 40 s missed: 1 min 50 s from 1970-01-01T00:01:40Z to the next commit \
                 at 1970-01-01T00:03:30Z",
                "proven RPO of 3 min 19 s missed: the newest proven data are 3 min 20 s old"
            ]
        );
    }

    #[test]
    fn an_objective_that_is_just_met_is_met() {
        let judged = rpo(&[backup(100, 110)], None, at(300), WINDOW);
        let declared = Objectives {
            rpo: Some(secs(200)),
            ..Objectives::default()
        };
        assert_eq!(judged.misses(&declared), Vec::<String>::new());
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
        // Faster under production settings than without: noise, not a discount.
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

    /// Snapshot, how long it took, and the order in which they come.
    fn backups() -> impl Strategy<Value = Vec<Snapshot>> {
        let one = (0i64..300, 0i64..60).prop_map(|(at, took)| backup(at, at + took));
        proptest::collection::vec(one, 1..12)
    }

    proptest! {
        /// What a disaster in each single second would have cost.
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
        fn one_backup_more_makes_nothing_worse(
            backups in backups(), more in (0i64..300, 0i64..60), rest in 0i64..100,
        ) {
            let now = backups.iter().map(|b| b.committed_at.as_second()).max().unwrap() + rest;
            let more = backup(more.0, more.0 + more.1);
            // One that is older than all others makes more known, and so can show more.
            prop_assume!(backups.iter().any(|b| b.committed_at <= more.committed_at));
            prop_assume!(more.committed_at.as_second() <= now);
            let with = [&backups[..], &[more]].concat();
            prop_assert!(worst(&with, now, 1000) <= worst(&backups, now, 1000));
        }

        #[test]
        fn the_worst_gap_is_never_shorter_than_the_age_of_the_newest(backups in backups(), rest in 0i64..100) {
            let now = backups.iter().map(|b| b.committed_at.as_second()).max().unwrap() + rest;
            let judged = rpo(&backups, None, at(now), secs(50));
            prop_assert!(judged.worst.unwrap().length() >= judged.newest.unwrap());
        }
    }
}
