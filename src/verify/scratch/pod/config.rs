//! Checked configuration of scratch pods.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Configuration of scratch pods.
#[derive(Debug, Clone)]
pub struct PodConfig {
    /// Namespace of the pods; `None`: that of this process, or of the kubeconfig's context.
    pub namespace: Option<String>,
    /// Images by flavour and release series: `mysql-9.7`, `mariadb-11.8`.
    pub images: BTreeMap<String, String>,
    /// Requests and limits under the relaxed profile.
    pub resources: Resources,
    /// Requests and limits under the production profile; `None`: as relaxed.
    pub production_resources: Option<Resources>,
    /// Additional labels.
    pub labels: BTreeMap<String, String>,
    /// Additional annotations.
    pub annotations: BTreeMap<String, String>,
    /// The service account, whose token is not mounted; `None`: the namespace's default.
    pub service_account: Option<String>,
    /// Storage class of a volume for the data, removed with the pod; `None`: the node's disk.
    pub storage_class: Option<String>,
    /// Names of image pull secrets.
    pub image_pull_secrets: Vec<String>,
    /// Node selector.
    pub node_selector: BTreeMap<String, String>,
    /// Tolerations.
    pub tolerations: Vec<Toleration>,
    /// Numeric user of the server; 0: assigned by the cluster.
    pub run_as_user: u32,
    /// Time limit until the container runs: scheduling, volume, image.
    pub start: Duration,
    /// How long the pod may stay unschedulable.
    pub unschedulable: Duration,
    /// Lifetime after which the cluster ends the pod, whatever the state of the drill.
    pub life: Duration,
}

/// Requests and limits, as Kubernetes quantities.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Resources {
    /// Resource requests.
    pub requests: BTreeMap<String, String>,
    /// Resource limits.
    pub limits: BTreeMap<String, String>,
}

impl Resources {
    /// Guaranteed memory in bytes; `None` if none is set.
    pub fn memory_bytes(&self) -> Option<u64> {
        let set = |all: &BTreeMap<String, String>| all.get("memory").cloned();
        quantity(&set(&self.limits).or_else(|| set(&self.requests))?)
    }
}

/// A toleration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Toleration {
    /// Key of the taint; without it, all taints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// `Exists` or `Equal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// Value of the taint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`; without it, all effects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
}

/// Parses a quantity of bytes: `2Gi`, `512M`, `1000000`.
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
