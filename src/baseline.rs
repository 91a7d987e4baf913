//! What a new backup is judged against: the newest verified one, else the newest trusted one.

use crate::archive::manifest::Manifest;
use crate::catalog::{Catalog, Entry, Which};
use crate::error::{Outcome, Result};
use crate::sql::statement::ObjectKind;
use crate::suspect::Facts;

/// The facts of that backup; `None` where there is none to trust.
///
/// A damaged backup is what drills find. It must not keep new ones from being made, nor let them
/// go unjudged: what can still be read of it is used.
pub async fn facts(catalog: &Catalog) -> Result<Option<Facts>> {
    for which in [Which::LatestVerified, Which::Latest] {
        match catalog.find(which).await {
            Ok(entry) => return Ok(Some(facts_of(catalog, &entry).await?)),
            Err(error) if error.outcome() == Outcome::NothingToDo => {}
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
        ..Facts::default()
    }
}
