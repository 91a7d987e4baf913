//! Sections `source` and `into`: the protected server and the destination.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::kind::{CommandSection, FilesSection, KindName, PostgresSection};
use crate::mysql::{Role, ServerConfig, ServerUrl};
use crate::reader::Reader;
use crate::util::error::{Error, Result};
use crate::util::secret::Secret;

/// The protected server.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct SourceSection {
    /// What is backed up: `mysql`, a MySQL or MariaDB server; `command`, the output of a program; `files`, a directory; `postgres`,
    /// a database of a PostgreSQL server.
    pub(super) kind: KindName,
    /// The server to dump: `mysql://user@host:3306` or `mysql://user@localhost/?socket=/path`, without a
    /// password. TLS: `?tls=disabled`, `preferred` (default), `required` or `verify`; `ca=/file.pem` to verify
    /// against, `cert=/file.pem&key=/file.pem` for a client certificate.
    pub(super) url: Option<String>,
    #[serde(flatten)]
    pub(super) login: Login,
    /// Directory of `mysqldump` and `mysql`. Default: PATH is searched.
    pub(super) client_dir: Option<PathBuf>,
    /// What reads the rows: `native`, several connections of drctl, or `mysqldump`. Servers and tables that the native
    /// reader does not support are read by the dump program.
    pub(super) reader: Reader,
    pub(super) command: CommandSection,
    pub(super) files: FilesSection,
    pub(super) postgres: PostgresSection,
}

/// The server to restore into.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct IntoSection {
    /// Where backups of another kind than `mysql` are restored: an empty directory, or what a command takes as `{into}`.
    pub(super) path: Option<String>,
    /// The server to restore into, as in `source.url`. Default: the address in `source.url` with `into.user`.
    pub(super) url: Option<String>,
    /// Account for restores, at the address in `source.url`.
    pub(super) user: Option<String>,
    #[serde(flatten)]
    pub(super) login: Login,
    /// Directory of the clients for this server. Default: `source.client_dir`.
    pub(super) client_dir: Option<PathBuf>,
}

/// Password of an account.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct Login {
    /// Password of the account. Prefer the file.
    #[schemars(with = "Option<String>")]
    pub(super) password: Option<Secret>,
    /// File with the password; one final newline is ignored.
    pub(super) password_file: Option<PathBuf>,
}

impl Login {
    /// The password, if there is one.
    pub(super) fn secret(&self, role: Role) -> Result<Option<Secret>> {
        match (&self.password, &self.password_file) {
            (Some(_), Some(_)) => Err(Error::usage(format!(
                "both {0}_PASSWORD and {0}_PASSWORD_FILE are set",
                role.key()
            ))
            .hint("keep the file")),
            (Some(password), None) => Ok(Some(password.clone())),
            (None, Some(path)) => {
                let named = format!("{}_PASSWORD_FILE", role.key());
                Secret::read(path, &named).map(Some)
            }
            (None, None) => Ok(None),
        }
    }

    /// A server at `url`, with the password of this account.
    pub(super) fn server(
        &self,
        url: ServerUrl,
        client_dir: Option<PathBuf>,
        role: Role,
    ) -> Result<ServerConfig> {
        let password = self.secret(role)?;
        Ok(ServerConfig {
            url,
            password,
            client_dir,
            role,
        })
    }
}
