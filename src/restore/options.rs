//! Options of a restore: what is restored, into which kind of server, and with which resources.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reader::Reader;
use crate::replay::Stretch;
use crate::restore::scope::Scope;
use crate::restore::session::lane::RECONNECT_WAIT;
use crate::sql::definer::Account;

/// Options of a restore. The defaults permit nothing that could harm the destination.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// The objects to restore, and how they are renamed.
    pub scope: Scope,
    /// Create the accounts of the backup that do not exist on the destination.
    pub accounts: bool,
    /// Definer to substitute for definers that do not exist; `None` refuses to restore their objects.
    pub substitute_definer: Option<Account>,
    /// How much of the archive is checked, and when.
    pub check: Check,
    /// Compare the restored data with the dump.
    pub compare: bool,
    /// Write the restore to the binary log, for replicas and point-in-time recovery.
    pub binlog: bool,
    /// The kind of server restored into.
    pub destination: Destination,
    /// Server settings changed during the restore.
    pub tuning: Tuning,
    /// Connections and waits.
    pub resources: Resources,
    /// The stretch of the binary log to replay behind the backup; `None` restores the backup alone.
    pub replay: Option<Stretch>,
}

impl Default for RestoreOptions {
    fn default() -> Self {
        RestoreOptions {
            scope: Scope::default(),
            accounts: false,
            substitute_definer: None,
            check: Check::Executed,
            compare: true,
            binlog: true,
            destination: Destination::Server(Permissions::default()),
            tuning: Tuning::Keep,
            resources: Resources::default(),
            replay: None,
        }
    }
}

/// The kind of server restored into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// A server that stays in use, and is changed only as permitted.
    Server(Permissions),
    /// The scratch server of a drill. Accounts of the backup are created locked, so that they cannot be used to
    /// log in; definers that the backup has no account of are created; all tables are kept in the
    /// server's own directory.
    Scratch {
        /// Whether other clients may be connected: no other client knows the login of a server that drctl
        /// started, so any other connection is a stale one of drctl itself.
        connected_clients: bool,
    },
}

impl Destination {
    /// Whether the server is a scratch server.
    pub fn is_scratch(self) -> bool {
        matches!(self, Destination::Scratch { .. })
    }

    /// What the restore may do.
    pub fn permissions(self) -> Permissions {
        match self {
            Destination::Server(permissions) => permissions,
            Destination::Scratch { connected_clients } => Permissions {
                connected_clients,
                ..Permissions::default()
            },
        }
    }
}

/// What a restore may do to its destination; by default nothing of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Replace existing objects. The caller has obtained the confirmation of the operator.
    pub overwrite: bool,
    /// Drop the objects of an unfinished restore and start over. The caller has obtained the confirmation
    /// of the operator.
    pub discard: bool,
    /// Restore while other clients are connected.
    pub connected_clients: bool,
    /// Restore into a replica or a read-only server.
    pub replica: bool,
    /// Restore into a member of a Group Replication or Galera cluster.
    pub cluster: bool,
}

/// How rows are loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Loader {
    /// By LOAD DATA where the server and the table allow it, else by INSERT.
    #[default]
    Auto,
    /// By INSERT.
    Insert,
}

/// Connections and waits of a restore.
#[derive(Debug, Clone, Copy)]
pub struct Resources {
    /// How rows are loaded.
    pub loader: Loader,
    /// Number of connections that load rows and build keys.
    pub lanes: usize,
    /// How long to wait for a lost server to return.
    pub reconnect: Duration,
    /// What reads the restored rows for the comparison.
    pub reader: Reader,
}

impl Default for Resources {
    fn default() -> Self {
        Resources {
            loader: Loader::Auto,
            lanes: std::thread::available_parallelism()
                .map_or(2, usize::from)
                .clamp(2, 8),
            reconnect: RECONNECT_WAIT,
            reader: Reader::default(),
        }
    }
}

/// How much of an archive is checked, and when. In every case each frame is compared with the index, which
/// is verified as a whole, before one of its statements is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Check {
    /// Only the frames that are executed: for a backup that was restored before.
    #[default]
    Executed,
    /// The whole archive, while it is loaded. Damage ends the restore where it is found; everything restored
    /// up to there is new on the destination, and can be dropped.
    Loading,
    /// The whole archive, before anything is executed, so that no object is dropped for a backup that cannot
    /// replace it. The archive is read twice.
    First,
}

impl Check {
    /// Description for the plan.
    pub fn description(self) -> &'static str {
        match self {
            Check::Executed => "each frame before it is executed",
            Check::Loading => {
                "each frame before it is executed, and the whole backup while it is loaded (--check-first \
                 reads it completely before anything is changed)"
            }
            Check::First => "the whole backup, read completely before anything is changed",
        }
    }
}

/// Server settings changed during a restore; all are reverted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tuning {
    /// Only settings of the restore's own sessions.
    #[default]
    Keep,
    /// Flushing: a crash of the machine during the restore may lose committed transactions.
    FastUnsafe,
    /// Flushing and the redo log: a crash destroys the server. Only for scratch servers.
    Scratch,
}
