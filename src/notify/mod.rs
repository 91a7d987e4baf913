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
