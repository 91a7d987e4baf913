//! Services and workloads of the own namespace.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use crate::Result;
use crate::k8s::fence::Workload;
use crate::k8s::{Cluster, failure, is_transient};
use crate::switch::Direction;
use crate::switch::config::SwitchConfig;
use crate::util::cancel::Cancel;

/// How long the API server may be unreachable, and the pause between attempts.
const AWAY: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_secs(1);

/// One change of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// A Service gets this annotation.
    Annotate {
        service: String,
        annotation: String,
        value: String,
    },
    /// A workload gets this number of replicas.
    Scale { workload: Workload, replicas: u32 },
}

/// All changes, in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Changes(Vec<Change>);

impl Changes {
    /// Workloads start before traffic comes, and end after it is gone.
    pub(super) fn of(config: &SwitchConfig, direction: Direction) -> Changes {
        let is_here = direction == Direction::Promote;
        let value = if is_here { &config.here } else { &config.away };
        let annotate = config.services.iter().map(|service| Change::Annotate {
            service: service.clone(),
            annotation: config.annotation.clone(),
            value: value.clone(),
        });
        let scale = config
            .scale
            .0
            .iter()
            .map(|(workload, replicas)| Change::Scale {
                workload: workload.clone(),
                replicas: if is_here { *replicas } else { 0 },
            });
        Changes(match direction {
            Direction::Promote => scale.chain(annotate).collect(),
            Direction::Demote => annotate.chain(scale).collect(),
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Makes all changes; the first failure is returned when all were tried.
pub(super) async fn apply(changes: &Changes, cancel: &Cancel) -> Result<Vec<String>> {
    let cluster = cancel.unless(Cluster::find()).await?;
    let namespace = cluster.namespace_or_own(None);
    let (mut done, mut failed) = (Vec::new(), None);
    for change in &changes.0 {
        match change.apply(&cluster, &namespace, cancel).await {
            Ok(()) => done.push(change.done()),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(done), Err)
}

impl Change {
    async fn apply(&self, cluster: &Cluster, namespace: &str, cancel: &Cancel) -> Result<()> {
        let begun = Instant::now();
        loop {
            let patched = async { Ok(self.patch(cluster, namespace).await) };
            match cancel.unless(patched).await? {
                Ok(()) => return Ok(()),
                Err(error) if is_transient(&error) && begun.elapsed() < AWAY => {
                    tracing::debug!(%error, "cannot change the cluster; retrying");
                }
                Err(error) => return Err(failure(&self.doing(namespace), error)),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn patch(&self, cluster: &Cluster, namespace: &str) -> Result<(), kube::Error> {
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(self.body()));
        match self {
            Change::Annotate { service, .. } => {
                let api: Api<Service> = Api::namespaced(cluster.client(), namespace);
                api.patch_metadata(service, &parameters, &patch).await?;
            }
            Change::Scale { workload, .. } => {
                let kind = workload.api_resource();
                let api: Api<DynamicObject> =
                    Api::namespaced_with(cluster.client(), namespace, &kind);
                // The right to change a workload is the right to run any image.
                api.patch_scale(workload.name(), &parameters, &patch)
                    .await?;
            }
        }
        Ok(())
    }

    fn body(&self) -> Value {
        match self {
            Change::Annotate {
                annotation, value, ..
            } => json!({"metadata": {"annotations": {annotation: value}}}),
            Change::Scale { replicas, .. } => json!({"spec": {"replicas": replicas}}),
        }
    }

    fn doing(&self, namespace: &str) -> String {
        match self {
            Change::Annotate { service, .. } => {
                format!("annotate the Service {service} in {namespace}")
            }
            Change::Scale { workload, .. } => format!("scale {workload} in {namespace}"),
        }
    }

    fn done(&self) -> String {
        match self {
            Change::Annotate {
                service,
                annotation,
                value,
            } => format!("service/{service}: {annotation}={value}"),
            Change::Scale { workload, replicas } => format!("{workload}: {replicas} replicas"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(direction: Direction) -> Vec<String> {
        let config: SwitchConfig = serde_json::from_value(json!({
            "services": ["web"], "scale": {"deployment/web": 3}
        }))
        .unwrap();
        let Changes(changes) = Changes::of(&config, direction);
        changes
            .iter()
            .map(|change| format!("{} {}", change.done(), change.body()))
            .collect()
    }

    #[test]
    fn workloads_run_before_traffic_comes_and_until_it_is_gone() {
        let annotation = "external-dns.alpha.kubernetes.io/aws-weight";
        let annotated = |value| {
            format!(
                "service/web: {annotation}={value} {{\"metadata\":{{\"annotations\":{{\"{annotation}\":\"{value}\"}}}}}}"
            )
        };
        let scaled = |replicas| {
            format!("deployment/web: {replicas} replicas {{\"spec\":{{\"replicas\":{replicas}}}}}")
        };
        assert_eq!(changes(Direction::Promote), [scaled(3), annotated("100")]);
        assert_eq!(changes(Direction::Demote), [annotated("0"), scaled(0)]);
    }
}
