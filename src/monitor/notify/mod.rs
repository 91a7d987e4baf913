//! Notifications: failed, overdue, recovered and successful runs.
//!
//! - [`event`]: what happened, and the alert it corresponds to.
//! - [`webhook`], [`alertmanager`], [`slack`], [`heartbeat`]: the message for each notifier, as pure
//!   functions.
//! - [`send`]: delivery by HTTP, with retries until a time limit.
//!
//! A failed notification changes no outcome: it is logged, recorded in the run record, and has its own
//! alert. URLs are secrets, since most contain a token in their path: messages show only the configuration
//! key and the host.

pub mod alertmanager;
pub mod config;
pub mod event;
pub mod heartbeat;
pub mod send;
pub mod slack;
pub mod webhook;

use futures_util::future::join_all;
use serde_json::Value;

pub use config::{Address, NotifyConfig};
pub use event::{Event, Kind, Task};

use crate::catalog::history::Delivery;

/// One request to a notifier.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Whether to send a GET, which has no body.
    pub get: bool,
    /// Appended to the path of the configured URL.
    pub path: &'static str,
    /// The JSON body.
    pub body: Value,
}

impl Message {
    fn post(body: Value) -> Message {
        Message {
            get: false,
            path: "",
            body,
        }
    }
}

/// Sends an event to all notifiers concerned, in parallel, and returns the result of each. Takes no longer
/// than the configured timeout.
pub async fn deliver(config: &NotifyConfig, event: &Event) -> Vec<Delivery> {
    let messages = messages(config, event);
    if messages.is_empty() {
        return Vec::new();
    }
    let deliveries = messages
        .into_iter()
        .map(|(name, address, message)| async move {
            let error = send::send(address, &message, config.timeout).await.err();
            if let Some(error) = &error {
                tracing::warn!(notifier = name, %error, "cannot send notification");
            }
            Delivery {
                notifier: name.to_owned(),
                error,
            }
        });
    join_all(deliveries).await
}

