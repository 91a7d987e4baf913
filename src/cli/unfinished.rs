//! `drctl restore --undo-settings`, `--keep`, `--discard`: end an unfinished restore.

use std::sync::Arc;

use crate::cli::Context;
use crate::cli::output::text;
use crate::mysql::ServerConfig;
use crate::restore;
use crate::util::error::Result;
use crate::util::format::Output;

/// Reverts the settings that it changed.
pub async fn undo_settings(context: &Context, server: &Arc<ServerConfig>) -> Result<()> {
    let settings = restore::undo_settings(server, &context.cancel).await?;
    match (context.output, settings.as_slice()) {
        (Output::Json, settings) => text::json(&settings),
        (Output::Text, []) => text::print("no settings to revert\n"),
        (Output::Text, settings) => text::print(&format!("reverted: {}\n", settings.join(", "))),
    }
}

/// Keeps its objects; prints what was reverted and what is left undone.
pub async fn keep(context: &Context, server: &Arc<ServerConfig>) -> Result<()> {
    let kept = restore::keep(server, &context.cancel).await?;
    if context.output == Output::Json {
        return text::json(&kept);
    }
    let of = kept.backup.map_or(String::new(), |id| format!(" of {id}"));
    let lines = |name: &str, all: &[String]| -> String {
        all.iter()
            .map(|line| format!("{name:>12}  {line}\n"))
            .collect()
    };
    text::print(&format!(
        "ended the unfinished restore{of}; its objects are kept\n{}{}",
        lines("reverted", &kept.settings),
        lines("undone", &kept.undone)
    ))
}

/// Drops its objects.
pub async fn discard(context: &Context, server: &Arc<ServerConfig>) -> Result<()> {
    let dropped = restore::discard(server, &context.config.target, &context.cancel).await?;
    if context.output == Output::Json {
        return text::json(&dropped);
    }
    let lines: String = dropped
        .iter()
        .map(|object| format!("dropped {object}\n"))
        .collect();
    text::print(&lines)
}
