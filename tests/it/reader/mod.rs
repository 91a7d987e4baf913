//! The native reader against real servers: one snapshot on several connections, pieces of tables, logins, a reader that is wrong.

mod damage;
mod faults;
mod login;
mod pieces;
mod snapshot;