/// The messages for an event, per notifier.
fn messages<'a>(
    config: &'a NotifyConfig,
    event: &Event,
) -> Vec<(&'static str, &'a Address, Message)> {
    // A test goes to every notifier that receives anything.
    let beats = |task| event.task == task || event.kind == Kind::Test;
    let heartbeat = |task| {
        beats(task)
            .then(|| heartbeat::message(config, event))
            .flatten()
    };
    let all = [
        ("webhook", &config.webhook, webhook::message(config, event)),
        (
            "alertmanager",
            &config.alertmanager,
            alertmanager::message(config, event),
        ),
        ("slack", &config.slack, slack::message(config, event)),
        (
            "heartbeat-backup",
            &config.heartbeat_backup,
            heartbeat(Task::Backup),
        ),
        (
            "heartbeat-verify",
            &config.heartbeat_verify,
            heartbeat(Task::Verify),
        ),
    ];
    all.into_iter()
        .filter_map(|(name, address, message)| Some((name, address.as_ref()?, message?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::monitor::notify::config::UrlSource;
    use crate::util::error::Outcome;
    use crate::util::secret::Secret;

    /// A configuration with every notifier.
    fn config() -> NotifyConfig {
        let address = || {
            Some(Address {
                key: "notify.webhook.url",
                source: UrlSource::Inline(Secret::new("http://localhost/")),
            })
        };
        NotifyConfig {
            webhook: address(),
            alertmanager: address(),
            hold: Duration::from_secs(3600),
            slack: address(),
            heartbeat_backup: address(),
            heartbeat_verify: address(),
            heartbeat_get: false,
            labels: [("namespace".to_owned(), "dr".to_owned())].into(),
            runbooks: None,
            timeout: Duration::from_secs(1),
        }
    }

    fn event(kind: Kind, task: Task, outcome: Outcome) -> Event {
        Event {
            kind,
            test: kind == Kind::Test,
            target: "shop".parse().unwrap(),
            task,
            outcome,
            backup: None,
            message: "a < b & c".into(),
            at: time("2026-11-21T02:00:00Z"),
        }
    }

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn receivers(kind: Kind, task: Task) -> Vec<&'static str> {
        let config = config();
        let messages = messages(&config, &event(kind, task, Outcome::Done));
        messages.into_iter().map(|(name, ..)| name).collect()
    }

    #[test]
    fn each_kind_of_event_goes_to_the_notifiers_concerned() {
        let all = ["webhook", "alertmanager", "slack"];
        assert_eq!(receivers(Kind::Failed, Task::Backup), all);
        assert_eq!(receivers(Kind::Late, Task::Verify), all);
        let succeeded = ["alertmanager", "heartbeat-backup"];
        assert_eq!(receivers(Kind::Succeeded, Task::Backup), succeeded);
        let recovered = ["webhook", "alertmanager", "slack", "heartbeat-verify"];
        assert_eq!(receivers(Kind::Recovered, Task::Verify), recovered);
        assert_eq!(receivers(Kind::Test, Task::Backup).len(), 5);
    }

    #[test]
    fn an_alert_lasts_for_its_hold_time_and_a_success_resolves_every_alert_of_its_task() {
        let sent = |kind, task| {
            let event = event(kind, task, Outcome::Source);
            alertmanager::message(&config(), &event).unwrap().body
        };
        let failed = sent(Kind::Failed, Task::Backup);
        let end = failed[0]["endsAt"].as_str().unwrap();
        assert_eq!(time(end), time("2026-11-21T03:00:00Z"));
        assert_eq!(failed[0]["labels"]["namespace"], "dr");
        let good = sent(Kind::Succeeded, Task::Verify);
        let name = |alert: &Value| alert["labels"]["alertname"].as_str().unwrap().to_owned();
        let names: Vec<String> = good.as_array().unwrap().iter().map(name).collect();
        let all = [
            "DrctlVerifyFailed",
            "DrctlObjectiveMissed",
            "DrctlVerifyOverdue",
        ];
        assert_eq!(names, all);
        for alert in good.as_array().unwrap() {
            let [start, end] = ["startsAt", "endsAt"].map(|key| time(alert[key].as_str().unwrap()));
            assert!(start <= end, "Alertmanager refuses it otherwise");
            assert!(
                end < time("2026-11-21T02:00:00Z"),
                "a slower clock would postpone it"
            );
        }
    }

    #[test]
    fn the_outcome_names_the_alert() {
        let of = |kind, task, outcome| event(kind, task, outcome).alert().name;
        let (backup, verify) = (Task::Backup, Task::Verify);
        assert_eq!(
            of(Kind::Failed, backup, Outcome::Source),
            "DrctlBackupFailed"
        );
        // A backup refused before its dump is not suspect.
        assert_eq!(
            of(Kind::Failed, backup, Outcome::Refused),
            "DrctlBackupFailed"
        );
        let mut suspect = event(Kind::Failed, backup, Outcome::Refused);
        suspect.backup = "20261121T020000Z-3f9a1c".parse().ok();
        assert_eq!(suspect.alert().name, "DrctlBackupSuspect");
        assert_eq!(
            of(Kind::Failed, verify, Outcome::Archive),
            "DrctlVerifyFailed"
        );
        assert_eq!(
            of(Kind::Failed, verify, Outcome::Objective),
            "DrctlObjectiveMissed"
        );
        assert_eq!(of(Kind::Late, verify, Outcome::Done), "DrctlVerifyOverdue");
        for kind in [Kind::Failed, Kind::Recovered] {
            let name = of(kind, Task::Store, Outcome::Store);
            assert_eq!(name, "DrctlStoreUnreachable");
        }
    }

    #[test]
    fn control_characters_of_slack_are_escaped() {
        let event = event(Kind::Failed, Task::Backup, Outcome::Source);
        let body = slack::message(&config(), &event).unwrap().body;
        let text = body["text"].as_str().unwrap();
        assert!(text.contains("a &lt; b &amp; c"), "{text}");
        assert!(
            text.ends_with("DrctlBackupFailed · warning · runbooks/DrctlBackupFailed.md"),
            "{text}"
        );
    }
}
