//! What a replay has to do, decided before it begins.

use crate::binlog::gtid::{Gtid, GtidSet};

/// A stretch of the log: from a backup to a stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The transactions that the restored backup holds.
    pub base: GtidSet,
    /// The transactions that the destination has to hold at the end: those of `base`, and those replayed.
    pub expected: GtidSet,
    /// How many are replayed.
    pub transactions: u64,
    /// The first transaction that is left out; `None` for all of the log.
    pub stop: Option<Gtid>,
}
