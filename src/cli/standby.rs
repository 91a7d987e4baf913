//! `drctl standby`: keeps a standby.

use std::sync::Arc;

use crate::cli::Context;
use crate::cli::args::StandbyArgs;
use crate::restore::options::Resources;
use crate::standby::Follower;
use crate::standby::promote::Lease;
use crate::store;
use crate::util::error::Result;

/// Runs until SIGTERM, or with `--once` until what is archived now is applied.
pub async fn run(context: &Context, args: StandbyArgs) -> Result<()> {
    let lease = lease(context).await?;
    follower(context, args.into.as_deref(), lease)?
        .run(args.once, args.rebuild)
        .await
}

/// The lease of this side, where one is configured.
pub(super) async fn lease(context: &Context) -> Result<Option<Lease>> {
    let config = &context.config;
    if config.lease.side.is_none() {
        return Ok(None);
    }
    let side = config.lease.side()?.clone();
    let opened = store::open(config.lease_store()?, context.keys()?);
    let store = context.cancel.unless(opened).await?;
    Ok(Some(Lease {
        store,
        side,
        lease: config.lease.seconds.duration(),
    }))
}

/// The standby that is configured.
pub(super) fn follower(
    context: &Context,
    into: Option<&str>,
    lease: Option<Lease>,
) -> Result<Follower> {
    let config = &context.config;
    let default = Resources::default();
    Ok(Follower {
        server: Arc::new(config.restore_into(into)?),
        store: context.store.clone(),
        target: config.target.clone(),
        config: config.standby,
        proof: config.schedule.standby.clone(),
        resources: Resources {
            loader: config.restore.loader,
            lanes: config.restore.lanes.unwrap_or(default.lanes),
            reconnect: config.restore.reconnect_seconds.duration(),
            reader: config.backup.source.reader,
        },
        lease,
        cancel: context.cancel.clone(),
    })
}
