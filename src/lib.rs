//! `drctl` backs up MySQL and MariaDB to object storage, and proves that the backups restore.
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
//! Kubernetes is one module, [`cluster`], under three users: scratch pods of drills, the [`fence`] around a
//! restore, and [`watch`].
//!
//! A drill is the second flow into a throw-away server, and leaves a report; arrows between modules go
//! one way: commands → drill → report → {source, apply, proof, catalog} → {server, archive} → {sql, store}; `tests/it/layers.rs` holds them to it.

#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::disallowed_methods,
        reason = "a test chooses its times"
    )
)]

pub mod agent;
pub mod apply;
pub mod archive;
pub mod baseline;
pub mod bounded;
pub mod cancel;
pub mod catalog;
pub mod cli;
pub mod clocks;
pub mod cluster;
pub mod commands;
pub mod config;
pub mod drill;
pub mod error;
pub mod evidence;
pub mod fence;
pub mod leftovers;
pub mod logging;
pub mod notify;
pub mod objectives;
pub mod panics;
pub mod proof;
pub mod reading;
pub mod report;
pub mod retention;
pub mod runs;
pub mod serve;
pub mod server;
pub mod source;
pub mod sql;
pub mod store;
pub mod suspect;
pub mod target;
pub mod times;
pub mod watch;
pub mod words;

pub use error::{Error, Outcome, Result};
