//! One event in the life of a pod.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::cli::Output;
use crate::cluster::pod::PodView;
use crate::error::{Error, Result};

/// What happened to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EventType {
    /// It was there when the watching began.
    Existing,
    /// It is new.
    Created,
    /// Something about it that a person cares for is other than it was.
    Updated,
    /// It is gone.
    Deleted,
}

impl EventType {
    /// As it stands in lines and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            EventType::Existing => "existing",
            EventType::Created => "created",
            EventType::Updated => "updated",
            EventType::Deleted => "deleted",
        }
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PodEvent {
    /// When drctl saw it.
    pub time: Timestamp,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// How it is now; of one that is gone, how it was last.
    #[serde(flatten)]
    pub view: PodView,
    /// The version of the pod that it was told of.
    #[serde(rename = "resourceVersion")]
    pub resource_version: String,
    /// When the pod was created, by the cluster's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// What changed: before, now.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub changes: BTreeMap<String, [String; 2]>,
    /// Whether it happened while the cluster could not be watched, and was found out afterwards.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub resync: bool,
}

impl PodEvent {
    /// Its line.
    pub fn line(&self, output: Output) -> Result<String> {
        if output == Output::Json {
            let line = serde_json::to_string(self);
            return line
                .map(|line| line + "\n")
                .map_err(|e| Error::unexpected("cannot write JSON").because(e));
        }
        let view = &self.view;
        let mut line = format!(
            "{:.3} {:<8} {}/{} {} ready {}",
            self.time,
            self.kind.as_str(),
            self.namespace,
            self.pod,
            view.reason,
            view.ready
        );
        if view.restarts > 0 {
            line.push_str(&format!(" restarts {}", view.restarts));
        }
        let mut add = |name: &str, value: &Option<String>| {
            if let Some(value) = value {
                line.push_str(&format!(" {name} {value}"));
            }
        };
        add("node", &view.node);
        add("ip", &view.ip);
        if let Some(message) = &view.message {
            // Messages come from containers, too: no line of theirs looks like one of ours.
            line.push_str(&format!(" {message:?}"));
        }
        if self.resync {
            line.push_str(" (found after an outage)");
        }
        line.push('\n');
        Ok(line)
    }
}
