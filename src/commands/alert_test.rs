//! `drctl alert-test`: a marked alert through every configured notifier.

use jiff::Timestamp;

use crate::cli::{AlertTestArgs, GlobalArgs, Output, TaskArg, TestKind};
use crate::commands::text;
use crate::config::Config;
use crate::error::{Error, Outcome, Result};
use crate::notify::{self, Event, Kind, Task};
use crate::runs::Told;

/// Sends it, and says who took it. The store is not needed, and not asked for.
pub async fn run(global: &GlobalArgs, args: AlertTestArgs) -> Result<()> {
    let config = Config::load(global)?;
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
            "drctl alert-test: somebody tries whether alerts of {} arrive; nothing is wrong",
            config.target
        ),
        at: Timestamp::now(),
    };
    let told = notify::tell(&config.notify, &event).await;
    match global.output {
        Output::Json => text::json(&told)?,
        Output::Text => text::print(&page(&told))?,
    }
    let missed = told.iter().filter(|told| told.error.is_some());
    let missed: Vec<&str> = missed.map(|told| told.notifier.as_str()).collect();
    match missed.as_slice() {
        [] => Ok(()),
        names => Err(Error::server(format!(
            "{} of {} notifiers did not take the alert: {}",
            names.len(),
            told.len(),
            names.join(", ")
        ))
        .hint("see above for why, mend the URL or who is there, and try again")),
    }
}

fn page(told: &[Told]) -> String {
    let row = |told: &Told| {
        let result = told.error.clone().unwrap_or_else(|| "arrived".to_owned());
        vec![told.notifier.clone(), result]
    };
    text::table(
        &["NOTIFIER", "RESULT"],
        &told.iter().map(row).collect::<Vec<_>>(),
    )
}
