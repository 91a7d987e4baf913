//! How scratch pods are made: what the configuration says, checked.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How scratch pods are made.
#[derive(Debug, Clone)]
pub struct PodConfig {
    /// Where they run; else the namespace that this process runs in, or of the kubeconfig's context.
    pub namespace: Option<String>,
    /// Images by flavour and version line: `mysql-9.7`, `mariadb-11.8`.
    pub images: BTreeMap<String, String>,
    /// What a relaxed one asks for and may take.
    pub resources: Resources,
    /// The same for the profile `production`: those of the target.
    pub production_resources: Option<Resources>,
    /// Further labels.
    pub labels: BTreeMap<String, String>,
    /// Further annotations.
    pub annotations: BTreeMap<String, String>,
    /// The service account, whose token is not mounted.
    pub service_account: Option<String>,
    /// Data on a volume of this class that goes with the pod; else on the node's disk.
    pub storage_class: Option<String>,
    /// Secrets to pull images with.
    pub image_pull_secrets: Vec<String>,
    /// Labels of the nodes that will do.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that are put up with.
    pub tolerations: Vec<Toleration>,
    /// The numeric user that the server runs as; 0 leaves it to the cluster.
    pub run_as_user: u32,
    /// How long it may take until its container runs: a node, a volume, an image.
    pub start: Duration,
    /// How long a scheduler may find no node for it.
    pub unschedulable: Duration,
    /// When the cluster ends it, whatever became of the drill.
    pub life: Duration,
}

/// Requests and limits, as Kubernetes writes them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Resources {
    /// What is set aside for it.
    pub requests: BTreeMap<String, String>,
    /// What it may take.
    pub limits: BTreeMap<String, String>,
}

impl Resources {
    /// The memory that it can count on, bytes.
    pub fn memory_bytes(&self) -> Option<u64> {
        let set = |all: &BTreeMap<String, String>| all.get("memory").cloned();
        quantity(&set(&self.limits).or_else(|| set(&self.requests))?)
    }
}

/// A taint that is put up with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Toleration {
    /// The taint's key; none for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// `Exists` or `Equal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// The taint's value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// `NoSchedule`, `PreferNoSchedule`, `NoExecute`; none for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
}

/// A quantity of bytes: `2Gi`, `512M`, `1000000`.
pub fn quantity(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 10] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
        ("P", 1_000_000_000_000_000),
        ("", 1),
    ];
    let (digits, unit) = UNITS
        .iter()
        .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, unit)))?;
    let number: f64 = digits.parse().ok()?;
    (number >= 0.0).then_some((number * *unit as f64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_does() {
        assert_eq!(quantity("2Gi"), Some(2 << 30));
        assert_eq!(quantity("1.5G"), Some(1_500_000_000));
        assert_eq!(quantity("1048576"), Some(1 << 20));
        assert_eq!(quantity("lots"), None);
    }
}
