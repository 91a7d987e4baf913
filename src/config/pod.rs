//! The keys of `verify.pod`: what was written, checked.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::config::key::{ConfigKey, Form, key};
use crate::drill::scratch::pod::config::{PodConfig, Resources, Toleration, quantity};
use crate::error::{Error, Result};

/// When the cluster ends a scratch pod where no deadline is configured.
const USUAL_LIFE: Duration = Duration::from_secs(24 * 3600);

/// What a drill has for its end between its deadline and the pod's.
const GRACE: Duration = Duration::from_secs(60);

/// The keys, in the order of the documentation.
pub(super) const KEYS: &[ConfigKey] = &[
    key(
        "verify.pod.namespace",
        Form::Text,
        "Where scratch pods run. Default: the drill's own namespace.",
    ),
    key(
        "verify.pod.images",
        Form::Pairs,
        "The image of each flavour and version line: `mysql-9.7: mysql:9.7`. It must hold the server's programs and a shell; its entrypoint is not used. A line that is missing is not replaced.",
    ),
    key(
        "verify.pod.resources",
        Form::Map,
        "`requests` and `limits` of a scratch pod. Default: 1Gi of memory, a quarter of a CPU. Room on the node's disk is added by itself. As a variable: JSON.",
    ),
    key(
        "verify.pod.production_resources",
        Form::Map,
        "The same under the profile `production`: those of the target, so that its RTO is measured. Default: `verify.pod.resources`.",
    ),
    key(
        "verify.pod.labels",
        Form::Pairs,
        "Further labels of scratch pods.",
    ),
    key("verify.pod.annotations", Form::Pairs, "Their annotations."),
    key(
        "verify.pod.service_account",
        Form::Text,
        "Their service account; its token is not mounted. Default: that of the namespace.",
    ),
    key(
        "verify.pod.storage_class",
        Form::Text,
        "Data on a volume of this class, which goes with the pod. Default: on the node's disk.",
    ),
    key(
        "verify.pod.image_pull_secrets",
        Form::List,
        "Secrets to pull the images with.",
    ),
    key(
        "verify.pod.node_selector",
        Form::Pairs,
        "Labels of the nodes that will do.",
    ),
    key(
        "verify.pod.tolerations",
        Form::Items,
        "Taints that are put up with: a list of `key`, `operator`, `value`, `effect`. As a variable: JSON.",
    ),
    key(
        "verify.pod.run_as_user",
        Form::Scalar,
        "The numeric user and group of the server. Default 999; 0 leaves it to the cluster, as OpenShift wants it.",
    ),
    key(
        "verify.pod.start_seconds",
        Form::Scalar,
        "How long a pod may take until its container runs: a node, a volume, an image. Default 600.",
    ),
    key(
        "verify.pod.unschedulable_seconds",
        Form::Scalar,
        "How long the scheduler may find no node for it. Default 20; more where nodes are added on demand.",
    ),
];

/// As it was written.
#[derive(Debug, Default, Deserialize)]
pub(super) struct RawPod {
    namespace: Option<String>,
    #[serde(default)]
    images: BTreeMap<String, String>,
    resources: Option<RawResources>,
    production_resources: Option<RawResources>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    service_account: Option<String>,
    storage_class: Option<String>,
    #[serde(default)]
    image_pull_secrets: Vec<String>,
    #[serde(default)]
    node_selector: BTreeMap<String, String>,
    #[serde(default)]
    tolerations: Vec<Toleration>,
    run_as_user: Option<u32>,
    start_seconds: Option<u64>,
    unschedulable_seconds: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawResources {
    #[serde(default)]
    requests: BTreeMap<String, Quantity>,
    #[serde(default)]
    limits: BTreeMap<String, Quantity>,
}

/// `500m`, or `1`, which YAML takes for a number.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Quantity {
    Text(String),
    Number(serde_json::Number),
}

impl RawPod {
    pub(super) fn check(self, deadline: Option<Duration>) -> Result<PodConfig> {
        for line in self.images.keys() {
            let version = line
                .strip_prefix("mysql-")
                .or(line.strip_prefix("mariadb-"));
            let is_line = |text: &str| {
                let mut parts = text.split('.');
                let mut number = || parts.next().is_some_and(|part| part.parse::<u16>().is_ok());
                number() && number() && parts.next().is_none()
            };
            if !version.is_some_and(is_line) {
                return Err(Error::usage(format!(
                    "verify.pod.images: {line:?} is no flavour and version line"
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
            .map(|raw| raw.check("verify.pod.resources"))
            .transpose()?;
        let production = self
            .production_resources
            .map(|raw| raw.check("verify.pod.production_resources"))
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
            run_as_user: self.run_as_user.unwrap_or(999),
            start: Duration::from_secs(self.start_seconds.unwrap_or(600)),
            unschedulable: Duration::from_secs(self.unschedulable_seconds.unwrap_or(20)),
            life: deadline.map_or(USUAL_LIFE, |deadline| deadline.saturating_add(GRACE)),
        })
    }
}

impl RawResources {
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
                    Error::usage(format!("{key}: {memory:?} is no amount of memory"))
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
        let raw: RawPod = serde_saphyr::from_str(text).unwrap();
        raw.check(Some(Duration::from_secs(3600)))
    }

    #[test]
    fn a_line_that_is_none_and_memory_that_is_none_are_refused() {
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
