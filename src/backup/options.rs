//! What is backed up of a server, and the policies of a backup.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mysql::scope::Scope;
use crate::reader::Reader;
use crate::reader::source_columns::AgainstSource;

/// What is backed up, and under which policies.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    /// Schemas to back up.
    pub scope: Scope,
    /// Tables whose DDL during the dump is ignored: patterns of `schema.table`, in which `%` matches any
    /// run of characters.
    pub ignore_ddl_on: Vec<String>,
    /// Whether the backup records the binary log coordinates of its snapshot.
    pub coordinates: Want,
    /// Whether the backup contains accounts and their privileges.
    pub accounts: Want,
    /// How the dump is protected from DDL.
    pub ddl: Ddl,
    /// What to do about tables that are not transactional.
    pub non_transactional: NonTransactional,
    /// Maximum lag of a replica that is backed up.
    pub max_lag: Duration,
    /// What reads the rows.
    pub reader: Reader,
    /// Number of connections of the native reader.
    pub jobs: usize,
    /// The tables that are compared with what the server computes.
    pub against_source: AgainstSource,
}

impl Default for SourceOptions {
    fn default() -> Self {
        SourceOptions {
            scope: Scope::default(),
            ignore_ddl_on: Vec::new(),
            coordinates: Want::default(),
            accounts: Want::default(),
            ddl: Ddl::default(),
            non_transactional: NonTransactional::default(),
            max_lag: Duration::from_secs(300),
            reader: Reader::default(),
            jobs: default_jobs(),
            against_source: AgainstSource::default(),
        }
    }
}

/// Maximum default number of connections of the native reader.
const MOST_JOBS: usize = 8;

/// One connection per core, at most [`MOST_JOBS`].
pub fn default_jobs() -> usize {
    let cores = std::thread::available_parallelism();
    cores.map_or(1, |cores| cores.get().min(MOST_JOBS))
}

/// Whether a backup contains an optional part that needs additional privileges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Want {
    /// Include the part if possible; otherwise the backup has a warning.
    #[default]
    Auto,
    /// Fail if the part cannot be included.
    Require,
    /// Leave the part out.
    Off,
}

/// How the dump is protected from DDL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ddl {
    /// Detect DDL after the dump, and dump again.
    #[default]
    Detect,
    /// Block DDL until the dump is complete.
    Block,
}

/// What to do about tables that are not transactional: their rows may change during the dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NonTransactional {
    /// Refuse the backup (exit 9).
    #[default]
    Refuse,
    /// Back up, with a warning.
    Allow,
}
