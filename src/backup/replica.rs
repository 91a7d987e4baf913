//! Age of the target's data: the target may be a replica.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};

use crate::mysql::replication::{Channels, Member, Replication};
use crate::mysql::{Connection, ServerVersion};
use crate::{Error, Result};

/// Refuses (exit 9) a replica that is stopped, or whose lag is unknown or exceeds `limit`, and a cluster member that is
/// behind the others: the dump would be older than its time.
pub fn check(replication: &Replication, limit: Duration) -> Result<()> {
    // A writable server is a primary, so unknown channels only matter on a read-only one.
    if replication.channels == Channels::Unknown && replication.read_only.is_some() {
        return Err(Error::refused(
            "the target is read-only and the account cannot see its replication state: its data may be stale",
        )
        .hint("grant the account REPLICATION CLIENT (MariaDB: REPLICA MONITOR) on *.*"));
    }
    if let Some(Member {
        of,
        behind: Some(state),
    }) = &replication.member
    {
        return Err(Error::refused(format!(
            "the target is a member of a {of} cluster and lags behind the other members: {state}"
        ))
        .hint("wait until it has caught up, or back up another member"));
    }
    for channel in replication.known() {
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
                "the target is a replica whose replication is stopped{name}{why}"
            ))
            .hint("start it, or back up another server"));
        }
        match channel.lag {
            Some(lag) if lag <= limit => {}
            Some(lag) => {
                return Err(Error::refused(format!(
                    "the target is a replica {} s behind its source{name}, more than {} s",
                    lag.as_secs(),
                    limit.as_secs()
                ))
                .hint("wait until it has caught up, or raise backup.max_lag_seconds"));
            }
            None => {
                return Err(Error::refused(format!(
                    "the target is a replica with unknown lag{name}"
                ))
                .hint("inspect its SHOW REPLICA STATUS"));
            }
        }
    }
    Ok(())
}

/// The server's clock.
pub async fn clock(connection: &mut Connection) -> Result<Timestamp> {
    let text: String = connection
        .one("SELECT CAST(UTC_TIMESTAMP(6) AS CHAR)")
        .await?;
    utc(&text).ok_or_else(|| {
        connection
            .role()
            .error(format!("cannot parse the server's time {text:?}"))
    })
}

/// The time of the data in a snapshot taken now: the server's time, or on a replica the commit time of the last
/// transaction applied.
///
/// MySQL reports that time, and for a replica without lag the time of the last heartbeat of its source. On MariaDB it is
/// estimated from the lag.
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
    if !server.is_mariadb() {
        // Both tables need SELECT on performance_schema; without it, the estimate is used.
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
    use crate::mysql::replication::Channel;

    const LIMIT: Duration = Duration::from_secs(300);

    fn one(running: bool, lag: Option<u64>) -> Replication {
        let well = Channel {
            running: true,
            lag: Some(Duration::ZERO),
            ..Channel::default()
        };
        let eu = Channel {
            name: "eu".into(),
            running,
            lag: lag.map(Duration::from_secs),
            error: "Got fatal error 1236".into(),
            ..Channel::default()
        };
        Replication {
            channels: Channels::Known(vec![well, eu]),
            read_only: Some("read_only"),
            ..Replication::none()
        }
    }

    #[test]
    fn a_replica_is_refused_if_any_channel_is_stopped_or_lags() {
        for (replication, says) in [
            (
                one(false, None),
                "stopped (channel eu): Got fatal error 1236",
            ),
            (one(true, None), "unknown lag"),
            (one(true, Some(301)), "301 s behind"),
        ] {
            let error = check(&replication, LIMIT).unwrap_err();
            assert_eq!(error.outcome(), Outcome::Refused);
            assert!(error.to_string().contains(says), "{error}");
        }
        assert!(check(&one(true, Some(300)), LIMIT).is_ok());
        assert_eq!(one(true, Some(7)).lag(), Duration::from_secs(7));
    }

    #[test]
    fn a_cluster_member_that_is_behind_is_refused() {
        let member = |behind: Option<&str>| Replication {
            member: Some(Member {
                of: "Galera",
                behind: behind.map(str::to_owned),
            }),
            ..Replication::none()
        };
        assert!(check(&member(None), LIMIT).is_ok());
        let error = check(&member(Some("Joiner")), LIMIT).unwrap_err();
        assert!(error.to_string().contains("Joiner"), "{error}");
    }

    #[test]
    fn unknown_replication_is_refused_on_a_read_only_server() {
        let mut unseen = Replication {
            channels: Channels::Unknown,
            ..Replication::none()
        };
        assert!(check(&unseen, LIMIT).is_ok());
        unseen.read_only = Some("read_only");
        assert!(check(&unseen, LIMIT).is_err());
        unseen.channels = Channels::Known(Vec::new());
        assert!(check(&unseen, LIMIT).is_ok());
    }

    #[test]
    fn the_time_of_the_server_is_parsed_to_the_microsecond() {
        let time = utc("2026-11-21 02:00:00.123456").unwrap();
        assert_eq!(time.to_string(), "2026-11-21T02:00:00.123456Z");
        assert_eq!(utc("0000-00-00 00:00:00.000000"), None);
    }
}
