//! How current the source is: its clock, or on a replica the clock of what it replicates.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};

use crate::server::connect::{NamedRow, is_denied};
use crate::server::{Connection, ServerVersion};
use crate::{Error, Result};

/// One replication channel of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Its name; empty for the only one of most replicas.
    pub name: String,
    /// Whether both of its threads run.
    pub running: bool,
    /// How far it is behind, where the server knows.
    pub lag: Option<Duration>,
    /// What stopped it, in the server's words.
    pub error: String,
}

/// What is known of the source's replication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replication {
    /// It replicates from these; from nobody where there is none.
    Channels(Vec<Channel>),
    /// The account may not ask.
    Unknown,
}

/// Asks the server whether it is a replica.
pub async fn replication(
    connection: &mut Connection,
    server: &ServerVersion,
) -> Result<Replication> {
    let statement = if server.is_mariadb() {
        "SHOW ALL SLAVES STATUS"
    } else if server.is_mysql_from(8, 0, 22) {
        "SHOW REPLICA STATUS"
    } else {
        "SHOW SLAVE STATUS"
    };
    match connection.named_rows(statement).await {
        Ok(rows) => Ok(Replication::Channels(rows.iter().map(channel).collect())),
        Err(error) if is_denied(&error) => Ok(Replication::Unknown),
        Err(error) => Err(error),
    }
}

