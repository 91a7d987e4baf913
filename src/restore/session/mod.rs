//! Connections of a restore.
//!
//! - [`lane`]: one connection, with reconnects and retries; [`lane_session`]: its session settings.
//! - [`failure`]: classification of failed statements.
//! - [`tuning`]: server settings changed during a restore, and reverted.

pub mod failure;
pub mod lane;
pub mod lane_session;
pub mod tuning;
