//! The script of a database: a header, the roles, the database. Each part is an error unless its program succeeded and
//! wrote its last line.

use async_trait::async_trait;
use bytes::Bytes;

use crate::kind::Stream;
use crate::kind::postgres::PostgresKind;
use crate::kind::postgres::facts::Facts;
use crate::kind::postgres::programs::Connection;
use crate::kind::postgres::restore::Header;
use crate::kind::program::{Pipes, Program};
use crate::util::error::{Error, Outcome, Result};

/// Options of `pg_dump`. Tablespaces belong to a server: without them the script fits any.
pub(super) const DUMP_OPTIONS: [&str; 3] = ["--format=plain", "--create", "--no-tablespaces"];

/// The first line of an object, and of the rows of a table.
pub(super) const SECTION: &str = "^-- ((?:Data for )?Name: .+; Type: [^;]+; Schema: [^;]*)";

/// The sections whose lines are in no order: a table has none.
pub(super) const ROWS: &str = "^Data for ";

/// Lines that differ between two dumps of the same data.
pub(super) const INCIDENTAL: &str =
    r"^(-- Dumped (from database|by pg_dump) version |-- drctl |\\(un)?restrict )";

/// Last lines of the programs.
const ROLES_END: &[u8] = b"\n-- PostgreSQL database cluster dump complete\n";
const DATABASE_END: &[u8] = b"\n-- PostgreSQL database dump complete\n";

/// Bytes at the end of a stream in which its last line is searched: few lines follow it.
const TAIL_BYTES: usize = 1024;

/// The script, as it is written.
pub(super) struct Dump {
    /// What precedes the database.
    head: Option<Bytes>,
    /// `None` after its success.
    program: Option<Program>,
    tail: Vec<u8>,
    warnings: Vec<String>,
}

impl Dump {
    pub async fn begin(
        kind: &PostgresKind,
        connection: Connection,
        facts: &Facts,
        warnings: Vec<String>,
        outcome: Outcome,
    ) -> Result<Dump> {
        let mut options = vec!["--roles-only"];
        if !kind.role_passwords {
            options.push("--no-role-passwords");
        }
        let roles = kind
            .programs
            .output("pg_dumpall", &options, &connection, outcome);
        let roles = roles.await.map_err(|error| match kind.role_passwords && !facts.is_superuser {
            true => error.hint("the passwords of roles need a superuser: set source.postgres.role_passwords to ignore to go without"),
            false => error,
        })?;
        if !ends(&roles, ROLES_END) {
            return Err(Error::new(
                outcome,
                "pg_dumpall exited with 0 but its output is incomplete",
            ));
        }
        let mut head = Header::new(&facts.bootstrap).line()?;
        head.extend_from_slice(&repeatable(&roles));
        let program =
            kind.programs
                .start("pg_dump", &DUMP_OPTIONS, &connection, Pipes::Out, outcome)?;
        Ok(Dump {
            head: Some(head.into()),
            program: Some(program),
            tail: Vec::new(),
            warnings,
        })
    }

    fn keep_tail(&mut self, chunk: &[u8]) {
        self.tail.extend_from_slice(chunk);
        let surplus = self.tail.len().saturating_sub(TAIL_BYTES);
        self.tail.drain(..surplus);
    }
}

/// Whether a stream ends with a line, but for empty lines, comments and `\unrestrict`.
fn ends(stream: &[u8], line: &[u8]) -> bool {
    let from = stream.len().saturating_sub(TAIL_BYTES);
    let tail = &stream[from..];
    let found = tail.windows(line.len()).rposition(|window| window == line);
    found.is_some_and(|at| {
        let behind = tail[at + line.len()..].split(|byte| *byte == b'\n');
        let harmless = |line: &[u8]| {
            line.is_empty() || line.starts_with(b"--") || line.starts_with(b"\\unrestrict ")
        };
        behind.into_iter().all(harmless)
    })
}

