//! Failures as the user sees them: one line, one exit code, one next step.
//!
//! Every module below the commands returns [`Error`] or a leaf error that converts into it; only `main`
//! prints it and ends the process. The exit codes are a contract: scripts and a Job's `podFailurePolicy`
//! depend on them, and no other file names a number.

use std::fmt;

/// Result of a fallible operation whose error can reach the user.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Outcome of a run. [`Outcome::severity`] is the order of severity, not the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// 0: done.
    Done,
    /// 1: a bug or an unexpected condition.
    Unexpected,
    /// 2: the command line or the configuration is wrong.
    Usage,
    /// 3: nothing to act on: no such backup, an empty store.
    NothingToDo,
    /// 4: the target or its dump failed.
    Source,
    /// 5: the store failed: unreachable, denied, full.
    Store,
    /// 6: the archive is damaged, or contains a statement that must not be executed.
    Archive,
    /// 7: restored data differ from the dump, or a check failed.
    Verification,
    /// 8: an objective was missed; the data are correct.
    Objective,
    /// 9: refused for safety, or committed as suspect.
    Refused,
    /// 10: the destination or scratch server failed.
    Server,
    /// 11: another run holds a lock that this one needs.
    Locked,
    /// 12: the deadline passed.
    Deadline,
    /// 129: cancelled by SIGHUP.
    HungUp,
    /// 130: cancelled by SIGINT.
    Interrupted,
    /// 131: cancelled by SIGQUIT.
    Quit,
    /// 143: cancelled by SIGTERM.
    Terminated,
}

impl Outcome {
    /// Outcome of an operation: that of its error, or [`Outcome::Done`].
    pub fn of(error: Option<&Error>) -> Outcome {
        error.map_or(Outcome::Done, Error::outcome)
    }

    /// Every outcome with its exit code and the wording of the public table; tests compare `--help` and the
    /// README with this list.
    pub const TABLE: &'static [(Outcome, u8, &'static str)] = &[
        (Outcome::Done, 0, "done"),
        (Outcome::Unexpected, 1, "unexpected failure"),
        (Outcome::Usage, 2, "usage or configuration"),
        (Outcome::NothingToDo, 3, "nothing to act on"),
        (Outcome::Source, 4, "the target or its dump failed"),
        (Outcome::Store, 5, "the store failed"),
        (Outcome::Archive, 6, "the archive is damaged or rejected"),
        (
            Outcome::Verification,
            7,
            "verification failed: data differ or a check failed",
        ),
        (
            Outcome::Objective,
            8,
            "an objective was missed; the data are correct",
        ),
        (
            Outcome::Refused,
            9,
            "refused for safety, or committed as suspect",
        ),
        (
            Outcome::Server,
            10,
            "the destination or scratch server failed",
        ),
        (Outcome::Locked, 11, "locked by another run"),
        (Outcome::Deadline, 12, "deadline exceeded"),
        (Outcome::HungUp, 129, "cancelled by SIGHUP"),
        (Outcome::Interrupted, 130, "cancelled by SIGINT"),
        (Outcome::Quit, 131, "cancelled by SIGQUIT"),
        (Outcome::Terminated, 143, "cancelled by SIGTERM"),
    ];

    /// The process exit code.
    pub fn code(self) -> u8 {
        Self::TABLE
            .iter()
            .find(|row| row.0 == self)
            .map_or(1, |row| row.1)
    }

    /// The outcome with this exit code.
    pub fn of_code(code: i32) -> Option<Outcome> {
        let mut rows = Self::TABLE.iter();
        rows.find(|row| i32::from(row.1) == code).map(|row| row.0)
    }

    /// The wording of the public table.
    pub fn meaning(self) -> &'static str {
        let mut rows = Self::TABLE.iter();
        rows.find(|row| row.0 == self)
            .map_or("unknown", |row| row.2)
    }

    /// Whether a signal ended the run.
    pub fn is_cancelled(self) -> bool {
        matches!(
            self,
            Outcome::HungUp | Outcome::Interrupted | Outcome::Quit | Outcome::Terminated
        )
    }

    /// Whether a later run may succeed without any change by an operator.
    pub fn is_transient(self) -> bool {
        use Outcome::{Deadline, Server, Source, Store};
        matches!(self, Source | Store | Server | Deadline)
    }

    /// Next step for failures without a specific hint. `None` if nothing needs doing, or if a signal or a
    /// deadline ended the run.
    fn usual_step(self) -> Option<&'static str> {
        Some(match self {
            Outcome::Unexpected => "this is a bug; report it with the log",
            Outcome::Usage => "correct it; see drctl --help and docs/config.md",
            Outcome::NothingToDo => "see drctl list",
            Outcome::Source => "check the server's log and drctl's log, then run the backup again",
            Outcome::Store => "check that the store is reachable and has space, then run it again",
            Outcome::Archive => {
                "use another backup, and find out what changed this one in the store"
            }
            Outcome::Server => "check the server's log; the same command resumes",
            _ => return None,
        })
    }

    /// Severity: if several operations failed, the most severe outcome determines the exit code: 6 > 7 > 9
    /// > 10 > 5 > 4 > 8, then all others.
    pub fn severity(self) -> u8 {
        match self {
            Outcome::Archive => 8,
            Outcome::Verification => 7,
            Outcome::Refused => 6,
            Outcome::Server => 5,
            Outcome::Store => 4,
            Outcome::Source => 3,
            Outcome::Objective => 2,
            Outcome::Done => 0,
            _ => 1,
        }
    }
}

