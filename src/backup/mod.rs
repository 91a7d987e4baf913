//! Create a backup: lock → preflight → dump → verify unchanged → commit.
//!
//! - [`options`]: what is backed up, and the policies.
//! - [`source`]: the connection to the server that is dumped.
//! - [`lock`]: one backup of a target at a time, and no DDL during the dump.
//! - [`preflight`]: checks before the dump: [`replica`] lag, objects that cannot be dumped (`undumpable`) or need
//!   manual work after a restore (`not_restorable`), values that depend on session settings ([`computed`],
//!   `time_zones`), spatial reference systems (`spatial`).
//! - [`dump`]: arguments of the dump program, in the order of `schema_order`, and the running dump.
//! - `coordinates`, `gtid`: binary log coordinates of the snapshot.
//! - [`accounts`]: CREATE USER and GRANT statements, which no dump contains.
//! - [`drift`]: objects that changed during the dump.
//! - `pump`: streams the dump into the archive: that of the dump program, or (`native`) its definitions and the rows that
//!   the native reader reads.
//! - `seal`: from the end of the dump to the manifest.
//! - [`of_kind`]: the same for sources other than MySQL.
//! - [`anomaly`]: whether a backup is suspect, compared with an earlier one.

pub mod accounts;
pub mod anomaly;
pub mod computed;
mod coordinates;
pub mod drift;
pub mod dump;
mod gtid;
pub mod lock;
mod native;
pub mod not_restorable;
pub mod of_kind;
pub mod options;
pub mod preflight;
mod pump;
pub mod replica;
mod schema_order;
mod seal;
pub mod source;
mod spatial;
mod time_zones;
mod undumpable;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::archive::BackupPlace;
use crate::archive::manifest::{self, Manifest};
use crate::archive::write::WriteOptions;
use crate::archive::write::commit::{self, ReadBack};
use crate::catalog::Catalog;
use crate::catalog::cleanup;
use crate::catalog::lease::Lease;
use crate::layout::{BackupId, TargetName};
use crate::mysql::ServerConfig;
use crate::mysql::connect::wait_for;
use crate::store::Store;
use crate::util::cancel::{Cancel, awaited, tidy};
use crate::util::error::{Error, Result};
use crate::util::panics;

use anomaly::{Facts, baseline};
use options::SourceOptions;
use source::Source;

/// Configuration of backups.
#[derive(Debug, Clone)]
pub struct BackupConfig {
    /// What is backed up, and under which policies.
    pub source: SourceOptions,
    /// How the archive is written.
    pub write: WriteOptions,
    /// How much is read back before the commit.
    pub read_back: ReadBack,
    /// A backup that has lost more than this share of rows or bytes is suspect; 0 to 1.
    pub shrink_limit: f64,
    /// Maximum number of dumps if the schema changes during the dump.
    pub attempts: u32,
    /// How long the first connection is retried.
    pub connect: Duration,
    /// Deadline of the run; `None` for no deadline.
    pub deadline: Option<Duration>,
    /// Labels of every backup.
    pub labels: BTreeMap<String, String>,
}

/// One backup to create.
pub struct Job<'a> {
    /// Name of the target in the store.
    pub target: &'a TargetName,
    /// The store of the backup.
    pub store: Arc<dyn Store>,
    /// Configuration of all backups of the target.
    pub config: &'a BackupConfig,
    /// Labels of this backup.
    pub labels: &'a BTreeMap<String, String>,
    /// When the run started.
    pub started_at: Timestamp,
    /// Cancels the run.
    pub cancel: &'a Cancel,
    /// Starts a progress meter for a dump of about that many bytes.
    pub progress: &'a (dyn Fn(u64) -> Arc<dyn Meter> + Sync),
}

/// Progress of one dump, shown until it is dropped.
pub trait Meter: Send + Sync {
    /// Adds bytes of SQL.
    fn add(&self, bytes: u64);
}

/// A committed backup.
#[derive(Debug)]
pub struct Committed {
    /// The manifest, as stored.
    pub manifest: Manifest,
    /// Why the manifest object is not protected as configured; `None` if it is.
    pub unprotected: Option<Error>,
    /// The backups before it.
    pub earlier: Catalog,
}

/// Creates a backup; dumps again if the schema changes during the dump.
///
/// # Errors
///
/// Nothing is committed, and the objects written are discarded, by a later run if need be.
pub async fn create(job: &Job<'_>, server: &ServerConfig) -> Result<Committed> {
    manifest::check_labels(job.labels)?;
    let config = job.config;
    let reached = wait_for(server, config.connect);
    job.cancel.unless(reached).await?;
    let connected = Source::connect(server, job.target, &config.source);
    let mut source = job.cancel.unless(connected).await?;
    panics::inject("verb");
    // Under the lock of the target, objects that look left over belong to no running backup.
    let (catalog, baseline) = earlier(job).await?;
    let mut attempt = 1;
    let committed = loop {
        match attempt_once(job, &mut source, &catalog, baseline.as_ref()).await {
            Err(error) if error.is_retryable() && attempt < config.attempts => {
                tracing::warn!(%error, attempt, "schema changed during the dump; retrying");
                attempt += 1;
            }
            Err(error) if source.gives_up_coordinates(&error) => {
                tracing::warn!(%error, "retrying without binary log coordinates");
            }
            ended => break ended?,
        }
    };
    source.close().await;
    Ok(committed)
}

