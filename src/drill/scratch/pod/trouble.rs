//! What is wrong with a pod that does not come up, or has come to its end. Pure: read off its status,
//! told apart as soon as the cluster says it, and not by a time-out.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::cluster::pod::{condition, containers_of, disruption, init_containers_of, is_over};
use crate::drill::scratch::pod::spec::CONTAINER;

/// Something that keeps a pod from being a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// How long it may pass by itself.
    pub patience: Patience,
    /// What it is.
    pub what: String,
    /// What to do.
    pub hint: String,
    /// Whether its program ended by itself: then its last line says why.
    pub by_itself: bool,
}

/// How long a trouble may pass by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// It does not.
    None,
    /// A registry may only have been busy, or said too little.
    Registry,
    /// A node may come, a volume may be made.
    Scheduler,
}

/// What is wrong now, if anything.
pub fn of(pod: &Pod) -> Option<Trouble> {
    let status = pod.status.clone().unwrap_or_default();
    let message = status.message.clone().unwrap_or_default();
    if is_over(pod) {
        return Some(ended(pod, status.reason.as_deref(), &message));
    }
    if let Some((why, message)) = disruption(pod) {
        let message = message.unwrap_or_default();
        return Some(now(
            format!("was taken away by the cluster ({why}){}", behind(&message)),
            "run the drill again; a node with more room, or a higher priority, keeps it",
        ));
    }
    if pod.metadata.deletion_timestamp.is_some() {
        return Some(now(
            "was deleted by somebody".to_owned(),
            "find out who deletes pods there, and run the drill again",
        ));
    }
    if let Some(found) = of_containers(pod) {
        return Some(found);
    }
    let bound = condition(pod, "PodScheduled").filter(|bound| bound.status == "False")?;
    let message = bound.message.clone().unwrap_or_default();
    Some(Trouble {
        patience: Patience::Scheduler,
        what: format!(
            "finds no node ({}){}",
            bound.reason.as_deref().unwrap_or("not scheduled"),
            behind(&message)
        ),
        hint: match message.contains("PersistentVolumeClaim") {
            true => "look at verify.pod.storage_class and the volume's events".to_owned(),
            false => "lower verify.pod.resources, or make room; verify.pod.unschedulable_seconds waits longer"
                .to_owned(),
        },
        by_itself: false,
    })
}

/// Of a pod whose phase says that it is over.
fn ended(pod: &Pod, reason: Option<&str>, message: &str) -> Trouble {
    let (what, hint) = match (reason, disruption(pod)) {
        (Some("Evicted"), _) => (
            format!("was evicted{}", behind(message)),
            "the node ran short: raise verify.pod.resources, or give it verify.pod.storage_class",
        ),
        (Some("DeadlineExceeded"), _) => (
            "was ended at its deadline".to_owned(),
            "raise verify.deadline_seconds, or look at what took so long",
        ),
        (Some(why), _) if why.starts_with("OutOf") || why == "NodeAffinity" => (
            format!("was refused by its node ({why}){}", behind(message)),
            "lower verify.pod.resources, or make room",
        ),
        _ => match of_containers(pod) {
            Some(found) => return found,
            None => (
                format!(
                    "ended ({}){}",
                    reason.unwrap_or("no reason given"),
                    behind(message)
                ),
                "look at its events, and run the drill again",
            ),
        },
    };
    now(what, hint)
}

/// Of ours first, then of those that the cluster put beside it.
fn of_containers(pod: &Pod) -> Option<Trouble> {
    let is_ours = |container: &&ContainerStatus| container.name == CONTAINER;
    let ours = containers_of(pod).find(is_ours).and_then(of_container);
    ours.or_else(|| {
        let others = init_containers_of(pod).chain(containers_of(pod));
        others.filter(|one| !is_ours(one)).find_map(of_stranger)
    })
}

/// Of a container that is not of our making: its end is none where it went well.
fn of_stranger(container: &ContainerStatus) -> Option<Trouble> {
    let ended = container.state.as_ref()?.terminated.as_ref();
    if ended.is_some_and(|end| end.exit_code == 0) {
        return None;
    }
    let found = of_container(container)?;
    Some(Trouble {
        what: format!(
            "has a container {} that is not drctl's and {}",
            container.name, found.what
        ),
        hint: "the cluster put it there: keep it out by verify.pod.labels or annotations"
            .to_owned(),
        by_itself: false,
        ..found
    })
}

