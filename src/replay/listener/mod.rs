//! A replication source that serves what a [`Feed`] holds to one stock replica.
//!
//! - [`packet`]: the protocol's packets; [`login`]: the greeting and the check of the password.
//! - [`answers`]: what replicas ask before they read.
//! - [`dump`]: the events; [`virtual_log`]: where a replica believes them to stand.
//!
//! Memory: one event, and the buffer of one connection. A replica that is slower than the feed holds the feed up.

mod answers;
mod dump;
mod login;
mod packet;
mod virtual_log;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mysql_common::constants::Command;
use mysql_common::io::ParseBuf;
use mysql_common::packets::ComBinlogDumpGtid;
use rand::Rng as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::mysql::Flavour;
use crate::replay::feed::Feed;
use crate::{Error, Result};

use answers::{Answer, Identity, Session};
use dump::End;
use packet::Wire;

pub use login::Account;
pub use virtual_log::checksum;

/// How long a client may take to log in.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections at a time: one replica has one, and one that is being replaced.
const MOST_CONNECTIONS: usize = 8;

/// Server ids that are rarely configured: a replica refuses a source with its own.
const SERVER_IDS: std::ops::Range<u32> = 3_000_000_000..4_000_000_000;

/// A server id that is not in use.
pub fn unused_server_id() -> u32 {
    rand::rng().random_range(SERVER_IDS)
}

/// Whether [`unused_server_id`] gave it.
pub fn is_unused_server_id(id: u32) -> bool {
    SERVER_IDS.contains(&id)
}

/// A source that listens, and is not asked yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What all connections know.
#[derive(Debug)]
struct Shared {
    flavour: Flavour,
    account: Account,
    identity: Identity,
    connections: AtomicU32,
    /// The number of the connection that is served last; others end.
    served: watch::Sender<u32>,
}

impl Listener {
    /// Listens at an address; port 0 takes a free one.
    ///
    /// # Errors
    /// The address cannot be used.
    pub async fn bind(address: SocketAddr, flavour: Flavour) -> Result<Listener> {
        let failed = |e| Error::unexpected(format!("cannot listen at {address}")).because(e);
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        let identity = Identity {
            server_id: unused_server_id(),
            uuid: uuid(),
        };
        Ok(Listener {
            socket,
            address,
            shared: Arc::new(Shared {
                flavour,
                account: Account::random(),
                identity,
                connections: AtomicU32::new(0),
                served: watch::Sender::new(0),
            }),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The account that a replica logs in with.
    pub fn account(&self) -> &Account {
        &self.shared.account
    }

    /// Its server id.
    pub fn server_id(&self) -> u32 {
        self.shared.identity.server_id
    }

    /// Serves until the future is dropped, which closes all connections; returns only what makes it impossible.
    pub async fn serve(self, feed: Arc<dyn Feed>) -> Error {
        let free = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, peer)) => {
                        let Ok(permit) = free.clone().try_acquire_owned() else {
                            tracing::warn!(%peer, "too many connections to the replay; this one is closed");
                            continue;
                        };
                        let (shared, feed) = (self.shared.clone(), feed.clone());
                        connections.spawn(async move {
                            let served = shared.connection(stream, peer, feed).await;
                            drop(permit);
                            served
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the replay's listener cannot accept");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(ended) = connections.join_next() => match ended {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return error,
                    Err(error) => return Error::unexpected("the replay's listener").because(error),
                },
            }
        }
    }
}

impl Shared {
    /// Serves one connection to its end.
    async fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        feed: Arc<dyn Feed>,
    ) -> Result<()> {
        let id = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let _ = stream.set_nodelay(true);
        let mut wire = Wire::new(stream);
        let login = login::admit(&mut wire, self.flavour, id, &self.account);
        match tokio::time::timeout(LOGIN_TIMEOUT, login).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => {
                tracing::warn!(%peer, "a login to the replay was refused: wrong user or password");
                return Ok(());
            }
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "a client of the replay did not log in");
                return Ok(());
            }
            Err(_) => return Ok(()),
        }
        // A replica that comes back is not kept waiting by the connection that it has lost.
        let mut served = self.served.subscribe();
        self.served.send_replace(id);
        let ended = tokio::select! {
            ended = self.commands(&mut wire, feed.as_ref()) => ended,
            _ = served.wait_for(|newest| *newest > id) => return Ok(()),
        };
        match ended {
            Ok(()) => Ok(()),
            Err(End::Gone(error)) => {
                tracing::debug!(%peer, %error, "the replica has gone");
                Ok(())
            }
            Err(End::Failed(error)) => {
                // The replica gives up with these words; those of the run are the error itself.
                let answer = wire.error(
                    1236,
                    b"HY000",
                    "drctl cannot serve the log; see its own error",
                );
                let _ = tokio::time::timeout(LOGIN_TIMEOUT, answer).await;
                Err(error)
            }
        }
    }

    /// Answers commands until the client goes.
    async fn commands(&self, wire: &mut Wire, feed: &dyn Feed) -> Result<(), End> {
        let mut session = Session::default();
        while let Some(command) = wire.command().await? {
            let Some((&code, rest)) = command.split_first() else {
                return Ok(());
            };
            let is = |command: Command| code == command as u8;
            if is(Command::COM_QUERY) {
                let statement = String::from_utf8_lossy(rest);
                match answers::answer(self.flavour, &self.identity, &mut session, &statement) {
                    Some(Answer::Ok) => wire.ok().await?,
                    Some(Answer::Row(row)) => wire.row(&row).await?,
                    None => {
                        wire.error(1235, b"42000", "drctl does not answer this")
                            .await?;
                        return Err(End::Failed(Error::server(format!(
                            "the replica asked its source what drctl does not answer: {statement}"
                        ))));
                    }
                }
            } else if is(Command::COM_REGISTER_SLAVE) || is(Command::COM_PING) {
                wire.ok().await?;
            } else if is(Command::COM_BINLOG_DUMP_GTID) || is(Command::COM_BINLOG_DUMP) {
                let executed = match is(Command::COM_BINLOG_DUMP_GTID) {
                    true => executed(&command)?,
                    false => session.connect_state.ok_or_else(|| {
                        Error::server("the replica asked for a position, not for GTIDs")
                    })?,
                };
                let id = self.identity.server_id;
                let (flavour, period) = (self.flavour, session.heartbeat);
                return dump::dump(wire, feed, &executed, flavour, id, period).await;
            } else if is(Command::COM_QUIT) {
                return Ok(());
            } else {
                wire.error(1047, b"08S01", "Unknown command").await?;
                return Ok(());
            }
        }
        Ok(())
    }
}

