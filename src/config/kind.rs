//! Sections `source.command`, `source.files` and `source.postgres`: sources other than MySQL.

use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::server::Login;
use crate::entries::lines::Sections;
use crate::entries::record::Format;
use crate::kind::Kind;
use crate::kind::command::CommandKind;
use crate::kind::files::{Changed, FilesKind, OutsideLinks, Owners};
use crate::kind::postgres::PostgresKind;
use crate::kind::postgres::programs::{Connection, Programs};
use crate::kind::program::Manners;
use crate::mysql::Role;
use crate::util::error::{Error, Result};
use crate::util::times::{MOST_SECONDS, Seconds};

/// The kind of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KindName {
    /// A MySQL or MariaDB server.
    #[default]
    Mysql,
    /// The output of a program.
    Command,
    /// A directory.
    Files,
    /// A database of a PostgreSQL server.
    Postgres,
}

impl KindName {
    /// The word of the configuration, and of manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            KindName::Mysql => "mysql",
            KindName::Command => "command",
            KindName::Files => "files",
            KindName::Postgres => "postgres",
        }
    }
}

/// What the ledger of a command's output remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum LedgerName {
    #[default]
    Bytes,
    Lines,
    Tar,
}

/// The programs of kind `command`. Each is a list: the program and its arguments; no shell is involved.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct CommandSection {
    /// The program that writes the backup to its stdout, and its arguments. Passwords belong into variables or files, not
    /// into arguments, which other processes can see.
    stream: Vec<String>,
    /// Regular expression for the last line of a complete backup. Default: the exit status has to suffice.
    trailer: Option<String>,
    /// What is remembered of the stream, and compared: `bytes`, the whole of it; `lines`, in any order; `tar`, the members
    /// of a tar.
    ledger: LedgerName,
    /// With `ledger: lines`, a regular expression for the first line of a section, whose lines are compared by
    /// themselves; its first group is the name of the section.
    section: Option<String>,
    /// The program that restores a backup from its stdin. In its arguments, `{into}` is what `--into` names, or the scratch
    /// directory of a drill.
    restore: Vec<String>,
    /// The program that writes what was restored, as `stream` does; with `{into}`.
    compare: Vec<String>,
    /// Without `compare`: the program that succeeds if what was restored is right; with `{into}`.
    check: Vec<String>,
    /// Names of environment variables that the programs receive; others they do not.
    env: Vec<String>,
    /// Regular expressions for lines on stderr that are harmless; any other line fails the program.
    harmless: Vec<String>,
    /// Time without output after which the program is stopped; 0: no limit.
    #[schemars(range(max = MOST_SECONDS))]
    stall_seconds: Seconds,
}

impl Default for CommandSection {
    fn default() -> Self {
        CommandSection {
            stream: Vec::new(),
            trailer: None,
            ledger: LedgerName::default(),
            section: None,
            restore: Vec::new(),
            compare: Vec::new(),
            check: Vec::new(),
            env: Vec::new(),
            harmless: Vec::new(),
            stall_seconds: Seconds(600),
        }
    }
}

impl CommandSection {
    pub(super) fn check(&self) -> Result<Arc<dyn Kind>> {
        let bad = |key: &str, e: regex::Error| {
            Error::usage(format!("source.command.{key} is no regular expression")).because(e)
        };
        let sections = Sections {
            begin: self.section.clone(),
            ..Sections::default()
        };
        sections.compiled()?;
        let trailer = self.trailer.as_deref().map(regex::bytes::Regex::new);
        let harmless = self.harmless.iter().map(|text| regex::Regex::new(text));
        if self.section.is_some() && self.ledger != LedgerName::Lines {
            return Err(
                Error::usage("source.command.section is set without ledger: lines")
                    .hint("set source.command.ledger to lines, or remove it"),
            );
        }
        Ok(Arc::new(CommandKind {
            stream: self.stream.clone(),
            trailer: trailer.transpose().map_err(|e| bad("trailer", e))?,
            format: match self.ledger {
                LedgerName::Bytes => Format::Bytes,
                LedgerName::Lines => Format::Lines(sections),
                LedgerName::Tar => Format::Tar,
            },
            restore: self.restore.clone(),
            compare: self.compare.clone(),
            check: self.check.clone(),
            manners: Manners {
                env: self.env.clone(),
                harmless: harmless
                    .collect::<Result<_, _>>()
                    .map_err(|e| bad("harmless", e))?,
                stall: self.stall_seconds.limit(),
                section: "source.command",
                ..Manners::default()
            },
        }))
    }
}

/// The directory of kind `files`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct FilesSection {
    /// The directory to back up; absolute.
    path: Option<PathBuf>,
    /// Patterns of what is left out, relative to the directory: `*` and `?` match within a name, `**` across directories.
    /// What is below a match is left out, too.
    exclude: Vec<String>,
    /// What happens to a backup if files change while they are read, each time: `fail`, or `warn`, where the warnings name
    /// them. A directory is no snapshot: prefer to back up a snapshot of its volume.
    changed: Changed,
    /// Whether owner and group are backed up and restored, by number: `keep` or `ignore`. To restore those of other
    /// accounts takes root.
    owners: Owners,
    /// Whether symbolic links that point out of the directory are backed up and restored: `refuse` or `keep`. They are
    /// never followed.
    outside_links: OutsideLinks,
}

