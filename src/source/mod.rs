//! The server that is backed up: what it is, what it holds, and how it is dumped.
//!
//! - [`scope`]: which schemas a backup covers.
//! - [`grants`]: what the account may see, and what it is missing.

pub mod grants;
pub mod scope;
