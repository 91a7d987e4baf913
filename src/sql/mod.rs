//! The SQL of a dump, as bytes: what each statement is, what rows it holds, what it defines.
//!
//! A leaf: knows nothing of stores, servers or archives. It reads what `mysqldump` and
//! `mariadb-dump` write and refuses everything else; a scanner that guesses would lie in the
//! ledger, the restore and the proof alike.
//!
//! - [`scan`]: bytes → [`statement::Statement`]s of known kinds, whatever the chunks.
//! - [`rows`]: one INSERT → its row tuples.
//! - [`session`]: the `USE` and `SET`s in force at a place in the dump.
//! - [`ledger`]: the digests that restored data are held against.
//! - [`definer`]: who defines an object.
//! - `bulk_load`: what Percona's program writes for MyRocks.
//! - `wording`: definitions in the words that their digests are made of.
//! - [`placement`]: what a definition says of the server that it was made on: directories, a counter of ARCHIVE.
//! - [`create_table`]: which definition lines of a CREATE TABLE can wait until the rows are in; `check`: which
//!   of them an ALTER would change.
//! - [`spatial`]: a spatial reference system, which is in no dump.
//! - [`computed`]: what a table computes from the session that writes a row.

mod assignment;
mod bulk_load;
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
pub mod ledger;
pub mod lex;
mod lines;
pub mod placement;
mod problem;
pub mod rows;
pub mod scan;
pub mod session;
pub mod spatial;
pub mod statement;
pub mod tokens;
mod wording;
