//! Events of the server, over the replication protocol, as the bytes that stand in its file.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::StreamExt as _;
use mysql_async::binlog::BinlogChecksumAlg;
use mysql_async::binlog::events::Event as DriverEvent;
use mysql_async::{BinlogStream, BinlogStreamRequest};

use crate::binlog::event::{Checksum, Event, Header, damaged, kind, rotated_to};
use crate::layout::LogFile;
use crate::mysql::errors::{query_error, server_said};
use crate::mysql::{Role, ServerConfig, connect};
use crate::stream::survey::PATIENCE;
use crate::{Error, Result};

/// Pause after which an idle server says that it is there.
pub const HEARTBEAT: Duration = Duration::from_secs(5);

/// How many heartbeats may be missing before the connection counts as dead.
const MISSED: u32 = 3;

/// The longest that a connection may be silent: a large event over a slow network needs that.
const LONGEST_SILENCE: Duration = Duration::from_secs(600);

/// Memory for events; a larger one has its own.
const BUFFER_BYTES: usize = 256 << 10;

/// An open stream of events.
pub struct Source {
    /// The server's number of the connection.
    pub id: u32,
    stream: BinlogStream,
    role: Role,
    /// How long the server may be silent.
    silence: Duration,
    /// When it last said something.
    heard: tokio::time::Instant,
    /// Memory of the events, used again once they are dropped.
    buffer: BytesMut,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").finish_non_exhaustive()
    }
}

/// What the server sent.
#[derive(Debug)]
pub enum Sent {
    /// An event that stands in its file, whole.
    Event(Bytes),
    /// The description of a file that is read from its middle.
    Description(Bytes),
    /// What follows stands in this file.
    File(LogFile),
    /// The server is there, and there is nothing to send.
    Heartbeat,
    /// The server ended the stream: it shuts down.
    Ended,
}

impl Source {
    /// Opens a stream that begins at a position of a file. `breaks` is how often a connection broke without any
    /// event: the time-out grows with it.
    pub async fn open(
        server: &ServerConfig,
        mariadb: bool,
        file: &LogFile,
        position: u64,
        breaks: u32,
    ) -> Result<Source> {
        let position = u32::try_from(position).map_err(|_| {
            Error::source(format!("{file} is longer than 4 GiB, and no stream can begin behind that"))
                .hint("set max_binlog_size to 1 GiB and avoid transactions of gigabytes; FLUSH BINARY LOGS begins another file")
        })?;
        let mut connection = connect(server).await?.within(PATIENCE);
        let nanoseconds = HEARTBEAT.as_nanos();
        connection
            .run(&format!(
                "SET @master_heartbeat_period = {nanoseconds}, @source_heartbeat_period = {nanoseconds}, \
                 @master_binlog_checksum = @@global.binlog_checksum, \
                 @source_binlog_checksum = @@global.binlog_checksum, net_write_timeout = 3600"
            ))
            .await?;
        if mariadb {
            // 4: a server that understands GTIDs. Without it they are replaced by BEGIN.
            connection.run("SET @mariadb_slave_capability = 4").await?;
        }
        let (role, id) = (connection.role(), connection.id());
        // Each streamer is another replica: the server ends the older one of two with the same number.
        let replica = 0x7000_0000 | (rand::random::<u32>() & 0x0fff_ffff);
        let request = BinlogStreamRequest::new(replica)
            .with_filename(file.as_str().as_bytes())
            .with_pos(u64::from(position));
        let opened = connection.into_conn().get_binlog_stream(request);
        let stream = match tokio::time::timeout(PATIENCE, opened).await {
            Ok(opened) => opened.map_err(|error| failed(role, error))?,
            Err(_) => return Err(silent(role, PATIENCE)),
        };
        let silence = HEARTBEAT.saturating_mul(MISSED);
        let factor = 1_u32.checked_shl(breaks.min(16)).unwrap_or(u32::MAX);
        Ok(Source {
            id,
            stream,
            role,
            silence: silence.saturating_mul(factor).min(LONGEST_SILENCE),
            heard: tokio::time::Instant::now(),
            buffer: BytesMut::with_capacity(BUFFER_BYTES),
        })
    }

