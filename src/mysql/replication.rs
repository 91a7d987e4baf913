//! Replication state of a server, for sources and destinations: channels, running or stopped, cluster membership, and
//! whether the server is read-only.

use std::time::Duration;

use crate::Result;
use crate::mysql::compat::{ALL_CHANNELS, REPLICA_STATUS};
use crate::mysql::connect::{NamedRow, is_denied, set_global};
use crate::mysql::{Connection, ServerVersion};

/// Name of the channel by which a log is replayed; no other is ever touched.
pub const REPLAY_CHANNEL: &str = "drctl_replay";

/// One replication channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Channel {
    /// Name; empty for the default channel.
    pub name: String,
    /// Host of the source.
    pub source: String,
    /// Whether both threads are running.
    pub running: bool,
    /// Lag; `None` if the server does not know it.
    pub lag: Option<Duration>,
    /// The server's last error; empty if there is none.
    pub error: String,
}

/// The replication channels of a server, as far as known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Channels {
    /// All channels; empty if the server is not a replica.
    Known(Vec<Channel>),
    /// The account lacks the privilege to read them.
    Unknown,
}

/// Membership in a cluster that replicates between its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Kind of the cluster: `Group Replication`, `Galera`.
    pub of: &'static str,
    /// State of the member if it is behind the others; `None` if it is not.
    pub behind: Option<String>,
}

/// Replication state of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replication {
    /// Replication channels.
    pub channels: Channels,
    /// Cluster membership; `None` for no cluster.
    pub member: Option<Member>,
    /// The variable that makes the server read-only; `None` if it is writable.
    pub read_only: Option<&'static str>,
}

impl Replication {
    /// Queries the state of a server.
    pub async fn query(connection: &mut Connection, server: &ServerVersion) -> Result<Replication> {
        Ok(Replication {
            channels: channels(connection, server).await?,
            member: member(connection, server).await?,
            read_only: read_only(connection).await?,
        })
    }

    /// The state of a standalone server.
    pub fn none() -> Replication {
        Replication {
            channels: Channels::Known(Vec::new()),
            member: None,
            read_only: None,
        }
    }

    /// The known channels.
    pub fn known(&self) -> &[Channel] {
        match &self.channels {
            Channels::Known(channels) => channels,
            Channels::Unknown => &[],
        }
    }

    /// Whether the server is known to be a replica.
    pub fn is_replica(&self) -> bool {
        !self.known().is_empty()
    }

    /// Maximum lag of all channels; zero for a primary.
    pub fn lag(&self) -> Duration {
        let lags = self.known().iter().filter_map(|channel| channel.lag);
        lags.max().unwrap_or_default()
    }
}

impl std::fmt::Display for Channel {
    /// `db-0`, or `db-0 (channel eu)`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.source.as_str() {
            "" => f.write_str("another server")?,
            source => f.write_str(source)?,
        }
        match self.name.as_str() {
            "" => Ok(()),
            name => write!(f, " (channel {name})"),
        }
    }
}

async fn channels(connection: &mut Connection, server: &ServerVersion) -> Result<Channels> {
    let statements = if server.is_mariadb() {
        ALL_CHANNELS
    } else {
        REPLICA_STATUS
    };
    match connection.first_understood(statements).await {
        Ok(rows) => Ok(Channels::Known(rows.iter().map(channel).collect())),
        Err(error) if is_denied(&error) => Ok(Channels::Unknown),
        Err(error) => Err(error),
    }
}

pub(super) fn channel(row: &NamedRow) -> Channel {
    let yes = |names: &[&str]| row.any(names) == Some("Yes");
    let first = |names: &[&str]| row.any(names).unwrap_or_default().to_owned();
    Channel {
        name: first(&["Channel_Name", "Connection_name"]),
        source: first(&["Source_Host", "Master_Host"]),
        running: yes(&["Replica_IO_Running", "Slave_IO_Running"])
            && yes(&["Replica_SQL_Running", "Slave_SQL_Running"]),
        lag: row
            .any(&["Seconds_Behind_Source", "Seconds_Behind_Master"])
            .and_then(|text| text.parse().ok())
            .map(Duration::from_secs),
        error: [first(&["Last_SQL_Error"]), first(&["Last_IO_Error"])]
            .join(" ")
            .trim()
            .to_owned(),
    }
}

