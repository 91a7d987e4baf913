//! A webhook of one's own: one JSON object a piece of news.

use serde_json::json;

use super::{Event, Kind, Message, NotifyConfig};

/// The version of the object; fields may be added without another.
const VERSION: u32 = 1;

/// What it is told: all but that all is still well.
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
