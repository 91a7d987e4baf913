//! Restores an archive into a server.
//!
//! ```text
//! inspect ─→ plan ─→ pre-data ─→ data ─→ keys ─→ foreign keys ─→ post-data ─→ compare ─→ events
//!    │                  one        lanes    lanes                   one
//!    └ refusals: nothing was changed             marker `drctl_restore` exists from plan to end
//! ```
//!
//! - [`steps`]: the restore in steps, from preparation to the removal of the marker.
//! - [`inspect`]: contents of the archive, state of the destination, blockers, the plan.
//! - [`frames`]: frames of the archive, fetched, checked and split within a memory budget.
//! - [`session`]: connections with sessions of the dump, retries, temporary server settings.
//! - [`passes`]: the passes, from accounts to the comparison.
//! - [`state`]: the restore marker; resuming, discarding or keeping an unfinished restore.
//! - [`standby`]: a restore that the binary log goes on in, and its end.
//! - [`options`], [`scope`], [`report`]: input and result.
//!
//! Each pass is repeatable, and ends in a barrier that is recorded in the marker.

pub mod frames;
pub mod inspect;
pub mod of_kind;
pub mod options;
pub mod passes;
pub mod report;
pub mod scope;
pub mod session;
pub mod standby;
pub mod state;
pub mod steps;

use std::sync::Arc;

use crate::archive::read::Archive;
use crate::layout::TargetName;
use crate::mysql::ServerConfig;
use crate::sql::statement::ObjectId;
use crate::util::cancel::Cancel;
use crate::util::error::Result;

use inspect::plan::RestorePlan;
use inspect::refusal::refused;
use inspect::{Inspection, control_config};
use options::RestoreOptions;
use report::{Progress, RestoreReport};
use session::lane::Lane;
use session::tuning;
use state::discard;
use state::keep::{self, Kept, no_unfinished_restore};
use state::marker;
use steps::Restore;

/// Computes what [`restore`] would do, without changing anything.
pub async fn plan(
    archive: &Archive,
    server: &Arc<ServerConfig>,
    options: &RestoreOptions,
    progress: &Arc<dyn Progress>,
    cancel: &Cancel,
) -> Result<RestorePlan> {
    let inspection = Inspection::gather(archive, server, options, progress, cancel, None).await?;
    let plan = inspection.plan(archive, options);
    inspection.control.close().await;
    Ok(plan)
}

/// Restores a backup into a server.
///
/// A failure leaves the marker, and the same call resumes. Differences in the comparison are exit 7, and
/// also leave the marker. `report` contains what was done, also after a failure.
pub async fn restore(
    archive: &Archive,
    server: &Arc<ServerConfig>,
    options: RestoreOptions,
    progress: Arc<dyn Progress>,
    cancel: &Cancel,
    report: &mut RestoreReport,
) -> Result<()> {
    let mut restore = Restore::prepare(archive, server, options, progress, cancel).await?;
    let done = async {
        restore.load().await?;
        restore.compare().await?;
        restore.replay().await?;
        restore.complete().await
    }
    .await;
    restore.finish(done, report).await
}

/// Reverts the settings changed by an unfinished restore, and keeps its marker; returns them.
pub async fn undo_settings(server: &Arc<ServerConfig>, cancel: &Cancel) -> Result<Vec<String>> {
    let mut control = Lane::open(control_config(server, true, cancel)).await?;
    let done = match marker::read(&mut control).await? {
        Some(_) => tuning::revert(&mut control).await?,
        None => Vec::new(),
    };
    control.close().await;
    Ok(done)
}

/// Drops the marker of an unfinished restore and keeps its objects; returns what was not done.
pub async fn keep(server: &Arc<ServerConfig>, cancel: &Cancel) -> Result<Kept> {
    let mut control = Lane::open(control_config(server, true, cancel)).await?;
    let kept = keep::keep(&mut control).await?;
    control.close().await;
    Ok(kept)
}

/// Drops the objects of an unfinished restore of this target, and its marker; returns them.
pub async fn discard(
    server: &Arc<ServerConfig>,
    target: &TargetName,
    cancel: &Cancel,
) -> Result<Vec<ObjectId>> {
    let mut control = Lane::open(control_config(server, true, cancel)).await?;
    let dropped = match marker::read(&mut control).await? {
        Some(marker) => {
            if let Some(error) = refused(marker.request.of_another(target.as_str()).as_slice()) {
                return Err(error);
            }
            tuning::revert(&mut control).await?;
            discard::discard(&mut control, &marker).await?
        }
        None if discard::drop_incomplete_marker(&mut control).await? => Vec::new(),
        None => return Err(no_unfinished_restore()),
    };
    control.close().await;
    Ok(dropped)
}

/// Drops the objects of a finished restore; a schema only if no other objects are in it.
pub async fn drop_made(server: &Arc<ServerConfig>, made: &[ObjectId]) -> Result<()> {
    let mut control = Lane::open(control_config(server, true, &Cancel::default())).await?;
    discard::drop_all(&mut control, made).await?;
    control.close().await;
    Ok(())
}
