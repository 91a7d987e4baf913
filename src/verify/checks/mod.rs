//! Checks of the restored data besides the comparison: the user's assertions, whether every view can be
//! read, and the server's own checks of its tables ([`counts`]).
//!
//! Equal data can still be the wrong data: a dump of last year's database passes the comparison as well as
//! one of today's. Only the owner of the data knows what makes them right; the assertions state it as queries.

mod counts;
pub mod updatable;

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use mysql_async::Value;
use mysql_async::prelude::Queryable as _;

use crate::archive::read::Archive;
use crate::monitor::report::model::{Check, LoadPath};
use crate::mysql::client::dump_options::has_history;
use crate::mysql::connect::server_code;
use crate::mysql::{Connection, ServerConfig, connect};
use crate::sql::statement::{ObjectId, ObjectKind};
use crate::util::error::{Error, Result};
use crate::util::format::counted;
use crate::util::times::minutes;
use crate::verify::Drill;

/// Allowed difference between the clocks of the application and the server.
const MAX_CLOCK_SKEW: SignedDuration = minutes(2);

/// Time limit for opening a view; MariaDB materialises some views completely to open them.
const VIEW_TIMEOUT: Duration = Duration::from_secs(60);

/// A query over the restored data, with its required result.
#[derive(Debug, Clone, PartialEq)]
pub struct Assertion {
    /// Name in reports.
    pub name: String,
    /// The query; returns one row with one column.
    pub sql: String,
    /// The required result.
    pub requirement: Requirement,
    /// Time limit of the query.
    pub timeout: Duration,
}

/// Required result of a query.
#[derive(Debug, Clone, PartialEq)]
pub enum Requirement {
    /// Exactly this text.
    Equals(String),
    /// A number not less than this.
    AtLeast(f64),
    /// A time in UTC, or seconds since 1970, at most this long before the snapshot.
    FreshWithin(Duration),
}

impl Requirement {
    /// The requirement as text.
    fn describe(&self) -> String {
        match self {
            Requirement::Equals(text) => text.clone(),
            Requirement::AtLeast(least) => format!("at least {least}"),
            Requirement::FreshWithin(span) => {
                format!("a time within {} s of the snapshot", span.as_secs())
            }
        }
    }

    /// Whether a value meets the requirement; an error if it is of another type.
    fn is_met_by(&self, value: &str, snapshot_at: Timestamp) -> std::result::Result<bool, String> {
        match self {
            Requirement::Equals(text) => Ok(value == text),
            Requirement::AtLeast(least) => match value.trim().parse::<f64>() {
                Ok(number) => Ok(number >= *least),
                Err(_) => Err(format!("{value:?}, which is not a number")),
            },
            Requirement::FreshWithin(span) => {
                let time =
                    time_of(value).ok_or_else(|| format!("{value:?}, which is not a time"))?;
                let age = snapshot_at.duration_since(time);
                if age < -MAX_CLOCK_SKEW {
                    return Err(format!("{value}, which is later than the snapshot"));
                }
                Ok(age.as_secs_f64() <= span.as_secs_f64())
            }
        }
    }
}

/// Parses `2026-11-21 02:00:00.5` in UTC, or seconds since 1970.
fn time_of(value: &str) -> Option<Timestamp> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        return Timestamp::from_second(seconds as i64).ok();
    }
    let civil: DateTime = value.parse().ok()?;
    Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// Runs all checks; a check that cannot be executed has failed.
