//! The fence around a restore: what it would refuse is refused before the application is taken from its
//! users, and who failed says that they still have none.

use std::sync::Arc;
use std::time::Duration;

use crate::apply;
use crate::apply::options::{Check, RestoreOptions};
use crate::apply::report::Progress;
use crate::cancel::Cancel;
use crate::catalog::{Catalog, Entry};
use crate::commands::Run;
use crate::commands::fence::warn_of_raised;
use crate::error::{Error, Outcome, Result};
use crate::fence::{Fence, FenceConfig, Moved, stays};
use crate::server::ServerConfig;

/// A fence that is closed while somebody restores. It opens for a proof and for nothing else.
pub struct Closed<'a> {
    fence: Fence<'a>,
    workloads: String,
    /// What was taken away.
    taken: Vec<Moved>,
}

impl<'a> Closed<'a> {
    /// Closes it, where one is configured and nothing foreseen speaks against the restore.
    pub async fn begin(
        config: &'a FenceConfig,
        foreseen: impl Future<Output = Result<()>>,
        cancel: &Cancel,
    ) -> Result<Option<Closed<'a>>> {
        if config.workloads.is_empty() {
            return Ok(None);
        }
        if let Err(error) = foreseen.await {
            return Err(still_fenced(config, cancel, error).await);
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
async fn still_fenced(config: &FenceConfig, cancel: &Cancel, error: Error) -> Error {
    let look = async { Fence::find(config).await?.fenced(cancel).await };
    match cancel.unless(look).await {
        Ok(fenced) => stays(error, &fenced.join(", ")),
        Err(_) => error,
    }
}

/// What will be refused is refused before the application is taken from its users. A server that does
/// not answer may do so once it is rid of them.
pub async fn foresee(
    run: &Run,
    catalog: &Catalog,
    entry: &Entry,
    server: &Arc<ServerConfig>,
    options: &RestoreOptions,
) -> Result<()> {
    let options = RestoreOptions {
        check: Check::Executed,
        // Those of the application will be gone.
        allow_connections: true,
        reconnect: Duration::ZERO,
        ..options.clone()
    };
    let archive = run.cancel.unless(catalog.open(entry.id)).await?;
    let silent: Arc<dyn Progress> = Arc::new(apply::report::Silent);
    let plan = apply::plan(&archive, server, &options, &silent, &run.cancel);
    match run.cancel.unless(plan).await {
        Ok(plan) => plan.stops().map_or(Ok(()), Err),
        Err(error) if error.outcome() == Outcome::Server => {
            tracing::debug!(%error, "cannot foresee what the restore will meet");
            Ok(())
        }
        Err(error) => Err(error),
    }
}
