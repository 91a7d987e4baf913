//! Logging to stderr: human-readable on a terminal, JSON lines otherwise.

use std::io::IsTerminal;
use std::path::Path;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::util::error::Error;

/// File from which Kubernetes reads a container's termination message.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// Initialises logging. `DRCTL_LOG` is a filter, `DRCTL_LOG_FORMAT` is `human` or `json`.
pub fn init(verbose: u8) {
    // rustls and the Kubernetes client also log the errors that they return.
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
    // A second call, from a test, has no effect.
    let _ = if human {
        registry.with(layer.compact().without_time()).try_init()
    } else {
        registry.with(layer.json().flatten_event(true)).try_init()
    };
}

/// Logs the causes behind a failure; the failure itself is printed.
pub fn causes(error: &Error) {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let is_panic = |error: &tokio::task::JoinError| error.is_panic();
        // A panic message may quote data; its place is logged by the panic hook.
        if !error.downcast_ref().is_some_and(is_panic) {
            tracing::debug!(cause = %error);
        }
        cause = error.source();
    }
}

/// Writes the termination message shown by `kubectl describe`.
pub fn terminated(line: &str) {
    if Path::new(TERMINATION_LOG).exists() && std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
    {
        // Outside a pod the file does not exist.
        let _ = std::fs::write(TERMINATION_LOG, line);
    }
}
