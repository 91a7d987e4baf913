//! State of a pod, in the terms of `kubectl`. No I/O.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod, PodCondition};
use serde::Serialize;

/// State of a pod, without fields that change with every heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PodView {
    /// Unique id of the pod.
    pub uid: String,
    /// `Pending`, `Running`, `Succeeded`, `Failed`, `Unknown`.
    pub phase: String,
    /// Most specific reason of its state: `Running`, `Scheduled`, `Unschedulable`, `CrashLoopBackOff`,
    /// `OOMKilled`, `Evicted`…
    pub reason: String,
    /// Message that belongs to the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Ready containers and all containers: `1/2`.
    pub ready: String,
    /// Sum of the restarts of all containers.
    pub restarts: i32,
    /// Name of its node; `None` before it is scheduled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// IP address; `None` before it is assigned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Conditions: type and status (`True`, `False`, `Unknown`).
    pub conditions: BTreeMap<String, String>,
    /// Images of its containers.
    pub images: Vec<String>,
}

impl PodView {
    /// Extracts the state of a pod.
    pub fn of(pod: &Pod) -> PodView {
        let status = pod.status.clone().unwrap_or_default();
        let spec = pod.spec.as_ref();
        let containers = spec.map_or(0, |spec| spec.containers.len());
        let is_ready = |one: &&ContainerStatus| one.ready;
        let ready = containers_of(pod).filter(is_ready).count();
        let every = containers_of(pod).chain(init_containers_of(pod));
        let conditions = status.conditions.iter().flatten();
        let (reason, message) = reason(pod);
        PodView {
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            phase: status.phase.clone().unwrap_or_else(|| "Pending".to_owned()),
            reason,
            message,
            ready: format!("{ready}/{containers}"),
            restarts: every.map(|one| one.restart_count).sum(),
            node: spec.and_then(|spec| spec.node_name.clone()),
            ip: status.pod_ip.clone(),
            terminating: pod.metadata.deletion_timestamp.is_some(),
            conditions: conditions
                .map(|one| (one.type_.clone(), one.status.clone()))
                .collect(),
            images: spec
                .map(|spec| &spec.containers)
                .into_iter()
                .flatten()
                .filter_map(|one| one.image.clone())
                .collect(),
        }
    }

    /// Changed fields: name, value before, value now.
    pub fn changes(&self, before: &PodView) -> BTreeMap<String, [String; 2]> {
        let some = |text: &Option<String>| text.clone().unwrap_or_default();
        let of = |view: &PodView| {
            let mut all = BTreeMap::from([
                ("phase".to_owned(), view.phase.clone()),
                ("reason".to_owned(), view.reason.clone()),
                ("ready".to_owned(), view.ready.clone()),
                ("restarts".to_owned(), view.restarts.to_string()),
                ("node".to_owned(), some(&view.node)),
                ("ip".to_owned(), some(&view.ip)),
                ("terminating".to_owned(), view.terminating.to_string()),
                ("images".to_owned(), view.images.join(",")),
            ]);
            let conditions = view.conditions.iter();
            all.extend(conditions.map(|(name, is)| (format!("condition {name}"), is.clone())));
            all
        };
        let (was, is) = (of(before), of(self));
        let mut changes = BTreeMap::new();
        for name in was.keys().chain(is.keys()) {
            let value = |all: &BTreeMap<String, String>| all.get(name).cloned().unwrap_or_default();
            if value(&was) != value(&is) {
                changes.insert(name.clone(), [value(&was), value(&is)]);
            }
        }
        changes
    }

    /// Whether the pod has ended.
    pub fn is_over(&self) -> bool {
        is_last(&self.phase)
    }
}

fn is_last(phase: &str) -> bool {
    matches!(phase, "Succeeded" | "Failed")
}

/// Whether a pod has ended.
pub fn is_over(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref());
    phase.is_some_and(is_last)
}

/// Statuses of its containers.
pub fn containers_of(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_ref());
    containers.into_iter().flatten()
}

/// Statuses of its init containers.
pub fn init_containers_of(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.init_container_statuses.as_ref());
    containers.into_iter().flatten()
}

/// The condition of this type.
pub fn condition<'a>(pod: &'a Pod, name: &str) -> Option<&'a PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|one| one.type_ == name)
}

