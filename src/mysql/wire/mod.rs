//! A connection that returns the packets of rows as they arrive, for reading whole tables.
//!
//! The driver parses each value of each row, which costs more than everything else that a dump does with it. This
//! connection only logs in (`login`), runs statements without results, and lends the payload of each row packet.
//! The driver's library makes the packets of the login, and the driver itself logs in where a server does not have the
//! password in its cache; TLS is rustls' (`tls`).
//!
//! Memory: a buffer of 256 KiB, or as long as the longest row.

mod login;
mod packets;
mod tls;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mysql_async::consts::CapabilityFlags;
use mysql_async::{IoError, ServerError};
use mysql_common::io::ParseBuf;
use mysql_common::packets::ErrPacket;
use tokio::sync::Semaphore;

use crate::mysql::connect::{CONNECT_TIMEOUT, KEEPALIVE, QUERY_TIMEOUT, SESSION, as_any_client};
use crate::mysql::errors::{connect_error, no_answer, query_error};
use crate::mysql::url::Tls;
use crate::mysql::{Role, ServerConfig, limits};
use crate::{Error, Result};
use packets::Packets;

/// The first byte of a response that reports an error.
const ERROR: u8 = 0xff;

/// The first byte of the packet that ends a list of columns or rows.
const END: u8 = 0xfe;

/// Length from which a packet that begins with [`END`] is a row whose first value is longer than 16 MiB.
const LONG_ROW_BYTES: usize = 9;

/// `COM_QUERY`.
const QUERY: u8 = 3;

/// Writes on the connection may wait this long for a slow store, seconds; after the limits, which set them, too.
const WRITE_TIMEOUT: &str = "net_write_timeout = 86400, wait_timeout = 86400";

/// An open connection, in the session of [`crate::mysql::connect()`].
#[derive(Debug)]
pub struct RowConnection {
    packets: Packets,
    role: Role,
}

/// A column of a result: what decides how its values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WireColumn {
    /// The protocol's number of the type.
    pub kind: u8,
    /// The number of the collation; 63 for binary values and numbers.
    pub collation: u16,
}

impl RowConnection {
    /// Opens a connection and sets up its session.
    ///
    /// # Errors
    ///
    /// Those of [`crate::mysql::connect()`].
    pub async fn open(config: &ServerConfig) -> Result<RowConnection> {
        let attempt = async {
            let mut encrypt = config.url.tries_tls();
            let mut opened = login::open(config, encrypt).await;
            if matches!(opened, Err(login::Failed::NoTls)) && config.url.tls == Tls::Preferred {
                encrypt = false;
                opened = login::open(config, encrypt).await;
            }
            if matches!(opened, Err(login::Failed::NotCached)) {
                if let Ok(driver) = as_any_client(config).await {
                    driver.close().await;
                }
                opened = login::open(config, encrypt).await;
            }
            opened
        };
        let opened = tokio::time::timeout(CONNECT_TIMEOUT, attempt).await;
        let opened = opened.map_err(|_| no_answer(config))?;
        let packets = opened.map_err(|failed| connect_error(config, failed.into_driver_error()))?;
        let mut connection = RowConnection {
            packets,
            role: config.role,
        };
        let session = format!("{SESSION}, {}, {WRITE_TIMEOUT}", limits::assignments());
        connection.run(&session).await?;
        Ok(connection)
    }

    /// Runs a statement without a result.
    pub async fn run(&mut self, sql: &str) -> Result<()> {
        self.begin(sql).await?;
        self.end(sql).await
    }

    /// Sends a statement without a result, whose answer [`RowConnection::end`] awaits.
    pub async fn begin(&mut self, sql: &str) -> Result<()> {
        let mut command = Vec::with_capacity(1 + sql.len());
        command.push(QUERY);
        command.extend_from_slice(sql.as_bytes());
        let sent = self.packets.send_command(&command).await;
        let role = self.role;
        sent.map_err(|io| lost(role, io))
    }

    /// The answer to a statement without a result.
    pub async fn end(&mut self, sql: &str) -> Result<()> {
        match self.receive(sql, QUERY_TIMEOUT).await?.first() {
            Some(0) => Ok(()),
            _ => Err(self.unexpected(sql)),
        }
    }

    /// Sends a query, and returns the columns of its result; [`RowConnection::next_row`] returns the rows.
    pub async fn query(&mut self, sql: &str) -> Result<Vec<WireColumn>> {
        self.query_within(sql, QUERY_TIMEOUT).await
    }

