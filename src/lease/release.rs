//! Giving up an epoch, so that the next holder need not wait.

use std::sync::Arc;

use jiff::Timestamp;

use crate::Result;
use crate::layout::{Epoch, LeaseObject, TargetName};
use crate::lease::chain::{self, Chain};
use crate::lease::record::{FORMAT, Release};
use crate::lease::side::Side;
use crate::store::Store;

/// Records that the server of a side is read-only, in its newest epoch before `newest`; nothing if it renewed none, or
/// has recorded it. The server has to be read-only, and the GTIDs read while it was.
pub(super) async fn release(
    store: &Arc<dyn Store>,
    target: &TargetName,
    side: &Side,
    newest: Epoch,
    gtids: String,
) -> Result<()> {
    let chain = Chain::list(store, target).await?;
    for (epoch, marks) in chain.before(newest) {
        if marks.renewed.is_none() || chain.taking(epoch).await?.side != *side {
            continue;
        }
        if !marks.released {
            let record = Release {
                format: FORMAT,
                epoch,
                side: side.clone(),
                at: Timestamp::now(),
                gtids,
            };
            chain::put_new(store, target, LeaseObject::Released(epoch), &record).await?;
        }
        return Ok(());
    }
    Ok(())
}