/// The GTIDs that a replica of MySQL has, out of its COM_BINLOG_DUMP_GTID.
fn executed(command: &[u8]) -> Result<String> {
    let request: ComBinlogDumpGtid<'_> = ParseBuf(command)
        .parse(())
        .map_err(|e| Error::server("the replica's COM_BINLOG_DUMP_GTID is malformed").because(e))?;
    let sets: Vec<String> = request.sids().iter().map(ToString::to_string).collect();
    Ok(sets.join(","))
}

/// A random UUID, version 4.
fn uuid() -> String {
    let mut bytes: [u8; 16] = rand::rng().random();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = hex::encode(bytes);
    let part = |range: std::ops::Range<usize>| &hex[range];
    [
        part(0..8),
        part(8..12),
        part(12..16),
        part(16..20),
        part(20..32),
    ]
    .join("-")
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::mysql::connect::{as_any_client, server_code};
    use crate::mysql::{Role, ServerConfig};
    use crate::replay::feed::Events;
    use crate::util::secret::Secret;

    struct Nothing;

    #[async_trait]
    impl Feed for Nothing {
        async fn open(&self, _: &str) -> Result<Box<dyn Events>> {
            Err(Error::unexpected("nothing is served"))
        }
    }

    #[tokio::test]
    async fn only_the_right_password_is_let_in() {
        for flavour in [Flavour::MySql, Flavour::MariaDb] {
            let any = "127.0.0.1:0".parse().unwrap();
            let listener = Listener::bind(any, flavour).await.unwrap();
            let (port, account) = (listener.address().port(), listener.account().clone());
            let serving = tokio::spawn(listener.serve(Arc::new(Nothing)));
            let login = |user: &str, password: &str| ServerConfig {
                url: format!("mysql://{user}@127.0.0.1:{port}").parse().unwrap(),
                password: Some(Secret::new(password)),
                client_dir: None,
                role: Role::Into,
            };
            let password = account.password.reveal();
            for (user, password) in [
                (account.user.as_str(), "wrong"),
                ("root", password),
                (account.user.as_str(), ""),
            ] {
                let refused = as_any_client(&login(user, password)).await.unwrap_err();
                assert_eq!(
                    server_code(&refused),
                    Some(1045),
                    "{flavour} {user}: {refused}"
                );
            }
            let mut admitted = as_any_client(&login(&account.user, password))
                .await
                .unwrap();
            let clock: i64 = admitted.one("SELECT UNIX_TIMESTAMP()").await.unwrap();
            assert!(clock > 0);
            // What the table does not answer ends the replay.
            admitted.run("SELECT 1").await.unwrap_err();
            let failed = serving.await.unwrap();
            assert!(failed.to_string().contains("SELECT 1"), "{failed}");
        }
    }
}