    /// The next thing that the server sends. May be dropped and called again: nothing is lost.
    ///
    /// # Errors
    /// `Source`: the connection is gone, or the server was silent for longer than three heartbeats. `Archive`: an
    /// event is not what its header says.
    pub async fn next(&mut self) -> Result<Sent> {
        loop {
            let until = self.heard.checked_add(self.silence);
            let until = until.unwrap_or_else(tokio::time::Instant::now);
            let Ok(next) = tokio::time::timeout_at(until, self.stream.next()).await else {
                return Err(silent(self.role, self.silence));
            };
            self.heard = tokio::time::Instant::now();
            let event = match next {
                None => return Ok(Sent::Ended),
                Some(Err(error)) => return Err(failed(self.role, error)),
                Some(Ok(event)) => event,
            };
            if let Some(bytes) = raw(&event, &mut self.buffer)?
                && let Some(sent) = sort(bytes, &event)?
            {
                return Ok(sent);
            }
        }
    }
}

/// The bytes of an event as the server sent them; `None` for one that the driver took out of a compressed transaction.
fn raw(event: &DriverEvent, buffer: &mut BytesMut) -> Result<Option<Bytes>> {
    let footer = event.footer();
    if !footer.get_checksum_enabled() {
        return Ok(None);
    }
    let read = event.header();
    let header = Header {
        timestamp: read.timestamp(),
        kind: read.event_type_raw(),
        server_id: read.server_id(),
        size: read.event_size(),
        log_pos: read.log_pos(),
        flags: read.flags_raw(),
    };
    let size = header.size as usize;
    let mut large = BytesMut::new();
    let bytes = match size > BUFFER_BYTES {
        true => &mut large,
        false => buffer,
    };
    bytes.clear();
    bytes.reserve(size);
    bytes.extend_from_slice(&header.to_bytes());
    bytes.extend_from_slice(event.data());
    if header.kind == kind::FORMAT_DESCRIPTION {
        let algorithm = footer
            .get_checksum_alg()
            .map_err(|e| damaged("a file has checksums of an unknown kind").because(e))?;
        let algorithm = algorithm.ok_or_else(|| damaged("a file has no checksums"))?;
        bytes.put_u8(match algorithm {
            BinlogChecksumAlg::BINLOG_CHECKSUM_ALG_OFF => 0,
            BinlogChecksumAlg::BINLOG_CHECKSUM_ALG_CRC32 => 1,
        });
    }
    bytes.extend(event.checksum().into_iter().flatten());
    match bytes.len() == size {
        true => Ok(Some(bytes.split().freeze())),
        false => Err(damaged("an event's length is not the one in its header")),
    }
}

/// Tells what stands in the file from what does not; `None` for what means nothing.
fn sort(bytes: Bytes, driver: &DriverEvent) -> Result<Option<Sent>> {
    let event = Event::parse(&bytes)?;
    if !event.is_artificial() {
        return Ok(Some(Sent::Event(bytes)));
    }
    let mut checksum = match driver.footer().get_checksum_alg() {
        Ok(Some(BinlogChecksumAlg::BINLOG_CHECKSUM_ALG_CRC32)) => Checksum::Crc32,
        _ => Checksum::Off,
    };
    // Ahead of the first description the driver does not know that MariaDB's events have checksums.
    if event.check(Checksum::Crc32).is_ok() {
        checksum = Checksum::Crc32;
    }
    Ok(match event.header.kind {
        kind::ROTATE => {
            let to = rotated_to(event.body(checksum));
            let (_, name) = to.ok_or_else(|| damaged("the server names no file"))?;
            Some(Sent::File(name.parse()?))
        }
        kind::FORMAT_DESCRIPTION => Some(Sent::Description(bytes)),
        kind::HEARTBEAT | kind::HEARTBEAT_V2 => Some(Sent::Heartbeat),
        _ => None,
    })
}

fn silent(role: Role, silence: Duration) -> Error {
    role.error(format!(
        "no word from the server within {} s",
        silence.as_secs()
    ))
    .hint("check that it is not frozen, and the network on the way")
    .lost()
}

fn failed(role: Role, error: mysql_async::Error) -> Error {
    let error = query_error(role, "stream of the binary log", error);
    match server_said(&error) {
        Some((1045 | 1227, _)) => error.hint("grant the account REPLICATION SLAVE on *.*"),
        // Everything that a server says of a position is 1236; the next session asks what it has.
        Some((1236, _)) => error.lost(),
        Some(_) => error,
        None => error.lost(),
    }
}

/// Whether the server said that there is no event at the position where the archive ends.
pub fn says_no_such_place(error: &Error) -> bool {
    const WORDS: [&str; 7] = [
        "impossible position",
        "position > file size",
        "bogus data",
        "exceeded max_allowed_packet",
        "crc check",
        "checksum",
        "corrupt",
    ];
    server_said(error).is_some_and(|(code, text)| {
        let text = text.to_ascii_lowercase();
        code == 1236 && WORDS.iter().any(|words| text.contains(words))
    })
}
