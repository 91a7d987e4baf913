//! Sends a log to a replica that has asked for it.

use std::io;
use std::pin::pin;
use std::time::Duration;

use crate::Error;
use crate::binlog::event::kind;
use crate::mysql::Flavour;
use crate::replay::feed::Feed;
use crate::replay::listener::packet::Wire;
use crate::replay::listener::virtual_log::VirtualLog;

/// What is collected waits so long for more.
const LINGER: Duration = Duration::from_millis(5);

/// How a dump ends.
#[derive(Debug)]
pub enum End {
    /// The replica has gone, or the way to it is broken; it may come back.
    Gone(io::Error),
    /// What is to be served cannot be read, or must not be served.
    Failed(Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> End {
        End::Gone(error)
    }
}

impl From<Error> for End {
    fn from(error: Error) -> End {
        End::Failed(error)
    }
}

/// Sends everything that a replica with these GTIDs lacks, then heartbeats until it goes.
pub async fn dump(
    wire: &mut Wire,
    feed: &dyn Feed,
    executed: &str,
    flavour: Flavour,
    server_id: u32,
    heartbeat: Option<Duration>,
) -> Result<(), End> {
    let mut events = feed.open(executed).await?;
    let mut log = VirtualLog::new(flavour, server_id);
    wire.send_event(&log.rotate()).await?;
    let mut first = true;
    loop {
        let event = {
            let mut next = pin!(events.next());
            match tokio::time::timeout(LINGER, &mut next).await {
                Ok(event) => event?,
                Err(_) => loop {
                    wire.flush().await?;
                    tokio::select! {
                        event = &mut next => break event?,
                        () = silence(heartbeat) => wire.send_event(&log.heartbeat()).await?,
                    }
                },
            }
        };
        let Some(event) = event else { break };
        let of = event.get(4).copied();
        let begins_file = of == Some(kind::FORMAT_DESCRIPTION);
        if begins_file && !first || log.is_long() && is_gtid(of) {
            wire.send_event(&log.rotate()).await?;
        }
        first = false;
        wire.send_event(&event).await?;
        log.advance(&event);
    }
    wire.flush().await?;
    loop {
        tokio::select! {
            () = wire.closed() => return Ok(()),
            () = silence(heartbeat) => {}
        }
        wire.send_event(&log.heartbeat()).await?;
        wire.flush().await?;
    }
}

/// Resolves when a replica has to hear something.
async fn silence(heartbeat: Option<Duration>) {
    match heartbeat {
        Some(period) => tokio::time::sleep(period).await,
        None => std::future::pending().await,
    }
}

/// Whether an event of this type begins a transaction.
fn is_gtid(of: Option<u8>) -> bool {
    matches!(
        of,
        Some(kind::GTID | kind::TAGGED_GTID | kind::MARIADB_GTID)
    )
}
