//! One run of the plain client, the results and the errors it prints.

use std::process::Stdio;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{ChildStdin, Command};

use crate::mysql::Client;
use crate::mysql::blame::{NO_PLUGIN, is_of_the_server};
use crate::mysql::connect::server_error;
use crate::sql::statement::ObjectId;
use crate::util::pdeathsig;
use crate::{Error, Result};

/// Maximum bytes read of the client's standard error.
const STDERR_BYTES: u64 = 16 << 20;

/// Maximum bytes kept of the client's standard output.
const STDOUT_BYTES: u64 = 64 << 10;

/// What a run of the client printed.
#[derive(Debug)]
pub struct Printed {
    /// The statements that the server refused.
    pub errors: Vec<ClientError>,
    /// Its standard output.
    pub output: Vec<u8>,
}

/// A server error as printed by the client.
#[derive(Debug)]
pub struct ClientError {
    /// The server's error number.
    pub code: u16,
    /// The line of the client's input, counted from 1; 0 if the client names none.
    pub line: u64,
    /// The printed line.
    pub text: String,
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
    pub fn has(&self, codes: &[u16]) -> bool {
        codes.contains(&self.code)
    }

    /// The failure of the restore, in the context of `object` if it is known.
    pub fn into_error(self, object: Option<ObjectId>) -> Error {
        let error = Error::server(format!("the plain client: {}", self.text))
            .caused_by(server_error(self.code, self.text));
        match object {
            Some(object) => error.context(object),
            None => error,
        }
    }
}

/// Why feeding the client ended early.
#[derive(Debug)]
pub enum FeedError {
    /// What is fed could not be read.
    Unread(Error),
    /// The client closed its standard input.
    Pipe,
}

impl From<Error> for FeedError {
    fn from(error: Error) -> FeedError {
        FeedError::Unread(error)
    }
}

impl From<std::io::Error> for FeedError {
    fn from(_: std::io::Error) -> FeedError {
        FeedError::Pipe
    }
}

/// Runs the client with additional `options` on the input that `feed` writes. Returns the statements that
/// the server refused, as printed by the client; an error of the server itself fails the run.
pub async fn run(
    client: &Client,
    options: &[&str],
    feed: impl AsyncFnOnce(ChildStdin) -> std::result::Result<(), FeedError>,
) -> Result<Printed> {
    let usual = ["--binary-mode", "--comments", "--max-allowed-packet=1G"];
    let mut command: Command = client.shell_command(usual.iter().chain(options))?;
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = pdeathsig::spawn(command)
        .map_err(|e| Error::server("cannot start the mysql client").because(e))?;
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
        return Err(Error::unexpected("the mysql client has no pipes"));
    };
    let (fed, output, printed) = tokio::join!(
        feed(stdin),
        first_of(stdout, STDOUT_BYTES),
        first_of(stderr, STDERR_BYTES)
    );
    if let Err(FeedError::Unread(error)) = fed {
        return Err(error);
    }
    let broke = |e| Error::server("cannot run the mysql client").because(e);
    let (output, printed) = (output.map_err(broke)?, printed.map_err(broke)?);
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
        return Ok(Printed { errors, output });
    }
    Err(Error::server(format!(
        "the mysql client failed ({status}) without printing an error"
    )))
}

/// The first bytes of a stream, which is read to its end: the client would block on a full pipe.
async fn first_of(stream: impl AsyncRead + Unpin, most: u64) -> std::io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    let mut first = stream.take(most);
    first.read_to_end(&mut kept).await?;
    tokio::io::copy(&mut first.into_inner(), &mut tokio::io::sink()).await?;
    Ok(kept)
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
