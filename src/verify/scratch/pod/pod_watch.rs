//! Watches a scratch pod: its last known state, and its log and events when it fails.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{ListParams, LogParams};
use kube::core::Status;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, runtime};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::k8s::pod::containers_of;
use crate::k8s::{Cluster, WATCH_SECONDS, failure};
use crate::util::error::Error;
use crate::verify::scratch::pod::pod_failure::{self, Patience, PodFailure};
use crate::verify::scratch::pod::spec::CONTAINER;

/// How long a registry may fail: the kubelet has tried three times by then.
const REGISTRY_PATIENCE: Duration = Duration::from_secs(45);

/// Time limit for fetching the log and the events.
const FETCH_TIMEOUT: Duration = Duration::from_secs(4);

/// Interval at which time limits are checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// How long a watch may be refused, as by an API server that is starting.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(8);

/// Number of lines of the pod's log shown.
const LOG_LINES: i64 = 25;

/// Last known state of the pod.
#[derive(Debug, Clone, Default)]
enum PodState {
    /// Not seen yet.
    #[default]
    Unknown,
    /// The pod exists.
    Exists(Box<Pod>),
    /// The pod is gone; its last state.
    Gone(Option<Box<Pod>>),
    /// The watch is forbidden; the API server's answer.
    Forbidden(Box<Status>),
}

/// A watched pod.
#[derive(Debug)]
pub struct PodWatch {
    name: String,
    namespace: String,
    state: watch::Receiver<PodState>,
    _watching: AbortOnDropHandle<()>,
}

impl PodWatch {
    /// Starts the watch.
    pub fn begin(cluster: &Cluster, namespace: &str, name: &str) -> PodWatch {
        let (sender, state) = watch::channel(PodState::default());
        let config = watcher::Config::default()
            .fields(&format!("metadata.name={name}"))
            .timeout(WATCH_SECONDS);
        let pods = cluster.pods(namespace);
        let watching = tokio::spawn(async move {
            let mut message = runtime::watcher(pods, config).default_backoff().boxed();
            let mut listed = false;
            let mut refused: Option<Instant> = None;
            while let Some(message) = message.next().await {
                if message.is_ok() {
                    refused = None;
                }
                match message {
                    Ok(watcher::Event::Init) => listed = false,
                    Ok(watcher::Event::InitApply(pod) | watcher::Event::Apply(pod)) => {
                        listed = true;
                        sender.send_replace(PodState::Exists(Box::new(pod)));
                    }
                    Ok(watcher::Event::InitDone) if listed => {}
                    Ok(watcher::Event::InitDone) => sender.send_modify(|state| {
                        *state = match std::mem::take(state) {
                            PodState::Exists(pod) => PodState::Gone(Some(pod)),
                            _ => PodState::Gone(None),
                        }
                    }),
                    Ok(watcher::Event::Delete(pod)) => {
                        sender.send_replace(PodState::Gone(Some(Box::new(pod))));
                    }
                    Err(
                        watcher::Error::InitialListFailed(kube::Error::Api(status))
                        | watcher::Error::WatchStartFailed(kube::Error::Api(status)),
                    ) if status.code == 403 => {
                        let since = refused.get_or_insert_with(Instant::now);
                        if since.elapsed() >= REFUSAL_PATIENCE {
                            sender.send_replace(PodState::Forbidden(status));
                        }
                    }
                    // The watcher retries; an unreachable API server is noticed by other requests.
                    Err(
                        watcher::Error::InitialListFailed(error)
                        | watcher::Error::WatchStartFailed(error)
                        | watcher::Error::WatchFailed(error),
                    ) => {
                        let error = failure("watch the scratch pod", error);
                        tracing::debug!(%error, "cannot watch the scratch pod; retrying");
                    }
                    Err(error) => {
                        tracing::debug!(%error, "the watch of the scratch pod was interrupted")
                    }
                }
            }
        });
        PodWatch {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            state,
            _watching: AbortOnDropHandle::new(watching),
        }
    }

