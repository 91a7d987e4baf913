//! `drctl alert-test`: sends a marked alert through every configured notifier.

use jiff::Timestamp;

use crate::catalog::history::Delivery;
use crate::cli::args::{AlertTestArgs, GlobalArgs, TaskArg, TestKind};
use crate::cli::output::text;
use crate::config::Config;
use crate::monitor::notify::{self, Event, Kind, Task};
use crate::util::error::{Error, Outcome, Result};
use crate::util::format::Output;

/// Sends the alert and prints the result of each notifier. Does not access the store.
pub async fn run(global: &GlobalArgs, args: AlertTestArgs) -> Result<()> {
    let config = Config::load(&global.overrides())?;
    if config.notify.addresses().is_empty() {
        return Err(Error::usage("no notifier is configured").hint(
            "set notify.webhook.url, notify.alertmanager.url, notify.slack.url or \
             notify.heartbeat.backup_url; docs/alerts.md explains them",
        ));
    }
    let (kind, outcome) = match args.kind {
        TestKind::Test => (Kind::Test, Outcome::Done),
        TestKind::Failed => (Kind::Failed, Outcome::Unexpected),
        TestKind::Late => (Kind::Late, Outcome::Done),
        TestKind::Recovered => (Kind::Recovered, Outcome::Done),
    };
    let event = Event {
        kind,
        test: true,
        target: config.target.clone(),
        task: match args.task {
            TaskArg::Backup => Task::Backup,
            TaskArg::Verify => Task::Verify,
        },
        outcome,
        backup: None,
        message: format!(
            "drctl alert-test: test alert for {}; no action needed",
            config.target
        ),
        at: Timestamp::now(),
    };
    let deliveries = notify::deliver(&config.notify, &event).await;
    let printed = match global.output {
        Output::Json => text::json(&deliveries),
        Output::Text => text::print(&page(&deliveries)),
    };
    let failed: Vec<&str> = deliveries
        .iter()
        .filter(|delivery| delivery.error.is_some())
        .map(|delivery| delivery.notifier.as_str())
        .collect();
    match failed.as_slice() {
        [] => printed,
        names => Err(Error::server(format!(
            "{} of {} notifiers failed: {}",
            names.len(),
            deliveries.len(),
            names.join(", ")
        ))
        .hint("see the causes above, fix the URL or the receiver, and try again")),
    }
}

fn page(deliveries: &[Delivery]) -> String {
    let row = |delivery: &Delivery| {
        let result = delivery
            .error
            .clone()
            .unwrap_or_else(|| "delivered".to_owned());
        vec![delivery.notifier.clone(), result]
    };
    text::table(
        &["NOTIFIER", "RESULT"],
        &deliveries.iter().map(row).collect::<Vec<_>>(),
    )
}
