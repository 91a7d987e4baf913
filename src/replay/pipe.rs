//! Applies events through the plain programs, `mysqlbinlog | mysql`, in one session.
//!
//! `mysqlbinlog` ends a file that is cut off without an error, and a client may end early. So the last event sets a
//! variable to a random value, and the client is asked for it at the end: whatever came before has been executed.

use std::process::Stdio;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufWriter};
use tokio::process::{ChildStdin, ChildStdout};

use crate::binlog::event::{Event, Header, MAGIC};
use crate::mysql::Client;
use crate::mysql::client::shell::{self, FeedError};
use crate::replay::feed::Events;
use crate::replay::whole::statement;
use crate::util::pdeathsig;
use crate::{Error, Outcome, Result};

/// Room of a pipe into a program.
const PIPE_BYTES: usize = 256 << 10;

/// Most bytes kept of what `mysqlbinlog` complains of.
const STDERR_BYTES: usize = 32 << 10;

/// What to do: a replay by the client is not resumed.
const START_OVER: &str =
    "restore into an empty server, or into this one with --discard --overwrite --confirm TARGET";

/// ER_NET_PACKET_TOO_LARGE.
const TOO_LONG: u16 = 1153;

/// ER_SPECIFIC_ACCESS_DENIED, ER_BINLOG_CREATE_ROUTINE_NEED_SUPER, ER_SPECIFIC_ACCESS_DENIED_TAG.
const DENIED: [u16; 3] = [1227, 1419, 6038];

/// The variable that the last event sets.
const LAST: &str = "@drctl_replayed";

/// Applies events, which are whole transactions behind their FORMAT_DESCRIPTION, on the server of the client, in a
/// session with these settings.
pub async fn apply(client: &Client, settings: &[String], events: Box<dyn Events>) -> Result<()> {
    let token = hex::encode(rand::random::<[u8; 16]>());
    let feed = async |mut stdin: ChildStdin| {
        for setting in settings {
            stdin.write_all(format!("{setting};\n").as_bytes()).await?;
        }
        print(client, events, &token, &mut stdin).await?;
        stdin
            .write_all(format!("SELECT {LAST};\n").as_bytes())
            .await?;
        Ok(())
    };
    let options = ["--batch", "--skip-column-names"];
    let printed = shell::run(client, &options, feed).await;
    let printed = printed.map_err(|error| match error.outcome() {
        Outcome::Server => error.hint(START_OVER),
        _ => error,
    })?;
    if let Some(error) = printed.errors.into_iter().next() {
        let hint = match error.code {
            TOO_LONG => "set max_allowed_packet = 1073741824 on the destination, and start over",
            code if DENIED.contains(&code) => "grant the account what it lacks, and start over",
            _ => START_OVER,
        };
        return Err(error
            .into_error(None)
            .context("the destination cannot apply a transaction of the log")
            .hint(hint));
    }
    // Other statements may return rows, too.
    let output = String::from_utf8_lossy(&printed.output);
    match output.lines().last() == Some(token.as_str()) {
        true => Ok(()),
        false => Err(Error::verification(
            "mysqlbinlog or the client ended before the last transaction of the log, without an error",
        )
        .hint(START_OVER)),
    }
}

/// Prints events as SQL into the client.
async fn print(
    client: &Client,
    events: Box<dyn Events>,
    token: &str,
    stdin: &mut ChildStdin,
) -> std::result::Result<(), FeedError> {
    let mut command = client.log_command()?;
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let broke = |e| Error::server("cannot run mysqlbinlog").because(e);
    let mut child = pdeathsig::spawn(command).map_err(broke)?;
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(input), Some(output), Some(stderr)) = pipes else {
        return Err(Error::unexpected("mysqlbinlog has no pipes").into());
    };
    let (fed, passed, complaint) = tokio::join!(
        feed(events, token, input),
        pass(output, stdin),
        shell::last_of(stderr, STDERR_BYTES)
    );
    // A client that has gone says why itself.
    passed?;
    let status = child.wait().await.map_err(broke)?;
    match fed {
        Err(FeedError::Unread(error)) => return Err(error.into()),
        Ok(()) if status.success() => return Ok(()),
        _ => {}
    }
    let complaint = complaint.unwrap_or_default();
    let complaint = String::from_utf8_lossy(&complaint);
    let last = complaint.lines().rfind(|line| !line.is_empty());
    Err(Error::server(format!(
        "mysqlbinlog cannot read the log ({status}): {}",
        last.unwrap_or("it does not say why")
    ))
    .into())
}

/// Writes events as a file of a binary log.
async fn feed(
    mut events: Box<dyn Events>,
    token: &str,
    input: ChildStdin,
) -> std::result::Result<(), FeedError> {
    let mut input = BufWriter::with_capacity(PIPE_BYTES, input);
    input.write_all(&MAGIC).await?;
    let mut last: Option<Header> = None;
    while let Some(event) = events.next().await? {
        last = Some(Event::parse(&event)?.header);
        input.write_all(&event).await?;
    }
    let last = last.ok_or_else(|| Error::archive("the log has no beginning"))?;
    let sets = statement(last, &format!("SET {LAST} = '{token}'"));
    input.write_all(&sets).await?;
    input.flush().await?;
    Ok(())
}

/// Copies SQL to the client.
async fn pass(
    mut output: ChildStdout,
    stdin: &mut ChildStdin,
) -> std::result::Result<(), FeedError> {
    let mut buffer = Vec::with_capacity(PIPE_BYTES);
    while output.read_buf(&mut buffer).await? > 0 {
        stdin.write_all(&buffer).await?;
        buffer.clear();
    }
    Ok(())
}
