//! Global transaction ids and sets of them, of both flavours, as the servers write them.
//!
//! MySQL: sets of numbers per server and tag, `3e11fa47-…:1-5:7,3e11fa47-…:tag:1`. MariaDB: the last
//! transaction of each domain, `0-1-59,2-7-4`; whatever is not above it in its domain belongs to it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

use crate::{Error, Result};

/// Who numbers transactions of MySQL: the server's UUID, and a tag, empty for most.
pub type Origin = (u128, String);

/// One transaction.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Gtid {
    /// Of MySQL.
    MySql(Origin, u64),
    /// Of MariaDB.
    MariaDb {
        /// Its stream of transactions.
        domain: u32,
        /// The server that wrote it.
        server: u32,
        /// Its number, ascending within the domain.
        sequence: u64,
    },
}

impl fmt::Display for Gtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Gtid::MySql(origin, number) => write!(f, "{}:{number}", shown(origin)),
            Gtid::MariaDb {
                domain,
                server,
                sequence,
            } => write!(f, "{domain}-{server}-{sequence}"),
        }
    }
}

/// A set of transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GtidSet {
    /// Of MySQL: ascending, disjoint, not adjoining intervals, both ends included.
    MySql(BTreeMap<Origin, Vec<(u64, u64)>>),
    /// Of MariaDB: the last server and number of each domain.
    MariaDb(BTreeMap<u32, (u32, u64)>),
}

impl GtidSet {
    /// Whether any of them has a tag.
    pub fn has_tags(&self) -> bool {
        match self {
            GtidSet::MySql(origins) => origins.keys().any(|(_, tag)| !tag.is_empty()),
            GtidSet::MariaDb(_) => false,
        }
    }

    /// A set of nothing.
    pub fn empty(mariadb: bool) -> GtidSet {
        match mariadb {
            true => GtidSet::MariaDb(BTreeMap::new()),
            false => GtidSet::MySql(BTreeMap::new()),
        }
    }

    /// Reads a set as a server writes it; white space is ignored.
    pub fn parse(mariadb: bool, text: &str) -> Result<GtidSet> {
        let wrong = || Error::source(format!("{text:?} is not a set of GTIDs"));
        let text: String = text.split_whitespace().collect();
        let mut set = GtidSet::empty(mariadb);
        for part in text.split(',').filter(|part| !part.is_empty()) {
            match mariadb {
                true => set.add(&mariadb_gtid(part).ok_or_else(wrong)?),
                false => set.add_mysql(part).ok_or_else(wrong)?,
            }
        }
        Ok(set)
    }

    fn add_mysql(&mut self, part: &str) -> Option<()> {
        let mut words = part.split(':');
        let uuid = uuid(words.next()?)?;
        let mut tag = String::new();
        let mut any = false;
        for word in words {
            if !word.starts_with(|c: char| c.is_ascii_digit()) {
                tag = word.to_owned();
                continue;
            }
            let (from, to) = word.split_once('-').unwrap_or((word, word));
            let (from, to): (u64, u64) = (from.parse().ok()?, to.parse().ok()?);
            if from == 0 || from > to {
                return None;
            }
            self.add_interval((uuid, tag.clone()), from, to);
            any = true;
        }
        any.then_some(())
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        match self {
            GtidSet::MySql(origins) => origins.is_empty(),
            GtidSet::MariaDb(domains) => domains.is_empty(),
        }
    }

    /// Adds a transaction; one of the other flavour changes nothing.
    pub fn add(&mut self, gtid: &Gtid) {
        match (self, gtid) {
            (set @ GtidSet::MySql(_), Gtid::MySql(origin, number)) => {
                set.add_interval(origin.clone(), *number, *number);
            }
            (
                GtidSet::MariaDb(domains),
                Gtid::MariaDb {
                    domain,
                    server,
                    sequence,
                },
            ) => {
                let last = domains.entry(*domain).or_insert((*server, *sequence));
                if *sequence >= last.1 {
                    *last = (*server, *sequence);
                }
            }
            _ => {}
        }
    }

    pub(super) fn add_interval(&mut self, origin: Origin, mut from: u64, mut to: u64) {
        let GtidSet::MySql(origins) = self else {
            return;
        };
        let intervals = origins.entry(origin).or_default();
        // The usual case: the next number of the last interval.
        if let Some(last) = intervals.last_mut()
            && from == last.1.saturating_add(1)
        {
            last.1 = to;
            return;
        }
        let begin = intervals.partition_point(|(_, end)| end.saturating_add(1) < from);
        let end = intervals.partition_point(|(start, _)| *start <= to.saturating_add(1));
        if begin < end {
            from = from.min(intervals[begin].0);
            to = to.max(intervals[end - 1].1);
        }
        intervals.splice(begin..end, [(from, to)]);
    }

