//! The client programs of PostgreSQL, and how they connect: by the variables of libpq, never by arguments.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use regex::Regex;
use serde::de::DeserializeOwned;

use crate::kind::program::{Manners, Pipes, Program};
use crate::util::error::{Error, Outcome, Result};
use crate::util::secret::Secret;

/// Time limit of a connection, in seconds.
const CONNECT_SECONDS: &str = "20";

/// Maximum size of an answer of `psql`, bytes.
const ANSWER_BYTES: usize = 16 << 20;

/// A server, an account and a database.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Host name, or the directory of a socket.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Account.
    pub user: String,
    /// Database.
    pub database: String,
    /// Password, if it needs one.
    pub password: Option<Secret>,
    /// libpq's `sslmode`.
    pub sslmode: Option<String>,
    /// Certificates of the authorities that are trusted.
    pub sslrootcert: Option<PathBuf>,
}

impl Connection {
    /// A URL `postgresql://USER@HOST:PORT/DATABASE`, whose parameters may be `host` (the directory of a socket), `sslmode`
    /// and `sslrootcert`. `named` is where it comes from, for messages.
    pub fn parse(url: &str, named: &str) -> Result<Connection> {
        let wrong = |what: &str| {
            Error::usage(format!("{named} {what}"))
                .hint("write it as postgresql://USER@HOST:5432/DATABASE; the password belongs into source.password_file")
        };
        let url = url::Url::parse(url).map_err(|e| wrong(&format!("is not a URL: {e}")))?;
        if !["postgresql", "postgres"].contains(&url.scheme()) {
            return Err(wrong("is not the URL of a PostgreSQL server"));
        }
        if url.password().is_some() {
            return Err(wrong("contains a password"));
        }
        let decoded = |text: &str| {
            let text = percent_encoding::percent_decode_str(text);
            let text = text.decode_utf8().map_err(|_| wrong("is not UTF-8 text"))?;
            match text.contains('\0') {
                true => Err(wrong("contains a NUL byte")),
                false => Ok(text.into_owned()),
            }
        };
        let mut connection = Connection {
            host: decoded(url.host_str().unwrap_or_default())?,
            port: url.port().unwrap_or(5432),
            user: decoded(url.username())?,
            database: decoded(url.path().trim_start_matches('/'))?,
            password: None,
            sslmode: None,
            sslrootcert: None,
        };
        for (name, value) in url.query_pairs() {
            match &*name {
                "host" => connection.host = value.into_owned(),
                "sslmode" => connection.sslmode = Some(value.into_owned()),
                "sslrootcert" => connection.sslrootcert = Some(value.into_owned().into()),
                other => return Err(wrong(&format!("has an unknown parameter {other}"))),
            }
        }
        match (&*connection.host, &*connection.user) {
            ("", _) => Err(wrong("names no host")),
            (_, "") => Err(wrong("names no user")),
            _ => Ok(connection),
        }
    }

    /// The same server with another database.
    pub fn of(&self, database: &str) -> Connection {
        Connection {
            database: database.to_owned(),
            ..self.clone()
        }
    }

    /// The variables of libpq.
    fn variables(&self) -> Vec<(String, OsString)> {
        let mut all: Vec<(&str, OsString)> = vec![
            ("PGHOST", self.host.clone().into()),
            ("PGPORT", self.port.to_string().into()),
            ("PGUSER", self.user.clone().into()),
            ("PGDATABASE", self.database.clone().into()),
            ("PGCONNECT_TIMEOUT", CONNECT_SECONDS.into()),
            ("PGAPPNAME", "drctl".into()),
            ("PGCLIENTENCODING", "UTF8".into()),
            // Neither a password file nor a service file of the account that runs drctl.
            ("PGPASSFILE", "/nonexistent".into()),
            ("PGSERVICEFILE", "/nonexistent".into()),
            // A message would count as a failure of the program.
            ("PGOPTIONS", "-c client_min_messages=error".into()),
        ];
        if let Some(password) = &self.password {
            all.push(("PGPASSWORD", password.reveal().into()));
        }
        if let Some(mode) = &self.sslmode {
            all.push(("PGSSLMODE", mode.into()));
        }
        if let Some(file) = &self.sslrootcert {
            all.push(("PGSSLROOTCERT", file.into()));
        }
        let owned = |(name, value): (&str, OsString)| (name.to_owned(), value);
        all.into_iter().map(owned).collect()
    }
}

