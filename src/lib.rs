//! `drctl` backs up MySQL and MariaDB to object storage, and verifies that the backups restore.
//!
//! The two flows:
//!
//! ```text
//! mysqldump ─bytes→ scan ─statements→ frame ─8 MiB→ encode+digest (N workers) ─in order→ segment ─parts→ store
//!                   └ ledger, objects seen                └ frame index                         index, manifest
//!
//! manifest, index ← store ─ranged GET→ frame → digest ok? → decode → statements → lanes (N connections) → server
//!                                                                 └ barriers: pre-data, data, keys, foreign keys, post-data
//! ```
//!
//! A drill is the second flow into a scratch server, and leaves a report.
//!
//! Modules, by layer; each uses only lower layers, as `tests/it/layers.rs` checks:
//!
//! - [`cli`]: the subcommands; [`config`]: checked configuration.
//! - [`verify`]: drills; [`backup`], [`restore`]: the two flows.
//! - [`monitor`]: reports, status, metrics, notifications.
//! - [`replay`]: a stretch of a binary log into a server; [`copy`]: a target into a second store.
//! - [`stream`]: the archived binary log.
//! - [`comparison`]: restored server against dump; [`catalog`]: backups and runs in a store.
//! - [`switch`]: traffic follows the writable side.
//! - [`archive`]: the format; [`k8s`]: Kubernetes; [`lease`]: which side is writable.
//! - [`mysql`]: the server and its clients; [`binlog`]: its binary log.
//! - [`sql`]: scanning dumps; [`store`]: object stores; [`objectives`]: RPO, RTO, schedules.
//! - [`layout`]: names of objects; [`keys`]: encryption and signatures; [`util`]: utilities.

#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::disallowed_methods,
        reason = "a test chooses its times"
    )
)]

pub mod archive;
pub mod backup;
pub mod binlog;
pub mod catalog;
pub mod cli;
pub mod comparison;
pub mod config;
pub mod copy;
pub mod entries;
pub mod k8s;
pub mod keys;
pub mod kind;
pub mod layout;
pub mod lease;
pub mod monitor;
pub mod mysql;
pub mod objectives;
pub mod reader;
pub mod replay;
pub mod restore;
pub mod sql;
pub mod standby;
pub mod store;
pub mod stream;
pub mod switch;
pub mod util;
pub mod verify;

pub use util::error::{Error, Outcome, Result};
