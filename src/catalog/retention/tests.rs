//! Tests of retention: each rule by example, and properties that hold for all rules.

use proptest::prelude::*;

use crate::catalog::retention::*;

fn backup(at: &str) -> Candidate {
    Candidate {
        snapshot_at: at.parse().unwrap(),
        usable: true,
        refused: false,
        verified: false,
        failed_at: None,
        pinned: false,
        in_use: false,
        labels: BTreeMap::new(),
    }
}

fn none() -> Rules {
    Rules {
        last: 0,
        daily: 0,
        weekly: 0,
        monthly: 0,
        yearly: 0,
        within: None,
        labels: BTreeMap::new(),
        verified: 0,
        suspect: SignedDuration::from_hours(24 * 14),
        zone: TimeZone::UTC,
    }
}

fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

fn failed_long_ago() -> Timestamp {
    now() - SignedDuration::from_hours(24 * 15)
}

/// The days of November 2026 whose backups at 02:00 are kept, out of all 21.
fn days_kept(rules: &Rules) -> Vec<usize> {
    let backups: Vec<Candidate> = (1..=21)
        .map(|day| backup(&format!("2026-11-{day:02}T02:00:00Z")))
        .collect();
    kept(&backups, rules)
        .iter()
        .map(|index| index + 1)
        .collect()
}

fn kept(backups: &[Candidate], rules: &Rules) -> Vec<usize> {
    let decisions = decide(backups, rules, now(), None, true);
    let kept = |decision: &Decision| matches!(decision, Decision::Keep(_));
    (0..backups.len())
        .filter(|index| kept(&decisions[*index]))
        .collect()
}

