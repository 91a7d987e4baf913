//! `drctl fence`, `drctl unfence`, and the fence around a restore.

use crate::cancel::Cancel;
use crate::cli::{GlobalArgs, Output};
use crate::commands::text;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::fence::{Fence, FenceConfig, Moved};

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
            false => format!("{workload} was so already, {replicas} replicas\n"),
        }
    };
    text::print(&moved.iter().map(line).collect::<String>())
}

/// A fence that is closed while somebody restores. It opens for a proof and for nothing else.
pub struct Closed<'a> {
    fence: Fence<'a>,
    workloads: String,
}

impl<'a> Closed<'a> {
    /// Closes it, where one is configured.
    pub async fn begin(config: &'a FenceConfig, cancel: &Cancel) -> Result<Option<Closed<'a>>> {
        if config.workloads.is_empty() {
            return Ok(None);
        }
        let fence = cancel.unless(Fence::find(config)).await?;
        let names = config.workloads.iter().map(ToString::to_string);
        let closed = Closed {
            fence,
            workloads: names.collect::<Vec<_>>().join(", "),
        };
        match closed.fence.close(cancel).await {
            Ok(_) => {
                tracing::info!(workloads = closed.workloads, "fenced");
                Ok(Some(closed))
            }
            Err(error) => Err(closed.stays(error)),
        }
    }

    /// After a restore that was proven.
    pub async fn open(self) -> Result<()> {
        match self.fence.broken().await {
            Ok(broken) if broken.is_empty() => {}
            Ok(broken) => tracing::warn!(
                workloads = broken.join(", "),
                "somebody scaled up what was fenced: it may have written during the restore"
            ),
            Err(error) => return Err(self.stays(error)),
        }
        match self.fence.open().await {
            Ok(_) => {
                tracing::info!(workloads = self.workloads, "unfenced");
                Ok(())
            }
            Err(error) => Err(self.stays(error)),
        }
    }

    /// The failure, and that the application is still kept out.
    pub fn stays(&self, error: Error) -> Error {
        let before = error.next_step().map(|step| format!("{step}; "));
        let hint = format!(
            "{}{} stays fenced until drctl unfence",
            before.unwrap_or_default(),
            self.workloads
        );
        error.hint(hint)
    }

    /// Said where nothing was proven, and so nothing is opened.
    pub fn say_that_it_stays(&self) {
        tracing::warn!(
            workloads = self.workloads,
            "nothing was proven: it stays fenced until drctl unfence"
        );
    }
}
