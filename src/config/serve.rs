//! The section `serve`: where it listens, and how often it looks.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;

use crate::config::key::{ConfigKey, Form, key};
use crate::error::{Error, Result};

/// How `serve` runs.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The pause between two scans of the store.
    pub interval: Duration,
}

/// The keys, in the order of the documentation.
pub(super) const KEYS: &[ConfigKey] = &[
    key(
        "serve.listen",
        Form::Text,
        "Address and port of `serve`, `0.0.0.0:9898` for all of the machine's. Default `127.0.0.1:9898`. It has no login: let only those reach it who may read it.",
    ),
    key(
        "serve.interval_seconds",
        Form::Scalar,
        "The pause between two scans of the store. Default 60, at most 1800.",
    ),
];

#[derive(Debug, Default, Deserialize)]
pub(super) struct RawServe {
    listen: Option<String>,
    interval_seconds: Option<u64>,
}

impl RawServe {
    pub(super) fn check(self) -> Result<ServeConfig> {
        let listen = self.listen.as_deref().unwrap_or("127.0.0.1:9898");
        let listen: SocketAddr = listen.parse().map_err(|_| {
            Error::usage(format!("serve.listen {listen:?} is no address with a port"))
                .hint("write it as 127.0.0.1:9898, or [::1]:9898")
        })?;
        let seconds = self.interval_seconds.unwrap_or(60);
        Ok(ServeConfig {
            listen,
            interval: Duration::from_secs(seconds),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_port_is_refused() {
        let of = |listen: Option<&str>| {
            let raw = RawServe {
                listen: listen.map(str::to_owned),
                interval_seconds: None,
            };
            raw.check().map_err(|error| error.to_string())
        };
        let error = of(Some("localhost")).unwrap_err();
        assert!(error.starts_with("serve.listen \"localhost\""), "{error}");
        assert_eq!(of(None).unwrap().listen.to_string(), "127.0.0.1:9898");
    }
}
