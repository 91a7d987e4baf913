//! An incoming webhook of Slack, or of what understands its `text`.

use serde_json::json;

use super::{Event, Kind, Message, NotifyConfig};

/// What it is told: all but that all is still well.
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

/// Three characters mean something there; names of tables may hold them.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
