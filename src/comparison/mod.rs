//! Compares a restored server with its backup: dumps the server again and compares the two ledgers.
//!
//! - [`redump`]: dumps the restored server to a ledger, with the backup's client options; [`dump_commands`]:
//!   the dump commands; [`digests`]: row sums; `rows`: those of the native reader.
//! - [`normalise`]: expected deviations of definitions; `temporal`: constants that MySQL prints in two ways.
//! - [`compare`]: differences between two ledgers; no I/O.
//! - [`explain`]: line-by-line differences of definitions.
//! - [`readers_values`]: rows without what each session computes for itself; `archived`: statements of the archive.
//!
//! Used by restores and drills. docs/proof.md lists what the comparison does not cover.

mod archived;
pub mod compare;
pub mod digests;
pub mod dump_commands;
pub mod explain;
pub mod normalise;
pub mod readers_values;
pub mod redump;
mod rows;
mod temporal;
