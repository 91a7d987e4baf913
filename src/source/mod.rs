//! The server that is backed up: what it is, what it holds, and how it is dumped.
//!
//! - [`scope`]: which schemas a backup covers.
//! - [`grants`]: what the account may see, and what it is missing.
//! - [`inventory`]: what exists, and what moved while it was dumped.

pub mod dump;
pub mod grants;
pub mod inventory;
pub mod scope;
