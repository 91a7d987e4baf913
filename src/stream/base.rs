//! Where the newest usable backup stands: a first start archives from its file on.

use std::sync::Arc;

use crate::archive::manifest::Coordinates;
use crate::catalog::{Catalog, Which};
use crate::layout::TargetName;
use crate::store::Store;
use crate::{Error, Outcome, Result};

/// Coordinates of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Its id, for people.
    pub backup: String,
    /// Identity of the server.
    pub server: String,
    /// Its place in the log.
    pub coordinates: Coordinates,
}

impl Base {
    /// That of the newest usable backup; `None` without one, or if it has no coordinates.
    pub async fn newest(store: &Arc<dyn Store>, target: &TargetName) -> Result<Option<Base>> {
        let catalog = Catalog::read(store.clone(), target.clone()).await?;
        let entry = match catalog.find(Which::Latest).await {
            Ok(entry) => entry,
            Err(error) if error.outcome() == Outcome::NothingToDo => return Ok(None),
            Err(error) => return ignored(error),
        };
        let coordinates = match catalog.coordinates(&entry).await {
            Ok(coordinates) => coordinates,
            Err(error) => return ignored(error),
        };
        Ok(coordinates.map(|coordinates| Base {
            backup: entry.id.to_string(),
            server: entry.manifest.server.identity,
            coordinates,
        }))
    }
}

/// Neither damage of a backup, nor its signature, nor an encrypted index keeps the log from being archived.
fn ignored(error: Error) -> Result<Option<Base>> {
    match error.outcome() {
        Outcome::Archive | Outcome::Usage => {
            tracing::warn!(%error, "cannot read the place of the newest backup in the log");
            Ok(None)
        }
        _ => Err(error),
    }
}
