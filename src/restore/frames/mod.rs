//! Frames of the archive on their way to the server.
//!
//! - [`read_ahead`]: fetches and checks frames within a memory budget.
//! - [`frame`]: splits a frame into statements with their sessions.
//! - [`guard`]: rejects statements that must not be executed.

pub mod frame;
pub mod guard;
pub mod read_ahead;
