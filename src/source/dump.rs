//! From what is to be dumped to the arguments of the dump programs.
//!
//! Every option that changes the dump is given explicitly, in the words that the program at hand
//! knows, so that no compiled-in default decides anything.

use std::time::Duration;

use bytes::BytesMut;

use crate::archive::manifest::Coordinates;
use crate::server::dump_options::{HISTORY, Need, OPTIONS};
use crate::server::{Client, DumpChild, whole};
use crate::source::coordinates::Watch;
use crate::{Error, Result};

/// The longest statement that the dump may hold: the protocol's own limit.
pub const MAX_STATEMENT_BYTES: u64 = 1 << 30;

/// How long the dump may wait for a lock (of metadata, or the global read lock that coordinates
/// take), where the client can be told: behind it the server's writers queue.
const LOCK_WAIT: Duration = Duration::from_secs(60);

/// What is dumped, by which options; the same plan is used again to prove a restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpPlan {
    /// The schemas, in the order in which they are dumped. Never empty.
    pub schemas: Vec<String>,
    /// Whether the binary log's coordinates of the snapshot go into a comment. On MySQL this takes
    /// the global read lock for a moment.
    pub coordinates: bool,
    /// Whether the history of MariaDB's system-versioned tables is dumped.
    pub history: bool,
}

impl DumpPlan {
    /// The arguments of one dump program; the login is elsewhere, so they hold no secret.
    ///
    /// A usage error (exit 2) where the program does not know an option without which the dump
    /// would be another; exit 3 where there is nothing to dump.
    pub fn arguments(&self, client: &Client) -> Result<Vec<String>> {
        self.arguments_as(&|option| client.knows(option))
    }

    /// The arguments without the schemas, for the manifest.
    pub fn options(&self, client: &Client) -> Result<Vec<String>> {
        let mut arguments = self.arguments(client)?;
        arguments.truncate(arguments.len() - self.schemas.len() - 2);
        Ok(arguments)
    }

    /// `knows`: whether the program knows a long option, named without dashes.
    fn arguments_as(&self, knows: &dyn Fn(&str) -> bool) -> Result<Vec<String>> {
        if self.schemas.is_empty() {
            return Err(Error::nothing("there is no schema to dump")
                .hint("create one, or correct the list of schemas"));
        }
        let mut arguments: Vec<String> = Vec::new();
        for &(option, need) in OPTIONS {
            // `skip-x` and `x=y` are known as `x`.
            let name = option.split('=').next().unwrap_or(option);
            match (knows(name.strip_prefix("skip-").unwrap_or(name)), need) {
                (true, _) => arguments.push(format!("--{option}")),
                (false, Need::WhereKnown) => {}
                (false, Need::Always) => return Err(unknown(option)),
            }
        }
        let mut session = Vec::new();
        if self.coordinates {
            let name = ["source-data", "master-data"]
                .into_iter()
                .find(|name| knows(name));
            arguments.push(format!(
                "--{}=2",
                name.ok_or_else(|| unknown("source-data"))?
            ));
            session.push(format!("lock_wait_timeout={}", LOCK_WAIT.as_secs()));
        }
        if self.history {
            if !knows(HISTORY) {
                return Err(unknown(HISTORY));
            }
            arguments.push(format!("--{HISTORY}"));
        }
        arguments.extend(whole::first_statement(knows, &session));
        // A schema may be called `-x` or `--all-databases`.
        arguments.extend(["--databases".into(), "--".into()]);
        arguments.extend(self.schemas.iter().cloned());
        Ok(arguments)
    }
}

/// A running dump, with an eye on the coordinates in its comments. Dropping it kills it.
#[derive(Debug)]
pub struct Dump {
    child: DumpChild,
    watch: Watch,
    /// Whether [`Dump::place`] is still to come.
    unplaced: bool,
    /// The GTIDs of its place, where it does not name them itself, or why they are not known.
    gtid: Result<Option<String>>,
}

impl Dump {
    /// A dump that was just started.
    pub fn of(child: DumpChild) -> Dump {
        Dump {
            child,
            watch: Watch::default(),
            unplaced: true,
            gtid: Ok(None),
        }
    }

