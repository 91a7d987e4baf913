//! One run of the plain client, with the options of RESTORE.txt, and the errors it prints.

use std::process::Stdio;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{ChildStdin, Command};

use crate::archive::restore_txt::SESSION;
use crate::mysql::Client;
use crate::mysql::blame::{NO_PLUGIN, is_of_the_server};
use crate::mysql::connect::server_error;
use crate::sql::statement::ObjectId;
use crate::util::error::{Error, Result};
use crate::util::pdeathsig;

/// Maximum bytes read of the client's standard error.
const STDERR_BYTES: u64 = 16 << 20;

/// A server error as printed by the client.
#[derive(Debug)]
pub(super) struct ClientError {
    /// The server's error number.
    pub(super) code: u16,
    /// The line of the client's input, counted from 1; 0 if the client names none.
    pub(super) line: u64,
    /// The printed line.
    pub(super) text: String,
}

impl ClientError {
    /// Parses `ERROR 1368 (HY000) at line 12: CHECK OPTION …`.
    fn parse(printed: &str) -> Option<ClientError> {
        let rest = printed.strip_prefix("ERROR ")?;
        let (code, _) = rest.split_once(' ')?;
        let line = rest.split_once(" at line ").and_then(|(_, rest)| {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            rest[..digits].parse().ok()
        });
        Some(ClientError {
            code: code.parse().ok()?,
            line: line.unwrap_or(0),
            text: printed.to_owned(),
        })
    }

    /// Whether the error has one of these numbers.
    pub(super) fn has(&self, codes: &[u16]) -> bool {
        codes.contains(&self.code)
    }

    /// The failure of the restore, in the context of `object` if it is known.
    pub(super) fn into_error(self, object: Option<ObjectId>) -> Error {
        let error = Error::server(format!("the plain client: {}", self.text))
            .caused_by(server_error(self.code, self.text));
        match object {
            Some(object) => error.context(object),
            None => error,
        }
    }
}

/// Why feeding the client ended early.
pub(super) enum FeedError {
    /// The archive could not be read.
    Archive(Error),
    /// The client closed its standard input.
    Pipe,
}

impl From<Error> for FeedError {
    fn from(error: Error) -> FeedError {
        FeedError::Archive(error)
    }
}

impl From<std::io::Error> for FeedError {
    fn from(_: std::io::Error) -> FeedError {
        FeedError::Pipe
    }
}

/// Runs the client on `sql`, as [`run`].
pub(super) async fn run_sql(
    client: &Client,
    options: &[&str],
    sql: &[u8],
) -> Result<Vec<ClientError>> {
    let feed = async |mut stdin: ChildStdin| Ok(stdin.write_all(sql).await?);
    run(client, options, feed).await
}

/// Runs the client with additional `options` on the input that `feed` writes. Returns the statements that
/// the server refused, as printed by the client; an error of the server itself fails the run.
pub(super) async fn run(
    client: &Client,
    options: &[&str],
    feed: impl AsyncFnOnce(ChildStdin) -> std::result::Result<(), FeedError>,
) -> Result<Vec<ClientError>> {
    let session = format!("--init-command={SESSION}");
    let usual = [
        "--binary-mode",
        "--comments",
        "--max-allowed-packet=1G",
        &session,
    ];
    let mut command: Command = client.shell_command(usual.iter().chain(options))?;
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = pdeathsig::spawn(command)
        .map_err(|e| Error::server("cannot start the mysql client").because(e))?;
    let (Some(stdin), Some(stderr)) = (child.stdin.take(), child.stderr.take()) else {
        return Err(Error::unexpected("the mysql client has no pipes"));
    };
    let mut printed = Vec::new();
    let drain = async {
        let mut first = stderr.take(STDERR_BYTES);
        first.read_to_end(&mut printed).await?;
        // The client would block on a full pipe.
        tokio::io::copy(&mut first.into_inner(), &mut tokio::io::sink()).await
    };
    let (fed, drained) = tokio::join!(feed(stdin), drain);
    if let Err(FeedError::Archive(error)) = fed {
        return Err(error);
    }
    let broke = |e| Error::server("cannot run the mysql client").because(e);
    drained.map_err(broke)?;
    let status = child.wait().await.map_err(broke)?;
    if printed.len() as u64 >= STDERR_BYTES {
        return Err(Error::server(format!(
            "the mysql client printed more than {} MiB of errors",
            STDERR_BYTES >> 20
        )));
    }
    let printed = String::from_utf8_lossy(&printed);
    let errors: Vec<ClientError> = printed.lines().filter_map(ClientError::parse).collect();
    // With --force the client continues, even without a server.
    let is_of_server =
        |one: &&ClientError| is_of_the_server(one.code, &one.text) && !one.has(&[NO_PLUGIN]);
    if let Some(error) = errors.iter().find(is_of_server) {
        let (code, text) = (error.code, error.text.clone());
        return Err(
            Error::server(format!("the plain client: {text}")).caused_by(server_error(code, text))
        );
    }
    // After a broken pipe the client has printed its own error.
    if !errors.is_empty() || (status.success() && fed.is_ok()) {
        return Ok(errors);
    }
    Err(Error::server(format!(
        "the mysql client failed ({status}) without printing an error"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_client_is_parsed() {
        let printed = "ERROR 1368 (HY000) at line 120: CHECK OPTION on non-updatable view 'd.a'";
        let error = ClientError::parse(printed).unwrap();
        assert_eq!((error.code, error.line), (1368, 120));
        let error = ClientError::parse("ERROR 2002 (HY000): Can't connect at line").unwrap();
        assert_eq!((error.code, error.line), (2002, 0));
        for other in [
            "",
            "ERROR at line 9: Unknown command",
            "mysql: [Warning] Using a password",
        ] {
            assert!(ClientError::parse(other).is_none(), "{other}");
        }
    }
}
