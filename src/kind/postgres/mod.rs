//! Kind `postgres`: one database of a PostgreSQL server with its roles, as a script for `psql`.
//!
//! - `stream`: the script: a header, the roles by `pg_dumpall`, the database by `pg_dump`.
//! - `facts`: what the server is, what the account cannot read, what no script holds.
//! - `restore`: a script → an empty server, by `psql`.
//! - `scratch`: a server in a directory, for drills.
//! - [`programs`]: the client programs, and how they connect.

mod facts;
pub mod programs;
mod restore;
mod scratch;
mod stream;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;

use self::facts::Facts;
use self::programs::{Connection, Programs};
use self::restore::Script;
use self::scratch::Scratch;
use self::stream::Dump;
use crate::entries::lines::Sections;
use crate::entries::record::Format;
use crate::kind::{About, Kind, Proof, Sink, Stream};
use crate::util::error::{Error, Outcome, Result};
use crate::util::secret::Secret;

/// A database, and the programs that read it.
#[derive(Debug, Clone)]
pub struct PostgresKind {
    /// The server and the database.
    pub connection: Connection,
    /// `psql`, `pg_dump`, and for drills the server.
    pub programs: Programs,
    /// Whether the passwords of roles are backed up, which needs a superuser.
    pub role_passwords: bool,
    /// Password for a server to restore into.
    pub into_password: Option<Secret>,
    /// The server of a drill that has been started, by its directory.
    scratch: Arc<Mutex<Option<Scratch>>>,
}

impl PostgresKind {
    /// A kind without a scratch server.
    pub fn new(connection: Connection, programs: Programs, role_passwords: bool) -> PostgresKind {
        PostgresKind {
            connection,
            programs,
            role_passwords,
            into_password: None,
            scratch: Arc::default(),
        }
    }

    /// How to reach what was restored.
    async fn restored(&self, into: &str) -> Result<Connection> {
        let database = &self.connection.database;
        match self.scratch.lock().await.as_ref() {
            Some(scratch) if scratch.is_in(into) => Ok(scratch.connection(database)),
            _ => self.destination(into, database),
        }
    }

    /// How to reach a server to restore into.
    fn destination(&self, into: &str, database: &str) -> Result<Connection> {
        let mut connection = Connection::parse(into, "--into")?.of(database);
        connection.password.clone_from(&self.into_password);
        Ok(connection)
    }

    async fn dump(&self, connection: Connection, outcome: Outcome) -> Result<Dump> {
        let facts = Facts::ask(&self.programs, &connection, outcome).await?;
        facts.check(outcome)?;
        let warnings = facts.warnings(self.role_passwords);
        Dump::begin(self, connection, &facts, warnings, outcome).await
    }
}

#[async_trait]
impl Kind for PostgresKind {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn format(&self) -> Format {
        Format::Lines(Sections {
            begin: Some(stream::SECTION.to_owned()),
            unordered: Some(stream::ROWS.to_owned()),
            ignore: Some(stream::INCIDENTAL.to_owned()),
        })
    }

    async fn about(&self) -> Result<About> {
        let facts = Facts::ask(&self.programs, &self.connection, Outcome::Source).await?;
        facts.check(Outcome::Source)?;
        Ok(About {
            identity: format!("postgres:{}:{}", facts.system, facts.database),
            place: format!("PostgreSQL {}, database {}", facts.version, facts.database),
            bytes: facts.bytes,
            program: (
                "pg_dump".to_owned(),
                facts.version.clone(),
                stream::DUMP_OPTIONS.map(str::to_owned).to_vec(),
            ),
        })
    }

    async fn stream(&self) -> Result<Box<dyn Stream>> {
        let dump = self.dump(self.connection.clone(), Outcome::Source).await?;
        Ok(Box::new(dump))
    }

    async fn restore(&self, into: &str) -> Result<Box<dyn Sink>> {
        if !is_url(into) {
            scratch::check_directory(Path::new(into))?;
        }
        Ok(Box::new(Script::new(self.clone(), into.to_owned())))
    }

    async fn prove(&self, into: &str) -> Result<Proof> {
        let connection = self.restored(into).await?;
        let dump = self.dump(connection, Outcome::Server).await?;
        Ok(Proof::Stream(Box::new(dump)))
    }

    async fn complete(&self, into: &str) -> Result<()> {
        let mut scratch = self.scratch.lock().await;
        match scratch.take_if(|scratch| scratch.is_in(into)) {
            Some(scratch) => scratch.stop().await,
            None => Ok(()),
        }
    }

    fn check_drill(&self) -> Result<()> {
        self.programs.check_server()
    }

    fn instructions(&self) -> String {
        "psql -X -v ON_ERROR_STOP=1 -d postgres".to_owned()
    }
}

/// Whether a place is a server; else it is a directory for one.
fn is_url(into: &str) -> bool {
    into.contains("://")
}

/// The error of a destination that is not empty.
fn occupied(what: &str) -> Error {
    Error::refused(format!(
        "the destination is not an empty server: it has {what}"
    ))
    .hint("name a server that was just initialised, or restore by hand as RESTORE.txt says")
}
