//! Spatial reference systems on a scratch server: those that the backup's tables refer to.

use crate::archive::read::Archive;
use crate::error::Result;
use crate::server::{ServerConfig, connect};

/// Creates those that the server does not have.
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
