//! Whether a restored server holds what was dumped: the same dump again, and two ledgers compared.
//!
//! - [`redump`]: the restored server, dumped with the backup's own client options, to a ledger;
//!   [`runs`]: in how many runs of the client; [`digests`]: of its rows.
//! - [`normalise`]: what of a definition the restore is not yet done with.
//! - [`compare`]: two ledgers to their differences; pure.
//! - [`explain`]: what differs in a definition, line by line.
//!
//! Used by restores and drills alike. What it does not prove is in docs/proof.md.

pub mod compare;
pub mod digests;
pub mod explain;
pub mod normalise;
pub mod redump;
pub mod runs;
