//! Which backups may go: every rule that keeps one, and what holds back those that no rule keeps.
//!
//! Pure: the clock and the zone are arguments, and nothing is deleted here. The words are restic's.
//! Whatever the rules say, there stay: the newest trusted backup, or, where none is trusted, the newest
//! of all; the newest one that a restore verified; what is pinned. Suspect backups take nobody's place:
//! they count for no rule, so they never are why a good one goes. They go themselves when somebody had
//! time to look at them and a newer trusted one exists. Nor does one take a place that failed a drill: the
//! rules are gone through without those, too. What they keep of them they keep beside: it may be the drill
//! that was wrong.

use std::collections::BTreeMap;

use jiff::civil::ISOWeekDate;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::words::span;

/// One run deletes at most the larger of this many backups …
pub const MOST_AT_ONCE: usize = 3;

/// … and this share of all, in percent, unless it is forced.
pub const MOST_PERCENT: usize = 20;

/// What is kept; a rule of 0 keeps nothing.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The newest ones.
    pub last: usize,
    /// The newest of each of so many days that have one.
    pub daily: usize,
    /// The newest of each of so many weeks, Monday to Sunday.
    pub weekly: usize,
    /// The newest of each of so many months.
    pub monthly: usize,
    /// The newest of each of so many years.
    pub yearly: usize,
    /// All whose snapshot is at most so much older than the newest one.
    pub within: Option<SignedDuration>,
    /// All that carry one of these labels.
    pub labels: BTreeMap<String, String>,
    /// The newest ones that a restore verified.
    pub proven: usize,
    /// How long a suspect one, or one that failed a drill, waits for somebody to look at it.
    pub suspect: SignedDuration,
    /// Where days, weeks, months and years begin.
    pub zone: TimeZone,
}

impl Rules {
    /// Whether anything says what to keep: without that, all would go that is not protected.
    pub fn say_what_to_keep(&self) -> bool {
        let counts = [
            self.last,
            self.daily,
            self.weekly,
            self.monthly,
            self.yearly,
        ];
        counts.iter().any(|count| *count > 0) || self.within.is_some()
    }
}

/// One backup, as retention sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// When its data were as they are in it.
    pub snapshot_at: Timestamp,
    /// Whether it is not suspect, or was accepted.
    pub trusted: bool,
    /// Whether a restore of it was ever verified.
    pub proven: bool,
    /// When a drill of it failed, and none proved it since.
    pub failed_at: Option<Timestamp>,
    /// Whether a person keeps it for ever.
    pub pinned: bool,
    /// Whether a restore or a drill reads it now.
    pub in_use: bool,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// What becomes of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// These rules keep it, the strongest first.
    Keep(Vec<String>),
    /// No rule keeps it, but it does not go now.
    Postpone(String),
    /// It goes.
    Delete,
}

/// Decides on all backups of a target, in the order that they are given in.
///
/// `overdue` says why nothing may go now: no restore was verified for too long, so nobody knows which
/// of them are good.
pub fn decide(
    backups: &[Candidate],
    rules: &Rules,
    now: Timestamp,
    overdue: Option<&str>,
    force: bool,
) -> Vec<Decision> {
    let mut keep = Keep::new(backups);
    keep.protect();
    keep.by_rules(rules);
    keep.suspect(rules, now);
    keep.failed(rules, now);
    let most = match force {
        true => backups.len(),
        false => MOST_AT_ONCE.max(backups.len() * MOST_PERCENT / 100),
    };
    let mut decisions: Vec<Decision> = keep.reasons.iter().cloned().map(Decision::Keep).collect();
    let mut deleted = 0;
    // The oldest go first.
    for index in keep.newest_first.into_iter().rev() {
        if keep.reasons[index].is_empty() {
            decisions[index] = match overdue {
                Some(why) => Decision::Postpone(why.to_owned()),
                None if backups[index].in_use => {
                    Decision::Postpone("a restore or a drill reads it".into())
                }
                None if deleted == most => Decision::Postpone(format!(
                    "one run deletes at most {most}; the next one goes on, or --force"
                )),
                None => {
                    deleted += 1;
                    Decision::Delete
                }
            };
        }
    }
    decisions
}

impl Candidate {
    /// Whether nothing speaks against it.
    fn is_sound(&self) -> bool {
        self.trusted && self.failed_at.is_none()
    }

    /// Whether a restore of it would bring back the right data, by all that is known.
    fn is_good(&self) -> bool {
        self.is_sound() && self.proven
    }
}

/// Who is kept so far, and why.
struct Keep<'a> {
    backups: &'a [Candidate],
    /// Indices into `backups`, by the time of the snapshot.
    newest_first: Vec<usize>,
    /// Why each is kept.
    reasons: Vec<Vec<String>>,
}

impl<'a> Keep<'a> {
    fn new(backups: &'a [Candidate]) -> Self {
        let mut newest_first: Vec<usize> = (0..backups.len()).collect();
        newest_first.sort_by_key(|index| std::cmp::Reverse(backups[*index].snapshot_at));
        Keep {
            backups,
            newest_first,
            reasons: vec![Vec::new(); backups.len()],
        }
    }

