//! A wire to a server that breaks, or goes dead, in the middle of what is sent.
//!
//! It knows nothing of the protocol, so TLS passes through it: where it strikes is a count of the
//! bytes that all its connections sent towards the server.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::server::Server;
use super::wait::until;

/// What happens where it strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strike {
    /// The connection that sends there is cut, once.
    Cut,
    /// Every connection is cut, and none is let through any more.
    Sever,
    /// Nothing passes any more, and nobody is told.
    Hold,
}

/// A running wire. Its threads end with the process.
#[derive(Debug)]
pub struct Wire {
    /// Where it listens.
    address: SocketAddr,
    /// What its connections share.
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes that were sent towards the server.
    sent: AtomicU64,
    /// Where it strikes, and what happens then.
    plan: Mutex<Option<(u64, Strike)>>,
    /// Whether it has struck.
    struck: AtomicBool,
    /// Whether it lets nothing through.
    severed: AtomicBool,
    /// Whether it keeps everything back.
    held: AtomicBool,
}

impl Wire {
    /// To the port of that server; strikes once so many bytes were sent.
    pub fn to(server: &Server, bytes: u64, strike: Strike) -> Wire {
        let upstream = SocketAddr::from(([127, 0, 0, 1], server.port()));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let state = Arc::new(State {
            plan: Mutex::new(Some((bytes, strike))),
            ..State::default()
        });
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = shared.clone();
                if state.severed.load(Ordering::SeqCst) {
                    continue;
                }
                thread::spawn(move || state.join(&client, upstream));
            }
        });
        Wire { address, state }
    }

    /// drctl's URL for an account by this wire.
    pub fn url(&self, user: &str) -> String {
        format!("mysql://{user}@{}", self.address)
    }

    /// Waits until it has struck.
    #[track_caller]
    pub fn wait_until_struck(&self) {
        until("it strikes", || self.has_struck());
    }

    /// Whether it has struck.
    pub fn has_struck(&self) -> bool {
        self.state.struck.load(Ordering::SeqCst)
    }

    /// Lets everything through again.
    pub fn mend(&self) {
        self.state.severed.store(false, Ordering::SeqCst);
        self.state.held.store(false, Ordering::SeqCst);
    }
}

impl State {
    fn join(self: Arc<State>, client: &TcpStream, upstream: SocketAddr) -> io::Result<()> {
        let server = TcpStream::connect(upstream)?;
        let (back_from, back_to) = (server.try_clone()?, client.try_clone()?);
        let state = self.clone();
        thread::spawn(move || state.pump(&back_from, &back_to, false));
        self.pump(client, &server, true);
        Ok(())
    }

    fn pump(&self, mut from: &TcpStream, mut to: &TcpStream, counts: bool) {
        let mut buffer = [0; 1 << 14];
        while let Ok(count) = from.read(&mut buffer) {
            let cut = counts && self.strikes(count as u64);
            while self.held.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(10));
            }
            let gone = cut || self.severed.load(Ordering::SeqCst);
            if count == 0 || gone || to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }

    /// Whether the connection that sent these bytes is to be cut.
    fn strikes(&self, bytes: u64) -> bool {
        let sent = self.sent.fetch_add(bytes, Ordering::SeqCst) + bytes;
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, strike)) = plan.take_if(|(at, _)| sent >= *at) else {
            return false;
        };
        match strike {
            Strike::Cut => {}
            Strike::Sever => self.severed.store(true, Ordering::SeqCst),
            Strike::Hold => self.held.store(true, Ordering::SeqCst),
        }
        self.struck.store(true, Ordering::SeqCst);
        strike == Strike::Cut
    }
}
