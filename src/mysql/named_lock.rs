//! Named locks of a server (`GET_LOCK`): one backup, one streamer and one keeper of the lease of a target at a
//! time.
//!
//! A lock belongs to a connection, so it ends with this process, however that ends.

use crate::layout::TargetName;
use crate::mysql::Connection;
use crate::mysql::connect::literal;
use crate::{Error, Result};

/// The maximum that all servers accept.
const MAX_LOCK_NAME_CHARS: usize = 64;

/// Purpose of a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// A backup of the target.
    Backup,
    /// Archiving its binary log.
    Stream,
    /// Making the server writable by its lease.
    Lease,
}

impl Lock {
    fn activity(self) -> &'static str {
        match self {
            Lock::Backup => "backup",
            Lock::Stream => "drctl stream",
            Lock::Lease => "drctl lease",
        }
    }

    fn name(self, target: &TargetName) -> String {
        let prefix = match self {
            Lock::Backup => "drctl",
            Lock::Stream => "drctl-stream",
            Lock::Lease => "drctl-lease",
        };
        // Names of targets are short; of a longer one the start is kept.
        let name = format!("{prefix}.{target}");
        literal(&name.chars().take(MAX_LOCK_NAME_CHARS).collect::<String>())
    }
}

/// Takes the lock, without waiting. The connection holds it until it closes.
///
/// # Errors
///
/// `Outcome::Locked` (exit 11) if another run holds the lock.
pub async fn take(connection: &mut Connection, lock: Lock, target: &TargetName) -> Result<()> {
    const ATTEMPTS: u32 = 3;
    let name = lock.name(target);
    let mut holding = String::new();
    for _ in 0..ATTEMPTS {
        let taken: Option<i64> = connection
            .one(&format!("SELECT GET_LOCK({name}, 0)"))
            .await?;
        if taken == Some(1) {
            return Ok(());
        }
        if let Some(id) = holder(connection, lock, target).await? {
            holding = format!(" (connection {id} of the server)");
            break;
        }
        // The other run has just ended.
    }
    let activity = lock.activity();
    Err(Error::locked(format!(
        "another {activity} of {target} is running{holding}"
    ))
    .hint("wait for it, or stop it"))
}

/// The id of the connection that holds the lock; `None` if none does.
pub async fn holder(
    connection: &mut Connection,
    lock: Lock,
    target: &TargetName,
) -> Result<Option<u64>> {
    let name = lock.name(target);
    connection
        .one(&format!("SELECT IS_USED_LOCK({name})"))
        .await
}

/// Releases the lock at once; a server notices a closed connection with a delay.
pub async fn release(connection: &mut Connection, lock: Lock, target: &TargetName) {
    let name = lock.name(target);
    // A failure does not matter: closing the connection releases the lock, too.
    let _ = connection.run(&format!("DO RELEASE_LOCK({name})")).await;
}

/// Fails if the connection has lost the lock; called before a commit.
pub async fn still_held(
    connection: &mut Connection,
    lock: Lock,
    target: &TargetName,
) -> Result<()> {
    let name = lock.name(target);
    let ours: Option<bool> = connection
        .one(&format!("SELECT IS_USED_LOCK({name}) = CONNECTION_ID()"))
        .await?;
    if ours == Some(true) {
        return Ok(());
    }
    Err(Error::locked(format!(
        "the lock on {target} was lost during the {}",
        lock.activity()
    ))
    .hint("retry; find out what closed the connection"))
}
