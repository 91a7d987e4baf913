//! What happened: of which target, by which task, and which alert that is.

use jiff::Timestamp;

use crate::error::Outcome;
use crate::store::keys::{BackupId, TargetName};

/// What kind of news it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A run failed.
    Failed,
    /// A run should have been made, and was not.
    Late,
    /// A run succeeded, and the one before had failed.
    Recovered,
    /// A run succeeded, as the one before did.
    Succeeded,
    /// Somebody tries whether alerts arrive.
    Test,
}

impl Kind {
    /// The word in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Failed => "failed",
            Kind::Late => "late",
            Kind::Recovered => "recovered",
            Kind::Succeeded => "succeeded",
            Kind::Test => "test",
        }
    }

    /// Whether all is well.
    pub fn is_good(self) -> bool {
        matches!(self, Kind::Recovered | Kind::Succeeded)
    }
}

/// What was to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Making a backup.
    Backup,
    /// Proving one.
    Verify,
    /// Reading the store, which `serve` does all the time.
    Store,
}

impl Task {
    /// The verb, as in the names of run records; of the store there are none.
    pub fn as_str(self) -> &'static str {
        match self {
            Task::Backup => "backup",
            Task::Verify => "verify",
            Task::Store => "store",
        }
    }
}

/// An alert by the name that the rules and the runbooks have for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alert {
    /// `DrctlBackupFailed`
    pub name: &'static str,
    /// `critical` wakes somebody, `warning` waits for the morning.
    pub severity: &'static str,
}

impl Alert {
    /// Somebody tries whether alerts arrive.
    pub const TEST: Alert = warning("DrctlTest");

    /// Every alert that a task can raise: what its success ends.
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
        match task {
            Task::Backup => BACKUP,
            Task::Verify => VERIFY,
            Task::Store => STORE,
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

/// One piece of news.
#[derive(Debug, Clone)]
pub struct Event {
    /// What kind of news.
    pub kind: Kind,
    /// Whether somebody only tries; the message is marked.
    pub test: bool,
    /// Of which target.
    pub target: TargetName,
    /// What was to be done.
    pub task: Task,
    /// How it ended.
    pub outcome: Outcome,
    /// The backup that was made or used.
    pub backup: Option<BackupId>,
    /// One line for people: what happened, to what; what to do.
    pub message: String,
    /// When.
    pub at: Timestamp,
}

impl Event {
    /// The alert that it raises; of good news the one that it ends first.
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

    /// A headline.
    pub fn summary(&self) -> String {
        let (target, task) = (&self.target, self.task.as_str());
        let mark = if self.test { "[test] " } else { "" };
        match self.kind {
            Kind::Failed => format!("{mark}{task} of {target} failed"),
            Kind::Late => format!("{mark}{task} of {target} is late"),
            Kind::Recovered => format!("{mark}{task} of {target} works again"),
            Kind::Succeeded => format!("{mark}{task} of {target} is done"),
            Kind::Test => format!("{mark}drctl alert-test for {target}"),
        }
    }
}
