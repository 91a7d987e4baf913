//! Drill reports: what was verified, how long each stage took, and how that compares with the objectives.
//!
//! - [`model`]: the report as stored; `docs/report.schema.json` is generated from it.
//! - [`drill_history`]: writing and reading reports in the store.
//! - [`text`]: one report for a terminal.
//! - [`html`]: all reports as a printable page, with a [`chart`]; [`spark`]: small bar charts.
//!
//! Contains data and their rendering only; [`verify`](crate::verify) runs the drills.

pub mod chart;
pub mod drill_history;
pub mod html;
pub mod model;
pub mod spark;
pub mod text;

pub use model::{DrillReport, Stage};
