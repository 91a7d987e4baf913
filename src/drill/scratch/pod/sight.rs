//! A pod, kept in sight: what the cluster last said of it, and what its log and its events say when it
//! is in trouble.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{ListParams, LogParams};
use kube::core::Status;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, runtime};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::cluster::pod::containers_of;
use crate::cluster::{Cluster, WATCH_SECONDS, failure};
use crate::drill::scratch::pod::spec::CONTAINER;
use crate::drill::scratch::pod::trouble::{self, Patience, Trouble};
use crate::error::Error;

/// How long a registry may be busy: kubelet asks it three times by then.
const REGISTRY_PATIENCE: Duration = Duration::from_secs(45);

/// How long asking for the log and the events may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(4);

/// How often patience is looked at.
const TICK: Duration = Duration::from_millis(200);

/// How long watching may be refused, as an API server that is only starting does.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(8);

/// Lines of the pod's log that are shown.
const LOG_LINES: i64 = 25;

/// What the cluster last said.
#[derive(Debug, Clone, Default)]
enum Seen {
    /// Nothing yet.
    #[default]
    Nothing,
    /// The pod.
    There(Box<Pod>),
    /// It is gone; how it was last.
    Gone(Option<Box<Pod>>),
    /// We may not look; what was said.
    Refused(Box<Status>),
}

/// A pod that is watched.
#[derive(Debug)]
pub struct Sight {
    name: String,
    namespace: String,
    seen: watch::Receiver<Seen>,
    _watching: AbortOnDropHandle<()>,
}

impl Sight {
    /// Begins to watch.
    pub fn begin(cluster: &Cluster, namespace: &str, name: &str) -> Sight {
        let (tell, seen) = watch::channel(Seen::default());
        let config = watcher::Config::default()
            .fields(&format!("metadata.name={name}"))
            .timeout(WATCH_SECONDS);
        let pods = cluster.pods(namespace);
        let watching = tokio::spawn(async move {
            let mut heard = runtime::watcher(pods, config).default_backoff().boxed();
            let mut listed = false;
            let mut refused: Option<Instant> = None;
            while let Some(heard) = heard.next().await {
                if heard.is_ok() {
                    refused = None;
                }
                match heard {
                    Ok(watcher::Event::Init) => listed = false,
                    Ok(watcher::Event::InitApply(pod) | watcher::Event::Apply(pod)) => {
                        listed = true;
                        tell.send_replace(Seen::There(Box::new(pod)));
                    }
                    Ok(watcher::Event::InitDone) if listed => {}
                    Ok(watcher::Event::InitDone) => tell.send_modify(|seen| {
                        *seen = match std::mem::take(seen) {
                            Seen::There(pod) => Seen::Gone(Some(pod)),
                            _ => Seen::Gone(None),
                        }
                    }),
                    Ok(watcher::Event::Delete(pod)) => {
                        tell.send_replace(Seen::Gone(Some(Box::new(pod))));
                    }
                    Err(
                        watcher::Error::InitialListFailed(kube::Error::Api(status))
                        | watcher::Error::WatchStartFailed(kube::Error::Api(status)),
                    ) if status.code == 403 => {
                        let since = refused.get_or_insert_with(Instant::now);
                        if since.elapsed() >= REFUSAL_PATIENCE {
                            tell.send_replace(Seen::Refused(status));
                        }
                    }
                    // The watcher tries again; a server that is gone is noticed by whoever works on it.
                    Err(
                        watcher::Error::InitialListFailed(error)
                        | watcher::Error::WatchStartFailed(error)
                        | watcher::Error::WatchFailed(error),
                    ) => {
                        let error = failure("watch the scratch pod", error);
                        tracing::debug!(%error, "trying again");
                    }
                    Err(error) => tracing::debug!(%error, "cannot watch the scratch pod"),
                }
            }
        });
        Sight {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            seen,
            _watching: AbortOnDropHandle::new(watching),
        }
    }

    /// The pod's address, once its container runs.
    pub async fn running(&self) -> String {
        let mut seen = self.seen.clone();
        loop {
            if let Seen::There(pod) = &*seen.borrow_and_update()
                && let Some(status) = &pod.status
                && status.phase.as_deref() == Some("Running")
                && let Some(ip) = &status.pod_ip
            {
                return ip.clone();
            }
            if seen.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// What the cluster says which image its container is of: a digest, where there is one.
    pub fn image_id(&self) -> Option<String> {
        let Seen::There(pod) = &*self.seen.borrow() else {
            return None;
        };
        let ours = containers_of(pod).find(|one| one.name == CONTAINER)?;
        Some(ours.image_id.clone()).filter(|id| !id.is_empty())
    }

    /// Waits until watching is refused for good, for the lack of a right.
    pub async fn refused(&self) -> Error {
        let mut seen = self.seen.clone();
        loop {
            if let Seen::Refused(said) = &*seen.borrow_and_update() {
                let error = kube::Error::Api(said.clone());
                return failure("watch the scratch pod", error);
            }
            if seen.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Waits for a trouble that does not pass.
    pub async fn trouble(&self, unschedulable: Duration) -> Trouble {
        let mut seen = self.seen.clone();
        let mut since: Option<(Patience, Instant)> = None;
        loop {
            let found = match &*seen.borrow_and_update() {
                Seen::Nothing | Seen::Refused(_) => None,
                Seen::There(pod) => trouble::of(pod),
                Seen::Gone(last) => Some(gone(last.as_deref())),
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
            // A watch that ended tells nothing any more; the tick goes on.
            let _ = tokio::time::timeout(TICK, seen.changed()).await;
        }
    }

    /// The failure: the trouble, with the last error of the server's log; the log and the events go to
    /// drctl's own log.
    pub async fn explain(&self, cluster: &Cluster, trouble: Trouble) -> Error {
        let asked = async { tokio::join!(self.log(cluster), self.events(cluster)) };
        let told = tokio::time::timeout(ASK_TIMEOUT, asked).await;
        let (log, events) = told.unwrap_or_default();
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
                    .filter(|_| trouble.by_itself)
                    .map(shortened)
            })
            .map(|line| format!(": {line}"));
        let what = format!(
            "the scratch pod {}/{} {}{}",
            self.namespace,
            self.name,
            trouble.what,
            error.unwrap_or_default()
        );
        Error::server(what).hint(trouble.hint)
    }

    /// The last warning among its events: what holds it up.
    pub async fn last_warning(&self, cluster: &Cluster) -> Option<String> {
        let events = tokio::time::timeout(ASK_TIMEOUT, self.events(cluster)).await;
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
        // A pod that never ran has none, and one that is gone has none any more.
        let log = cluster.pods(&self.namespace).logs(&self.name, &tail).await;
        log.unwrap_or_default()
    }

    async fn events(&self, cluster: &Cluster) -> Vec<String> {
        let events: Api<Event> = Api::namespaced(cluster.client(), &self.namespace);
        let of_pod = format!("involvedObject.kind=Pod,involvedObject.name={}", self.name);
        let wanted = ListParams::default().fields(&of_pod);
        // Best effort: the right to list them may be missing.
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

/// The message of a line of the server's log that is an error.
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

fn gone(last: Option<&Pod>) -> Trouble {
    // How it ended is better known than that it is gone.
    let known = last
        .and_then(trouble::of)
        .filter(|known| known.patience == Patience::None);
    known.unwrap_or(Trouble {
        patience: Patience::None,
        what: "was deleted".to_owned(),
        hint: "find out who deletes pods there, and run the drill again".to_owned(),
        by_itself: false,
    })
}