    /// Adds all of another set.
    pub fn extend(&mut self, other: &GtidSet) {
        match (&mut *self, other) {
            (GtidSet::MySql(_), GtidSet::MySql(origins)) => {
                for (origin, intervals) in origins {
                    for (from, to) in intervals {
                        self.add_interval(origin.clone(), *from, *to);
                    }
                }
            }
            (GtidSet::MariaDb(_), GtidSet::MariaDb(domains)) => {
                for (&domain, &(server, sequence)) in domains {
                    self.add(&Gtid::MariaDb {
                        domain,
                        server,
                        sequence,
                    });
                }
            }
            _ => {}
        }
    }

    /// Whether a transaction is in it.
    pub fn contains(&self, gtid: &Gtid) -> bool {
        match (self, gtid) {
            (GtidSet::MySql(origins), Gtid::MySql(origin, number)) => {
                let Some(intervals) = origins.get(origin) else {
                    return false;
                };
                let at = intervals.partition_point(|(_, end)| end < number);
                intervals.get(at).is_some_and(|(start, _)| start <= number)
            }
            (
                GtidSet::MariaDb(domains),
                Gtid::MariaDb {
                    domain, sequence, ..
                },
            ) => domains
                .get(domain)
                .is_some_and(|(_, last)| sequence <= last),
            _ => false,
        }
    }

    /// What is in this set and not in `other`.
    pub fn minus(&self, other: &GtidSet) -> GtidSet {
        match (self, other) {
            (GtidSet::MySql(ours), GtidSet::MySql(theirs)) => {
                let mut left = BTreeMap::new();
                for (origin, intervals) in ours {
                    let holes = theirs.get(origin).map(Vec::as_slice).unwrap_or_default();
                    let rest: Vec<(u64, u64)> = intervals
                        .iter()
                        .flat_map(|one| without(*one, holes))
                        .collect();
                    if !rest.is_empty() {
                        left.insert(origin.clone(), rest);
                    }
                }
                GtidSet::MySql(left)
            }
            (GtidSet::MariaDb(ours), GtidSet::MariaDb(theirs)) => {
                let beyond = ours.iter().filter(|(domain, (_, sequence))| {
                    theirs.get(domain).is_none_or(|(_, last)| last < sequence)
                });
                GtidSet::MariaDb(beyond.map(|(domain, last)| (*domain, *last)).collect())
            }
            _ => self.clone(),
        }
    }

    /// Whether a server that has executed `past` may go on behind this set: it has nothing beyond it, and of MariaDB no other
    /// server's transaction with the same number at its end.
    pub fn continues(&self, past: &GtidSet) -> bool {
        let same_servers = match (self, past) {
            (GtidSet::MariaDb(ours), GtidSet::MariaDb(theirs)) => {
                theirs.iter().all(|(domain, end)| {
                    let same =
                        |(server, sequence): &(u32, u64)| end.1 != *sequence || end.0 == *server;
                    ours.get(domain).is_none_or(same)
                })
            }
            _ => true,
        };
        same_servers && self.covers(past)
    }

    /// Whether all of `other` is in this set.
    pub fn covers(&self, other: &GtidSet) -> bool {
        other.minus(self).is_empty()
    }
}

impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GtidSet::MySql(origins) => {
                for (n, (origin, intervals)) in origins.iter().enumerate() {
                    f.write_str(if n == 0 { "" } else { "," })?;
                    f.write_str(&shown(origin))?;
                    for (from, to) in intervals {
                        match from == to {
                            true => write!(f, ":{from}")?,
                            false => write!(f, ":{from}-{to}")?,
                        }
                    }
                }
            }
            GtidSet::MariaDb(domains) => {
                for (n, (domain, (server, sequence))) in domains.iter().enumerate() {
                    f.write_str(if n == 0 { "" } else { "," })?;
                    write!(f, "{domain}-{server}-{sequence}")?;
                }
            }
        }
        Ok(())
    }
}

/// The parts of one interval that are in none of the ascending `holes`.
fn without((from, to): (u64, u64), holes: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let (mut parts, mut next) = (Vec::new(), from);
    for &(start, end) in holes {
        if end < next {
            continue;
        }
        if start > to {
            break;
        }
        if start > next {
            parts.push((next, start - 1));
        }
        match end.checked_add(1) {
            Some(after) => next = after,
            None => return parts,
        }
    }
    if next <= to {
        parts.push((next, to));
    }
    parts
}

