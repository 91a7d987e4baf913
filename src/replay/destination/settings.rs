//! Global variables that are changed while a server is replayed into, and reverted.

use async_trait::async_trait;

use crate::Result;
use crate::mysql::connect::set_global;
use crate::mysql::{Connection, Flavour};
use crate::replay::ReplayPath;
use crate::replay::listener::unused_server_id;

/// The largest event that a server takes, bytes.
const MOST_EVENT_BYTES: u64 = 1 << 30;

/// Records a change before it is made, so that a later run can revert what a killed one could not.
#[async_trait]
pub trait Journal: Send + Sync {
    /// A variable with this value is about to be changed.
    async fn changing(&self, name: &str, value: &str) -> Result<()>;

    /// The server's GTIDs are those of the backup, and the replay begins. What this writes must not use up a GTID.
    async fn begins(&self) -> Result<()>;
}

/// What a variable has to be.
struct Wanted {
    /// Its names, newest first.
    names: &'static [&'static str],
    value: String,
    /// Another value that will do, and that no server can be given while it runs.
    or: &'static str,
    /// Whether a server without it cannot be replayed into safely.
    required: bool,
}

fn wanted(flavour: Flavour, path: &ReplayPath, workers: usize) -> Vec<Wanted> {
    let set = |names, value: &str| Wanted {
        names,
        value: value.to_owned(),
        or: "",
        required: false,
    };
    let required = |names, value: &str| Wanted {
        required: true,
        ..set(names, value)
    };
    if path.is_client() {
        // A replica creates events disabled; those that a client creates would run in the midst of the replay.
        return vec![
            Wanted {
                or: "DISABLED",
                ..required(EVENT_SCHEDULER, "OFF")
            },
            // All rows of a statement are one statement of the client, in base64.
            set(&["max_allowed_packet"], &MOST_EVENT_BYTES.to_string()),
        ];
    }
    let workers = workers.to_string();
    let packet = MOST_EVENT_BYTES.to_string();
    // A replica skips events with its own server id, and many servers have the same one, 1.
    let server_id = unused_server_id().to_string();
    match flavour {
        Flavour::MySql => vec![
            required(&["server_id"], &server_id),
            set(
                &["replica_parallel_workers", "slave_parallel_workers"],
                &workers,
            ),
            set(
                &["replica_parallel_type", "slave_parallel_type"],
                "LOGICAL_CLOCK",
            ),
            required(
                &[
                    "replica_preserve_commit_order",
                    "slave_preserve_commit_order",
                ],
                "ON",
            ),
            // The other one hides errors.
            required(&["replica_exec_mode", "slave_exec_mode"], "STRICT"),
            set(
                &["replica_max_allowed_packet", "slave_max_allowed_packet"],
                &packet,
            ),
        ],
        Flavour::MariaDb => vec![
            required(&["server_id"], &server_id),
            set(&["slave_parallel_threads"], &workers),
            required(&["slave_exec_mode"], "STRICT"),
            required(&["slave_ddl_exec_mode"], "STRICT"),
            // The server's own log may be ahead of what is replayed.
            required(&["gtid_strict_mode"], "OFF"),
            // The rows that a trigger has changed are in the log.
            required(&["slave_run_triggers_for_rbr"], "NO"),
            required(&["replicate_events_marked_for_skip"], "REPLICATE"),
            set(&["slave_max_allowed_packet"], &packet),
        ],
    }
}

/// What runs events.
const EVENT_SCHEDULER: &[&str] = &["event_scheduler"];

/// What a server is read-only by; the first is set with the second, and not reverted with it.
const READ_ONLY: [&str; 2] = ["read_only", "super_read_only"];

/// What was changed on one server.
#[derive(Debug, Default)]
pub struct Settings {
    /// Names and the values before, in the order of the changes.
    changed: Vec<(&'static str, String)>,
}

impl Settings {
    /// Sets what a replay needs; what was changed is in `self` even when it fails.
    pub async fn apply(
        &mut self,
        connection: &mut Connection,
        flavour: Flavour,
        path: &ReplayPath,
        workers: usize,
        journal: Option<&dyn Journal>,
    ) -> Result<()> {
        for wanted in wanted(flavour, path, workers) {
            let Some((name, old)) = first(connection, wanted.names).await? else {
                continue;
            };
            let will_do = [wanted.value.as_str(), wanted.or];
            if will_do.iter().any(|one| old.eq_ignore_ascii_case(one)) {
                continue;
            }
            note(journal, name, &old).await?;
            self.changed.push((name, old));
            match connection.run(&set_global(name, &wanted.value)).await {
                Ok(()) => {}
                Err(error) if wanted.required => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, name, "the replay goes on without this setting");
                    self.changed.pop();
                }
            }
        }
        if is_protected(flavour, path) {
            // Set later, by `protect`; recorded now, while the server takes records.
            for name in READ_ONLY {
                let old = connection.variable(&[name]).await?.unwrap_or_default();
                note(journal, name, &old).await?;
                self.changed.push((name, old));
            }
        }
        Ok(())
    }

    /// Makes the server read-only for everybody but the replica, where that is needed.
    pub async fn protect(
        &self,
        connection: &mut Connection,
        flavour: Flavour,
        path: &ReplayPath,
    ) -> Result<()> {
        match is_protected(flavour, path) {
            true => connection.run("SET GLOBAL super_read_only = ON").await,
            false => Ok(()),
        }
    }

    /// Reverts all changes, those that can be even if others cannot; the first error is returned.
    pub async fn revert(&mut self, connection: &mut Connection) -> Result<()> {
        let mut first = Ok(());
        while let Some((name, old)) = self.changed.pop() {
            let reverted = connection.run(&set_global(name, &old)).await;
            first = first.and(reverted);
        }
        first
    }
}

/// Whether a server is read-only during a replay: no other session may use up a GTID of the log, which the replica would
/// then skip. MariaDB's replicas skip nothing, and a client could not write either.
fn is_protected(flavour: Flavour, path: &ReplayPath) -> bool {
    flavour == Flavour::MySql && !path.is_client()
}

async fn note(journal: Option<&dyn Journal>, name: &str, value: &str) -> Result<()> {
    match journal {
        Some(journal) => journal.changing(name, value).await,
        None => Ok(()),
    }
}

/// The first of several names that the server knows, and its value.
async fn first(
    connection: &mut Connection,
    names: &'static [&'static str],
) -> Result<Option<(&'static str, String)>> {
    for name in names {
        if let Some(value) = connection.variable(&[name]).await? {
            return Ok(Some((name, value)));
        }
    }
    Ok(None)
}