fn of_container(container: &ContainerStatus) -> Option<Trouble> {
    let state = container.state.as_ref()?;
    if let Some(end) = &state.terminated {
        if end.reason.as_deref() == Some("OOMKilled") {
            return Some(now(
                "was killed for its memory (OOMKilled)".to_owned(),
                "raise limits.memory in verify.pod.resources",
            ));
        }
        let how = match end.signal {
            Some(signal) => format!("signal {signal}"),
            None => format!("exit code {}", end.exit_code),
        };
        let message = behind(end.message.as_deref().unwrap_or_default());
        return Some(Trouble {
            by_itself: true,
            ..now(
                format!("ended ({how}){message}"),
                "look at the log above; the server's options come from the manifest's fingerprint",
            )
        });
    }
    let waiting = state.waiting.as_ref()?;
    let why = waiting.reason.as_deref()?;
    let message = behind(waiting.message.as_deref().unwrap_or_default());
    let image = &container.image;
    match why {
        "ErrImagePull" | "ImagePullBackOff" | "RegistryUnavailable" => Some(Trouble {
            patience: match is_final(&message) {
                true => Patience::None,
                false => Patience::Registry,
            },
            what: format!("cannot pull its image {image} ({why}){message}"),
            hint: PULL.to_owned(),
            by_itself: false,
        }),
        "InvalidImageName" | "ErrImageNeverPull" | "ImageInspectError" => Some(now(
            format!("cannot use its image {image} ({why}){message}"),
            PULL,
        )),
        "CreateContainerConfigError"
        | "CreateContainerError"
        | "RunContainerError"
        | "CrashLoopBackOff" => Some(now(
            format!("cannot start its container ({why}){message}"),
            "check verify.pod: the image must hold the server's programs and a shell",
        )),
        _ => None,
    }
}

/// Whether what a registry answered, or that nobody answers, is no reason to ask again.
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

/// What helps where there is no image.
const PULL: &str =
    "correct it in verify.pod.images, or the access in verify.pod.image_pull_secrets";

fn now(what: String, hint: &str) -> Trouble {
    Trouble {
        patience: Patience::None,
        what,
        hint: hint.to_owned(),
        by_itself: false,
    }
}

fn behind(message: &str) -> String {
    const MAX_CHARS: usize = 240;
    match message {
        "" => String::new(),
        _ => format!(": {}", message.chars().take(MAX_CHARS).collect::<String>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::pod::tests::pod;
    use serde_json::{Value, json};

    fn told(status: Value) -> (String, Patience) {
        let trouble = of(&pod(status)).expect("trouble");
        (trouble.what, trouble.patience)
    }

    fn container(phase: &str, state: Value) -> Value {
        json!({"phase": phase, "containerStatuses": [{"name": "server", "ready": false,
            "restartCount": 0, "image": "x/mysql:9.7", "imageID": "", "state": state}]})
    }

    #[test]
    fn a_pod_that_is_coming_up_is_no_trouble() {
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
    fn a_container_that_the_cluster_put_there_is_named_and_may_end_well() {
        let with = |state: Value| {
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "mesh", "ready": false,
                "restartCount": 0, "image": "x/mesh:1", "imageID": "", "state": state}]})
        };
        let done = json!({"terminated": {"exitCode": 0, "reason": "Completed"}});
        assert_eq!(of(&pod(with(done))), None);
        let pull = json!({"waiting": {"reason": "ErrImagePull"}});
        let (what, patience) = told(with(pull));
        assert_eq!(
            what,
            "has a container mesh that is not drctl's and cannot pull its image x/mesh:1 (ErrImagePull)"
        );
        assert_eq!(patience, Patience::Registry);
        let failed = json!({"terminated": {"exitCode": 1, "reason": "Error"}});
        let mut over = with(failed);
        over["phase"] = json!("Failed");
        assert!(told(over).0.ends_with("and ended (exit code 1)"));
    }

    #[test]
    fn each_trouble_has_its_own_words() {
        let pull = json!({"waiting": {"reason": "ImagePullBackOff", "message": "no such host"}});
        let (what, patience) = told(container("Pending", pull));
        assert_eq!(
            what,
            "cannot pull its image x/mysql:9.7 (ImagePullBackOff): no such host"
        );
        assert_eq!(patience, Patience::None);
        let busy = "Back-off pulling image: ErrImagePull: unexpected status: 429 Too Many Requests";
        let pull = json!({"waiting": {"reason": "ImagePullBackOff", "message": busy}});
        assert_eq!(told(container("Pending", pull)).1, Patience::Registry);

        let oom = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
        assert!(told(container("Failed", oom)).0.contains("OOMKilled"));
        let error = json!({"terminated": {"exitCode": 1, "reason": "Error"}});
        assert_eq!(
            told(container("Failed", error)),
            ("ended (exit code 1)".into(), Patience::None)
        );

        let evicted = json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory"});
        assert_eq!(told(evicted).0, "was evicted: low on memory");
        let late = json!({"phase": "Failed", "reason": "DeadlineExceeded"});
        assert!(told(late).0.contains("deadline"));

        let unschedulable = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled",
            "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: Insufficient memory."}]});
        let (what, patience) = told(unschedulable);
        assert_eq!(
            what,
            "finds no node (Unschedulable): 0/1 nodes: Insufficient memory."
        );
        assert_eq!(patience, Patience::Scheduler);
        let preempted = json!({"phase": "Running", "conditions": [{"type": "DisruptionTarget",
            "status": "True", "reason": "PreemptionByScheduler"}]});
        assert!(told(preempted).0.contains("PreemptionByScheduler"));
    }
}
