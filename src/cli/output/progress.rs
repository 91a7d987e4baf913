//! Progress of long operations: a bar on a terminal, periodic lines in a log.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::output::text;
use crate::restore::state::marker::Pass;

/// Interval between log lines.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// Progress in bytes of SQL.
pub struct Progress {
    done: Arc<AtomicU64>,
    bar: Option<ProgressBar>,
    log: Option<tokio::task::JoinHandle<()>>,
}

impl Progress {
    /// Starts showing progress towards `expected` bytes; 0 if unknown.
    pub fn begin(what: &'static str, expected: u64) -> Self {
        let done = Arc::new(AtomicU64::new(0));
        if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new(expected.max(1)).with_message(what);
            let style = ProgressStyle::with_template(
                "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} ETA {eta}",
            );
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            return Progress {
                done,
                bar: Some(bar),
                log: None,
            };
        }
        let log = tokio::spawn(log(what, expected, Arc::clone(&done)));
        Progress {
            done,
            bar: None,
            log: Some(log),
        }
    }

    /// Adds processed bytes.
    pub fn add(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
            if bar.length().is_some_and(|length| length < bar.position()) {
                bar.set_length(bar.position());
            }
        }
    }

    /// Removes the bar.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if let Some(log) = &self.log {
            log.abort();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

/// Progress of a restore: a bar for the load, log lines for the other passes.
pub struct Bar {
    bytes: u64,
    load: std::sync::Mutex<Option<Progress>>,
}

impl Bar {
    /// Progress for a backup with this many bytes of SQL.
    pub fn new(bytes: u64) -> Self {
        Bar {
            bytes,
            load: std::sync::Mutex::new(None),
        }
    }

    fn load(&self) -> std::sync::MutexGuard<'_, Option<Progress>> {
        self.load
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl crate::restore::report::Progress for Bar {
    fn begin(&self, pass: Pass, bytes: Option<u64>) {
        tracing::debug!(pass = pass.name(), "begins");
        *self.load() =
            (pass == Pass::Data).then(|| Progress::begin("restore", bytes.unwrap_or(self.bytes)));
    }

    fn advance(&self, bytes: u64, _rows: u64) {
        if let Some(shown) = &*self.load() {
            shown.add(bytes);
        }
    }
}

async fn log(what: &'static str, expected: u64, done: Arc<AtomicU64>) {
    let begun = Instant::now();
    loop {
        tokio::time::sleep(LINE_EVERY).await;
        let (bytes, seconds) = (
            done.load(Ordering::Relaxed),
            begun.elapsed().as_secs().max(1),
        );
        let rate = bytes / seconds;
        let left = expected
            .saturating_sub(bytes)
            .checked_div(rate)
            .unwrap_or(0);
        let eta = jiff::SignedDuration::from_secs(i64::try_from(left).unwrap_or(i64::MAX));
        tracing::info!(
            done = text::bytes(bytes),
            rate = format!("{}/s", text::bytes(rate)),
            eta = text::span(eta),
            "{what}"
        );
    }
}
