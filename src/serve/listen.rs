//! Connections, bounded in number and in time: whoever holds one for long, with a request that never ends
//! or none at all, loses it, and where there are too many the oldest goes, so that a new one is always heard:
//! a probe is answered whatever others do.

use std::collections::BTreeMap;
use std::future::Future as _;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::times::instant_in;

/// The most connections at once; the oldest makes room for one more.
const MAX_CONNECTIONS: usize = 256;

/// How long a request may take to be sent, from its first byte, or from the beginning of the connection.
const HEAD: Duration = Duration::from_secs(5);

/// The longest life of a connection: some scrapes long, since they are kept alive.
const LIFE: Duration = Duration::from_secs(120);

/// A listener whose connections are bounded.
#[derive(Debug)]
pub struct Bounded {
    listener: TcpListener,
    open: Arc<Open>,
    limits: Limits,
}

/// Between which bounds connections live.
#[derive(Debug, Clone, Copy)]
struct Limits {
    most: usize,
    head: Duration,
    life: Duration,
}

/// The connections that are open, by age.
#[derive(Debug, Default)]
struct Open(Mutex<(u64, BTreeMap<u64, CancellationToken>)>);

impl Open {
    /// Takes one in, and cuts the oldest where there are more than `most`.
    fn enter(&self, most: usize) -> (u64, CancellationToken) {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, all) = &mut *guard;
        let (number, cut) = (*next, CancellationToken::new());
        *next += 1;
        all.insert(number, cut.clone());
        while all.len() > most.max(1)
            && let Some((_, oldest)) = all.pop_first()
        {
            oldest.cancel();
        }
        (number, cut)
    }

    fn leave(&self, number: u64) {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        guard.1.remove(&number);
    }
}

impl Bounded {
    /// Around a listener.
    pub fn new(listener: TcpListener) -> Bounded {
        let limits = Limits {
            most: MAX_CONNECTIONS,
            head: HEAD,
            life: LIFE,
        };
        Bounded::with(listener, limits)
    }

    fn with(listener: TcpListener, limits: Limits) -> Bounded {
        Bounded {
            listener,
            open: Arc::default(),
            limits,
        }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let (number, cut) = self.open.enter(self.limits.most);
        let connection = Connection {
            stream,
            open: self.open.clone(),
            number,
            head: self.limits.head,
            end: Box::pin(sleep(self.limits.life)),
            cut: Box::pin(cut.cancelled_owned()),
            request: Some(Box::pin(sleep(self.limits.head))),
        };
        (connection, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection until its time is up.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    open: Arc<Open>,
    /// Its place among those.
    number: u64,
    /// How long a request may take to be sent.
    head: Duration,
    /// When it is cut.
    end: Pin<Box<Sleep>>,
    /// Where it makes room for another.
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    /// When the request that is being sent is too slow; none between an answer and the next request.
    request: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let request = self.request.as_mut();
        let is_slow = request.is_some_and(|request| request.as_mut().poll(context).is_ready());
        let is_over = self.end.as_mut().poll(context).is_ready();
        match is_slow || is_over || self.cut.as_mut().poll(context).is_ready() {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(()),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.open.leave(self.number);
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if buffer.filled().len() > before && self.request.is_none() {
            let until = instant_in(self.head);
            self.request = Some(Box::pin(tokio::time::sleep_until(until)));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // An answer: the request was whole. How slowly it is taken, the connection's life bounds.
        self.request = None;
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const SOON: Duration = Duration::from_millis(300);

    async fn serving(most: usize, head: Duration, life: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let bounded = Bounded::with(listener, Limits { most, head, life });
        let pages = Router::new().route("/healthz", get(|| async { "ok" }));
        tokio::spawn(axum::serve(bounded, pages).into_future());
        address
    }

    async fn beginning(address: SocketAddr) -> TcpStream {
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\nX-Slow: ").await.unwrap();
        slow
    }

    async fn answered(address: SocketAddr) -> String {
        let mut probe = TcpStream::connect(address).await.unwrap();
        let request = b"GET /healthz HTTP/1.0\r\n\r\n";
        probe.write_all(request).await.unwrap();
        let mut answer = String::new();
        probe.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// How long it takes until the other end is gone; an answer or none.
    async fn cut_after(mut stream: TcpStream) -> Duration {
        let begun = Instant::now();
        let _ = stream.read_to_end(&mut Vec::new()).await;
        begun.elapsed()
    }

    #[tokio::test]
    async fn a_request_that_does_not_end_and_a_connection_that_says_nothing_are_cut() {
        let address = serving(8, SOON, LIFE).await;
        let silent = TcpStream::connect(address).await.unwrap();
        let slow = beginning(address).await;
        for took in [cut_after(silent).await, cut_after(slow).await] {
            assert!(took < Duration::from_secs(20), "{took:?}");
        }
    }

    #[tokio::test]
    async fn one_that_waits_between_two_requests_is_left_alone_until_its_life_is_over() {
        let address = serving(8, SOON, Duration::from_secs(4)).await;
        let mut kept = TcpStream::connect(address).await.unwrap();
        let mut bytes = [0; 1024];
        for _ in 0..2 {
            kept.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                .await
                .unwrap();
            let count = kept.read(&mut bytes).await.unwrap();
            assert!(bytes[..count].starts_with(b"HTTP/1.1 200"));
            tokio::time::sleep(SOON * 3).await;
        }
        assert!(cut_after(kept).await < Duration::from_secs(30));
    }

    #[tokio::test]
    async fn a_probe_is_answered_whatever_the_number_of_open_connections() {
        let address = serving(4, Duration::from_secs(60), LIFE).await;
        let mut others = Vec::new();
        for _ in 0..40 {
            others.push(beginning(address).await);
        }
        let begun = Instant::now();
        let answer = answered(address).await;
        assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
        assert!(begun.elapsed() < Duration::from_secs(20));
        // The oldest made room.
        assert!(cut_after(others.remove(0)).await < Duration::from_secs(20));
    }
}