    /// As [`RowConnection::query`], with a time limit for each packet.
    async fn query_within(&mut self, sql: &str, limit: Duration) -> Result<Vec<WireColumn>> {
        self.begin(sql).await?;
        let mut packet = self.receive(sql, limit).await?;
        let count = length(&mut packet).filter(|count| *count > 0);
        let count = count.ok_or_else(|| self.unexpected(sql))?;
        let mut columns = Vec::new();
        for _ in 0..count {
            let column = WireColumn::parse(self.receive(sql, limit).await?);
            columns.push(column.ok_or_else(|| self.unexpected(sql))?);
        }
        match self.receive(sql, limit).await? {
            [END, ..] => Ok(columns),
            _ => Err(self.unexpected(sql)),
        }
    }

    /// Receives long rows in turn with other connections, each from its first byte until the next row is asked for.
    pub fn take_turns(&mut self, long: Arc<Semaphore>) {
        self.packets.take_turns(long);
    }

    /// The payload of the next row: its values, each as a length and its bytes ([`next_value`]). `None` after the last
    /// row.
    pub async fn next_row(&mut self, sql: &str) -> Result<Option<&[u8]>> {
        self.next_row_within(sql, STALL).await
    }

    async fn next_row_within(&mut self, sql: &str, limit: Duration) -> Result<Option<&[u8]>> {
        self.packets.release();
        let row = self.receive(sql, limit).await?;
        let ended = row.first() == Some(&END) && row.len() < LONG_ROW_BYTES;
        Ok((!ended).then_some(row))
    }

    /// The rows of a small result, as text.
    pub async fn rows(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        self.rows_within(sql, QUERY_TIMEOUT).await
    }

    /// As [`RowConnection::rows`], for a query that reads many rows before its first. The descriptions of its columns may
    /// come long before that: a server sends what fills its buffer.
    pub async fn slow_rows(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        self.rows_within(sql, SLOW).await
    }

    async fn rows_within(
        &mut self,
        sql: &str,
        limit: Duration,
    ) -> Result<Vec<Vec<Option<String>>>> {
        let columns = self.query_within(sql, limit).await?.len();
        let mut rows = Vec::new();
        while let Some(mut row) = self.next_row_within(sql, limit).await? {
            let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
            let values = (0..columns).map(|_| next_value(&mut row).map(|value| value.map(text)));
            rows.push(values.collect::<Option<Vec<_>>>());
        }
        let rows: Option<Vec<_>> = rows.into_iter().collect();
        rows.ok_or_else(|| self.unexpected(sql))
    }

    /// The next packet, which is not an error.
    async fn receive(&mut self, sql: &str, timeout: Duration) -> Result<&[u8]> {
        let role = self.role;
        let packet = match self.packets.next(timeout).await {
            Ok(packet) => packet,
            Err(io) if io.kind() == io::ErrorKind::TimedOut => {
                let what = format!("the server sent nothing for {} s", timeout.as_secs());
                return Err(role.error(what).lost());
            }
            Err(io) => return Err(lost(role, io)),
        };
        if packet.first() == Some(&ERROR) {
            return Err(query_error(role, sql, server_error(packet)));
        }
        Ok(packet)
    }

    fn unexpected(&self, sql: &str) -> Error {
        let io = io::Error::other("unexpected packet");
        query_error(self.role, sql, IoError::Io(io).into())
    }
}

fn lost(role: Role, io: io::Error) -> Error {
    role.error(format!("the server closed the connection ({})", io.kind()))
        .hint("check its log, KILL statements and net_write_timeout, and run it again")
        .caused_by(IoError::Io(io))
        .lost()
}

/// Maximum time without a packet of a result.
const STALL: Duration = Duration::from_secs(600);

/// Maximum time without a packet of the result of a slow query.
const SLOW: Duration = Duration::from_secs(6 * 3_600);

impl WireColumn {
    fn parse(mut packet: &[u8]) -> Option<WireColumn> {
        // Catalog, schema, table, original table, name, original name.
        for _ in 0..6 {
            next_value(&mut packet)?;
        }
        // The length of the rest, collation (2 bytes), length (4 bytes), type.
        let [_, low, high, _, _, _, _, kind, ..] = packet else {
            return None;
        };
        Some(WireColumn {
            kind: *kind,
            collation: u16::from_le_bytes([*low, *high]),
        })
    }
}

