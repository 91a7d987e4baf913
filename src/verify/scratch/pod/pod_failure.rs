//! Failures of a pod that does not start or has ended. No I/O: read from the pod's status as soon as it
//! shows them, without waiting for a timeout.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::k8s::pod::{condition, containers_of, disruption, init_containers_of, is_over};
use crate::verify::scratch::pod::spec::CONTAINER;

/// A failure of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodFailure {
    /// How long to wait for the failure to resolve.
    pub patience: Patience,
    /// Description.
    pub what: String,
    /// How to fix it.
    pub hint: String,
    /// Whether the server program exited: then the last line of its log is the cause.
    pub server_exited: bool,
}

/// How long to wait for a failure to resolve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Not at all.
    None,
    /// As long as a registry may be unavailable, or gave no definite answer.
    Registry,
    /// As long as a node or a volume may take to become available.
    Scheduler,
}

/// The current failure, if any.
pub fn of(pod: &Pod) -> Option<PodFailure> {
    let status = pod.status.clone().unwrap_or_default();
    let message = status.message.clone().unwrap_or_default();
    if is_over(pod) {
        return Some(ended(pod, status.reason.as_deref(), &message));
    }
    if let Some((why, message)) = disruption(pod) {
        let message = message.unwrap_or_default();
        return Some(immediate(
            format!("was removed by the cluster ({why}){}", suffix(&message)),
            "run the drill again; a node with more free resources or a higher pod priority prevents this",
        ));
    }
    if pod.metadata.deletion_timestamp.is_some() {
        return Some(immediate(
            "was deleted by another client".to_owned(),
            "find out which client deletes pods in that namespace, and run the drill again",
        ));
    }
    if let Some(found) = of_containers(pod) {
        return Some(found);
    }
    let bound = condition(pod, "PodScheduled").filter(|bound| bound.status == "False")?;
    let message = bound.message.clone().unwrap_or_default();
    Some(PodFailure {
        patience: Patience::Scheduler,
        what: format!(
            "cannot be scheduled ({}){}",
            bound.reason.as_deref().unwrap_or("not scheduled"),
            suffix(&message)
        ),
        hint: if message.contains("PersistentVolumeClaim") {
            "check verify.pod.storage_class and the volume's events".to_owned()
        } else {
            "lower verify.pod.resources, or free resources of a node; to wait longer, raise verify.pod.unschedulable_seconds"
                .to_owned()
        },
        server_exited: false,
    })
}

/// Failure of a pod whose phase is final.
fn ended(pod: &Pod, reason: Option<&str>, message: &str) -> PodFailure {
    let (what, hint) = match (reason, disruption(pod)) {
        (Some("Evicted"), _) => (
            format!("was evicted{}", suffix(message)),
            "the node ran out of resources: raise verify.pod.resources, or set verify.pod.storage_class",
        ),
        (Some("DeadlineExceeded"), _) => (
            "reached its deadline".to_owned(),
            "raise verify.deadline_seconds, or find out which stage took so long",
        ),
        (Some(why), _) if why.starts_with("OutOf") || why == "NodeAffinity" => (
            format!("was rejected by its node ({why}){}", suffix(message)),
            "lower verify.pod.resources, or free resources of the node",
        ),
        _ => match of_containers(pod) {
            Some(found) => return found,
            None => (
                format!(
                    "ended ({}){}",
                    reason.unwrap_or("no reason given"),
                    suffix(message)
                ),
                "check its events, and run the drill again",
            ),
        },
    };
    immediate(what, hint)
}

/// Failure of drctl's container first, then of injected containers.
fn of_containers(pod: &Pod) -> Option<PodFailure> {
    let is_ours = |container: &&ContainerStatus| container.name == CONTAINER;
    let ours = containers_of(pod).find(is_ours).and_then(of_container);
    ours.or_else(|| {
        let others = init_containers_of(pod).chain(containers_of(pod));
        others.filter(|one| !is_ours(one)).find_map(of_injected)
    })
}

/// Failure of an injected container; a successful end is none.
fn of_injected(container: &ContainerStatus) -> Option<PodFailure> {
    let ended = container.state.as_ref()?.terminated.as_ref();
    if ended.is_some_and(|end| end.exit_code == 0) {
        return None;
    }
    let found = of_container(container)?;
    Some(PodFailure {
        what: format!(
            "has an injected container {} that {}",
            container.name, found.what
        ),
        hint: "the cluster injected it: prevent that with verify.pod.labels or annotations"
            .to_owned(),
        server_exited: false,
        ..found
    })
}

