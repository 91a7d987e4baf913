//! Who is to be told, and where they are.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::bounded;
use crate::server::Secret;
use crate::server::secret::MOST_BYTES;

/// Who is told, and how. Whatever is not configured is not told.
#[derive(Debug, Clone)]
pub struct NotifyConfig {
    /// Gets JSON of our own.
    pub webhook: Option<Address>,
    /// An Alertmanager, without `/api/v2/alerts`.
    pub alertmanager: Option<Address>,
    /// How long an alert stands there unless a good run ends it: longer than a schedule's interval.
    pub hold: Duration,
    /// An incoming webhook of Slack, Mattermost or the like.
    pub slack: Option<Address>,
    /// Hears of every good backup.
    pub heartbeat_backup: Option<Address>,
    /// Hears of every good drill.
    pub heartbeat_verify: Option<Address>,
    /// Whether heartbeats are GETs.
    pub heartbeat_get: bool,
    /// Labels of every alert, such as the namespace that the rules' alerts have.
    pub labels: BTreeMap<String, String>,
    /// Where the runbooks are published.
    pub runbooks: Option<String>,
    /// The longest that one notifier may take, with everything that is tried again.
    pub timeout: Duration,
}

impl NotifyConfig {
    /// Every address, with the name of who is there.
    pub fn addresses(&self) -> Vec<(&'static str, &Address)> {
        let all = [
            ("webhook", &self.webhook),
            ("alertmanager", &self.alertmanager),
            ("slack", &self.slack),
            ("heartbeat-backup", &self.heartbeat_backup),
            ("heartbeat-verify", &self.heartbeat_verify),
        ];
        all.into_iter()
            .filter_map(|(name, address)| Some((name, address.as_ref()?)))
            .collect()
    }

    /// Where the runbooks are.
    pub fn runbooks_base(&self) -> &str {
        self.runbooks.as_deref().unwrap_or("runbooks")
    }

    /// Where the runbook of an alert is.
    pub fn runbook(&self, alert: &str) -> String {
        format!("{}/{alert}.md", self.runbooks_base().trim_end_matches('/'))
    }
}

/// A URL, and where it is configured. It is a secret: many have a token in their path.
#[derive(Debug, Clone)]
pub struct Address {
    /// The key that names it, `notify.webhook.url`.
    pub key: &'static str,
    /// Where it is written.
    pub written: Written,
}

/// Where a URL is written.
#[derive(Debug, Clone)]
pub enum Written {
    /// In the configuration.
    Here(Secret),
    /// In a file, read when it is needed: a notifier must not keep a backup from being made.
    File(PathBuf),
}

impl Address {
    /// The URL; else why there is none, without its text.
    pub fn url(&self) -> Result<Url, String> {
        let key = self.key;
        let text = match &self.written {
            Written::Here(secret) => secret.reveal().to_owned(),
            Written::File(path) => bounded::read(path, MOST_BYTES)
                .and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other))
                .map_err(|error| format!("cannot read {key}_file {}: {error}", path.display()))?,
        };
        let url = Url::parse(text.trim()).ok();
        let web = |url: &Url| matches!(url.scheme(), "http" | "https") && url.host().is_some();
        url.filter(web)
            .ok_or_else(|| format!("{key} is no http:// or https:// URL"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_none_is_named_by_its_key_alone() {
        for text in ["hooks.example.com/T0KEN", "ftp://x/T0KEN", "http://", ""] {
            let address = Address {
                key: "notify.webhook.url",
                written: Written::Here(Secret::new(text)),
            };
            let error = address.url().unwrap_err();
            assert_eq!(error, "notify.webhook.url is no http:// or https:// URL");
            assert!(!format!("{address:?}").contains("T0KEN"));
        }
    }

    #[test]
    fn a_file_that_is_missing_is_named() {
        let address = Address {
            key: "notify.slack.url",
            written: Written::File("/nowhere/slack".into()),
        };
        let error = address.url().unwrap_err();
        assert!(
            error.starts_with("cannot read notify.slack.url_file /nowhere/slack: "),
            "{error}"
        );
    }
}
