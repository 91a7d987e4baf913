//! Panics as failures: a bug ends the run as any other failure does, with one line, an exit code, a run
//! record and an alert.
//!
//! - The hook records the place of the panic. A formatted panic message may quote data, so only literal
//!   messages are kept.
//! - [`caught`] turns the panic of a future into an error, so that its caller cleans up as usual.
//! - [`happened`] reports panics of background tasks, which no caller awaits.

use std::future::Future;
use std::panic::{AssertUnwindSafe, PanicHookInfo};
use std::sync::{LazyLock, Mutex, PoisonError};

use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;

use crate::util::error::{Error, Result};

/// Place of the first panic, and its message if that is a literal.
static FIRST: Mutex<Option<String>> = Mutex::new(None);

/// Cancelled by the first panic.
static HAPPENED: LazyLock<CancellationToken> = LazyLock::new(CancellationToken::new);

/// Records panics instead of printing them with a backtrace.
pub fn install() {
    std::panic::set_hook(Box::new(note));
}

fn note(panic: &PanicHookInfo<'_>) {
    let place = panic
        .location()
        .map_or("an unknown place".to_owned(), |at| {
            format!("{}:{}", at.file(), at.line())
        });
    // A formatted message may contain a row or a password; a literal cannot.
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

/// Awaits a future; its panic becomes an error.
///
/// A panic drops the future half-way, as a cancellation does.
pub async fn caught<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(done) => done,
        Err(_) => Err(error()),
    }
}

/// Resolves at the first panic anywhere in this process.
pub async fn happened() {
    HAPPENED.cancelled().await;
}

/// The error of a run ended by a panic.
pub fn error() -> Error {
    let first = FIRST.lock().unwrap_or_else(PoisonError::into_inner);
    let what = first.as_deref().unwrap_or("panicked");
    let version = env!("CARGO_PKG_VERSION");
    Error::unexpected(format!("a bug in drctl {version}: {what}"))
}

/// Environment variable that makes a test build panic at a named place.
#[cfg(debug_assertions)]
pub const INJECT: &str = "DRCTL_INJECT_PANIC";

/// Panics where a test requested it, with the target's password in the message. Compiled into test builds
/// only.
#[cfg(debug_assertions)]
pub fn inject(place: &str) {
    if std::env::var(INJECT).as_deref() == Ok(place) {
        let secret = std::env::var("DRCTL_SOURCE_PASSWORD").unwrap_or_default();
        panic!("injected at {place}, with {secret}");
    }
}

/// Does nothing outside test builds.
#[cfg(not(debug_assertions))]
pub fn inject(_place: &str) {}
