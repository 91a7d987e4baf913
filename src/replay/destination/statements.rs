//! The statements that make a server a replica and end it, newest words first where versions differ
//! ([`crate::mysql::compat`]).

use std::net::SocketAddr;

use crate::binlog::gtid::GtidSet;
use crate::mysql::Flavour;
use crate::mysql::connect::literal;
use crate::mysql::replication::REPLAY_CHANNEL;
use crate::replay::listener::Account;

/// Seconds between two heartbeats; a source that is silent for a minute is given up.
const HEARTBEAT_SECONDS: u64 = 5;

/// Seconds between two attempts to connect, and how many there are.
const RETRY: (u64, u64) = (1, 30);

/// Points the server at a listener.
pub fn attach(flavour: Flavour, listener: SocketAddr, account: &Account) -> Vec<String> {
    let (host, port) = (literal(&listener.ip().to_string()), listener.port());
    let (user, password) = (literal(&account.user), literal(account.password.reveal()));
    let (every, times) = RETRY;
    // The password comes last, where no message quotes it.
    let options = |word: &str, gtid: &str| {
        format!(
            "{word}_HOST = {host}, {word}_PORT = {port}, {word}_SSL = 0, {gtid}, \
             {word}_CONNECT_RETRY = {every}, {word}_HEARTBEAT_PERIOD = {HEARTBEAT_SECONDS}, \
             {word}_USER = {user}, {word}_PASSWORD = {password}"
        )
    };
    match flavour {
        Flavour::MySql => [
            ("CHANGE REPLICATION SOURCE", "SOURCE"),
            ("CHANGE MASTER", "MASTER"),
        ]
        .map(|(what, word)| {
            let gtid = format!("{word}_AUTO_POSITION = 1, {word}_RETRY_COUNT = {times}");
            let options = options(word, &gtid);
            format!("{what} TO {options} FOR CHANNEL '{REPLAY_CHANNEL}'")
        })
        .to_vec(),
        // From 11.4 on the certificate of a source is verified by default.
        Flavour::MariaDb => {
            let gtid = "MASTER_USE_GTID = slave_pos, MASTER_SSL_VERIFY_SERVER_CERT = 0";
            let options = options("MASTER", gtid);
            vec![format!("CHANGE MASTER '{REPLAY_CHANNEL}' TO {options}")]
        }
    }
}

/// Removes the filters that a new channel of MySQL takes over from the server; MariaDB's cannot be removed.
pub const NO_FILTERS: &str = "CHANGE REPLICATION FILTER REPLICATE_DO_DB = (), REPLICATE_IGNORE_DB = (), \
    REPLICATE_DO_TABLE = (), REPLICATE_IGNORE_TABLE = (), REPLICATE_WILD_DO_TABLE = (), \
    REPLICATE_WILD_IGNORE_TABLE = (), REPLICATE_REWRITE_DB = ()";

/// A table that never exists. A logged statement about it says that what follows is not logged.
pub const NOT_LOGGED_TABLE: &str = "`drctl_restore`.`not_logged`";

/// Says in the server's log that what follows is not logged: a log from which a restore is missing must not be
/// replayed. It is logged although it does nothing.
pub fn not_logged() -> String {
    format!("DROP TABLE IF EXISTS {NOT_LOGGED_TABLE}")
}

/// Starts the replica.
pub fn start(flavour: Flavour) -> Vec<String> {
    on_channel(flavour, ["START REPLICA", "START SLAVE"], "")
}

/// Stops the replica.
pub fn stop(flavour: Flavour) -> Vec<String> {
    on_channel(flavour, ["STOP REPLICA", "STOP SLAVE"], "")
}

/// Forgets the replica, and deletes its relay logs.
pub fn forget(flavour: Flavour) -> Vec<String> {
    on_channel(flavour, ["RESET REPLICA", "RESET SLAVE"], " ALL")
}

/// A statement in newer and older words; MariaDB names the channel between the statement and its option.
fn on_channel(flavour: Flavour, words: [&str; 2], all: &str) -> Vec<String> {
    let [_, older] = words;
    match flavour {
        Flavour::MySql => words
            .map(|words| format!("{words}{all} FOR CHANNEL '{REPLAY_CHANNEL}'"))
            .to_vec(),
        Flavour::MariaDb => vec![format!("{older} '{REPLAY_CHANNEL}'{all}")],
    }
}

/// Forgets all GTIDs, and deletes the server's binary logs.
pub fn reset_gtids() -> Vec<String> {
    ["RESET BINARY LOGS AND GTIDS", "RESET MASTER"]
        .map(str::to_owned)
        .to_vec()
}

/// Says that these GTIDs are executed: on MySQL in addition to those that are, on MariaDB instead of them.
pub fn set_executed(set: &GtidSet) -> String {
    match set {
        GtidSet::MySql(_) => format!("SET GLOBAL gtid_purged = '+{set}'"),
        GtidSet::MariaDb(_) => format!("SET GLOBAL gtid_slave_pos = '{set}'"),
    }
}

/// Begins the next file of the binary log.
pub const NEXT_FILE: &str = "FLUSH NO_WRITE_TO_BINLOG BINARY LOGS";

/// Says that the binary log of MariaDB, which is empty, begins behind these GTIDs: a reader from there on is served.
pub fn set_logged(set: &GtidSet) -> String {
    format!("SET GLOBAL gtid_binlog_state = '{set}'")
}

/// Asks for the executed GTIDs.
pub fn executed(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::MySql => "SELECT @@GLOBAL.gtid_executed",
        Flavour::MariaDb => "SELECT @@GLOBAL.gtid_slave_pos",
    }
}
