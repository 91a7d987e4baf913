//! `drctl watch pods`: streams pod lifecycle events, one per line, each exactly once.
//!
//! - [`tracker`]: known pods, and the events that follow from watch messages. No I/O.
//! - [`event`]: one event and its line; [`stdout`]: standard output.
//! - [`metrics`]: the events for Prometheus; [`backoff`]: backoff between attempts.
//!
//! While the API server is unreachable the watch is retried; after an outage the pods are listed again and
//! the difference yields the events of the outage.

mod backoff;
pub mod event;
pub mod metrics;
mod stdout;
pub mod tracker;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::select_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher;
use kube::{Api, runtime};

use crate::k8s::{Cluster, WATCH_SECONDS, failure};
use crate::monitor::serve;
use crate::util::cancel::Cancel;
use crate::util::error::{Error, Outcome, Result};
use crate::util::format::Output;
use backoff::WatchBackoff;
use metrics::WatchMetrics;
use stdout::StdoutWriter;
use tracker::PodTracker;

/// A watch refused within this time of its first list is treated as forbidden.
const STARTUP: Duration = Duration::from_secs(5);

/// Interval at which the same failure is logged again.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// The pods to watch, and the address of their metrics.
#[derive(Debug)]
pub struct Watched {
    /// Namespaces to watch; empty: all namespaces.
    pub namespaces: Vec<String>,
    /// Label selector; `None`: all pods.
    pub selector: Option<String>,
    /// Listen address of the metrics; `None` serves none.
    pub listen: Option<SocketAddr>,
}

/// Watches until SIGTERM.
pub async fn run(watched: Watched, output: Output) -> Result<()> {
    let Watched {
        namespaces,
        selector,
        listen,
    } = watched;
    let cancel = Cancel::default();
    cancel.on_signals()?;
    // A namespace named twice is watched once.
    let namespaces: Vec<String> = BTreeSet::from_iter(namespaces).into_iter().collect();
    let metrics = Arc::new(WatchMetrics::new(namespaces.len().max(1)));
    let serving = serve_metrics(listen, metrics.clone(), &cancel);
    let stdout = StdoutWriter::begin();
    let work = async {
        let cluster = Cluster::find().await?;
        let watching = watch(
            &cluster,
            &namespaces,
            selector.as_deref(),
            output,
            (&metrics, &stdout),
        );
        tokio::select! {
            served = serving => served,
            watched = watching => watched,
        }
    };
    let done = cancel.unless(work).await;
    let written = stdout.finish().await;
    match done {
        Err(error) if error.outcome() != Outcome::Terminated => Err(error),
        _ => written,
    }
}

async fn serve_metrics(
    listen: Option<SocketAddr>,
    metrics: Arc<WatchMetrics>,
    cancel: &Cancel,
) -> Result<()> {
    match listen {
        Some(address) => {
            let listener = serve::bind(address, "--listen").await?;
            serve::serve_pages(listener, metrics::router(metrics), cancel).await
        }
        None => std::future::pending().await,
    }
}

/// Index of a watched scope, and a message of its watch.
type ScopeMessage = (usize, watcher::Result<watcher::Event<Pod>>);

async fn watch(
    cluster: &Cluster,
    namespaces: &[String],
    selector: Option<&str>,
    output: Output,
    (metrics, stdout): (&WatchMetrics, &StdoutWriter),
) -> Result<()> {
    let scopes: Vec<Api<Pod>> = match namespaces {
        [] => vec![Api::all(cluster.client())],
        names => names.iter().map(|name| cluster.pods(name)).collect(),
    };
    let mut config = watcher::Config::default().timeout(WATCH_SECONDS);
    if let Some(selector) = selector {
        config = config.labels(selector);
    }
    let mut trackers: Vec<PodTracker> = scopes.iter().map(|_| PodTracker::default()).collect();
    let streams = scopes.into_iter().enumerate().map(|(at, api)| {
        let messages = runtime::watcher(api, config.clone()).backoff(WatchBackoff::default());
        messages
            .map(move |message| -> ScopeMessage { (at, message) })
            .boxed()
    });
    let mut streams = select_all(streams);
    // When each scope's first list was complete.
    let mut listed_at: Vec<Option<Instant>> = vec![None; trackers.len()];
    let mut logged: Option<Instant> = None;
    loop {
        let message = tokio::select! {
            message = streams.next() => message,
            () = stdout.ended() => return Ok(()),
        };
        let Some((at, message)) = message else {
            return Err(Error::unexpected("the pod watch ended unexpectedly"));
        };
        let now = Timestamp::now();
        match message {
            Ok(message) => {
                for event in trackers[at].receive(message, now) {
                    metrics.count(&event);
                    stdout.write(event.line(output)?).await;
                }
                if trackers[at].has_listed() {
                    listed_at[at].get_or_insert_with(Instant::now);
                }
                if trackers[at].is_current() {
                    metrics.connected(at);
                }
            }
            Err(error) => {
                metrics.attempt_failed(at, trackers[at].is_current());
                // Missing permission does not resolve by waiting, but a server that is starting also
                // refuses for a moment. Permission to list does not imply permission to watch.
                let error = watch_failure(error);
                let is_starting = listed_at[at].is_none_or(|at| at.elapsed() < STARTUP);
                if error.outcome() == Outcome::Usage && is_starting {
                    return Err(error);
                }
                if logged.is_none_or(|at| at.elapsed() > LOG_INTERVAL) {
                    tracing::warn!(%error, "cannot watch pods; retrying");
                    logged = Some(Instant::now());
                }
            }
        }
    }
}

fn watch_failure(error: watcher::Error) -> Error {
    use watcher::Error::{
        InitialListFailed, NoResourceVersion, WatchError, WatchFailed, WatchStartFailed,
    };
    match error {
        InitialListFailed(cause) | WatchStartFailed(cause) | WatchFailed(cause) => {
            failure("watch pods", cause)
        }
        WatchError(status) => failure("watch pods", kube::Error::Api(status)),
        error @ NoResourceVersion => Error::server("watch pods").because(error),
    }
}
