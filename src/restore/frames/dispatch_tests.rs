//! Lanes that load frames in steps: who loads what, and how much is in flight.

use super::*;
use crate::util::digest::{Sha256Digest, Xxh3Digest};

const MIB: u64 = 1 << 20;
/// Enough for two frames that are loaded and two that wait.
const BUDGET: u64 = 48 * MIB;

fn record(n: u64, raw: u64) -> FrameRecord {
    FrameRecord {
        n,
        stream: 0,
        segment: 0,
        offset: 0,
        stored: raw / 2,
        raw,
        sha256: Sha256Digest::of(""),
        xxh3: Xxh3Digest::of(b""),
        sections: Vec::new(),
        session: 0,
        tables: Vec::new(),
        rows: 0,
        longest: MIB,
    }
}

/// Frames of 8 MiB, numbered in order, of these groups.
fn frames(groups: &[Group]) -> Vec<(Group, FrameRecord)> {
    let numbered = groups.iter().zip(0..);
    numbered
        .map(|(group, n)| (*group, record(n, 8 * MIB)))
        .collect()
}

fn by_position(groups: &[Group]) -> Sequence {
    Sequence::ByPosition(Box::new(frames(groups).into_iter().map(Ok)))
}

/// Tables one after another, with this many frames each.
fn tables(lengths: &[usize]) -> Vec<Group> {
    let tables = lengths.iter().zip(0..);
    tables
        .flat_map(|(length, table)| vec![Group::Table(table); *length])
        .collect()
}

/// What a run of lanes did: each frame, with its lane, its group and whether the lane had the group to itself; in the
/// order in which the frames were handed out.
struct Run {
    loaded: Vec<(usize, u64, Group, bool)>,
    /// Number of frames that were handed out while another lane was on their group.
    shared: usize,
    /// The most bytes in flight.
    peak: u64,
}

impl Run {
    fn numbers(&self) -> Vec<u64> {
        let mut all: Vec<u64> = self.loaded.iter().map(|(_, n, ..)| *n).collect();
        all.sort_unstable();
        all
    }
}

/// Lanes that load a frame in as many steps as given for each, while one frame is fetched in each step.
fn run(sequence: Sequence, steps: &[u32], budget: u64) -> Run {
    run_exclusively(sequence, steps, budget, &[])
}

/// The same with groups that lanes should not share.
fn run_exclusively(sequence: Sequence, steps: &[u32], budget: u64, exclusive: &[Group]) -> Run {
    let exclusive = exclusive.iter().copied().collect();
    let mut dispatch: Dispatch<(u64, Group)> =
        Dispatch::new(sequence, steps.len(), exclusive, budget);
    let mut loading: Vec<Option<(Group, bool)>> = vec![None; steps.len()];
    let mut left: Vec<Option<u32>> = vec![Some(0); steps.len()];
    let mut fetching: VecDeque<(Group, FrameRecord)> = VecDeque::new();
    let mut run = Run {
        loaded: Vec::new(),
        shared: 0,
        peak: 0,
    };
    for _ in 0..100_000 {
        if left.iter().all(Option::is_none) {
            return run;
        }
        while let Fetch::Frame(group, record) = dispatch.fetch().unwrap() {
            fetching.push_back((group, record));
        }
        run.peak = run.peak.max(dispatch.shares.values().sum());
        if let Some((group, record)) = fetching.pop_front() {
            dispatch.fetched(&record, (record.n, group));
        }
        for (lane, left) in left.iter_mut().enumerate() {
            match left {
                None => continue,
                Some(steps) if *steps > 0 => {
                    *steps -= 1;
                    continue;
                }
                Some(_) => dispatch.loaded(lane),
            }
            loading[lane] = None;
            match dispatch.next(lane).unwrap() {
                Next::Load(order) => {
                    *left = Some(steps[lane]);
                    let (n, group) = order.frame;
                    run.loaded.push((lane, n, group, order.exclusive));
                    run.shared += usize::from(
                        dispatch
                            .lanes
                            .iter()
                            .filter(|lane| lane.group == Some(group))
                            .count()
                            > 1,
                    );
                    for (other, is_exclusive) in loading.iter().flatten() {
                        assert!(*other != group || !(order.exclusive || *is_exclusive));
                    }
                    loading[lane] = Some((group, order.exclusive));
                }
                Next::Wait => *left = Some(0),
                Next::End => {
                    dispatch.leave(lane);
                    *left = None;
                }
            }
        }
    }
    panic!("the lanes wait forever");
}

#[test]
fn lanes_keep_to_their_tables_when_tables_are_one_after_another() {
    let run = run(
        Sequence::by_group(frames(&tables(&[10; 4]))),
        &[5, 5],
        BUDGET,
    );
    assert_eq!(run.numbers(), (0..40).collect::<Vec<_>>());
    assert!(run.shared <= 1, "{:?}", run.loaded);
    assert!(run.peak <= BUDGET, "{}", run.peak);
}

#[test]
fn lanes_keep_to_their_tables_when_the_frames_of_tables_alternate() {
    let groups: Vec<Group> = (0..40).map(|n| Group::Table(n % 2)).collect();
    let run = run(by_position(&groups), &[5, 5], BUDGET);
    assert_eq!(run.numbers(), (0..40).collect::<Vec<_>>());
    assert!(run.shared <= 2, "{:?}", run.loaded);
}

#[test]
fn a_table_that_is_left_alone_is_loaded_by_all_lanes() {
    for sequence in [
        by_position(&tables(&[30])),
        Sequence::by_group(frames(&tables(&[30]))),
        Sequence::by_group(frames(&tables(&[27, 3]))),
    ] {
        let run = run(sequence, &[5, 5], BUDGET);
        assert_eq!(run.numbers(), (0..30).collect::<Vec<_>>());
        let of_first = run.loaded.iter().filter(|(lane, ..)| *lane == 0).count();
        assert!((14..=16).contains(&of_first), "{of_first}");
    }
}

