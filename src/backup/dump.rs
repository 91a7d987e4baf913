//! Arguments of the dump program, and the running dump.
//!
//! Every option that affects the dump is set explicitly, so that it does not depend on built-in defaults.

use std::time::Duration;

use bytes::BytesMut;

use crate::archive::manifest::Coordinates;
use crate::backup::coordinates::Watch;
use crate::mysql::client::dump_options::{HISTORY, Need, OPTIONS};
use crate::mysql::{Client, DumpChild, unfiltered_session};
use crate::{Error, Result};

/// Maximum length of a statement in a dump: the limit of the protocol.
pub const MAX_STATEMENT_BYTES: u64 = 1 << 30;

/// How long the dump may wait for a lock (a metadata lock, or the global read lock for coordinates), if the client
/// supports a limit: writers queue behind it.
const LOCK_WAIT: Duration = Duration::from_secs(60);

/// What to dump, and with which options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpPlan {
    /// The schemas, in the order of the dump. Never empty.
    pub schemas: Vec<String>,
    /// Whether the dump contains the binary log coordinates as a comment. On MySQL this needs the global read lock for a
    /// moment.
    pub coordinates: bool,
    /// Whether the history of MariaDB's system-versioned tables is dumped.
    pub history: bool,
    /// Whether the program dumps the rows, too.
    pub rows: bool,
}

impl DumpPlan {
    /// The arguments for a dump program, without the login, so they contain no secret.
    ///
    /// # Errors
    ///
    /// The program does not support a required option (exit 2), or there is nothing to dump (exit 3).
    pub fn arguments(&self, client: &Client) -> Result<Vec<String>> {
        self.arguments_as(&|option| client.knows(option))
    }

    /// The arguments without the schemas, as recorded in the manifest.
    pub fn options(&self, client: &Client) -> Result<Vec<String>> {
        let mut arguments = self.arguments(client)?;
        arguments.truncate(arguments.len() - self.schemas.len() - 2);
        Ok(arguments)
    }

    /// `knows`: whether the program supports a long option, given without dashes.
    fn arguments_as(&self, knows: &dyn Fn(&str) -> bool) -> Result<Vec<String>> {
        if self.schemas.is_empty() {
            return Err(Error::nothing("there is no schema to dump")
                .hint("create one, or correct the list of schemas"));
        }
        let mut arguments: Vec<String> = Vec::new();
        for &(option, need) in OPTIONS {
            // `skip-x` and `x=y` are listed as `x`.
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
        arguments.extend(unfiltered_session::init_command(knows, &session));
        if !self.rows {
            arguments.push("--no-data".into());
        }
        // A schema may be named `-x` or `--all-databases`.
        arguments.extend(["--databases".into(), "--".into()]);
        arguments.extend(self.schemas.iter().cloned());
        Ok(arguments)
    }
}

/// A running dump, which is searched for coordinates. Dropping it kills the dump program.
#[derive(Debug)]
pub struct Dump {
    child: DumpChild,
    watch: Watch,
    /// Whether [`Dump::new_position`] has not yet returned the position.
    awaits_position: bool,
    /// GTIDs at the position, if the dump does not contain them, or why they are not known.
    gtid: Result<Option<String>>,
}

impl Dump {
    /// Wraps a dump that was just started.
    pub fn of(child: DumpChild) -> Dump {
        Dump {
            child,
            watch: Watch::default(),
            awaits_position: true,
            gtid: Ok(None),
        }
    }

    /// Appends the next bytes of the dump to `buffer`: [`DumpChild::read`].
    pub async fn read(&mut self, buffer: &mut BytesMut) -> Result<usize> {
        let before = buffer.len();
        let count = self.child.read(buffer).await?;
        self.watch.push(&buffer[before..]);
        Ok(count)
    }

    /// File and position of the snapshot, returned once, as soon as the dump has named them.
    pub fn new_position(&mut self) -> Option<Coordinates> {
        if !self.awaits_position {
            return None;
        }
        let position = self.watch.found();
        self.awaits_position = position.is_none() && self.watch.is_open();
        position
    }

    /// Sets the GTIDs at the position.
    pub fn set_gtid(&mut self, gtid: Result<Option<String>>) {
        self.gtid = gtid;
    }

    /// Stops the dump early: [`DumpChild::stop`].
    pub async fn stop(self) {
        self.child.stop().await;
    }

    /// A warning, if the GTIDs are unknown; to be called at the end of the dump.
    pub fn warning(&self) -> Option<String> {
        let why = self.gtid.as_ref().err()?;
        Some(format!("the GTIDs of the snapshot are not recorded: {why}"))
    }

    /// Binary log coordinates of the snapshot; to be called at the end of the dump.
    pub fn coordinates(&self) -> Option<Coordinates> {
        let found = self.watch.found()?;
        let gtid = found.gtid.or_else(|| self.gtid.as_ref().ok()?.clone());
        Some(Coordinates { gtid, ..found })
    }
}

fn unknown(option: &str) -> Error {
    Error::usage(format!("the dump program does not support --{option}"))
        .hint("set client_dir to a newer client")
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
            rows: true,
        }
    }

    /// The arguments for a program that supports all options but these.
    fn arguments(plan: &DumpPlan, unknown: &[&str]) -> Result<Vec<String>> {
        plan.arguments_as(&|option| !option.starts_with("skip-") && !unknown.contains(&option))
    }

    #[test]
    fn an_empty_plan_does_not_dump_everything() {
        let error = arguments(&plan(&[]), &[]).unwrap_err();
        assert_eq!(error.outcome(), Outcome::NothingToDo);
    }

    #[test]
    fn a_program_without_a_required_option_is_refused() {
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
    fn optional_options_that_a_program_does_not_support_are_omitted() {
        let with = arguments(&plan(&["shop"]), &[]).unwrap();
        assert!(with.contains(&"--skip-masking-policies".to_owned()));
        let unknown = ["masking-policies", "column-statistics", "set-gtid-purged"];
        let without = arguments(&plan(&["shop"]), &unknown).unwrap();
        assert_eq!(with.len(), without.len() + unknown.len());
    }

    #[test]
    fn coordinates_use_the_option_of_the_program_and_limit_the_wait() {
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
    fn a_schema_with_the_name_of_an_option_is_a_schema() {
        let arguments = arguments(&plan(&["--all-databases", "a b"]), &[]).unwrap();
        let end = &arguments[arguments.len() - 4..];
        assert_eq!(end, ["--databases", "--", "--all-databases", "a b"]);
    }
}
