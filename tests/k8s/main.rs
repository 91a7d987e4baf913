//! The tests that need a Kubernetes cluster: any that `DRCTL_TEST_KUBECONFIG` or `KUBECONFIG` names, by the
//! real `drctl` from outside of it, against servers on this machine.
//!
//! What they share with the other tests stands in `tests/it/support`; [`cluster`] is what they know of
//! Kubernetes.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    reason = "a test that panics has failed, as it should"
)]

mod accounts;
mod cluster;
mod disaster;
mod fence;
mod install;
mod interrupted;
mod keys;
mod monitoring;
mod network;
mod outcomes;
mod pod;
mod protection;
mod regions;
mod release;
mod schedules;
mod serial;
mod stack;
mod stream;
#[path = "../it/support/mod.rs"]
mod support;
mod watch;
