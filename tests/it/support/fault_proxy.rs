//! An HTTP proxy in front of a real S3 server that fails on demand.
//!
//! The product under test talks to it as to any endpoint and holds no code for faults. Requests
//! and answers pass whole and unchanged (signatures stay right) unless a rule says otherwise;
//! every request is remembered. Threads, not tasks: tests of the real binary have no runtime.
//!
//! ```ignore
//! let proxy = FaultProxy::start(Gateway::shared().address());
//! proxy.fault(When::put("manifest.json").first(1), Fault::DropAnswer);
//! ```

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// What happens to a request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Answered with this status and S3 error code; the server never sees it.
    Answer(u16, &'static str),
    /// The connection ends after that many bytes of its body; the server sees as much.
    CutRequest(usize),
    /// The connection ends after that many bytes of the answer's body.
    CutAnswer(usize),
    /// Answered with this status, these headers and this body; the server never sees it.
    Say(u16, Vec<(&'static str, String)>, String),
    /// The server does it, and the connection ends instead of an answer.
    DropAnswer,
    /// The server does it, and this status and S3 error code is the answer.
    ReplaceAnswer(u16, &'static str),
    /// One bit of its body changes on the way to the server.
    FlipBit,
    /// The server does it, and the body of its answer is what this makes of it.
    Rewrite(fn(&str) -> String),
    /// The answer has another value in this header, whose name is in lower case.
    Header(&'static str, String),
    /// The answer lacks this header, whose name is in lower case.
    WithoutHeader(&'static str),
    /// It waits before it goes on to the server.
    Delay(Duration),
    /// Neither goes on nor is ever answered.
    Hang,
}

/// Which requests a fault is for.
#[derive(Debug, Clone)]
pub struct When {
    /// The method.
    method: &'static str,
    /// What the path contains.
    path: String,
    /// What the query contains.
    query: String,
    /// What the query contains besides.
    also: String,
    /// How many that match are spared first.
    skip: usize,
    /// How many are then failed.
    take: usize,
}

impl When {
    /// Requests of a method whose path contains a text: all of them.
    pub fn is(method: &'static str, path: &str) -> Self {
        When {
            method,
            path: path.into(),
            query: String::new(),
            also: String::new(),
            skip: 0,
            take: usize::MAX,
        }
    }

    /// PUT: of objects and of parts.
    pub fn put(path: &str) -> Self {
        Self::is("PUT", path)
    }

    /// The completion of a multipart upload.
    pub fn complete(path: &str) -> Self {
        Self::is("POST", path).query("uploadId=")
    }

    /// Only with this in the query: `partNumber=2&`.
    pub fn query(mut self, query: &str) -> Self {
        self.query = query.into();
        self
    }

    /// Only with this in the query, too.
    pub fn and(mut self, query: &str) -> Self {
        self.also = query.into();
        self
    }

    /// Only the first so many.
    pub fn first(mut self, count: usize) -> Self {
        self.take = count;
        self
    }

    /// Only the nth, counted from 1.
    pub fn nth(mut self, n: usize) -> Self {
        (self.skip, self.take) = (n - 1, 1);
        self
    }

    fn matches(&self, request: &Request) -> bool {
        request.method == self.method
            && request.path.contains(&self.path)
            && request.query.contains(&self.query)
            && request.query.contains(&self.also)
    }
}

/// A request as it was sent.
#[derive(Debug, Clone)]
pub struct Request {
    /// `PUT`
    pub method: String,
    /// `/bucket/key`, percent-encoded.
    pub path: String,
    /// What follows the question mark.
    pub query: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// Bytes of the body.
    pub body_bytes: usize,
}

impl Request {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|header| header.0 == name);
        found.map(|header| header.1.as_str())
    }
}

#[derive(Debug)]
struct State {
    /// The server.
    upstream: SocketAddr,
    /// In order; the first that applies counts.
    rules: Mutex<Vec<(When, Fault)>>,
    /// Everything that was asked.
    requests: Mutex<Vec<Request>>,
}

/// A running proxy. Its threads end with the process.
#[derive(Debug)]
pub struct FaultProxy {
    /// Where it listens.
    address: SocketAddr,
    /// What its connections share.
    state: Arc<State>,
}

impl FaultProxy {
    /// Listens on a port of loopback in front of a server.
    pub fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State {
            upstream,
            rules: Mutex::default(),
            requests: Mutex::default(),
        });
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let state = shared.clone();
                // A broken connection is what this is for.
                thread::spawn(move || drop(serve(&client, &state)));
            }
        });
        FaultProxy { address, state }
    }

    /// `http://127.0.0.1:…`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds a rule.
    pub fn fault(&self, when: When, fault: Fault) -> &Self {
        lock(&self.state.rules).push((when, fault));
        self
    }

    /// Takes all rules away.
    pub fn heal(&self) {
        lock(&self.state.rules).clear();
    }

    /// The requests so far, in the order of their arrival.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.state.requests).clone()
    }

    /// How many requests a rule is for, whatever its counts say.
    pub fn count_of(&self, when: &When) -> usize {
        let requests = self.requests();
        requests
            .iter()
            .filter(|request| when.matches(request))
            .count()
    }

    /// How many requests of a method had a path with this text.
    pub fn count(&self, method: &'static str, path: &str) -> usize {
        let when = When::is(method, path);
        self.requests()
            .iter()
            .filter(|request| when.matches(request))
            .count()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Remembers a request and says what is to happen to it.
    fn judge(&self, request: &Request) -> Option<Fault> {
        lock(&self.requests).push(request.clone());
        for (when, fault) in lock(&self.rules).iter_mut() {
            if !when.matches(request) || when.take == 0 {
                continue;
            }
            if when.skip > 0 {
                when.skip -= 1;
                continue;
            }
            when.take -= 1;
            return Some(fault.clone());
        }
        None
    }
}

