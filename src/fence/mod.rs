//! The fence: an application's workloads at no replicas while their database is restored, since they
//! would write into half-loaded tables the moment the server answers.
//!
//! How many replicas there were stands in an annotation of the workload itself, put there by the same
//! request that takes them away: whoever is killed in between, `drctl unfence` finds it. An autoscaler
//! leaves a workload at 0 alone.

mod workload;

use std::time::{Duration, Instant};

use kube::Api;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use serde_json::json;

use crate::cancel::Cancel;
use crate::cluster::pod::is_over;
use crate::cluster::{Cluster, failure, passes};
use crate::error::{Error, Result};
use crate::fence::workload::State;

pub use workload::{REPLICAS, Workload};

/// The pause between two looks at the pods.
const PAUSE: Duration = Duration::from_millis(300);

/// How long the API server may be away.
const AWAY: Duration = Duration::from_secs(60);

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

/// One workload and its replicas.
#[derive(Debug)]
pub struct Moved {
    /// Which.
    pub workload: String,
    /// What it has, or will have again.
    pub replicas: u64,
    /// Whether this run changed it.
    pub changed: bool,
    /// Whether somebody else gave it replicas while it was fenced.
    pub raised: bool,
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

    /// The workloads.
    pub fn workloads(&self) -> &[Workload] {
        &self.config.workloads
    }

