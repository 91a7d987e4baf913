//! Orphaned scratch pods: found by their label at the start of the next drill of the target, and removed.
//!
//! A drill in a pod owns its scratch pod; elsewhere it updates a heartbeat annotation. So a concurrent
//! drill of the same target keeps its pod. Clocks may differ, so an apparently silent pod is observed for a
//! while before it is removed.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Preconditions};

use crate::k8s::failure;
use crate::k8s::pod::is_over;
use crate::layout::TargetName;
use crate::util::error::{Error, Result};
use crate::verify::scratch::pod::spec::{HEARTBEAT, KEPT_LABEL, selector};

/// Interval of the heartbeat.
pub const HEARTBEAT_INTERVAL: std::time::Duration = std::time::Duration::from_secs(15);

/// A heartbeat older than this suggests an orphan; clocks may differ.
const MAX_SILENCE: SignedDuration = SignedDuration::from_secs(120);

/// Observation time of an apparent orphan: longer than the interval of the heartbeat.
const OBSERVATION: std::time::Duration = std::time::Duration::from_secs(20);

fn failed(error: kube::Error) -> Error {
    failure("list scratch pods of earlier drills", error)
}

/// Removes scratch pods of killed drills of this target.
pub async fn reap(pods: &Api<Pod>, target: &TargetName) -> Result<()> {
    let mut silent = Vec::new();
    let wanted = ListParams::default().labels(&selector(target));
    for pod in pods.list(&wanted).await.map_err(failed)? {
        let owner = match owner(&pod) {
            Some((owner, uid)) => {
                let found = pods.get_opt(owner).await.map_err(failed)?;
                Owner::Pod(
                    found
                        .filter(|found| found.metadata.uid.as_deref() == Some(uid))
                        .map(Box::new),
                )
            }
            None => Owner::Elsewhere,
        };
        if !is_orphan(&pod, &owner, Timestamp::now()) {
            continue;
        }
        // A pod that has ended is of no use to any drill.
        if is_over(&pod) || matches!(owner, Owner::Pod(_)) {
            remove(pods, &pod).await?
        } else {
            silent.push(pod)
        }
    }
    if silent.is_empty() {
        return Ok(());
    }
    tokio::time::sleep(OBSERVATION).await;
    for pod in silent {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let now = pods.get_opt(&name).await.map_err(failed)?;
        if now.is_some_and(|now| beat(&now) == beat(&pod)) {
            remove(pods, &pod).await?;
        }
    }
    Ok(())
}

/// Removes this pod by uid, not a later one of the same name.
async fn remove(pods: &Api<Pod>, pod: &Pod) -> Result<()> {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let this_one = Preconditions {
        uid: pod.metadata.uid.clone(),
        resource_version: None,
    };
    let at_once = DeleteParams::default()
        .grace_period(0)
        .preconditions(this_one);
    match pods.delete(&name, &at_once).await {
        Ok(_) => {
            tracing::warn!(pod = name, "removed the scratch pod of a killed drill");
            Ok(())
        }
        // Already removed by another client.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

/// The last heartbeat of its drill.
fn beat(pod: &Pod) -> Option<&String> {
    pod.metadata.annotations.as_ref()?.get(HEARTBEAT)
}

/// Owner of a scratch pod.
#[derive(Debug)]
enum Owner {
    /// A drill in a pod; `None` if that pod is gone.
    Pod(Option<Box<Pod>>),
    /// A drill outside the cluster, or in another namespace.
    Elsewhere,
}

fn owner(pod: &Pod) -> Option<(&str, &str)> {
    let owners = pod.metadata.owner_references.iter().flatten();
    let mut pods = owners.filter(|owner| owner.kind == "Pod");
    pods.next()
        .map(|owner| (owner.name.as_str(), owner.uid.as_str()))
}

fn is_orphan(pod: &Pod, owner: &Owner, now: Timestamp) -> bool {
    let status = pod.status.as_ref();
    if status.is_some_and(|status| status.reason.as_deref() == Some("DeadlineExceeded")) {
        return true;
    }
    if pod
        .metadata
        .labels
        .iter()
        .flatten()
        .any(|label| label.0 == KEPT_LABEL)
    {
        return false;
    }
    match owner {
        Owner::Pod(None) => true,
        Owner::Pod(Some(owner)) => is_over(owner),
        Owner::Elsewhere => {
            let beat = beat(pod).and_then(|text| text.parse::<Timestamp>().ok());
            let created = pod.metadata.creation_timestamp.as_ref().map(|at| at.0);
            let last = beat.or(created);
            last.is_none_or(|last| now.duration_since(last) > MAX_SILENCE)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::k8s::pod::tests::pod;
    use serde_json::json;

    fn now() -> Timestamp {
        "2026-11-21T02:10:00Z".parse().unwrap()
    }

    fn beating(at: &str) -> Pod {
        let mut pod = pod(json!({"phase": "Running"}));
        pod.metadata.annotations = Some([(HEARTBEAT.to_owned(), at.to_owned())].into());
        pod
    }

    #[test]
    fn the_pod_of_a_running_drill_is_not_an_orphan() {
        assert!(!is_orphan(
            &beating("2026-11-21T02:09:30Z"),
            &Owner::Elsewhere,
            now()
        ));
        let drill = pod(json!({"phase": "Running"}));
        let scratch = pod(json!({"phase": "Running"}));
        assert!(!is_orphan(
            &scratch,
            &Owner::Pod(Some(Box::new(drill))),
            now()
        ));
    }

    #[test]
    fn a_pod_whose_drill_is_gone_or_silent_is_an_orphan() {
        let scratch = pod(json!({"phase": "Running"}));
        assert!(is_orphan(&scratch, &Owner::Pod(None), now()));
        let over = pod(json!({"phase": "Failed"}));
        assert!(is_orphan(
            &scratch,
            &Owner::Pod(Some(Box::new(over))),
            now()
        ));
        assert!(is_orphan(
            &beating("2026-11-21T02:07:00Z"),
            &Owner::Elsewhere,
            now()
        ));
    }

    #[test]
    fn a_kept_pod_stays_until_its_deadline() {
        let mut kept = beating("2026-11-20T02:07:00Z");
        kept.metadata.labels = Some([(KEPT_LABEL.to_owned(), "true".to_owned())].into());
        assert!(!is_orphan(&kept, &Owner::Elsewhere, now()));
        kept.status.as_mut().unwrap().reason = Some("DeadlineExceeded".into());
        assert!(is_orphan(&kept, &Owner::Elsewhere, now()));
    }
}
