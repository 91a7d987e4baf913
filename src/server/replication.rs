//! Whether a server follows another one: as a replica through any channel, running or stopped, as a member
//! of a cluster, or as one that is kept read-only. Asked here alone, of the server that is backed up and of
//! the one that is restored into.

use std::time::Duration;

use super::connect::{NamedRow, is_denied};
use super::{Connection, ServerVersion};
use crate::Result;

/// One replication channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Channel {
    /// Its name; empty for the only one of most replicas.
    pub name: String,
    /// The host that it reads from.
    pub source: String,
    /// Whether both of its threads run.
    pub running: bool,
    /// How far it is behind, where the server knows.
    pub lag: Option<Duration>,
    /// What stopped it, in the server's words.
    pub error: String,
}

/// What is known of a server's replication channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Channels {
    /// These; none where it is no replica.
    Known(Vec<Channel>),
    /// The account may not ask.
    Unknown,
}

/// A cluster whose members write what the others write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What kind of cluster it is: `Group Replication`, `Galera`.
    pub of: &'static str,
    /// The state that keeps it from having what the others have; `None` where it has all of it.
    pub behind: Option<String>,
}

/// What a server is among others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replication {
    /// Its channels.
    pub channels: Channels,
    /// The cluster that it is a member of.
    pub member: Option<Member>,
    /// The variable that keeps it read-only.
    pub read_only: Option<&'static str>,
}

impl Replication {
    /// Asks the server.
    pub async fn ask(connection: &mut Connection, server: &ServerVersion) -> Result<Replication> {
        Ok(Replication {
            channels: channels(connection, server).await?,
            member: member(connection, server).await?,
            read_only: read_only(connection).await?,
        })
    }

    /// A server that follows nobody.
    pub fn none() -> Replication {
        Replication {
            channels: Channels::Known(Vec::new()),
            member: None,
            read_only: None,
        }
    }

    /// The channels that are known.
    pub fn known(&self) -> &[Channel] {
        match &self.channels {
            Channels::Known(channels) => channels,
            Channels::Unknown => &[],
        }
    }

    /// Whether it replicates from another server.
    pub fn is_replica(&self) -> bool {
        !self.known().is_empty()
    }

    /// The largest lag of all channels; zero for a primary.
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
    // Without ALL, MariaDB speaks of the channel without a name alone.
    let statement = if server.is_mariadb() {
        "SHOW ALL SLAVES STATUS"
    } else if server.is_mysql_from(8, 0, 22) {
        "SHOW REPLICA STATUS"
    } else {
        "SHOW SLAVE STATUS"
    };
    match connection.named_rows(statement).await {
        Ok(rows) => Ok(Channels::Known(rows.iter().map(channel).collect())),
        Err(error) if is_denied(&error) => Ok(Channels::Unknown),
        Err(error) => Err(error),
    }
}

fn channel(row: &NamedRow) -> Channel {
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
        // A donor is desynchronised on purpose and applies what it gets; a node outside of the primary
        // component is not ready.
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
        // What is configured as a member is taken for one.
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

/// A global variable; empty where the server has none of that name.
async fn variable(connection: &mut Connection, name: &str) -> Result<String> {
    let sql = format!("SHOW GLOBAL VARIABLES LIKE '{name}'");
    let found: Option<(String, String)> = connection.row(&sql).await?;
    Ok(found.map(|(_, value)| value).unwrap_or_default())
}

/// Newer MariaDB has words for ways of being read-only: whatever does not say no says yes.
fn is_on(value: &str) -> bool {
    !["", "0", "OFF", "NO"].contains(&value.to_ascii_uppercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_does_not_say_no_is_on() {
        for on in ["ON", "1", "YES", "NO_LOCK", "NO_LOCK_NO_ADMIN"] {
            assert!(is_on(on), "{on}");
        }
        for off in ["", "0", "OFF", "off", "NO"] {
            assert!(!is_on(off), "{off}");
        }
    }

    #[test]
    fn a_channel_is_called_by_its_source_and_its_name() {
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
