//! Section `notify`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::monitor::notify::config::{Address, NotifyConfig, UrlSource};
use crate::util::error::{Error, Result};
use crate::util::secret::Secret;
use crate::util::times::{MOST_SECONDS, Seconds};

/// Labels of alerts that drctl sets.
const OWN_LABELS: [&str; 4] = ["alertname", "severity", "target", "test"];

/// The notifiers. Their URLs are secrets.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct NotifySection {
    webhook: WebhookSection,
    alertmanager: AlertmanagerSection,
    slack: SlackSection,
    heartbeat: HeartbeatSection,
    /// Labels of every alert, such as `namespace=dr`.
    labels: BTreeMap<String, String>,
    /// Base URL of the published `runbooks/`. Default: their path in the repository.
    #[schemars(regex(pattern = r"^https?://[^/?#\s]+\S*$"))]
    runbooks_url: Option<String>,
    /// Time limit for one notifier, including retries.
    #[schemars(range(min = 1, max = 3_600))]
    timeout_seconds: Seconds,
}

impl Default for NotifySection {
    fn default() -> Self {
        NotifySection {
            webhook: WebhookSection::default(),
            alertmanager: AlertmanagerSection::default(),
            slack: SlackSection::default(),
            heartbeat: HeartbeatSection::default(),
            labels: BTreeMap::new(),
            runbooks_url: None,
            timeout_seconds: Seconds(30),
        }
    }
}

/// A receiver of JSON.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct WebhookSection {
    /// Receives JSON when a run has failed, is overdue or has recovered. As all URLs of notifiers, it is a
    /// secret: prefer the file.
    #[schemars(with = "Option<String>")]
    url: Option<Secret>,
    /// File with the URL.
    url_file: Option<PathBuf>,
}

/// An Alertmanager.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default)]
struct AlertmanagerSection {
    /// An Alertmanager, without `/api/v2/alerts`: receives the same alerts as the alert rules raise.
    #[schemars(with = "Option<String>")]
    url: Option<Secret>,
    /// File with the URL.
    url_file: Option<PathBuf>,
    /// How long an alert lasts unless a successful run resolves it; longer than the interval of a schedule.
    #[schemars(range(min = 1, max = MOST_SECONDS))]
    hold_seconds: Seconds,
}

impl Default for AlertmanagerSection {
    fn default() -> Self {
        AlertmanagerSection {
            url: None,
            url_file: None,
            // After two days the alert rules report an overdue run.
            hold_seconds: Seconds(2 * 86_400),
        }
    }
}

/// A chat.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct SlackSection {
    /// An incoming webhook of Slack or a compatible service.
    #[schemars(with = "Option<String>")]
    url: Option<Secret>,
    /// File with the URL.
    url_file: Option<PathBuf>,
}

/// A dead man's switch, best outside of the cluster.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct HeartbeatSection {
    /// Called after each successful backup: a dead man's switch, best outside of the cluster.
    #[schemars(with = "Option<String>")]
    backup_url: Option<Secret>,
    /// File with the URL.
    backup_url_file: Option<PathBuf>,
    /// Called after each successful drill.
    #[schemars(with = "Option<String>")]
    verify_url: Option<Secret>,
    /// File with the URL.
    verify_url_file: Option<PathBuf>,
    /// HTTP method: `post` or `get`.
    method: Method,
}

/// HTTP method of heartbeats.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Method {
    #[default]
    Post,
    Get,
}

impl NotifySection {
    pub(super) fn check(self) -> Result<NotifyConfig> {
        if let Some(label) = OWN_LABELS
            .iter()
            .find(|one| self.labels.contains_key(**one))
        {
            return Err(Error::usage(format!("notify.labels sets {label}"))
                .hint("remove it: drctl sets this label"));
        }
        let (alertmanager, heartbeat) = (self.alertmanager, self.heartbeat);
        Ok(NotifyConfig {
            webhook: address(
                "notify.webhook.url",
                self.webhook.url,
                self.webhook.url_file,
            )?,
            alertmanager: address(
                "notify.alertmanager.url",
                alertmanager.url,
                alertmanager.url_file,
            )?,
            hold: alertmanager.hold_seconds.duration(),
            slack: address("notify.slack.url", self.slack.url, self.slack.url_file)?,
            heartbeat_backup: address(
                "notify.heartbeat.backup_url",
                heartbeat.backup_url,
                heartbeat.backup_url_file,
            )?,
            heartbeat_verify: address(
                "notify.heartbeat.verify_url",
                heartbeat.verify_url,
                heartbeat.verify_url_file,
            )?,
            heartbeat_get: heartbeat.method == Method::Get,
            labels: self.labels,
            runbooks: self.runbooks_url,
            timeout: self.timeout_seconds.duration(),
        })
    }
}

fn address(
    key: &'static str,
    url: Option<Secret>,
    file: Option<PathBuf>,
) -> Result<Option<Address>> {
    let source = match (url, file) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            return Err(
                Error::usage(format!("both {key} and {key}_file are set")).hint("keep the file")
            );
        }
        (Some(url), None) => UrlSource::Inline(url),
        (None, Some(file)) => UrlSource::File(file),
    };
    Ok(Some(Address { key, source }))
}