pub async fn run(
    drill: &Drill<'_>,
    archive: &Archive,
    server: &ServerConfig,
) -> Result<Vec<Check>> {
    let cancel = drill.cancel;
    let ledger = &archive.contents().ledger;
    let of_kind = |kind| {
        let objects = ledger.iter().map(|(object, _)| object);
        objects.filter(move |object| object.kind == kind)
    };
    let mut all = Vec::new();
    let mut connection = cancel.unless(connect(server)).await?.with_long_timeout();
    all.extend(
        cancel
            .unless(check_views(
                server,
                &mut connection,
                of_kind(ObjectKind::View),
            ))
            .await?,
    );
    let version = cancel.unless(connection.version()).await?;
    if version.is_mariadb() {
        let check = updatable::check(&mut connection, of_kind(ObjectKind::View));
        all.extend(cancel.unless(check).await?);
    }
    if drill.path == LoadPath::Client {
        let tables = of_kind(ObjectKind::Table).map(|table| {
            let rows = ledger.get(table).and_then(|entry| entry.rows);
            (table, rows.unwrap_or_default().rows)
        });
        let history = has_history(&archive.manifest().client.options);
        let counted = counts::counts(&mut connection, tables, history);
        all.extend(cancel.unless(counted).await?);
    }
    if drill.config.check_table {
        let tables = of_kind(ObjectKind::Table);
        all.extend(cancel.unless(check_tables(&mut connection, tables)).await?);
    }
    connection.close().await;
    for assertion in &drill.config.assertions {
        let snapshot_at = archive.manifest().snapshot_at;
        let check = async { Ok(run_assertion(server, assertion, snapshot_at).await) };
        all.push(cancel.unless(check).await?);
    }
    Ok(all)
}

/// Checks that every view can be opened, so that its definer and the objects it uses exist.
async fn check_views<'a>(
    server: &ServerConfig,
    connection: &mut Connection,
    views: impl Iterator<Item = &'a ObjectId>,
) -> Result<Vec<Check>> {
    let (mut count, mut broken) = (0, Vec::new());
    for view in views {
        count += 1;
        if let Err(why) = open_view(server, connection, view).await? {
            broken.push(failed(format!("{view} can be read"), "a result", why));
        }
    }
    if count > 0 && broken.is_empty() {
        broken.push(passed(
            "all views can be read",
            &counted(count as u64, "view"),
        ));
    }
    Ok(broken)
}

/// Why a view cannot be opened; `None` if it can. After a timeout its connection is abandoned, and the next
/// view uses a new one.
async fn open_view(
    server: &ServerConfig,
    connection: &mut Connection,
    view: &ObjectId,
) -> Result<std::result::Result<(), String>> {
    let sql = format!("SELECT * FROM {} LIMIT 0", view.quoted());
    let opened = connection.rows::<mysql_async::Row>(&sql);
    match tokio::time::timeout(VIEW_TIMEOUT, opened).await {
        Ok(opened) => server_answer(opened.map(|_| ())),
        Err(_) => {
            let stuck = std::mem::replace(connection, connect(server).await?.with_long_timeout());
            // Its metadata locks would block dropping its tables.
            let killed = connection.run(&format!("KILL {}", stuck.id())).await;
            // The statement may have ended just now.
            let _ = server_answer(killed)?;
            let limit = VIEW_TIMEOUT.as_secs();
            Ok(Err(format!("no answer within {limit} s")))
        }
    }
}

/// An error reported by the server for a query is a finding; any other failure is a failure of the server.
fn server_answer<T>(answer: Result<T>) -> Result<std::result::Result<T, String>> {
    match answer {
        Ok(answer) => Ok(Ok(answer)),
        Err(error) if server_code(&error).is_some() => Ok(Err(error.what().to_owned())),
        Err(error) => Err(error),
    }
}

async fn check_tables<'a>(
    connection: &mut Connection,
    tables: impl Iterator<Item = &'a ObjectId>,
) -> Result<Vec<Check>> {
    let (mut count, mut wrong) = (0, Vec::new());
    for table in tables {
        count += 1;
        let rows = connection
            .named_rows(&format!("CHECK TABLE {}", table.quoted()))
            .await?;
        let bad = rows.iter().find(|row| {
            let kind = row.get("Msg_type").unwrap_or_default();
            let text = row.get("Msg_text").unwrap_or_default();
            kind.eq_ignore_ascii_case("error") || (kind == "status" && text != "OK")
        });
        if let Some(row) = bad {
            let found = row.get("Msg_text").unwrap_or_default();
            wrong.push(failed(format!("CHECK TABLE {table}"), "OK", found));
        }
    }
    if wrong.is_empty() {
        wrong.push(passed(
            "CHECK TABLE",
            &format!("{} OK", counted(count as u64, "table")),
        ));
    }
    Ok(wrong)
}

