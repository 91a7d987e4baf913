//! Metrics and health probes of `drctl watch`.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::monitor::metrics::CONTENT_TYPE;
use crate::monitor::serve::pages;
use crate::monitor::watch::event::{EventType, PodEvent};

/// Maximum length of a reason used as a label: any client that may write a pod's status chooses it.
const REASON_CHARS: usize = 40;

/// Maximum number of event series. Further events are counted under the reason `other`; those of a
/// namespace without a series also under the namespace `other`.
const MAX_SERIES: usize = 2000;

/// After this time without a failure a watch counts as established; longer than one attempt takes.
const ESTABLISHED_AFTER: Duration = Duration::from_secs(15);

type Labels = Vec<(&'static str, String)>;
type Gauge64 = Gauge<f64, AtomicU64>;

/// Counters, and the state of the watched scopes.
#[derive(Debug)]
pub struct WatchMetrics {
    registry: Registry,
    events: Family<Labels, Counter>,
    up: Gauge64,
    last: Gauge64,
    /// Per scope, since when it is watched; `None` while it is not.
    up_since: Mutex<Vec<Option<Instant>>>,
    /// Existing series.
    series: Mutex<BTreeSet<Labels>>,
}

impl WatchMetrics {
    /// Metrics for a number of scopes.
    pub fn new(scopes: usize) -> WatchMetrics {
        let (events, up, last) = (Family::default(), Gauge64::default(), Gauge64::default());
        let mut registry = Registry::default();
        registry.register(
            "drctl_pod_events",
            "Pod events since the watcher started, by type",
            Family::clone(&events),
        );
        registry.register(
            "drctl_pod_watcher_up",
            "Whether all scopes are being watched",
            up.clone(),
        );
        registry.register(
            "drctl_pod_last_event_timestamp_seconds",
            "Time of the last event; 0 before the first",
            last.clone(),
        );
        WatchMetrics {
            registry,
            events,
            up,
            last,
            up_since: Mutex::new(vec![None; scopes]),
            series: Mutex::default(),
        }
    }

    /// Counts an event. Pods that existed before the watch began are not counted.
    pub fn count(&self, event: &PodEvent) {
        if event.kind == EventType::Existing {
            return;
        }
        let labels = |namespace: &str, reason: &str| {
            vec![
                ("namespace", namespace.to_owned()),
                ("type", event.kind.as_str().to_owned()),
                ("reason", reason.to_owned()),
            ]
        };
        let mut wanted = labels(&event.namespace, label(&event.view.reason));
        {
            let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
            if series.len() >= MAX_SERIES && !series.contains(&wanted) {
                let is_known = |one: &Labels| one[0] == wanted[0];
                wanted = if series.iter().any(is_known) {
                    labels(&event.namespace, "other")
                } else {
                    labels("other", "other")
                };
            }
            series.insert(wanted.clone());
        }
        self.events.get_or_create(&wanted).inc();
        self.last.set(event.time.as_millisecond() as f64 / 1000.0);
    }

    /// Records that a scope is watched and all its pods are known.
    pub fn connected(&self, scope: usize) {
        // Backdated, so that it counts as established at once.
        self.set(scope, Instant::now().checked_sub(ESTABLISHED_AFTER));
    }

    /// Records a failed attempt for a scope. An established watch without events is silent: the scope
    /// counts as watched again once no attempt has failed for a while.
    pub fn attempt_failed(&self, scope: usize, known: bool) {
        self.set(scope, known.then(Instant::now));
    }

    fn set(&self, scope: usize, since: Option<Instant>) {
        let mut up_since = self.up_since.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = up_since.get_mut(scope) {
            *place = since;
        }
    }

    fn is_up(&self) -> bool {
        let up_since = self.up_since.lock().unwrap_or_else(PoisonError::into_inner);
        let is_settled =
            |since: &Option<Instant>| since.is_some_and(|at| at.elapsed() >= ESTABLISHED_AFTER);
        up_since.iter().all(is_settled)
    }

    fn text(&self) -> String {
        self.up.set(f64::from(u8::from(self.is_up())));
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// Converts a reason into a label.
fn label(reason: &str) -> &str {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_:".contains(c);
    if reason.len() <= REASON_CHARS && reason.chars().all(is_plain) {
        reason
    } else {
        "other"
    }
}

/// Router of all pages.
pub fn router(metrics: Arc<WatchMetrics>) -> Router {
    let pages = Router::new()
        .route("/metrics", get(metrics_page))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready));
    pages::finish(pages.with_state(metrics))
}

async fn metrics_page(State(metrics): State<Arc<WatchMetrics>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], metrics.text())
}

async fn ready(State(metrics): State<Arc<WatchMetrics>>) -> (StatusCode, &'static str) {
    if metrics.is_up() {
        (StatusCode::OK, "ready\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "pods are not being watched\n",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::k8s::pod::PodView;
    use jiff::Timestamp;

    #[test]
    fn an_invented_reason_is_not_used_as_a_label() {
        assert_eq!(label("CrashLoopBackOff"), "CrashLoopBackOff");
        assert_eq!(label("x\"} 1"), "other");
        assert_eq!(label(&"x".repeat(41)), "other");
    }

    #[test]
    fn short_lived_namespaces_do_not_fill_the_memory() {
        let metrics = WatchMetrics::new(1);
        for number in 0..MAX_SERIES * 3 {
            metrics.count(&event(&format!("run-{number}"), "Pending"));
        }
        let text = metrics.text();
        let series = text
            .lines()
            .filter(|line| line.starts_with("drctl_pod_events_total"));
        assert_eq!(series.count(), MAX_SERIES + 1);
        assert!(text.contains("namespace=\"other\",type=\"created\",reason=\"other\"} 4000"));
        metrics.count(&event("run-1", "Running"));
        let known = "namespace=\"run-1\",type=\"created\",reason=\"other\"} 1";
        assert!(metrics.text().contains(known));
    }

    fn event(namespace: &str, reason: &str) -> PodEvent {
        let status = serde_json::json!({"phase": "Pending"});
        let mut view = PodView::of(&crate::k8s::pod::tests::pod(status));
        view.reason = reason.to_owned();
        PodEvent {
            time: Timestamp::UNIX_EPOCH,
            kind: EventType::Created,
            namespace: namespace.to_owned(),
            pod: "p".to_owned(),
            view,
            resource_version: "1".to_owned(),
            created: None,
            changes: Default::default(),
            resync: false,
        }
    }

    #[test]
    fn every_metric_of_the_watcher_is_documented() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        let page = std::fs::read_to_string(file).unwrap();
        let metrics = WatchMetrics::new(1);
        // A scope without series is not listed.
        metrics.events.get_or_create(&Labels::new()).inc();
        let text = metrics.text();
        let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let names: Vec<&str> = names.filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(names.len(), 3);
        for name in names {
            assert!(
                page.contains(&format!("| `{name}")),
                "docs/metrics.md lacks {name}"
            );
        }
    }

    #[test]
    fn it_is_up_when_every_scope_is_watched() {
        let metrics = WatchMetrics::new(2);
        metrics.connected(0);
        assert!(!metrics.is_up());
        metrics.connected(1);
        assert!(metrics.is_up() && metrics.text().contains("drctl_pod_watcher_up 1.0"));
        metrics.attempt_failed(0, true);
        assert!(!metrics.is_up());
        metrics.connected(0);
        assert!(metrics.is_up());
    }
}
