//! Decides which backups may be deleted: the rules that keep a backup, and reasons to postpone the deletion
//! of others.
//!
//! No I/O: the clock and the zone are arguments, and nothing is deleted here. The terms are restic's.
//!
//! Always kept, regardless of the rules: the newest usable backup (not suspect, or accepted), or the newest of
//! all if none is usable; the newest verified one; of each, also the newest without a failed drill; pinned ones.
//! The rules for numbers and periods skip suspect backups, so these never displace a good one; unless a label
//! keeps it, a suspect backup is deleted once its inspection period has passed and a newer usable backup exists.
//! A backup that failed a drill does not displace another one either: the rules are applied twice, with and
//! without such backups, and a backup is kept if either result keeps it, since the drill may have been wrong.

use std::collections::BTreeMap;

use jiff::civil::ISOWeekDate;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::util::format::span;

/// One run deletes at most the larger of this number of backups …
pub const MOST_AT_ONCE: usize = 3;

/// … and this percentage of all, unless forced.
pub const MOST_PERCENT: usize = 20;

/// The reason of an operator.
pub const PINNED: &str = "pinned";

/// The retention rules; a rule of 0 keeps nothing.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Keep the newest N backups.
    pub last: usize,
    /// Keep the newest of each of the last N days that have one.
    pub daily: usize,
    /// Keep the newest of each of the last N weeks, Monday to Sunday.
    pub weekly: usize,
    /// Keep the newest of each of the last N months.
    pub monthly: usize,
    /// Keep the newest of each of the last N years.
    pub yearly: usize,
    /// Keep all whose snapshot is at most this much older than the newest one; `None`: rule not set.
    pub within: Option<SignedDuration>,
    /// Keep all that have one of these labels.
    pub labels: BTreeMap<String, String>,
    /// Keep the newest N verified backups.
    pub verified: usize,
    /// How long to keep a suspect backup, or one that failed a drill, for inspection.
    pub suspect: SignedDuration,
    /// Time zone of days, weeks, months and years.
    pub zone: TimeZone,
}