/// One failure: the failed operation, its object, and the next step.
///
/// `Display` is the line printed for the user; the chain of causes goes to the log. No text of an error may
/// contain a secret.
#[derive(Debug)]
pub struct Error {
    /// Determines the exit code.
    outcome: Outcome,
    /// What failed, and on which object; without a final full stop.
    what: String,
    /// Next step, as an imperative. `None`: the usual step of the outcome applies.
    hint: Option<String>,
    /// The underlying failure, for the log.
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
    /// Whether an immediate retry of the same work may succeed.
    retryable: bool,
    /// Whether the connection to a server was lost or could not be made.
    lost: bool,
}

impl Error {
    /// A failure with the given outcome. Prefer the named constructors.
    pub fn new(outcome: Outcome, what: impl Into<String>) -> Self {
        Error {
            outcome,
            what: one_line(&what.into()),
            hint: None,
            cause: None,
            retryable: false,
            lost: false,
        }
    }

    /// Sets the next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(one_line(&hint.into()));
        self
    }

    /// Sets the cause, for the log, and appends its text to the line.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let cause = cause.into();
        // A panic message may quote data.
        let text = match cause.downcast_ref::<tokio::task::JoinError>() {
            Some(error) if error.is_panic() => "a bug; see the log".to_owned(),
            _ => one_line(&cause.to_string()),
        };
        self.what = format!("{}: {text}", self.what);
        self.cause = Some(cause);
        self
    }

    /// Sets the cause, for the log only; the line already covers it.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Prefixes the failed operation: "restore shop: …".
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.what = format!("{doing}: {}", self.what);
        self
    }

    /// Appends a secondary failure, such as one of the cleanup, with its hint.
    #[must_use]
    pub fn also(mut self, other: &Error) -> Self {
        self.what = format!("{}; also: {other}", self.what);
        self
    }

    /// Marks the failure as retryable: an immediate retry of the same work may succeed.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }

    /// Whether an immediate retry of the same work may succeed.
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }

    /// Marks the connection to a server as lost or impossible: the same work may succeed on another
    /// connection.
    #[must_use]
    pub fn lost(mut self) -> Self {
        self.lost = true;
        self
    }

    /// Marks a lost connection as not recoverable: all reconnects were tried.
    #[must_use]
    pub fn final_loss(mut self) -> Self {
        self.lost = false;
        self
    }

    /// Whether the connection to a server was lost or could not be made.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// Determines the exit code.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// What failed, without the hint.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Next step. `None` if nothing needs doing.
    pub fn next_step(&self) -> Option<&str> {
        self.hint.as_deref().or(self.outcome.usual_step())
    }

    /// The more severe of two failures of one run, which determines the exit code; the first on a tie.
    #[must_use]
    pub fn most_severe(self, other: Error) -> Error {
        if other.outcome.severity() > self.outcome.severity() {
            other
        } else {
            self
        }
    }
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $outcome:ident),* $(,)?) => {
        impl Error {
            $($(#[$doc])* pub fn $name(what: impl Into<String>) -> Self {
                Error::new(Outcome::$outcome, what)
            })*
        }
    };
}

constructors! {
    /// Exit 1: a bug or an unexpected condition.
    unexpected => Unexpected,
    /// Exit 2: the command line or the configuration is wrong.
    usage => Usage,
    /// Exit 3: nothing to act on.
    nothing => NothingToDo,
    /// Exit 4: the target or its dump failed.
    source => Source,
    /// Exit 5: the store failed.
    store => Store,
    /// Exit 6: the archive is damaged, or contains a statement that must not be executed.
    archive => Archive,
    /// Exit 7: restored data differ from the dump, or a check failed.
    verification => Verification,
    /// Exit 9: refused for safety.
    refused => Refused,
    /// Exit 10: the destination or scratch server failed.
    server => Server,
    /// Exit 11: another run holds a lock that this one needs.
    locked => Locked,
    /// Exit 12: the deadline passed.
    deadline => Deadline,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match self.next_step() {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

/// Replaces newlines of server messages and control characters of quoted data, so that a failure is one
/// line.
fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.contains(char::is_control) {
        line.replace(char::is_control, "\u{fffd}")
    } else {
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_severe_failure_names_the_exit_code() {
        let order = [6, 7, 9, 10, 5, 4, 8];
        let of = |code| Outcome::of_code(code).unwrap();
        for pair in order.windows(2) {
            let (high, low) = (Error::new(of(pair[0]), "a"), Error::new(of(pair[1]), "b"));
            assert_eq!(i32::from(low.most_severe(high).outcome().code()), pair[0]);
        }
    }

    #[test]
    fn an_error_is_one_line_with_its_next_step() {
        let error = Error::source("mysqldump failed\nwith two lines").hint("look at the log");
        assert_eq!(
            error.to_string(),
            "mysqldump failed with two lines; look at the log"
        );
    }

    #[test]
    fn an_error_without_a_hint_has_the_usual_one() {
        let line = Error::archive("frame 5 has 2 rows, the index says 1").to_string();
        assert!(
            line.ends_with("; use another backup, and find out what changed this one in the store")
        );
        let ended = Error::new(Outcome::Terminated, "cancelled by SIGTERM");
        assert_eq!(ended.to_string(), "cancelled by SIGTERM");
    }
}
