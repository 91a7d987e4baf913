//! The fence: an application's workloads at no replicas while their database is restored, since they
//! would write into half-loaded tables the moment the server answers.
//!
//! How many replicas there were stands in an annotation of the workload itself, put there by the same
//! request that takes them away: whoever is killed in between, `drctl unfence` finds it. An autoscaler
//! leaves a workload at 0 alone.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{GroupVersionKind, Selector};
use serde_json::{Value, json};

use crate::cancel::Cancel;
use crate::cluster::{Cluster, failure};
use crate::error::{Error, Result};

/// Where the number of replicas is remembered.
pub const REPLICAS: &str = "drctl.io/replicas";

/// The pause between two looks at the pods.
const PAUSE: Duration = Duration::from_millis(300);

/// What is fenced, and how patiently.
#[derive(Debug, Clone)]
pub struct FenceConfig {
    /// Where the workloads are; else the namespace of this process, or of the kubeconfig's context.
    pub namespace: Option<String>,
    /// The workloads that use the database.
    pub workloads: Vec<Workload>,
    /// How long their pods may take to end.
    pub patience: Duration,
}

/// `deployment/web`, `statefulset/worker`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    kind: &'static str,
    name: String,
}

impl FromStr for Workload {
    type Err = Error;

    fn from_str(text: &str) -> Result<Workload> {
        let (kind, name) = text.split_once('/').unwrap_or((text, ""));
        let kind = match kind.to_ascii_lowercase().as_str() {
            "deployment" | "deploy" => Some("Deployment"),
            "statefulset" | "sts" => Some("StatefulSet"),
            _ => None,
        };
        match kind {
            Some(kind) if !name.is_empty() => Ok(Workload {
                kind,
                name: name.to_owned(),
            }),
            _ => Err(
                Error::usage(format!("restore.fence: {text:?} is no workload"))
                    .hint("write them as deployment/web, statefulset/worker"),
            ),
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.to_ascii_lowercase(), self.name)
    }
}

/// One workload and its replicas.
#[derive(Debug)]
pub struct Moved {
    /// Which.
    pub workload: String,
    /// What it has, or will have again.
    pub replicas: u64,
    /// Whether this run changed it.
    pub changed: bool,
}

/// The workloads of a configuration on their cluster.
pub struct Fence<'a> {
    config: &'a FenceConfig,
    cluster: Cluster,
    namespace: String,
}

