//! Decides which frame is fetched next, and which frame a lane loads next. Pure: [`super::supply`] fetches.
//!
//! Two lanes on one table wait for each other's pages and, on some servers, for its AUTO_INCREMENT lock. So the frames
//! of a table form a group, and a lane keeps to its group: it takes the next frame of it, else of a group without a
//! lane. It shares a group with another lane only if no other frame is ready, being fetched, or next to be fetched.
//! Where a server makes two LOAD DATA into one table wait for each other, a lane has such a table to itself until another
//! one has nothing else to do; from then on the table is shared, and its rows are loaded in another way: statements of
//! both kinds at a time would wait for each other until the table ends. Frames with rows of non-transactional tables form
//! one group, which is loaded in order, one frame at a time.
//!
//! Memory: the frames that are fetched, waiting and being loaded share a budget in bytes. A frame larger than the
//! budget waits until it is alone. Lanes cannot wait for each other forever: a frame that waits belongs to a group
//! without a lane, or to one whose lane takes it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::archive::index::FrameRecord;
use crate::restore::frames::read_ahead::{executed_bytes, most_bytes};
use crate::util::error::Result;

/// Maximum number of frames that are fetched or wait; only matters for the smallest frames.
const MAX_WAITING: usize = 16;

/// Frames that lanes prefer to load by one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Frames with rows of this table only; small tables share frames.
    Table(u32),
    /// Frames with rows of non-transactional tables.
    InOrder,
    /// Frames without rows to load, which are only verified.
    Unwanted,
}

/// The frames that are left to fetch.
pub enum Sequence {
    /// All frames in the order of the archive, as the digests of its segments require.
    ByPosition(Box<dyn Iterator<Item = Result<(Group, FrameRecord)>> + Send>),
    /// The frames of each group in order; the largest group first, so that its lane is not the last one to end.
    ByGroup(VecDeque<(Group, VecDeque<FrameRecord>)>),
}

impl Sequence {
    /// The wanted frames by group.
    pub fn by_group(frames: impl IntoIterator<Item = (Group, FrameRecord)>) -> Sequence {
        let mut groups: BTreeMap<Group, VecDeque<FrameRecord>> = BTreeMap::new();
        for (group, record) in frames {
            groups.entry(group).or_default().push_back(record);
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        let bytes = |frames: &VecDeque<FrameRecord>| frames.iter().map(|frame| frame.raw).sum();
        groups.sort_by_cached_key(|(_, frames)| std::cmp::Reverse::<u64>(bytes(frames)));
        Sequence::ByGroup(groups.into())
    }
}

/// What a lane does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<T> {
    /// It loads this frame.
    Load(Order<T>),
    /// It asks again after a change.
    Wait,
    /// There are no more frames.
    End,
}

/// A frame for a lane.
#[derive(Debug, PartialEq, Eq)]
pub struct Order<T> {
    /// The frame.
    pub frame: T,
    /// Whether no other lane loads frames of its group until it is loaded; only for groups that need it.
    pub exclusive: bool,
}

/// What can be fetched.
pub enum Fetch {
    /// This frame; the budget has a share for it.
    Frame(Group, FrameRecord),
    /// Nothing until something else was loaded.
    Full,
    /// There are no more frames.
    End,
}

/// A lane.
#[derive(Debug, Clone, Default)]
struct Lane {
    /// The group that it keeps to.
    group: Option<Group>,
    /// The frame that it loads.
    loading: Option<u64>,
    /// Whether it must be the only one that loads frames of the group.
    exclusive: bool,
}

/// The frames in flight, by state, and the lanes. `T` is a fetched frame.
pub struct Dispatch<T> {
    sequence: Sequence,
    /// The next frame by position.
    peeked: Option<(Group, FrameRecord)>,
    /// Frames being fetched: number, group.
    fetching: BTreeMap<u64, Group>,
    /// Frames to load, by number.
    ready: BTreeMap<u64, (Group, T)>,
    lanes: Vec<Lane>,
    /// Groups of which each is best loaded by one lane.
    exclusive: BTreeSet<Group>,
    /// Those of them that are shared nevertheless.
    shared: BTreeSet<Group>,
    /// Bytes of each frame in flight.
    shares: BTreeMap<u64, u64>,
    budget: u64,
}

impl<T> Dispatch<T> {
    /// No frames in flight. `exclusive`: groups that lanes should not share. `budget`: bytes.
    pub fn new(sequence: Sequence, lanes: usize, exclusive: BTreeSet<Group>, budget: u64) -> Self {
        Dispatch {
            sequence,
            peeked: None,
            fetching: BTreeMap::new(),
            ready: BTreeMap::new(),
            lanes: vec![Lane::default(); lanes],
            exclusive,
            shared: BTreeSet::new(),
            shares: BTreeMap::new(),
            budget,
        }
    }

    /// Reserves a share of the budget for the next frame.
    pub fn fetch(&mut self) -> Result<Fetch> {
        let Some((group, record)) = self.next_to_fetch()? else {
            return Ok(Fetch::End);
        };
        if !self.admits(&record) {
            return Ok(Fetch::Full);
        }
        self.peeked = None;
        if let Sequence::ByGroup(groups) = &mut self.sequence
            && let Some(at) = groups.iter().position(|(of, _)| *of == group)
        {
            groups[at].1.pop_front();
            if groups[at].1.is_empty() {
                groups.remove(at);
            }
        }
        self.fetching.insert(record.n, group);
        self.shares.insert(record.n, most_bytes(&record));
        Ok(Fetch::Frame(group, record))
    }

