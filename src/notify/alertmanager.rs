//! Alertmanager, by its API v2: the same alerts, with the same labels, as the rules raise.
//!
//! An alert that nobody repeats ends there after minutes, and a run cannot repeat its own: so it
//! carries its end, which a good run brings forward. Every good run does so, not only one after a
//! failure: where the store was what failed, nothing remembers the failure.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::event::Alert;
use super::{Event, Message, NotifyConfig};
use crate::times::{after, before, minutes, signed};

/// How long before now what is good ended what was not. An end that Alertmanager's clock still takes
/// for the future would be put off to the one that the alert came with.
const CLOCK_SKEW: SignedDuration = minutes(2);

/// How long a test stands.
const TEST_HOLD: SignedDuration = minutes(5);

/// An alert, or the end of those that a good run ends.
pub(super) fn message(config: &NotifyConfig, event: &Event) -> Option<Message> {
    let alerts: Vec<Value> = match event.kind.is_good() {
        true => Alert::of(event.task)
            .iter()
            .map(|one| alert(config, event, *one, before(event.at, CLOCK_SKEW)))
            .collect(),
        false => {
            let hold = match event.test {
                true => TEST_HOLD,
                false => signed(config.hold),
            };
            vec![alert(config, event, event.alert(), after(event.at, hold))]
        }
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
