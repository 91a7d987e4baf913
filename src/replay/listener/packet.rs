//! Packets of the MySQL protocol, on the side of the server.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader, BufWriter};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Payload bytes of one packet; a longer payload continues in the next one, which may be empty.
const MOST_PAYLOAD_BYTES: usize = 0xff_ff_ff;

/// Bytes that are collected before they are sent.
const BUFFER_BYTES: usize = 256 << 10;

/// Status flags of a session: autocommit.
const STATUS: [u8; 2] = [2, 0];

/// One client's connection.
#[derive(Debug)]
pub struct Wire {
    input: BufReader<OwnedReadHalf>,
    output: BufWriter<OwnedWriteHalf>,
    /// Number of the next packet of an exchange.
    sequence: u8,
}

impl Wire {
    /// Over this connection.
    pub fn new(stream: TcpStream) -> Wire {
        let (input, output) = stream.into_split();
        Wire {
            input: BufReader::new(input),
            output: BufWriter::with_capacity(BUFFER_BYTES, output),
            sequence: 0,
        }
    }

    /// The client's next command, which begins an exchange. `None` after its last one.
    pub async fn command(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self.receive().await {
            Ok(payload) => Ok(Some(payload)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The client's next packet. One that continues in another is an error: no replica sends as much.
    pub async fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut header = [0; 4];
        self.input.read_exact(&mut header).await?;
        let [a, b, c, sequence] = header;
        let length = u32::from_le_bytes([a, b, c, 0]) as usize;
        if length >= MOST_PAYLOAD_BYTES {
            return Err(io::Error::other("the client sent 16 MiB"));
        }
        self.sequence = sequence.wrapping_add(1);
        let mut payload = vec![0; length];
        self.input.read_exact(&mut payload).await?;
        Ok(payload)
    }

    /// Waits until the client sends anything or closes; a replica does so only to end.
    pub async fn closed(&mut self) {
        let mut byte = [0];
        let _ = self.input.read(&mut byte).await;
    }

    /// Sends one payload.
    pub async fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        self.send_parts(&[], payload).await
    }

    /// Sends one event of a binary log, uncopied.
    pub async fn send_event(&mut self, event: &[u8]) -> io::Result<()> {
        self.send_parts(&[0], event).await
    }

    /// Sends what was collected.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.output.flush().await
    }

    /// Answers that a statement was done, and sends it.
    pub async fn ok(&mut self) -> io::Result<()> {
        self.send(&[0, 0, 0, STATUS[0], STATUS[1], 0, 0]).await?;
        self.flush().await
    }

    /// Answers with an error, and sends it.
    pub async fn error(&mut self, code: u16, state: &[u8; 5], message: &str) -> io::Result<()> {
        let mut packet = vec![0xff];
        packet.extend_from_slice(&code.to_le_bytes());
        packet.push(b'#');
        packet.extend_from_slice(state);
        packet.extend_from_slice(message.as_bytes());
        self.send(&packet).await?;
        self.flush().await
    }

    /// Answers with one row of texts, and sends it. No text may be longer than 250 bytes.
    pub async fn row(&mut self, columns: &[(&str, Option<String>)]) -> io::Result<()> {
        let text = |text: &str| {
            debug_assert!(text.len() <= 250);
            let mut encoded = vec![u8::try_from(text.len()).unwrap_or(250)];
            encoded.extend(text.bytes().take(250));
            encoded
        };
        self.send(&[u8::try_from(columns.len()).unwrap_or(0)])
            .await?;
        for (name, _) in columns {
            let mut column = Vec::new();
            for field in ["def", "", "", "", name, name] {
                column.extend(text(field));
            }
            // Twelve bytes: utf8, 255 wide, VAR_STRING, no flags, no decimals, filler.
            column.extend([0x0c, 33, 0, 255, 0, 0, 0, 0xfd, 0, 0, 0, 0, 0]);
            self.send(&column).await?;
        }
        let eof = [0xfe, 0, 0, STATUS[0], STATUS[1]];
        self.send(&eof).await?;
        let value = |value: &Option<String>| value.as_ref().map_or(vec![0xfb], |it| text(it));
        let row: Vec<u8> = columns.iter().flat_map(|(_, of)| value(of)).collect();
        self.send(&row).await?;
        self.send(&eof).await?;
        self.flush().await
    }

    /// Sends a head and a body as one payload.
    async fn send_parts(&mut self, mut head: &[u8], mut body: &[u8]) -> io::Result<()> {
        loop {
            let length = (head.len() + body.len()).min(MOST_PAYLOAD_BYTES);
            let (now, later) = body.split_at(length - head.len());
            let [a, b, c, ..] = (length as u32).to_le_bytes();
            self.output.write_all(&[a, b, c, self.sequence]).await?;
            self.output.write_all(head).await?;
            self.output.write_all(now).await?;
            self.sequence = self.sequence.wrapping_add(1);
            (head, body) = (&[], later);
            if length < MOST_PAYLOAD_BYTES {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pair() -> (Wire, TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        (Wire::new(accepted.unwrap().0), client.unwrap())
    }

    #[tokio::test]
    async fn a_long_event_is_split_and_a_full_packet_is_followed_by_an_empty_one() {
        for (length, packets) in [
            (0, vec![1]),
            (MOST_PAYLOAD_BYTES - 2, vec![MOST_PAYLOAD_BYTES - 1]),
            (MOST_PAYLOAD_BYTES - 1, vec![MOST_PAYLOAD_BYTES, 0]),
            (MOST_PAYLOAD_BYTES, vec![MOST_PAYLOAD_BYTES, 1]),
        ] {
            let (mut wire, mut client) = pair().await;
            let event: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let sent = event.clone();
            tokio::spawn(async move {
                wire.send_event(&sent).await.unwrap();
                wire.flush().await.unwrap();
            });
            let mut payload = Vec::new();
            for (number, expected) in packets.into_iter().enumerate() {
                let mut header = [0; 4];
                client.read_exact(&mut header).await.unwrap();
                let size = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
                assert_eq!((size, usize::from(header[3])), (expected, number));
                let mut part = vec![0; size];
                client.read_exact(&mut part).await.unwrap();
                payload.extend(part);
            }
            assert_eq!(payload[0], 0);
            assert!(payload[1..] == event[..], "{length}");
        }
    }

    #[tokio::test]
    async fn a_command_ends_with_the_connection() {
        let (mut wire, mut client) = pair().await;
        client.write_all(b"\x02\0\0\0\x03x").await.unwrap();
        drop(client);
        assert_eq!(wire.command().await.unwrap(), Some(b"\x03x".to_vec()));
        assert_eq!(wire.command().await.unwrap(), None);
    }
}
