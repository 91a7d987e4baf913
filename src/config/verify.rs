//! The keys of `verify`: what was written, checked.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::config::key::{ConfigKey, Form, key};
use crate::config::pod::RawPod;
use crate::config::{bounds, deadline};
use crate::drill::DrillConfig;
use crate::drill::checks::{Assertion, Holds};
use crate::drill::scratch::pod::config::PodConfig;
use crate::error::{Error, Result};
use crate::server::Secret;

/// When a drill is ended where nothing is configured.
const DEADLINE_SECONDS: u64 = 86_400;

/// What a time in an assertion is called.
const CHECKS: &str = "verify.checks: a time of an assertion";

/// How `verify` runs.
#[derive(Debug, Clone)]
pub struct VerifyConfig {
    /// How drills run.
    pub drill: DrillConfig,
    /// When the run is ended.
    pub deadline: Option<Duration>,
    /// `local`, `pod`, or the URL of an empty server.
    pub scratch: String,
    /// How scratch pods are made.
    pub pod: PodConfig,
    /// The password of that server's account.
    pub scratch_password: Option<Secret>,
    /// A file that holds it.
    pub scratch_password_file: Option<PathBuf>,
}

/// The keys, as [`crate::config::keys`] has those of the rest.
pub(super) const KEYS: &[ConfigKey] = &[
    key(
        "verify.scratch",
        Form::Text,
        "The throw-away server of drills: `local` (default) starts one on this machine, `pod` in a pod of a Kubernetes cluster; or the URL of an empty one, as in `source.url`.",
    ),
    key(
        "verify.scratch_password",
        Form::Text,
        "The password of that URL's account. Prefer `verify.scratch_password_file`.",
    ),
    key(
        "verify.scratch_password_file",
        Form::Text,
        "A file whose content, less one final newline, is the password.",
    ),
    key(
        "verify.server_dirs",
        Form::List,
        "Directories of server programs (`mysqld`, `mariadbd`) for local scratch servers; the one of the backup's flavour and version line is taken. Default: PATH, `/usr/sbin` and the like.",
    ),
    key(
        "verify.scratch_dir",
        Form::Text,
        "Where local scratch servers keep their data. Default: `TMPDIR`, else `/tmp`.",
    ),
    key(
        "verify.boot_seconds",
        Form::Scalar,
        "How long a scratch server of drctl's own may take to answer. Default 120.",
    ),
    key(
        "verify.client_path_every",
        Form::Scalar,
        "Every so many drills one restores through the plain client. Default 7; 0 for never.",
    ),
    key(
        "verify.production_every",
        Form::Scalar,
        "Every so many drills one has the durability of the target, and measures the RTO. Default 7; 0 for never.",
    ),
    key(
        "verify.checks",
        Form::Items,
        "Assertions about the restored data: a list of `sql` (one field), one of `equals`, `at_least` or `fresh_within_seconds` (a time in UTC, held against the snapshot's), and `name`, `timeout_seconds` (default 60). As a variable: JSON.",
    ),
    key(
        "verify.check_table",
        Form::Scalar,
        "`true`: the server runs CHECK TABLE on every table, too. Default false.",
    ),
    key(
        "verify.deadline_seconds",
        Form::Scalar,
        "The run is ended after this (exit 12), and its scratch server with it. Default 86400, a day; 0 for never.",
    ),
];

/// As it was written.
#[derive(Debug, Default, Deserialize)]
pub(super) struct RawVerify {
    scratch: Option<String>,
    scratch_password: Option<Secret>,
    scratch_password_file: Option<PathBuf>,
    #[serde(default)]
    server_dirs: Vec<PathBuf>,
    scratch_dir: Option<PathBuf>,
    boot_seconds: Option<u64>,
    deadline_seconds: Option<u64>,
    client_path_every: Option<u32>,
    production_every: Option<u32>,
    #[serde(default)]
    checks: Vec<RawCheck>,
    check_table: Option<bool>,
    #[serde(default)]
    pod: RawPod,
}

/// One assertion as it was written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCheck {
    name: Option<String>,
    sql: String,
    equals: Option<serde_json::Value>,
    at_least: Option<f64>,
    fresh_within_seconds: Option<u64>,
    timeout_seconds: Option<u64>,
}

impl RawVerify {
    pub(super) fn check(
        self,
        lanes: Option<usize>,
        client_dir: Option<PathBuf>,
    ) -> Result<VerifyConfig> {
        let assertions: Result<Vec<Assertion>> =
            self.checks.into_iter().map(RawCheck::check).collect();
        // One that hangs would hold up all later ones, and nobody would hear of it.
        let deadline = deadline(Some(self.deadline_seconds.unwrap_or(DEADLINE_SECONDS)));
        Ok(VerifyConfig {
            pod: self.pod.check(deadline)?,
            drill: DrillConfig {
                server_dirs: self.server_dirs,
                scratch_dir: self.scratch_dir.unwrap_or_else(std::env::temp_dir),
                client_dir,
                boot: Duration::from_secs(self.boot_seconds.unwrap_or(120)),
                client_path_every: self.client_path_every.unwrap_or(7),
                production_every: self.production_every.unwrap_or(7),
                lanes,
                assertions: assertions?,
                check_table: self.check_table.unwrap_or(false),
            },
            deadline,
            scratch: self.scratch.unwrap_or_else(|| "local".to_owned()),
            scratch_password: self.scratch_password,
            scratch_password_file: self.scratch_password_file,
        })
    }
}

impl RawCheck {
    fn check(self) -> Result<Assertion> {
        let name = self.name.unwrap_or_else(|| self.sql.clone());
        let holds = match (self.equals, self.at_least, self.fresh_within_seconds) {
            (Some(serde_json::Value::String(text)), None, None) => Holds::Equals(text),
            (Some(value @ serde_json::Value::Number(_)), None, None) => {
                Holds::Equals(value.to_string())
            }
            (None, Some(least), None) => Holds::AtLeast(least),
            (None, None, Some(seconds)) => {
                Holds::FreshWithin(Duration::from_secs(bounds::seconds(CHECKS, seconds)?))
            }
            _ => {
                return Err(Error::usage(format!(
                    "verify.checks: {name:?} does not say what it must return"
                ))
                .hint("give one of equals (a text or a number), at_least, fresh_within_seconds"));
            }
        };
        Ok(Assertion {
            name,
            sql: self.sql,
            holds,
            timeout: Duration::from_secs(bounds::seconds(
                CHECKS,
                self.timeout_seconds.unwrap_or(60),
            )?),
        })
    }
}
