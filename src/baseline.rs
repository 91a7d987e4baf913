//! What a new backup is judged against: the newest that a restore verified or a person accepted, else the
//! newest that is trusted by itself.

use crate::archive::manifest::Manifest;
use crate::catalog::{Catalog, Entry};
use crate::error::{Outcome, Result};
use crate::sql::statement::ObjectKind;
use crate::suspect::Facts;

/// The facts of that backup; `None` where there is none to trust.
///
/// A damaged backup is what drills find. It must not keep new ones from being made, nor let them
/// go unjudged: what can still be read of it, or of the next one, is used.
pub async fn facts(catalog: &Catalog) -> Result<Option<Facts>> {
    let (vouched, others): (Vec<_>, Vec<_>) = catalog
        .committed()
        .partition(|(_, marks)| marks.accepted || marks.proven_at.is_some());
    for (id, _) in vouched.into_iter().chain(others) {
        match catalog.entry(id).await {
            Ok(entry) if entry.is_trusted() => return Ok(Some(facts_of(catalog, &entry).await?)),
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