fn channel(row: &NamedRow) -> Channel {
    let yes = |names: &[&str]| row.any(names) == Some("Yes");
    let first = |names: &[&str]| row.any(names).unwrap_or_default().to_owned();
    Channel {
        name: first(&["Channel_Name", "Connection_name"]),
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

impl Replication {
    /// Refuses (exit 9) a replica that is stopped, or that lags by more than `limit` or by nobody
    /// knows how much: its dump would be older than it looks.
    pub fn check(&self, limit: Duration, read_only: bool) -> Result<()> {
        let channels = match self {
            Replication::Channels(channels) => channels,
            // A primary is writable: only a read-only server makes one wonder.
            Replication::Unknown if !read_only => return Ok(()),
            Replication::Unknown => {
                return Err(Error::refused(
                    "the source is read-only and its replication is out of sight: its data may be old",
                )
                .hint("grant the account REPLICATION CLIENT (MariaDB: REPLICA MONITOR) on *.*"));
            }
        };
        for channel in channels {
            let name = match channel.name.as_str() {
                "" => String::new(),
                name => format!(" (channel {name})"),
            };
            if !channel.running {
                let why = match channel.error.as_str() {
                    "" => String::new(),
                    error => format!(": {error}"),
                };
                return Err(Error::refused(format!(
                    "the source is a replica whose replication is stopped{name}{why}"
                ))
                .hint("start it, or back up another server"));
            }
            match channel.lag {
                Some(lag) if lag <= limit => {}
                Some(lag) => {
                    return Err(Error::refused(format!(
                        "the source is a replica {} s behind{name}, more than {} s",
                        lag.as_secs(),
                        limit.as_secs()
                    ))
                    .hint("wait until it has caught up, or raise backup.max_lag_seconds"));
                }
                None => {
                    return Err(Error::refused(format!(
                        "the source is a replica that cannot say how far behind it is{name}"
                    ))
                    .hint("see SHOW REPLICA STATUS there"));
                }
            }
        }
        Ok(())
    }

    /// The largest lag of all channels; zero for a primary.
    pub fn lag(&self) -> Duration {
        match self {
            Replication::Channels(all) => {
                all.iter().filter_map(|c| c.lag).max().unwrap_or_default()
            }
            Replication::Unknown => Duration::ZERO,
        }
    }

    /// Whether the source replicates from another server.
    pub fn is_replica(&self) -> bool {
        matches!(self, Replication::Channels(channels) if !channels.is_empty())
    }
}

/// The server's clock.
pub async fn clock(connection: &mut Connection) -> Result<Timestamp> {
    let text: String = connection
        .one("SELECT CAST(UTC_TIMESTAMP(6) AS CHAR)")
        .await?;
    utc(&text).ok_or_else(|| {
        connection
            .role()
            .error(format!("the server's clock says {text:?}"))
    })
}

/// When the data were as a snapshot that begins now will show them: the server's clock, on a
/// replica the commit time of the last transaction that it applied.
///
/// MySQL tells that time, and its heartbeats vouch for a caught-up replica between transactions;
/// MariaDB is taken at its word for how many seconds it is behind.
pub async fn snapshot_time(
    connection: &mut Connection,
    server: &ServerVersion,
    replication: &Replication,
) -> Result<Timestamp> {
    let now = clock(connection).await?;
    if !replication.is_replica() {
        return Ok(now);
    }
    let behind = SignedDuration::try_from(replication.lag()).unwrap_or_default();
    let estimate = now.checked_sub(behind).unwrap_or(now);
    if server.is_mysql_from(8, 0, 1) {
        // Both tables take SELECT on performance_schema; without it the estimate has to do.
        let applied: Option<Vec<Option<String>>> = connection
            .rows_if_allowed(
                "SELECT CAST(MAX(last_applied_transaction_original_commit_timestamp) AS CHAR) \
                 FROM performance_schema.replication_applier_status_by_worker",
            )
            .await?;
        let heartbeat: Option<Vec<Option<String>>> = match replication.lag() {
            Duration::ZERO => {
                connection
                    .rows_if_allowed(
                        "SELECT CAST(MIN(last_heartbeat_timestamp) AS CHAR) \
                         FROM performance_schema.replication_connection_status",
                    )
                    .await?
            }
            _ => None,
        };
        let known = [applied, heartbeat]
            .into_iter()
            .flatten()
            .flatten()
            .flatten();
        let known = known.filter_map(|text| utc(&text));
        if let Some(latest) = known.filter(|time| time.as_second() > 0).max() {
            return Ok(latest.min(estimate));
        }
    }
    Ok(estimate)
}

fn utc(text: &str) -> Option<Timestamp> {
    let civil: DateTime = text.parse().ok()?;
    Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;

    fn one(running: bool, lag: Option<u64>) -> Replication {
        Replication::Channels(vec![
            Channel {
                name: String::new(),
                running: true,
                lag: Some(Duration::ZERO),
                error: String::new(),
            },
            Channel {
                name: "eu".into(),
                running,
                lag: lag.map(Duration::from_secs),
                error: "Got fatal error 1236".into(),
            },
        ])
    }

    #[test]
    fn a_replica_that_stands_still_or_lags_is_refused_whichever_channel_it_is() {
        let limit = Duration::from_secs(300);
        for (replication, says) in [
            (
                one(false, None),
                "stopped (channel eu): Got fatal error 1236",
            ),
            (one(true, None), "cannot say"),
            (one(true, Some(301)), "301 s behind"),
        ] {
            let error = replication.check(limit, true).unwrap_err();
            assert_eq!(error.outcome(), Outcome::Refused);
            assert!(error.to_string().contains(says), "{error}");
        }
        assert!(one(true, Some(300)).check(limit, true).is_ok());
        assert_eq!(one(true, Some(7)).lag(), Duration::from_secs(7));
    }

    #[test]
    fn replication_out_of_sight_matters_on_a_read_only_server() {
        assert!(Replication::Unknown.check(Duration::ZERO, false).is_ok());
        assert!(Replication::Unknown.check(Duration::ZERO, true).is_err());
        assert!(
            Replication::Channels(Vec::new())
                .check(Duration::ZERO, true)
                .is_ok()
        );
    }

    #[test]
    fn the_servers_clock_is_read_to_the_microsecond() {
        let time = utc("2026-11-21 02:00:00.123456").unwrap();
        assert_eq!(time.to_string(), "2026-11-21T02:00:00.123456Z");
        assert_eq!(utc("0000-00-00 00:00:00.000000"), None);
    }
}
