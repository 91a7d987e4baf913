//! Why a run must end early, and one way for everything to hear of it.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::{Error, Outcome, Result};
use crate::panics;

/// Shared by everything of one run; cancelled once, for one reason.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    token: CancellationToken,
    reason: Arc<OnceLock<Outcome>>,
}

impl Cancel {
    /// Ends the run. The first reason holds.
    pub fn cancel(&self, reason: Outcome) {
        let _ = self.reason.set(reason);
        self.token.cancel();
    }

    /// For code that waits for several things at once.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Whether the run must end.
    pub fn is_cancelled(&self) -> bool {
        self.token.is_cancelled()
    }

    /// An error where the run must end.
    pub fn check(&self) -> Result<()> {
        match self.is_cancelled() {
            true => Err(self.error()),
            false => Ok(()),
        }
    }

    /// The error of a run that was ended.
    pub fn error(&self) -> Error {
        match self.reason.get().copied().unwrap_or(Outcome::Interrupted) {
            Outcome::Deadline => Error::deadline("the deadline passed before the run was done")
                .hint("raise the deadline, or look at what took so long in the log"),
            Outcome::Unexpected => panics::error(),
            Outcome::Terminated => Error::new(Outcome::Terminated, "stopped by SIGTERM"),
            reason => Error::new(reason, "interrupted"),
        }
    }

    /// Ends where somebody stops the run from outside; not where a bug ended it, of which people are to hear.
    pub async fn stopped(&self) {
        self.token.cancelled().await;
        if self.reason.get() == Some(&Outcome::Unexpected) {
            std::future::pending().await
        }
    }

    /// Runs something until it is done or the run must end; its panic is an error. What is dropped half-way must clean up
    /// by itself or be cleaned up by the caller.
    pub async fn unless<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.token.cancelled() => Err(self.error()),
            done = panics::caught(work) => done,
        }
    }

    /// Cancels at SIGINT and SIGTERM. A second signal ends the process at once.
    pub fn on_signals(&self) -> Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let failed = |e: std::io::Error| Error::unexpected("cannot watch for signals").because(e);
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let cancel = self.clone();
        tokio::spawn(async move {
            loop {
                let reason = tokio::select! {
                    _ = interrupt.recv() => Outcome::Interrupted,
                    _ = terminate.recv() => Outcome::Terminated,
                };
                if cancel.is_cancelled() {
                    std::process::exit(i32::from(reason.code()));
                }
                tracing::info!(reason = ?reason, "stopping: cleaning up");
                cancel.cancel(reason);
            }
        });
        Ok(())
    }

    /// Cancels where a task that runs beside panics: nobody waits for it, and what it did is missing.
    pub fn on_panics(&self) {
        let cancel = self.clone();
        tokio::spawn(async move {
            panics::happened().await;
            cancel.cancel(Outcome::Unexpected);
        });
    }

    /// Cancels after a while; never, where there is no deadline.
    pub fn on_deadline(&self, after: Option<Duration>) {
        if let Some(after) = after {
            let cancel = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                cancel.cancel(Outcome::Deadline);
            });
        }
    }
}
