//! Which summaries count, and which one comes next: a pure function of their names.
//!
//! A summary of level N contains what those of lower levels contained, so that these no longer count. `prune` leaves less than
//! [`MOST_OF_A_LEVEL`] of each level: then it writes one of the level above, which replaces them. So N backups are in at most
//! `3 · log₄(N / 8)` summaries, 18 for 10,000, and those that backups added since; each was written as often as there are levels.

use std::cmp::Reverse;

use jiff::Timestamp;

use crate::layout::{MAX_SUMMARY_LEVEL, SummaryName};

/// How many summaries of one level there are before one of the next level replaces them.
const MOST_OF_A_LEVEL: usize = 3;

/// The summaries that count, the newest first: all but those that a later one of a higher level replaced, if that is one that
/// `replaces` others.
pub(super) fn live(
    mut listed: Vec<(SummaryName, Timestamp)>,
    replaces: impl Fn(&SummaryName) -> bool,
) -> Vec<SummaryName> {
    // By the clock of the store: the time in a name is what the writer claimed.
    listed.sort_by_key(|(name, modified)| Reverse((*modified, name.level, name.written)));
    let mut highest = 0;
    listed.retain(|(name, _)| {
        let is_live = name.level >= highest;
        if is_live && replaces(name) {
            highest = name.level;
        }
        is_live
    });
    listed.into_iter().map(|(name, _)| name).collect()
}

/// The level of the next summary of `prune`; a backup writes only level 0, of which there may be more.
pub(super) fn next(live: &[SummaryName]) -> u8 {
    let of = |level| live.iter().filter(|name| name.level == level).count();
    (0..MAX_SUMMARY_LEVEL)
        .find(|level| of(*level) < MOST_OF_A_LEVEL)
        .unwrap_or(MAX_SUMMARY_LEVEL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::BackupId;

    fn named(second: i64, level: u8) -> SummaryName {
        SummaryName {
            written: BackupId::new(at(second), 1),
            level,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// So many written one after the other; what counts then, as levels from the newest.
    fn written(count: i64) -> Vec<u8> {
        let mut listed = Vec::new();
        for second in 0..count {
            let level = next(&live(listed.clone(), |_| true));
            listed.push((named(second, level), at(second)));
        }
        live(listed, |_| true)
            .iter()
            .map(|name| name.level)
            .collect()
    }

    #[test]
    fn three_of_a_level_are_replaced_by_one_of_the_next() {
        let cases: [(i64, &[u8]); 8] = [
            (0, &[]),
            (1, &[0]),
            (3, &[0, 0, 0]),
            (4, &[1]),
            (5, &[0, 1]),
            (8, &[1, 1]),
            (15, &[0, 0, 0, 1, 1, 1]),
            (16, &[2]),
        ];
        for (count, levels) in cases {
            assert_eq!(written(count), levels, "{count}");
        }
        let most = (0..1_250).map(|count| written(count).len()).max();
        assert!(most <= Some(18), "{most:?}");
    }

    #[test]
    fn the_time_in_a_name_does_not_make_a_summary_newer() {
        let forged = named(9_999_999, 9);
        let later = named(2, 0);
        let listed = vec![(forged, at(1)), (later, at(2))];
        assert_eq!(live(listed, |_| true), [later, forged]);
    }

    #[test]
    fn a_summary_without_contents_replaces_no_other() {
        let (older, forged) = (named(1, 1), named(2, 9));
        let listed = vec![(older, at(1)), (forged, at(2))];
        assert_eq!(live(listed.clone(), |_| true), [forged]);
        assert_eq!(live(listed, |name| *name != forged), [forged, older]);
    }
}