    /// Reads the next bytes of the dump behind what is in `buffer`: [`DumpChild::read`].
    pub async fn read(&mut self, buffer: &mut BytesMut) -> Result<usize> {
        let before = buffer.len();
        let count = self.child.read(buffer).await?;
        self.watch.push(&buffer[before..]);
        Ok(count)
    }

    /// File and position of the snapshot, once, as soon as the dump names them.
    pub fn place(&mut self) -> Option<Coordinates> {
        if !self.unplaced {
            return None;
        }
        let place = self.watch.found();
        self.unplaced = place.is_none() && self.watch.is_open();
        place
    }

    /// Adds what was asked about its place.
    pub fn note_gtid(&mut self, gtid: Result<Option<String>>) {
        self.gtid = gtid;
    }

    /// Stops it early: [`DumpChild::stop`].
    pub async fn stop(self) {
        self.child.stop().await;
    }

    /// What a person should know of it, once it has been read.
    pub fn warning(&self) -> Option<String> {
        let why = self.gtid.as_ref().err()?;
        Some(format!("without the GTIDs of the snapshot: {why}"))
    }

    /// The snapshot's place in the binary log, once the dump has been read to its end.
    pub fn coordinates(&self) -> Option<Coordinates> {
        let found = self.watch.found()?;
        let gtid = found.gtid.or_else(|| self.gtid.as_ref().ok()?.clone());
        Some(Coordinates { gtid, ..found })
    }
}

fn unknown(option: &str) -> Error {
    Error::usage(format!("the dump program does not know --{option}"))
        .hint("point client_dir at a newer client")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;

    fn plan(schemas: &[&str]) -> DumpPlan {
        DumpPlan {
            schemas: schemas.iter().map(|s| (*s).to_owned()).collect(),
            coordinates: false,
            history: false,
        }
    }

    /// A program that knows every option but these.
    fn arguments(plan: &DumpPlan, unknown: &[&str]) -> Result<Vec<String>> {
        plan.arguments_as(&|option| !option.starts_with("skip-") && !unknown.contains(&option))
    }

    #[test]
    fn nothing_to_dump_is_an_error_and_not_a_dump_of_everything() {
        let error = arguments(&plan(&[]), &[]).unwrap_err();
        assert_eq!(error.outcome(), Outcome::NothingToDo);
    }

    #[test]
    fn a_program_that_cannot_dump_everything_is_refused() {
        for option in ["events", "single-transaction", "dump-date"] {
            let error = arguments(&plan(&["shop"]), &[option]).unwrap_err();
            assert_eq!(error.outcome(), Outcome::Usage, "{option}");
            assert!(error.to_string().contains(option), "{error}");
        }
        let mut history = plan(&["shop"]);
        history.history = true;
        assert!(arguments(&history, &["dump-history"]).is_err());
    }

    #[test]
    fn what_a_program_does_not_know_and_does_not_need_is_left_out() {
        let with = arguments(&plan(&["shop"]), &[]).unwrap();
        assert!(with.contains(&"--skip-masking-policies".to_owned()));
        let unknown = ["masking-policies", "column-statistics", "set-gtid-purged"];
        let without = arguments(&plan(&["shop"]), &unknown).unwrap();
        assert_eq!(with.len(), without.len() + unknown.len());
    }

    #[test]
    fn coordinates_are_asked_for_in_the_programs_own_words_and_wait_a_bounded_time() {
        let mut plan = plan(&["shop"]);
        plan.coordinates = true;
        let new = arguments(&plan, &[]).unwrap();
        assert!(new.contains(&"--source-data=2".to_owned()));
        assert!(
            new.iter().any(|a| a.contains("lock_wait_timeout=60")),
            "{new:?}"
        );
        let old = arguments(&plan, &["source-data", "init-command"]).unwrap();
        assert!(old.contains(&"--master-data=2".to_owned()));
        assert!(!old.iter().any(|a| a.contains("init-command")));
    }

    #[test]
    fn a_schema_with_the_name_of_an_option_stays_a_schema() {
        let arguments = arguments(&plan(&["--all-databases", "a b"]), &[]).unwrap();
        let end = &arguments[arguments.len() - 4..];
        assert_eq!(end, ["--databases", "--", "--all-databases", "a b"]);
    }
}
