//! The configuration: file, environment and flags, checked once, so that the rest of the code receives checked
//! values.
//!
//! - One file per section, with one struct: each field is a key, with its documentation, default, bounds and
//!   pattern. Some sections belong to the modules that use them: [`StoreConfig`], [`Objectives`], [`StreamConfig`],
//!   [`LeaseConfig`], [`SwitchConfig`], the fence.
//! - `schema`: the JSON schema of these structs; [`keys`]: paths, variables and bounds, read from it.
//! - [`environment`]: variables that look like drctl's, but are not.
//! - [`load`]: merges file and environment.
//!
//! [`Config`] contains the checked configuration, in the types of the modules that use it.

pub mod environment;
pub mod keys;
pub mod load;
pub mod restore;
pub mod retention;
pub mod schedule;
pub mod serve;
pub mod verify;

mod backup;
mod copy;
mod encryption;
mod kind;
mod notify;
mod pod;
mod schema;
mod server;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::backup::BackupConfig;
use crate::config::backup::BackupSection;
use crate::config::copy::CopySection;
use crate::config::encryption::{EncryptionSection, SigningSection};
use crate::config::environment::Unknown;
use crate::config::kind::KindName;
use crate::config::notify::NotifySection;
use crate::config::restore::RestoreConfig;
use crate::config::retention::{RetentionConfig, RetentionSection};
use crate::config::schedule::{ScheduleSection, Schedules};
use crate::config::serve::ServeConfig;
use crate::config::server::{IntoSection, Login, SourceSection};
use crate::config::verify::{VerifyConfig, VerifySection};
use crate::copy::CopyConfig;
use crate::keys::{KeysConfig, Trust};
use crate::kind::Kind;
use crate::layout::TargetName;
use crate::lease::{LeaseConfig, Place};
use crate::monitor::notify::NotifyConfig;
use crate::mysql::{Role, ServerConfig, ServerUrl};
use crate::objectives::Objectives;
use crate::standby::StandbyConfig;
use crate::store::StoreConfig;
use crate::stream::StreamConfig;
use crate::switch::SwitchConfig;
use crate::util::error::{Error, Result};
use crate::util::times::days;
use crate::verify::scratch::Choice;

/// The checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name of the target.
    pub target: TargetName,
    /// Location of the archives.
    pub store: StoreConfig,
    /// How backups are created.
    pub backup: BackupConfig,
    /// How restores run.
    pub restore: RestoreConfig,
    /// How drills run.
    pub verify: VerifyConfig,
    /// The notifiers.
    pub notify: NotifyConfig,
    /// The declared objectives.
    pub objectives: Objectives,
    /// When tasks run.
    pub schedule: Schedules,
    /// Which backups `prune` keeps.
    pub retention: RetentionConfig,
    /// The status page.
    pub serve: ServeConfig,
    /// How the binary log is archived.
    pub stream: StreamConfig,
    /// Encryption and signatures.
    pub keys: KeysConfig,
    /// The second store.
    pub copy: CopyConfig,
    /// Maximum time without a drill with the identity of each recipient; `None` if it is not checked.
    pub identity_drill: Option<SignedDuration>,
    /// How a standby follows the log.
    pub standby: StandbyConfig,
    /// Which side is writable.
    pub lease: LeaseConfig,
    /// What follows the writable side.
    pub switch: SwitchConfig,
    /// Variables that begin with `DRCTL_` and are unknown.
    pub unknown_variables: Vec<Unknown>,
    source: SourceSection,
    into: IntoSection,
}

/// All sections, in the order of the documentation.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Sections {
    /// Short name of the protected server, and prefix of its objects in the store.
    #[schemars(with = "Option<String>")]
    target: Option<TargetName>,
    store: Option<StoreConfig>,
    source: SourceSection,
    into: IntoSection,
    backup: BackupSection,
    restore: RestoreConfig,
    verify: VerifySection,
    objectives: Objectives,
    schedule: ScheduleSection,
    retention: RetentionSection,
    notify: NotifySection,
    serve: ServeConfig,
    stream: StreamConfig,
    encryption: EncryptionSection,
    signing: SigningSection,
    /// File with the private keys that decrypt backups: age identities, or one unencrypted OpenSSH private key. Needed
    /// by restores, drills and `cat`; a backup does not need it.
    identity_file: Option<PathBuf>,
    /// File with the signers whose signatures count, in the format of OpenSSH's `allowed_signers`.
    allowed_signers_file: Option<PathBuf>,
    /// What happens to a backup without a valid signature of an allowed signer: `off`, nothing; `warn`, it is used with a
    /// warning; `require`, it is refused (exit 6) and `--latest` selects another one. Default: `require` with
    /// `allowed_signers_file`, otherwise `off`.
    trust: Option<Trust>,
    copy: CopySection,
    standby: StandbyConfig,
    lease: LeaseConfig,
    switch: SwitchConfig,
}