fn of_container(container: &ContainerStatus) -> Option<PodFailure> {
    let state = container.state.as_ref()?;
    if let Some(end) = &state.terminated {
        if end.reason.as_deref() == Some("OOMKilled") {
            return Some(immediate(
                "ran out of memory (OOMKilled)".to_owned(),
                "raise limits.memory in verify.pod.resources",
            ));
        }
        let how = match end.signal {
            Some(signal) => format!("signal {signal}"),
            None => format!("exit code {}", end.exit_code),
        };
        let message = suffix(end.message.as_deref().unwrap_or_default());
        return Some(PodFailure {
            server_exited: true,
            ..immediate(
                format!("ended ({how}){message}"),
                "check the log above; the server options come from the variables recorded in the manifest",
            )
        });
    }
    let waiting = state.waiting.as_ref()?;
    let why = waiting.reason.as_deref()?;
    let message = suffix(waiting.message.as_deref().unwrap_or_default());
    let image = &container.image;
    match why {
        "ErrImagePull" | "ImagePullBackOff" | "RegistryUnavailable" => Some(PodFailure {
            patience: if is_final(&message) {
                Patience::None
            } else {
                Patience::Registry
            },
            what: format!("cannot pull its image {image} ({why}){message}"),
            hint: PULL.to_owned(),
            server_exited: false,
        }),
        "InvalidImageName" | "ErrImageNeverPull" | "ImageInspectError" => Some(immediate(
            format!("cannot use its image {image} ({why}){message}"),
            PULL,
        )),
        "CreateContainerConfigError"
        | "CreateContainerError"
        | "RunContainerError"
        | "CrashLoopBackOff" => Some(immediate(
            format!("cannot start its container ({why}){message}"),
            "check verify.pod: the image must contain the server's programs and a shell",
        )),
        _ => None,
    }
}

/// Whether an image pull failed with a definite answer, or without any, so that retries are useless.
fn is_final(message: &str) -> bool {
    const FINAL: [&str; 9] = [
        "not found",
        "manifest unknown",
        "name unknown",
        "denied",
        "unauthorized",
        "authorization failed",
        "no match for platform",
        "no such host",
        "connection refused",
    ];
    let message = message.to_lowercase();
    FINAL.iter().any(|said| message.contains(said))
}

/// Fix for image pull failures.
const PULL: &str = "correct verify.pod.images, or the credentials in verify.pod.image_pull_secrets";

fn immediate(what: String, hint: &str) -> PodFailure {
    PodFailure {
        patience: Patience::None,
        what,
        hint: hint.to_owned(),
        server_exited: false,
    }
}

fn suffix(message: &str) -> String {
    const MAX_CHARS: usize = 240;
    match message {
        "" => String::new(),
        _ => format!(": {}", message.chars().take(MAX_CHARS).collect::<String>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::k8s::pod::tests::pod;
    use serde_json::{Value, json};

    fn failure(status: Value) -> (String, Patience) {
        let failure = of(&pod(status)).expect("failure");
        (failure.what, failure.patience)
    }

    fn container(phase: &str, state: Value) -> Value {
        json!({"phase": phase, "containerStatuses": [{"name": "server", "ready": false,
            "restartCount": 0, "image": "x/mysql:9.7", "imageID": "", "state": state}]})
    }

    #[test]
    fn a_starting_pod_has_not_failed() {
        let creating = container(
            "Pending",
            json!({"waiting": {"reason": "ContainerCreating"}}),
        );
        let runs = container("Running", json!({"running": {}}));
        for status in [json!({}), json!({"phase": "Pending"}), creating, runs] {
            assert_eq!(of(&pod(status)), None);
        }
    }

    #[test]
    fn an_injected_container_is_named_and_may_end_successfully() {
        let with = |state: Value| {
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "mesh", "ready": false,
                "restartCount": 0, "image": "x/mesh:1", "imageID": "", "state": state}]})
        };
        let done = json!({"terminated": {"exitCode": 0, "reason": "Completed"}});
        assert_eq!(of(&pod(with(done))), None);
        let pull = json!({"waiting": {"reason": "ErrImagePull"}});
        let (what, patience) = failure(with(pull));
        assert_eq!(
            what,
            "has an injected container mesh that cannot pull its image x/mesh:1 (ErrImagePull)"
        );
        assert_eq!(patience, Patience::Registry);
        let failed = json!({"terminated": {"exitCode": 1, "reason": "Error"}});
        let mut over = with(failed);
        over["phase"] = json!("Failed");
        assert!(failure(over).0.ends_with("ended (exit code 1)"));
    }

    #[test]
    fn each_failure_has_its_own_description() {
        let pull = json!({"waiting": {"reason": "ImagePullBackOff", "message": "no such host"}});
        let (what, patience) = failure(container("Pending", pull));
        assert_eq!(
            what,
            "cannot pull its image x/mysql:9.7 (ImagePullBackOff): no such host"
        );
        assert_eq!(patience, Patience::None);
        let busy = "Back-off pulling image: ErrImagePull: unexpected status: 429 Too Many Requests";
        let pull = json!({"waiting": {"reason": "ImagePullBackOff", "message": busy}});
        assert_eq!(failure(container("Pending", pull)).1, Patience::Registry);

        let oom = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
        assert!(failure(container("Failed", oom)).0.contains("OOMKilled"));
        let error = json!({"terminated": {"exitCode": 1, "reason": "Error"}});
        assert_eq!(
            failure(container("Failed", error)),
            ("ended (exit code 1)".into(), Patience::None)
        );

        let evicted = json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory"});
        assert_eq!(failure(evicted).0, "was evicted: low on memory");
        let late = json!({"phase": "Failed", "reason": "DeadlineExceeded"});
        assert!(failure(late).0.contains("deadline"));

        let unschedulable = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled",
            "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: Insufficient memory."}]});
        let (what, patience) = failure(unschedulable);
        assert_eq!(
            what,
            "cannot be scheduled (Unschedulable): 0/1 nodes: Insufficient memory."
        );
        assert_eq!(patience, Patience::Scheduler);
        let preempted = json!({"phase": "Running", "conditions": [{"type": "DisruptionTarget",
            "status": "True", "reason": "PreemptionByScheduler"}]});
        assert!(failure(preempted).0.contains("PreemptionByScheduler"));
    }
}
