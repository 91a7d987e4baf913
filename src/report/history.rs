//! The reports of past drills, as far as they can be read: evidence that somebody damaged must not
//! stop a drill.

use std::sync::Arc;

use futures_util::StreamExt as _;

use crate::catalog::Catalog;
use crate::error::Result;
use crate::report::model::{DrillReport, REPORT};
use crate::store::Store;
use crate::store::keys::{BackupId, BackupObject, DrillName};

/// How many reports are read side by side.
const READS_AT_ONCE: usize = 16;

/// The newest `most` reports of drills that `wanted` picks by their names, newest first.
pub async fn newest(
    store: &Arc<dyn Store>,
    catalog: &Catalog,
    most: usize,
    wanted: impl Fn(&DrillName) -> bool,
) -> Result<Vec<DrillReport>> {
    let drills = catalog.drills().into_iter();
    let chosen = drills.filter(|(_, name)| wanted(name)).take(most);
    let reads = chosen.map(|(id, name)| read(store, catalog, id, name.clone()));
    let mut reads = futures_util::stream::iter(reads).buffered(READS_AT_ONCE);
    let mut reports = Vec::new();
    while let Some(report) = reads.next().await {
        reports.extend(report?);
    }
    Ok(reports)
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