/// Roles that a server may have, as its first one, are created where they are missing.
fn repeatable(roles: &[u8]) -> Vec<u8> {
    let mut script = Vec::with_capacity(roles.len());
    let mut quote = None;
    for line in roles.split_inclusive(|byte| *byte == b'\n') {
        let is_statement = quote.is_none() && !line.starts_with(b"--");
        let is_comment = quote.is_none() && !is_statement;
        let quotes = line.iter().filter(|byte| matches!(byte, b'\'' | b'"'));
        for byte in quotes.filter(|_| !is_comment) {
            quote = match quote {
                None => Some(byte),
                Some(open) if open == byte => None,
                open => open,
            };
        }
        let text = std::str::from_utf8(line).ok().filter(|_| is_statement);
        let statement = text.and_then(|line| line.strip_suffix(";\n"));
        let name = statement
            .and_then(|line| line.strip_prefix("CREATE ROLE "))
            .and_then(unquoted);
        match (statement, name) {
            (Some(statement), Some(name)) => {
                let literal = |text: &str| format!("'{}'", text.replace('\'', "''"));
                let block = format!(
                    "BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {}) THEN {statement}; END IF; END",
                    literal(&name)
                );
                script.extend_from_slice(format!("DO {};\n", literal(&block)).as_bytes());
            }
            _ => script.extend_from_slice(line),
        }
    }
    script
}

/// The name that an identifier stands for; `None` if it is not one complete identifier.
fn unquoted(identifier: &str) -> Option<String> {
    // A literal with a backslash depends on a setting.
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if identifier.contains('\\') {
        return None;
    }
    match identifier.strip_prefix('"') {
        None => identifier.chars().all(plain).then(|| identifier.to_owned()),
        Some(rest) => {
            let name = rest.strip_suffix('"')?;
            let without = name.replace("\"\"", "");
            (!without.contains('"')).then(|| name.replace("\"\"", "\""))
        }
    }
}

#[async_trait]
impl Stream for Dump {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if let Some(head) = self.head.take() {
            return Ok(Some(head));
        }
        let Some(program) = &mut self.program else {
            return Ok(None);
        };
        let chunk = program.read().await?;
        if !chunk.is_empty() {
            self.keep_tail(&chunk);
            return Ok(Some(chunk));
        }
        program.end().await?;
        if let Some(program) = self.program.take()
            && !ends(&self.tail, DATABASE_END)
        {
            return Err(program
                .error("exited with 0 but its output is incomplete")
                .hint("run it by hand, and find out why its last lines are missing"));
        }
        Ok(None)
    }

    fn warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
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
    fn a_script_is_complete_with_its_last_line_and_nothing_but_comments_behind_it() {
        let whole = b"x\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n\n";
        assert!(ends(whole, DATABASE_END));
        let line_end = whole.len() - b"--\n\n\\unrestrict abc\n\n".len();
        for cut in 1..line_end {
            assert!(!ends(&whole[..cut], DATABASE_END), "{cut}");
        }
        assert!(ends(&whole[..line_end], DATABASE_END));
        assert!(!ends(
            b"\n-- PostgreSQL database dump complete\nSELECT 1;\n",
            DATABASE_END
        ));
    }

    #[test]
    fn roles_are_created_where_they_are_missing() {
        let script = |roles: &str| String::from_utf8(repeatable(roles.as_bytes())).unwrap();
        assert_eq!(
            script("CREATE ROLE app;\nALTER ROLE app WITH NOLOGIN;\n"),
            "DO 'BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = ''app'') \
             THEN CREATE ROLE app; END IF; END';\nALTER ROLE app WITH NOLOGIN;\n"
        );
        assert_eq!(
            script("CREATE ROLE \"o'q\"\"x\";\n"),
            "DO 'BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = ''o''''q\"x'') \
             THEN CREATE ROLE \"o''q\"\"x\"; END IF; END';\n"
        );
        // Not one line each, of another form, or within a literal: as they are.
        for other in [
            "COMMENT ON ROLE x IS 'a\nCREATE ROLE y;\nb';\n",
            "CREATE ROLE \"a\nb\";\n",
            "CREATE ROLE a b;\n",
            "CREATE ROLE \"a\\b\";\n",
        ] {
            assert_eq!(script(other), other);
        }
    }
}
