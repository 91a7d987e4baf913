//! The fence: scales an application's workloads to zero while its database is restored, since they would
//! write into half-loaded tables as soon as the server answers.
//!
//! The previous replica count is kept in an annotation of the workload, set by the same request that scales
//! it down: `drctl unfence` finds it even after a killed run. Autoscalers ignore a workload with 0
//! replicas.

mod workload;

use std::time::{Duration, Instant};

use kube::Api;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::k8s::fence::workload::State;
use crate::k8s::pod::is_over;
use crate::k8s::{Cluster, failure, is_transient};
use crate::util::cancel::Cancel;
use crate::util::error::{Error, Result};
use crate::util::times::{MOST_SECONDS, Seconds};

pub use workload::{REPLICAS, Workload};

/// Pause between checks of the pods.
const PAUSE: Duration = Duration::from_millis(300);

/// How long the API server may be unreachable.
const AWAY: Duration = Duration::from_secs(60);

/// The keys of the fence in section `restore` of the configuration.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default)]
pub struct FenceConfig {
    /// Workloads that use the database, such as `deployment/web` or `statefulset/worker`. A restore into the
    /// configured server scales them to zero first, and back when the restore is verified. `drctl fence` and
    /// `drctl unfence` do the same manually. Default: none.
    #[serde(rename = "fence")]
    #[schemars(
        with = "Vec<String>",
        inner(regex(pattern = r"^(?i:deployment|deploy|statefulset|sts)/.+$"))
    )]
    pub workloads: Vec<Workload>,
    /// Namespace of the workloads. Default: that of the restore.
    #[serde(rename = "fence_namespace")]
    pub namespace: Option<String>,
    /// Time limit for the pods of the workloads to end.
    #[serde(rename = "fence_seconds")]
    #[schemars(range(max = MOST_SECONDS))]
    pub timeout: Seconds,
}

impl Default for FenceConfig {
    fn default() -> Self {
        FenceConfig {
            workloads: Vec::new(),
            namespace: None,
            timeout: Seconds(180),
        }
    }
}

/// One workload and its replicas.
#[derive(Debug)]
pub struct Scaled {
    /// The workload.
    pub workload: String,
    /// Its replica count, or the one it is scaled back to.
    pub replicas: u64,
    /// Whether this run changed it.
    pub changed: bool,
    /// Whether another client scaled it up while it was fenced.
    pub raised: bool,
}

/// The configured workloads on their cluster.
pub struct Fence<'a> {
    config: &'a FenceConfig,
    cluster: Cluster,
    namespace: String,
}