fn reasons(backups: &[Candidate], rules: &Rules, index: usize) -> Vec<String> {
    match &decide(backups, rules, now(), None, true)[index] {
        Decision::Keep(reasons) => reasons.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_rule_keeps_its_backups() {
    assert_eq!(days_kept(&none()), [21]);
    assert_eq!(days_kept(&Rules { last: 3, ..none() }), [19, 20, 21]);
    assert_eq!(days_kept(&Rules { daily: 2, ..none() }), [20, 21]);
    // The 21st is a Saturday.
    assert_eq!(
        days_kept(&Rules {
            weekly: 3,
            ..none()
        }),
        [8, 15, 21]
    );
    assert_eq!(
        days_kept(&Rules {
            monthly: 5,
            yearly: 5,
            ..none()
        }),
        [21]
    );
    let within = Some(SignedDuration::from_hours(48));
    assert_eq!(days_kept(&Rules { within, ..none() }), [19, 20, 21]);
}

#[test]
fn the_newest_of_a_day_is_kept_and_days_begin_in_the_zone() {
    let backups = [
        "2026-11-20T14:00:00Z",
        "2026-11-20T15:30:00Z",
        "2026-11-20T23:00:00Z",
    ]
    .map(backup);
    let daily = Rules { daily: 5, ..none() };
    assert_eq!(kept(&backups, &daily), [2]);
    let zone = TimeZone::get("Asia/Tokyo").unwrap();
    assert_eq!(kept(&backups, &Rules { zone, ..daily }), [0, 2]);
}

#[test]
fn days_without_a_backup_do_not_count() {
    let backups = [
        "2026-10-01T02:00:00Z",
        "2026-11-01T02:00:00Z",
        "2026-11-20T02:00:00Z",
    ]
    .map(backup);
    assert_eq!(kept(&backups, &Rules { daily: 2, ..none() }), [1, 2]);
}

#[test]
fn the_newest_verified_one_is_kept_forever() {
    let mut backups = [
        "2025-01-01T02:00:00Z",
        "2026-11-19T02:00:00Z",
        "2026-11-20T02:00:00Z",
    ]
    .map(backup);
    backups[0].verified = true;
    assert_eq!(kept(&backups, &none()), [0, 2]);
    assert_eq!(reasons(&backups, &none(), 0), ["the newest verified"]);
    // Also if it was found damaged later: it will be inspected.
    backups[0].failed_at = Some(failed_long_ago());
    assert_eq!(kept(&backups, &none()), [0, 2]);
    // But it is then not kept as a verified one.
    backups[1].verified = true;
    let verified = Rules {
        verified: 2,
        ..none()
    };
    assert_eq!(kept(&backups, &verified), [1, 2]);
    backups[0].failed_at = None;
    assert_eq!(kept(&backups, &verified), [0, 1, 2]);
}

#[test]
fn pins_and_labels_keep_backups_that_no_other_rule_keeps() {
    let mut backups = [
        "2024-01-01T02:00:00Z",
        "2025-01-01T02:00:00Z",
        "2026-11-20T02:00:00Z",
    ]
    .map(backup);
    backups[0].pinned = true;
    backups[1]
        .labels
        .insert("before".into(), "migration".into());
    assert_eq!(kept(&backups, &none()), [0, 2]);
    let labels = BTreeMap::from([("before".to_owned(), "migration".to_owned())]);
    assert_eq!(kept(&backups, &Rules { labels, ..none() }), [0, 1, 2]);
}

#[test]
fn suspect_ones_displace_none_and_are_deleted_after_the_time_for_inspection() {
    let mut backups = [
        "2026-11-01T02:00:00Z",
        "2026-11-02T02:00:00Z",
        "2026-11-10T02:00:00Z",
        "2026-11-11T02:00:00Z",
        "2026-11-12T02:00:00Z",
    ]
    .map(backup);
    for suspect in [0, 2, 4] {
        backups[suspect].usable = false;
    }
    // Good: 1 and 3. Of the suspect ones 0 is 20 days old, 2 awaits inspection, 4 is the newest.
    assert_eq!(kept(&backups, &Rules { last: 2, ..none() }), [1, 2, 3, 4]);
    assert_eq!(
        reasons(&backups, &none(), 2),
        ["suspect for less than 14 d"]
    );
    assert_eq!(
        reasons(&backups, &none(), 4),
        ["suspect, with no newer usable backup"]
    );
}

#[test]
fn one_that_failed_a_drill_displaces_none_and_is_kept_for_inspection() {
    let times = ["18T02", "19T02", "20T02", "20T14"];
    let mut backups = times.map(|time| backup(&format!("2026-11-{time}:00:00Z")));
    let last = Rules { last: 1, ..none() };
    let daily = Rules { daily: 1, ..none() };
    // The last one of the day failed: the one before it takes the day's place.
    backups[3].failed_at = Some(now());
    assert_eq!(kept(&backups, &last), [2, 3]);
    assert_eq!(kept(&backups, &daily), [2, 3]);
    backups[2].failed_at = Some(now());
    assert_eq!(kept(&backups, &daily), [1, 2, 3]);
    // One kept by no rule awaits inspection from the time of its failure.
    backups[0].failed_at = Some(now());
    let why = reasons(&backups, &none(), 0);
    assert_eq!(why, ["failed a drill less than 14 d ago"]);
    backups[0].failed_at = Some(failed_long_ago());
    assert_eq!(kept(&backups, &none()), [1, 2, 3]);
    assert_eq!(kept(&backups[..1], &none()), [0], "nothing better came");
}

#[test]
fn nothing_is_deleted_while_verification_is_overdue() {
    let backups: Vec<Candidate> = (1..=9)
        .map(|day| backup(&format!("2026-11-0{day}T02:00:00Z")))
        .collect();
    let decisions = decide(
        &backups,
        &none(),
        now(),
        Some("verification is overdue"),
        true,
    );
    assert_eq!(
        decisions[0],
        Decision::Postpone("verification is overdue".into())
    );
    assert!(!decisions.contains(&Decision::Delete));
}

#[test]
fn one_run_deletes_at_most_three_or_a_fifth_and_the_oldest_first() {
    let of = |count: usize, force: bool| {
        let hour = |n: usize| now() - SignedDuration::from_hours(n as i64);
        let backups: Vec<Candidate> = (0..count)
            .map(|n| Candidate {
                snapshot_at: hour(n),
                ..backup("2026-11-01T02:00:00Z")
            })
            .collect();
        let decisions = decide(&backups, &none(), now(), None, force);
        let gone = |decision: &&Decision| **decision == Decision::Delete;
        let tail = decisions.iter().rev().take_while(gone).count();
        assert_eq!(
            decisions.iter().filter(gone).count(),
            tail,
            "the oldest first"
        );
        tail
    };
    assert_eq!(of(10, false), 3);
    assert_eq!(of(2, false), 1);
    assert_eq!(of(100, false), 20);
    assert_eq!(of(100, true), 99);
}

#[test]
fn a_backup_that_is_being_read_is_kept_and_does_not_count_towards_the_limit() {
    let mut backups: Vec<Candidate> = (1..=9)
        .map(|day| backup(&format!("2026-11-0{day}T02:00:00Z")))
        .collect();
    backups[0].in_use = true;
    let decisions = decide(&backups, &none(), now(), None, false);
    assert_eq!(
        decisions[0],
        Decision::Postpone("in use by a restore or drill".into())
    );
    assert_eq!(
        decisions[1..4],
        [Decision::Delete, Decision::Delete, Decision::Delete]
    );
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let one = (0..10_000i64, any::<[bool; 4]>(), 0..8u8, 0..4u8).prop_map(
        |(hours, [verified, failed, _, _], odd, label)| Candidate {
            snapshot_at: now() - SignedDuration::from_hours(hours),
            usable: odd != 0,
            refused: false,
            verified,
            failed_at: failed.then(|| now() - SignedDuration::from_hours(hours / 2)),
            pinned: odd == 1,
            in_use: odd == 2,
            labels: BTreeMap::from([("l".to_owned(), label.to_string())]),
        },
    );
    proptest::collection::vec(one, 0..60)
}

fn rules() -> impl Strategy<Value = Rules> {
    let counts = proptest::array::uniform6(0..6usize);
    let within = proptest::option::of(0..2000i64);
    (counts, within, any::<bool>()).prop_map(
        |([last, daily, weekly, monthly, yearly, verified], within, label)| Rules {
            last,
            daily,
            weekly,
            monthly,
            yearly,
            verified,
            within: within.map(SignedDuration::from_hours),
            labels: label
                .then(|| ("l".to_owned(), "0".to_owned()))
                .into_iter()
                .collect(),
            ..none()
        },
    )
}

/// The newest of the matching backups.
fn newest(backups: &[Candidate], which: impl Fn(&Candidate) -> bool) -> Option<Timestamp> {
    backups
        .iter()
        .filter(|backup| which(backup))
        .map(|backup| backup.snapshot_at)
        .max()
}

proptest! {
    #[test]
    fn the_newest_the_newest_verified_the_pinned_and_the_last_one_are_never_deleted(
        backups in candidates(), rules in rules(), force in any::<bool>(),
    ) {
        let decisions = decide(&backups, &rules, now(), None, force);
        let left: Vec<Candidate> = backups.iter().zip(&decisions)
            .filter(|(_, decision)| **decision != Decision::Delete)
            .map(|(backup, _)| backup.clone())
            .collect();
        prop_assert_eq!(left.is_empty(), backups.is_empty());
        for which in [|b: &Candidate| b.usable, |b: &Candidate| b.usable && b.verified, Candidate::is_good, Candidate::is_sound, |_: &Candidate| true] {
            prop_assert_eq!(newest(&left, which), newest(&backups, which));
        }
        for which in [|b: &&Candidate| b.pinned, |b: &&Candidate| b.in_use] {
            prop_assert_eq!(left.iter().filter(which).count(), backups.iter().filter(which).count());
        }
        if !force {
            prop_assert!(backups.len() - left.len() <= 3.max(backups.len() / 5));
        }
        let good = |b: &&Candidate| b.usable && b.verified && b.failed_at.is_none();
        prop_assert!(left.iter().filter(good).count() >= rules.verified.min(backups.iter().filter(good).count()));
    }

    #[test]
    fn a_pin_deletes_no_other_backup(backups in candidates(), rules in rules(), which in any::<prop::sample::Index>()) {
        prop_assume!(!backups.is_empty());
        let mut pinned = backups.clone();
        pinned[which.index(backups.len())].pinned = true;
        let (before, after) = (kept(&backups, &rules), kept(&pinned, &rules));
        prop_assert!(before.iter().all(|index| after.contains(index)));
    }

    #[test]
    fn a_failed_drill_deletes_no_other_backup(
        backups in candidates(), rules in rules(), which in any::<prop::sample::Index>(),
    ) {
        prop_assume!(!backups.is_empty());
        let which = which.index(backups.len());
        let mut failed = backups.clone();
        failed[which].failed_at = Some(now());
        let (before, after) = (kept(&backups, &rules), kept(&failed, &rules));
        prop_assert!(before.iter().all(|index| after.contains(index)));
    }

    #[test]
    fn a_more_generous_rule_keeps_at_least_the_same_backups(backups in candidates(), rules in rules()) {
        let generous = Rules {
            last: rules.last + 1, daily: rules.daily + 1, weekly: rules.weekly + 1,
            monthly: rules.monthly + 1, yearly: rules.yearly + 1, verified: rules.verified + 1, ..rules.clone()
        };
        let (before, after) = (kept(&backups, &rules), kept(&backups, &generous));
        prop_assert!(before.iter().all(|index| after.contains(index)));
    }

    #[test]
    fn another_suspect_backup_deletes_no_good_one(backups in candidates(), rules in rules(), hours in 0..10_000i64) {
        let suspect = Candidate {
            snapshot_at: now() - SignedDuration::from_hours(hours), usable: false, ..backup("2026-11-01T02:00:00Z")
        };
        let more = [&backups[..], &[suspect]].concat();
        let good = |kept: Vec<usize>| -> Vec<usize> {
            kept.into_iter().filter(|index| *index < backups.len() && backups[*index].usable).collect()
        };
        prop_assert_eq!(good(kept(&backups, &rules)), good(kept(&more, &rules)));
    }

    #[test]
    fn a_second_run_finds_nothing_to_delete(backups in candidates(), rules in rules()) {
        let left: Vec<Candidate> = decide(&backups, &rules, now(), None, true).iter().zip(&backups)
            .filter(|(decision, _)| **decision != Decision::Delete)
            .map(|(_, backup)| backup.clone())
            .collect();
        prop_assert!(!decide(&left, &rules, now(), None, true).contains(&Decision::Delete));
    }

    #[test]
    fn the_order_of_the_list_changes_nothing(backups in candidates(), rules in rules()) {
        let mut backups = backups;
        backups.sort_by_key(|backup| backup.snapshot_at);
        backups.dedup_by_key(|backup| backup.snapshot_at);
        let mut decisions = decide(&backups, &rules, now(), None, false);
        backups.reverse();
        decisions.reverse();
        prop_assert_eq!(decisions, decide(&backups, &rules, now(), None, false));
    }
}

#[test]
fn no_backup_is_deleted_because_of_its_signature() {
    let refused = |day: u32| Candidate {
        usable: false,
        refused: true,
        ..backup(&format!("2026-{:02}-01T02:00:00Z", day))
    };
    let backups: Vec<Candidate> = (1..=10)
        .map(refused)
        .chain([backup("2026-11-20T02:00:00Z")])
        .collect();
    let rules = Rules { last: 1, ..none() };
    let decisions = decide(&backups, &rules, now(), None, true);
    assert!(
        decisions.iter().all(|one| matches!(one, Decision::Keep(_))),
        "{decisions:?}"
    );
}
