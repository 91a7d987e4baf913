//! `drctl watch pods`: what becomes of the pods of a cluster, a line an event, each told once.
//!
//! - [`ledger`]: what is known of each pod, and which events follow from what is heard. Pure.
//! - [`event`]: one event, and its line.
//! - [`metrics`]: the same for Prometheus; [`pauses`]: between attempts.
//!
//! While the API server is away it is asked again and again; after an outage the pods are listed
//! anew, and what happened meanwhile follows from the difference.

pub mod event;
pub mod ledger;
pub mod metrics;
mod pauses;

use std::io::{ErrorKind, Write as _};
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
use metrics::Board;
use pauses::Pauses;

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
    let cluster = Cluster::find().await?;
    let board = Arc::new(Board::new(namespace.len().max(1)));
    let serving = serve_metrics(listen, board.clone(), &cancel);
    let watching = watch(&cluster, &namespace, selector.as_deref(), output, &board);
    let work = async {
        tokio::select! {
            served = serving => served,
            watched = watching => watched,
        }
    };
    match cancel.unless(work).await {
        Err(error) if error.outcome() == Outcome::Terminated => Ok(()),
        done => done,
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
    board: &Board,
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
    let mut logged: Option<Instant> = None;
    while let Some((at, heard)) = streams.next().await {
        let now = Timestamp::now();
        match heard {
            Ok(heard) => {
                for event in ledgers[at].hear(heard, now) {
                    board.count(&event);
                    let line = event.line(output)?;
                    match std::io::stdout().lock().write_all(line.as_bytes()) {
                        // A reader that went away, like `head`, has seen enough.
                        Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                        Err(error) => {
                            let what = "cannot write to standard output";
                            return Err(Error::unexpected(what).because(error));
                        }
                        Ok(()) => {}
                    }
                }
                if ledgers[at].is_current() {
                    board.hears(at);
                }
            }
            Err(error) => {
                board.fails(at, ledgers[at].is_current());
                // Who may not look will not be allowed to by waiting; a server that is only
                // starting refuses for a moment, too.
                let error = refusal(error);
                if error.outcome() == Outcome::Usage && !ledgers[at].is_begun() {
                    return Err(error);
                }
                if logged.is_none_or(|at| at.elapsed() > LOG_PAUSE) {
                    tracing::warn!(%error, "cannot watch; trying again");
                    logged = Some(Instant::now());
                }
            }
        }
    }
    Err(Error::unexpected("the watch of the pods ended"))
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