/// Name of the second store in `--store`.
pub const COPY: &str = "copy";

/// Keys set by flags of the command line.
#[derive(Debug, Default)]
pub struct Overrides<'a> {
    /// Path of the configuration file; `None` searches the default ones.
    pub file: Option<&'a Path>,
    /// `target`.
    pub target: Option<&'a str>,
    /// `store.url`, or [`COPY`].
    pub store: Option<&'a str>,
}

impl Config {
    /// Reads and checks file, environment and flags.
    pub fn load(overrides: &Overrides<'_>) -> Result<Config> {
        let unknown_variables = environment::unknown(std::env::vars_os())?;
        for unknown in &unknown_variables {
            tracing::warn!("{unknown}");
        }
        let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let (mut tree, file) = load::load(overrides.file, &env)?;
        let by_name = overrides.store == Some(COPY);
        let url = overrides.store.filter(|_| !by_name);
        if by_name {
            // The second store replaces the first, which need not be configured.
            let store = copy_as_store(&tree)?;
            load::set(&mut tree, "store", store);
        }
        for (path, flag) in [("target", overrides.target), ("store.url", url)] {
            if let Some(text) = flag {
                load::set(&mut tree, path, Value::String(text.to_owned()));
            }
        }
        tracing::debug!(file = ?file, "configured");
        keys::check_bounds(&tree)?;
        Ok(Config {
            unknown_variables,
            ..Config::check(typed(tree)?)?
        })
    }

    fn check(sections: Sections) -> Result<Config> {
        let store = sections
            .store
            .ok_or_else(|| missing("store", "s3://bucket/prefix or file:///dir"))?;
        store.check()?;
        let reader = sections.source.reader;
        let (source, into) = (sections.source, sections.into);
        let client_dir = into.client_dir.clone().or(source.client_dir.clone());
        let schedule = sections.schedule.check()?;
        Ok(Config {
            target: sections
                .target
                .ok_or_else(|| missing("target", "a short name, like shop"))?,
            store,
            backup: sections
                .backup
                .check(reader, sections.stream.is_configured())?,
            verify: sections
                .verify
                .check(&sections.restore, reader, client_dir)?,
            restore: sections.restore,
            objectives: sections.objectives,
            retention: sections.retention.check(schedule.zone.clone()),
            schedule,
            serve: sections.serve,
            stream: sections.stream,
            keys: KeysConfig {
                recipients: sections.encryption.recipients,
                recipients_file: sections.encryption.recipients_file,
                identity_file: sections.identity_file,
                signing_key_file: sections.signing.key_file,
                allowed_signers_file: sections.allowed_signers_file,
                trust: sections.trust,
            },
            identity_drill: sections.encryption.drill_days.map(days),
            copy: sections.copy.check()?,
            standby: sections.standby,
            lease: sections.lease,
            switch: sections.switch,
            notify: sections.notify.check()?,
            unknown_variables: Vec::new(),
            source,
            into,
        })
    }

