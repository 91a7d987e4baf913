//! Who is told of what did not happen: a backup or a proof that is overdue, or a store that nobody could read
//! for long, by the judgement of the alert rules, for those who have no Prometheus.
//!
//! Once for each lateness, and when it is over. What was told is forgotten with the process: a restart tells
//! it once more, since news too much is better than news that is missing.

use jiff::{SignedDuration, Timestamp};

use crate::error::Outcome;
use crate::notify::{self, Event, Kind, NotifyConfig, Task};
use crate::report::problems::{late_backup, late_drill, unread_store};
use crate::report::status::Status;
use crate::times::signed;
use crate::words::span;

/// Since when which lateness is known to those who are told.
#[derive(Debug)]
pub struct Lateness {
    backup: Option<Timestamp>,
    verify: Option<Timestamp>,
    store: Option<Timestamp>,
    /// Since when anybody looks at all.
    begun: Timestamp,
}

impl Lateness {
    /// Nothing was told yet.
    pub fn since(begun: Timestamp) -> Lateness {
        Lateness {
            backup: None,
            verify: None,
            store: None,
            begun,
        }
    }

    /// Tells what is new.
    pub async fn tell(&mut self, config: &NotifyConfig, status: &Status) {
        if config.addresses().is_empty() {
            return;
        }
        for task in [Task::Store, Task::Backup, Task::Verify] {
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
                *self.told(task) = (!event.kind.is_good()).then_some(status.now);
            }
        }
    }

    fn told(&mut self, task: Task) -> &mut Option<Timestamp> {
        match task {
            Task::Backup => &mut self.backup,
            Task::Verify => &mut self.verify,
            Task::Store => &mut self.store,
        }
    }

    fn news(&mut self, task: Task, status: &Status, config: &NotifyConfig) -> Option<Event> {
        let (late, over) = match task {
            Task::Backup => {
                let late = late_backup(status).map(|age| overdue("backup", age, status));
                (late, "there is a new backup")
            }
            Task::Verify => {
                let late = late_drill(status).map(|age| overdue("proof by a restore", age, status));
                (late, "there is a new proof by a restore")
            }
            Task::Store => {
                let unread = unread_store(status, self.begun);
                let what = |(age, why)| format!("not read for {}: {why}", span(age));
                (unread.map(what), "the store can be read again")
            }
        };
        let bad = match task {
            Task::Store => (Kind::Failed, Outcome::Store),
            _ => (Kind::Late, Outcome::Done),
        };
        // In Alertmanager an alert ends when nobody repeats it.
        let hold = signed(config.hold / 2);
        let ((kind, outcome), message) = match (late, *self.told(task)) {
            (Some(late), None) => (bad, late),
            (Some(late), Some(told)) if status.now.duration_since(told) > hold => (bad, late),
            (None, Some(told)) => {
                if was_told(status, task, told) {
                    *self.told(task) = None;
                    return None;
                }
                ((Kind::Recovered, Outcome::Done), over.to_owned())
            }
            _ => return None,
        };
        Some(Event {
            kind,
            test: false,
            target: status.target.clone(),
            task,
            outcome,
            backup: None,
            message,
            at: status.now,
        })
    }
}

fn overdue(what: &str, age: SignedDuration, status: &Status) -> String {
    let age = span(age);
    let known = match status.failing {
        Some(_) => " as far as is known, since the store cannot be read",
        None => "",
    };
    format!(
        "no {what} for {age}{known}: more than two intervals of its schedule; see whether it runs, and how it ends"
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
            ..Lateness::since(ago(1000))
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

    #[test]
    fn a_store_that_nobody_could_read_for_an_hour_is_told_and_so_is_its_end() {
        let config = Config::example().notify;
        let unread = |minutes| {
            let mut status = good();
            status.failing = Some("503 SlowDown".into());
            status.scanned_at = Some(status.now - SignedDuration::from_mins(minutes));
            status
        };
        let mut lateness = Lateness::since(ago(2));
        assert!(lateness.news(Task::Store, &unread(59), &config).is_none());
        let news = lateness.news(Task::Store, &unread(61), &config).unwrap();
        assert_eq!((news.kind, news.outcome), (Kind::Failed, Outcome::Store));
        assert_eq!(news.message, "not read for 1 h 1 min: 503 SlowDown");
        lateness.store = Some(ago(0));
        assert!(lateness.news(Task::Store, &unread(61), &config).is_none());
        let news = lateness.news(Task::Store, &good(), &config).unwrap();
        assert_eq!(news.kind, Kind::Recovered);
        // One that was never read was tried since the beginning.
        let never = Status {
            scanned_at: None,
            ..unread(0)
        };
        let lateness = |begun| Lateness::since(begun).news(Task::Store, &never, &config);
        assert!(lateness(ago(1)).is_none() && lateness(ago(2)).is_some());
    }
}
