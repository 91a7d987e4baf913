//! `drctl watch pods`: what becomes of the pods of a cluster, a line an event, each told once.
//!
//! - [`ledger`]: what is known of each pod, and which events follow from what is heard. Pure.
//! - [`event`]: one event, and its line; [`lines`]: the way of lines to whoever reads them.
//! - [`metrics`]: the same for Prometheus; [`pauses`]: between attempts.
//!
//! While the API server is away it is asked again and again; after an outage the pods are listed
//! anew, and what happened meanwhile follows from the difference.

pub mod event;
pub mod ledger;
mod lines;
pub mod metrics;
mod pauses;

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

use crate::cancel::Cancel;
use crate::cli::{Output, WatchPodsArgs};
use crate::cluster::{Cluster, WATCH_SECONDS, failure};
use crate::error::{Error, Outcome, Result};
use crate::serve;
use ledger::Ledger;
use lines::Lines;
use metrics::Board;
use pauses::Pauses;

/// For how long after its first list a watch that is refused was never allowed.
const BEGINNING: Duration = Duration::from_secs(5);

/// How often the same trouble is logged.
const LOG_PAUSE: Duration = Duration::from_secs(30);

/// Watches until it is told to stop, which is no failure.
pub async fn run(args: WatchPodsArgs, output: Output) -> Result<()> {
    let WatchPodsArgs {
        namespace,
        selector,
        listen,
    } = args;
    let cancel = Cancel::default();
    cancel.on_signals()?;
    // One that is named twice is watched once.
    let namespace: Vec<String> = BTreeSet::from_iter(namespace).into_iter().collect();
    let board = Arc::new(Board::new(namespace.len().max(1)));
    let serving = serve_metrics(listen, board.clone(), &cancel);
    let lines = Lines::begin();
    let work = async {
        let cluster = Cluster::find().await?;
        let watching = watch(
            &cluster,
            &namespace,
            selector.as_deref(),
            output,
            (&board, &lines),
        );
        tokio::select! {
            served = serving => served,
            watched = watching => watched,
        }
    };
    let done = cancel.unless(work).await;
    let written = lines.finish().await;
    match done {
        Err(error) if error.outcome() != Outcome::Terminated => Err(error),
        _ => written,
    }
}

async fn serve_metrics(
    listen: Option<SocketAddr>,
    board: Arc<Board>,
    cancel: &Cancel,
) -> Result<()> {
    match listen {
        Some(address) => {
            let listener = serve::bind(address, "--listen").await?;
            serve::answer(listener, metrics::router(board), cancel).await
        }
        None => std::future::pending().await,
    }
}

/// What one of the watched scopes said.
type Heard = (usize, watcher::Result<watcher::Event<Pod>>);

async fn watch(
    cluster: &Cluster,
    namespaces: &[String],
    selector: Option<&str>,
    output: Output,
    (board, lines): (&Board, &Lines),
) -> Result<()> {
    let scopes: Vec<Api<Pod>> = match namespaces {
        [] => vec![Api::all(cluster.client())],
        names => names.iter().map(|name| cluster.pods(name)).collect(),
    };
    let mut config = watcher::Config::default().timeout(WATCH_SECONDS);
    if let Some(selector) = selector {
        config = config.labels(selector);
    }
    let mut ledgers: Vec<Ledger> = scopes.iter().map(|_| Ledger::default()).collect();
    let streams = scopes.into_iter().enumerate().map(|(at, api)| {
        let heard = runtime::watcher(api, config.clone()).backoff(Pauses::default());
        heard.map(move |heard| -> Heard { (at, heard) }).boxed()
    });
    let mut streams = select_all(streams);
    // When each list was whole for the first time.
    let mut begun: Vec<Option<Instant>> = vec![None; ledgers.len()];
    let mut logged: Option<Instant> = None;
    loop {
        let heard = tokio::select! {
            heard = streams.next() => heard,
            () = lines.ended() => return Ok(()),
        };
        let Some((at, heard)) = heard else {
            return Err(Error::unexpected("the watch of the pods ended"));
        };
        let now = Timestamp::now();
        match heard {
            Ok(heard) => {
                for event in ledgers[at].hear(heard, now) {
                    board.count(&event);
                    lines.write(event.line(output)?).await;
                }
                if ledgers[at].is_begun() {
                    begun[at].get_or_insert_with(Instant::now);
                }
                if ledgers[at].is_current() {
                    board.hears(at);
                }
            }
            Err(error) => {
                board.fails(at, ledgers[at].is_current());
                // Who may not look will not be allowed to by waiting; a server that is only
                // starting refuses for a moment, too. Who may list may not always watch.
                let error = refusal(error);
                let begins = begun[at].is_none_or(|begun| begun.elapsed() < BEGINNING);
                if error.outcome() == Outcome::Usage && begins {
                    return Err(error);
                }
                if logged.is_none_or(|at| at.elapsed() > LOG_PAUSE) {
                    tracing::warn!(%error, "cannot watch; trying again");
                    logged = Some(Instant::now());
                }
            }
        }
    }
}

fn refusal(error: watcher::Error) -> Error {
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
