//! `drctl fence` and `drctl unfence`.

use crate::cli::args::GlobalArgs;
use crate::cli::output::text;
use crate::config::Config;
use crate::k8s::fence::{Fence, Scaled};
use crate::util::cancel::Cancel;
use crate::util::error::Result;
use crate::util::format::Output;

/// Scales the application's workloads to zero.
pub async fn fence(global: &GlobalArgs) -> Result<()> {
    let (config, cancel) = begin(global)?;
    let moved = cancel
        .unless(Fence::find(&config.restore.fence))
        .await?
        .close(&cancel)
        .await?;
    print(global.output, "fenced", &moved)
}

/// Scales the workloads back up.
pub async fn unfence(global: &GlobalArgs) -> Result<()> {
    let (config, cancel) = begin(global)?;
    let fence = cancel.unless(Fence::find(&config.restore.fence)).await?;
    let moved = cancel.unless(fence.open()).await?;
    warn_of_raised(&moved);
    print(global.output, "unfenced", &moved)
}

fn begin(global: &GlobalArgs) -> Result<(Config, Cancel)> {
    let cancel = Cancel::default();
    cancel.on_signals()?;
    Ok((Config::load(&global.overrides())?, cancel))
}

fn print(output: Output, done: &str, moved: &[Scaled]) -> Result<()> {
    if output == Output::Json {
        let rows = moved.iter().map(|one| {
            serde_json::json!({"workload": one.workload, "replicas": one.replicas, "changed": one.changed})
        });
        return text::json(&rows.collect::<Vec<_>>());
    }
    let line = |one: &Scaled| {
        let (workload, replicas) = (&one.workload, one.replicas);
        if one.changed {
            format!("{done} {workload}, {replicas} replicas\n")
        } else if replicas == 0 && done == "unfenced" {
            format!(
                "{workload} was not fenced: it has no replicas and no record of its previous replica count\n"
            )
        } else {
            format!("{workload} unchanged, {replicas} replicas\n")
        }
    };
    text::print(&moved.iter().map(line).collect::<String>())
}

/// Warns of workloads that another client scaled up while they were fenced.
pub(super) fn warn_of_raised(moved: &[Scaled]) {
    let raised: Vec<&str> = moved
        .iter()
        .filter(|one| one.raised)
        .map(|one| one.workload.as_str())
        .collect();
    if !raised.is_empty() {
        tracing::warn!(
            workloads = raised.join(", "),
            "another client scaled up a fenced workload: it may have written during the restore"
        );
    }
}
