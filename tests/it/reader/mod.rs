//! The native reader against real servers: one snapshot on several connections, pieces of tables, logins.

mod faults;
mod login;
mod pieces;
mod snapshot;
