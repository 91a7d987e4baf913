//! What the restored data are asked beside the proof: the user's own assertions, whether every view
//! can be read, and the server's own opinion of its tables ([`counts`]).
//!
//! Equal data can still be the wrong data: a dump of last year's database is proven as well as one of
//! today's. What makes them right only their owner knows, and writes down as queries.

mod counts;

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use mysql_async::Value;
use mysql_async::prelude::Queryable as _;

use crate::archive::read::Archive;
use crate::drill::Drill;
use crate::error::{Error, Result};
use crate::report::model::{Check, LoadPath};
use crate::server::connect::server_code;
use crate::server::dump_options::has_history;
use crate::server::{Connection, ServerConfig, connect};
use crate::sql::statement::{ObjectId, ObjectKind};
use crate::times::minutes;
use crate::words::counted;

/// How far the clocks of who wrote the data and of the server may be apart.
const CLOCKS_APART: SignedDuration = minutes(2);

/// How long a view may take to be opened; MariaDB computes some of them to their last row for it.
const VIEW_TIMEOUT: Duration = Duration::from_secs(60);

/// A query over the restored data, and what it must return.
#[derive(Debug, Clone, PartialEq)]
pub struct Assertion {
    /// What it is called in reports.
    pub name: String,
    /// The query: one row of one column.
    pub sql: String,
    /// What it must return.
    pub holds: Holds,
    /// How long it may take.
    pub timeout: Duration,
}

/// What a query must return.
#[derive(Debug, Clone, PartialEq)]
pub enum Holds {
    /// This text.
    Equals(String),
    /// A number that is not less.
    AtLeast(f64),
    /// A time in UTC, or seconds since 1970, not earlier than so long before the snapshot.
    FreshWithin(Duration),
}

impl Holds {
    /// What is expected, for a person.
    fn words(&self) -> String {
        match self {
            Holds::Equals(text) => text.clone(),
            Holds::AtLeast(least) => format!("at least {least}"),
            Holds::FreshWithin(span) => {
                format!("a time within {} s of the snapshot", span.as_secs())
            }
        }
    }

    /// Whether a value is what it must be; why not, where it is of another kind.
    fn by(&self, value: &str, snapshot_at: Timestamp) -> std::result::Result<bool, String> {
        match self {
            Holds::Equals(text) => Ok(value == text),
            Holds::AtLeast(least) => match value.trim().parse::<f64>() {
                Ok(number) => Ok(number >= *least),
                Err(_) => Err(format!("{value:?}, which is no number")),
            },
            Holds::FreshWithin(span) => {
                let time = time_of(value).ok_or_else(|| format!("{value:?}, which is no time"))?;
                let age = snapshot_at.duration_since(time);
                if age < -CLOCKS_APART {
                    return Err(format!("{value}, which is later than the snapshot"));
                }
                Ok(age.as_secs_f64() <= span.as_secs_f64())
            }
        }
    }
}

/// `2026-11-21 02:00:00.5` in UTC, or seconds since 1970.
fn time_of(value: &str) -> Option<Timestamp> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        return Timestamp::from_second(seconds as i64).ok();
    }
    let civil: DateTime = value.parse().ok()?;
    Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// Asks everything; a check that cannot be asked has failed.
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
    let mut connection = cancel.unless(connect(server)).await?.patient();
    all.extend(
        cancel
            .unless(views(server, &mut connection, of_kind(ObjectKind::View)))
            .await?,
    );
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
        let asked = async { Ok(ask(server, assertion, snapshot_at).await) };
        all.push(cancel.unless(asked).await?);
    }
    Ok(all)
}

