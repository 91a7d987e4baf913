//! The objects of the lease as stored. All times are for operators: none is compared.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::layout::{Epoch, TargetName};
use crate::lease::How;
use crate::lease::side::Side;

/// Format of the objects.
pub(super) const FORMAT: u32 = 1;

/// Why an epoch was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// No side had the lease before.
    First,
    /// A side was promoted.
    Promote,
    /// The holder was demoted, and no side is writable until one is promoted.
    Demote,
}

/// Which side took an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Taking {
    pub(super) format: u32,
    pub(super) target: TargetName,
    pub(super) epoch: Epoch,
    pub(super) side: Side,
    pub(super) taken_at: Timestamp,
    pub(super) reason: Reason,
    /// Random: identifies this object after a PUT without a response.
    pub(super) nonce: String,
}

/// The last renewal of an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Renewal {
    pub(super) format: u32,
    pub(super) epoch: Epoch,
    pub(super) side: Side,
    pub(super) at: Timestamp,
    /// Number of the renewal since its keeper started.
    pub(super) count: u64,
    /// Validity of the renewal.
    pub(super) lease_seconds: u64,
    /// Since when the server is read-only; `None` if it is writable or unknown.
    pub(super) read_only_since: Option<Timestamp>,
}

/// Earlier holders cannot be writable any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fencing {
    pub(super) format: u32,
    pub(super) epoch: Epoch,
    pub(super) at: Timestamp,
    pub(super) how: How,
}

/// The holder of an epoch is read-only, and stays so until its side takes another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Release {
    pub(super) format: u32,
    pub(super) epoch: Epoch,
    pub(super) side: Side,
    pub(super) at: Timestamp,
    /// What its server has executed, read while it was read-only.
    pub(super) gtids: String,
}

/// A random nonce.
pub(super) fn nonce() -> String {
    format!("{:032x}", rand::random::<u128>())
}
