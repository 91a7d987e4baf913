//! Throw-away servers that drills restore into.
//!
//! - [`local`]: a server of the backup's own kind, started in a private directory, socket only:
//!   [`programs`] finds its program and [`layout`] its installation, [`options`] and [`room`] fit it to the
//!   backup and the machine, [`data_dir`] and [`process`] make it and run it, [`strays`] removes what a
//!   killed drill left, [`zones`] and [`spatial`] bring what the backup names beside its schemas.
//! - [`pod`]: the same in a pod of a Kubernetes cluster.
//! - [`given`]: a server that somebody else provides, and that must be empty.
//!
//! [`Scratch`] is the seam: whoever offers a server of another kind implements it.

pub mod data_dir;
pub mod given;
pub mod layout;
pub mod local;
pub mod options;
pub mod pod;
pub mod process;
pub mod programs;
pub mod room;
pub mod spatial;
pub mod strays;
pub mod zones;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::apply::report::RestoreReport;
use crate::archive::manifest::Manifest;
use crate::archive::read::Archive;
use crate::cancel::Cancel;
use crate::drill::DrillConfig;
use crate::error::{Error, Result};
use crate::report::model::{Profile, ScratchFacts};
use crate::server::{ServerConfig, ServerVersion};
use pod::config::PodConfig;

/// Which throw-away server.
#[derive(Debug, Clone)]
pub enum Choice {
    /// One that the drill starts on this machine.
    Local,
    /// One in a pod of a Kubernetes cluster.
    Pod(Box<PodConfig>),
    /// This one.
    Given(Box<ServerConfig>),
}

/// A running throw-away server. Dropping it ends what it started, in a hurry.
#[async_trait]
pub trait Scratch: Send + Sync {
    /// How to reach it.
    fn server(&self) -> &Arc<ServerConfig>;

    /// What it is, for the report.
    fn facts(&self) -> &ScratchFacts;

    /// Waits until it ends by itself, and says why. Never, where nobody would know.
    async fn ended(&mut self) -> Error;

    /// How long [`Scratch::ended`] may take to say why, once it has ended.
    fn last_words(&self) -> Duration {
        Duration::from_millis(300)
    }

    /// Removes everything that the drill brought, whatever became of it.
    async fn tear_down(self: Box<Self>, restored: &RestoreReport) -> Result<()>;

    /// Leaves the data for a look, and says how to have one.
    async fn keep(self: Box<Self>) -> Result<String>;
}

/// Provides the server that was chosen.
pub async fn begin(
    choice: &Choice,
    config: &DrillConfig,
    archive: &Archive,
    profile: Profile,
    cancel: &Cancel,
) -> Result<Box<dyn Scratch>> {
    let manifest = archive.manifest();
    let begun = match choice {
        Choice::Local => local::start(config, manifest, profile, cancel).await,
        Choice::Pod(pod) => pod::start(pod, config, manifest, profile, cancel).await,
        // Nothing of it is ours to change.
        Choice::Given(server) => return given::take(server, archive, cancel).await,
    }?;
    cancel.unless(zones::load(begun.server(), archive)).await?;
    cancel
        .unless(spatial::load(begun.server(), archive))
        .await?;
    Ok(begun)
}

/// What the server that was dumped was; an archive failure where the manifest does not say.
fn version_of(manifest: &Manifest) -> Result<ServerVersion> {
    let server = &manifest.server;
    ServerVersion::parse(&server.version, &server.flavour).ok_or_else(|| {
        Error::archive(format!(
            "the manifest names no server that drctl knows: {:?}",
            server.version
        ))
    })
}
