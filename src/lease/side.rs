//! Name of a side.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// Pattern of the names.
pub const PATTERN: &str = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";

/// One server of the two, and its keeper: lower-case letters, digits and inner hyphens, 1 to 63 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Side(String);

/// Who has the lease after a demotion, until a side is promoted.
const NOBODY: &str = "nobody";

impl Side {
    /// The holder that is no side.
    pub fn nobody() -> Side {
        Side(NOBODY.to_owned())
    }

    /// Whether this is the holder that is no side.
    pub fn is_nobody(&self) -> bool {
        self.0 == NOBODY
    }
}

impl FromStr for Side {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let good = (1..=63).contains(&name.len())
            && name.chars().all(inner)
            && !name.starts_with('-')
            && !name.ends_with('-');
        match good {
            true => Ok(Side(name.to_owned())),
            false => Err(Error::usage(format!("{name:?} is not the name of a side"))
                .hint("use lower-case letters, digits and inner hyphens, 63 at most, like eu-central-1")),
        }
    }
}

impl TryFrom<String> for Side {
    type Error = Error;

    fn try_from(name: String) -> Result<Self, Error> {
        name.parse()
    }
}

impl From<Side> for String {
    fn from(side: Side) -> String {
        side.0
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_and_the_parser_accept_the_same_names() {
        let pattern = regex::Regex::new(PATTERN).unwrap();
        let (long, longer) = ("x".repeat(63), "x".repeat(64));
        for name in [
            "a",
            "eu-central-1",
            "0",
            &long,
            &longer,
            "",
            "-a",
            "a-",
            "A",
            "a_b",
            "a b",
        ] {
            assert_eq!(
                pattern.is_match(name),
                name.parse::<Side>().is_ok(),
                "{name}"
            );
        }
        assert!(long.parse::<Side>().is_ok() && longer.parse::<Side>().is_err());
    }
}