/// Reason and message of a disruption by the cluster: eviction, preemption, node shutdown.
pub fn disruption(pod: &Pod) -> Option<(String, Option<String>)> {
    let found = condition(pod, "DisruptionTarget").filter(|one| one.status == "True")?;
    Some((found.reason.clone()?, found.message.clone()))
}

/// The most specific reason, chosen as by `kubectl get pods`.
fn reason(pod: &Pod) -> (String, Option<String>) {
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.clone());
    let phase = phase.unwrap_or_else(|| "Pending".to_owned());
    if let Some(reason) = status.and_then(|status| status.reason.clone()) {
        return (reason, status.and_then(|status| status.message.clone()));
    }
    if let Some(found) = disruption(pod) {
        return found;
    }
    let init = init_containers_of(pod).filter_map(trouble_of);
    if let Some(found) = init.chain(containers_of(pod).filter_map(trouble_of)).next() {
        return found;
    }
    if pod.metadata.deletion_timestamp.is_some() {
        return ("Terminating".to_owned(), None);
    }
    if let Some(bound) = condition(pod, "PodScheduled").filter(|_| phase == "Pending") {
        return match (bound.status.as_str(), bound.reason.clone()) {
            ("True", _) => ("Scheduled".to_owned(), None),
            (_, reason) => (
                reason.unwrap_or_else(|| phase.clone()),
                bound.message.clone(),
            ),
        };
    }
    match phase.as_str() {
        "Succeeded" => ("Completed".to_owned(), None),
        _ => (phase, None),
    }
}

/// Reason of a container's failure; `None` while it only waits for other containers.
fn trouble_of(container: &ContainerStatus) -> Option<(String, Option<String>)> {
    const USUAL: [&str; 2] = ["ContainerCreating", "PodInitializing"];
    let state = container.state.as_ref()?;
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.clone()?;
        if USUAL.contains(&reason.as_str()) {
            return None;
        }
        // The last end says more than the wait for the restart.
        let killed = ended(container.last_state.as_ref()).filter(|(why, _)| why == "OOMKilled");
        return Some(killed.unwrap_or((reason, waiting.message.clone())));
    }
    if state.terminated.is_some() {
        return ended(Some(state)).filter(|(why, _)| why != "Completed");
    }
    None
}

fn ended(state: Option<&ContainerState>) -> Option<(String, Option<String>)> {
    let ended = state?.terminated.as_ref()?;
    let code = format!("exit code {}", ended.exit_code);
    let reason = ended.reason.clone().unwrap_or_else(|| "Error".to_owned());
    Some((reason, Some(ended.message.clone().unwrap_or(code))))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A pod with this status in JSON.
    pub(crate) fn pod(status: serde_json::Value) -> Pod {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "web-1", "namespace": "shop", "uid": "u1", "resourceVersion": "1"},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "nginx:1"}]},
            "status": status,
        }))
        .unwrap()
    }

    fn told(status: serde_json::Value) -> String {
        PodView::of(&pod(status)).reason
    }

    #[test]
    fn the_reason_is_the_one_that_kubectl_shows() {
        use serde_json::json;
        let container = |state| json!({"phase": "Running", "containerStatuses": [{"name": "c", "ready": false, "restartCount": 3, "image": "", "imageID": "", "state": state}]});
        assert_eq!(told(json!({"phase": "Running"})), "Running");
        assert_eq!(told(json!({"phase": "Succeeded"})), "Completed");
        assert_eq!(
            told(json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory"})),
            "Evicted"
        );
        assert_eq!(
            told(container(
                json!({"waiting": {"reason": "CrashLoopBackOff"}})
            )),
            "CrashLoopBackOff"
        );
        assert_eq!(
            told(container(
                json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}})
            )),
            "OOMKilled"
        );
        let scheduled = |is: &str, why| json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": is, "reason": why}]});
        assert_eq!(told(scheduled("True", json!(null))), "Scheduled");
        assert_eq!(
            told(scheduled("False", json!("Unschedulable"))),
            "Unschedulable"
        );
    }

    #[test]
    fn a_restarted_container_shows_that_it_was_oom_killed() {
        let status = serde_json::json!({"phase": "Running", "containerStatuses": [{"name": "c",
            "ready": false, "restartCount": 1, "image": "", "imageID": "",
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]});
        assert_eq!(told(status), "OOMKilled");
    }
}
