//! Spatial reference systems on a scratch server of drctl's own: those used by the backup's tables. Any other server is
//! refused if it lacks one.

use std::collections::BTreeMap;

use crate::archive::read::Archive;
use crate::mysql::{ServerConfig, connect};
use crate::restore::inspect::spatial;
use crate::sql::spatial::SpatialReference;
use crate::util::error::Result;

/// Creates the spatial reference systems, in place of others with the same SRID.
pub async fn load(server: &ServerConfig, archive: &Archive) -> Result<()> {
    let inventory = archive.contents().inventory.iter();
    let systems: BTreeMap<u32, &SpatialReference> = inventory
        .flat_map(|entry| &entry.spatial)
        .map(|system| (system.id, system))
        .collect();
    if systems.is_empty() {
        return Ok(());
    }
    let mut connection = connect(server).await?;
    for (number, system) in systems {
        let there = spatial::definition(&mut connection, number).await?;
        if there.as_ref() != Some(&system.definition) {
            connection.run(&system.replace()).await?;
        }
    }
    connection.close().await;
    Ok(())
}
