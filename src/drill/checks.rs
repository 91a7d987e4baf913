//! What the restored data are asked beside the proof: the user's own assertions, whether every view
//! can be read, and the server's own opinion of its tables.
//!
//! Equal data can still be the wrong data: a dump of last year's database is proven as well as one of
//! today's. What makes them right only their owner knows, and writes down as queries.

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
use crate::server::{Connection, ServerConfig, connect};
use crate::sql::statement::{ObjectId, ObjectKind, quote};

/// How far the clocks of who wrote the data and of the server may be apart.
const CLOCKS_APART: SignedDuration = SignedDuration::from_mins(2);

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
    let mut connection = cancel.unless(connect(server)).await?;
    all.extend(
        cancel
            .unless(views(&mut connection, of_kind(ObjectKind::View)))
            .await?,
    );
    if drill.path == LoadPath::Client {
        let tables = of_kind(ObjectKind::Table).map(|table| {
            let rows = ledger.get(table).and_then(|entry| entry.rows);
            (table, rows.unwrap_or_default().rows)
        });
        all.extend(cancel.unless(counts(&mut connection, tables)).await?);
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
    connection: &mut Connection,
    views: impl Iterator<Item = &'a ObjectId>,
) -> Result<Vec<Check>> {
    let (mut count, mut broken) = (0, Vec::new());
    for view in views {
        count += 1;
        let name = format!("{}.{}", quote(&view.schema), quote(&view.name));
        let opened = connection
            .rows::<mysql_async::Row>(&format!("SELECT * FROM {name} LIMIT 0"))
            .await;
        if let Err(error) = opened {
            // What is not the server's own word about the view is the end of the server.
            if server_code(&error).is_none() {
                return Err(error);
            }
            broken.push(Check {
                name: format!("{view} can be read"),
                passed: false,
                expected: "a result".to_owned(),
                found: error.what().to_owned(),
            });
        }
    }
    if count > 0 && broken.is_empty() {
        broken.push(passed("all views can be read", &format!("{count} views")));
    }
    Ok(broken)
}

/// Whether the server itself counts as many rows as the ledger.
async fn counts<'a>(
    connection: &mut Connection,
    tables: impl Iterator<Item = (&'a ObjectId, u64)>,
) -> Result<Vec<Check>> {
    let (mut all, mut wrong) = (0, Vec::new());
    for (table, expected) in tables {
        let name = format!("{}.{}", quote(&table.schema), quote(&table.name));
        let found: u64 = connection
            .one(&format!("SELECT COUNT(*) FROM {name}"))
            .await?;
        all += found;
        if found != expected {
            wrong.push(Check {
                name: format!("the server's own count of {table}"),
                passed: false,
                expected: format!("{expected} rows"),
                found: format!("{found} rows"),
            });
        }
    }
    if wrong.is_empty() {
        let found = format!("{all} rows");
        wrong.push(passed("the server's own count of every table", &found));
    }
    Ok(wrong)
}

async fn check_tables<'a>(
    connection: &mut Connection,
    tables: impl Iterator<Item = &'a ObjectId>,
) -> Result<Vec<Check>> {
    let (mut count, mut wrong) = (0, Vec::new());
    for table in tables {
        count += 1;
        let name = format!("{}.{}", quote(&table.schema), quote(&table.name));
        let rows = connection
            .named_rows(&format!("CHECK TABLE {name}"))
            .await?;
        let bad = rows.iter().find(|row| {
            let kind = row.get("Msg_type").unwrap_or_default();
            let text = row.get("Msg_text").unwrap_or_default();
            kind.eq_ignore_ascii_case("error") || (kind == "status" && text != "OK")
        });
        if let Some(row) = bad {
            wrong.push(Check {
                name: format!("CHECK TABLE {table}"),
                passed: false,
                expected: "OK".to_owned(),
                found: row.get("Msg_text").unwrap_or_default().to_owned(),
            });
        }
    }
    if wrong.is_empty() {
        wrong.push(passed("CHECK TABLE", &format!("{count} tables OK")));
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
            "{} rows of {} columns instead of one field",
            rows.len(),
            rows.first().map_or(0, mysql_async::Row::len)
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
