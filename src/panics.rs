//! What becomes of a bug: a panic ends the run as any other failure does, in one line with its exit code, and
//! with the run's record and alert.
//!
//! - The hook notes where it happened. What a panic says may quote data, so only words that stand in the
//!   program itself are repeated.
//! - [`caught`] turns the panic of a future into an error, so that whoever waits for it tidies up as usual.
//! - [`happened`] is told of panics of tasks that run beside, for which nobody waits.

use std::future::Future;
use std::panic::{AssertUnwindSafe, PanicHookInfo};
use std::sync::{LazyLock, Mutex, PoisonError};

use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};

/// Where the first panic happened, and what it said, as far as that is known to be no data.
static FIRST: Mutex<Option<String>> = Mutex::new(None);

/// Cancelled by the first panic.
static HAPPENED: LazyLock<CancellationToken> = LazyLock::new(CancellationToken::new);

/// Notes panics instead of printing them with a backtrace.
pub fn install() {
    std::panic::set_hook(Box::new(note));
}

fn note(panic: &PanicHookInfo<'_>) {
    let place = panic
        .location()
        .map_or("an unknown place".to_owned(), |at| {
            format!("{}:{}", at.file(), at.line())
        });
    // A text that was put together may hold a row or a password; a literal stands in the program.
    let what = match panic.payload().downcast_ref::<&'static str>() {
        Some(words) => format!("panicked at {place}: {words}"),
        None => format!("panicked at {place}"),
    };
    tracing::error!("a bug: {what}");
    let mut first = FIRST.lock().unwrap_or_else(PoisonError::into_inner);
    first.get_or_insert(what);
    drop(first);
    HAPPENED.cancel();
}

/// Runs something; its panic is an error.
///
/// What it was at work on is dropped half-way, as when it is cancelled.
pub async fn caught<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(done) => done,
        Err(_) => Err(error()),
    }
}

/// Ends with the first panic of this process, wherever it happens.
pub async fn happened() {
    HAPPENED.cancelled().await;
}

/// The failure of a run that a panic ended.
pub fn error() -> Error {
    let first = FIRST.lock().unwrap_or_else(PoisonError::into_inner);
    let what = first.as_deref().unwrap_or("panicked");
    let version = env!("CARGO_PKG_VERSION");
    Error::unexpected(format!("a bug in drctl {version}: {what}"))
}

/// The variable that makes a build for tests panic.
#[cfg(debug_assertions)]
pub const INJECT: &str = "DRCTL_INJECT_PANIC";

/// Panics where a test asked for it, with the source's password in the text; never in what is shipped.
#[cfg(debug_assertions)]
pub fn inject(place: &str) {
    if std::env::var(INJECT).as_deref() == Ok(place) {
        let secret = std::env::var("DRCTL_SOURCE_PASSWORD").unwrap_or_default();
        panic!("injected at {place}, with {secret}");
    }
}

/// Panics where a test asked for it; never in what is shipped.
#[cfg(not(debug_assertions))]
pub fn inject(_place: &str) {}
