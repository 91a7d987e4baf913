//! Section `verify.pod`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::json;

use crate::util::error::{Error, Result};
use crate::util::times::{MOST_SECONDS, Seconds};
use crate::verify::scratch::pod::config::{PodConfig, Resources, Toleration, quantity};

/// Lifetime of a scratch pod if drills have no deadline.
const USUAL_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Time between the deadline of a drill and the end of its pod, for the drill's cleanup.
const GRACE: Duration = Duration::from_secs(60);

/// Scratch pods.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct PodSection {
    /// Namespace of scratch pods. Default: that of the drill.
    namespace: Option<String>,
    /// Image for each flavour and release series: `mysql-9.7: mysql:9.7`. It must contain the server programs and a
    /// shell; its entrypoint is not used. There is no fallback for a series without an image.
    #[schemars(extend("propertyNames" = json!({
        "pattern": r"^(mysql|mariadb)-[0-9]{1,4}\.[0-9]{1,4}$"
    })))]
    images: BTreeMap<String, String>,
    /// `requests` and `limits` of a scratch pod; ephemeral storage is added automatically. Default: 1Gi of memory,
    /// a quarter of a CPU. As a variable: JSON.
    #[schemars(extend("x-one-key" = true))]
    resources: Option<ResourcesItem>,
    /// `requests` and `limits` under the profile `production`: those of the target, so that its RTO is measured.
    /// Default: `verify.pod.resources`. As a variable: JSON.
    #[schemars(extend("x-one-key" = true))]
    production_resources: Option<ResourcesItem>,
    /// Additional labels of scratch pods.
    labels: BTreeMap<String, String>,
    /// Annotations of scratch pods.
    annotations: BTreeMap<String, String>,
    /// Service account of scratch pods; its token is not mounted. Default: that of the namespace.
    service_account: Option<String>,
    /// Storage class of a volume for the data, deleted with the pod. Default: the node's disk.
    storage_class: Option<String>,
    /// Image pull secrets.
    image_pull_secrets: Vec<String>,
    /// Node selector of scratch pods.
    node_selector: BTreeMap<String, String>,
    /// Tolerations of scratch pods: a list of `key`, `operator`, `value`, `effect`. As a variable: JSON.
    tolerations: Vec<Toleration>,
    /// Numeric user and group of the server; 0: assigned by the cluster, as on OpenShift.
    // Kubernetes' own bound.
    #[schemars(range(max = i32::MAX))]
    run_as_user: u32,
    /// Time limit until the container of a pod runs: scheduling, volume, image.
    #[schemars(range(max = MOST_SECONDS))]
    start_seconds: Seconds,
    /// How long a pod may be unschedulable; longer if nodes are added on demand.
    #[schemars(range(max = MOST_SECONDS))]
    unschedulable_seconds: Seconds,
}

impl Default for PodSection {
    fn default() -> Self {
        PodSection {
            namespace: None,
            images: BTreeMap::new(),
            resources: None,
            production_resources: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            service_account: None,
            storage_class: None,
            image_pull_secrets: Vec::new(),
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            run_as_user: 999,
            start_seconds: Seconds(600),
            unschedulable_seconds: Seconds(20),
        }
    }
}

/// Requests and limits.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct ResourcesItem {
    requests: BTreeMap<String, Quantity>,
    limits: BTreeMap<String, Quantity>,
}

/// A Kubernetes quantity: `500m`, or `1`, which YAML reads as a number.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Quantity {
    Text(String),
    Number(serde_json::Number),
}

impl JsonSchema for Quantity {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer", "number"],
            "pattern": r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)(m|k|[MGTPE]|[KMGTPE]i|[eE][0-9]+)?$",
            "minimum": 0,
        })
    }
}

impl PodSection {
    pub(super) fn check(self, deadline: Option<Duration>) -> Result<PodConfig> {
        for series in self.images.keys() {
            let version = series
                .strip_prefix("mysql-")
                .or(series.strip_prefix("mariadb-"));
            let is_series = |text: &str| {
                let mut parts = text.split('.');
                let mut number = || parts.next().is_some_and(|part| part.parse::<u16>().is_ok());
                number() && number() && parts.next().is_none()
            };
            if !version.is_some_and(is_series) {
                return Err(Error::usage(format!(
                    "verify.pod.images: {series:?} is not a flavour and release series"
                ))
                .hint("write them as mysql-9.7, mariadb-11.8"));
            }
        }
        let usual = Resources {
            requests: pairs(&[("cpu", "250m"), ("memory", "1Gi")]),
            limits: pairs(&[("memory", "1Gi")]),
        };
        let resources = self
            .resources
            .map(|item| item.check("verify.pod.resources"))
            .transpose()?;
        let production = self
            .production_resources
            .map(|item| item.check("verify.pod.production_resources"))
            .transpose()?;
        Ok(PodConfig {
            namespace: self.namespace,
            images: self.images,
            resources: resources.unwrap_or(usual),
            production_resources: production,
            labels: self.labels,
            annotations: self.annotations,
            service_account: self.service_account,
            storage_class: self.storage_class,
            image_pull_secrets: self.image_pull_secrets,
            node_selector: self.node_selector,
            tolerations: self.tolerations,
            run_as_user: self.run_as_user,
            start: self.start_seconds.duration(),
            unschedulable: self.unschedulable_seconds.duration(),
            life: deadline.map_or(USUAL_LIFE, |deadline| deadline.saturating_add(GRACE)),
        })
    }
}

impl ResourcesItem {
    fn check(self, key: &str) -> Result<Resources> {
        let texts = |all: BTreeMap<String, Quantity>| -> BTreeMap<String, String> {
            let text = |quantity| match quantity {
                Quantity::Text(text) => text,
                Quantity::Number(number) => number.to_string(),
            };
            all.into_iter()
                .map(|(name, quantity)| (name, text(quantity)))
                .collect()
        };
        let resources = Resources {
            requests: texts(self.requests),
            limits: texts(self.limits),
        };
        for memory in [&resources.requests, &resources.limits]
            .iter()
            .filter_map(|all| all.get("memory"))
        {
            if quantity(memory).is_none() {
                return Err(
                    Error::usage(format!("{key}: {memory:?} is not an amount of memory"))
                        .hint("write it as 2Gi or 512Mi"),
                );
            }
        }
        Ok(resources)
    }
}

fn pairs(all: &[(&str, &str)]) -> BTreeMap<String, String> {
    let own = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
    all.iter().map(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<PodConfig> {
        let section: PodSection = serde_saphyr::from_str(text).unwrap();
        section.check(Some(Duration::from_secs(3600)))
    }

    #[test]
    fn an_unknown_release_series_and_an_invalid_amount_of_memory_are_refused() {
        let error = of("images: {mysql: x}").unwrap_err().to_string();
        assert!(error.contains("mysql-9.7"), "{error}");
        let error = of("resources: {limits: {memory: lots}}").unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("verify.pod.resources: \"lots\"")
        );
    }

    #[test]
    fn a_cpu_may_be_a_number_and_the_pod_outlives_its_drill_by_little() {
        let config =
            of("resources: {limits: {cpu: 2, memory: 2Gi}}\nimages: {mysql-9.7: x}").unwrap();
        assert_eq!(config.resources.limits["cpu"], "2");
        assert_eq!(config.resources.memory_bytes(), Some(2 << 30));
        assert_eq!(config.life.as_secs(), 3660);
    }
}
