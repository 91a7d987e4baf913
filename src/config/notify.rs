//! The keys of `notify`: what was written, checked.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::config::key::{ConfigKey, Form, key};
use crate::error::{Error, Result};
use crate::notify::config::{Address, NotifyConfig, Written};
use crate::server::Secret;

/// How long an alert stands in Alertmanager by itself: two days, until the rules take over.
const HOLD: Duration = Duration::from_secs(2 * 86_400);

/// How long a notifier may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The keys, as [`crate::config::keys`] has those of the rest.
pub(super) const KEYS: &[ConfigKey] = &[
    key(
        "notify.webhook.url",
        Form::Text,
        "Gets JSON when a run fails, is late or has recovered. A secret, as all of these URLs: prefer the file.",
    ),
    key(
        "notify.webhook.url_file",
        Form::Text,
        "A file that holds it.",
    ),
    key(
        "notify.alertmanager.url",
        Form::Text,
        "An Alertmanager, without `/api/v2/alerts`: the same alerts as the rules raise.",
    ),
    key(
        "notify.alertmanager.url_file",
        Form::Text,
        "A file that holds it.",
    ),
    key(
        "notify.alertmanager.hold_seconds",
        Form::Scalar,
        "How long an alert stands there unless a good run ends it: more than a schedule's interval. Default 172800.",
    ),
    key(
        "notify.slack.url",
        Form::Text,
        "An incoming webhook of Slack or what understands its `text`.",
    ),
    key("notify.slack.url_file", Form::Text, "A file that holds it."),
    key(
        "notify.heartbeat.backup_url",
        Form::Text,
        "Called after each good backup: a dead man's switch, best outside of the cluster.",
    ),
    key(
        "notify.heartbeat.backup_url_file",
        Form::Text,
        "A file that holds it.",
    ),
    key(
        "notify.heartbeat.verify_url",
        Form::Text,
        "Called after each good restore drill.",
    ),
    key(
        "notify.heartbeat.verify_url_file",
        Form::Text,
        "A file that holds it.",
    ),
    key(
        "notify.heartbeat.method",
        Form::Text,
        "`post` (default) or `get`.",
    ),
    key(
        "notify.labels",
        Form::Pairs,
        "Labels of every alert, such as `namespace=dr`.",
    ),
    key(
        "notify.runbooks_url",
        Form::Text,
        "Where `runbooks/` is published. Default: the path in the repository.",
    ),
    key(
        "notify.timeout_seconds",
        Form::Scalar,
        "The longest that a notifier may take, with everything that is tried again. Default 30.",
    ),
];

/// As it was written.
#[derive(Debug, Default, Deserialize)]
pub(super) struct RawNotify {
    #[serde(default)]
    webhook: RawAddress,
    #[serde(default)]
    alertmanager: RawAlertmanager,
    #[serde(default)]
    slack: RawAddress,
    #[serde(default)]
    heartbeat: RawHeartbeat,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    runbooks_url: Option<String>,
    timeout_seconds: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
struct RawAddress {
    url: Option<Secret>,
    url_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
struct RawAlertmanager {
    url: Option<Secret>,
    url_file: Option<PathBuf>,
    hold_seconds: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
struct RawHeartbeat {
    backup_url: Option<Secret>,
    backup_url_file: Option<PathBuf>,
    verify_url: Option<Secret>,
    verify_url_file: Option<PathBuf>,
    #[serde(default)]
    method: Method,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Method {
    #[default]
    Post,
    Get,
}

impl RawNotify {
    pub(super) fn check(self) -> Result<NotifyConfig> {
        let (alertmanager, heartbeat) = (self.alertmanager, self.heartbeat);
        for label in ["alertname", "severity", "target", "test"] {
            if self.labels.contains_key(label) {
                return Err(Error::usage(format!("notify.labels sets {label}"))
                    .hint("take it out: drctl sets that one itself"));
            }
        }
        let seconds = self.timeout_seconds.map(Duration::from_secs);
        let timeout = seconds.unwrap_or(TIMEOUT);
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
            hold: alertmanager.hold_seconds.map_or(HOLD, Duration::from_secs),
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
            timeout,
        })
    }
}

fn address(
    key: &'static str,
    url: Option<Secret>,
    file: Option<PathBuf>,
) -> Result<Option<Address>> {
    let written = match (url, file) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            return Err(
                Error::usage(format!("both {key} and {key}_file are set")).hint("keep the file")
            );
        }
        (Some(url), None) => Written::Here(url),
        (None, Some(file)) => Written::File(file),
    };
    Ok(Some(Address { key, written }))
}
