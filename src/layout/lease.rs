//! Names of the objects of the lease, below `<target>/leader/`.
//!
//! ```text
//! leader/<epoch>.json            which side took the epoch; <epoch> has 8 digits
//!       /<epoch>.renewed.json    rewritten by the holder while it keeps the lease
//!       /<epoch>.fenced.json     no holder of an earlier epoch is writable any more
//!       /<epoch>.released.json   the holder is read-only, and stays so
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Key, TargetName};

/// Number of a change of the writable side, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(u32);

impl Epoch {
    /// The first one.
    pub const FIRST: Epoch = Epoch(1);

    /// The last one that a name has room for.
    const LAST: u32 = 99_999_999;

    /// The one after it; `None` after the last.
    pub fn next(self) -> Option<Epoch> {
        let next = self.0.checked_add(1)?;
        (next <= Self::LAST).then_some(Epoch(next))
    }

    fn parse(digits: &str) -> Option<Epoch> {
        let number: u32 = digits.parse().ok()?;
        (1..=Self::LAST).contains(&number).then_some(Epoch(number))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One object of the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeaseObject {
    /// Which side took the epoch.
    Taken(Epoch),
    /// The renewals of its holder, the only object that is rewritten.
    Renewed(Epoch),
    /// Holders of earlier epochs cannot be writable any more.
    Fenced(Epoch),
    /// Its holder has given it up.
    Released(Epoch),
}

impl LeaseObject {
    /// Parses a name below `leader/`.
    pub fn parse(name: &str) -> Option<LeaseObject> {
        let (digits, word) = name.strip_suffix(".json")?.split_at_checked(8)?;
        let epoch = Epoch::parse(digits)?;
        let object = match word {
            "" => LeaseObject::Taken(epoch),
            ".renewed" => LeaseObject::Renewed(epoch),
            ".fenced" => LeaseObject::Fenced(epoch),
            ".released" => LeaseObject::Released(epoch),
            _ => return None,
        };
        // Only the exact spelling is a name.
        (object.to_string() == name).then_some(object)
    }
}

impl fmt::Display for LeaseObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (epoch, word) = match self {
            LeaseObject::Taken(epoch) => (epoch, ""),
            LeaseObject::Renewed(epoch) => (epoch, ".renewed"),
            LeaseObject::Fenced(epoch) => (epoch, ".fenced"),
            LeaseObject::Released(epoch) => (epoch, ".released"),
        };
        write!(f, "{:08}{word}.json", epoch.0)
    }
}

impl TargetName {
    /// Prefix of the lease: `shop/leader/`.
    pub fn leader(&self) -> Key {
        format!("{self}/leader/")
    }

    /// One object of the lease.
    pub fn lease_object(&self, object: LeaseObject) -> Key {
        format!("{self}/leader/{object}")
    }

    /// Parses a key into an object of the lease.
    pub fn parse_lease(&self, key: &str) -> Option<LeaseObject> {
        LeaseObject::parse(key.strip_prefix(&self.leader())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back_and_no_other_spelling_is() {
        let target: TargetName = "shop".parse().unwrap();
        let epoch = Epoch(12);
        for (object, name) in [
            (LeaseObject::Taken(epoch), "00000012.json"),
            (LeaseObject::Renewed(epoch), "00000012.renewed.json"),
            (LeaseObject::Fenced(epoch), "00000012.fenced.json"),
            (LeaseObject::Released(epoch), "00000012.released.json"),
        ] {
            let key = format!("shop/leader/{name}");
            assert_eq!(target.lease_object(object), key);
            assert_eq!(target.parse_lease(&key), Some(object));
        }
        for other in [
            "00000000.json",
            "12.json",
            "+0000012.json",
            "000000012.json",
            "00000012.json.sig",
            "00000012.kept.json",
            "é0000012.json",
        ] {
            let key = format!("shop/leader/{other}");
            assert_eq!(target.parse_lease(&key), None, "{other}");
        }
    }

    #[test]
    fn epochs_end_where_their_names_do() {
        assert_eq!(Epoch::FIRST.next(), Some(Epoch(2)));
        assert_eq!(Epoch(Epoch::LAST).next(), None);
    }
}