/// Whether every view can be opened: their definers and what they are about are there.
async fn views<'a>(
    server: &ServerConfig,
    connection: &mut Connection,
    views: impl Iterator<Item = &'a ObjectId>,
) -> Result<Vec<Check>> {
    let (mut count, mut broken) = (0, Vec::new());
    for view in views {
        count += 1;
        if let Err(why) = open(server, connection, view).await? {
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

/// Why a view cannot be opened, if it cannot. One that takes too long is left with its connection, and
/// the next one has another.
async fn open(
    server: &ServerConfig,
    connection: &mut Connection,
    view: &ObjectId,
) -> Result<std::result::Result<(), String>> {
    let sql = format!("SELECT * FROM {} LIMIT 0", view.quoted());
    let opened = connection.rows::<mysql_async::Row>(&sql);
    match tokio::time::timeout(VIEW_TIMEOUT, opened).await {
        Ok(opened) => in_its_words(opened.map(|_| ())),
        Err(_) => {
            let stuck = std::mem::replace(connection, connect(server).await?.patient());
            // What it holds would keep anybody from dropping its tables.
            let killed = connection.run(&format!("KILL {}", stuck.id())).await;
            // It may have ended by itself just now.
            let _ = in_its_words(killed)?;
            let limit = VIEW_TIMEOUT.as_secs();
            Ok(Err(format!("no answer within {limit} s")))
        }
    }
}

/// What the server itself says against a query is a finding; whatever else happens to it is the end of
/// the server.
fn in_its_words<T>(answer: Result<T>) -> Result<std::result::Result<T, String>> {
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

/// Asks one assertion on a connection of its own, which a query that takes too long is left with.
async fn ask(server: &ServerConfig, assertion: &Assertion, snapshot_at: Timestamp) -> Check {
    let answer = tokio::time::timeout(assertion.timeout, answer(server, &assertion.sql)).await;
    let judged = match answer {
        Err(_) => Err(format!(
            "no answer within {} s",
            assertion.timeout.as_secs()
        )),
        Ok(Err(why)) => Err(why),
        Ok(Ok(value)) => assertion
            .holds
            .by(&value, snapshot_at)
            .map(|holds| (holds, value)),
    };
    let (passed, found) = judged.unwrap_or_else(|why| (false, why));
    Check {
        name: assertion.name.clone(),
        passed,
        expected: assertion.holds.words(),
        found,
    }
}

/// The only field of the only row.
async fn answer(server: &ServerConfig, sql: &str) -> std::result::Result<String, String> {
    let asked = async {
        let mut connection = connect(server).await?;
        // It is about the data, and never changes them.
        connection.run("SET SESSION TRANSACTION READ ONLY").await?;
        let failed = |error: mysql_async::Error| Error::server(error.to_string());
        let mut result = connection.conn().query_iter(sql).await.map_err(failed)?;
        let rows: Vec<mysql_async::Row> = result.collect().await.map_err(failed)?;
        let more = !result.is_empty();
        result.drop_result().await.map_err(failed)?;
        connection.close().await;
        Ok((rows, more))
    };
    let (rows, more) = asked
        .await
        .map_err(|error: Error| error.what().to_owned())?;
    if more {
        return Err("more than one result: give one query".to_owned());
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
    fn an_assertion_holds_only_by_what_it_asks_for() {
        let at = "2026-11-21T02:00:00Z".parse().unwrap();
        let hour = Duration::from_secs(3600);
        for (holds, value, expected) in [
            (Holds::Equals("42".into()), "42", Ok(true)),
            (Holds::Equals("42".into()), "42.0", Ok(false)),
            (Holds::AtLeast(10.0), "10", Ok(true)),
            (Holds::AtLeast(10.0), "9.99", Ok(false)),
            (Holds::AtLeast(10.0), "NULL", Err(())),
            (Holds::FreshWithin(hour), "2026-11-21 01:30:00", Ok(true)),
            (Holds::FreshWithin(hour), "2026-11-21 00:59:59.9", Ok(false)),
            (Holds::FreshWithin(hour), "1795225800", Ok(true)),
            (Holds::FreshWithin(hour), "2026-11-21 02:01:00", Ok(true)),
            (Holds::FreshWithin(hour), "9999-12-30 00:00:00", Err(())),
            (Holds::FreshWithin(hour), "NULL", Err(())),
        ] {
            assert_eq!(
                holds.by(value, at).map_err(|_| ()),
                expected,
                "{holds:?} {value}"
            );
        }
    }
}
