//! Notifications of missing events: an overdue backup or drill, a log that is not archived, a second store that is
//! behind, or a store that stays unreadable; by the conditions of the alert rules, for installations without Prometheus.
//!
//! Sends one notification per condition, and one when it ends. This state is kept in memory: after a
//! restart a condition is notified again, since a duplicate is better than a gap.

use jiff::{SignedDuration, Timestamp};

use crate::monitor::notify::{self, Event, Kind, NotifyConfig, Task};
use crate::monitor::problems::{overdue_backup, overdue_drill, unreadable_store};
use crate::monitor::status::Status;
use crate::util::error::Outcome;
use crate::util::format::span;
use crate::util::times::{minutes, signed};

/// How long `serve` runs before it reports that the log is not archived.
const STREAM_GRACE: SignedDuration = minutes(5);

/// The tasks that have a condition.
const ALL: [Task; 5] = [
    Task::Store,
    Task::Backup,
    Task::Verify,
    Task::Stream,
    Task::Copy,
];

/// For each task, since when its condition has been notified.
#[derive(Debug)]
pub struct OverdueNotifier {
    backup: Option<Timestamp>,
    verify: Option<Timestamp>,
    store: Option<Timestamp>,
    stream: Option<Timestamp>,
    copy: Option<Timestamp>,
    /// When the process began to scan.
    begun: Timestamp,
}

impl OverdueNotifier {
    /// State in which nothing was notified yet.
    pub fn since(begun: Timestamp) -> OverdueNotifier {
        OverdueNotifier {
            backup: None,
            verify: None,
            store: None,
            stream: None,
            copy: None,
            begun,
        }
    }

    /// Sends notifications of conditions that began or ended.
    pub async fn notify(&mut self, config: &NotifyConfig, status: &Status) {
        if config.addresses().is_empty() {
            return;
        }
        for task in ALL {
            let Some(event) = self.due_event(task, status, config) else {
                continue;
            };
            tracing::warn!(
                task = task.as_str(),
                message = event.message,
                "{}",
                event.summary()
            );
            let deliveries = notify::deliver(config, &event).await;
            // If every notifier failed, the next scan retries.
            if deliveries.is_empty() || deliveries.iter().any(|delivery| delivery.error.is_none()) {
                *self.notified_at(task) = (!event.kind.is_good()).then_some(status.now);
            }
        }
    }

    /// Since when the condition of a task has been notified; `None` if it was not.
    fn notified_at(&mut self, task: Task) -> &mut Option<Timestamp> {
        match task {
            Task::Backup => &mut self.backup,
            Task::Verify => &mut self.verify,
            Task::Store => &mut self.store,
            Task::Stream => &mut self.stream,
            Task::Copy => &mut self.copy,
        }
    }

