//! `drctl restore --undo-settings`, `--keep`, `--discard`: what becomes of a restore that did not end.

use std::sync::Arc;

use crate::apply;
use crate::cli::Output;
use crate::commands::{Run, text};
use crate::error::Result;
use crate::server::ServerConfig;

/// Puts back the settings that it changed.
pub async fn undo_settings(run: &Run, server: &Arc<ServerConfig>) -> Result<()> {
    let settings = apply::undo_settings(server, &run.cancel).await?;
    match (run.output, settings.as_slice()) {
        (Output::Json, settings) => text::json(&settings),
        (Output::Text, []) => text::print("no settings to put back\n"),
        (Output::Text, settings) => text::print(&format!("put back: {}\n", settings.join(", "))),
    }
}

/// Keeps what it made, and says what it did not.
pub async fn keep(run: &Run, server: &Arc<ServerConfig>) -> Result<()> {
    let kept = apply::keep(server, &run.cancel).await?;
    if run.output == Output::Json {
        return text::json(&kept);
    }
    let of = kept.backup.map_or(String::new(), |id| format!(" of {id}"));
    let lines = |name: &str, all: &[String]| -> String {
        all.iter()
            .map(|line| format!("{name:>12}  {line}\n"))
            .collect()
    };
    text::print(&format!(
        "gave up the unfinished restore{of}; what it made stays\n{}{}",
        lines("put back", &kept.settings),
        lines("undone", &kept.undone)
    ))
}

/// Drops what it made.
pub async fn discard(run: &Run, server: &Arc<ServerConfig>) -> Result<()> {
    let dropped = apply::discard(server, &run.config.target, &run.cancel).await?;
    if run.output == Output::Json {
        return text::json(&dropped);
    }
    let lines: String = dropped
        .iter()
        .map(|object| format!("dropped {object}\n"))
        .collect();
    text::print(&lines)
}