/// The programs of one version of PostgreSQL.
#[derive(Debug, Clone)]
pub struct Programs {
    /// Their directory.
    pub directory: PathBuf,
    /// Maximum time without a byte; `None`: no limit.
    pub stall: Option<Duration>,
}

impl Programs {
    /// The path of a program.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Refuses a drill without a server.
    pub fn check_server(&self) -> Result<()> {
        match ["initdb", "postgres"].map(|name| self.path(name)).iter().find(|path| !path.exists()) {
            None => Ok(()),
            Some(path) => Err(Error::usage(format!("a drill needs {}, which is not there", path.display()))
                .hint("set source.postgres.program_dir to the programs of the server, or drill where they are")),
        }
    }

    /// Starts a program that connects.
    pub fn start(
        &self,
        name: &str,
        arguments: &[&str],
        connection: &Connection,
        pipes: Pipes,
        outcome: Outcome,
    ) -> Result<Program> {
        let mut argv = vec![self.path(name).display().to_string()];
        argv.extend(arguments.iter().map(|one| (*one).to_owned()));
        // It would ask at a terminal.
        argv.push("--no-password".to_owned());
        // ON_ERROR_STOP gives `psql` another exit code after an error; all else on its stderr are warnings.
        let everything = || Regex::new("").into_iter().collect();
        let harmless = match name {
            "psql" => everything(),
            _ => Vec::new(),
        };
        let manners = Manners {
            variables: connection.variables(),
            stall: self.stall,
            section: "source.postgres",
            harmless,
            ..Manners::default()
        };
        Program::start(&argv, &manners, pipes, outcome)
    }

    /// All that a program writes, which is short.
    pub async fn output(
        &self,
        name: &str,
        arguments: &[&str],
        connection: &Connection,
        outcome: Outcome,
    ) -> Result<Vec<u8>> {
        let mut program = self.start(name, arguments, connection, Pipes::Out, outcome)?;
        let mut all = Vec::new();
        loop {
            let chunk = program.read().await?;
            if chunk.is_empty() {
                break;
            }
            all.extend_from_slice(&chunk);
            if all.len() > ANSWER_BYTES {
                return Err(program.error(format!("wrote more than {ANSWER_BYTES} bytes")));
            }
        }
        program.end().await?;
        Ok(all)
    }

    /// The answer to a query that returns one JSON value.
    pub async fn ask<T: DeserializeOwned>(
        &self,
        query: &str,
        connection: &Connection,
        outcome: Outcome,
    ) -> Result<T> {
        let arguments = ["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", query];
        let answer = self.output("psql", &arguments, connection, outcome).await?;
        serde_json::from_slice(&answer).map_err(|e| {
            Error::new(outcome, "psql answers with something else than JSON").because(e)
        })
    }

    /// The major version of the programs.
    pub async fn major(&self, connection: &Connection, outcome: Outcome) -> Result<u32> {
        let text = self
            .output("pg_dump", &["--version"], connection, outcome)
            .await?;
        let text = String::from_utf8_lossy(&text);
        let version = text
            .split_whitespace()
            .find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        let digits = version.map(|word| {
            word.split(|c: char| !c.is_ascii_digit())
                .next()
                .unwrap_or_default()
        });
        digits
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| {
                Error::usage(format!(
                    "{} does not say its version",
                    self.path("pg_dump").display()
                ))
            })
    }
}
