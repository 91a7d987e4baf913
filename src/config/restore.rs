//! Section `restore`.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::k8s::fence::FenceConfig;
use crate::restore::options::Loader;
use crate::restore::session::lane::RECONNECT_WAIT;
use crate::util::times::{MOST_SECONDS, Seconds};

/// How restores run.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RestoreConfig {
    /// Number of parallel load connections. Default: the number of cores, 2 to 8.
    #[schemars(range(min = 1, max = 64))]
    pub lanes: Option<usize>,
    /// How rows are loaded: `auto` uses LOAD DATA LOCAL INFILE where the server has `local_infile` and the columns of a
    /// table allow it, else INSERT; `insert` always INSERT.
    pub loader: Loader,
    /// How long a lost connection to the server is retried.
    #[schemars(range(max = MOST_SECONDS))]
    pub reconnect_seconds: Seconds,
    /// Time limit of a run; 0: none.
    #[schemars(range(max = MOST_SECONDS))]
    pub deadline_seconds: Seconds,
    /// The fence around a restore.
    #[serde(flatten)]
    pub fence: FenceConfig,
}

impl Default for RestoreConfig {
    fn default() -> Self {
        RestoreConfig {
            lanes: None,
            loader: Loader::Auto,
            reconnect_seconds: Seconds(RECONNECT_WAIT.as_secs()),
            deadline_seconds: Seconds(0),
            fence: FenceConfig::default(),
        }
    }
}
