//! The native reader: the rows of a server in the statements that its dump program would write, read over several
//! connections under one snapshot.
//!
//! - [`tables`]: what to select of each table, and which servers and tables the reader supports.
//! - [`snapshot`]: several connections whose transactions see the same data.
//! - [`pieces`]: the work of one connection at a time: a table, or a range of a large one.
//! - [`read`]: reads pieces over these connections.
//! - [`source_columns`]: what the server computes of the same rows.
//! - [`insert`], [`value`]: rows as statements, byte for byte those of `mysqldump` or `mariadb-dump`.
//!
//! A dump program writes about 200 MB/s, and two thirds of its time go into its own buffers; the server sends rows
//! twice as fast. Definitions are left to the program.

pub mod insert;
pub mod pieces;
pub mod read;
pub mod snapshot;
pub mod source_columns;
pub mod tables;
pub mod value;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What reads the rows of a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Reader {
    /// Several connections of drctl, where it supports the server and all tables; else the dump program.
    #[default]
    Native,
    /// The dump program.
    Mysqldump,
}
