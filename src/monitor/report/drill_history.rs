//! Drill reports in the store: writing and reading. An unreadable report is skipped, so that a damaged one
//! does not stop a drill.

use std::sync::Arc;

use futures_util::StreamExt as _;
use jiff::SignedDuration;

use crate::archive::BackupPlace;
use crate::catalog::Catalog;
use crate::layout::{BackupId, BackupObject, DrillName};
use crate::monitor::report::model::{DrillReport, REPORT};
use crate::store::{MOST_RECORD_BYTES, Store, StoreError};
use crate::util::error::{Error, Result};
use crate::util::times::after;

/// How many reports say what is known of the identities: each knows what those before it did, but for restores.
pub const REMEMBERED: usize = 10;

/// Number of reports read in parallel.
const READS_AT_ONCE: usize = 16;

/// The newest `most` reports selected by `wanted` from their names and by `taken` from their contents,
/// newest first; reads no more reports than necessary.
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

/// Notes what earlier drills knew of the identities, so that the newest report knows all of it. Best effort: what is not
/// known is reported as not drilled.
pub async fn remember(store: &Arc<dyn Store>, catalog: &Catalog, report: &mut DrillReport) {
    match newest(store, catalog, REMEMBERED, |_| true, |_| true).await {
        Ok(earlier) => {
            let known = earlier.into_iter().flat_map(|one| one.evidence.identities);
            for (recipient, at) in known {
                let last = report.evidence.identities.entry(recipient).or_insert(at);
                *last = at.max(*last);
            }
        }
        Err(error) => tracing::warn!(%error, "the identities of earlier drills are not known"),
    }
}

/// Writes a report next to its backup. Names have whole seconds: if two drills ended in the same second,
/// the later one tries the next second.
pub async fn write(
    store: &Arc<dyn Store>,
    place: &BackupPlace,
    report: &DrillReport,
) -> Result<()> {
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
                return Err(Error::store("cannot write the report of the drill")
                    .because(error)
                    .hint(
                        "grant drctl write access below the target's prefix; without its report a drill \
                         is not on record",
                    ));
            }
        }
    }
    Ok(())
}

/// Reads one report; `None` if this version of drctl does not understand it.
async fn read(
    store: &Arc<dyn Store>,
    catalog: &Catalog,
    id: BackupId,
    name: DrillName,
) -> Result<Option<DrillReport>> {
    let key = catalog.place(id).key(&BackupObject::Drill(name));
    let bytes = store.get_at_most(&key, MOST_RECORD_BYTES).await?;
    match serde_json::from_slice::<DrillReport>(&bytes) {
        Ok(report) if report.report == REPORT && report.backup == id => Ok(Some(report)),
        Ok(_) => Ok(None),
        Err(error) => {
            tracing::debug!(%key, %error, "not a drill report");
            Ok(None)
        }
    }
}
