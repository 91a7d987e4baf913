//! Section `verify`.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::config::pod::PodSection;
use crate::config::restore::RestoreConfig;
use crate::reader::Reader;
use crate::util::error::{Error, Result};
use crate::util::secret::Secret;
use crate::util::times::{MOST_SECONDS, Seconds};
use crate::verify::DrillConfig;
use crate::verify::checks::{Assertion, Requirement};
use crate::verify::scratch::pod::config::PodConfig;

/// How `verify` runs.
#[derive(Debug, Clone)]
pub struct VerifyConfig {
    /// How drills run.
    pub drill: DrillConfig,
    /// Time limit of a run; `None` for none.
    pub deadline: Option<Duration>,
    /// `local`, `pod`, or the URL of an empty server.
    pub scratch: String,
    /// How scratch pods are created.
    pub pod: PodConfig,
    /// Password of the account in that URL.
    pub scratch_password: Option<Secret>,
    /// File with that password.
    pub scratch_password_file: Option<PathBuf>,
}

/// How drills run.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct VerifySection {
    /// Scratch server of drills: `local` starts one on this machine, `pod` starts one in a pod of a Kubernetes
    /// cluster; or the URL of an empty server, as in `source.url`.
    scratch: String,
    /// Password of the account in that URL. Prefer the file.
    #[schemars(with = "Option<String>")]
    scratch_password: Option<Secret>,
    /// File with the password; one final newline is ignored.
    scratch_password_file: Option<PathBuf>,
    /// Directories of server programs (`mysqld`, `mariadbd`) for local scratch servers; the program of the
    /// backup's flavour and release series is used. Default: PATH, `/usr/sbin` and other usual places.
    server_dirs: Vec<PathBuf>,
    /// Directory for the data of local scratch servers. Default: `TMPDIR`, else `/tmp`.
    scratch_dir: Option<PathBuf>,
    /// Directory in which initialised data directories of local scratch servers are cached, about 100 MB for
    /// each server program; a drill then starts in a second. `off`: every drill initialises its own. Default:
    /// `XDG_CACHE_HOME/drctl`, else `~/.cache/drctl`.
    cache_dir: Option<PathBuf>,
    /// Time limit for a scratch server to accept connections.
    #[schemars(range(min = 1, max = MOST_SECONDS))]
    boot_seconds: Seconds,
    /// Every Nth drill restores through the plain client; 0: never.
    #[schemars(range(max = 10_000))]
    client_path_every: u32,
    /// Every Nth drill uses the durability settings of the target and measures the RTO; 0: never.
    #[schemars(range(max = 10_000))]
    production_every: u32,
    /// Every Nth drill is followed by one of the archived binary log: an earlier backup, with the log replayed behind
    /// it, has to equal the newest backup; 0: never. Without an archived log there is none.
    #[schemars(range(max = 10_000))]
    pitr_every: u32,
    /// Assertions about the restored data: a list of `sql` (returns one field), one of `equals`, `at_least` and
    /// `fresh_within_seconds` (a time in UTC, compared with that of the snapshot), and optionally `name` and
    /// `timeout_seconds` (default 60). As a variable: JSON.
    checks: Vec<CheckItem>,
    /// Whether the scratch server also runs CHECK TABLE on every table.
    check_table: bool,
    /// Time limit of a drill (exit 12); its scratch server is stopped, too. 0: none.
    #[schemars(range(max = MOST_SECONDS))]
    deadline_seconds: Seconds,
    pod: PodSection,
}

impl Default for VerifySection {
    fn default() -> Self {
        VerifySection {
            scratch: "local".to_owned(),
            scratch_password: None,
            scratch_password_file: None,
            server_dirs: Vec::new(),
            scratch_dir: None,
            cache_dir: None,
            boot_seconds: Seconds(120),
            client_path_every: 7,
            production_every: 7,
            pitr_every: 7,
            checks: Vec::new(),
            check_table: false,
            // A drill that hangs would block all later ones without an alert.
            deadline_seconds: Seconds(86_400),
            pod: PodSection::default(),
        }
    }
}