    /// The kind of the source.
    pub fn kind_name(&self) -> &'static str {
        self.source.kind.as_str()
    }

    /// The kind of the source, ready to use; `None` for a MySQL or MariaDB server.
    pub fn kind(&self) -> Result<Option<Arc<dyn Kind>>> {
        match self.source.kind {
            KindName::Mysql => Ok(None),
            KindName::Command => self.source.command.check().map(Some),
            KindName::Files => self.source.files.check().map(Some),
            KindName::Postgres => self
                .source
                .postgres
                .check(&self.source.login, &self.into.login)
                .map(Some),
        }
    }

    /// Refuses what only a MySQL or MariaDB server has, where the source is of another kind.
    pub fn require_mysql(&self, what: &str) -> Result<()> {
        match self.source.kind {
            KindName::Mysql => Ok(()),
            kind => Err(Error::usage(format!(
                "{what} needs a MySQL or MariaDB server, but source.kind is {}",
                kind.as_str()
            ))
            .hint("leave it out for this target")),
        }
    }

    /// Where a backup of another kind than MySQL is restored: `flag`, else `into.path`.
    pub fn restore_place(&self, flag: Option<&str>) -> Result<String> {
        let named = flag.or(self.into.path.as_deref());
        named.map(str::to_owned).ok_or_else(|| {
            Error::usage("no place to restore into is configured")
                .hint("give --into DIRECTORY, or set DRCTL_INTO_PATH")
        })
    }

    /// The protected server.
    pub fn source(&self) -> Result<ServerConfig> {
        self.require_mysql("the connection to a server")?;
        let url = self.source.url.as_deref();
        let url = url.ok_or_else(|| missing("source.url", "mysql://user@host:3306"))?;
        let client_dir = self.source.client_dir.clone();
        self.source
            .login
            .server(url.parse()?, client_dir, Role::Source)
    }

    /// Whether a protected server is configured, valid or not.
    pub fn names_source(&self) -> bool {
        self.source.kind == KindName::Mysql && self.source.url.is_some()
    }

    /// Whether a server to restore into is configured, valid or not.
    pub fn names_destination(&self) -> bool {
        self.into.url.is_some() || self.into.user.is_some()
    }

    /// The server to restore into: `flag`, else `into.url`, else the address in `source.url` with `into.user`.
    pub fn restore_into(&self, flag: Option<&str>) -> Result<ServerConfig> {
        self.require_mysql("a server to restore into")?;
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
        let client_dir = self
            .into
            .client_dir
            .clone()
            .or(self.source.client_dir.clone());
        self.into.login.server(url, client_dir, Role::Into)
    }

    /// The store that has the lease.
    pub fn lease_store(&self) -> Result<&StoreConfig> {
        match (self.lease.store, &self.copy.store) {
            (Some(Place::Store), _) | (None, None) => Ok(&self.store),
            (_, Some(copy)) => Ok(copy),
            (Some(Place::Copy), None) => Err(Error::usage(
                "lease.store is copy, but no second store is configured",
            )
            .hint("set copy.to, or lease.store to store")),
        }
    }

    /// The scratch server of drills: `flag`, else `verify.scratch`.
    pub fn scratch(&self, flag: Option<&str>) -> Result<Choice> {
        match flag.unwrap_or(&self.verify.scratch) {
            "local" => Ok(Choice::Local),
            "pod" => Ok(Choice::Pod(Box::new(self.verify.pod.clone()))),
            url => {
                let login = Login {
                    password: self.verify.scratch_password.clone(),
                    password_file: self.verify.scratch_password_file.clone(),
                };
                let client_dir = self.verify.drill.client_dir.clone();
                let server = login.server(url.parse()?, client_dir, Role::Into)?;
                Ok(Choice::External(Box::new(server)))
            }
        }
    }
}

/// The second store as the first: its settings have the same names.
fn copy_as_store(tree: &Value) -> Result<Value> {
    let copy = tree.get("copy").and_then(Value::as_object);
    let mut store = serde_json::Map::new();
    for (name, value) in copy.into_iter().flatten() {
        match name.as_str() {
            "to" => store.insert("url".into(), value.clone()),
            "part_bytes" | "parts_in_flight" | "s3" => store.insert(name.clone(), value.clone()),
            _ => None,
        };
    }
    match store.contains_key("url") {
        true => Ok(Value::Object(store)),
        false => Err(Error::usage("no second store is configured").hint(
            "set DRCTL_COPY_TO, or copy.to: in the file, to s3://bucket/prefix or file:///dir",
        )),
    }
}

/// Deserialises the sections. The message names the key if only one is wrong, and never shows a password.
fn typed(tree: Value) -> Result<Sections> {
    serde_json::from_value(tree.clone()).map_err(|error| {
        let mut keys = keys::all().map(|key| key.path.as_str());
        let wrong =
            keys.find(|path| serde_json::from_value::<Sections>(without(&tree, path)).is_ok());
        let wrong = wrong.unwrap_or("the configuration");
        Error::usage(format!("{wrong} is invalid: {error}"))
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
        /// The configuration in docs/drctl.yaml.
        pub(crate) fn example() -> Config {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/drctl.yaml");
            let (tree, _) = load::load(Some(&file), &|_| None).unwrap();
            Config::check(typed(tree).unwrap()).unwrap()
        }
    }

    #[test]
    fn the_example_of_the_documentation_is_valid() {
        let config = Config::example();
        assert_eq!(config.target.to_string(), "shop");
        assert_eq!(config.restore.lanes, Some(4));
        assert_eq!(config.backup.labels["team"], "platform");
        assert_eq!(config.objectives.rpo.map(|rpo| rpo.as_hours()), Some(26));
        assert_eq!(config.schedule.zone.iana_name(), Some("Europe/Berlin"));
    }

    #[test]
    fn an_invalid_value_is_refused_with_its_key() {
        for (path, value, named, why) in [
            ("backup.codec", "lzma", "backup.codec", "unknown variant"),
            ("restore.lanes", "many", "restore.lanes", "invalid type"),
            (
                "store.url",
                "ftp://x",
                "the configuration",
                "invalid store URL",
            ),
        ] {
            let mut tree = serde_json::json!({"target": "shop"});
            load::set(&mut tree, path, value.into());
            let error = typed(tree).unwrap_err().to_string();
            let begin = format!("{named} is invalid: {why}");
            assert!(error.starts_with(&begin), "{error}");
        }
    }
}
