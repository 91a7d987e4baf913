//! Checked configuration of drills.

use std::path::PathBuf;
use std::time::Duration;

use crate::reader::Reader;
use crate::restore::options::Loader;
use crate::verify::checks::Assertion;

/// Configuration of drills.
#[derive(Debug, Clone)]
pub struct DrillConfig {
    /// Directories of server programs; empty: PATH and the usual directories.
    pub server_dirs: Vec<PathBuf>,
    /// Parent directory for the data of local scratch servers.
    pub scratch_dir: PathBuf,
    /// Directory for cached data directories of local scratch servers; `None` disables the cache.
    pub cache_dir: Option<PathBuf>,
    /// Directory of the client programs for scratch servers; `None`: found as for backups.
    pub client_dir: Option<PathBuf>,
    /// Time limit for a scratch server to accept logins.
    pub boot: Duration,
    /// Every Nth drill uses the plain client; 0: never.
    pub client_path_every: u32,
    /// Every Nth drill uses the target's durability settings; 0: never.
    pub production_every: u32,
    /// Every Nth drill is followed by one of the archived binary log; 0: never.
    pub pitr_every: u32,
    /// Number of parallel load connections; `None`: the default of restores.
    pub lanes: Option<usize>,
    /// What reads the restored rows for the comparison, but with the plain client.
    pub reader: Reader,
    /// How rows are loaded.
    pub loader: Loader,
    /// The user's own checks.
    pub assertions: Vec<Assertion>,
    /// Whether to run CHECK TABLE on each table.
    pub check_table: bool,
}

impl DrillConfig {
    /// Number of earlier drill reports that determine the settings of the next drill.
    pub fn reports_consulted(&self) -> usize {
        let every = self
            .client_path_every
            .max(self.production_every)
            .max(self.pitr_every);
        (every * 2) as usize + 10
    }
}
