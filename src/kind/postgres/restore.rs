//! A script → an empty server, by `psql`.

use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::kind::Sink;
use crate::kind::postgres::facts::Facts;
use crate::kind::postgres::scratch::Scratch;
use crate::kind::postgres::{PostgresKind, is_url, occupied};
use crate::kind::program::{Pipes, Program};
use crate::util::error::{Error, Outcome, Result};
use crate::util::format::some_of;

/// Begins the first line.
const MARK: &str = "-- drctl ";

/// Maximum length of the first line, bytes.
const LINE_BYTES: usize = 4096;

/// Options of `psql`: no file of the account, and an error ends it.
const OPTIONS: [&str; 3] = ["-Xq", "-v", "ON_ERROR_STOP=1"];

/// Exit code of `psql` after an error in the script.
const SCRIPT_ERROR: i32 = 3;

/// The database that exists in every server, from which the script creates its own.
const MAINTENANCE: &str = "postgres";

/// The first line of a script, a comment: what the server has to be.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Header {
    /// The role that initialises the server. Another one would be one more in the restored server.
    bootstrap: String,
}

impl Header {
    pub fn new(bootstrap: &str) -> Header {
        Header {
            bootstrap: bootstrap.to_owned(),
        }
    }

    pub fn line(&self) -> Result<Vec<u8>> {
        let json = serde_json::to_string(self)
            .map_err(|e| Error::unexpected("cannot write JSON").because(e))?;
        Ok(format!("{MARK}{json}\n").into_bytes())
    }

    fn parse(line: &[u8]) -> Result<Header> {
        let wrong = || Error::archive("the script has no header of drctl, or it is damaged");
        let json = line.strip_prefix(MARK.as_bytes()).ok_or_else(wrong)?;
        let header: Header = serde_json::from_slice(json).map_err(|e| wrong().because(e))?;
        match header.bootstrap.is_empty() || header.bootstrap.contains('\0') {
            true => Err(wrong()),
            false => Ok(header),
        }
    }
}

/// A script on its way into a server.
pub(super) struct Script {
    kind: PostgresKind,
    into: String,
    /// The first line, until it is complete.
    line: Vec<u8>,
    program: Option<Program>,
}

impl Script {
    pub fn new(kind: PostgresKind, into: String) -> Script {
        Script {
            kind,
            into,
            line: Vec::new(),
            program: None,
        }
    }

    /// Starts what the first line asks for: a server in the directory, or checks the one that is given.
    async fn begin(&self, header: &Header) -> Result<Program> {
        let programs = &self.kind.programs;
        let connection = match is_url(&self.into) {
            true => {
                let connection = self.kind.destination(&self.into, MAINTENANCE)?;
                let facts = Facts::ask(programs, &connection, Outcome::Server).await?;
                check_empty(&facts, header)?;
                connection
            }
            false => {
                let directory = Path::new(&self.into);
                let scratch = Scratch::start(programs, directory, &header.bootstrap).await?;
                let connection = scratch.connection(MAINTENANCE);
                *self.kind.scratch.lock().await = Some(scratch);
                connection
            }
        };
        programs.start("psql", &OPTIONS, &connection, Pipes::In, Outcome::Server)
    }

    /// Writes to `psql`; at the end of the script waits for its success.
    async fn push(&mut self, chunk: Option<&[u8]>) -> Result<()> {
        let Some(program) = &mut self.program else {
            return Err(Error::unexpected("psql was not started"));
        };
        let done = match chunk {
            Some(chunk) => program.write(chunk).await,
            None => program.end().await,
        };
        // The server is well, and refuses a statement.
        done.map_err(|error| match program.exit() {
            Some(SCRIPT_ERROR) => Error::verification(error.what())
                .hint("compare the server's version and extensions with those of the source"),
            _ => error,
        })
    }
}

/// Refuses a server in which something would be added to what is there.
fn check_empty(facts: &Facts, header: &Header) -> Result<()> {
    for (names, what) in [
        (&facts.other_databases, "databases"),
        (&facts.other_roles, "roles"),
    ] {
        if !names.is_empty() {
            return Err(occupied(&format!("the {what} {}", some_of(names))));
        }
    }
    match facts.bootstrap == header.bootstrap {
        true => Ok(()),
        false => Err(Error::refused(format!(
            "the destination was initialised by the role {}, the source by {}",
            facts.bootstrap, header.bootstrap
        ))
        .hint("initialise it by: initdb --username=ROLE")),
    }
}

#[async_trait]
impl Sink for Script {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        if self.program.is_some() {
            return self.push(Some(&chunk)).await;
        }
        self.line.extend_from_slice(&chunk);
        let Some(end) = self.line.iter().position(|byte| *byte == b'\n') else {
            return match self.line.len() > LINE_BYTES {
                true => Header::parse(&self.line).map(drop),
                false => Ok(()),
            };
        };
        let header = Header::parse(&self.line[..end])?;
        self.program = Some(self.begin(&header).await?);
        let head = std::mem::take(&mut self.line);
        self.push(Some(&head)).await
    }

    async fn finish(mut self: Box<Self>) -> Result<()> {
        match self.program.is_some() {
            true => self.push(None).await,
            // An incomplete line is damage.
            false => Header::parse(&self.line).map(drop),
        }
    }

    async fn stop(self: Box<Self>) {
        if let Some(program) = self.program {
            program.stop().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written_and_anything_else_is_damage() {
        let line = Header::new("it's \"x\"").line().unwrap();
        let read = Header::parse(line.strip_suffix(b"\n").unwrap()).unwrap();
        assert_eq!(read.bootstrap, "it's \"x\"");
        for damaged in [
            "",
            "-- drctl",
            "-- drctl {}",
            "-- drctl {\"bootstrap\":\"\"}",
            "CREATE TABLE t ();",
        ] {
            let error = Header::parse(damaged.as_bytes()).unwrap_err();
            assert_eq!(error.outcome(), Outcome::Archive, "{damaged}");
        }
    }
}