fn mariadb_gtid(text: &str) -> Option<Gtid> {
    let mut parts = text.split('-');
    let gtid = Gtid::MariaDb {
        domain: parts.next()?.parse().ok()?,
        server: parts.next()?.parse().ok()?,
        sequence: parts.next()?.parse().ok()?,
    };
    parts.next().is_none().then_some(gtid)
}

fn uuid(text: &str) -> Option<u128> {
    let digits: String = text.split('-').collect();
    let shape = text.len() == 36 && digits.len() == 32;
    shape.then(|| u128::from_str_radix(&digits, 16).ok())?
}

fn shown((uuid, tag): &Origin) -> String {
    let hex = format!("{uuid:032x}");
    let colon = if tag.is_empty() { "" } else { ":" };
    let parts = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    format!("{}{colon}{tag}", parts.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "4e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn mysql(text: &str) -> GtidSet {
        GtidSet::parse(false, &text.replace('A', A).replace('B', B)).unwrap()
    }

    fn mariadb(text: &str) -> GtidSet {
        GtidSet::parse(true, text).unwrap()
    }

    #[test]
    fn nobody_goes_on_behind_a_set_who_went_another_way() {
        let continues = |mariadb, end: &str, past: &str| {
            let of = |text| GtidSet::parse(mariadb, text).unwrap();
            of(end).continues(&of(past))
        };
        assert!(continues(true, "0-1-100,2-7-5", "0-1-99,2-7-5"));
        assert!(!continues(true, "0-1-100", "0-1-101"));
        assert!(!continues(true, "0-1-100", "0-2-100"), "of another server");
        assert!(!continues(true, "0-1-100", "0-1-100,1-1-1"));
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        assert!(continues(
            false,
            &format!("{uuid}:1-9"),
            &format!("{uuid}:1-7")
        ));
        assert!(!continues(
            false,
            &format!("{uuid}:1-9"),
            &format!("{uuid}:1-10")
        ));
    }

    #[test]
    fn sets_are_written_as_the_servers_write_them() {
        for (given, written) in [
            ("A:1-5,\n B:1-77", "A:1-5,B:1-77"),
            ("A:3:1:2", "A:1-3"),
            ("A:1-5:tag:1-3:9", "A:1-5,A:tag:1-3:9"),
            ("A:1-5:7", "A:1-5:7"),
            ("", ""),
        ] {
            let written = written.replace('A', A).replace('B', B);
            assert_eq!(mysql(given).to_string(), written);
        }
        assert_eq!(mariadb("2-7-4,0-1-59").to_string(), "0-1-59,2-7-4");
        for wrong in ["x", "A:0", "A:5-1", "A", "A:1-"] {
            assert!(
                GtidSet::parse(false, &wrong.replace('A', A)).is_err(),
                "{wrong}"
            );
        }
        assert!(GtidSet::parse(true, "0-1").is_err());
    }

    #[test]
    fn differences_are_what_the_server_computes() {
        for (one, other, left) in [
            ("A:1-10", "A:3-4:8", "A:1-2:5-7:9-10"),
            ("A:1-10", "A:1-20", ""),
            ("A:1-10,B:1", "A:1-10", "B:1"),
            ("A:5", "B:5", "A:5"),
        ] {
            assert_eq!(
                mysql(one).minus(&mysql(other)),
                mysql(left),
                "{one} {other}"
            );
        }
        assert!(mariadb("0-1-59").covers(&mariadb("0-9-59")));
        assert!(!mariadb("0-1-59").covers(&mariadb("0-1-59,1-1-1")));
        assert_eq!(
            mariadb("0-1-60").minus(&mariadb("0-1-59")),
            mariadb("0-1-60")
        );
    }

    proptest::proptest! {
        #[test]
        fn a_set_holds_what_was_put_into_it(
            ours in proptest::collection::vec(1u64..40, 0..30),
            theirs in proptest::collection::vec(1u64..40, 0..30),
        ) {
            let gtid = |number| Gtid::MySql((7, String::new()), number);
            let set = |numbers: &[u64]| {
                let mut set = GtidSet::empty(false);
                numbers.iter().for_each(|number| set.add(&gtid(*number)));
                set
            };
            let (one, other) = (set(&ours), set(&theirs));
            let left = one.minus(&other);
            let mut both = one.clone();
            both.extend(&other);
            for number in 1..40 {
                let (a, b) = (ours.contains(&number), theirs.contains(&number));
                proptest::prop_assert_eq!(one.contains(&gtid(number)), a);
                proptest::prop_assert_eq!(left.contains(&gtid(number)), a && !b);
                proptest::prop_assert_eq!(both.contains(&gtid(number)), a || b);
            }
            proptest::prop_assert_eq!(GtidSet::parse(false, &both.to_string()).unwrap(), both);
        }
    }
}