fn passed(name: &str, found: &str) -> Check {
    Check {
        name: name.to_owned(),
        passed: true,
        expected: found.to_owned(),
        found: found.to_owned(),
    }
}

fn failed(name: String, expected: &str, found: impl Into<String>) -> Check {
    Check {
        name,
        passed: false,
        expected: expected.to_owned(),
        found: found.into(),
    }
}

/// Runs one assertion on its own connection, which is abandoned after a timeout.
async fn run_assertion(
    server: &ServerConfig,
    assertion: &Assertion,
    snapshot_at: Timestamp,
) -> Check {
    let answer =
        tokio::time::timeout(assertion.timeout, single_value(server, &assertion.sql)).await;
    let judged = match answer {
        Err(_) => Err(format!(
            "no answer within {} s",
            assertion.timeout.as_secs()
        )),
        Ok(Err(why)) => Err(why),
        Ok(Ok(value)) => assertion
            .requirement
            .is_met_by(&value, snapshot_at)
            .map(|is_met| (is_met, value)),
    };
    let (passed, found) = judged.unwrap_or_else(|why| (false, why));
    Check {
        name: assertion.name.clone(),
        passed,
        expected: assertion.requirement.describe(),
        found,
    }
}

/// The only field of the only row.
async fn single_value(server: &ServerConfig, sql: &str) -> std::result::Result<String, String> {
    let query = async {
        let mut connection = connect(server).await?;
        // Assertions must not change data.
        connection.run("SET SESSION TRANSACTION READ ONLY").await?;
        let failed = |error: mysql_async::Error| Error::server(error.to_string());
        let mut result = connection.conn().query_iter(sql).await.map_err(failed)?;
        let rows: Vec<mysql_async::Row> = result.collect().await.map_err(failed)?;
        let more = !result.is_empty();
        result.drop_result().await.map_err(failed)?;
        connection.close().await;
        Ok((rows, more))
    };
    let (rows, more) = query
        .await
        .map_err(|error: Error| error.what().to_owned())?;
    if more {
        return Err("more than one result set; configure a single query".to_owned());
    }
    match rows.as_slice() {
        [row] if row.len() == 1 => match row.as_ref(0) {
            Some(Value::Bytes(bytes)) => Ok(String::from_utf8_lossy(bytes).into_owned()),
            Some(Value::NULL) | None => Err("NULL".to_owned()),
            Some(value) => Ok(value.as_sql(true)),
        },
        rows => Err(format!(
            "{} of {} instead of one field",
            counted(rows.len() as u64, "row"),
            counted(
                rows.first().map_or(0, mysql_async::Row::len) as u64,
                "column"
            )
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assertion_passes_only_if_its_requirement_is_met() {
        let at = "2026-11-21T02:00:00Z".parse().unwrap();
        let hour = Duration::from_secs(3600);
        for (requirement, value, expected) in [
            (Requirement::Equals("42".into()), "42", Ok(true)),
            (Requirement::Equals("42".into()), "42.0", Ok(false)),
            (Requirement::AtLeast(10.0), "10", Ok(true)),
            (Requirement::AtLeast(10.0), "9.99", Ok(false)),
            (Requirement::AtLeast(10.0), "NULL", Err(())),
            (
                Requirement::FreshWithin(hour),
                "2026-11-21 01:30:00",
                Ok(true),
            ),
            (
                Requirement::FreshWithin(hour),
                "2026-11-21 00:59:59.9",
                Ok(false),
            ),
            (Requirement::FreshWithin(hour), "1795225800", Ok(true)),
            (
                Requirement::FreshWithin(hour),
                "2026-11-21 02:01:00",
                Ok(true),
            ),
            (
                Requirement::FreshWithin(hour),
                "9999-12-30 00:00:00",
                Err(()),
            ),
            (Requirement::FreshWithin(hour), "NULL", Err(())),
        ] {
            assert_eq!(
                requirement.is_met_by(value, at).map_err(|_| ()),
                expected,
                "{requirement:?} {value}"
            );
        }
    }
}