    /// Waits until the container runs; returns the pod's address.
    pub async fn running(&self) -> String {
        let mut state = self.state.clone();
        loop {
            if let PodState::Exists(pod) = &*state.borrow_and_update()
                && let Some(status) = &pod.status
                && status.phase.as_deref() == Some("Running")
                && let Some(ip) = &status.pod_ip
            {
                return ip.clone();
            }
            if state.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// The container's image as reported by the cluster: a digest, if available.
    pub fn image_id(&self) -> Option<String> {
        let PodState::Exists(pod) = &*self.state.borrow() else {
            return None;
        };
        let ours = containers_of(pod).find(|one| one.name == CONTAINER)?;
        Some(ours.image_id.clone()).filter(|id| !id.is_empty())
    }

    /// Resolves when the watch is refused permanently for lack of permission.
    pub async fn forbidden(&self) -> Error {
        let mut state = self.state.clone();
        loop {
            if let PodState::Forbidden(status) = &*state.borrow_and_update() {
                let error = kube::Error::Api(status.clone());
                return failure("watch the scratch pod", error);
            }
            if state.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Resolves with a failure of the pod once its [`Patience`] is exhausted.
    pub async fn failed_for_good(&self, unschedulable: Duration) -> PodFailure {
        let mut state = self.state.clone();
        let mut since: Option<(Patience, Instant)> = None;
        loop {
            let found = match &*state.borrow_and_update() {
                PodState::Unknown | PodState::Forbidden(_) => None,
                PodState::Exists(pod) => pod_failure::of(pod),
                PodState::Gone(last) => Some(deletion(last.as_deref())),
            };
            if let Some(found) = found {
                let limit = match found.patience {
                    Patience::None => Duration::ZERO,
                    Patience::Registry => REGISTRY_PATIENCE,
                    Patience::Scheduler => unschedulable,
                };
                let begun = match since {
                    Some((patience, at)) if patience == found.patience => at,
                    _ => Instant::now(),
                };
                since = Some((found.patience, begun));
                if begun.elapsed() >= limit {
                    return found;
                }
            } else {
                since = None;
            }
            // A watch that ended sends no updates; the interval keeps the loop going.
            let _ = tokio::time::timeout(CHECK_INTERVAL, state.changed()).await;
        }
    }

    /// The error for a failure of the pod, with the last error of the server's log; log and events are
    /// copied to drctl's own log.
    pub async fn explain(&self, cluster: &Cluster, failed_for_good: PodFailure) -> Error {
        let requests = async { tokio::join!(self.log(cluster), self.events(cluster)) };
        let answers = tokio::time::timeout(FETCH_TIMEOUT, requests).await;
        let (log, events) = answers.unwrap_or_default();
        for event in &events {
            tracing::warn!(pod = self.name, event, "scratch pod");
        }
        for line in log.lines() {
            tracing::warn!(pod = self.name, line, "scratch pod");
        }
        let error = log
            .lines()
            .rev()
            .find_map(error_of)
            .or_else(|| {
                log.lines()
                    .last()
                    .filter(|_| failed_for_good.server_exited)
                    .map(shortened)
            })
            .map(|line| format!(": {line}"));
        let what = format!(
            "the scratch pod {}/{} {}{}",
            self.namespace,
            self.name,
            failed_for_good.what,
            error.unwrap_or_default()
        );
        Error::server(what).hint(failed_for_good.hint)
    }

    /// The last warning event of the pod: why it does not start.
    pub async fn last_warning(&self, cluster: &Cluster) -> Option<String> {
        let events = tokio::time::timeout(FETCH_TIMEOUT, self.events(cluster)).await;
        events
            .ok()?
            .into_iter()
            .rev()
            .find(|event| event.starts_with("Warning"))
    }

    async fn log(&self, cluster: &Cluster) -> String {
        let tail = LogParams {
            container: Some(CONTAINER.to_owned()),
            tail_lines: Some(LOG_LINES),
            limit_bytes: Some(64 << 10),
            ..LogParams::default()
        };
        // A pod that never ran has no log, and a deleted one no longer has one.
        let log = cluster.pods(&self.namespace).logs(&self.name, &tail).await;
        log.unwrap_or_default()
    }

    async fn events(&self, cluster: &Cluster) -> Vec<String> {
        let events: Api<Event> = Api::namespaced(cluster.client(), &self.namespace);
        let of_pod = format!("involvedObject.kind=Pod,involvedObject.name={}", self.name);
        let wanted = ListParams::default().fields(&of_pod);
        // Best effort: permission to list events may be missing.
        let events = events.list(&wanted).await.map(|list| list.items);
        let mut events = events.unwrap_or_default();
        let time = |event: &Event| event.last_timestamp.as_ref().map(|at| at.0);
        events.sort_by_key(time);
        let line = |event: &Event| {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            let (kind, why) = (text(&event.type_), text(&event.reason));
            format!("{kind} {why}: {}", text(&event.message))
        };
        events.iter().map(line).collect()
    }
}

/// The message of an error line of the server's log.
fn error_of(line: &str) -> Option<String> {
    if line.contains("Aborting") {
        return None;
    }
    let (_, message) = line.split_once("[ERROR]")?;
    Some(shortened(message))
}

fn shortened(line: &str) -> String {
    line.trim().chars().take(300).collect()
}

fn deletion(last: Option<&Pod>) -> PodFailure {
    // A recorded end is more specific than the deletion.
    let known = last
        .and_then(pod_failure::of)
        .filter(|known| known.patience == Patience::None);
    known.unwrap_or(PodFailure {
        patience: Patience::None,
        what: "was deleted".to_owned(),
        hint: "find out which client deletes pods in that namespace, and run the drill again"
            .to_owned(),
        server_exited: false,
    })
}