/// An assertion. Exactly one of the three requirements is set.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    json!({"required": ["equals"]}),
    json!({"required": ["at_least"]}),
    json!({"required": ["fresh_within_seconds"]}),
]))]
struct CheckItem {
    name: Option<String>,
    sql: String,
    #[schemars(extend("type" = ["string", "number"]))]
    equals: Option<serde_json::Value>,
    at_least: Option<f64>,
    #[schemars(range(max = MOST_SECONDS))]
    fresh_within_seconds: Option<Seconds>,
    #[schemars(range(max = MOST_SECONDS))]
    timeout_seconds: Option<Seconds>,
}

impl VerifySection {
    pub(super) fn check(
        self,
        restore: &RestoreConfig,
        reader: Reader,
        client_dir: Option<PathBuf>,
    ) -> Result<VerifyConfig> {
        let assertions: Result<Vec<Assertion>> =
            self.checks.into_iter().map(CheckItem::check).collect();
        let deadline = self.deadline_seconds.limit();
        Ok(VerifyConfig {
            pod: self.pod.check(deadline)?,
            drill: DrillConfig {
                server_dirs: self.server_dirs,
                scratch_dir: self.scratch_dir.unwrap_or_else(std::env::temp_dir),
                cache_dir: cache_dir(self.cache_dir),
                client_dir,
                boot: self.boot_seconds.duration(),
                client_path_every: self.client_path_every,
                production_every: self.production_every,
                pitr_every: self.pitr_every,
                lanes: restore.lanes,
                loader: restore.loader,
                reader,
                assertions: assertions?,
                check_table: self.check_table,
            },
            deadline,
            scratch: self.scratch,
            scratch_password: self.scratch_password,
            scratch_password_file: self.scratch_password_file,
        })
    }
}

/// The directory for initialised data directories; `None`: no cache.
fn cache_dir(configured: Option<PathBuf>) -> Option<PathBuf> {
    let variable = |name| {
        let dir = PathBuf::from(std::env::var_os(name)?);
        dir.is_absolute().then_some(dir)
    };
    match configured {
        Some(dir) if dir.as_os_str() == "off" => None,
        Some(dir) => Some(dir),
        None => variable("XDG_CACHE_HOME")
            .or_else(|| Some(variable("HOME")?.join(".cache")))
            .map(|dir| dir.join("drctl")),
    }
}

impl CheckItem {
    fn check(self) -> Result<Assertion> {
        let name = self.name.unwrap_or_else(|| self.sql.clone());
        let requirement = match (self.equals, self.at_least, self.fresh_within_seconds) {
            (Some(serde_json::Value::String(text)), None, None) => Requirement::Equals(text),
            (Some(value @ serde_json::Value::Number(_)), None, None) => {
                Requirement::Equals(value.to_string())
            }
            (None, Some(least), None) => Requirement::AtLeast(least),
            (None, None, Some(seconds)) => Requirement::FreshWithin(bounded(seconds)?),
            _ => {
                return Err(Error::usage(format!(
                    "verify.checks: {name:?} has no single requirement"
                ))
                .hint("set one of equals (a string or a number), at_least, fresh_within_seconds"));
            }
        };
        Ok(Assertion {
            name,
            sql: self.sql,
            requirement,
            timeout: bounded(self.timeout_seconds.unwrap_or(Seconds(60)))?,
        })
    }
}

/// A time in an assertion.
fn bounded(seconds: Seconds) -> Result<Duration> {
    if seconds.0 > MOST_SECONDS {
        return Err(Error::usage(format!(
            "verify.checks: a time of an assertion is not between 0 and {MOST_SECONDS}"
        )));
    }
    Ok(seconds.duration())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drill_ends_after_a_day_unless_another_deadline_or_none_is_configured() {
        let deadline = |seconds: Option<u64>| {
            let mut section = VerifySection::default();
            if let Some(seconds) = seconds {
                section.deadline_seconds = Seconds(seconds);
            }
            section
                .check(&RestoreConfig::default(), Reader::Native, None)
                .unwrap()
                .deadline
        };
        assert_eq!(deadline(None), Some(Duration::from_secs(24 * 60 * 60)));
        assert_eq!(deadline(Some(5)), Some(Duration::from_secs(5)));
        assert_eq!(deadline(Some(0)), None);
    }
}
