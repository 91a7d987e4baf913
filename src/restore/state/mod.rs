//! State of a restore on the destination.
//!
//! - [`marker`]: the schema `drctl_restore` with the progress, and the objects created by this restore.
//! - [`open_marker`]: the marker of a restore in progress, which records what the passes do.
//! - [`request`]: the requested restore; only the same request resumes.
//! - [`discard`]: drops the created objects. [`keep`]: drops only the marker.

pub mod discard;
pub mod keep;
pub mod marker;
pub mod open_marker;
pub mod request;
