//! The backup with which a new one is compared: the newest one that is verified or was accepted, otherwise the newest
//! usable one.

use std::sync::Arc;

use crate::archive::manifest::Manifest;
use crate::backup::anomaly::{self, Facts, Names};
use crate::catalog::binding;
use crate::catalog::{Catalog, Entry};
use crate::sql::statement::ObjectKind;
use crate::store::Store;
use crate::util::error::{Outcome, Result};

/// The facts of that backup; `None` if there is none.
pub async fn facts(catalog: &Catalog) -> Result<Option<Facts>> {
    match backup(catalog).await? {
        Some(entry) => Ok(Some(facts_of(catalog, &entry).await?)),
        None => Ok(None),
    }
}

/// The identity of the target's server according to that backup, otherwise the one that the target was bound to; `None`
/// for a target without backups. Every check for the right server is based on it (new backups: [`anomaly::known`]).
pub async fn server(store: &Arc<dyn Store>, catalog: &Catalog) -> Result<Option<String>> {
    let before = backup(catalog).await?;
    let before = before.map(|entry| entry.manifest.server.identity);
    let bound = binding::read(store, catalog.target()).await?;
    let bound = bound.map(|bound| bound.identity);
    Ok(match (&bound, &before) {
        (None, None) => None,
        (bound, before) => {
            let bound = bound.as_deref().unwrap_or_default();
            Some(anomaly::known(bound, before.as_deref()).to_owned())
        }
    })
}

/// The backup with which new ones are compared.
///
/// A damaged backup prevents neither new backups nor their comparison: its readable parts are used, or else the next
/// backup. A backup that failed a drill is the last choice.
async fn backup(catalog: &Catalog) -> Result<Option<Entry>> {
    let mut candidates: Vec<_> = catalog.committed().collect();
    // The sort is stable: newest first within each group.
    candidates.sort_by_key(|(_, marks)| match marks.failed_at {
        None if marks.is_reference() => 0,
        None => 1,
        Some(_) => 2,
    });
    for (id, _) in candidates {
        match catalog.entry(id).await {
            Ok(entry) if entry.is_usable() => return Ok(Some(entry)),
            Ok(_) => {}
            Err(error) if error.outcome() == Outcome::Archive => {
                tracing::warn!(%error, "an earlier backup is damaged");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

async fn facts_of(catalog: &Catalog, entry: &Entry) -> Result<Facts> {
    let mut facts = of_manifest(&entry.manifest);
    if entry.manifest.is_encrypted() {
        return Ok(facts);
    }
    let archive = match catalog.open(entry.id).await {
        Ok(archive) => archive,
        Err(error) if error.outcome() == Outcome::Archive => {
            tracing::warn!(%error, "an earlier backup is damaged");
            return Ok(facts);
        }
        Err(error) => return Err(error),
    };
    let mut names = Names::default();
    for (object, _) in archive.contents().ledger.iter() {
        let (schema, name) = (object.schema.clone(), object.name.clone());
        match object.kind {
            ObjectKind::Schema => drop(names.schemas.insert(schema)),
            ObjectKind::Table => drop(names.tables.insert((schema, name))),
            _ => {}
        }
    }
    facts.names = Some(names);
    Ok(facts)
}

fn of_manifest(manifest: &Manifest) -> Facts {
    Facts {
        identity: manifest.server.identity.clone(),
        encrypted: manifest.is_encrypted(),
        signed: manifest.signature != "none",
        schemas: manifest.schemas(),
        tables: manifest.tables(),
        entries: manifest.entries(),
        rows: manifest.totals.rows,
        raw_bytes: manifest.totals.raw_bytes,
        snapshot_at: manifest.snapshot_at,
        ..Facts::default()
    }
}
