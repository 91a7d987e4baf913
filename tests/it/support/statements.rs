//! A socket in front of a server that reads what is asked of it, and strikes at chosen statements.
//!
//! It knows as much of the protocol as it takes to see where a statement begins: the connections by a
//! Unix socket are neither encrypted nor compressed.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::lab::ScratchDir;
use super::server::Server;

/// What happens at a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strike {
    /// It passes.
    Pass,
    /// The connection is cut, and the server never gets it.
    Before,
    /// The server has executed it, and the connection is cut instead of its answer.
    After,
    /// The server never gets it, and the answer is that it was interrupted.
    Refuse,
}

/// Decides about a statement by its text.
type Decide = Box<dyn FnMut(&str) -> Strike + Send>;

/// A running one. Its threads end with the process.
pub struct Statements {
    dir: ScratchDir,
}

impl Statements {
    /// In front of that server; `decide` is asked about each statement before it is sent on.
    pub fn to(server: &Server, decide: impl FnMut(&str) -> Strike + Send + 'static) -> Statements {
        let statements = Statements {
            dir: ScratchDir::new(),
        };
        let listener = UnixListener::bind(statements.socket()).expect("a free name");
        let (upstream, decide) = (
            server.socket(),
            Arc::new(Mutex::new(Box::new(decide) as Decide)),
        );
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A server that is gone accepts nothing: neither does this.
                let Ok(server) = UnixStream::connect(&upstream) else {
                    continue;
                };
                let decide = decide.clone();
                thread::spawn(move || carry(&client, &server, &decide));
            }
        });
        statements
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("front")
    }

    /// drctl's URL for root by this socket.
    pub fn url(&self) -> String {
        format!("mysql://root@localhost/?socket={}", self.socket().display())
    }
}

fn carry(client: &UnixStream, server: &UnixStream, decide: &Mutex<Decide>) {
    let cut = || {
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    };
    let swallow = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut buffer = vec![0; 64 << 10];
            let (mut from, mut to) = (server, client);
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                if swallow.load(Ordering::SeqCst) || to.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
            cut();
        });
        let (mut from, mut to) = (client, server);
        while let Some(packet) = packet(&mut from) {
            match statement(&packet).map(|text| {
                let mut decide = decide.lock().unwrap_or_else(PoisonError::into_inner);
                (*decide)(&text)
            }) {
                Some(Strike::Before) => break,
                Some(Strike::After) => swallow.store(true, Ordering::SeqCst),
                Some(Strike::Refuse) => match from.write_all(&interrupted()) {
                    Ok(()) => continue,
                    Err(_) => break,
                },
                Some(Strike::Pass) | None => {}
            }
            if to.write_all(&packet).is_err() {
                break;
            }
        }
        if !swallow.load(Ordering::SeqCst) {
            cut();
        }
    });
}

/// One packet of the protocol with its header: three bytes of length, one of its number.
fn packet(from: &mut impl Read) -> Option<Vec<u8>> {
    let mut packet = vec![0; 4];
    from.read_exact(&mut packet).ok()?;
    let length =
        usize::from(packet[0]) | usize::from(packet[1]) << 8 | usize::from(packet[2]) << 16;
    packet.resize(4 + length, 0);
    from.read_exact(&mut packet[4..]).ok()?;
    Some(packet)
}

/// ER_QUERY_INTERRUPTED (1317) as the answer to a statement.
fn interrupted() -> Vec<u8> {
    let mut answer = b"\xff\x25\x05#70100Query execution was interrupted".to_vec();
    answer.splice(0..0, [answer.len() as u8, 0, 0, 1]);
    answer
}

/// The beginning of a statement that a packet brings: COM_QUERY or COM_STMT_PREPARE.
fn statement(packet: &[u8]) -> Option<String> {
    const MOST_BYTES: usize = 300;
    match packet {
        [_, _, _, 0, 0x03 | 0x16, text @ ..] => {
            let text = &text[..text.len().min(MOST_BYTES)];
            Some(String::from_utf8_lossy(text).into_owned())
        }
        _ => None,
    }
}
