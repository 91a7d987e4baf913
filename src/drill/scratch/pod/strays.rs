//! Scratch pods whose drill is gone: found by their label at the start of the next drill, and removed.
//!
//! A drill in a pod owns its scratch pod; elsewhere it writes a heartbeat on it. So a drill of the
//! same target that runs meanwhile keeps its own. Clocks of machines may be far apart: what seems silent
//! is listened to before it is removed.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Preconditions};

use crate::cluster::failure;
use crate::cluster::pod::is_over;
use crate::drill::scratch::pod::spec::{HEARTBEAT, KEPT_LABEL, selector};
use crate::error::{Error, Result};
use crate::store::keys::TargetName;

/// How often a drill says that it lives.
pub const BEAT: std::time::Duration = std::time::Duration::from_secs(15);

/// After how long a silence it is gone; clocks of machines may be apart.
const SILENCE: SignedDuration = SignedDuration::from_secs(120);

/// How long what seems silent is listened to: longer than the pause between two beats.
const LISTEN: std::time::Duration = std::time::Duration::from_secs(20);

fn failed(error: kube::Error) -> Error {
    failure("look for scratch pods of earlier drills", error)
}

/// Removes what killed drills of this target left.
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
        if !is_stray(&pod, &owner, Timestamp::now()) {
            continue;
        }
        // What the cluster ended nobody drills in any more.
        match is_over(&pod) || matches!(owner, Owner::Pod(_)) {
            true => remove(pods, &pod).await?,
            false => silent.push(pod),
        }
    }
    if silent.is_empty() {
        return Ok(());
    }
    tokio::time::sleep(LISTEN).await;
    for pod in silent {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let now = pods.get_opt(&name).await.map_err(failed)?;
        if now.is_some_and(|now| beat(&now) == beat(&pod)) {
            remove(pods, &pod).await?;
        }
    }
    Ok(())
}

/// Removes this one, and no other of its name.
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
            tracing::warn!(pod = name, "removed what a killed drill left");
            Ok(())
        }
        // Somebody was faster.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

/// When its drill last said that it lives.
fn beat(pod: &Pod) -> Option<&String> {
    pod.metadata.annotations.as_ref()?.get(HEARTBEAT)
}

/// Who a scratch pod is for.
#[derive(Debug)]
enum Owner {
    /// A drill in a pod, if that is still there.
    Pod(Option<Box<Pod>>),
    /// A drill outside of the cluster, or in another namespace.
    Elsewhere,
}

fn owner(pod: &Pod) -> Option<(&str, &str)> {
    let owners = pod.metadata.owner_references.iter().flatten();
    let mut pods = owners.filter(|owner| owner.kind == "Pod");
    pods.next()
        .map(|owner| (owner.name.as_str(), owner.uid.as_str()))
}

fn is_stray(pod: &Pod, owner: &Owner, now: Timestamp) -> bool {
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
            last.is_none_or(|last| now.duration_since(last) > SILENCE)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::pod::tests::pod;
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
    fn a_pod_whose_drill_lives_is_nobodys_stray() {
        assert!(!is_stray(
            &beating("2026-11-21T02:09:30Z"),
            &Owner::Elsewhere,
            now()
        ));
        let drill = pod(json!({"phase": "Running"}));
        let scratch = pod(json!({"phase": "Running"}));
        assert!(!is_stray(
            &scratch,
            &Owner::Pod(Some(Box::new(drill))),
            now()
        ));
    }

    #[test]
    fn a_pod_whose_drill_is_gone_or_silent_is_a_stray() {
        let scratch = pod(json!({"phase": "Running"}));
        assert!(is_stray(&scratch, &Owner::Pod(None), now()));
        let over = pod(json!({"phase": "Failed"}));
        assert!(is_stray(&scratch, &Owner::Pod(Some(Box::new(over))), now()));
        assert!(is_stray(
            &beating("2026-11-21T02:07:00Z"),
            &Owner::Elsewhere,
            now()
        ));
    }

    #[test]
    fn what_was_kept_for_a_look_stays_until_its_deadline() {
        let mut kept = beating("2026-11-20T02:07:00Z");
        kept.metadata.labels = Some([(KEPT_LABEL.to_owned(), "true".to_owned())].into());
        assert!(!is_stray(&kept, &Owner::Elsewhere, now()));
        kept.status.as_mut().unwrap().reason = Some("DeadlineExceeded".into());
        assert!(is_stray(&kept, &Owner::Elsewhere, now()));
    }
}
