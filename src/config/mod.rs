//! Configuration: what was written, checked once, so that the rest of the code never asks again.
//!
//! - [`keys`]: every [`key`], its variable, what it means; [`bounds`]: of its number.
//! - [`environment`]: which variables are ours.
//! - [`load`]: file, environment and flags to one tree.
//! - [`promises`]: objectives and schedules.
//! - [`notify`]: the keys of who is told.
//! - [`restore`]: how restores run.
//! - [`retention`]: which backups stay.
//! - `schema`: the schema of the file, made by asking the rest (tests only).
//! - [`serve`]: the keys of the status page.
//! - [`verify`]: the keys of drills; [`pod`]: those of scratch pods.
//!
//! This file turns the tree into [`Config`], whose parts belong to the modules that use them.

pub mod bounds;
pub mod environment;
pub mod key;
pub mod keys;
pub mod load;
pub mod notify;
pub mod pod;
pub mod promises;
pub mod restore;
pub mod retention;
#[cfg(test)]
mod schema;
pub mod serve;
pub mod verify;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::archive::codec::Codec;
use crate::archive::write::WriteOptions;
use crate::archive::write::commit::ReadBack;
use crate::cli::GlobalArgs;
use crate::config::environment::Unknown;
use crate::config::notify::RawNotify;
use crate::config::promises::{RawObjectives, RawSchedules, Schedules};
use crate::config::restore::{RawRestore, RestoreConfig};
use crate::config::retention::{RawRetention, RetentionConfig};
use crate::config::serve::{RawServe, ServeConfig};
use crate::config::verify::{RawVerify, VerifyConfig};
use crate::drill::scratch::Choice;
use crate::error::{Error, Result};
use crate::notify::NotifyConfig;
use crate::objectives::Objectives;
use crate::server::{Role, Secret, ServerConfig, ServerUrl};
use crate::source::scope::Scope;
use crate::source::{Ddl, NonTransactional, SourceOptions, Want};
use crate::store::StoreConfig;
use crate::store::keys::TargetName;

/// Everything that was configured, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The target's name.
    pub target: TargetName,
    /// Where archives live.
    pub store: StoreConfig,
    /// How backups are made.
    pub backup: BackupConfig,
    /// How restores run.
    pub restore: RestoreConfig,
    /// How drills run.
    pub verify: VerifyConfig,
    /// Who is told when a run fails.
    pub notify: NotifyConfig,
    /// What was declared.
    pub objectives: Objectives,
    /// When what runs.
    pub schedule: Schedules,
    /// Which backups stay.
    pub retention: RetentionConfig,
    /// Where the status page is.
    pub serve: ServeConfig,
    /// Variables that look like drctl's and are not.
    pub unknown_variables: Vec<Unknown>,
    source: RawServer,
    into: RawServer,
}

