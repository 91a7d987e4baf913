//! What can go wrong, as a person meets it: one line, one exit code, one next step.
//!
//! Every module below the commands returns [`Error`] (or a leaf error that turns into one); only
//! `main` prints it and ends the process. The exit codes are a contract: scripts and a Job's
//! `podFailurePolicy` branch on them, and nothing outside this file names a number.

use std::fmt;

/// The result of anything that can fail in front of a person.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// How a run ended. The order of severity is [`Outcome::severity`], not the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// 0: done.
    Done,
    /// 1: a bug or a condition nobody foresaw.
    Unexpected,
    /// 2: the command line or the configuration is wrong.
    Usage,
    /// 3: there is nothing to act on: no such backup, an empty store.
    NothingToDo,
    /// 4: the source server or its dump failed.
    Source,
    /// 5: the store failed: unreachable, denied, full.
    Store,
    /// 6: the archive is damaged, or holds something that must not be executed.
    Archive,
    /// 7: restored data differ from the dump, or a check failed.
    Verification,
    /// 8: an objective was missed although the data are right.
    Objective,
    /// 9: refused for safety, or committed as suspect.
    Refused,
    /// 10: the server being restored into failed.
    Server,
    /// 11: another run holds what this one needs.
    Held,
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
    /// How something ended.
    pub fn of(error: Option<&Error>) -> Outcome {
        error.map_or(Outcome::Done, Error::outcome)
    }

    /// Every outcome with its exit code and the words of the public table; `--help`, the README
    /// and the tests are held to this one list.
    pub const TABLE: &'static [(Outcome, u8, &'static str)] = &[
        (Outcome::Done, 0, "done"),
        (Outcome::Unexpected, 1, "unexpected failure"),
        (Outcome::Usage, 2, "usage or configuration"),
        (Outcome::NothingToDo, 3, "nothing to act on"),
        (Outcome::Source, 4, "the source failed"),
        (Outcome::Store, 5, "the store failed"),
        (Outcome::Archive, 6, "the archive is damaged or not allowed"),
        (
            Outcome::Verification,
            7,
            "verification failed: data differ or a check failed",
        ),
        (
            Outcome::Objective,
            8,
            "an objective was missed though the data are right",
        ),
        (
            Outcome::Refused,
            9,
            "refused for safety, or committed as suspect",
        ),
        (Outcome::Server, 10, "the target or scratch server failed"),
        (Outcome::Held, 11, "another run holds this"),
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

    /// Whether a signal ended it.
    pub fn is_cancelled(self) -> bool {
        matches!(
            self,
            Outcome::HungUp | Outcome::Interrupted | Outcome::Quit | Outcome::Terminated
        )
    }

    /// Whether the same run may succeed in a while, with nobody having done anything.
    pub fn may_pass(self) -> bool {
        use Outcome::{Deadline, Server, Source, Store};
        matches!(self, Source | Store | Server | Deadline)
    }

    /// What to do next where a failure does not know better; none where there is nothing to do,
    /// or where somebody else chose the end.
    fn usual_step(self) -> Option<&'static str> {
        Some(match self {
            Outcome::Unexpected => "report it with the log",
            Outcome::Usage => "correct it; see drctl --help and docs/config.md",
            Outcome::NothingToDo => "see drctl list",
            Outcome::Source => "look at the server's and drctl's log, and run the backup again",
            Outcome::Store => "check that the store is reachable and has space, then run it again",
            Outcome::Archive => "use another backup, and find out what changed this one",
            Outcome::Server => "look at the server's log; the same command resumes",
            _ => return None,
        })
    }

    /// Where several things failed at once the most severe names the exit code:
    /// 6 > 7 > 9 > 10 > 5 > 4 > 8, then everything else.
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