impl FilesSection {
    pub(super) fn check(&self) -> Result<Arc<dyn Kind>> {
        let path = match &self.path {
            Some(path) if path.is_absolute() => path.clone(),
            Some(path) => {
                return Err(Error::usage(format!(
                    "source.files.path {} is not absolute",
                    path.display()
                )));
            }
            None => {
                return Err(Error::usage("source.files.path is not configured")
                    .hint("set it to the directory to back up"));
            }
        };
        let exclude = self.exclude.iter().map(|pattern| glob(pattern));
        Ok(Arc::new(FilesKind {
            path,
            exclude: exclude.collect::<Result<_>>()?,
            changed: self.changed,
            owners: self.owners,
            outside_links: self.outside_links,
        }))
    }
}

/// Whether the passwords of roles are backed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum RolePasswords {
    #[default]
    Keep,
    Ignore,
}

/// The database of kind `postgres`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct PostgresSection {
    /// The database: `postgresql://user@host:5432/database`; the password is `source.password_file`. Parameters: `host`, the directory of a
    /// socket; `sslmode` and `sslrootcert`, as of libpq.
    url: Option<String>,
    /// Directory of `psql`, `pg_dump` and `pg_dumpall`, and for drills of `initdb` and `postgres`, of the major version of
    /// the server.
    program_dir: PathBuf,
    /// Whether the passwords of roles are backed up, as hashes: `keep`, for which the account has to be a superuser or to
    /// have `pg_read_all_data`, or `ignore`.
    role_passwords: RolePasswords,
    /// Time without output after which a program is stopped; 0: no limit.
    #[schemars(range(max = MOST_SECONDS))]
    stall_seconds: Seconds,
}

impl Default for PostgresSection {
    fn default() -> Self {
        PostgresSection {
            url: None,
            program_dir: "/usr/bin".into(),
            role_passwords: RolePasswords::default(),
            stall_seconds: Seconds(600),
        }
    }
}

impl PostgresSection {
    pub(super) fn check(&self, login: &Login, into: &Login) -> Result<Arc<dyn Kind>> {
        let url = self.url.as_deref().ok_or_else(|| {
            Error::usage("source.postgres.url is not configured")
                .hint("set it to postgresql://USER@HOST:5432/DATABASE")
        })?;
        let mut connection = Connection::parse(url, "source.postgres.url")?;
        if connection.database.is_empty() {
            return Err(Error::usage("source.postgres.url names no database")
                .hint("write it as postgresql://USER@HOST:5432/DATABASE"));
        }
        if let Some(password) = login.secret(Role::Source)? {
            connection.password = Some(password);
        }
        let programs = Programs {
            directory: self.program_dir.clone(),
            stall: self.stall_seconds.limit(),
        };
        let keeps = self.role_passwords == RolePasswords::Keep;
        let mut kind = PostgresKind::new(connection, programs, keeps);
        kind.into_password = into.secret(Role::Into)?;
        Ok(Arc::new(kind))
    }
}

/// A pattern of paths as a regular expression.
fn glob(pattern: &str) -> Result<regex::bytes::Regex> {
    let mut text = String::from("(?s-u)^");
    let mut rest = pattern.trim_matches('/');
    while let Some(c) = rest.chars().next() {
        let (part, length) = match c {
            '*' if rest.starts_with("**/") => ("(?:.*/)?".to_owned(), 3),
            '*' if rest.starts_with("**") => (".*".to_owned(), 2),
            '*' => ("[^/]*".to_owned(), 1),
            '?' => ("[^/]".to_owned(), 1),
            // Bytes, since a name need not be UTF-8.
            c => (
                c.to_string()
                    .bytes()
                    .map(|byte| format!("\\x{byte:02x}"))
                    .collect(),
                c.len_utf8(),
            ),
        };
        text.push_str(&part);
        rest = &rest[length..];
    }
    text.push('$');
    regex::bytes::Regex::new(&text)
        .map_err(|e| Error::usage(format!("source.files.exclude: {pattern}")).because(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_paths_match_within_names_and_across_directories() {
        for (pattern, path, matches) in [
            ("lost+found", "lost+found", true),
            ("lost+found", "losttfound", false),
            ("*.tmp", "a.tmp", true),
            ("*.tmp", "b/a.tmp", false),
            ("**/*.tmp", "b/c/a.tmp", true),
            ("**/*.tmp", "a.tmp", true),
            ("b/**", "b/c/d", true),
            ("b?c", "bxc", true),
            ("b?c", "b/c", false),
            ("ü", "ü", true),
            ("/cache/", "cache", true),
        ] {
            assert_eq!(
                glob(pattern).unwrap().is_match(path.as_bytes()),
                matches,
                "{pattern} {path}"
            );
        }
    }
}
