//! `drctl fence` and `drctl unfence`.

use crate::cancel::Cancel;
use crate::cli::{GlobalArgs, Output};
use crate::commands::text;
use crate::config::Config;
use crate::error::Result;
use crate::fence::{Fence, Moved};

/// Keeps the application out of its database.
pub async fn fence(global: &GlobalArgs) -> Result<()> {
    let (config, cancel) = begin(global)?;
    let moved = cancel
        .unless(Fence::find(&config.restore.fence))
        .await?
        .close(&cancel)
        .await?;
    say(global.output, "fenced", &moved)
}

/// Lets it in again.
pub async fn unfence(global: &GlobalArgs) -> Result<()> {
    let (config, cancel) = begin(global)?;
    let fence = cancel.unless(Fence::find(&config.restore.fence)).await?;
    let moved = cancel.unless(fence.open()).await?;
    warn_of_raised(&moved);
    say(global.output, "unfenced", &moved)
}

fn begin(global: &GlobalArgs) -> Result<(Config, Cancel)> {
    let cancel = Cancel::default();
    cancel.on_signals()?;
    Ok((Config::load(global)?, cancel))
}

fn say(output: Output, done: &str, moved: &[Moved]) -> Result<()> {
    if output == Output::Json {
        let rows = moved.iter().map(|one| {
            serde_json::json!({"workload": one.workload, "replicas": one.replicas, "changed": one.changed})
        });
        return text::json(&rows.collect::<Vec<_>>());
    }
    let line = |one: &Moved| {
        let (workload, replicas) = (&one.workload, one.replicas);
        match one.changed {
            true => format!("{done} {workload}, {replicas} replicas\n"),
            false if replicas == 0 && done == "unfenced" => format!(
                "{workload} was not fenced: it has no replicas, and nothing says how many it had\n"
            ),
            false => format!("{workload} was so already, {replicas} replicas\n"),
        }
    };
    text::print(&moved.iter().map(line).collect::<String>())
}

/// What somebody else scaled up while it was fenced.
pub(super) fn warn_of_raised(moved: &[Moved]) {
    let raised = moved.iter().filter(|one| one.raised);
    let raised: Vec<&str> = raised.map(|one| one.workload.as_str()).collect();
    if !raised.is_empty() {
        tracing::warn!(
            workloads = raised.join(", "),
            "somebody scaled up what was fenced: it may have written during the restore"
        );
    }
}