/// The backups before this one, without what interrupted runs left, and the facts of the one to compare with.
async fn earlier(job: &Job<'_>) -> Result<(Catalog, Option<Facts>)> {
    let catalog = Catalog::read(job.store.clone(), job.target.clone());
    let catalog = job.cancel.unless(catalog).await?;
    clean_up(job.cancel, &job.store, &catalog).await?;
    let baseline = job.cancel.unless(baseline::facts(&catalog)).await?;
    Ok((catalog, baseline))
}

/// Removes what interrupted runs left in the store. A failure is logged, since the backup is more important.
///
/// # Errors
///
/// Only the cancellation of the run.
async fn clean_up(cancel: &Cancel, store: &Arc<dyn Store>, catalog: &Catalog) -> Result<()> {
    let cleaning = async {
        let leftovers = cleanup::find_leftovers(store, catalog, Timestamp::now()).await?;
        cleanup::remove_leftovers(store, catalog, leftovers).await;
        Ok(())
    };
    if let Err(error) = cancel.unless(cleaning).await {
        cancel.check()?;
        tracing::warn!(%error, "cannot clean up after interrupted runs");
    }
    Ok(())
}

/// Creates a backup from one dump.
async fn attempt_once(
    job: &Job<'_>,
    source: &mut Source,
    earlier: &Catalog,
    baseline: Option<&Facts>,
) -> Result<Committed> {
    let preflight = job.cancel.unless(preflight::run(source)).await?;
    commit_attempt(job, earlier, preflight.snapshot_at, async |place| {
        let (dumped, written) = pump::dump(job, source, place, &preflight).await?;
        let sealing = seal::manifest(job, source, place, &preflight, dumped, written, baseline);
        awaited(job.cancel, || (), sealing).await
    })
    .await
}

/// Commits the backup whose objects `write` writes. After a failure before the manifest is sent, they are discarded.
async fn commit_attempt(
    job: &Job<'_>,
    earlier: &Catalog,
    snapshot_at: Timestamp,
    write: impl AsyncFnOnce(&BackupPlace) -> Result<Manifest>,
) -> Result<Committed> {
    let place = BackupPlace {
        target: job.target.clone(),
        id: BackupId::generate(snapshot_at),
    };
    let heartbeat = Lease::heartbeat(&job.store, &place);
    let heartbeat = job.cancel.unless(heartbeat).await?;
    let ended = match write(&place).await {
        // From here on nothing is deleted or cancelled.
        Ok(manifest) => commit::put_manifest(&job.store, &place, &manifest)
            .await
            .map(|unprotected| Committed {
                manifest,
                unprotected,
                earlier: earlier.clone(),
            }),
        Err(error) => {
            tidy(commit::discard(&job.store, &place)).await;
            Err(error)
        }
    };
    tidy(heartbeat.end()).await;
    ended
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::BackupObject;
    use crate::store::ObjectMeta;
    use crate::store::fault::{Fault, FaultStore, Op};
    use crate::store::memory::MemoryStore;
    use crate::util::error::Outcome;

    #[tokio::test]
    async fn a_store_that_hangs_during_the_cleanup_does_not_delay_a_cancelled_run() {
        let target: TargetName = "shop".parse().unwrap();
        let place = BackupPlace {
            target: target.clone(),
            id: BackupId::generate(Timestamp::UNIX_EPOCH),
        };
        let old = ObjectMeta {
            key: place.key(&BackupObject::Running),
            size: 1,
            modified: Timestamp::UNIX_EPOCH,
            crc64nvme: None,
            etag: None,
        };
        let faulty = |fault| -> Arc<dyn Store> {
            Arc::new(FaultStore::new(Arc::new(MemoryStore::new())).always(Op::Head, "", fault))
        };
        let cancel = Cancel::default();

        let failing = faulty(Fault::Fail);
        let catalog = Catalog::of(failing.clone(), target.clone(), std::slice::from_ref(&old));
        clean_up(&cancel, &failing, &catalog).await.unwrap();

        let hanging = faulty(Fault::Hang);
        let catalog = Catalog::of(hanging.clone(), target, &[old]);
        let (cleaned, ()) = tokio::join!(clean_up(&cancel, &hanging, &catalog), async {
            tokio::task::yield_now().await;
            cancel.cancel(Outcome::Terminated);
        });
        assert_eq!(cleaned.unwrap_err().outcome(), Outcome::Terminated);
    }
}
