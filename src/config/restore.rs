//! The keys of `restore`: what was written, checked.

use std::time::Duration;

use serde::Deserialize;

use crate::apply::lane::RECONNECT_WAIT;
use crate::config::deadline;
use crate::config::key::{ConfigKey, Form, key};
use crate::error::Result;
use crate::fence::FenceConfig;

/// How restores run.
#[derive(Debug, Clone)]
pub struct RestoreConfig {
    /// Connections that load rows.
    pub lanes: Option<usize>,
    /// How long a server that has gone away may take to come back.
    pub reconnect: Duration,
    /// When the run is ended.
    pub deadline: Option<Duration>,
    /// What is kept out of the database meanwhile.
    pub fence: FenceConfig,
}

/// The keys, in the order of the documentation.
pub(super) const KEYS: &[ConfigKey] = &[
    key(
        "restore.lanes",
        Form::Scalar,
        "Connections that load rows. Default: the number of cores, 2 to 8.",
    ),
    key(
        "restore.reconnect_seconds",
        Form::Scalar,
        "How long a server that has gone away under a restore may take to come back. Default 120.",
    ),
    key(
        "restore.deadline_seconds",
        Form::Scalar,
        "The run is ended after this. Default: never, as is 0.",
    ),
    key(
        "restore.fence",
        Form::List,
        "Workloads that use the database, as `deployment/web`, `statefulset/worker`: a restore into the configured server scales them to 0 first, and back when it is proven; `drctl fence` and `unfence` do it by hand. Default: none.",
    ),
    key(
        "restore.fence_namespace",
        Form::Text,
        "Their namespace. Default: that of the restore.",
    ),
    key(
        "restore.fence_seconds",
        Form::Scalar,
        "How long their pods may take to end. Default 180.",
    ),
];

/// As it was written.
#[derive(Debug, Default, Deserialize)]
pub(super) struct RawRestore {
    lanes: Option<usize>,
    reconnect_seconds: Option<u64>,
    deadline_seconds: Option<u64>,
    #[serde(default)]
    fence: Vec<String>,
    fence_namespace: Option<String>,
    fence_seconds: Option<u64>,
}

impl RawRestore {
    pub(super) fn check(self) -> Result<RestoreConfig> {
        let workloads: Result<_> = self.fence.iter().map(|text| text.parse()).collect();
        Ok(RestoreConfig {
            lanes: self.lanes,
            reconnect: self
                .reconnect_seconds
                .map_or(RECONNECT_WAIT, Duration::from_secs),
            deadline: deadline(self.deadline_seconds),
            fence: FenceConfig {
                namespace: self.fence_namespace,
                workloads: workloads?,
                patience: Duration::from_secs(self.fence_seconds.unwrap_or(180)),
            },
        })
    }
}
