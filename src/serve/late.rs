//! Who is told of what did not happen: a backup or a proof that is overdue, by the judgement of the alert
//! rules, for those who have no Prometheus.
//!
//! Once for each lateness, and when it is over. What was told is forgotten with the process: a restart tells
//! it once more, since news too much is better than news that is missing.

use jiff::{SignedDuration, Timestamp};

use crate::error::Outcome;
use crate::notify::{self, Event, Kind, NotifyConfig, Task};
use crate::report::problems::{late_backup, late_drill};
use crate::report::status::Status;
use crate::words::span;

/// Since when which lateness is known to those who are told.
#[derive(Debug, Default)]
pub struct Lateness {
    backup: Option<Timestamp>,
    verify: Option<Timestamp>,
}

impl Lateness {
    /// Tells what is new.
    pub async fn tell(&mut self, config: &NotifyConfig, status: &Status) {
        if config.addresses().is_empty() {
            return;
        }
        for task in [Task::Backup, Task::Verify] {
            let Some(event) = self.news(task, status, config) else {
                continue;
            };
            tracing::warn!(
                task = task.as_str(),
                message = event.message,
                "{}",
                event.summary()
            );
            let told = notify::tell(config, &event).await;
            // Nobody heard: the next scan tries again.
            if told.is_empty() || told.iter().any(|told| told.error.is_none()) {
                *self.told(task) = (event.kind == Kind::Late).then_some(status.now);
            }
        }
    }

    fn told(&mut self, task: Task) -> &mut Option<Timestamp> {
        match task {
            Task::Backup => &mut self.backup,
            Task::Verify => &mut self.verify,
        }
    }

    fn news(&mut self, task: Task, status: &Status, config: &NotifyConfig) -> Option<Event> {
        let (late, what) = match task {
            Task::Backup => (late_backup(status), "backup"),
            Task::Verify => (late_drill(status), "proof by a restore"),
        };
        // In Alertmanager an alert ends when nobody repeats it.
        let hold = SignedDuration::try_from(config.hold).unwrap_or(SignedDuration::MAX) / 2;
        let (kind, message) = match (late, *self.told(task)) {
            (Some(age), None) => (Kind::Late, overdue(what, age)),
            (Some(age), Some(told)) if status.now.duration_since(told) > hold => {
                (Kind::Late, overdue(what, age))
            }
            (None, Some(told)) => {
                if was_told(status, task, told) {
                    *self.told(task) = None;
                    return None;
                }
                (Kind::Recovered, format!("there is a new {what}"))
            }
            _ => return None,
        };
        Some(Event {
            kind,
            test: false,
            target: status.target.clone(),
            task,
            outcome: Outcome::Done,
            backup: None,
            message,
            at: status.now,
        })
    }
}

fn overdue(what: &str, age: SignedDuration) -> String {
    let age = span(age);
    format!(
        "no {what} for {age}: more than two intervals of its schedule; see whether it runs, and how it ends"
    )
}

/// Whether the run that ended the lateness has told so itself, as it does where the one before had failed.
fn was_told(status: &Status, task: Task, since: Timestamp) -> bool {
    status.past.records.iter().any(|record| {
        let news = ["webhook", "slack"];
        record.verb == task.as_str()
            && record.exit == 0
            && record.ended_at > since
            && record
                .notify
                .iter()
                .any(|told| news.contains(&told.notifier.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::report::status_fixture::{ago, backup, good, hours, record, with};

    /// What would be told now, after what was told then.
    fn kind(status: &Status, told: Option<Timestamp>) -> Option<Kind> {
        let mut lateness = Lateness {
            backup: told,
            verify: None,
        };
        // Two days.
        let config = Config::example().notify;
        let news = lateness.news(Task::Backup, status, &config);
        news.map(|event| event.kind)
    }

    #[test]
    fn a_lateness_is_told_once_and_again_before_its_alert_ends_by_itself() {
        let late = with(|past| past.backups = vec![backup(100)]);
        assert_eq!(kind(&late, None), Some(Kind::Late));
        assert_eq!(kind(&late, Some(ago(1))), None);
        assert_eq!(kind(&late, Some(ago(24))), None);
        assert_eq!(kind(&late, Some(ago(24) - hours(1))), Some(Kind::Late));
    }

    #[test]
    fn its_end_is_told_unless_the_run_that_ended_it_did() {
        assert_eq!(kind(&good(), None), None);
        let silent = with(|past| past.records.clear());
        assert_eq!(kind(&silent, Some(ago(20))), Some(Kind::Recovered));
        let said = with(|past| {
            let recovered = record("backup", 10, 0, &[("webhook", true)]);
            past.records = vec![recovered];
        });
        assert_eq!(kind(&said, Some(ago(20))), None);
        // That was of an earlier one.
        assert_eq!(kind(&said, Some(ago(5))), Some(Kind::Recovered));
    }
}
