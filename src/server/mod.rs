//! What both directions stand on: how a server is reached, what it is, and the client that fits it.
//!
//! - [`url`]: a server's address, without its password, which is a [`secret`].
//! - [`connect`]: a connection with time-outs and a known session; errors as a person meets them.
//! - `asked`: what a server has, by its own answer; [`compat`]: what in which version.
//! - [`flavour`]: MySQL or MariaDB, and which version.
//! - [`program`]: programs run with nothing from around them; [`tie`]: which end with this one.
//! - [`client`]: the `mysqldump` and `mysql` that fit the server, and how they log in.
//! - [`dump_options`]: what every dump is made of.
//! - [`blame`]: whether an error speaks of the statement or of the server.
//! - [`replication`]: whether it follows another server; [`show_grants`]: what an account holds, line by line.
//! - [`schemas`]: those that are nobody's data.
//! - [`limits`]: variables by which a server shows a session less; [`whole`]: how it is shown all.
//! - [`line_ends`]: those that mysqldump forgets behind stored programs.
//! - [`dump_child`]: one running dump; its exit status and stderr are errors of its stream.

mod asked;
pub mod blame;
pub mod client;
pub mod compat;
pub mod connect;
pub mod dump_child;
pub mod dump_options;
pub mod flavour;
pub mod limits;
pub mod line_ends;
mod login;
pub mod program;
pub mod replication;
pub mod schemas;
pub mod secret;
pub mod show_grants;
pub mod tie;
pub mod url;
pub mod whole;

use std::path::PathBuf;

use crate::Outcome;

pub use client::Client;
pub use connect::{Connection, connect};
pub use dump_child::DumpChild;
pub use flavour::{Flavour, ServerVersion, Version};
pub use secret::Secret;
pub use url::ServerUrl;

/// One server, as the configuration names it.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Its address and the account.
    pub url: ServerUrl,
    /// The account's password; `None` for accounts without one (socket authentication).
    pub password: Option<Secret>,
    /// Where `mysqldump` and `mysql` are; `None` searches `PATH`.
    pub client_dir: Option<PathBuf>,
    /// Which end of the flow it is: this names the exit code and the keys in hints.
    pub role: Role,
}

impl ServerConfig {
    /// Whether the password may be sent as it is, where a server asks for that: only through TLS that has
    /// verified who it is. `encrypted`: whether TLS is in force.
    pub fn sends_cleartext(&self, encrypted: bool) -> bool {
        encrypted && self.url.tls == url::Tls::Verify
    }
}

/// Which end of the flow a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The server that is backed up.
    Source,
    /// A server that is restored into, a scratch server included.
    Into,
}

impl Role {
    /// The outcome of a failure of this server.
    pub fn outcome(self) -> Outcome {
        match self {
            Role::Source => Outcome::Source,
            Role::Into => Outcome::Server,
        }
    }

    /// What begins the names of its configuration keys: `DRCTL_SOURCE`, `DRCTL_INTO`.
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
