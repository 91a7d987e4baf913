//! An incoming webhook of Slack or a compatible service.

use serde_json::json;

use crate::monitor::notify::{Event, Kind, Message, NotifyConfig};

/// The message for an event; `None` for an ordinary success.
pub(super) fn message(config: &NotifyConfig, event: &Event) -> Option<Message> {
    if event.kind == Kind::Succeeded {
        return None;
    }
    let alert = event.alert();
    let mut text = format!(
        "*{}*\n{}",
        escaped(&event.summary()),
        escaped(&event.message)
    );
    if !event.kind.is_good() {
        let runbook = escaped(&config.runbook(alert.name));
        text.push_str(&format!(
            "\n{} · {} · {runbook}",
            alert.name, alert.severity
        ));
    }
    Some(Message::post(json!({ "text": text })))
}

/// Escapes Slack's three control characters, which may occur in table names.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
