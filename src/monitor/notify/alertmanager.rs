//! Alertmanager, API v2: the same alerts, with the same labels, as the alert rules raise.
//!
//! An alert that is not repeated ends after minutes, and a run cannot repeat its own, so each alert carries
//! an end time, which a later success brings forward. Every success does so, not only one after a failure:
//! if the store failed, the failure is not recorded anywhere.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::monitor::notify::event::Alert;
use crate::monitor::notify::{Event, Message, NotifyConfig};
use crate::util::times::{after, before, minutes, signed};

/// How far before now the end time of resolved alerts is set. If the end were in the future by
/// Alertmanager's clock, Alertmanager would keep the alert's original end.
const CLOCK_SKEW: SignedDuration = minutes(2);

/// Duration of a test alert.
const TEST_HOLD: SignedDuration = minutes(5);

/// The alert to raise, or the resolution of the alerts that a success ends.
pub(super) fn message(config: &NotifyConfig, event: &Event) -> Option<Message> {
    let alerts: Vec<Value> = if event.kind.is_good() {
        Alert::of(event.task)
            .iter()
            .map(|one| alert(config, event, *one, before(event.at, CLOCK_SKEW)))
            .collect()
    } else {
        let hold = if event.test {
            TEST_HOLD
        } else {
            signed(config.hold)
        };
        vec![alert(config, event, event.alert(), after(event.at, hold))]
    };
    Some(Message {
        path: "/api/v2/alerts",
        ..Message::post(Value::Array(alerts))
    })
}

fn alert(config: &NotifyConfig, event: &Event, alert: Alert, end: Timestamp) -> Value {
    let mut labels = json!(config.labels);
    labels["alertname"] = alert.name.into();
    labels["severity"] = alert.severity.into();
    labels["target"] = event.target.as_str().into();
    if event.test {
        labels["test"] = "true".into();
    }
    json!({
        "labels": labels,
        "annotations": {
            "summary": event.summary(),
            "description": event.message,
            "runbook_url": config.runbook(alert.name),
        },
        "startsAt": event.at.min(end),
        "endsAt": end,
    })
}