/// A head and a body as they came.
struct Message {
    head: Vec<u8>,
    body: Vec<u8>,
}

fn serve(client: &TcpStream, state: &State) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut client = client.try_clone()?;
    while let Some((message, request)) = read_request(&mut reader, &mut client)? {
        let body_bytes = message.body.len();
        let answer = match state.judge(&request) {
            None => forward(state.upstream, &message)?,
            Some(Fault::Answer(status, code)) => refusal(status, code),
            Some(Fault::Say(status, headers, body)) => answer_of(status, &headers, body),
            Some(Fault::CutRequest(bytes)) => {
                let mut server = TcpStream::connect(state.upstream)?;
                server.write_all(&message.head)?;
                server.write_all(&message.body[..bytes.min(body_bytes)])?;
                return close(&client);
            }
            Some(Fault::CutAnswer(bytes)) => {
                let answer = forward(state.upstream, &message)?;
                client.write_all(&answer.head)?;
                client.write_all(&answer.body[..bytes.min(answer.body.len())])?;
                return close(&client);
            }
            Some(Fault::DropAnswer) => {
                forward(state.upstream, &message)?;
                return close(&client);
            }
            Some(Fault::ReplaceAnswer(status, code)) => {
                forward(state.upstream, &message)?;
                refusal(status, code)
            }
            Some(Fault::FlipBit) => {
                let mut body = message.body.clone();
                if let Some(byte) = body.get_mut(body_bytes / 2) {
                    *byte ^= 1;
                }
                let head = message.head;
                forward(state.upstream, &Message { head, body })?
            }
            Some(Fault::Rewrite(change)) => {
                let mut answer = forward(state.upstream, &message)?;
                let body = change(&String::from_utf8_lossy(&answer.body));
                let length = body.len().to_string();
                answer.head = with_header(&answer.head, "content-length", &length);
                answer.body = body.into_bytes();
                answer
            }
            Some(Fault::Header(name, value)) => {
                let mut answer = forward(state.upstream, &message)?;
                answer.head = with_header(&answer.head, name, &value);
                answer
            }
            Some(Fault::WithoutHeader(name)) => {
                let mut answer = forward(state.upstream, &message)?;
                answer.head = without_header(&answer.head, name);
                answer
            }
            Some(Fault::Delay(pause)) => {
                thread::sleep(pause);
                forward(state.upstream, &message)?
            }
            Some(Fault::Hang) => {
                // Until the client gives up and closes.
                io::copy(&mut reader, &mut io::sink())?;
                return Ok(());
            }
        };
        client.write_all(&answer.head)?;
        // The answer to HEAD has none; what follows it would be read as the next answer.
        if request.method != "HEAD" {
            client.write_all(&answer.body)?;
        }
    }
    Ok(())
}

