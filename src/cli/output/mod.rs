//! Output of commands: [`text`] for results, [`progress`] while they run.

pub mod progress;
pub mod text;