/// How backups are made.
#[derive(Debug, Clone)]
pub struct BackupConfig {
    /// What of the source, and under which policies.
    pub source: SourceOptions,
    /// How the archive is written.
    pub write: WriteOptions,
    /// How much is read again before the commit.
    pub read_back: ReadBack,
    /// A backup that lost more than this share of rows or bytes is suspect; 0 to 1.
    pub shrink_limit: f64,
    /// How often a dump is begun when the server's objects move under it.
    pub attempts: u32,
    /// How long the first connection is tried for.
    pub connect: Duration,
    /// When the run is ended.
    pub deadline: Option<Duration>,
    /// Labels of every backup.
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
struct Raw {
    target: Option<TargetName>,
    store: Option<StoreConfig>,
    #[serde(default)]
    source: RawServer,
    #[serde(default)]
    into: RawServer,
    #[serde(default)]
    backup: RawBackup,
    #[serde(default)]
    restore: RawRestore,
    #[serde(default)]
    verify: RawVerify,
    #[serde(default)]
    objectives: RawObjectives,
    #[serde(default)]
    schedule: RawSchedules,
    #[serde(default)]
    retention: RawRetention,
    #[serde(default)]
    serve: RawServe,
    #[serde(default)]
    notify: RawNotify,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct RawServer {
    url: Option<String>,
    user: Option<String>,
    password: Option<Secret>,
    password_file: Option<PathBuf>,
    client_dir: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
struct RawBackup {
    schemas: Option<Vec<String>>,
    exclude_schemas: Option<Vec<String>>,
    coordinates: Option<Want>,
    accounts: Option<Want>,
    ddl: Option<Ddl>,
    #[serde(default)]
    churn: Vec<String>,
    non_transactional: Option<NonTransactional>,
    max_lag_seconds: Option<u64>,
    codec: Option<Codec>,
    level: Option<i32>,
    read_back: Option<ReadBack>,
    shrink_limit: Option<f64>,
    attempts: Option<u32>,
    connect_seconds: Option<u64>,
    deadline_seconds: Option<u64>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

impl Config {
    /// Reads file, environment and flags, and checks all of it.
    pub fn load(global: &GlobalArgs) -> Result<Config> {
        let unknown_variables = environment::unknown(std::env::vars_os())?;
        for unknown in &unknown_variables {
            tracing::warn!("{unknown}");
        }
        let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let (mut tree, file) = load::load(global.config.as_deref(), &env)?;
        for (path, flag) in [("target", &global.target), ("store.url", &global.store)] {
            if let Some(text) = flag {
                load::set(&mut tree, path, Value::String(text.clone()));
            }
        }
        tracing::debug!(file = ?file, "configured");
        bounds::check(&tree)?;
        Ok(Config {
            unknown_variables,
            ..Config::check(typed(tree)?)?
        })
    }

    fn check(raw: Raw) -> Result<Config> {
        let store = raw
            .store
            .ok_or_else(|| missing("store", "s3://bucket/prefix or file:///dir"))?;
        store.check()?;
        let restore = raw.restore.check()?;
        let schedule = raw.schedule.check()?;
        let client_dir = raw
            .into
            .client_dir
            .clone()
            .or_else(|| raw.source.client_dir.clone());
        Ok(Config {
            target: raw
                .target
                .ok_or_else(|| missing("target", "a short name, like shop"))?,
            store,
            backup: raw.backup.check()?,
            verify: raw.verify.check(restore.lanes, client_dir)?,
            restore,
            objectives: raw.objectives.check(),
            retention: raw.retention.check(schedule.zone.clone())?,
            schedule,
            serve: raw.serve.check()?,
            notify: raw.notify.check()?,
            unknown_variables: Vec::new(),
            source: raw.source,
            into: raw.into,
        })
    }

    /// The server to dump.
    pub fn source(&self) -> Result<ServerConfig> {
        let url = self.source.url.as_deref();
        let url = url.ok_or_else(|| missing("source.url", "mysql://user@host:3306"))?;
        self.source.server(url.parse()?, Role::Source)
    }

    /// Whether a server to dump is configured at all, be it well or badly.
    pub fn names_source(&self) -> bool {
        self.source.url.is_some()
    }

    /// Whether a server to restore into is configured at all, be it well or badly.
    pub fn names_restore_target(&self) -> bool {
        self.into.url.is_some() || self.into.user.is_some()
    }

    /// The server to restore into: `flag`, else `into.url`, else the source's address with
    /// `into.user`.
    pub fn restore_into(&self, flag: Option<&str>) -> Result<ServerConfig> {
        let named = flag.or(self.into.url.as_deref());
        let url: ServerUrl = match (named, &self.into.user, &self.source.url) {
            (Some(url), ..) => url.parse()?,
            (None, Some(user), Some(source)) => source.parse::<ServerUrl>()?.with_user(user),
            _ => {
                return Err(Error::usage("no server to restore into is configured").hint(
                    "give --into URL or set DRCTL_INTO_URL; or DRCTL_INTO_USER for the source's \
                     address (the backup account only reads)",
                ));
            }
        };
        let mut server = self.into.server(url, Role::Into)?;
        server.client_dir = server.client_dir.or_else(|| self.source.client_dir.clone());
        Ok(server)
    }

    /// The throw-away server of drills: `flag`, else `verify.scratch`.
    pub fn scratch(&self, flag: Option<&str>) -> Result<Choice> {
        match flag.unwrap_or(&self.verify.scratch) {
            "local" => Ok(Choice::Local),
            "pod" => Ok(Choice::Pod(Box::new(self.verify.pod.clone()))),
            url => {
                let raw = RawServer {
                    password: self.verify.scratch_password.clone(),
                    password_file: self.verify.scratch_password_file.clone(),
                    client_dir: self.verify.drill.client_dir.clone(),
                    ..RawServer::default()
                };
                let server = raw.server(url.parse()?, Role::Into)?;
                Ok(Choice::Given(Box::new(server)))
            }
        }
    }
}

impl RawServer {
    fn server(&self, url: ServerUrl, role: Role) -> Result<ServerConfig> {
        let password = match (&self.password, &self.password_file) {
            (Some(_), Some(_)) => {
                return Err(Error::usage(format!(
                    "both {0}_PASSWORD and {0}_PASSWORD_FILE are set",
                    role.key()
                ))
                .hint("keep the file"));
            }
            (Some(password), None) => Some(password.clone()),
            (None, Some(path)) => {
                let named = format!("{}_PASSWORD_FILE", role.key());
                Some(Secret::read(path, &named)?)
            }
            (None, None) => None,
        };
        Ok(ServerConfig {
            url,
            password,
            client_dir: self.client_dir.clone(),
            role,
        })
    }
}

impl RawBackup {
    fn check(self) -> Result<BackupConfig> {
        let codec = self.codec.unwrap_or(Codec::Zstd);
        let mut write = WriteOptions::new(codec);
        if let Some(level) = self.level {
            let levels = codec.levels();
            if !levels.contains(&level) {
                return Err(Error::usage(format!(
                    "backup.level {level} is not a level of {codec:?}"
                ))
                .hint(format!("it has {} to {}", levels.start(), levels.end())));
            }
            write.level = level;
        }
        let scope = match (self.schemas, self.exclude_schemas) {
            (Some(_), Some(_)) => {
                return Err(
                    Error::usage("both backup.schemas and backup.exclude_schemas are set")
                        .hint("name the schemas to take, or those to leave out"),
                );
            }
            (Some(schemas), None) => Scope::Only(schemas),
            (None, except) => Scope::All {
                except: except.unwrap_or_default(),
            },
        };
        let shrink_limit = self.shrink_limit.unwrap_or(0.5);
        if !(0.0..=1.0).contains(&shrink_limit) {
            return Err(Error::usage("backup.shrink_limit is not between 0 and 1"));
        }
        Ok(BackupConfig {
            source: SourceOptions {
                scope,
                churn: self.churn,
                coordinates: self.coordinates.unwrap_or_default(),
                accounts: self.accounts.unwrap_or_default(),
                ddl: self.ddl.unwrap_or_default(),
                non_transactional: self.non_transactional.unwrap_or_default(),
                max_lag: Duration::from_secs(self.max_lag_seconds.unwrap_or(300)),
            },
            write,
            read_back: self.read_back.unwrap_or_default(),
            shrink_limit,
            attempts: self.attempts.unwrap_or(3),
            connect: Duration::from_secs(self.connect_seconds.unwrap_or(60)),
            deadline: deadline(self.deadline_seconds),
            labels: self.labels,
        })
    }
}

/// A deadline as it is configured, seconds; 0 is none.
fn deadline(seconds: Option<u64>) -> Option<Duration> {
    let seconds = seconds.filter(|seconds| *seconds > 0);
    seconds.map(Duration::from_secs)
}

/// Types a tree; the message names the value that does not fit, its key where only one is wrong, and
/// never a password.
fn typed(tree: Value) -> Result<Raw> {
    serde_json::from_value(tree.clone()).map_err(|error| {
        let mut keys = keys::all().map(|key| key.path);
        let wrong = keys.find(|path| serde_json::from_value::<Raw>(without(&tree, path)).is_ok());
        let wrong = wrong.unwrap_or("the configuration");
        Error::usage(format!("{wrong} does not fit: {error}"))
    })
}

fn without(tree: &Value, path: &str) -> Value {
    let mut rest = tree.clone();
    let (above, name) = path.rsplit_once('.').unwrap_or(("", path));
    let mut names = above.split('.').filter(|name| !name.is_empty());
    let place = names.try_fold(&mut rest, |place, name| place.get_mut(name));
    if let Some(map) = place.and_then(Value::as_object_mut) {
        map.remove(name);
    }
    rest
}

fn missing(path: &str, example: &str) -> Error {
    let name = match path {
        "store" => "DRCTL_STORE".to_owned(),
        path => keys::variable(path),
    };
    Error::usage(format!("{path} is not configured"))
        .hint(format!("set {name}, or {path}: in the file, to {example}"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    impl Config {
        /// That of docs/drctl.yaml, for tests.
        pub(crate) fn example() -> Config {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/drctl.yaml");
            let (tree, _) = load::load(Some(&file), &|_| None).unwrap();
            Config::check(typed(tree).unwrap()).unwrap()
        }
    }

    #[test]
    fn the_example_of_the_documentation_is_a_whole_configuration() {
        let config = Config::example();
        assert_eq!(config.target.to_string(), "shop");
        assert_eq!(config.restore.lanes, Some(4));
        assert_eq!(config.backup.labels["team"], "platform");
        assert_eq!(config.objectives.rpo.map(|rpo| rpo.as_hours()), Some(26));
        assert_eq!(config.schedule.zone.iana_name(), Some("Europe/Berlin"));
    }

    #[test]
    fn a_value_that_does_not_fit_is_refused_with_its_key() {
        for (path, value, named, why) in [
            ("backup.codec", "lzma", "backup.codec", "unknown variant"),
            ("restore.lanes", "many", "restore.lanes", "invalid type"),
            ("store.url", "ftp://x", "the configuration", "the store URL"),
        ] {
            let mut tree = serde_json::json!({"target": "shop"});
            load::set(&mut tree, path, value.into());
            let error = typed(tree).unwrap_err().to_string();
            let begin = format!("{named} does not fit: {why}");
            assert!(error.starts_with(&begin), "{error}");
        }
    }
}