    /// The notification due for a task now, if any.
    fn due_event(&mut self, task: Task, status: &Status, config: &NotifyConfig) -> Option<Event> {
        let (late, over) = match task {
            Task::Backup => {
                let late = overdue_backup(status).map(|age| overdue_message("backup", age, status));
                (late, "a new backup exists")
            }
            Task::Verify => {
                let late = overdue_drill(status)
                    .map(|age| overdue_message("verified restore", age, status));
                (late, "a restore was verified")
            }
            Task::Store => {
                let unread = unreadable_store(status, self.begun);
                let what = |(age, why)| format!("unreadable for {}: {why}", span(age));
                (unread.map(what), "the store is readable again")
            }
            Task::Stream => {
                // A streamer that was just configured, or a server that was just restarted, gets some minutes.
                let running = status.now.duration_since(self.begun) > STREAM_GRACE;
                let late = status.uncovered().filter(|_| running);
                let what = |age| {
                    format!(
                        "nothing of the binary log was archived for {}; check whether drctl stream runs, and its last line",
                        span(age)
                    )
                };
                (late.map(what), "the binary log is archived again")
            }
            Task::Copy => {
                let copy = status.scan.copy.as_ref();
                let late = copy.and_then(|copy| copy.behind(status.scan.known_since, status.now));
                let what = |age| {
                    format!(
                        "the second store is {} behind; check whether drctl copy runs, and its last line",
                        span(age)
                    )
                };
                (late.map(what), "the second store is up to date again")
            }
        };
        let bad = match task {
            Task::Store => (Kind::Failed, Outcome::Store),
            _ => (Kind::Late, Outcome::Done),
        };
        // Alertmanager ends an alert that is not repeated.
        let hold = signed(config.hold / 2);
        let ((kind, outcome), message) = match (late, *self.notified_at(task)) {
            (Some(late), None) => (bad, late),
            (Some(late), Some(notified)) if status.now.duration_since(notified) > hold => {
                (bad, late)
            }
            (None, Some(notified)) => {
                if run_notified(status, task, notified) {
                    *self.notified_at(task) = None;
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

fn overdue_message(what: &str, age: SignedDuration, status: &Status) -> String {
    let age = span(age);
    let known = match status.failing {
        Some(_) => " (possibly outdated: the store is unreadable)",
        None => "",
    };
    format!(
        "no {what} for {age}{known}: more than two intervals of its schedule; check whether its runs start, and how they end"
    )
}

/// Whether the run that ended the condition sent its own notification, as it does after a failure.
fn run_notified(status: &Status, task: Task, since: Timestamp) -> bool {
    status.scan.records.iter().any(|record| {
        let notifiers = ["webhook", "slack"];
        record.verb == task.as_str()
            && record.exit == 0
            && record.ended_at > since
            && record
                .notify
                .iter()
                .any(|delivery| notifiers.contains(&delivery.notifier.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::status_fixture::{ago, backup, good, hours, now, record, streamed, with};

    /// The event that would be sent now, given when the last one was sent.
    fn kind(status: &Status, notified: Option<Timestamp>) -> Option<Kind> {
        let mut overdue = OverdueNotifier {
            backup: notified,
            ..OverdueNotifier::since(ago(1000))
        };
        // Two days.
        let config = NotifyConfig::example();
        let event = overdue.due_event(Task::Backup, status, &config);
        event.map(|event| event.kind)
    }

    #[test]
    fn a_condition_is_notified_once_and_again_before_its_alert_expires() {
        let late = with(|scan| scan.backups = vec![backup(100)]);
        assert_eq!(kind(&late, None), Some(Kind::Late));
        assert_eq!(kind(&late, Some(ago(1))), None);
        assert_eq!(kind(&late, Some(ago(24))), None);
        assert_eq!(kind(&late, Some(ago(24) - hours(1))), Some(Kind::Late));
    }

    #[test]
    fn its_end_is_notified_unless_the_run_that_ended_it_did() {
        assert_eq!(kind(&good(), None), None);
        let unreported = with(|scan| scan.records.clear());
        assert_eq!(kind(&unreported, Some(ago(20))), Some(Kind::Recovered));
        let reported = with(|scan| {
            let recovered = record("backup", 10, 0, &[("webhook", true)]);
            scan.records = vec![recovered];
        });
        assert_eq!(kind(&reported, Some(ago(20))), None);
        // Resolved an earlier condition.
        assert_eq!(kind(&reported, Some(ago(5))), Some(Kind::Recovered));
    }

    #[test]
    fn a_log_that_is_no_longer_archived_is_notified_and_so_is_its_recovery() {
        let config = NotifyConfig::example();
        let behind = |h| streamed(|log| log.head.covered_until = Some(ago(h)));
        let mut overdue = OverdueNotifier::since(ago(2));
        assert!(
            overdue
                .due_event(Task::Stream, &behind(26), &config)
                .is_none(),
            "the objective is 26 hours"
        );
        let event = overdue
            .due_event(Task::Stream, &behind(27), &config)
            .unwrap();
        assert_eq!(
            (event.kind, event.alert().name),
            (Kind::Late, "DrctlLogNotCovered")
        );
        overdue.stream = Some(ago(1));
        let event = overdue
            .due_event(Task::Stream, &behind(0), &config)
            .unwrap();
        assert_eq!(event.kind, Kind::Recovered);
        let mut young = OverdueNotifier::since(now());
        assert!(
            young
                .due_event(Task::Stream, &behind(27), &config)
                .is_none()
        );
    }

    #[test]
    fn a_store_unreadable_for_an_hour_is_notified_and_so_is_its_recovery() {
        let config = NotifyConfig::example();
        let unread = |minutes| {
            let mut status = good();
            status.failing = Some("503 SlowDown".into());
            status.scanned_at = Some(status.now - SignedDuration::from_mins(minutes));
            status
        };
        let mut overdue = OverdueNotifier::since(ago(2));
        assert!(
            overdue
                .due_event(Task::Store, &unread(59), &config)
                .is_none()
        );
        let event = overdue
            .due_event(Task::Store, &unread(61), &config)
            .unwrap();
        assert_eq!((event.kind, event.outcome), (Kind::Failed, Outcome::Store));
        assert_eq!(event.message, "unreadable for 1 h 1 min: 503 SlowDown");
        overdue.store = Some(ago(0));
        assert!(
            overdue
                .due_event(Task::Store, &unread(61), &config)
                .is_none()
        );
        let event = overdue.due_event(Task::Store, &good(), &config).unwrap();
        assert_eq!(event.kind, Kind::Recovered);
        // A store that was never read counts from the start of the process.
        let never = Status {
            scanned_at: None,
            ..unread(0)
        };
        let overdue = |begun| OverdueNotifier::since(begun).due_event(Task::Store, &never, &config);
        assert!(overdue(ago(1)).is_none() && overdue(ago(2)).is_some());
    }
}
