//! The events for Prometheus, and the probes of the watcher.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

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

/// The most series of events: what comes after is counted under the reason `other`.
const MAX_SERIES: usize = 2000;

type Labels = Vec<(&'static str, String)>;
type Gauge64 = Gauge<f64, AtomicU64>;

/// What was counted, and which scopes are heard.
#[derive(Debug)]
pub struct Board {
    registry: Registry,
    events: Family<Labels, Counter>,
    up: Gauge64,
    last: Gauge64,
    /// Scopes that are watched.
    scopes: usize,
    /// Those that are heard now.
    heard: Mutex<BTreeSet<usize>>,
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
            scopes,
            heard: Mutex::default(),
            series: Mutex::default(),
        }
    }

    /// Counts an event. What was there before it began is none.
    pub fn count(&self, event: &PodEvent) {
        if event.kind == EventType::Existing {
            return;
        }
        let labels = |reason: &str| {
            vec![
                ("namespace", event.namespace.clone()),
                ("type", event.kind.as_str().to_owned()),
                ("reason", reason.to_owned()),
            ]
        };
        let mut wanted = labels(label(&event.view.reason));
        {
            let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
            if series.len() >= MAX_SERIES && !series.contains(&wanted) {
                wanted = labels("other");
            }
            series.insert(wanted.clone());
        }
        self.events.get_or_create(&wanted).inc();
        self.last.set(event.time.as_millisecond() as f64 / 1000.0);
    }

    /// Notes whether a scope is heard.
    pub fn hears(&self, scope: usize, well: bool) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        match well {
            true => heard.insert(scope),
            false => heard.remove(&scope),
        };
        let all = heard.len() == self.scopes;
        self.up.set(f64::from(u8::from(all)));
    }

    fn is_up(&self) -> bool {
        f64::from_bits(self.up.inner().load(Ordering::Relaxed)) > 0.0
    }

    fn text(&self) -> String {
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

    #[test]
    fn a_reason_that_somebody_made_up_is_no_label() {
        assert_eq!(label("CrashLoopBackOff"), "CrashLoopBackOff");
        assert_eq!(label("x\"} 1"), "other");
        assert_eq!(label(&"x".repeat(41)), "other");
    }

    #[test]
    fn it_is_up_when_every_scope_is_heard() {
        let board = Board::new(2);
        board.hears(0, true);
        assert!(!board.is_up());
        board.hears(1, true);
        assert!(board.is_up() && board.text().contains("drctl_pod_watcher_up 1.0"));
        board.hears(0, false);
        assert!(!board.is_up());
    }
}
