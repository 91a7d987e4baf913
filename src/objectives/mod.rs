//! The RPO and RTO that the user declared, and how actual figures are held against them.
//!
//! Pure: the clock is an argument, and nothing here reads a store or a server.
//!
//! - [`schedule`]: when backups and drills run, and how long at most between two of them.
//! - [`rpo_rto`]: from backups and drills to the figures, and their judgement.

mod field;
pub mod rpo_rto;
pub mod schedule;

use jiff::SignedDuration;

/// What the user declared. What was not declared is not judged, except `proven_rpo`, which has a
/// default where drills are scheduled: [`rpo_rto::with_default_proven_rpo`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Objectives {
    /// The most data, in time, that a disaster may cost.
    pub rpo: Option<SignedDuration>,
    /// The longest that a restore may take.
    pub rto: Option<SignedDuration>,
    /// How old the newest restore-verified data may be.
    pub proven_rpo: Option<SignedDuration>,
}
