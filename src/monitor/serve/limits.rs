//! Limits the number and the lifetime of connections, so that probes are always answered: a connection that is
//! idle or slow for too long is closed, and above the maximum number the oldest one.

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

use crate::util::times::instant_in;

/// Maximum number of connections; a further one closes the oldest.
const MAX_CONNECTIONS: usize = 256;

/// Time limit for sending a request, from its first byte or from the start of the connection.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum lifetime of a connection: several scrape intervals, since scrapers keep connections alive.
const LIFETIME: Duration = Duration::from_secs(120);

/// A listener with limited connections.
#[derive(Debug)]
pub struct LimitedListener {
    listener: TcpListener,
    open: Arc<OpenConnections>,
    limits: ConnectionLimits,
}

/// Limits of connections.
#[derive(Debug, Clone, Copy)]
struct ConnectionLimits {
    max_connections: usize,
    request_timeout: Duration,
    lifetime: Duration,
}

/// Open connections, by age.
#[derive(Debug, Default)]
struct OpenConnections(Mutex<(u64, BTreeMap<u64, CancellationToken>)>);

impl OpenConnections {
    /// Registers a connection, and closes the oldest if there are more than `max_connections`.
    fn enter(&self, max_connections: usize) -> (u64, CancellationToken) {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, all) = &mut *guard;
        let (number, evicted) = (*next, CancellationToken::new());
        *next += 1;
        all.insert(number, evicted.clone());
        while all.len() > max_connections.max(1)
            && let Some((_, oldest)) = all.pop_first()
        {
            oldest.cancel();
        }
        (number, evicted)
    }

    fn leave(&self, number: u64) {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        guard.1.remove(&number);
    }
}

impl LimitedListener {
    /// Wraps a listener.
    pub fn new(listener: TcpListener) -> LimitedListener {
        let limits = ConnectionLimits {
            max_connections: MAX_CONNECTIONS,
            request_timeout: REQUEST_TIMEOUT,
            lifetime: LIFETIME,
        };
        LimitedListener::with(listener, limits)
    }

    fn with(listener: TcpListener, limits: ConnectionLimits) -> LimitedListener {
        LimitedListener {
            listener,
            open: Arc::default(),
            limits,
        }
    }
}

impl Listener for LimitedListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let (number, evicted) = self.open.enter(self.limits.max_connections);
        let connection = Connection {
            stream,
            open: self.open.clone(),
            number,
            request_timeout: self.limits.request_timeout,
            end: Box::pin(sleep(self.limits.lifetime)),
            evicted: Box::pin(evicted.cancelled_owned()),
            request: Some(Box::pin(sleep(self.limits.request_timeout))),
        };
        (connection, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection with time limits.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    open: Arc<OpenConnections>,
    /// Its key in [`OpenConnections`].
    number: u64,
    /// Time limit for sending a request.
    request_timeout: Duration,
    /// End of its lifetime.
    end: Pin<Box<Sleep>>,
    /// Resolves when it must make room for another connection.
    evicted: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Deadline of the request being sent; `None` between an answer and the next request.
    request: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let request = self.request.as_mut();
        let is_slow = request.is_some_and(|request| request.as_mut().poll(context).is_ready());
        let is_over = self.end.as_mut().poll(context).is_ready();
        if is_slow || is_over || self.evicted.as_mut().poll(context).is_ready() {
            Err(io::ErrorKind::TimedOut.into())
        } else {
            Ok(())
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
            let until = instant_in(self.request_timeout);
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
        // An answer begins: the request is complete. The connection's lifetime limits a slow reader.
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

    async fn serving(
        max_connections: usize,
        request_timeout: Duration,
        lifetime: Duration,
    ) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let bounded = LimitedListener::with(
            listener,
            ConnectionLimits {
                max_connections,
                request_timeout,
                lifetime,
            },
        );
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

    /// Time until the peer closes the connection, with or without an answer.
    async fn closed_after(mut stream: TcpStream) -> Duration {
        let begun = Instant::now();
        let _ = stream.read_to_end(&mut Vec::new()).await;
        begun.elapsed()
    }

    #[tokio::test]
    async fn an_endless_request_and_a_silent_connection_are_closed() {
        let address = serving(8, SOON, LIFETIME).await;
        let silent = TcpStream::connect(address).await.unwrap();
        let slow = beginning(address).await;
        for took in [closed_after(silent).await, closed_after(slow).await] {
            assert!(took < Duration::from_secs(20), "{took:?}");
        }
    }

    #[tokio::test]
    async fn a_connection_idle_between_requests_is_kept_for_its_lifetime() {
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
        assert!(closed_after(kept).await < Duration::from_secs(30));
    }

    #[tokio::test]
    async fn a_probe_is_answered_whatever_the_number_of_open_connections() {
        let address = serving(4, Duration::from_secs(60), LIFETIME).await;
        let mut others = Vec::new();
        for _ in 0..40 {
            others.push(beginning(address).await);
        }
        let begun = Instant::now();
        let answer = answered(address).await;
        assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
        assert!(begun.elapsed() < Duration::from_secs(20));
        // The oldest was closed to make room.
        assert!(closed_after(others.remove(0)).await < Duration::from_secs(20));
    }
}