/// One failure: what happened to what, and what to do next.
///
/// `Display` is the one line a person reads; the chain of causes behind it goes to the log.
/// Nothing secret may enter any of its texts.
#[derive(Debug)]
pub struct Error {
    /// Which exit code this failure has.
    outcome: Outcome,
    /// What happened, to what; no final full stop.
    what: String,
    /// What to do next, as an imperative, where the usual step of the outcome is not the right one.
    hint: Option<String>,
    /// The underlying failure, for the log.
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
    /// Whether the same work, begun anew at once, may succeed.
    passing: bool,
    /// Whether the connection to a server is gone, or none could be made.
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
            passing: false,
            lost: false,
        }
    }

    /// Says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(one_line(&hint.into()));
        self
    }

    /// Keeps the underlying failure for the log, and its text in the line.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let cause = cause.into();
        // What a panic says may quote data.
        let text = match cause.downcast_ref::<tokio::task::JoinError>() {
            Some(error) if error.is_panic() => "a bug: see the log".to_owned(),
            _ => one_line(&cause.to_string()),
        };
        self.what = format!("{}: {text}", self.what);
        self.cause = Some(cause);
        self
    }

    /// Keeps the underlying failure for the log, where the line says its gist already.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Puts what was being attempted in front: "restore shop: …".
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.what = format!("{doing}: {}", self.what);
        self
    }

    /// Says in the same line what failed besides, as of cleaning up, with what to do about it.
    #[must_use]
    pub fn also(mut self, other: &Error) -> Self {
        self.what = format!("{}; also: {other}", self.what);
        self
    }

    /// Says that the same work, begun anew at once, may succeed.
    #[must_use]
    pub fn passing(mut self) -> Self {
        self.passing = true;
        self
    }

    /// Whether the same work, begun anew at once, may succeed.
    pub fn is_passing(&self) -> bool {
        self.passing
    }

    /// Says that the connection to a server is gone, or that none could be made: the same work may
    /// succeed on another one.
    #[must_use]
    pub fn lost(mut self) -> Self {
        self.lost = true;
        self
    }

    /// Says that whatever could be done about a lost connection was done.
    #[must_use]
    pub fn final_loss(mut self) -> Self {
        self.lost = false;
        self
    }

    /// Whether the connection to a server is gone, or none could be made.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// Which exit code this failure has.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// What happened, without the hint.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// What to do next, where there is something to do.
    pub fn next_step(&self) -> Option<&str> {
        self.hint.as_deref().or(self.outcome.usual_step())
    }

    /// Of two failures of one run, the one that names the exit code; the first on a tie.
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
    /// Exit 1: a bug or a condition nobody foresaw.
    unexpected => Unexpected,
    /// Exit 2: the command line or the configuration is wrong.
    usage => Usage,
    /// Exit 3: there is nothing to act on.
    nothing => NothingToDo,
    /// Exit 4: the source server or its dump failed.
    source => Source,
    /// Exit 5: the store failed.
    store => Store,
    /// Exit 6: the archive is damaged, or holds something that must not be executed.
    archive => Archive,
    /// Exit 7: restored data differ from the dump, or a check failed.
    verification => Verification,
    /// Exit 9: refused for safety.
    refused => Refused,
    /// Exit 10: the server being restored into failed.
    server => Server,
    /// Exit 11: another run holds what this one needs.
    held => Held,
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

/// Server messages carry newlines; a failure is one line.
/// One line that moves no cursor, whatever data it quotes.
fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.contains(char::is_control) {
        true => line.replace(char::is_control, "\u{fffd}"),
        false => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_severe_failure_names_the_exit_code() {
        let order = [6, 7, 9, 10, 5, 4, 8];
        let of = |code: u8| Outcome::TABLE.iter().find(|row| row.1 == code).unwrap().0;
        for pair in order.windows(2) {
            let (high, low) = (Error::new(of(pair[0]), "a"), Error::new(of(pair[1]), "b"));
            assert_eq!(low.most_severe(high).outcome().code(), pair[0]);
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
    fn an_error_that_knows_no_next_step_has_the_usual_one() {
        let line = Error::archive("frame 5 has 2 rows, the index says 1").to_string();
        assert!(line.ends_with("; use another backup, and find out what changed this one"));
        let ended = Error::new(Outcome::Terminated, "cancelled by SIGTERM");
        assert_eq!(ended.to_string(), "cancelled by SIGTERM");
    }
}