/// Takes the next value off a row: `Some(None)` for NULL, `None` if the row is too short.
#[inline]
pub fn next_value<'a>(row: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    const NULL: u8 = 0xfb;
    if row.first() == Some(&NULL) {
        *row = &row[1..];
        return Some(None);
    }
    let bytes = usize::try_from(length(row)?).ok()?;
    let (value, rest) = row.split_at_checked(bytes)?;
    *row = rest;
    Some(Some(value))
}

/// Takes a length-encoded integer off the bytes.
#[inline]
fn length(bytes: &mut &[u8]) -> Option<u64> {
    let (first, rest) = bytes.split_first()?;
    let width = match first {
        0..=0xfa => {
            *bytes = rest;
            return Some(u64::from(*first));
        }
        0xfc => 2,
        0xfd => 3,
        0xfe => 8,
        _ => return None,
    };
    let (number, rest) = rest.split_at_checked(width)?;
    *bytes = rest;
    let mut wide = [0; 8];
    wide[..width].copy_from_slice(number);
    Some(u64::from_le_bytes(wide))
}

/// The error in a packet.
fn server_error(packet: &[u8]) -> mysql_async::Error {
    let parsed = ParseBuf(packet).parse::<ErrPacket<'_>>(CapabilityFlags::CLIENT_PROTOCOL_41);
    match parsed {
        Ok(ErrPacket::Error(error)) => mysql_async::Error::Server(ServerError {
            code: error.error_code(),
            message: error.message_str().into_owned(),
            state: error
                .sql_state_ref()
                .map(|state| state.as_str().into_owned())
                .unwrap_or_default(),
        }),
        _ => IoError::Io(io::Error::other("unreadable error of the server")).into(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// The result of a query from a server that sends `sent` packet by packet, each after a pause, and then nothing.
    async fn of(sent: &[&[u8]], pause: u64) -> Result<Vec<Vec<Option<String>>>> {
        let (near, mut far) = tokio::io::duplex(10_000);
        let packets = (1u8..).zip(sent).map(|(sequence, payload)| {
            let length = u8::try_from(payload.len()).unwrap();
            [&[length, 0, 0, sequence], *payload].concat()
        });
        let packets: Vec<Vec<u8>> = packets.collect();
        let server = tokio::spawn(async move {
            for packet in packets {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                far.write_all(&packet).await.unwrap();
            }
            std::future::pending::<()>().await;
        });
        let mut connection = RowConnection {
            packets: Packets::new(Box::pin(near)),
            role: Role::Source,
        };
        let rows = connection.rows_within("SELECT 1", Duration::from_millis(1_500));
        let rows = tokio::time::timeout(Duration::from_secs(30), rows).await;
        server.abort();
        rows.expect("an end within the limit")
    }

    #[tokio::test]
    async fn a_limit_is_of_each_packet_of_a_result_from_the_first_to_the_last() {
        let mut column = [[0; 6].as_slice(), &[0x0c]].concat();
        column.extend([63, 0, 11, 0, 0, 0, 8, 0, 0, 0, 0, 0]);
        let all: [&[u8]; 5] = [
            &[1],
            &column,
            &[END, 0, 0, 2, 0],
            &[1, b'7'],
            &[END, 0, 0, 2, 0],
        ];
        // Longer in all than the limit.
        let rows = of(&all, 500).await.unwrap();
        assert_eq!(rows, [[Some("7".to_owned())]]);
        for count in 0..all.len() {
            let error = of(&all[..count], 0).await.unwrap_err().to_string();
            assert!(
                error.contains("the server sent nothing"),
                "{count}: {error}"
            );
        }
    }

    #[test]
    fn the_values_of_a_row_are_taken_by_their_lengths() {
        let long = vec![b'x'; 300];
        let mut row = vec![0xfb, 0, 2, b'a', b'b', 0xfc, 44, 1];
        row.extend(&long);
        let mut rest = &row[..];
        assert_eq!(next_value(&mut rest), Some(None));
        assert_eq!(next_value(&mut rest), Some(Some(&b""[..])));
        assert_eq!(next_value(&mut rest), Some(Some(&b"ab"[..])));
        assert_eq!(next_value(&mut rest), Some(Some(&long[..])));
        assert_eq!(next_value(&mut rest), None);
    }

    #[test]
    fn a_value_longer_than_its_row_is_refused() {
        for short in [&[2, b'a'][..], &[0xfc, 1], &[0xff], &[0xfe, 0, 0]] {
            assert_eq!(next_value(&mut &*short), None, "{short:?}");
        }
    }
}
