//! Section `serve`.

use std::net::{Ipv4Addr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use crate::util::times::Seconds;

/// How `serve` runs.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ServeConfig {
    /// Address and port of `serve`; `0.0.0.0:9898` for all interfaces. `serve` has no login: restrict who can
    /// reach it.
    #[serde(deserialize_with = "address")]
    #[schemars(
        with = "String",
        regex(pattern = r"^([0-9]{1,3}(\.[0-9]{1,3}){3}|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$")
    )]
    pub listen: SocketAddr,
    /// Pause between two scans of the store.
    // If the store was not read for an hour, an alert fires.
    #[schemars(range(min = 1, max = 1_800))]
    pub interval_seconds: Seconds,
}

impl Default for ServeConfig {
    fn default() -> Self {
        ServeConfig {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9898)),
            interval_seconds: Seconds(60),
        }
    }
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        serde::de::Error::custom(format!(
            "{text:?} is not an address with a port, such as 127.0.0.1:9898 or [::1]:9898"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_port_is_refused() {
        let error = serde_json::from_str::<ServeConfig>(r#"{"listen":"localhost"}"#).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("\"localhost\" is not an address"),
            "{error}"
        );
        assert_eq!(ServeConfig::default().listen.to_string(), "127.0.0.1:9898");
    }
}
