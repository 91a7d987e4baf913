//! One run of the plain client, the results and the errors it prints.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::{ChildStdin, Command};

use crate::mysql::Client;
use crate::mysql::blame::{NO_PLUGIN, is_of_the_server};
use crate::mysql::connect::server_error;
use crate::sql::statement::ObjectId;
use crate::util::pdeathsig;
use crate::{Error, Result};

/// The character set of all that a client reads: without the option it takes that of the locale until the first
/// `SET NAMES`, and `accounts.sql` of earlier versions has none.
pub const CHARACTER_SET: &str = "--default-character-set=utf8mb4";

/// Most bytes of errors.
const STDERR_BYTES: usize = 16 << 20;

/// Most bytes kept of the end of the client's standard output.
const STDOUT_BYTES: usize = 64 << 10;

/// Most bytes kept of a line of its standard error: MariaDB's client prints the statement that failed.
const LINE_BYTES: usize = 64 << 10;

/// What a run of the client printed.
#[derive(Debug)]
pub struct Printed {
    /// The statements that the server refused.
    pub errors: Vec<ClientError>,
    /// The end of its standard output.
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
    let usual = [
        CHARACTER_SET,
        "--binary-mode",
        "--comments",
        "--max-allowed-packet=1G",
        // No statement of a dump or a log reads a file of this machine.
        "--local-infile=0",
    ];
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
        last_of(stdout, STDOUT_BYTES),
        errors_in(stderr)
    );
    if let Err(FeedError::Unread(error)) = fed {
        return Err(error);
    }
    let broke = |e| Error::server("cannot run the mysql client").because(e);
    let (output, errors) = (output.map_err(broke)?, printed.map_err(broke)?);
    let status = child.wait().await.map_err(broke)?;
    let Some(errors) = errors else {
        return Err(Error::server(format!(
            "the mysql client printed more than {} MiB of errors",
            STDERR_BYTES >> 20
        )));
    };
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

/// The last bytes of a stream, which is read to its end.
pub async fn last_of(mut stream: impl AsyncRead + Unpin, most: usize) -> std::io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    while stream.read_buf(&mut kept).await? > 0 {
        if kept.len() > 2 * most {
            kept.drain(..kept.len() - most);
        }
    }
    Ok(kept)
}

/// The errors in the client's standard error, which is read to its end; `None` if there are too many.
async fn errors_in(stderr: impl AsyncRead + Unpin) -> std::io::Result<Option<Vec<ClientError>>> {
    let mut reader = BufReader::new(stderr);
    let (mut errors, mut bytes, mut line) = (Vec::new(), 0, Vec::new());
    loop {
        let read = reader.fill_buf().await?;
        let end = memchr::memchr(b'\n', read);
        let part = &read[..end.unwrap_or(read.len())];
        let room = LINE_BYTES.saturating_sub(line.len());
        line.extend_from_slice(&part[..part.len().min(room)]);
        let (is_last, used) = (read.is_empty(), end.map_or(read.len(), |end| end + 1));
        reader.consume(used);
        if end.is_none() && !is_last {
            continue;
        }
        if let Some(error) = ClientError::parse(&String::from_utf8_lossy(&line)) {
            bytes += error.text.len();
            if bytes < STDERR_BYTES {
                errors.push(error);
            }
        }
        line.clear();
        if is_last {
            return Ok((bytes < STDERR_BYTES).then_some(errors));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn errors_are_found_behind_a_statement_of_any_length() {
        let mut printed = b"--------------\nBINLOG '".to_vec();
        printed.extend(std::iter::repeat_n(b'x', 20 << 20));
        printed
            .extend_from_slice(b"'\n--------------\n\nERROR 1153 (08S01) at line 7: Got a packet");
        let errors = errors_in(printed.as_slice()).await.unwrap().unwrap();
        assert_eq!((errors.len(), errors[0].code, errors[0].line), (1, 1153, 7));
        let many = "ERROR 1062 (23000) at line 7: Duplicate entry\n".repeat(400_000);
        assert!(errors_in(many.as_bytes()).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn the_end_of_the_output_is_kept() {
        let printed = [vec![b'x'; 1 << 20], b"last".to_vec()].concat();
        let kept = last_of(printed.as_slice(), 100).await.unwrap();
        assert!(
            kept.ends_with(b"xlast") && kept.len() <= 200 + 8192,
            "{}",
            kept.len()
        );
    }

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