#[test]
fn the_largest_table_is_begun_first() {
    let run = run(
        Sequence::by_group(frames(&tables(&[2, 2, 2, 12]))),
        &[5, 5],
        BUDGET,
    );
    assert_eq!(run.loaded[0].2, Group::Table(3));
    assert!(run.shared <= 7, "{:?}", run.loaded);
}

#[test]
fn frames_of_non_transactional_tables_are_loaded_in_order_one_at_a_time() {
    let groups: Vec<Group> = (0..30)
        .map(|n| match n % 3 {
            0 => Group::Table(7),
            _ => Group::InOrder,
        })
        .collect();
    for sequence in [by_position(&groups), Sequence::by_group(frames(&groups))] {
        let run = run(sequence, &[3, 5, 4], BUDGET);
        assert_eq!(run.numbers(), (0..30).collect::<Vec<_>>());
        let in_order = run.loaded.iter().filter(|one| one.2 == Group::InOrder);
        let in_order: Vec<u64> = in_order.map(|(_, n, ..)| *n).collect();
        assert!(in_order.is_sorted(), "{in_order:?}");
    }
    let mut dispatch = Dispatch::new(
        by_position(&[Group::InOrder; 2]),
        2,
        BTreeSet::new(),
        BUDGET,
    );
    let mut records = Vec::new();
    while let Fetch::Frame(_, record) = dispatch.fetch().unwrap() {
        records.push(record);
    }
    // The second one is fetched first.
    dispatch.fetched(&records[1], 1);
    assert_eq!(dispatch.next(0).unwrap(), Next::Wait);
    dispatch.fetched(&records[0], 0);
    assert!(matches!(dispatch.next(0).unwrap(), Next::Load(order) if order.frame == 0));
    assert_eq!(dispatch.next(1).unwrap(), Next::Wait);
    dispatch.loaded(0);
    assert!(matches!(dispatch.next(1).unwrap(), Next::Load(order) if order.frame == 1));
    assert_eq!(dispatch.next(0).unwrap(), Next::End);
}

#[test]
fn a_budget_that_is_full_of_one_table_stops_no_lane() {
    for lanes in 1..=8 {
        for budget in [1, 20 * MIB, 40 * MIB] {
            for groups in [tables(&[9, 1, 9]), tables(&[1; 20])] {
                for sequence in [by_position(&groups), Sequence::by_group(frames(&groups))] {
                    let run = run(sequence, &vec![4; lanes], budget);
                    assert_eq!(run.numbers(), (0..groups.len() as u64).collect::<Vec<_>>());
                    assert!(run.peak <= budget.max(16 * MIB), "{}", run.peak);
                }
            }
        }
    }
}

#[test]
fn frames_without_rows_to_load_are_fetched_and_not_loaded() {
    let groups = [Group::Unwanted, Group::Table(1), Group::Unwanted];
    let run = run(by_position(&groups), &[1, 1], BUDGET);
    assert_eq!(run.numbers(), [1]);
}

#[test]
fn a_frame_longer_than_the_budget_is_alone() {
    let mut all = frames(&tables(&[3]));
    all[1].1 = record(1, 100 * MIB);
    let run = run(Sequence::by_group(all), &[4, 4], BUDGET);
    assert_eq!(run.numbers(), [0, 1, 2]);
    assert_eq!(run.peak, 200 * MIB);
}

#[test]
fn a_lane_has_a_table_to_itself_while_the_others_have_another_one() {
    let tables: Vec<Group> = tables(&[10; 4]);
    let all: Vec<Group> = (0..4).map(Group::Table).collect();
    let run = run_exclusively(Sequence::by_group(frames(&tables)), &[5, 5], BUDGET, &all);
    assert_eq!(run.numbers(), (0..40).collect::<Vec<_>>());
    let exclusive = run.loaded.iter().filter(|(.., exclusive)| *exclusive);
    assert!(exclusive.count() >= 36, "{:?}", run.loaded);

    let alternating: Vec<Group> = (0..40).map(|n| Group::Table(n % 2)).collect();
    let run = run_exclusively(by_position(&alternating), &[5, 5], BUDGET, &all);
    let exclusive = run.loaded.iter().filter(|(.., exclusive)| *exclusive);
    assert!(exclusive.count() >= 36, "{:?}", run.loaded);
}

#[test]
fn a_table_that_is_shared_is_not_loaded_exclusively_again() {
    let of_two = [Group::Table(0), Group::Table(1)];
    for (sequence, lanes) in [
        (by_position(&tables(&[20, 20])), 2),
        (Sequence::by_group(frames(&tables(&[30]))), 3),
        (Sequence::by_group(frames(&tables(&[30, 3]))), 2),
        (Sequence::by_group(frames(&tables(&[9, 9]))), 4),
    ] {
        let steps = vec![5; lanes];
        let run = run_exclusively(sequence, &steps, BUDGET, &of_two);
        for table in of_two {
            let of_table = run.loaded.iter().filter(|one| one.2 == table);
            let exclusive: Vec<bool> = of_table.map(|(.., exclusive)| *exclusive).collect();
            assert!(
                exclusive.is_sorted_by_key(|exclusive| !exclusive),
                "{exclusive:?}"
            );
        }
        assert!(run.shared > 0);
    }
    let run = run_exclusively(by_position(&tables(&[20])), &[5], BUDGET, &of_two);
    assert!(run.loaded.iter().all(|(.., exclusive)| *exclusive));
}
