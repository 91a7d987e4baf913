//! The log: human on a terminal, JSON lines elsewhere; always on stderr.

use std::io::IsTerminal;
use std::path::Path;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::error::Error;

/// Where Kubernetes takes a container's last words from.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// Sets the log up. `DRCTL_LOG` holds a filter, `DRCTL_LOG_FORMAT` is `human` or `json`.
pub fn init(verbose: u8) {
    // The verifier of certificates and the client of Kubernetes log what they also return.
    let level = match verbose {
        0 => "drctl=info,warn,rustls_platform_verifier=off,kube_client=off,kube_runtime=off",
        1 => "drctl=debug,info,rustls_platform_verifier=off,kube_client=off,kube_runtime=off",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_env("DRCTL_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let human = match std::env::var("DRCTL_LOG_FORMAT").as_deref() {
        Ok("human") => true,
        Ok("json") => false,
        _ => std::io::stderr().is_terminal(),
    };
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal());
    // A second call, by a test, changes nothing.
    let _ = match human {
        true => registry.with(layer.compact().without_time()).try_init(),
        false => registry.with(layer.json().flatten_event(true)).try_init(),
    };
}

/// Logs what stands behind a failure whose one line is printed.
pub fn causes(error: &Error) {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let is_panic = |error: &tokio::task::JoinError| error.is_panic();
        // What a panic says may quote data, and where it happened is logged.
        if !error.downcast_ref().is_some_and(is_panic) {
            tracing::debug!(cause = %error);
        }
        cause = error.source();
    }
}

/// Leaves the verdict where `kubectl describe` shows it.
pub fn terminated(line: &str) {
    if Path::new(TERMINATION_LOG).exists() && std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
    {
        // Outside of a pod that was given the file there is nobody to read it.
        let _ = std::fs::write(TERMINATION_LOG, line);
    }
}
