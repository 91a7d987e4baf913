//! Packets of the client/server protocol: a length of 3 bytes, a number, and at most 16 MiB - 1 byte; a longer payload
//! continues in further packets.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::tls;
use crate::mysql::ServerUrl;
use crate::mysql::connect::CONNECT_TIMEOUT;

/// Size of the buffer, as long as no row is longer.
pub(super) const BUFFER_BYTES: usize = 256 << 10;

/// Payload of a packet that continues in the next one.
const FULL: usize = 0xff_ffff;

const HEADER_BYTES: usize = 4;

/// Length of a payload from which connections take turns, so that not all of them hold a long one.
const LONG_BYTES: usize = 8 << 20;

/// Room for the rest of a long payload, whose length is not known before its end.
const ROOM_BYTES: usize = 64 << 20;

/// Capacity above which the buffer is released after a long row.
const KEPT_BYTES: usize = 4 << 20;

/// A byte stream in both directions.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Sync + std::fmt::Debug {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + std::fmt::Debug> Duplex for T {}

/// Sends and receives packets.
#[derive(Debug)]
pub(super) struct Packets {
    stream: Pin<Box<dyn Duplex>>,
    buffer: Vec<u8>,
    /// The received bytes in `buffer` that no packet has taken.
    from: usize,
    to: usize,
    /// Number of the next packet.
    sequence: u8,
    /// How long bytes are awaited.
    timeout: Duration,
    /// Connections that share this receive one long payload at a time.
    long: Option<Arc<Semaphore>>,
    /// Held from the first byte of a long payload.
    turn: Option<OwnedSemaphorePermit>,
}

impl Packets {
    pub(super) fn new(stream: Pin<Box<dyn Duplex>>) -> Packets {
        Packets {
            stream,
            buffer: vec![0; BUFFER_BYTES],
            from: 0,
            to: 0,
            sequence: 0,
            timeout: CONNECT_TIMEOUT,
            long: None,
            turn: None,
        }
    }

    /// The same connection, encrypted from here on.
    pub(super) async fn encrypted(self, url: &ServerUrl, host: &str) -> io::Result<Packets> {
        if self.to > self.from {
            // An attacker may have sent it, and it would be read as the server's.
            let why = "the server sent more than its greeting before TLS";
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        let stream = tls::encrypt(url, host, self.stream).await?;
        Ok(Packets { stream, ..self })
    }

    /// Receives payloads longer than [`LONG_BYTES`] only while no other connection with this semaphore holds one.
    pub(super) fn take_turns(&mut self, long: Arc<Semaphore>) {
        self.long = Some(long);
    }

    /// Notes that the last payload is no longer needed.
    #[inline]
    pub(super) fn release(&mut self) {
        self.turn = None;
    }

    /// Sends a command, which begins an exchange.
    pub(super) async fn send_command(&mut self, payload: &[u8]) -> io::Result<()> {
        self.sequence = 0;
        self.send(payload).await
    }

    /// Sends the next packet of an exchange. Commands and logins are short: a payload of 16 MiB is refused.
    pub(super) async fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        if payload.len() >= FULL {
            return Err(io::Error::other("the statement is longer than a packet"));
        }
        let [a, b, c, ..] = (payload.len() as u32).to_le_bytes();
        let mut packet = Vec::with_capacity(HEADER_BYTES + payload.len());
        packet.extend_from_slice(&[a, b, c, self.sequence]);
        packet.extend_from_slice(payload);
        self.sequence = self.sequence.wrapping_add(1);
        self.stream.write_all(&packet).await?;
        self.stream.flush().await
    }

    /// The payload of the next packet, joined with those in which it continues. An error (`TimedOut`) if nothing is
    /// received for that long.
    #[inline]
    pub(super) async fn next(&mut self, timeout: Duration) -> io::Result<&[u8]> {
        self.timeout = timeout;
        if self.to - self.from < HEADER_BYTES {
            self.fill(HEADER_BYTES).await?;
        }
        let bytes = self.header(self.from)?;
        if self.to - self.from < HEADER_BYTES + bytes {
            self.fill(HEADER_BYTES + bytes).await?;
        }
        let bytes = match bytes {
            FULL => self.join().await?,
            bytes => bytes,
        };
        let at = self.from + HEADER_BYTES;
        self.from = at + bytes;
        Ok(&self.buffer[at..at + bytes])
    }