impl<'a> Fence<'a> {
    /// Connects to the cluster; a usage error if no workload is configured.
    pub async fn find(config: &'a FenceConfig) -> Result<Fence<'a>> {
        if config.workloads.is_empty() {
            return Err(Error::usage("no workload to fence is configured").hint(
                "set restore.fence to the workloads that use the database, as in deployment/web",
            ));
        }
        let cluster = Cluster::find().await?;
        Ok(Fence {
            config,
            namespace: cluster.namespace_or_own(config.namespace.as_deref()),
            cluster,
        })
    }

    /// The workloads.
    pub fn workloads(&self) -> &[Workload] {
        &self.config.workloads
    }

    /// The cluster of the workloads.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Namespace of the workloads.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Scales all workloads to zero and waits until their pods are gone. If repeated, the first recorded
    /// replica count is kept. A failure lists the workloads that it leaves fenced.
    pub async fn close(&self, cancel: &Cancel) -> Result<Vec<Scaled>> {
        // All workloads are checked before any is changed: a wrong name must not stop the others.
        for workload in &self.config.workloads {
            self.read(workload, cancel).await?;
        }
        let mut all = Vec::new();
        match self.shut(&mut all, cancel).await {
            Ok(()) => Ok(all),
            Err(error) => {
                let fenced: Vec<&str> = all.iter().map(|one| one.workload.as_str()).collect();
                Err(stays(error, &fenced.join(", ")))
            }
        }
    }

    async fn shut(&self, all: &mut Vec<Scaled>, cancel: &Cancel) -> Result<()> {
        for workload in &self.config.workloads {
            let moved = self
                .change(workload, cancel, |is| match is.remembered {
                    Some(first) if is.replicas == 0 => (first, None),
                    // Current replicas were set by another client since; the recorded count is kept.
                    Some(first) => (first, Some((Some(first), 0))),
                    None => (is.replicas, Some((Some(is.replicas), 0))),
                })
                .await?;
            all.push(moved);
        }
        cancel.unless(self.wait_until_gone(cancel)).await
    }

    /// Scales fenced workloads back; unfenced ones are unchanged, and a failure of one does not stop the
    /// others.
    pub async fn open(&self) -> Result<Vec<Scaled>> {
        let never = Cancel::default();
        let (mut all, mut failed) = (Vec::new(), Vec::new());
        for workload in &self.config.workloads {
            let moved = self.change(workload, &never, |is| match is.remembered {
                Some(replicas) => (replicas, Some((None, replicas))),
                None => (is.replicas, None),
            });
            match moved.await {
                Ok(moved) => all.push(moved),
                Err(error) => failed.push((workload.to_string(), error)),
            }
        }
        all_failures(failed).map_or(Ok(all), Err)
    }

    /// Workloads that are fenced now.
    pub async fn fenced(&self, cancel: &Cancel) -> Result<Vec<String>> {
        let mut fenced = Vec::new();
        for workload in &self.config.workloads {
            if self.read(workload, cancel).await?.0.remembered.is_some() {
                fenced.push(workload.to_string());
            }
        }
        Ok(fenced)
    }

    /// Reads a workload, then updates its recorded and desired replica counts. Retries after a conflict
    /// with another client, such as its controller.
    async fn change(
        &self,
        workload: &Workload,
        cancel: &Cancel,
        want: impl Fn(&State) -> (u64, Option<(Option<u64>, u64)>),
    ) -> Result<Scaled> {
        let doing = format!("change the replicas of {workload} in {}", self.namespace);
        let api = self.api(workload);
        let begun = Instant::now();
        let mut changed = false;
        loop {
            let (is, there) = self.read(workload, cancel).await?;
            let (replicas, wanted) = want(&is);
            let moved = |changed| Scaled {
                workload: workload.to_string(),
                replicas,
                changed,
                raised: is.remembered.is_some() && is.replicas > 0,
            };
            let Some((remember, now)) = wanted else {
                return Ok(moved(changed));
            };
            let change = Patch::Merge(json!({
                "metadata": {
                    "annotations": {REPLICAS: remember.map(|number| number.to_string())},
                    "resourceVersion": there.metadata.resource_version,
                },
                "spec": {"replicas": now},
            }));
            // After a lost response the state is read again.
            match api
                .patch(workload.name(), &PatchParams::default(), &change)
                .await
            {
                Ok(_) => {
                    return Ok(Scaled {
                        changed: true,
                        ..moved(false)
                    });
                }
                Err(error) if begun.elapsed() > AWAY => return Err(failure(&doing, error)),
                Err(kube::Error::Api(status)) if status.code == 409 => cancel.check()?,
                Err(error) if is_transient(&error) => {
                    let error = failure(&doing, error);
                    tracing::debug!(%error, "cannot update a workload; retrying");
                    changed = true;
                }
                Err(error) => return Err(failure(&doing, error)),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Reads a workload, with retries: a restart of the API server must not keep the application stopped
    /// after a verified restore.
    async fn read(&self, workload: &Workload, cancel: &Cancel) -> Result<(State, DynamicObject)> {
        let doing = format!("read {workload} in {}", self.namespace);
        let begun = Instant::now();
        let mut was_away = false;
        let there = loop {
            let api = self.api(workload);
            let asked = async { Ok(api.get(workload.name()).await) };
            match cancel.unless(asked).await? {
                Ok(there) => break there,
                Err(error) => {
                    was_away |= is_transient(&error);
                    // An API server that is starting also refuses for a moment.
                    let starts = matches!(&error, kube::Error::Api(status) if status.code == 403);
                    let may_pass = is_transient(&error) || (was_away && starts);
                    if !may_pass || begun.elapsed() > AWAY {
                        return Err(failure(&doing, error));
                    }
                    let error = failure(&doing, error);
                    tracing::debug!(%error, "cannot read a workload; retrying");
                }
            }
            tokio::time::sleep(PAUSE).await;
        };
        let state = State::of(&there).map_err(|what| {
            let (space, name) = (&self.namespace, workload);
            Error::server(format!("{doing}: {what}")).hint(format!(
                "set its previous replica count N: kubectl -n {space} annotate --overwrite {name} {REPLICAS}=N"
            ))
        })?;
        Ok((state, there))
    }

    /// Waits until one pass over all workloads finds no pods: one may be scaled up during the wait for
    /// another.
    async fn wait_until_gone(&self, cancel: &Cancel) -> Result<()> {
        let begun = Instant::now();
        loop {
            let mut left = None;
            for workload in &self.config.workloads {
                left = self.left_of(workload, cancel).await?;
                if left.is_some() {
                    break;
                }
            }
            let Some(left) = left else {
                return Ok(());
            };
            let Seconds(timeout) = self.config.timeout;
            if begun.elapsed().as_secs() >= timeout {
                return Err(Error::server(format!("{left} within {timeout} s")).hint(
                    "check its node, and whether another client scales it up; to wait longer, raise restore.fence_seconds",
                ));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Why a workload still counts as running; `None` once its pods are gone.
    async fn left_of(&self, workload: &Workload, cancel: &Cancel) -> Result<Option<String>> {
        let is = self.read(workload, cancel).await?.0;
        if is.replicas > 0 {
            let what = format!("{workload} is scaled up by another client and did not stay at 0");
            return Ok(Some(what));
        }
        if !is.is_noticed {
            // The controller may still create pods for the previous spec.
            return Ok(Some(format!(
                "the controller of {workload} did not observe the change"
            )));
        }
        let wanted = ListParams::default().labels_from(&is.selector);
        match self.cluster.pods(&self.namespace).list(&wanted).await {
            Ok(listed) => Ok(listed.items.iter().find(|pod| !is_over(pod)).map(|pod| {
                let name = pod.metadata.name.clone().unwrap_or_default();
                format!("the pod {name} of {workload} did not end")
            })),
            Err(error) if is_transient(&error) => Ok(Some("the cluster did not answer".to_owned())),
            Err(error) => Err(failure("list the pods of fenced workloads", error)),
        }
    }

    fn api(&self, workload: &Workload) -> Api<DynamicObject> {
        let kind = workload.api_resource();
        Api::namespaced_with(self.cluster.client(), &self.namespace, &kind)
    }
}

/// One error for the workloads that could not be scaled back; `None` if there are none.
fn all_failures(mut failed: Vec<(String, Error)>) -> Option<Error> {
    let out: Vec<String> = failed.iter().map(|(name, _)| name.clone()).collect();
    let (_, last) = failed.pop()?;
    let also = failed
        .iter()
        .map(|(_, error)| format!("; also: {}", error.what()));
    let what = format!("{}{}", last.what(), also.collect::<String>());
    let step = last.next_step().map(str::to_owned);
    let error = Error::new(last.outcome(), what).caused_by(last);
    let error = match step {
        Some(step) => error.hint(step),
        None => error,
    };
    Some(stays(error, &out.join(", ")))
}

/// Adds to a failure that these workloads are still fenced; unchanged if there are none.
pub fn stays(error: Error, fenced: &str) -> Error {
    if fenced.is_empty() {
        return error;
    }
    let before = error.next_step().map(|step| format!("{step}; "));
    let before = before.unwrap_or_default();
    error.hint(format!("{before}{fenced} stays fenced until drctl unfence"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_without_fenced_workloads_is_unchanged() {
        let error = || Error::server("x").hint("look");
        assert_eq!(stays(error(), "").to_string(), "x; look");
        let text = stays(error(), "deployment/web").to_string();
        assert_eq!(
            text,
            "x; look; deployment/web stays fenced until drctl unfence"
        );
    }

    #[test]
    fn each_workload_that_stays_fenced_is_named_and_each_cause_once() {
        let failed = |names: &[&str]| {
            let failed = names.iter().map(|name| {
                let error = Error::server(format!("cannot scale {name}")).hint("look");
                ((*name).to_owned(), error)
            });
            all_failures(failed.collect()).map(|error| error.to_string())
        };
        assert_eq!(failed(&[]), None);
        assert_eq!(
            failed(&["web"]).unwrap(),
            "cannot scale web; look; web stays fenced until drctl unfence"
        );
        assert_eq!(
            failed(&["web", "worker"]).unwrap(),
            "cannot scale worker; also: cannot scale web; look; web, worker stays fenced until drctl unfence"
        );
    }
}
