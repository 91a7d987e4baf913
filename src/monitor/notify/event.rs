//! Notification events: target, task, outcome, and the alert they correspond to.

use jiff::Timestamp;

use crate::layout::{BackupId, TargetName};
use crate::util::error::Outcome;

/// Kind of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A run failed.
    Failed,
    /// A scheduled run is overdue.
    Late,
    /// A run succeeded after a failure.
    Recovered,
    /// A run succeeded after a success.
    Succeeded,
    /// A test of alert delivery.
    Test,
}

impl Kind {
    /// The word used in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Failed => "failed",
            Kind::Late => "late",
            Kind::Recovered => "recovered",
            Kind::Succeeded => "succeeded",
            Kind::Test => "test",
        }
    }

    /// Whether the event reports a success.
    pub fn is_good(self) -> bool {
        matches!(self, Kind::Recovered | Kind::Succeeded)
    }
}

/// The task that an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Creating a backup.
    Backup,
    /// Verifying a backup.
    Verify,
    /// Reading the store, as `serve` does periodically.
    Store,
    /// Archiving the binary log.
    Stream,
    /// Copying to the second store.
    Copy,
}

impl Task {
    /// The verb, as in the names of run records; the store has no run records.
    pub fn as_str(self) -> &'static str {
        match self {
            Task::Backup => "backup",
            Task::Verify => "verify",
            Task::Store => "store",
            Task::Stream => "stream",
            Task::Copy => "copy",
        }
    }
}

/// An alert, under its name in the alert rules and runbooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alert {
    /// `DrctlBackupFailed`
    pub name: &'static str,
    /// `critical` pages the on-call engineer; `warning` can wait until morning.
    pub severity: &'static str,
}

impl Alert {
    /// The alert of a delivery test.
    pub const TEST: Alert = warning("DrctlTest");

    /// Every alert that a task can raise; a success of the task resolves all of them.
    pub fn of(task: Task) -> &'static [Alert] {
        const BACKUP: &[Alert] = &[
            warning("DrctlBackupFailed"),
            critical("DrctlBackupSuspect"),
            critical("DrctlBackupOverdue"),
        ];
        const VERIFY: &[Alert] = &[
            critical("DrctlVerifyFailed"),
            warning("DrctlObjectiveMissed"),
            critical("DrctlVerifyOverdue"),
        ];
        const STORE: &[Alert] = &[critical("DrctlStoreUnreachable")];
        const STREAM: &[Alert] = &[critical("DrctlLogNotCovered")];
        const COPY: &[Alert] = &[warning("DrctlCopyBehind")];
        match task {
            Task::Copy => COPY,
            Task::Backup => BACKUP,
            Task::Verify => VERIFY,
            Task::Store => STORE,
            Task::Stream => STREAM,
        }
    }
}

const fn warning(name: &'static str) -> Alert {
    Alert {
        name,
        severity: "warning",
    }
}

const fn critical(name: &'static str) -> Alert {
    Alert {
        name,
        severity: "critical",
    }
}

/// One event to notify about.
#[derive(Debug, Clone)]
pub struct Event {
    /// Kind of the event.
    pub kind: Kind,
    /// Whether this is a test; the message is marked as one.
    pub test: bool,
    /// The target concerned.
    pub target: TargetName,
    /// The task concerned.
    pub task: Task,
    /// Outcome of the task.
    pub outcome: Outcome,
    /// The backup that was created or used; `None` if there was none.
    pub backup: Option<BackupId>,
    /// One line: what happened to what, and the next step.
    pub message: String,
    /// Time of the event.
    pub at: Timestamp,
}

impl Event {
    /// The alert that the event raises; for a success the first one that it resolves.
    pub fn alert(&self) -> Alert {
        let [failed, more @ ..] = Alert::of(self.task) else {
            return Alert::TEST;
        };
        let suspect =
            self.task == Task::Backup && self.outcome == Outcome::Refused && self.backup.is_some();
        let missed = self.task == Task::Verify && self.outcome == Outcome::Objective;
        match (self.kind, more) {
            (Kind::Test, _) => Alert::TEST,
            (Kind::Late, [_, late]) => *late,
            (_, [other, _]) if suspect || missed => *other,
            _ => *failed,
        }
    }

    /// Headline of the message.
    pub fn summary(&self) -> String {
        let (target, task) = (&self.target, self.task.as_str());
        let mark = if self.test { "[test] " } else { "" };
        match self.kind {
            Kind::Failed => format!("{mark}{task} of {target} failed"),
            Kind::Late => format!("{mark}{task} of {target} is late"),
            Kind::Recovered => format!("{mark}{task} of {target} recovered"),
            Kind::Succeeded => format!("{mark}{task} of {target} succeeded"),
            Kind::Test => format!("{mark}drctl alert-test for {target}"),
        }
    }
}
