//! The lease: at most one side of a target is writable.
//!
//! Objects in a store that both sides reach number the changes of the writable side: the newest epoch decides. A side
//! takes the next one by put-if-absent, so one of several wins. The holder renews its lease, and counts it as valid only
//! for a time from before a renewal that found its epoch the newest; without a valid lease its server is read-only. So
//! the side that takes an epoch knows after that time that no earlier holder is writable. No clock of one machine is compared
//! with that of another.
//!
//! - [`side`], `record`: names of sides, and the objects; `chain`: which objects there are; [`state`]: who holds the lease.
//! - [`take`]: the next epoch; [`fenced`]: when earlier holders cannot be writable any more; `release`: a side says so.
//! - `renewal`: one renewal, `validity`: until when it counts; `server`: read-only or writable; `wanted`: which of them;
//!   [`keeper`]: both, until it is stopped.

mod chain;
pub mod fenced;
pub mod keeper;
#[cfg(test)]
mod protocol_tests;
mod record;
mod release;
mod renewal;
mod server;
pub mod side;
pub mod state;
pub mod take;
mod validity;
mod wanted;

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

pub use fenced::How;
pub use record::Reason;
pub use server::{open, shut};
pub use side::{PATTERN as SIDE_PATTERN, Side};
pub use state::{State, state};
pub use take::{Taken, take};

use crate::util::times::Seconds;
use crate::{Error, Result};

/// Time from the end of a lease within which its holder makes the server read-only.
pub const FENCING: Duration = Duration::from_secs(5);

/// Longest lease in seconds.
const MOST_LEASE_SECONDS: u64 = 600;

/// The lease, section `lease` of the configuration.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LeaseConfig {
    /// Name of this side, for example its region: one server and its keeper. Both sides have the same target.
    #[schemars(with = "Option<String>", regex(pattern = side::PATTERN))]
    pub side: Option<Side>,
    /// Store that has the lease, and that both sides reach: `store` or `copy`, the second store. Default: `copy` where
    /// `copy.to` is set.
    pub store: Option<Place>,
    /// Validity of a renewal. A side that cannot reach the store is read-only after this and 5 s more.
    #[schemars(range(min = 4, max = MOST_LEASE_SECONDS))]
    pub seconds: Seconds,
}

impl Default for LeaseConfig {
    fn default() -> Self {
        LeaseConfig {
            side: None,
            store: None,
            seconds: Seconds(20),
        }
    }
}

impl LeaseConfig {
    /// Name of this side.
    ///
    /// # Errors
    /// `Usage` if it is not configured.
    pub fn side(&self) -> Result<&Side> {
        let hint = "set DRCTL_LEASE_SIDE to the name of this side, such as eu-central-1";
        match &self.side {
            Some(side) if side.is_nobody() => {
                Err(Error::usage(format!("lease.side is {side}, which is no side")).hint(hint))
            }
            Some(side) => Ok(side),
            None => Err(Error::usage("lease.side is not configured").hint(hint)),
        }
    }
}

/// The store that has the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// The primary store.
    Store,
    /// The second store.
    Copy,
}