impl Rules {
    /// Whether a rule is set: without one, every unprotected backup would be deleted.
    pub fn is_configured(&self) -> bool {
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

/// One backup, as input of the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Time of its snapshot.
    pub snapshot_at: Timestamp,
    /// Whether it is not suspect, or was accepted.
    pub usable: bool,
    /// Whether it is refused because of its signature alone.
    pub refused: bool,
    /// Whether it was ever verified.
    pub verified: bool,
    /// When a drill of it failed, unless it was verified later.
    pub failed_at: Option<Timestamp>,
    /// Whether an operator pinned it.
    pub pinned: bool,
    /// Whether a restore or drill reads it now.
    pub in_use: bool,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// The decision on a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Kept by these rules, the strongest first.
    Keep(Vec<String>),
    /// Kept by no rule, but not deleted now.
    Postpone(String),
    /// To be deleted.
    Delete,
}

/// Decides on all backups of a target, in the given order.
///
/// `overdue` is the reason why nothing may be deleted now: there was no verified restore for too long, so
/// it is unknown which backups are good.
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
    keep.refused();
    keep.suspect(rules, now);
    keep.failed(rules, now);
    let most = if force {
        backups.len()
    } else {
        MOST_AT_ONCE.max(backups.len() * MOST_PERCENT / 100)
    };
    let mut decisions: Vec<Decision> = keep.reasons.iter().cloned().map(Decision::Keep).collect();
    let mut deleted = 0;
    // The oldest are deleted first.
    for index in keep.newest_first.into_iter().rev() {
        if keep.reasons[index].is_empty() {
            decisions[index] = match overdue {
                Some(why) => Decision::Postpone(why.to_owned()),
                None if backups[index].in_use => {
                    Decision::Postpone("in use by a restore or drill".into())
                }
                None if deleted == most => Decision::Postpone(format!(
                    "one run deletes at most {most}; the next run continues, or use --force"
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
    /// Whether it is usable and failed no drill.
    fn is_sound(&self) -> bool {
        self.usable && self.failed_at.is_none()
    }

    /// Whether it is verified, by all that is known.
    fn is_good(&self) -> bool {
        self.is_sound() && self.verified
    }
}

/// The backups kept so far, with the reasons.
struct Keep<'a> {
    backups: &'a [Candidate],
    /// Indices into `backups`, ordered by snapshot time.
    newest_first: Vec<usize>,
    /// The reasons for keeping each.
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

    /// The usable ones, newest first.
    fn usable(&self) -> Vec<usize> {
        self.those(|backup| backup.usable)
    }

    fn those(&self, which: impl Fn(&Candidate) -> bool) -> Vec<usize> {
        let newest_first = self.newest_first.iter().copied();
        newest_first
            .filter(|index| which(&self.backups[*index]))
            .collect()
    }

    /// The usable ones that failed no drill, newest first.
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

    /// Keeps the backups that are protected whatever the rules.
    fn protect(&mut self) {
        match self.usable().first() {
            Some(newest) => self.keep([*newest], "the newest"),
            None => {
                let newest = self.newest_first.first().copied();
                self.keep(newest, "the newest; all are suspect");
            }
        }
        let verified = self.those(|backup| backup.usable && backup.verified);
        self.keep(verified.first().copied(), "the newest verified");
        let another = |of: &[usize], all: &[usize]| {
            of.first().copied().filter(|one| all.first() != Some(one))
        };
        let sound = another(&self.sound(), &self.usable());
        self.keep(sound, "the newest that failed no drill");
        let good = another(&self.those(Candidate::is_good), &verified);
        self.keep(good, "the newest verified without a later failure");
        let pinned = self.those(|backup| backup.pinned);
        self.keep(pinned, PINNED);
    }

    fn by_rules(&mut self, rules: &Rules) {
        let good = self.those(Candidate::is_good);
        self.keep(good.into_iter().take(rules.verified), "verified");
        for those in [self.usable(), self.sound()] {
            self.by_time(&those, rules);
        }
        for (name, value) in &rules.labels {
            let labelled = self.those(|backup| backup.labels.get(name) == Some(value));
            self.keep(labelled, &format!("label {name}={value}"));
        }
    }

    /// Applies the rules for numbers and periods to the given backups, newest first.
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

    /// Keeps the newest backup of each of the last `count` periods that have one.
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

    /// Keeps what is not trusted: a key that is missing among the allowed signers says nothing about the data.
    fn refused(&mut self) {
        let refused = self.those(|backup| backup.refused);
        self.keep(
            refused,
            "its signature is not trusted: allow its signer, or delete it by hand",
        );
    }

    fn suspect(&mut self, rules: &Rules, now: Timestamp) {
        let newest = self
            .usable()
            .first()
            .map(|index| self.backups[*index].snapshot_at);
        for index in self.those(|backup| !backup.usable) {
            let at = self.backups[index].snapshot_at;
            if newest.is_none_or(|newest| at > newest) {
                self.keep([index], "suspect, with no newer usable backup");
            } else if now.duration_since(at) < rules.suspect {
                let why = format!("suspect for less than {}", span(rules.suspect));
                self.keep([index], &why);
            }
        }
    }

    /// Keeps failed backups for inspection as long as suspect ones.
    fn failed(&mut self, rules: &Rules, now: Timestamp) {
        let newest = self.sound().first().copied();
        let newest = newest.map(|index| self.backups[index].snapshot_at);
        for index in self.newest_first.clone() {
            let backup = &self.backups[index];
            let Some(failed_at) = backup.failed_at.filter(|_| backup.usable) else {
                continue;
            };
            if newest.is_none_or(|newest| backup.snapshot_at > newest) {
                self.keep([index], "failed a drill, with no newer backup that did not");
            } else if now.duration_since(failed_at) < rules.suspect {
                let why = format!("failed a drill less than {} ago", span(rules.suspect));
                self.keep([index], &why);
            }
        }
    }
}

#[cfg(test)]
mod tests;
