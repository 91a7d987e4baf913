//! The one integration-test binary: the real `drctl` against real servers and stores.
//!
//! What the tests share stands in [`support`]; what the machine has to hold is put there by
//! `tests/lab/setup.sh`.

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
mod client_splits;
mod coordinates;
mod damage;
mod damaged_copy;
mod deferred_keys;
mod definers;
mod doctor;
mod drill;
mod drill_scratch;
mod fidelity;
mod golden;
mod harness;
mod hygiene;
mod input_refusals;
mod layers;
mod memory;
mod notify;
mod promises;
mod restore_again;
mod restore_refusals;
mod restore_scope;
mod restore_stops;
mod runbooks;
mod schedule;
mod source_preflight;
mod source_server;
mod store;
mod support;
