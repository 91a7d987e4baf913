//! The evidence of a drill: what was proven, how long each stage took, held against the objectives.
//!
//! - [`model`]: the report as it is kept in the store; `docs/report.schema.json` is made from it.
//! - [`history`]: reports in the store, kept and read again.
//! - [`text`]: one page of it for a terminal.
//! - [`html`]: all of them as a page to print, with a [`chart`].
//!
//! Data, and what renders them: nothing here runs a drill.

pub mod chart;
pub mod history;
pub mod html;
pub mod model;
pub mod text;

pub use model::{DrillReport, Stage};
