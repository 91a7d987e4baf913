//! A generic webhook: one JSON object per event.

use serde_json::json;

use crate::monitor::notify::{Event, Kind, Message, NotifyConfig};

/// Version of the JSON format; adding a field does not change it.
const VERSION: u32 = 1;

/// The message for an event; `None` for an ordinary success.
pub(super) fn message(config: &NotifyConfig, event: &Event) -> Option<Message> {
    if event.kind == Kind::Succeeded {
        return None;
    }
    let alert = event.alert();
    Some(Message::post(json!({
        "version": VERSION,
        "kind": event.kind.as_str(),
        "test": event.test,
        "alert": alert.name,
        "severity": alert.severity,
        "target": event.target,
        "verb": event.task.as_str(),
        "exit": event.outcome.code(),
        "backup": event.backup,
        "summary": event.summary(),
        "message": event.message,
        "at": event.at,
        "runbook": config.runbook(alert.name),
        "labels": config.labels,
        "drctl": env!("CARGO_PKG_VERSION"),
    })))
}
