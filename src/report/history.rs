//! The reports of drills in the store: kept, and read again as far as they can be, since evidence that
//! somebody damaged must not stop a drill.

use std::sync::Arc;

use futures_util::StreamExt as _;
use jiff::SignedDuration;

use crate::archive::BackupPlace;
use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::report::model::{DrillReport, REPORT};
use crate::store::keys::{BackupId, BackupObject, DrillName};
use crate::store::{Store, StoreError};
use crate::times::after;

/// How many reports are read side by side.
const READS_AT_ONCE: usize = 16;

/// The newest `most` reports that `wanted` picks by their names and `taken` by what they say, newest
/// first; no more are read than it takes.
pub async fn newest(
    store: &Arc<dyn Store>,
    catalog: &Catalog,
    most: usize,
    wanted: impl Fn(&DrillName) -> bool,
    taken: impl Fn(&DrillReport) -> bool,
) -> Result<Vec<DrillReport>> {
    let drills = catalog.drills().into_iter();
    let chosen = drills.filter(|(_, name)| wanted(name));
    let reads = chosen.map(|(id, name)| read(store, catalog, id, name.clone()));
    let mut reads = futures_util::stream::iter(reads).buffered(READS_AT_ONCE);
    let mut reports = Vec::new();
    while reports.len() < most
        && let Some(report) = reads.next().await
    {
        reports.extend(report?.filter(&taken));
    }
    Ok(reports)
}

/// Puts a report beside its backup. Names have whole seconds: of two drills that ended in the same
/// one, the later gives way.
pub async fn keep(store: &Arc<dyn Store>, place: &BackupPlace, report: &DrillReport) -> Result<()> {
    const TRIES: i64 = 5;
    let body = serde_json::to_vec_pretty(report)
        .map_err(|e| Error::unexpected("cannot write the report").because(e))?;
    let mut name = report.name();
    for left in (0..TRIES).rev() {
        let key = place.key(&BackupObject::Drill(name.clone()));
        match store.put_new(&key, body.clone().into()).await {
            Ok(()) => return Ok(()),
            Err(StoreError::AlreadyExists { .. }) if left > 0 => {
                name.time = after(name.time, SignedDuration::from_secs(1));
            }
            Err(error) => {
                return Err(Error::store("the report of the drill could not be kept")
                    .because(error)
                    .hint(
                        "let drctl write below the target's prefix; without its report a drill \
                         proves nothing to others",
                    ));
            }
        }
    }
    Ok(())
}

/// One report; `None` where it is not one that this drctl understands.
async fn read(
    store: &Arc<dyn Store>,
    catalog: &Catalog,
    id: BackupId,
    name: DrillName,
) -> Result<Option<DrillReport>> {
    let key = catalog.place(id).key(&BackupObject::Drill(name));
    let bytes = store.get(&key, None).await?;
    match serde_json::from_slice::<DrillReport>(&bytes) {
        Ok(report) if report.report == REPORT && report.backup == id => Ok(Some(report)),
        Ok(_) => Ok(None),
        Err(error) => {
            tracing::debug!(%key, %error, "no report of a drill");
            Ok(None)
        }
    }
}