    /// The trusted ones, newest first.
    fn trusted(&self) -> Vec<usize> {
        self.those(|backup| backup.trusted)
    }

    fn those(&self, which: impl Fn(&Candidate) -> bool) -> Vec<usize> {
        let newest_first = self.newest_first.iter().copied();
        newest_first
            .filter(|index| which(&self.backups[*index]))
            .collect()
    }

    /// Those that nothing speaks against, newest first.
    fn sound(&self) -> Vec<usize> {
        self.those(Candidate::is_sound)
    }

    fn keep(&mut self, indices: impl IntoIterator<Item = usize>, why: &str) {
        for index in indices {
            let reasons = &mut self.reasons[index];
            if !reasons.iter().any(|reason| reason == why) {
                reasons.push(why.to_owned());
            }
        }
    }

    /// What stays whatever the rules say.
    fn protect(&mut self) {
        match self.trusted().first() {
            Some(newest) => self.keep([*newest], "the newest"),
            None => {
                let newest = self.newest_first.first().copied();
                self.keep(newest, "the newest, and none is trusted");
            }
        }
        let verified = self.those(|backup| backup.trusted && backup.proven);
        self.keep(verified.first().copied(), "the newest verified");
        let another = |of: &[usize], all: &[usize]| {
            of.first().copied().filter(|one| all.first() != Some(one))
        };
        let sound = another(&self.sound(), &self.trusted());
        self.keep(sound, "the newest that failed no drill");
        let good = another(&self.those(Candidate::is_good), &verified);
        self.keep(good, "the newest verified that did not fail since");
        let pinned = self.those(|backup| backup.pinned);
        self.keep(pinned, "pinned");
    }

    fn by_rules(&mut self, rules: &Rules) {
        let good = self.those(Candidate::is_good);
        self.keep(good.into_iter().take(rules.proven), "verified");
        for those in [self.trusted(), self.sound()] {
            self.by_time(&those, rules);
        }
        for (name, value) in &rules.labels {
            let labelled = self.those(|backup| backup.labels.get(name) == Some(value));
            self.keep(labelled, &format!("label {name}={value}"));
        }
    }

    /// By the rules that count: those of so many, newest first.
    fn by_time(&mut self, those: &[usize], rules: &Rules) {
        self.keep(those.iter().copied().take(rules.last), "last");
        let day = |at: Timestamp| at.to_zoned(rules.zone.clone()).date();
        self.one_a(those, rules.daily, "daily", |at| day(at).to_string());
        self.one_a(those, rules.weekly, "weekly", |at| {
            let week = ISOWeekDate::from(day(at));
            format!("{}-W{:02}", week.year(), week.week())
        });
        self.one_a(those, rules.monthly, "monthly", |at| {
            day(at).strftime("%Y-%m").to_string()
        });
        self.one_a(those, rules.yearly, "yearly", |at| {
            day(at).strftime("%Y").to_string()
        });
        if let (Some(within), Some(newest)) = (rules.within, those.first()) {
            let begin = self.backups[*newest]
                .snapshot_at
                .as_duration()
                .saturating_sub(within);
            let fresh: Vec<usize> = those
                .iter()
                .copied()
                .filter(|index| self.backups[*index].snapshot_at.as_duration() >= begin)
                .collect();
            self.keep(fresh, &format!("within {}", span(within)));
        }
    }

    /// The newest of each of the newest `count` periods that have one of those.
    fn one_a(
        &mut self,
        those: &[usize],
        count: usize,
        rule: &str,
        period: impl Fn(Timestamp) -> String,
    ) {
        let mut last = None;
        let mut kept = 0;
        for index in those.iter().copied() {
            if kept == count {
                return;
            }
            let its = Some(period(self.backups[index].snapshot_at));
            if its != last {
                let its = its.as_deref().unwrap_or_default();
                self.keep([index], &format!("{rule} {its}"));
                kept += 1;
            }
            last = its;
        }
    }

    fn suspect(&mut self, rules: &Rules, now: Timestamp) {
        let newest = self
            .trusted()
            .first()
            .map(|index| self.backups[*index].snapshot_at);
        for index in self.those(|backup| !backup.trusted) {
            let at = self.backups[index].snapshot_at;
            if newest.is_none_or(|newest| at > newest) {
                self.keep([index], "suspect, and no newer one is trusted");
            } else if now.duration_since(at) < rules.suspect {
                let why = format!("suspect for less than {}", span(rules.suspect));
                self.keep([index], &why);
            }
        }
    }

    /// Evidence, for as long as one that is suspect.
    fn failed(&mut self, rules: &Rules, now: Timestamp) {
        let newest = self.sound().first().copied();
        let newest = newest.map(|index| self.backups[index].snapshot_at);
        for index in self.newest_first.clone() {
            let backup = &self.backups[index];
            let Some(failed_at) = backup.failed_at.filter(|_| backup.trusted) else {
                continue;
            };
            if newest.is_none_or(|newest| backup.snapshot_at > newest) {
                self.keep([index], "failed a drill, and no newer one is better");
            } else if now.duration_since(failed_at) < rules.suspect {
                let why = format!("failed a drill less than {} ago", span(rules.suspect));
                self.keep([index], &why);
            }
        }
    }
}

#[cfg(test)]
mod tests;
