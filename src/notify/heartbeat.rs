//! A dead man's switch outside of the cluster: it hears of every good backup and drill, and raises
//! an alarm of its own when it no longer does. When the cluster dies, its Alertmanager dies too.

use serde_json::json;

use super::{Event, Kind, Message, NotifyConfig};

/// A sign of life after what went well, and after a test, which it cannot tell apart.
pub(super) fn message(config: &NotifyConfig, event: &Event) -> Option<Message> {
    let lives = match event.test {
        true => event.kind == Kind::Test,
        false => event.kind.is_good(),
    };
    lives.then(|| Message {
        get: config.heartbeat_get,
        ..Message::post(json!({
            "target": event.target,
            "verb": event.task.as_str(),
            "backup": event.backup,
            "at": event.at,
            "test": event.test,
        }))
    })
}
