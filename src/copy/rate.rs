//! The rate limit: how many bytes a second are read from the primary store.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::util::times::{from_seconds, instant_in};
use crate::{Error, Result};

/// Units, the longest first: `MiB` ends in `B`, too.
const UNITS: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

/// Pattern of a rate, for the schema of the configuration.
pub const PATTERN: &str = r"^[1-9][0-9]{0,9} ?([KMG]iB|[kMG]?B)(/s)?$";

/// Bytes per second, at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate(u64);

impl FromStr for Rate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Rate> {
        parse(text).ok_or_else(|| {
            Error::usage(format!("{text:?} is not a rate"))
                .hint("write a number and a unit, such as 50MiB/s; units are B, kB, MB, GB, KiB, MiB, GiB")
        })
    }
}

fn parse(text: &str) -> Option<Rate> {
    let size = text.strip_suffix("/s").unwrap_or(text);
    let (number, unit) = UNITS
        .iter()
        .find_map(|(name, unit)| Some((size.strip_suffix(name)?, *unit)))?;
    let number = number.strip_suffix(' ').unwrap_or(number);
    let plain = (1..=10).contains(&number.len())
        && number.bytes().all(|digit| digit.is_ascii_digit())
        && !number.starts_with('0');
    let number: u64 = number.parse().ok().filter(|_| plain)?;
    Some(Rate(number.checked_mul(unit)?))
}

impl TryFrom<String> for Rate {
    type Error = Error;

    fn try_from(text: String) -> Result<Rate> {
        text.parse()
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> String {
        rate.to_string()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} B/s", self.0)
    }
}

/// A rate shared by all transfers of one copier.
#[derive(Debug)]
pub struct Limiter {
    rate: Option<Rate>,
    /// When everything that was granted so far is paid for.
    paid: Mutex<Instant>,
}

impl Limiter {
    /// A limiter; `None` does not limit.
    pub fn new(rate: Option<Rate>) -> Limiter {
        Limiter {
            rate,
            paid: Mutex::new(Instant::now()),
        }
    }

    /// Waits until so many bytes may be read. Dropped while it waits, the bytes count as read.
    pub async fn take(&self, bytes: u64) {
        let Some(Rate(rate)) = self.rate else {
            return;
        };
        let cost = from_seconds(bytes as f64 / rate as f64);
        let until = {
            let mut paid = self.paid.lock().await;
            let waits = paid.saturating_duration_since(Instant::now());
            *paid = instant_in(waits.saturating_add(cost));
            *paid
        };
        tokio::time::sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_with_a_unit() {
        let pattern = regex::Regex::new(PATTERN).unwrap();
        for (text, bytes) in [
            ("50MiB/s", 50 << 20),
            ("1 GiB/s", 1 << 30),
            ("300kB", 300_000),
            ("7B/s", 7),
            ("2MB/s", 2_000_000),
        ] {
            assert_eq!(text.parse::<Rate>().unwrap(), Rate(bytes), "{text}");
            assert!(pattern.is_match(text), "{text}");
            let again = Rate(bytes).to_string().parse::<Rate>().unwrap();
            assert_eq!(again, Rate(bytes));
        }
        for text in [
            "", "50", "0MiB/s", "-1MiB/s", "1.5MiB/s", "MiB/s", "5 Mbit/s", "050B", "5MiB/m",
            "5  MiB",
        ] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
            assert!(!pattern.is_match(text), "{text}");
        }
    }

    #[tokio::test]
    async fn what_is_granted_to_all_never_exceeds_the_rate() {
        let limiter = Limiter::new(Some("1MiB/s".parse().unwrap()));
        let begun = Instant::now();
        let takes = (0..8).map(|_| limiter.take(32 << 10));
        futures_util::future::join_all(takes).await;
        assert!(begun.elapsed().as_millis() >= 249, "{:?}", begun.elapsed());
        Limiter::new(None).take(u64::MAX).await;
    }
}