    /// The cluster that they are on.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Where the workloads are.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Takes all replicas away and waits until their pods are gone. Done twice, the first number holds.
    /// A failure says what it leaves fenced.
    pub async fn close(&self, cancel: &Cancel) -> Result<Vec<Moved>> {
        // All are looked at before any is touched: a name that is wrong takes nobody's replicas away.
        for workload in &self.config.workloads {
            self.look(workload, cancel).await?;
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

    async fn shut(&self, all: &mut Vec<Moved>, cancel: &Cancel) -> Result<()> {
        for workload in &self.config.workloads {
            let moved = self
                .change(workload, cancel, |is| match is.remembered {
                    Some(first) if is.replicas == 0 => (first, None),
                    // What is there was put there by somebody else since; the first number holds.
                    Some(first) => (first, Some((Some(first), 0))),
                    None => (is.replicas, Some((Some(is.replicas), 0))),
                })
                .await?;
            all.push(moved);
        }
        cancel.unless(self.wait_until_gone(cancel)).await
    }

    /// Gives back what was taken away; a workload that was not fenced is left alone, and one that cannot
    /// be let in keeps no other out.
    pub async fn open(&self) -> Result<Vec<Moved>> {
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
        let out: Vec<String> = failed.iter().map(|(name, _)| name.clone()).collect();
        let Some((_, last)) = failed.pop() else {
            return Ok(all);
        };
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
        Err(stays(error, &out.join(", ")))
    }

    /// Those that are fenced now.
    pub async fn fenced(&self, cancel: &Cancel) -> Result<Vec<String>> {
        let mut fenced = Vec::new();
        for workload in &self.config.workloads {
            if self.look(workload, cancel).await?.0.remembered.is_some() {
                fenced.push(workload.to_string());
            }
        }
        Ok(fenced)
    }

    /// Looks at a workload and changes what is wanted then: what is remembered, and its replicas. Somebody
    /// else who changes it meanwhile, as its controller does all the time, is a reason to look again.
    async fn change(
        &self,
        workload: &Workload,
        cancel: &Cancel,
        want: impl Fn(&State) -> (u64, Option<(Option<u64>, u64)>),
    ) -> Result<Moved> {
        let doing = format!("change the replicas of {workload} in {}", self.namespace);
        let api = self.api(workload);
        let begun = Instant::now();
        let mut changed = false;
        loop {
            let (is, there) = self.look(workload, cancel).await?;
            let (replicas, wanted) = want(&is);
            let moved = |changed| Moved {
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
            // An answer that was lost is found out by looking again.
            match api
                .patch(workload.name(), &PatchParams::default(), &change)
                .await
            {
                Ok(_) => {
                    return Ok(Moved {
                        changed: true,
                        ..moved(false)
                    });
                }
                Err(error) if begun.elapsed() > AWAY => return Err(failure(&doing, error)),
                Err(kube::Error::Api(status)) if status.code == 409 => cancel.check()?,
                Err(error) if passes(&error) => {
                    let error = failure(&doing, error);
                    tracing::debug!(%error, "cannot change a workload; looking again");
                    changed = true;
                }
                Err(error) => return Err(failure(&doing, error)),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Asks until there is an answer: what was proven is not kept from the application by an API server
    /// that restarts.
    async fn look(&self, workload: &Workload, cancel: &Cancel) -> Result<(State, DynamicObject)> {
        let doing = format!("look at {workload} in {}", self.namespace);
        let begun = Instant::now();
        let mut was_away = false;
        let there = loop {
            let api = self.api(workload);
            let asked = async { Ok(api.get(workload.name()).await) };
            match cancel.unless(asked).await? {
                Ok(there) => break there,
                Err(error) => {
                    was_away |= passes(&error);
                    // One that is only starting refuses for a moment, too.
                    let starts = matches!(&error, kube::Error::Api(status) if status.code == 403);
                    let may_pass = passes(&error) || (was_away && starts);
                    if !may_pass || begun.elapsed() > AWAY {
                        return Err(failure(&doing, error));
                    }
                    let error = failure(&doing, error);
                    tracing::debug!(%error, "cannot look at a workload; trying again");
                }
            }
            tokio::time::sleep(PAUSE).await;
        };
        let state = State::of(&there).map_err(|what| {
            let (space, name) = (&self.namespace, workload);
            Error::server(format!("{doing}: {what}")).hint(format!(
                "set the number that it had: kubectl -n {space} annotate --overwrite {name} {REPLICAS}=N"
            ))
        })?;
        Ok((state, there))
    }

    /// Until one look at all of them finds nothing: one may be scaled up while another is waited for.
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
            if begun.elapsed() > self.config.patience {
                let patience = self.config.patience.as_secs();
                return Err(Error::server(format!("{left} within {patience} s")).hint(
                    "look at its node, or who starts it again; restore.fence_seconds waits longer",
                ));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What of a workload is not gone yet.
    async fn left_of(&self, workload: &Workload, cancel: &Cancel) -> Result<Option<String>> {
        let is = self.look(workload, cancel).await?.0;
        if is.replicas > 0 {
            let what = format!("{workload}, which somebody else scales up, did not stay at 0");
            return Ok(Some(what));
        }
        if !is.is_noticed {
            // It may be about to make pods of what it knew before.
            return Ok(Some(format!(
                "the controller of {workload} did not notice it"
            )));
        }
        let wanted = ListParams::default().labels_from(&is.selector);
        match self.cluster.pods(&self.namespace).list(&wanted).await {
            Ok(listed) => Ok(listed.items.iter().find(|pod| !is_over(pod)).map(|pod| {
                let name = pod.metadata.name.clone().unwrap_or_default();
                format!("the pod {name} of {workload} did not end")
            })),
            Err(error) if passes(&error) => Ok(Some("the cluster did not answer".to_owned())),
            Err(error) => Err(failure("look for the fenced pods", error)),
        }
    }

    fn api(&self, workload: &Workload) -> Api<DynamicObject> {
        let kind = workload.api_resource();
        Api::namespaced_with(self.cluster.client(), &self.namespace, &kind)
    }
}

/// The failure, and that these are still kept out; none of them, and nothing is added.
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
    fn a_failure_that_fenced_nothing_does_not_say_so() {
        let error = || Error::server("x").hint("look");
        assert_eq!(stays(error(), "").to_string(), "x; look");
        let text = stays(error(), "deployment/web").to_string();
        assert_eq!(
            text,
            "x; look; deployment/web stays fenced until drctl unfence"
        );
    }
}