async fn member(connection: &mut Connection, server: &ServerVersion) -> Result<Option<Member>> {
    let provider = variable(connection, "wsrep_provider").await?;
    let loaded = !["", "none"].contains(&provider.as_str());
    if loaded && is_on(&variable(connection, "wsrep_on").await?) {
        let states: Vec<(String, String)> = connection
            .rows("SHOW GLOBAL STATUS LIKE 'wsrep\\_%'")
            .await?;
        let state = |name: &str| {
            let found = states
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name));
            found.map_or("", |(_, value)| value.as_str())
        };
        // A node outside the primary component is not ready. A donor is ready, although it is desynchronised.
        let ready = is_on(state("wsrep_ready"));
        return Ok(Some(Member {
            of: "Galera",
            behind: (!ready).then(|| state("wsrep_local_state_comment").to_owned()),
        }));
    }
    let group = variable(connection, "group_replication_group_name").await?;
    if server.is_mariadb() || group.is_empty() {
        return Ok(None);
    }
    let states: Option<Vec<String>> = connection
        .rows_if_allowed(
            "SELECT member_state FROM performance_schema.replication_group_members
             WHERE member_id = @@server_uuid",
        )
        .await?;
    let state = match states {
        Some(states) => states.into_iter().next().unwrap_or_default(),
        // Without the privilege, a configured member counts as an active one.
        None => "ONLINE".to_owned(),
    };
    Ok(match state.as_str() {
        "" | "OFFLINE" => None,
        "ONLINE" => Some(Member {
            of: "Group Replication",
            behind: None,
        }),
        state => Some(Member {
            of: "Group Replication",
            behind: Some(state.to_owned()),
        }),
    })
}

async fn read_only(connection: &mut Connection) -> Result<Option<&'static str>> {
    for name in ["super_read_only", "read_only"] {
        if is_on(&variable(connection, name).await?) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// What a server is read-only by, the strictest last.
pub const READ_ONLY: [&str; 2] = ["read_only", "super_read_only"];

/// Makes a server writable; whether it was read-only.
pub async fn make_writable(connection: &mut Connection) -> Result<bool> {
    let mut was_read_only = false;
    for name in READ_ONLY.iter().rev() {
        let value = connection.variable(&[name]).await?;
        if value.is_some_and(|value| value != "OFF") {
            was_read_only = true;
            connection.run(&set_global(name, "OFF")).await?;
        }
    }
    Ok(was_read_only)
}

/// Value of a global variable; empty if the server does not have it.
async fn variable(connection: &mut Connection, name: &str) -> Result<String> {
    let sql = format!("SHOW GLOBAL VARIABLES LIKE '{name}'");
    let found: Option<(String, String)> = connection.row(&sql).await?;
    Ok(found.map(|(_, value)| value).unwrap_or_default())
}

/// Newer versions of MariaDB have several read-only modes, so every value but a negative one is on.
pub fn is_on(value: &str) -> bool {
    !["", "0", "OFF", "NO"].contains(&value.to_ascii_uppercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_but_a_negative_one_is_on() {
        for on in ["ON", "1", "YES", "NO_LOCK", "NO_LOCK_NO_ADMIN"] {
            assert!(is_on(on), "{on}");
        }
        for off in ["", "0", "OFF", "off", "NO"] {
            assert!(!is_on(off), "{off}");
        }
    }

    #[test]
    fn a_channel_is_displayed_as_source_and_name() {
        let channel = |name: &str, source: &str| Channel {
            name: name.into(),
            source: source.into(),
            ..Channel::default()
        };
        assert_eq!(channel("", "db-0").to_string(), "db-0");
        assert_eq!(channel("eu", "db-0").to_string(), "db-0 (channel eu)");
        assert_eq!(channel("", "").to_string(), "another server");
    }
}
