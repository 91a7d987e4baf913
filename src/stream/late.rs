//! When the archive was behind: what a disaster would have cost then is part of the worst RPO of the last 30 days, and
//! nothing in the archive shows it once the log has been caught up with.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::binlog::record::Late;
use crate::util::times::{after, before, days, minutes, signed};

/// For how long it is remembered: the window of the RPO.
const KEPT: SignedDuration = days(30);

/// Being behind by up to one cut and this much is how a streamer works: it reports each 30 seconds.
const USUAL: SignedDuration = minutes(1);

/// How many are remembered.
const MOST: usize = 100;

/// Notes, at a heartbeat, if what it covers comes late: `reported` is what the one before covered.
pub(super) fn note(
    late: &mut Vec<Late>,
    reported: Option<Timestamp>,
    covered: Option<Timestamp>,
    now: Timestamp,
    cut: Duration,
) {
    let since = before(now, KEPT);
    late.retain(|one| one.to > since);
    let (Some(from), Some(to)) = (reported, covered) else {
        return;
    };
    let usual = USUAL.saturating_add(signed(cut));
    if to <= from || now.duration_since(from) <= usual {
        return;
    }
    match late.last_mut().filter(|last| after(from, usual) < last.to) {
        // Still catching up.
        Some(last) => last.to = last.to.max(now),
        None => late.push(Late { from, to: now }),
    }
    if late.len() > MOST {
        let length = |one: &&Late| one.to.duration_since(one.from);
        let shortest = late.iter().min_by_key(length).copied();
        late.retain(|one| Some(*one) != shortest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// After heartbeats at these times that cover up to these.
    fn noted(heartbeats: &[(i64, i64)]) -> Vec<(i64, i64)> {
        let mut late = Vec::new();
        let mut reported = None;
        for (now, covered) in heartbeats {
            let cut = Duration::from_secs(10);
            note(&mut late, reported, Some(at(*covered)), at(*now), cut);
            reported = Some(at(*covered));
        }
        let pair = |one: &Late| (one.from.as_second(), one.to.as_second());
        late.iter().map(pair).collect()
    }

    #[test]
    fn a_streamer_that_works_is_never_late() {
        assert_eq!(
            noted(&[(30, 29), (60, 55), (99, 90), (129, 90), (160, 159)]),
            []
        );
    }

    #[test]
    fn an_outage_is_remembered_up_to_where_it_was_caught_up_with() {
        let outage = [
            (30, 29),
            (4000, 1000),
            (4030, 3000),
            (4060, 4058),
            (4090, 4089),
        ];
        assert_eq!(noted(&outage), [(29, 4060)]);
        let twice = [&outage[..], &[(9000, 8999)]].concat();
        assert_eq!(noted(&twice), [(29, 4060), (4089, 9000)]);
        let month = [&twice[..], &[(40 * 86_400, 40 * 86_400 - 1)]].concat();
        assert_eq!(noted(&month).len(), 1, "only the newest is within 30 days");
    }

    #[test]
    fn of_very_many_the_longest_are_remembered() {
        let heartbeats: Vec<(i64, i64)> =
            (1..200).map(|n| (n * 1000 + n, n * 1000 + n - 1)).collect();
        let late = noted(&heartbeats);
        assert_eq!(late.len(), MOST);
    }
}
