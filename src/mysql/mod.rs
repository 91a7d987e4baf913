//! Servers and their client programs, for backups and restores.
//!
//! - [`url`]: address of a server; [`connect`]: a connection with timeouts and a defined session; [`errors`]: its
//!   errors; [`blame`]: whether a statement or the server caused an error.
//! - [`flavour`]: MySQL or MariaDB, and its version; `capabilities`: detection of features; [`compat`]: table of them.
//! - [`client`]: the `mysqldump` and `mysql` that fit a server, their login and options, and the running dump.
//! - [`schemas`], [`scope`]: system schemas, and the schemas of a backup; [`names`]: case of names, LIKE.
//! - [`inventory`]: all objects of a server; [`facts`]: its identity, and variables that a restore depends on.
//! - [`show_grants`]: parser for statements about accounts; [`grants`]: privileges of an account; `definers`: missing
//!   definers.
//! - [`replication`]: whether a server is a replica or cluster member; [`named_lock`]: one backup and one streamer of
//!   a target at a time.
//! - [`wire`]: a connection that returns rows as they arrive, unparsed.
//! - [`limits`]: variables that hide data from a session; [`unfiltered_session`]: sessions without them.

pub mod blame;
pub(crate) mod capabilities;
pub mod client;
pub mod compat;
#[cfg(test)]
mod compat_page;
pub mod connect;
pub(crate) mod definers;
pub mod errors;
pub mod facts;
pub mod flavour;
pub mod grants;
pub mod inventory;
pub mod limits;
pub mod named_lock;
pub mod named_row;
pub mod names;
#[cfg(test)]
pub(crate) mod recorded;
pub mod replication;
pub mod schemas;
pub mod scope;
pub mod show_grants;
pub mod unfiltered_session;
pub mod url;
pub mod wire;

use std::path::PathBuf;

use crate::Outcome;

pub use client::Client;
pub use client::dump_process::DumpChild;
pub use connect::{Connection, connect};
pub use flavour::{Flavour, ServerVersion, Version};
pub use url::ServerUrl;

use crate::util::secret::Secret;

/// Address, account and role of a server.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Address and account.
    pub url: ServerUrl,
    /// Password of the account; `None` for accounts without one (socket authentication).
    pub password: Option<Secret>,
    /// Directory of `mysqldump` and `mysql`; `None` for `PATH`.
    pub client_dir: Option<PathBuf>,
    /// Determines exit codes, and the keys in hints.
    pub role: Role,
}

impl ServerConfig {
    /// Whether the password may be sent in cleartext to a server that asks for it: only over verified TLS. `encrypted`:
    /// whether TLS is used.
    pub fn allows_cleartext(&self, encrypted: bool) -> bool {
        encrypted && self.url.tls == url::Tls::Verify
    }
}

/// Role of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The server that is backed up.
    Source,
    /// The destination of a restore, or a scratch server.
    Into,
}

impl Role {
    /// Outcome of a failure of this server.
    pub fn outcome(self) -> Outcome {
        match self {
            Role::Source => Outcome::Source,
            Role::Into => Outcome::Server,
        }
    }

    /// Prefix of its environment variables.
    pub fn key(self) -> &'static str {
        match self {
            Role::Source => "DRCTL_SOURCE",
            Role::Into => "DRCTL_INTO",
        }
    }

    /// A failure of this server.
    pub fn error(self, what: impl Into<String>) -> crate::Error {
        crate::Error::new(self.outcome(), what)
    }
}
