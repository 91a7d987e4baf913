//! The binary log of MySQL and MariaDB as bytes, without a server or a store.
//!
//! - [`event`]: one event: header, checksum, kind.
//! - [`gtid`]: transaction ids and sets of them; [`gtid_event`]: the event that begins a transaction.
//! - [`checks`]: whether an event continues the file before it.
//! - [`group`]: where transactions begin and end; [`statement`]: which statements are listed.
//! - [`digest`]: all of that for one event after the other, as a segment's record has it.
//! - [`record`]: the records kept with the log; [`segment`]: a segment as stored; [`note`]: what an encrypted one says in
//!   the clear.

pub mod checks;
pub mod digest;
pub mod event;
pub mod file;
#[cfg(test)]
pub(crate) mod fixture;
pub mod group;
pub mod gtid;
pub mod gtid_event;
pub mod note;
pub mod record;
pub mod segment;
pub mod statement;
