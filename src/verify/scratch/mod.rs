//! Scratch servers that drills restore into.
//!
//! - [`local`]: a server of the backup's flavour and release series, in a private directory, reachable by
//!   socket only: [`programs`] finds its program and [`layout`] its installation, [`options`] and
//!   [`disk_space`] fit it to the backup and the machine, [`data_dir`] and [`process`] initialise and run
//!   it, [`data_cache`] caches initialised data for later drills, [`orphans`] removes directories of killed
//!   drills, [`zones`] and [`spatial`] load what the backup needs besides its schemas.
//! - [`pod`]: the same in a pod of a Kubernetes cluster.
//! - [`external`]: an existing server, which must be empty.
//!
//! [`Scratch`] is the common interface of all kinds.

pub mod data_cache;
pub mod data_dir;
pub mod disk_space;
pub mod external;
pub mod layout;
pub mod local;
pub mod options;
pub mod orphans;
pub mod pod;
pub mod process;
pub mod programs;
pub mod spatial;
pub mod zones;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::archive::manifest::Manifest;
use crate::archive::read::Archive;
use crate::monitor::report::model::{Profile, ScratchFacts};
use crate::mysql::{ServerConfig, ServerVersion};
use crate::replay::address;
use crate::restore::report::RestoreReport;
use crate::util::cancel::Cancel;
use crate::util::error::{Error, Result};
use crate::verify::DrillConfig;
use pod::config::PodConfig;

/// Kind of scratch server.
#[derive(Debug, Clone)]
pub enum Choice {
    /// A server that the drill starts on this machine.
    Local,
    /// A server in a pod of a Kubernetes cluster.
    Pod(Box<PodConfig>),
    /// An existing server.
    External(Box<ServerConfig>),
}

/// A running scratch server. Dropping it kills what it started.
#[async_trait]
pub trait Scratch: Send + Sync {
    /// Connection settings.
    fn server(&self) -> &Arc<ServerConfig>;

    /// Its description for the report.
    fn facts(&self) -> &ScratchFacts;

    /// Resolves with the cause when the server exits unexpectedly; never if that cannot be observed.
    async fn ended(&mut self) -> Error;

    /// Time for [`Scratch::ended`] to report the cause after the server ended.
    fn cause_timeout(&self) -> Duration {
        Duration::from_millis(300)
    }

    /// The address of this machine by which the server reaches it, to replay a binary log that drctl serves.
    async fn own_address(&self) -> Result<IpAddr> {
        address::own_address(self.server()).await
    }

    /// Removes everything that the drill created, whatever its result.
    async fn tear_down(self: Box<Self>, restored: &RestoreReport) -> Result<()>;

    /// Keeps the data for inspection; returns instructions for access.
    async fn keep(self: Box<Self>) -> Result<String>;
}

/// Provides a scratch server of the chosen kind; `replays`: for a drill that replays a binary log.
pub async fn begin(
    choice: &Choice,
    config: &DrillConfig,
    archive: &Archive,
    profile: Profile,
    replays: bool,
    cancel: &Cancel,
) -> Result<Box<dyn Scratch>> {
    let manifest = archive.manifest();
    let begun = match choice {
        Choice::Local => Box::pin(local::start(config, manifest, profile, replays, cancel)).await,
        Choice::Pod(pod) => {
            Box::pin(pod::start(pod, config, manifest, profile, replays, cancel)).await
        }
        // The settings of an existing server are not changed.
        Choice::External(server) => return external::take(server, archive, cancel).await,
    }?;
    cancel
        .unless(zones::load(begun.server(), archive, replays))
        .await?;
    cancel
        .unless(spatial::load(begun.server(), archive))
        .await?;
    Ok(begun)
}

/// Version of the target server; an archive failure if the manifest does not contain a known one.
fn version_of(manifest: &Manifest) -> Result<ServerVersion> {
    let server = &manifest.server;
    server.parsed().ok_or_else(|| {
        Error::archive(format!(
            "the manifest names an unknown server: {:?}",
            server.version
        ))
    })
}
