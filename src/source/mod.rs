//! The server that is backed up: what may be seen of it, what it is, and its dump.
//!
//! - [`scope`]: which schemas a backup covers.
//! - [`dump`]: the arguments of one mysqldump, every one that matters explicit.

pub mod dump;
pub mod scope;
