//! How drills run: what the configuration says, checked.

use std::path::PathBuf;
use std::time::Duration;

use crate::drill::checks::Assertion;

/// How drills run.
#[derive(Debug, Clone)]
pub struct DrillConfig {
    /// Directories of server programs; empty for PATH and the usual ones.
    pub server_dirs: Vec<PathBuf>,
    /// Where local scratch servers keep their data.
    pub scratch_dir: PathBuf,
    /// Directory of the clients for scratch servers.
    pub client_dir: Option<PathBuf>,
    /// How long a scratch server may take to answer.
    pub boot: Duration,
    /// Every so many drills one goes through the plain client; 0 for never.
    pub client_path_every: u32,
    /// Every so many drills one has the durability of the target; 0 for never.
    pub production_every: u32,
    /// Connections that load rows.
    pub lanes: Option<usize>,
    /// The user's own checks.
    pub assertions: Vec<Assertion>,
    /// Whether the server checks each of its tables, too.
    pub check_table: bool,
}
