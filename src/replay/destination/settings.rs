//! Global variables that are changed while a server is replayed into, and reverted.

use async_trait::async_trait;

use crate::Result;
use crate::mysql::connect::set_global;
use crate::mysql::{Connection, Flavour};
use crate::replay::listener::{is_unused_server_id, unused_server_id};
use crate::replay::{Options, ReplayPath, Then};

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
            required(&[SERVER_ID], &server_id),
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
            required(&[SERVER_ID], &server_id),
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

/// What a server is known by to those that replicate from it, and to it.
const SERVER_ID: &str = "server_id";

/// What runs events.
const EVENT_SCHEDULER: &[&str] = &["event_scheduler"];

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
        options: &Options,
        journal: Option<&dyn Journal>,
    ) -> Result<()> {
        for wanted in wanted(flavour, &options.path, options.workers) {
            let Some((name, old)) = first(connection, wanted.names).await? else {
                continue;
            };
            let will_do = [wanted.value.as_str(), wanted.or];
            if will_do.iter().any(|one| old.eq_ignore_ascii_case(one)) {
                continue;
            }
            // That of an earlier stretch: a server that is read-only takes no record of a change.
            if name == SERVER_ID && old.parse().is_ok_and(is_unused_server_id) {
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
        // Set later, by `protect`; recorded now, while the server takes records.
        for name in read_only(flavour, options) {
            let old = connection.variable(&[name]).await?.unwrap_or_default();
            note(journal, name, &old).await?;
            self.changed.push((name, old));
        }
        Ok(())
    }

    /// Makes the server read-only for everybody but the replica, where that is needed.
    pub async fn protect(
        &self,
        connection: &mut Connection,
        flavour: Flavour,
        options: &Options,
    ) -> Result<()> {
        match read_only(flavour, options).last() {
            Some(name) => connection.run(&set_global(name, "ON")).await,
            None => Ok(()),
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

/// What a server is made read-only by during a replay; the last one is set, and the others with it, but not reverted with
/// it. No other session may use up a GTID of the log, which the replica of MySQL would then skip. MariaDB's replicas skip
/// nothing, and a client could not write either; a standby of either takes no writes.
fn read_only(flavour: Flavour, options: &Options) -> &'static [&'static str] {
    match (flavour, &options.path, options.then) {
        (Flavour::MySql, ReplayPath::Replica(_), _) => &["read_only", "super_read_only"],
        (Flavour::MariaDb, ReplayPath::Replica(_), Then::Follow) => &["read_only"],
        _ => &[],
    }
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
