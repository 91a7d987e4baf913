//! Early termination of a run, with its reason.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::util::error::{Error, Outcome, Result};
use crate::util::panics;

/// A signal this soon after the first one is a duplicate: `timeout` sends its own to the process and to its
/// group, and a terminal's signal arrives both directly and through the parent.
const SAME_SIGNAL: Duration = Duration::from_secs(2);

/// Time limit of each cleanup step. There are four: abort, discard, heartbeat and record. Together they
/// must fit into a pod's grace period of 30 s.
const TIDY_TIMEOUT: Duration = Duration::from_secs(6);

/// The first termination signal that this process received.
static SIGNAL: OnceLock<Outcome> = OnceLock::new();

/// The error of a process that received a termination signal, for code that has no [`Cancel`].
pub fn signalled() -> Option<Error> {
    let cancel = Cancel::default();
    cancel.cancel(*SIGNAL.get()?);
    Some(cancel.error())
}

/// Runs a cleanup step with a time limit: it must not delay the exit, and a later run finishes the cleanup.
pub async fn tidy<T>(work: impl Future<Output = T>) -> Option<T> {
    let done = tokio::time::timeout(TIDY_TIMEOUT, work).await;
    if done.is_err() {
        tracing::warn!("cleanup timed out; a later run finishes it");
    }
    done.ok()
}

/// Runs work that must not be dropped half-way, since the store may still execute a request already sent.
/// On cancellation calls `stop` and awaits the work for a limited time.
pub async fn awaited<T>(
    cancel: &Cancel,
    stop: impl FnOnce(),
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => done,
        () = cancel.token().cancelled() => {
            stop();
            tidy(work).await;
            Err(cancel.error())
        }
    }
}

/// Cancellation shared by all tasks of one run; cancelled once, with one reason.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    token: CancellationToken,
    reason: Arc<OnceLock<Outcome>>,
}

impl Cancel {
    /// Cancels the run. Later reasons are ignored.
    pub fn cancel(&self, reason: Outcome) {
        let _ = self.reason.set(reason);
        self.token.cancel();
    }

    /// A child that is cancelled with this one and can also be stopped alone.
    pub fn child(&self) -> Cancel {
        Cancel {
            token: self.token.child_token(),
            reason: self.reason.clone(),
        }
    }

    /// Cancels a [`Cancel::child`] without cancelling the run.
    pub fn stop(&self) {
        self.token.cancel();
    }

    /// Token for `select!` over several futures.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Whether the run must end.
    pub fn is_cancelled(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Returns the error of the run if it must end.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() {
            Err(self.error())
        } else {
            Ok(())
        }
    }

    /// The error of a cancelled run.
    pub fn error(&self) -> Error {
        match self.reason.get().copied().unwrap_or(Outcome::Interrupted) {
            Outcome::Deadline => Error::deadline("the deadline passed before the run was done")
                .hint("raise the deadline, or find in the log which step took so long"),
            Outcome::Unexpected => panics::error(),
            Outcome::Terminated => Error::new(Outcome::Terminated, "stopped by SIGTERM"),
            Outcome::HungUp => Error::new(Outcome::HungUp, "stopped by SIGHUP"),
            Outcome::Quit => Error::new(Outcome::Quit, "stopped by SIGQUIT"),
            reason => Error::new(reason, "interrupted"),
        }
    }

    /// Resolves when a signal or the deadline cancels the run; never if a bug cancelled it, which must be
    /// reported.
    pub async fn stopped(&self) {
        self.token.cancelled().await;
        if self.reason.get() == Some(&Outcome::Unexpected) {
            std::future::pending().await
        }
    }

    /// Awaits a future until it completes or the run is cancelled; its panic becomes an error. A future
    /// that is dropped half-way must clean up when dropped, or its caller must.
    pub async fn unless<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.token.cancelled() => Err(self.error()),
            done = panics::caught(work) => done,
        }
    }

    /// Waits, unless the run is cancelled.
    pub async fn pause(&self, duration: Duration) -> Result<()> {
        let sleep = async {
            tokio::time::sleep(duration).await;
            Ok(())
        };
        self.unless(sleep).await
    }

    /// Cancels on SIGINT, SIGTERM, SIGQUIT, and on SIGHUP unless the process was started with it ignored,
    /// as by `nohup`. A further signal ends the process at once, except within [`SAME_SIGNAL`] of the
    /// first.
    pub fn on_signals(&self) -> Result<()> {
        let (sender, mut signals) = mpsc::unbounded_channel();
        for (kind, reason) in [
            (SignalKind::interrupt(), Outcome::Interrupted),
            (SignalKind::terminate(), Outcome::Terminated),
            (SignalKind::quit(), Outcome::Quit),
            (SignalKind::hangup(), Outcome::HungUp),
        ] {
            if is_ignored(kind) {
                continue;
            }
            let mut received = signal(kind)
                .map_err(|e| Error::unexpected("cannot watch for signals").because(e))?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while received.recv().await.is_some() && sender.send(reason).is_ok() {}
            });
        }
        let cancel = self.clone();
        tokio::spawn(async move {
            let mut first: Option<Instant> = None;
            while let Some(reason) = signals.recv().await {
                match first {
                    None => {
                        first = Some(Instant::now());
                        let _ = SIGNAL.set(reason);
                        tracing::info!(reason = ?reason, "stopping: cleaning up");
                        cancel.cancel(reason);
                    }
                    Some(first) if first.elapsed() < SAME_SIGNAL => {}
                    Some(_) => std::process::exit(i32::from(reason.code())),
                }
            }
        });
        Ok(())
    }

    /// Cancels if a background task panics: no caller awaits such a task, so its work would be missing
    /// unnoticed.
    pub fn on_panics(&self) {
        let cancel = self.clone();
        tokio::spawn(async move {
            panics::happened().await;
            cancel.cancel(Outcome::Unexpected);
        });
    }

    /// Cancels after `after`; never if `None`.
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

/// Whether the process was started with this signal ignored; a handler would undo that.
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    is_in_mask(&status, kind.as_raw_value())
}

/// Whether the mask of ignored signals in `/proc/self/status` contains this signal number.
fn is_in_mask(status: &str, number: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let bit = u32::try_from(number - 1)
        .ok()
        .and_then(|n| 1u64.checked_shl(n));
    mask.zip(bit).is_some_and(|(mask, bit)| mask & bit != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_process_s_status() {
        let status =
            "SigBlk:\tffffffffffffffff\nSigIgn:\t0000000000000001\nSigCgt:\tffffffffffffffff\n";
        assert!(is_in_mask(status, 1));
        assert!(!is_in_mask(status, 2) && !is_in_mask(status, 0) && !is_in_mask("", 1));
    }

    #[test]
    fn stopping_a_child_does_not_end_the_run_but_the_run_ends_the_child() {
        let run = Cancel::default();
        let (one, other) = (run.child(), run.child());
        one.stop();
        assert!(one.is_cancelled() && !run.is_cancelled() && !other.is_cancelled());
        run.cancel(Outcome::Terminated);
        assert_eq!(other.error().outcome(), Outcome::Terminated);
    }
}