impl<'a> Fence<'a> {
    /// Finds the cluster; a usage error where nothing is to be fenced.
    pub async fn find(config: &'a FenceConfig) -> Result<Fence<'a>> {
        if config.workloads.is_empty() {
            return Err(Error::usage("no workload to fence is configured")
                .hint("set restore.fence to those that use the database, like deployment/web"));
        }
        let cluster = Cluster::find().await?;
        Ok(Fence {
            config,
            namespace: cluster.namespace_or_own(config.namespace.as_deref()),
            cluster,
        })
    }

    /// Takes all replicas away and waits until their pods are gone. Done twice, the first number holds.
    pub async fn close(&self, cancel: &Cancel) -> Result<Vec<Moved>> {
        let mut all = Vec::new();
        for workload in &self.config.workloads {
            let (is, there) = cancel.unless(self.look(workload)).await?;
            let (remember, changed) = match is.remembered {
                // What is there was put there by somebody else since; the first number holds.
                Some(first) => (first, is.replicas > 0),
                None => (is.replicas, true),
            };
            if changed {
                let change = json!({
                    "metadata": {
                        "annotations": {REPLICAS: remember.to_string()},
                        "resourceVersion": there.metadata.resource_version,
                    },
                    "spec": {"replicas": 0},
                });
                self.change(workload, change).await?;
            }
            all.push(Moved {
                workload: workload.to_string(),
                replicas: remember,
                changed,
            });
        }
        cancel.unless(self.wait_until_gone()).await?;
        Ok(all)
    }

    /// Gives back what was taken away; a workload that was not fenced is left alone.
    pub async fn open(&self) -> Result<Vec<Moved>> {
        let mut all = Vec::new();
        for workload in &self.config.workloads {
            let (is, there) = self.look(workload).await?;
            if let Some(replicas) = is.remembered {
                let change = json!({
                    "metadata": {
                        "annotations": {REPLICAS: null},
                        "resourceVersion": there.metadata.resource_version,
                    },
                    "spec": {"replicas": replicas},
                });
                self.change(workload, change).await?;
            }
            all.push(Moved {
                workload: workload.to_string(),
                replicas: is.remembered.unwrap_or(is.replicas),
                changed: is.remembered.is_some(),
            });
        }
        Ok(all)
    }

    /// Workloads that somebody else gave replicas while they were fenced.
    pub async fn broken(&self) -> Result<Vec<String>> {
        let mut broken = Vec::new();
        for workload in &self.config.workloads {
            if self.look(workload).await?.0.replicas > 0 {
                broken.push(workload.to_string());
            }
        }
        Ok(broken)
    }

    async fn look(&self, workload: &Workload) -> Result<(State, DynamicObject)> {
        let doing = format!("look at {workload} in {}", self.namespace);
        let there = self.api(workload).get(&workload.name).await;
        let there = there.map_err(|error| failure(&doing, error))?;
        Ok((State::of(&there)?, there))
    }

    async fn change(&self, workload: &Workload, change: Value) -> Result<()> {
        let (api, change) = (self.api(workload), Patch::Merge(change));
        let doing = format!("change the replicas of {workload} in {}", self.namespace);
        api.patch(&workload.name, &PatchParams::default(), &change)
            .await
            .map(|_| ())
            .map_err(|error| failure(&doing, error))
    }

    async fn wait_until_gone(&self) -> Result<()> {
        let begun = Instant::now();
        let pods = self.cluster.pods(&self.namespace);
        for workload in &self.config.workloads {
            let selector = self.look(workload).await?.0.selector;
            let wanted = ListParams::default().labels_from(&selector);
            loop {
                let listed = pods.list(&wanted).await;
                let listed = listed.map_err(|error| failure("look for the fenced pods", error))?;
                let is_over = |phase: &String| phase == "Succeeded" || phase == "Failed";
                let mut alive = listed.items.iter().filter(|pod| {
                    let status = pod.status.as_ref();
                    !status
                        .and_then(|status| status.phase.as_ref())
                        .is_some_and(is_over)
                });
                let Some(first) = alive.next() else {
                    break;
                };
                if begun.elapsed() > self.config.patience {
                    let name = first.metadata.name.clone().unwrap_or_default();
                    return Err(Error::server(format!(
                        "the pod {name} of {workload} did not end within {} s",
                        self.config.patience.as_secs()
                    ))
                    .hint("look at its node, or who starts it again; restore.fence_seconds waits longer; drctl unfence lets the application in again"));
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    fn api(&self, workload: &Workload) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("apps", "v1", workload.kind);
        let kind = ApiResource::from_gvk(&kind);
        Api::namespaced_with(self.cluster.client(), &self.namespace, &kind)
    }
}

/// What a workload says of its replicas.
#[derive(Debug)]
struct State {
    replicas: u64,
    remembered: Option<u64>,
    selector: Selector,
}

impl State {
    fn of(workload: &DynamicObject) -> Result<State> {
        let strange = |what: &str| Error::server(format!("the workload has a strange {what}"));
        let spec = &workload.data["spec"];
        let annotations = workload.metadata.annotations.as_ref();
        let remembered = annotations.and_then(|all| all.get(REPLICAS));
        let selector: LabelSelector = serde_json::from_value(spec["selector"].clone())
            .map_err(|error| strange("selector").because(error))?;
        Ok(State {
            // Kubernetes means 1 where nobody says.
            replicas: spec["replicas"].as_u64().unwrap_or(1),
            remembered: remembered
                .map(|text| text.parse())
                .transpose()
                .map_err(|error: std::num::ParseIntError| strange(REPLICAS).because(error))?,
            selector: selector
                .try_into()
                .map_err(|error: kube::core::ParseExpressionError| {
                    strange("selector").because(error)
                })?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_is_a_kind_and_a_name() {
        let workload: Workload = "deploy/web".parse().unwrap();
        assert_eq!(workload.to_string(), "deployment/web");
        for wrong in ["web", "deployment/", "pod/web", ""] {
            let error = wrong.parse::<Workload>().unwrap_err();
            assert_eq!(error.outcome().code(), 2, "{wrong}");
        }
    }

    #[test]
    fn what_stands_in_a_workload_is_read() {
        let of = |text: Value| State::of(&serde_json::from_value(text).unwrap());
        let state = of(
            json!({"metadata": {"name": "web", "annotations": {REPLICAS: "3"}},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "web"}}}}),
        )
        .unwrap();
        assert_eq!((state.replicas, state.remembered), (0, Some(3)));
        let usual = of(json!({"metadata": {"name": "web"}, "spec": {"selector": {}}})).unwrap();
        assert_eq!((usual.replicas, usual.remembered), (1, None));
        assert!(
            of(
                json!({"metadata": {"name": "web", "annotations": {REPLICAS: "x"}},
            "spec": {"selector": {}}})
            )
            .is_err()
        );
    }
}
