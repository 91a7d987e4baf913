//! The state of a target, computed from the store and never kept elsewhere, for monitoring systems and for
//! people.
//!
//! - [`report`]: drill reports and the pages made of them.
//! - [`status`]: a target at one point in time; [`problems`]: its problems, by the conditions of the alert
//!   rules.
//! - [`standby`]: what a standby says of itself.
//! - [`metrics`], [`status_page`]: the status for Prometheus and for a browser.
//! - [`identities`]: when a drill last used the private key of each recipient.
//! - [`serve`]: the process that serves both.
//! - [`notify`]: webhook, Alertmanager, Slack and heartbeats.
//! - [`watch`]: pod lifecycle events.

pub mod identities;
pub mod metrics;
#[cfg(test)]
mod metrics_tests;
pub mod notify;
pub mod problems;
#[cfg(test)]
mod problems_tests;
pub mod report;
pub mod serve;
pub mod standby;
pub mod status;
#[cfg(test)]
pub(crate) mod status_fixture;
pub mod status_page;
pub mod watch;
