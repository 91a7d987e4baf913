//! The one integration-test binary: the real `drctl` against real servers and stores.
//!
//! What the tests share stands in [`support`]; what the machine has to hold is put there by
//! `tests/lab/setup.sh`.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    reason = "a test that panics has failed, as it should"
)]

mod agent;
mod alerting;
mod alerts;
mod apply_archive;
mod apply_faults;
mod apply_refusals;
mod apply_restore;
mod backup_commit;
mod backup_dump;
mod backup_refusals;
mod backup_signals;
mod backup_stages;
mod backup_store;
mod backup_suspect;
mod backup_warnings;
mod bugs;
mod cases;
mod client_splits;
mod coordinates;
mod copy;
mod damage;
mod damaged_copy;
mod deferred_keys;
mod definers;
mod doctor;
mod doctor_keys;
mod drill;
mod drill_checks;
mod drill_scratch;
mod fidelity;
mod file_store;
mod golden;
mod harness;
mod hidden_rows;
mod hygiene;
mod input_refusals;
mod keys;
mod kinds;
mod layers;
mod lease;
mod loader;
mod memory;
mod notify;
mod operations;
mod pod_hash;
mod postgres;
mod promises;
mod prune;
mod prune_store;
mod reader;
mod replay;
mod restore_again;
mod restore_losses;
mod restore_refusals;
mod restore_scope;
mod restore_stops;
mod runbooks;
mod schedule;
mod serve;
mod source_preflight;
mod source_server;
mod source_values;
mod standby;
mod store;
mod store_access;
mod stream;
mod summaries;
mod support;
mod threats;
mod verbs;
