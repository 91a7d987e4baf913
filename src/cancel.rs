//! Why a run must end early, and one way for everything to hear of it.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Outcome, Result};
use crate::panics;

/// A signal this soon behind the first one is the same one: `timeout` sends its own twice, to the process
/// and to its group, and a terminal's reaches a process beside the one that its parent passes on.
const SAME_SIGNAL: Duration = Duration::from_secs(2);

/// The first signal that asked this process to end.
static SIGNAL: OnceLock<Outcome> = OnceLock::new();

/// The error of a process that a signal asked to end; for what waits without a [`Cancel`].
pub fn signalled() -> Option<Error> {
    let cancel = Cancel::default();
    cancel.cancel(*SIGNAL.get()?);
    Some(cancel.error())
}

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

    /// One that ends with this one, and can be stopped alone.
    pub fn child(&self) -> Cancel {
        Cancel {
            token: self.token.child_token(),
            reason: self.reason.clone(),
        }
    }

    /// Ends what goes by a [`Cancel::child`], and not the run.
    pub fn stop(&self) {
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
            Outcome::HungUp => Error::new(Outcome::HungUp, "stopped by SIGHUP"),
            Outcome::Quit => Error::new(Outcome::Quit, "stopped by SIGQUIT"),
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

    /// Cancels at SIGINT, SIGTERM, SIGQUIT, and at SIGHUP unless the process was started to ignore it, as
    /// `nohup` does. Another signal ends the process at once, but not within [`SAME_SIGNAL`] of the first.
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

/// Whether the process was started to ignore a signal: a handler of ours would undo that.
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    is_in_mask(&status, kind.as_raw_value())
}

/// Whether the mask of ignored signals in a process's status has the signal of this number.
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
    fn what_is_stopped_alone_does_not_end_the_run_and_the_run_ends_it() {
        let run = Cancel::default();
        let (one, other) = (run.child(), run.child());
        one.stop();
        assert!(one.is_cancelled() && !run.is_cancelled() && !other.is_cancelled());
        run.cancel(Outcome::Terminated);
        assert_eq!(other.error().outcome(), Outcome::Terminated);
    }
}
