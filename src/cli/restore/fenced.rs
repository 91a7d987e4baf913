//! The fence around a restore: foreseeable refusals come before the workloads are stopped, and a failure
//! reports that they are still stopped.

use std::sync::Arc;
use std::time::Duration;

use crate::catalog::{Catalog, Entry};
use crate::cli::Context;
use crate::cli::fence::warn_of_raised;
use crate::k8s::fence::{Fence, FenceConfig, Scaled, stays};
use crate::mysql::ServerConfig;
use crate::restore;
use crate::restore::options::{Check, Destination, Permissions, Resources, RestoreOptions};
use crate::restore::report::Progress;
use crate::util::cancel::Cancel;
use crate::util::error::{Error, Outcome, Result};

/// A closed fence during a restore. Opened only after verification.
pub struct ClosedFence<'a> {
    fence: Fence<'a>,
    workloads: String,
    /// The workloads scaled down, with their previous replica counts.
    taken: Vec<Scaled>,
}

impl<'a> ClosedFence<'a> {
    /// Closes the fence, if one is configured and no blocker is foreseeable.
    pub async fn begin(
        config: &'a FenceConfig,
        foreseen: impl Future<Output = Result<()>>,
        cancel: &Cancel,
    ) -> Result<Option<ClosedFence<'a>>> {
        if config.workloads.is_empty() {
            return Ok(None);
        }
        if let Err(error) = foreseen.await {
            return Err(with_fenced_workloads(config, cancel, error).await);
        }
        let fence = cancel.unless(Fence::find(config)).await?;
        let taken = fence.close(cancel).await?;
        let names = config.workloads.iter().map(ToString::to_string);
        let workloads = names.collect::<Vec<_>>().join(", ");
        tracing::info!(workloads, namespace = fence.namespace(), "fenced");
        Ok(Some(ClosedFence {
            fence,
            workloads,
            taken,
        }))
    }

    /// Opens the fence after a verified restore.
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
                    "another client removed the annotation drctl.io/replicas ({replicas}) from {workload}: it still has no replicas"
                ))
                .hint(format!("kubectl -n {space} scale {workload} --replicas={replicas}")));
            }
            tracing::warn!(
                workload,
                "another client scaled it up before verification finished: it may have written during the restore"
            );
        }
        tracing::info!(
            workloads = self.workloads,
            namespace = self.fence.namespace(),
            "unfenced"
        );
        Ok(())
    }

    /// Adds to a failure that the workloads are still fenced.
    pub fn still_fenced(&self, error: Error) -> Error {
        stays(error, &self.workloads)
    }

    /// Warns that the workloads stay fenced because nothing was verified.
    pub fn warn_still_fenced(&self) {
        tracing::warn!(
            workloads = self.workloads,
            "restore not verified: the workloads stay fenced until drctl unfence"
        );
    }
}

/// For a failed restore that fenced nothing itself: adds to the error which workloads an earlier run left
/// fenced, if that can be determined.
async fn with_fenced_workloads(config: &FenceConfig, cancel: &Cancel, error: Error) -> Error {
    let fenced = async { Fence::find(config).await?.fenced(cancel).await };
    match cancel.unless(fenced).await {
        Ok(fenced) => stays(error, &fenced.join(", ")),
        Err(_) => error,
    }
}

/// Reports foreseeable blockers before the workloads are stopped. An unreachable server is not a blocker: it
/// may answer once the application is disconnected.
pub async fn foreseeable_blockers(
    context: &Context,
    catalog: &Catalog,
    entry: &Entry,
    server: &Arc<ServerConfig>,
    options: &RestoreOptions,
) -> Result<()> {
    let options = RestoreOptions {
        check: Check::Executed,
        destination: Destination::Server(Permissions {
            // The application's connections will be gone.
            connected_clients: true,
            ..options.destination.permissions()
        }),
        resources: Resources {
            reconnect: Duration::ZERO,
            ..options.resources
        },
        ..options.clone()
    };
    let archive = context.cancel.unless(catalog.open(entry.id)).await?;
    let silent: Arc<dyn Progress> = Arc::new(restore::report::Silent);
    let plan = restore::plan(&archive, server, &options, &silent, &context.cancel);
    match context.cancel.unless(plan).await {
        Ok(plan) => plan.blocker().map_or(Ok(()), Err),
        Err(error) if error.outcome() == Outcome::Server => {
            tracing::debug!(%error, "cannot check the restore in advance");
            Ok(())
        }
        Err(error) => Err(error),
    }
}