fn close(client: &TcpStream) -> io::Result<()> {
    client.shutdown(std::net::Shutdown::Both)
}

fn refusal(status: u16, code: &str) -> Message {
    let body = format!("<Error><Code>{code}</Code><Message>injected</Message></Error>");
    answer_of(status, &[("content-type", "application/xml".into())], body)
}

fn answer_of(status: u16, headers: &[(&'static str, String)], body: String) -> Message {
    let mut head = format!(
        "HTTP/1.1 {status} Injected\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    Message {
        head: head.into_bytes(),
        body: body.into_bytes(),
    }
}

/// Asks the server and takes its whole answer.
fn forward(upstream: SocketAddr, message: &Message) -> io::Result<Message> {
    let mut server = TcpStream::connect(upstream)?;
    server.write_all(&message.head)?;
    server.write_all(&message.body)?;
    let mut reader = BufReader::new(server);
    let no_body = message.head.starts_with(b"HEAD ");
    loop {
        let Some(head) = read_head(&mut reader)? else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let (first, headers) = parse_head(&head);
        let status = first.split(' ').nth(1).unwrap_or_default();
        if status.starts_with('1') {
            continue;
        }
        let body = match no_body || status == "204" || status == "304" {
            true => Vec::new(),
            false => read_body(&mut reader, &headers)?,
        };
        return Ok(Message { head, body });
    }
}

fn read_request(
    reader: &mut impl BufRead,
    client: &mut TcpStream,
) -> io::Result<Option<(Message, Request)>> {
    let Some(head) = read_head(reader)? else {
        return Ok(None);
    };
    let (first, headers) = parse_head(&head);
    let mut words = first.split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if headers.iter().any(|(name, _)| name == "expect") {
        client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let body = read_body(reader, &headers)?;
    let request = Request {
        method,
        path: path.into(),
        query: query.into(),
        body_bytes: body.len(),
        headers,
    };
    Ok(Some((Message { head, body }, request)))
}

/// Up to and with the empty line; none at the end of the connection.
fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    loop {
        if reader.read_until(b'\n', &mut head)? == 0 {
            return Ok(None);
        }
        if head.ends_with(b"\r\n\r\n") {
            return Ok(Some(head));
        }
    }
}

fn parse_head(head: &[u8]) -> (String, Vec<(String, String)>) {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or_default().to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
    (first, headers.collect())
}

/// A head with another value in one header.
fn with_header(head: &[u8], name: &str, value: &str) -> Vec<u8> {
    let text = String::from_utf8_lossy(head);
    let is_it = |line: &str| {
        line.split_once(':')
            .is_some_and(|(its, _)| its.eq_ignore_ascii_case(name))
    };
    let line = |line: &str| match is_it(line) {
        true => format!("{name}: {value}"),
        false => line.to_owned(),
    };
    let lines: Vec<String> = text.split("\r\n").map(line).collect();
    lines.join("\r\n").into_bytes()
}

/// A head without one header.
fn without_header(head: &[u8], name: &str) -> Vec<u8> {
    let text = String::from_utf8_lossy(head);
    let is_it = |line: &&str| {
        line.split_once(':')
            .is_some_and(|(its, _)| its.eq_ignore_ascii_case(name))
    };
    let lines: Vec<&str> = text.split("\r\n").filter(|line| !is_it(line)).collect();
    lines.join("\r\n").into_bytes()
}

/// The body as it is on the wire.
fn read_body(reader: &mut impl BufRead, headers: &[(String, String)]) -> io::Result<Vec<u8>> {
    let header = |name: &str| headers.iter().find(|header| header.0 == name);
    let mut body = Vec::new();
    if let Some((_, length)) = header("content-length") {
        let length: u64 = length.parse().map_err(io::Error::other)?;
        if reader.take(length).read_to_end(&mut body)? as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    } else if header("transfer-encoding").is_some() {
        loop {
            let begin = body.len();
            reader.read_until(b'\n', &mut body)?;
            let size = String::from_utf8_lossy(&body[begin..]);
            let size = size.trim().split(';').next().unwrap_or_default().to_owned();
            let size = u64::from_str_radix(&size, 16).map_err(io::Error::other)?;
            reader.take(size + 2).read_to_end(&mut body)?;
            if size == 0 {
                break;
            }
        }
    }
    Ok(body)
}
