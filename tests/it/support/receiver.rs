//! An HTTP server that takes what notifiers send, remembers it, and answers as told.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::wait::PATIENCE;
use serde_json::Value;

/// How a request is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// With a status and this body.
    Is(u16, String),
    /// With a redirection to that URL.
    Redirect(String),
    /// The connection is kept, and nothing said.
    Hang,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// `POST`
    pub method: String,
    /// With the query.
    pub path: String,
    /// The body.
    pub body: String,
}

impl Received {
    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A running receiver. Its threads end with the process.
#[derive(Debug)]
pub struct Receiver {
    /// Where it listens.
    address: SocketAddr,
    /// What its threads share.
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// What came, oldest first.
    received: Vec<Received>,
    /// The answers to the next requests; then 200.
    answers: Vec<Answer>,
    /// The answer to all others.
    usual: Option<Answer>,
}

impl Receiver {
    /// One that answers 200 to everything.
    pub fn start() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = shared.clone();
                thread::spawn(move || serve(&client, &state));
            }
        });
        Receiver { address, state }
    }

    /// The next requests are answered so, one after the other; those behind them with 200.
    pub fn answer_next(self, answers: &[Answer]) -> Receiver {
        lock(&self.state).answers = answers.to_vec();
        self
    }

    /// Every request is answered so.
    pub fn answer_all(self, answer: Answer) -> Receiver {
        lock(&self.state).usual = Some(answer);
        self
    }

    /// `127.0.0.1:1234`
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL with that path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Everything that came, oldest first.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.state).received.clone()
    }

    /// Takes what came so far.
    pub fn take(&self) -> Vec<Received> {
        std::mem::take(&mut lock(&self.state).received)
    }

    /// Waits until something came that fits.
    #[track_caller]
    pub fn wait_for(&self, fits: impl Fn(&Received) -> bool) -> Received {
        let begun = Instant::now();
        loop {
            if let Some(found) = self.received().into_iter().find(&fits) {
                return found;
            }
            let received = self.received();
            assert!(begun.elapsed() < PATIENCE, "it never came: {received:#?}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(client: &TcpStream, state: &Mutex<State>) -> Option<()> {
    let mut reader = BufReader::new(client);
    while let Some(request) = read(&mut reader) {
        let mut state = lock(state);
        state.received.push(request);
        let answer = match state.answers.is_empty() {
            false => state.answers.remove(0),
            true => state.usual.clone().unwrap_or(Answer::Is(200, "ok".into())),
        };
        drop(state);
        let (status, header, body) = match answer {
            Answer::Is(status, body) => (status, String::new(), body),
            Answer::Redirect(url) => (302, format!("Location: {url}\r\n"), String::new()),
            Answer::Hang => {
                thread::sleep(Duration::from_secs(120));
                return None;
            }
        };
        let length = body.len();
        let mut stream = client;
        write!(
            stream,
            "HTTP/1.1 {status} -\r\nContent-Type: text/plain; version=0.0.4\r\n\
             Content-Length: {length}\r\n{header}\r\n{body}"
        )
        .ok()?;
    }
    None
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Received> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut bytes = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let header = header.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(length) = header.strip_prefix("content-length:") {
            bytes = length.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; bytes];
    reader.read_exact(&mut body).ok()?;
    let body = String::from_utf8_lossy(&body).into_owned();
    Some(Received { method, path, body })
}
