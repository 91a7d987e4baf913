//! The evidence of a drill: what was proven, how long each stage took, held against the objectives; and
//! what all of it says of a target now.
//!
//! - [`model`]: the report as it is kept in the store; `docs/report.schema.json` is made from it.
//! - [`history`]: reports in the store, kept and read again.
//! - [`text`]: one page of it for a terminal.
//! - [`html`]: all of them as a page to print, with a [`chart`].
//! - [`status`]: a target at one moment, and in [`problems`] what is wrong with it; rendered as
//!   [`metrics`] and as a [`status_page`].
//!
//! Data, and what renders them: nothing here runs a drill.

pub mod chart;
pub mod history;
pub mod html;
pub mod metrics;
pub mod model;
pub mod problems;
pub mod spark;
pub mod status;
pub mod status_page;
pub mod text;

pub use model::{DrillReport, Stage};

#[cfg(test)]
mod metrics_tests;
#[cfg(test)]
mod problems_tests;
#[cfg(test)]
pub(crate) mod status_fixture;
