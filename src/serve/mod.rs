//! `drctl serve`: metrics, probes and a status page, for as long as the process lives.
//!
//! Everything comes from the store by a periodic [`scan`] and from the configuration, so a restart forgets
//! nothing, and nothing is ever written.
//!
//! - [`scan`]: the store, read with few requests.
//! - [`board`]: what is known now, between the scans and those who ask.
//! - [`pages`]: who asks for what.
//! - [`listen`]: connections, bounded in number and time.
//! - [`late`]: who is told of what did not happen.

pub mod board;
pub mod late;
pub mod listen;
pub mod pages;
pub mod scan;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use jiff::Timestamp;
use tokio::net::TcpListener;

use crate::cancel::Cancel;
use crate::commands::run::Run;
use crate::error::{Error, Result};
use crate::report::spark::MAX_BARS;
use board::Board;
use late::Lateness;
use listen::Bounded;
use scan::Scanner;

/// How long one scan may take; the first one reads every manifest.
const SCAN_LIMIT: Duration = Duration::from_secs(300);

/// How long requests under way may take to end after a SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// Serves until it is told to stop, which is no failure.
pub async fn run(run: &Run) -> Result<()> {
    let config = &run.config.serve;
    let listener = bind(config.listen, "serve.listen").await?;
    let board = Arc::new(Board::new(&run.config, run.store.location()));
    let serving = answer(listener, pages::router(board.clone()), &run.cancel);
    tokio::join!(serving, keep_scanning(run, &board)).0
}

/// Answers until the run ends, and a little longer those who are being answered.
pub async fn answer(listener: TcpListener, pages: Router, cancel: &Cancel) -> Result<()> {
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "serving");
    }
    let stop = cancel.token().clone();
    let serving = axum::serve(Bounded::new(listener), pages)
        .with_graceful_shutdown(stop.clone().cancelled_owned());
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    let served = tokio::select! {
        served = serving => served,
        () = overdue => Ok(()),
    };
    served.map_err(|error| Error::unexpected("cannot serve any more").because(error))?;
    tracing::info!("stopped");
    Ok(())
}

/// A listener there; `key` is where the address was configured.
pub async fn bind(address: SocketAddr, key: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        Error::usage(format!("cannot listen on {address}"))
            .because(error)
            .hint(format!(
                "set {key} to a free address of this machine; see whether another drctl runs there"
            ))
    })
}

/// Reads the store again and again until the run ends.
async fn keep_scanning(run: &Run, board: &Board) {
    let drill = &run.config.verify.drill;
    let turns = drill.client_path_every.max(drill.production_every) as usize;
    // As many as a drill itself looks back.
    let reports = (turns * 2 + 10).max(MAX_BARS);
    let mut scanner = Scanner::new(run.store.clone(), run.config.target.clone(), reports);
    let mut lateness = Lateness::since(Timestamp::now());
    let work = async {
        loop {
            board.take_plans().await;
            let begun = Timestamp::now();
            let limited = tokio::time::timeout(SCAN_LIMIT, scanner.scan(begun));
            let late = || {
                let limit = SCAN_LIMIT.as_secs();
                Err(Error::store(format!("reading it took more than {limit} s")))
            };
            match limited.await.unwrap_or_else(|_| late()) {
                Ok(past) => board.learn(past, begun),
                Err(error) => board.fail(&error),
            }
            // What is late becomes later, also while nobody can look.
            let status = board.status(Timestamp::now());
            lateness.tell(&run.config.notify, &status).await;
            tokio::time::sleep(run.config.serve.interval).await;
        }
    };
    tokio::select! {
        () = work => {}
        () = run.cancel.token().cancelled() => {}
    }
}
