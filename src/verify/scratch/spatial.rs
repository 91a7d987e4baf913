//! Spatial reference systems on a scratch server: those used by the backup's tables. On an external one, which is not
//! changed, they have to exist.

use crate::archive::read::Archive;
use crate::mysql::{Connection, ServerConfig, connect};
use crate::restore::inspect::refusal::refused;
use crate::restore::inspect::spatial;
use crate::util::error::Result;

/// Creates the spatial reference systems, in place of others with the same SRID.
pub async fn load(server: &ServerConfig, archive: &Archive) -> Result<()> {
    let inventory = archive.contents().inventory.iter();
    let systems: Vec<String> = inventory
        .flat_map(|entry| &entry.spatial)
        .map(|system| system.replace())
        .collect();
    if systems.is_empty() {
        return Ok(());
    }
    let mut connection = connect(server).await?;
    for system in systems {
        connection.run(&system).await?;
    }
    connection.close().await;
    Ok(())
}

/// Refuses an external server that lacks one of them, or defines it otherwise.
pub async fn require(connection: &mut Connection, archive: &Archive) -> Result<()> {
    let inventory = &archive.contents().inventory;
    let refusals = spatial::refusals_for_all(connection, inventory).await?;
    refused(&refusals).map_or(Ok(()), Err)
}
