//! Spatial reference systems on a scratch server: those used by the backup's tables.

use crate::archive::read::Archive;
use crate::mysql::{ServerConfig, connect};
use crate::util::error::Result;

/// Creates the missing spatial reference systems.
pub async fn load(server: &ServerConfig, archive: &Archive) -> Result<()> {
    let inventory = archive.contents().inventory.iter();
    let systems: Vec<String> = inventory
        .flat_map(|entry| &entry.spatial)
        .map(|system| system.create())
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
