//! The SQL of a dump, as bytes: statements, rows and definitions. No I/O.
//!
//! Accepts only what `mysqldump` and `mariadb-dump` write: a scanner that guessed would falsify the ledger, and with
//! it restores and comparisons.
//!
//! - [`scan`]: bytes in any chunks → [`statement::Statement`]s of known kinds.
//! - [`rows`]: an INSERT → its row tuples.
//! - [`layout`]: how a table's values are written; [`load_rows`]: an INSERT → the rows as LOAD DATA reads them.
//! - [`session`]: the session at a position in the dump, from `USE` and `SET`; `assignment`: SET statements.
//! - [`ledger`]: digests of rows and definitions, with which restored data are compared; `canonical`: the form of a
//!   definition that is digested.
//! - [`definer`]: DEFINER clauses.
//! - `bulk_load`: statements of Percona's program for MyRocks.
//! - [`placement`]: parts of a definition that are specific to a server: directories, the counter of ARCHIVE.
//! - [`create_table`]: definitions of a CREATE TABLE that can be deferred until the rows are loaded; `check`: CHECKs
//!   that an ALTER changes.
//! - [`spatial`]: spatial reference systems, which are not dumped.
//! - [`view_order`]: the order in which views must be created.
//! - [`computed`]: expressions of a table that depend on the session.
//! - [`trigger`]: the table of a trigger.
//! - [`warnings`]: warnings of an INSERT about computed values.

mod assignment;
mod bulk_load;
mod canonical;
mod check;
#[cfg(test)]
mod clients;
pub mod computed;
#[cfg(test)]
mod corpus;
pub mod create_table;
pub mod definer;
mod definition;
mod head;
mod kind;
pub mod layout;
pub mod ledger;
pub mod lex;
mod lines;
pub mod load_rows;
pub mod placement;
mod problem;
pub mod rows;
pub mod scan;
pub mod session;
pub mod source_digest;
pub mod spatial;
pub mod statement;
pub mod tokens;
pub mod trigger;
pub mod view_order;
pub mod warnings;