    /// The length in the header at an offset, which has to have the next number.
    #[inline]
    fn header(&mut self, at: usize) -> io::Result<usize> {
        let [a, b, c, sequence] = [0, 1, 2, 3].map(|n| self.buffer[at + n]);
        if sequence != self.sequence {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "packets out of order",
            ));
        }
        self.sequence = sequence.wrapping_add(1);
        Ok(u32::from_le_bytes([a, b, c, 0]) as usize)
    }

    /// Joins the payload of the packet at `from`, which is full, with the following ones; returns its length.
    #[cold]
    async fn join(&mut self) -> io::Result<usize> {
        let mut whole = FULL;
        loop {
            let next = HEADER_BYTES + whole;
            self.fill(next + HEADER_BYTES).await?;
            let bytes = self.header(self.from + next)?;
            self.fill(next + HEADER_BYTES + bytes).await?;
            let at = self.from + next;
            self.buffer.copy_within(at + HEADER_BYTES..self.to, at);
            self.to -= HEADER_BYTES;
            whole += bytes;
            if bytes < FULL {
                return Ok(whole);
            }
        }
    }

    /// Receives until `count` bytes are there. Cancel safe.
    #[cold]
    async fn fill(&mut self, count: usize) -> io::Result<()> {
        if self.to - self.from >= count {
            return Ok(());
        }
        self.buffer.copy_within(self.from..self.to, 0);
        self.to -= self.from;
        self.from = 0;
        if count > LONG_BYTES
            && self.turn.is_none()
            && let Some(long) = self.long.clone()
        {
            self.turn = long.acquire_owned().await.ok();
        }
        if self.buffer.len() < count {
            // Doubling a long row would take twice its length, and so would moving it; what is not written to is no
            // memory yet.
            let room = if count > LONG_BYTES { ROOM_BYTES } else { 0 };
            if self.buffer.capacity() < count {
                self.buffer.reserve_exact(count - self.buffer.len() + room);
            }
            self.buffer.resize(count, 0);
        } else if self.buffer.len() > KEPT_BYTES && count.max(self.to) <= BUFFER_BYTES {
            self.buffer.truncate(BUFFER_BYTES);
            self.buffer.shrink_to_fit();
        }
        while self.to < count {
            let received = self.stream.read(&mut self.buffer[self.to..]);
            // Not around the packet: most packets are received already, and a timer costs more than they do.
            let received = tokio::time::timeout(self.timeout, received).await;
            match received.map_err(|_| io::ErrorKind::TimedOut)?? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                received => self.to += received,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn payloads(sent: Vec<u8>, count: usize) -> Vec<Vec<u8>> {
        let (near, mut far) = tokio::io::duplex(10_000);
        let sending = tokio::spawn(async move { far.write_all(&sent).await });
        let mut packets = Packets::new(Box::pin(near));
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(packets.next(CONNECT_TIMEOUT).await.unwrap().to_vec());
        }
        sending.await.unwrap().unwrap();
        all
    }

    fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
        let [a, b, c, ..] = (payload.len() as u32).to_le_bytes();
        [&[a, b, c, sequence], payload].concat()
    }

    #[tokio::test]
    async fn a_long_payload_is_joined_from_its_packets() {
        for rest in [0, 5] {
            let full = vec![7; FULL];
            let (next, after) = (vec![8; FULL], vec![9; rest]);
            let sent = [
                packet(0, b"first"),
                packet(1, &full),
                packet(2, &next),
                packet(3, &after),
                packet(4, b"last"),
            ];
            let got = payloads(sent.concat(), 3).await;
            assert_eq!(got[0], b"first");
            assert!(got[1] == [full, next, after].concat());
            assert_eq!(got[2], b"last");
        }
    }

    #[tokio::test]
    async fn a_packet_out_of_order_is_an_error() {
        let (near, mut far) = tokio::io::duplex(100);
        far.write_all(&packet(1, b"late")).await.unwrap();
        let mut packets = Packets::new(Box::pin(near));
        let refused = packets.next(CONNECT_TIMEOUT).await;
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn what_was_received_before_tls_is_not_taken_for_the_server_s() {
        let (near, mut far) = tokio::io::duplex(100);
        far.write_all(&[packet(0, b"greeting"), packet(3, &[0; 7])].concat())
            .await
            .unwrap();
        let mut packets = Packets::new(Box::pin(near));
        packets.next(CONNECT_TIMEOUT).await.unwrap();
        let url = "mysql://u@h".parse().unwrap();
        let refused = packets.encrypted(&url, "h").await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn a_connection_that_ends_within_a_packet_is_an_error() {
        let (near, mut far) = tokio::io::duplex(100);
        far.write_all(&[9, 0, 0, 0, 1]).await.unwrap();
        drop(far);
        let ended = Packets::new(Box::pin(near))
            .next(CONNECT_TIMEOUT)
            .await
            .unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::UnexpectedEof);
    }
}
