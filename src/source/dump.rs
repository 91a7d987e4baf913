//! The arguments of one dump, every one that matters explicit.
//!
//! Proof and backup dump with the same plan, so that equal data give equal bytes.

use serde::{Deserialize, Serialize};

use crate::server::{Client, Flavour};

/// What a dump takes along of the server's place in its binary log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Coordinates {
    /// Where the account's privileges allow it; else the backup has a warning.
    #[default]
    Auto,
    /// A backup without them is refused.
    Require,
    /// None.
    Off,
}

/// What one mysqldump is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpPlan {
    /// The schemas, as the server calls them, sorted.
    pub schemas: Vec<String>,
    /// Whether the dump tells the snapshot's place in the binary log.
    pub coordinates: bool,
}

impl DumpPlan {
    /// The arguments, as far as this client knows them. None is secret; the login is elsewhere.
    pub fn arguments(&self, client: &Client) -> Vec<String> {
        let mut arguments: Vec<String> = [
            "single-transaction",
            "quick",
            "hex-blob",
            "routines",
            "triggers",
            "events",
            "tz-utc",
            "extended-insert",
            "create-options",
            "quote-names",
            "add-drop-table",
            "set-charset",
            "comments",
            "skip-dump-date",
            "skip-add-locks",
            "skip-disable-keys",
            "skip-lock-tables",
            "no-tablespaces",
            "skip-masking-policies",
            "default-character-set=utf8mb4",
            "max-allowed-packet=1G",
            "net-buffer-length=1046528",
            // The session's own patience: a store that stalls must not cost the dump.
            "network-timeout",
            "set-gtid-purged=OFF",
            "column-statistics=0",
            // History of system-versioned tables, where the client can.
            "dump-history",
        ]
        .into_iter()
        .filter(|option| knows(client, option))
        .map(|option| format!("--{option}"))
        .collect();
        if self.coordinates {
            let option = match client.flavour {
                Flavour::MySql if client.knows("source-data") => "--source-data=2",
                _ => "--master-data=2",
            };
            arguments.push(option.to_owned());
        }
        arguments.push("--databases".to_owned());
        arguments.push("--".to_owned());
        arguments.extend(self.schemas.iter().cloned());
        arguments
    }

    /// The arguments without the schemas, for the manifest.
    pub fn options(&self, client: &Client) -> Vec<String> {
        let arguments = self.arguments(client);
        arguments
            .into_iter()
            .take_while(|argument| argument != "--databases")
            .collect()
    }
}

/// `--skip-x` is known where `x` is.
fn knows(client: &Client, option: &str) -> bool {
    let name = option.split('=').next().unwrap_or(option);
    client.knows(name)
        || name
            .strip_prefix("skip-")
            .is_some_and(|name| client.knows(name))
}
