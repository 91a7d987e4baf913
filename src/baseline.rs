//! What a new backup is judged against: the newest that a restore verified or a person accepted, else the
//! newest that is trusted by itself.

use std::sync::Arc;

use crate::archive::manifest::Manifest;
use crate::catalog::{Catalog, Entry};
use crate::error::{Outcome, Result};
use crate::sql::statement::ObjectKind;
use crate::store::Store;
use crate::suspect::{self, Facts};
use crate::target;

/// The facts of that backup; `None` where there is none to trust.
pub async fn facts(catalog: &Catalog) -> Result<Option<Facts>> {
    match backup(catalog).await? {
        Some(entry) => Ok(Some(facts_of(catalog, &entry).await?)),
        None => Ok(None),
    }
}

/// The server that the target is, by the same backup; where there is none, the one that it was bound to.
/// `None` for a target that was never backed up.
///
/// Whoever asks whether a server is the right one asks here: doctor, retention, and by [`suspect::known`] a
/// new backup.
pub async fn server(store: &Arc<dyn Store>, catalog: &Catalog) -> Result<Option<String>> {
    let before = backup(catalog).await?;
    let before = before.map(|entry| entry.manifest.server.identity);
    let bound = target::read(store, catalog.target()).await?;
    let bound = bound.map(|bound| bound.identity);
    Ok(match (&bound, &before) {
        (None, None) => None,
        (bound, before) => {
            let bound = bound.as_deref().unwrap_or_default();
            Some(suspect::known(bound, before.as_deref()).to_owned())
        }
    })
}

/// The backup that new ones are judged against.
///
/// A damaged backup is what drills find. It must not keep new ones from being made, nor let them
/// go unjudged: what can still be read of it, or of the next one, is used. One that failed a drill comes last.
async fn backup(catalog: &Catalog) -> Result<Option<Entry>> {
    let mut candidates: Vec<_> = catalog.committed().collect();
    // Newest first within each.
    candidates.sort_by_key(|(_, marks)| match marks.failed_at {
        None if marks.is_vouched() => 0,
        None => 1,
        Some(_) => 2,
    });
    for (id, _) in candidates {
        match catalog.entry(id).await {
            Ok(entry) if entry.is_trusted() => return Ok(Some(entry)),
            Ok(_) => {}
            Err(error) if error.outcome() == Outcome::Archive => {
                tracing::warn!(%error, "a backup before this one is damaged");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

async fn facts_of(catalog: &Catalog, entry: &Entry) -> Result<Facts> {
    let mut facts = of_manifest(&entry.manifest);
    let archive = match catalog.open(entry.id).await {
        Ok(archive) => archive,
        Err(error) if error.outcome() == Outcome::Archive => {
            tracing::warn!(%error, "a backup before this one is damaged");
            return Ok(facts);
        }
        Err(error) => return Err(error),
    };
    for (object, _) in archive.contents().ledger.iter() {
        match object.kind {
            ObjectKind::Schema => drop(facts.schemas.insert(object.schema.clone())),
            ObjectKind::Table => {
                facts
                    .tables
                    .insert((object.schema.clone(), object.name.clone()));
            }
            _ => {}
        }
    }
    Ok(facts)
}

fn of_manifest(manifest: &Manifest) -> Facts {
    Facts {
        identity: manifest.server.identity.clone(),
        rows: manifest.totals.rows,
        raw_bytes: manifest.totals.raw_bytes,
        snapshot_at: manifest.snapshot_at,
        ..Facts::default()
    }
}
