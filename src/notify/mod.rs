//! Who is told when a run failed, is late, or has recovered, and that all is well.
//!
//! - [`event`]: what happened, and which alert it is.
//! - [`webhook`], [`alertmanager`], [`slack`], [`heartbeat`]: what each is told, as pure functions.
//! - [`send`]: by HTTP, tried again until the time is up.
//!
//! A notifier that fails changes no outcome: it is logged, stands in the run's record, and is an
//! alert of its own. URLs are secrets, since most carry a token in their path: what is said of
//! them is the key that configures them, and their host.

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

use crate::runs::Told;

/// What one notifier is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Whether it is a GET, which carries nothing.
    pub get: bool,
    /// What comes behind the path of the configured URL.
    pub path: &'static str,
    /// The JSON.
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

/// Tells every notifier that an event is for, all at once; and says what became of each. Takes no
/// longer than the configured time-out.
pub async fn tell(config: &NotifyConfig, event: &Event) -> Vec<Told> {
    let messages = messages(config, event);
    if messages.is_empty() {
        return Vec::new();
    }
    let told = messages
        .into_iter()
        .map(|(name, address, message)| async move {
            let error = send::send(address, &message, config.timeout).await.err();
            if let Some(error) = &error {
                tracing::warn!(notifier = name, %error, "cannot notify");
            }
            Told {
                notifier: name.to_owned(),
                error,
            }
        });
    join_all(told).await
}

/// Who is told what of an event.
fn messages<'a>(
    config: &'a NotifyConfig,
    event: &Event,
) -> Vec<(&'static str, &'a Address, Message)> {
    // A test is for whoever hears of anything.
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
    use crate::error::Outcome;
    use crate::notify::config::Written;
    use crate::server::Secret;

    /// Everybody is configured.
    fn config() -> NotifyConfig {
        let address = || {
            Some(Address {
                key: "notify.webhook.url",
                written: Written::Here(Secret::new("http://localhost/")),
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

    fn told(kind: Kind, task: Task) -> Vec<&'static str> {
        let config = config();
        let messages = messages(&config, &event(kind, task, Outcome::Done));
        messages.into_iter().map(|(name, ..)| name).collect()
    }

    #[test]
    fn each_kind_of_news_goes_to_whom_it_concerns() {
        let all = ["webhook", "alertmanager", "slack"];
        assert_eq!(told(Kind::Failed, Task::Backup), all);
        assert_eq!(told(Kind::Late, Task::Verify), all);
        let well = ["alertmanager", "heartbeat-backup"];
        assert_eq!(told(Kind::Succeeded, Task::Backup), well);
        let again = ["webhook", "alertmanager", "slack", "heartbeat-verify"];
        assert_eq!(told(Kind::Recovered, Task::Verify), again);
        assert_eq!(told(Kind::Test, Task::Backup).len(), 5);
    }

    #[test]
    fn an_alert_stands_for_its_time_and_a_good_run_ends_every_one_of_its_task_in_the_past() {
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
                "a slower clock would put it off"
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
        // A backup that was refused before it was made is not suspect.
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
    fn slack_reads_names_as_they_are() {
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
