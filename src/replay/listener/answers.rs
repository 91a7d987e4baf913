//! The statements by which a replica asks its source, and the answers: one table per flavour.
//!
//! A statement that is not in the table gets an error, and the replica stops with it: no answer is guessed.

use std::time::Duration;

use crate::mysql::Flavour;

/// What a listener says of itself.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its server id, which the replica must not have.
    pub server_id: u32,
    /// Its UUID, for MySQL.
    pub uuid: String,
}

/// What a replica has set for its session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Session {
    /// How long a source may be silent. `None`: no heartbeats are wanted.
    pub heartbeat: Option<Duration>,
    /// The GTIDs that a replica of MariaDB has, as `@slave_connect_state`. `None`: it does not follow GTIDs.
    pub connect_state: Option<String>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Done.
    Ok,
    /// One row: names and values.
    Row(Vec<(&'static str, Option<String>)>),
}

#[derive(Debug, Clone, Copy)]
enum Reply {
    /// Accepted, and of no consequence.
    Accept,
    /// The source's clock.
    Clock,
    /// The source's server id.
    ServerId,
    /// The same as a row of SHOW VARIABLES.
    ShowServerId,
    /// The source's UUID.
    Uuid,
    /// This text.
    Text(&'static str),
    /// Heartbeats are wanted that often, nanoseconds.
    Heartbeat,
    /// The replica's GTIDs.
    ConnectState,
}

use Reply::{Accept, Clock, ConnectState, Heartbeat, ServerId, ShowServerId, Text, Uuid};

/// How statements begin, in upper case with single blanks, and the replies. MySQL says SOURCE where it used to say
/// MASTER, and some versions set both in one statement.
const MYSQL: &[(&str, Reply)] = &[
    ("SELECT UNIX_TIMESTAMP()", Clock),
    ("SELECT @@GLOBAL.SERVER_ID", ServerId),
    ("SELECT @@GLOBAL.SERVER_UUID", Uuid),
    ("SELECT @@GLOBAL.GTID_MODE", Text("ON")),
    ("SELECT @MASTER_BINLOG_CHECKSUM", Text("CRC32")),
    ("SELECT @SOURCE_BINLOG_CHECKSUM", Text("CRC32")),
    ("SELECT @@GLOBAL.RPL_SEMI_SYNC", Text("0")),
    ("SET @MASTER_HEARTBEAT_PERIOD", Heartbeat),
    ("SET @SOURCE_HEARTBEAT_PERIOD", Heartbeat),
    ("SET @MASTER_BINLOG_CHECKSUM", Accept),
    ("SET @SOURCE_BINLOG_CHECKSUM", Accept),
    ("SET @SLAVE_UUID", Accept),
    ("SET @REPLICA_UUID", Accept),
    ("SET NAMES", Accept),
];

/// The same of MariaDB.
const MARIADB: &[(&str, Reply)] = &[
    ("SELECT UNIX_TIMESTAMP()", Clock),
    ("SHOW VARIABLES LIKE 'SERVER_ID'", ShowServerId),
    ("SELECT @@GLOBAL.GTID_DOMAIN_ID", Text("0")),
    ("SELECT @MASTER_BINLOG_CHECKSUM", Text("CRC32")),
    ("SELECT @@GLOBAL.RPL_SEMI_SYNC", Text("0")),
    ("SET @MASTER_HEARTBEAT_PERIOD", Heartbeat),
    ("SET @MASTER_BINLOG_CHECKSUM", Accept),
    ("SET @MARIADB_SLAVE_CAPABILITY", Accept),
    ("SET @SLAVE_CONNECT_STATE", ConnectState),
    ("SET @SLAVE_GTID_STRICT_MODE", Accept),
    ("SET @SLAVE_GTID_IGNORE_DUPLICATES", Accept),
    ("SET NAMES", Accept),
];

/// The answer to a statement; `None` for one that is not in the table.
pub fn answer(
    flavour: Flavour,
    identity: &Identity,
    session: &mut Session,
    statement: &str,
) -> Option<Answer> {
    let words: Vec<&str> = statement.split_whitespace().collect();
    let asked = words.join(" ").to_ascii_uppercase();
    let table = match flavour {
        Flavour::MySql => MYSQL,
        Flavour::MariaDb => MARIADB,
    };
    let (_, reply) = table.iter().find(|(start, _)| asked.starts_with(start))?;
    let value = |text: String| Answer::Row(vec![("value", Some(text))]);
    Some(match reply {
        Accept => Answer::Ok,
        Clock => value(jiff::Timestamp::now().as_second().to_string()),
        ServerId => value(identity.server_id.to_string()),
        ShowServerId => Answer::Row(vec![
            ("Variable_name", Some("server_id".to_owned())),
            ("Value", Some(identity.server_id.to_string())),
        ]),
        Uuid => value(identity.uuid.clone()),
        Text(text) => value((*text).to_owned()),
        Heartbeat => {
            let nanoseconds = assigned(statement)?.parse().ok()?;
            session.heartbeat = (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds));
            Answer::Ok
        }
        ConnectState => {
            let set = assigned(statement)?;
            session.connect_state = Some(set.trim_matches('\'').to_owned());
            Answer::Ok
        }
    })
}

/// The value of a statement's first assignment.
fn assigned(statement: &str) -> Option<&str> {
    let (_, value) = statement.split_once('=')?;
    let value = value.trim_start();
    // A quoted list of GTIDs holds commas.
    match value.strip_prefix('\'') {
        Some(quoted) => quoted.split_once('\'').map(|(inner, _)| inner),
        None => value.split([',', ';']).next().map(str::trim),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(flavour: Flavour, statements: &[&str]) -> (Session, Vec<Option<Answer>>) {
        let identity = Identity {
            server_id: 99,
            uuid: "u".into(),
        };
        let mut session = Session::default();
        let answers = statements
            .iter()
            .map(|statement| answer(flavour, &identity, &mut session, statement))
            .collect();
        (session, answers)
    }

    #[test]
    fn a_replica_of_mysql_is_answered() {
        let (session, answers) = ask(
            Flavour::MySql,
            &[
                "SET @master_heartbeat_period = 30000001024, @source_heartbeat_period = 30000001024",
                "SELECT @source_binlog_checksum",
                "SELECT @@GLOBAL.SERVER_UUID",
                "SELECT VERSION()",
            ],
        );
        assert_eq!(
            session.heartbeat,
            Some(Duration::from_nanos(30_000_001_024))
        );
        let row = |text: &str| Some(Answer::Row(vec![("value", Some(text.to_owned()))]));
        assert_eq!(answers[1..], [row("CRC32"), row("u"), None]);
    }

    #[test]
    fn a_replica_of_mariadb_says_what_it_has() {
        let (session, answers) = ask(
            Flavour::MariaDb,
            &[
                "SET @slave_connect_state='0-1-59,7-2-1'",
                "SET @master_heartbeat_period=0",
                "SHOW VARIABLES LIKE 'SERVER_ID'",
            ],
        );
        assert_eq!(session.connect_state.as_deref(), Some("0-1-59,7-2-1"));
        assert_eq!(session.heartbeat, None);
        assert!(matches!(&answers[2], Some(Answer::Row(row)) if row[1].1.as_deref() == Some("99")));
        let (session, _) = ask(Flavour::MariaDb, &["SET @slave_connect_state=''"]);
        assert_eq!(session.connect_state.as_deref(), Some(""));
    }
}
