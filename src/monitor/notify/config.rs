//! Configuration of notifiers.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::util::bounded;
use crate::util::secret::MOST_BYTES;
use crate::util::secret::Secret;

/// The configured notifiers. A notifier that is `None` is not used.
#[derive(Debug, Clone)]
pub struct NotifyConfig {
    /// Receives JSON in drctl's own format.
    pub webhook: Option<Address>,
    /// Base URL of an Alertmanager, without `/api/v2/alerts`.
    pub alertmanager: Option<Address>,
    /// How long an alert lasts unless a success resolves it; longer than a schedule's interval.
    pub hold: Duration,
    /// An incoming webhook of Slack, Mattermost or a compatible service.
    pub slack: Option<Address>,
    /// Receives every good backup.
    pub heartbeat_backup: Option<Address>,
    /// Receives every good drill.
    pub heartbeat_verify: Option<Address>,
    /// Whether heartbeats are sent as GET; else as POST.
    pub heartbeat_get: bool,
    /// Labels added to every alert, such as the namespace that the alert rules add.
    pub labels: BTreeMap<String, String>,
    /// Base URL of the published runbooks; `None`: their path in the repository.
    pub runbooks: Option<String>,
    /// Time limit for one notifier, retries included.
    pub timeout: Duration,
}

impl NotifyConfig {
    /// Every configured address, with the name of its notifier.
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

    /// Base URL or path of the runbooks.
    pub fn runbooks_base(&self) -> &str {
        self.runbooks.as_deref().unwrap_or("runbooks")
    }

    /// URL or path of an alert's runbook.
    pub fn runbook(&self, alert: &str) -> String {
        format!("{}/{alert}.md", self.runbooks_base().trim_end_matches('/'))
    }
}

/// A URL, and where it is configured. The URL is a secret: many contain a token in their path.
#[derive(Debug, Clone)]
pub struct Address {
    /// The configuration key, such as `notify.webhook.url`.
    pub key: &'static str,
    /// The URL, or the file that contains it.
    pub source: UrlSource,
}

/// Source of a URL.
#[derive(Debug, Clone)]
pub enum UrlSource {
    /// In the configuration.
    Inline(Secret),
    /// In a file, read at each notification: a missing file must not prevent a backup.
    File(PathBuf),
}

#[cfg(test)]
impl NotifyConfig {
    /// A configuration with an Alertmanager that holds alerts for two days.
    pub(crate) fn example() -> NotifyConfig {
        NotifyConfig {
            webhook: None,
            alertmanager: Some(Address {
                key: "notify.alertmanager.url",
                source: UrlSource::Inline(Secret::new("http://alertmanager.monitoring:9093")),
            }),
            hold: Duration::from_secs(2 * 24 * 3600),
            slack: None,
            heartbeat_backup: None,
            heartbeat_verify: None,
            heartbeat_get: false,
            labels: BTreeMap::new(),
            runbooks: None,
            timeout: Duration::from_secs(1),
        }
    }
}

impl Address {
    /// The URL; else the reason why there is none, without its text.
    pub fn url(&self) -> Result<Url, String> {
        let key = self.key;
        let text = match &self.source {
            UrlSource::Inline(secret) => secret.reveal().to_owned(),
            UrlSource::File(path) => bounded::read(path, MOST_BYTES)
                .and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other))
                .map_err(|error| format!("cannot read {key}_file {}: {error}", path.display()))?,
        };
        let url = Url::parse(text.trim()).ok();
        let web = |url: &Url| matches!(url.scheme(), "http" | "https") && url.host().is_some();
        url.filter(web)
            .ok_or_else(|| format!("{key} is not an http:// or https:// URL"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_url_is_reported_by_its_key_only() {
        for text in ["hooks.example.com/T0KEN", "ftp://x/T0KEN", "http://", ""] {
            let address = Address {
                key: "notify.webhook.url",
                source: UrlSource::Inline(Secret::new(text)),
            };
            let error = address.url().unwrap_err();
            assert_eq!(
                error,
                "notify.webhook.url is not an http:// or https:// URL"
            );
            assert!(!format!("{address:?}").contains("T0KEN"));
        }
    }

    #[test]
    fn a_missing_file_is_reported() {
        let address = Address {
            key: "notify.slack.url",
            source: UrlSource::File("/nowhere/slack".into()),
        };
        let error = address.url().unwrap_err();
        assert!(
            error.starts_with("cannot read notify.slack.url_file /nowhere/slack: "),
            "{error}"
        );
    }
}
