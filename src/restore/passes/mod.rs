//! The passes of a restore, in their order. Each can be repeated, and ends in a barrier that the restore
//! marker records.
//!
//! - [`accounts`]: users and roles of the backup.
//! - [`replace`]: drops conflicting objects; [`routine_grants`]: keeps the privileges on replaced routines.
//! - [`pre_data`]: schemas, tables, placeholders of views; [`create`]: one object.
//! - [`data`]: rows, on all lanes; [`row_loader`]: how rows are loaded; [`load_data`]: by LOAD DATA; [`insert`]: by one
//!   statement of the dump.
//! - [`keys`]: deferred secondary keys, then foreign keys.
//! - [`post_data`]: views, routines, triggers, and events; [`definition`]: parts of their text.
//! - [`compare`]: the restored data compared with the dump; [`source_values`]: with what the target computed.
//! - [`events`]: enables events.

pub(crate) mod accounts;
pub mod compare;
pub(crate) mod create;
pub(crate) mod data;
pub(crate) mod definition;
pub(crate) mod events;
pub(crate) mod insert;
pub(crate) mod keys;
pub(crate) mod load_data;
pub(crate) mod post_data;
pub(crate) mod pre_data;
pub(crate) mod replace;
pub(crate) mod routine_grants;
pub(crate) mod row_loader;
mod source_values;
