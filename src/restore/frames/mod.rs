//! Frames of the archive on their way to the server.
//!
//! - [`read_ahead`]: fetches and checks frames within a memory budget, in their order.
//! - [`supply`]: the same for several lanes; [`dispatch`]: which of them loads which frame.
//! - [`frame`]: splits a frame into statements with their sessions.
//! - [`guard`]: rejects statements that must not be executed.

pub mod dispatch;
pub mod frame;
pub mod guard;
pub mod read_ahead;
pub mod supply;
