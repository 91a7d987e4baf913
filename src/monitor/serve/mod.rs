//! `drctl serve`: metrics, probes and a status page, until the process is stopped.
//!
//! All data come from a periodic [`scan`] of the store and from the configuration, so a restart loses
//! nothing, and nothing is ever written.
//!
//! - [`scan`]: reads the store with few requests.
//! - [`state`]: the results of the scans, shared with the pages.
//! - [`pages`]: the HTTP routes.
//! - [`limits`]: connections, limited in number and time.
//! - [`overdue`]: notifications of overdue tasks.

pub mod limits;
pub mod overdue;
pub mod pages;
pub mod scan;
pub mod state;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use jiff::{SignedDuration, Timestamp};
use tokio::net::TcpListener;

use crate::copy::glance::CopyWatcher;
use crate::layout::TargetName;
use crate::monitor::notify::NotifyConfig;
use crate::monitor::report::spark::MAX_BARS;
use crate::objectives::Objectives;
use crate::objectives::schedule::Schedule;
use crate::store::Store;
use crate::util::cancel::Cancel;
use crate::util::error::{Error, Result};
use limits::LimitedListener;
use overdue::OverdueNotifier;
use scan::Scanner;
use state::SharedState;

/// Time limit of one scan; the first one reads every manifest.
const SCAN_TIMEOUT: Duration = Duration::from_secs(300);

/// Time for requests in progress to complete after a SIGTERM.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// What to serve, for which target.
#[derive(Debug)]
pub struct Service {
    /// The protected database.
    pub target: TargetName,
    /// The store that is scanned.
    pub store: Arc<dyn Store>,
    /// Address and port of the listener.
    pub listen: SocketAddr,
    /// Pause between two scans of the store.
    pub interval: Duration,
    /// How many of the newest drill reports are read.
    pub reports: usize,
    /// The declared objectives.
    pub objectives: Objectives,
    /// Maximum time for which a commit waits until it is archived; `None` if no streamer is configured.
    pub cut: Option<Duration>,
    /// Maximum lag of a standby; `None` if none is configured.
    pub standby_lag: Option<Duration>,
    /// Maximum time without a drill with the identity of each recipient; `None` if it is not checked.
    pub identity_drill: Option<SignedDuration>,
    /// The schedule of each task that has one.
    pub schedules: Vec<(&'static str, Schedule)>,
    /// The second store, and the maximum age of what can be restored from it; `None` if none is configured.
    pub second: Option<(Arc<dyn Store>, Option<SignedDuration>)>,
    /// The notifiers that overdue tasks are reported to.
    pub notify: NotifyConfig,
}

/// Serves until SIGTERM.
pub async fn run(service: &Service, cancel: &Cancel) -> Result<()> {
    let listener = bind(service.listen, "serve.listen").await?;
    let state = Arc::new(SharedState::new(service));
    let serving = serve_pages(listener, pages::router(state.clone()), cancel);
    tokio::join!(serving, scan_periodically(service, &state, cancel)).0
}

/// Serves until the run ends, then completes requests in progress for a short time.
pub async fn serve_pages(listener: TcpListener, pages: Router, cancel: &Cancel) -> Result<()> {
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "serving");
    }
    let stop = cancel.token().clone();
    let serving = axum::serve(LimitedListener::new(listener), pages)
        .with_graceful_shutdown(stop.clone().cancelled_owned());
    let grace = async {
        stop.cancelled().await;
        tokio::time::sleep(SHUTDOWN_TIMEOUT).await;
    };
    let served = tokio::select! {
        served = serving => served,
        () = grace => Ok(()),
    };
    served.map_err(|error| Error::unexpected("the HTTP server failed").because(error))?;
    tracing::info!("stopped");
    Ok(())
}

/// Binds a listener; `key` is the configuration key of the address, for messages.
pub async fn bind(address: SocketAddr, key: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        Error::usage(format!("cannot listen on {address}"))
            .because(error)
            .hint(format!(
                "set {key} to a free local address; check whether another drctl is listening there"
            ))
    })
}

/// Scans the store periodically until the run ends.
async fn scan_periodically(service: &Service, state: &SharedState, cancel: &Cancel) {
    let reports = service.reports.max(MAX_BARS);
    let second = service
        .second
        .clone()
        .map(|(store, objective)| CopyWatcher::new(store, service.target.clone(), objective));
    let mut scanner =
        Scanner::new(service.store.clone(), service.target.clone(), reports).with_second(second);
    let mut overdue = OverdueNotifier::since(Timestamp::now());
    let work = async {
        loop {
            state.refresh_intervals().await;
            let begun = Timestamp::now();
            let limited = tokio::time::timeout(SCAN_TIMEOUT, scanner.scan(begun));
            let late = || {
                let limit = SCAN_TIMEOUT.as_secs();
                Err(Error::store(format!("the scan took more than {limit} s")))
            };
            match limited.await.unwrap_or_else(|_| late()) {
                Ok(scan) => state.scan_succeeded(scan, begun),
                Err(error) => state.scan_failed(&error),
            }
            // Tasks also become overdue while the store is unreadable.
            let status = state.status(Timestamp::now());
            overdue.notify(&service.notify, &status).await;
            tokio::time::sleep(service.interval).await;
        }
    };
    tokio::select! {
        () = work => {}
        () = cancel.token().cancelled() => {}
    }
}
