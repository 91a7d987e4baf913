//! `drctl fence`, `drctl unfence`, and the fence around a restore.

use crate::cancel::Cancel;
use crate::cli::{GlobalArgs, Output};
use crate::commands::text;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::fence::{Fence, FenceConfig, Moved, stays};

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
fn warn_of_raised(moved: &[Moved]) {
    let raised = moved.iter().filter(|one| one.raised);
    let raised: Vec<&str> = raised.map(|one| one.workload.as_str()).collect();
    if !raised.is_empty() {
        tracing::warn!(
            workloads = raised.join(", "),
            "somebody scaled up what was fenced: it may have written during the restore"
        );
    }
}

/// A fence that is closed while somebody restores. It opens for a proof and for nothing else.
pub struct Closed<'a> {
    fence: Fence<'a>,
    workloads: String,
    /// What was taken away.
    taken: Vec<Moved>,
}

impl<'a> Closed<'a> {
    /// Closes it, where one is configured.
    pub async fn begin(config: &'a FenceConfig, cancel: &Cancel) -> Result<Option<Closed<'a>>> {
        if config.workloads.is_empty() {
            return Ok(None);
        }
        let fence = cancel.unless(Fence::find(config)).await?;
        let taken = fence.close(cancel).await?;
        let names = config.workloads.iter().map(ToString::to_string);
        let workloads = names.collect::<Vec<_>>().join(", ");
        tracing::info!(workloads, namespace = fence.namespace(), "fenced");
        Ok(Some(Closed {
            fence,
            workloads,
            taken,
        }))
    }

    /// After a restore that was proven.
    pub async fn open(self) -> Result<()> {
        let moved = self.fence.open().await?;
        warn_of_raised(&moved);
        for (is, was) in moved.iter().zip(&self.taken) {
            if is.changed || was.replicas == 0 {
                continue;
            }
            let (workload, replicas) = (&is.workload, was.replicas);
            if is.replicas == 0 {
                let space = self.fence.namespace();
                return Err(Error::server(format!(
                    "somebody took the note from {workload} that it had {replicas} replicas: it still has none"
                ))
                .hint(format!("kubectl -n {space} scale {workload} --replicas={replicas}")));
            }
            tracing::warn!(
                workload,
                "somebody let it in before the proof: it may have written during the restore"
            );
        }
        tracing::info!(
            workloads = self.workloads,
            namespace = self.fence.namespace(),
            "unfenced"
        );
        Ok(())
    }

    /// The failure, and that the application is still kept out.
    pub fn stays(&self, error: Error) -> Error {
        stays(error, &self.workloads)
    }

    /// Said where nothing was proven, and so nothing is opened.
    pub fn say_that_it_stays(&self) {
        tracing::warn!(
            workloads = self.workloads,
            "nothing was proven: it stays fenced until drctl unfence"
        );
    }
}

/// The failure of a restore that closed nothing, and what an earlier one left closed, if that can be told.
pub async fn still_fenced(config: &FenceConfig, cancel: &Cancel, error: Error) -> Error {
    let look = async { Fence::find(config).await?.fenced(cancel).await };
    match cancel.unless(look).await {
        Ok(fenced) => stays(error, &fenced.join(", ")),
        Err(_) => error,
    }
}
