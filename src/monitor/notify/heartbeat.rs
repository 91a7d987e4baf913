//! A dead man's switch outside the cluster: it receives every good backup and drill, and raises its own
//! alarm when they stop. It covers the loss of the cluster together with its Alertmanager.

use serde_json::json;

use crate::monitor::notify::{Event, Kind, Message, NotifyConfig};

/// A heartbeat after a success, and after a test, which it cannot distinguish.
pub(super) fn message(config: &NotifyConfig, event: &Event) -> Option<Message> {
    let is_alive = if event.test {
        event.kind == Kind::Test
    } else {
        event.kind.is_good()
    };
    is_alive.then(|| Message {
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
