//! One event of a pod's lifecycle.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::k8s::pod::PodView;
use crate::util::error::{Error, Result};
use crate::util::format::Output;

/// Type of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EventType {
    /// The pod existed when the watch began.
    Existing,
    /// The pod was created.
    Created,
    /// A reported property of the pod changed.
    Updated,
    /// The pod was deleted.
    Deleted,
}

impl EventType {
    /// The word used in lines and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            EventType::Existing => "existing",
            EventType::Created => "created",
            EventType::Updated => "updated",
            EventType::Deleted => "deleted",
        }
    }
}

/// One pod event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PodEvent {
    /// When drctl saw it.
    pub time: Timestamp,
    /// Type of the event.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// State of the pod; for a deleted pod its last state.
    #[serde(flatten)]
    pub view: PodView,
    /// The pod's `resourceVersion` in the watch message.
    #[serde(rename = "resourceVersion")]
    pub resource_version: String,
    /// Creation time by the cluster's clock. `None` if the pod carries none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// Changed properties: value before, value after.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub changes: BTreeMap<String, [String; 2]>,
    /// Whether the event happened during an outage of the watch and was found by the next list.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub resync: bool,
}

impl PodEvent {
    /// The event as one line of output.
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
            // Messages also come from containers: they must not imitate a line of drctl.
            line.push_str(&format!(" {message:?}"));
        }
        if self.resync {
            line.push_str(" (found after an outage)");
        }
        line.push('\n');
        Ok(line)
    }
}