    /// A frame was fetched; those of [`Group::Unwanted`] end here.
    pub fn fetched(&mut self, record: &FrameRecord, frame: T) {
        let group = self.fetching.remove(&record.n);
        match group {
            Some(Group::Unwanted) | None => {
                self.shares.remove(&record.n);
            }
            Some(group) => {
                self.shares.insert(record.n, executed_bytes(record));
                self.ready.insert(record.n, (group, frame));
            }
        }
    }

    /// The lane has loaded its frame.
    pub fn loaded(&mut self, lane: usize) {
        let lane = &mut self.lanes[lane];
        lane.exclusive = false;
        if let Some(n) = lane.loading.take() {
            self.shares.remove(&n);
        }
    }

    /// The next frame of a lane that has loaded its last one.
    pub fn next(&mut self, lane: usize) -> Result<Next<T>> {
        let own = self.lanes[lane].group;
        let others = self.lanes.iter().enumerate().filter(|(n, _)| *n != lane);
        let others: Vec<Group> = others.filter_map(|(_, lane)| lane.group).collect();
        let ready = self.ready.iter().filter(|(n, _)| self.may_load(**n));
        let ready: Vec<(u64, Group)> = ready.map(|(n, (group, _))| (*n, *group)).collect();
        let of_own = ready.iter().find(|(_, group)| Some(*group) == own);
        let of_free = || ready.iter().find(|(_, group)| !others.contains(group));
        let chosen = match of_own.or_else(of_free) {
            Some(chosen) => Some(chosen),
            None => {
                let is_better = |group: Group| Some(group) == own || !others.contains(&group);
                let mut fetching = self.fetching.values();
                if fetching.any(|group| *group != Group::Unwanted && is_better(*group)) {
                    return Ok(Next::Wait);
                }
                match self.next_to_fetch()? {
                    // It is fetched at once.
                    Some((group, record)) if is_better(group) && self.admits(&record) => {
                        return Ok(Next::Wait);
                    }
                    None if self.ready.is_empty() && self.fetching.is_empty() => {
                        return Ok(Next::End);
                    }
                    _ => {}
                }
                let on = |group: Group| others.iter().filter(|other| **other == group).count();
                ready.iter().min_by_key(|(n, group)| (on(*group), *n))
            }
        };
        let Some(&(n, group)) = chosen else {
            return Ok(Next::Wait);
        };
        let mut exclusive = self.exclusive.contains(&group) && !self.shared.contains(&group);
        if exclusive && (others.contains(&group) || own != Some(group) && self.is_last(group)) {
            self.shared.insert(group);
            exclusive = false;
        }
        let has_it_alone = |lane: &Lane| lane.group == Some(group) && lane.exclusive;
        if self.lanes.iter().any(has_it_alone) {
            return Ok(Next::Wait);
        }
        let Some((_, frame)) = self.ready.remove(&n) else {
            return Ok(Next::Wait);
        };
        self.lanes[lane] = Lane {
            group: Some(group),
            loading: Some(n),
            exclusive,
        };
        Ok(Next::Load(Order { frame, exclusive }))
    }

    /// Whether the other lanes have no other group to load.
    fn is_last(&self, group: Group) -> bool {
        let is_other = |other: &Group| *other != group && *other != Group::Unwanted;
        let in_flight = self.fetching.values();
        let in_flight = in_flight.chain(self.ready.values().map(|(group, _)| group));
        let is_left = match &self.sequence {
            Sequence::ByPosition(_) => self.peeked.iter().any(|(group, _)| is_other(group)),
            Sequence::ByGroup(groups) => groups.iter().any(|(group, _)| is_other(group)),
        };
        self.lanes.len() > 1 && !is_left && !in_flight.into_iter().any(is_other)
    }

    /// The lane has ended.
    pub fn leave(&mut self, lane: usize) {
        self.loaded(lane);
        self.lanes[lane].group = None;
    }

    /// Whether a ready frame may be loaded now, as far as frames of its group have an order.
    fn may_load(&self, n: u64) -> bool {
        if self.ready.get(&n).map(|(group, _)| *group) != Some(Group::InOrder) {
            return true;
        }
        let is_loading = self
            .lanes
            .iter()
            .any(|lane| lane.group == Some(Group::InOrder) && lane.loading.is_some());
        let earlier = |(other, group): (&u64, &Group)| *other < n && *group == Group::InOrder;
        let ready = self.ready.iter().map(|(other, (group, _))| (other, group));
        !is_loading && !self.fetching.iter().chain(ready).any(earlier)
    }

    fn admits(&self, record: &FrameRecord) -> bool {
        let used: u64 = self.shares.values().sum();
        let waiting = self.fetching.len() + self.ready.len();
        used == 0 || waiting < MAX_WAITING && used.saturating_add(most_bytes(record)) <= self.budget
    }

    /// By group: of as many groups as there are lanes, that with the fewest frames ahead.
    fn next_to_fetch(&mut self) -> Result<Option<(Group, FrameRecord)>> {
        match &mut self.sequence {
            Sequence::ByPosition(frames) => {
                if self.peeked.is_none() {
                    self.peeked = frames.next().transpose()?;
                }
                Ok(self.peeked.clone())
            }
            Sequence::ByGroup(groups) => {
                let ahead = |of: Group| {
                    let ready = self.ready.values().map(|(group, _)| group);
                    let all = self.fetching.values().chain(ready);
                    all.filter(|group| **group == of).count()
                };
                let active = groups.iter().take(self.lanes.len().max(1));
                let next = active.min_by_key(|(group, _)| ahead(*group));
                Ok(next.and_then(|(group, frames)| Some((*group, frames.front()?.clone()))))
            }
        }
    }
}

#[cfg(test)]
#[path = "dispatch_tests.rs"]
mod tests;
