//! The events for Prometheus, and the probes of the watcher.

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

use crate::report::metrics::CONTENT_TYPE;
use crate::serve::pages;
use crate::watch::event::{EventType, PodEvent};

/// The longest reason that becomes a label: anybody who may write a pod's status chooses it.
const REASON_CHARS: usize = 40;

/// The most series of events: what comes after is counted under the reason `other`, and a namespace that
/// has no series by then under the namespace `other`, too.
const MAX_SERIES: usize = 2000;

/// After how long without another failure a watch is taken to stand: longer than an attempt takes.
const SETTLED: Duration = Duration::from_secs(15);

type Labels = Vec<(&'static str, String)>;
type Gauge64 = Gauge<f64, AtomicU64>;

/// What was counted, and which scopes are heard.
#[derive(Debug)]
pub struct Board {
    registry: Registry,
    events: Family<Labels, Counter>,
    up: Gauge64,
    last: Gauge64,
    /// Of each scope that is watched, since when it is heard; none while it is not.
    heard: Mutex<Vec<Option<Instant>>>,
    /// Series so far.
    series: Mutex<BTreeSet<Labels>>,
}

impl Board {
    /// For so many scopes.
    pub fn new(scopes: usize) -> Board {
        let (events, up, last) = (Family::default(), Gauge64::default(), Gauge64::default());
        let mut registry = Registry::default();
        registry.register(
            "drctl_pod_events",
            "Pods that were created, updated, deleted since the watcher began",
            Family::clone(&events),
        );
        registry.register(
            "drctl_pod_watcher_up",
            "Whether everything that is watched is heard now",
            up.clone(),
        );
        registry.register(
            "drctl_pod_last_event_timestamp_seconds",
            "When the last event was seen; 0 before the first",
            last.clone(),
        );
        Board {
            registry,
            events,
            up,
            last,
            heard: Mutex::new(vec![None; scopes]),
            series: Mutex::default(),
        }
    }

    /// Counts an event. What was there before it began is none.
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
                wanted = match series.iter().any(is_known) {
                    true => labels(&event.namespace, "other"),
                    false => labels("other", "other"),
                };
            }
            series.insert(wanted.clone());
        }
        self.events.get_or_create(&wanted).inc();
        self.last.set(event.time.as_millisecond() as f64 / 1000.0);
    }

    /// Notes that something of a scope was heard, and all of it is known.
    pub fn hears(&self, scope: usize) {
        // From the beginning of time, as it were: it is certain.
        self.note(scope, Instant::now().checked_sub(SETTLED));
    }

    /// Notes that a scope could not be watched for a moment. A watch that stands again and has nothing to
    /// tell says nothing: it is up when no other attempt has failed for a while.
    pub fn fails(&self, scope: usize, known: bool) {
        self.note(scope, known.then(Instant::now));
    }

    fn note(&self, scope: usize, since: Option<Instant>) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = heard.get_mut(scope) {
            *place = since;
        }
    }

    fn is_up(&self) -> bool {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let is_settled = |since: &Option<Instant>| since.is_some_and(|at| at.elapsed() >= SETTLED);
        heard.iter().all(is_settled)
    }

    fn text(&self) -> String {
        self.up.set(f64::from(u8::from(self.is_up())));
        let mut text = String::new();
        // Writing into a text does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// A reason as a label.
fn label(reason: &str) -> &str {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_:".contains(c);
    match reason.len() <= REASON_CHARS && reason.chars().all(is_plain) {
        true => reason,
        false => "other",
    }
}

/// All pages.
pub fn router(board: Arc<Board>) -> Router {
    let pages = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready));
    pages::finish(pages.with_state(board))
}

async fn metrics(State(board): State<Arc<Board>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], board.text())
}

async fn ready(State(board): State<Arc<Board>>) -> (StatusCode, &'static str) {
    match board.is_up() {
        true => (StatusCode::OK, "ready\n"),
        false => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the pods are not watched\n",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::pod::PodView;
    use jiff::Timestamp;

    #[test]
    fn a_reason_that_somebody_made_up_is_no_label() {
        assert_eq!(label("CrashLoopBackOff"), "CrashLoopBackOff");
        assert_eq!(label("x\"} 1"), "other");
        assert_eq!(label(&"x".repeat(41)), "other");
    }

    #[test]
    fn namespaces_that_come_and_go_do_not_fill_the_memory() {
        let board = Board::new(1);
        for number in 0..MAX_SERIES * 3 {
            board.count(&event(&format!("run-{number}"), "Pending"));
        }
        let text = board.text();
        let series = text
            .lines()
            .filter(|line| line.starts_with("drctl_pod_events_total"));
        assert_eq!(series.count(), MAX_SERIES + 1);
        assert!(text.contains("namespace=\"other\",type=\"created\",reason=\"other\"} 4000"));
        board.count(&event("run-1", "Running"));
        let known = "namespace=\"run-1\",type=\"created\",reason=\"other\"} 1";
        assert!(board.text().contains(known));
    }

    fn event(namespace: &str, reason: &str) -> PodEvent {
        let status = serde_json::json!({"phase": "Pending"});
        let mut view = PodView::of(&crate::cluster::pod::tests::pod(status));
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
        let board = Board::new(1);
        // One that has no series is not told.
        board.events.get_or_create(&Labels::new()).inc();
        let text = board.text();
        let told = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let told: Vec<&str> = told.filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(told.len(), 3);
        for name in told {
            assert!(
                page.contains(&format!("| `{name}")),
                "docs/metrics.md lacks {name}"
            );
        }
    }

    #[test]
    fn it_is_up_when_every_scope_is_heard() {
        let board = Board::new(2);
        board.hears(0);
        assert!(!board.is_up());
        board.hears(1);
        assert!(board.is_up() && board.text().contains("drctl_pod_watcher_up 1.0"));
        board.fails(0, true);
        assert!(!board.is_up());
        board.hears(0);
        assert!(board.is_up());
    }
}
