//! Named time zones on a scratch server: those used by the backup, from the zone data built into drctl.
//!
//! A server knows named zones only after they were loaded, and an event created under a named zone cannot
//! be created without it. drctl prepares its own scratch servers for the backup, so it loads these zones; all of them
//! for a binary log, whose statements have the zones of the sessions that executed them.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

use crate::archive::read::Archive;
use crate::mysql::connect::literal;
use crate::mysql::facts::{ANY_ZONE, NAMED_ZONES};
use crate::mysql::{Connection, ServerConfig, connect};
use crate::sql::computed::TIME_ZONE;
use crate::util::error::Result;

/// First and last time in these tables that servers look up, in seconds since 1970.
const SPAN: (i64, i64) = (-2_147_483_648, 2_147_483_647);

/// Loads the zones that the backup uses and the server lacks, or all that it lacks. An unknown name is left for the
/// restore to report.
pub async fn load(server: &ServerConfig, archive: &Archive, all: bool) -> Result<()> {
    let mut names = named(archive);
    if all {
        names.extend(jiff::tz::db().available().map(|name| name.to_string()));
    }
    if names.is_empty() {
        return Ok(());
    }
    let mut connection = connect(server).await?;
    for name in names {
        let sql = format!(
            "SELECT CONVERT_TZ('2000-01-01 00:00:00', '+00:00', {}) IS NULL",
            literal(&name)
        );
        let unknown: bool = connection.one(&sql).await?;
        if let (true, Ok(zone)) = (unknown, TimeZone::get(&name)) {
            add(&mut connection, &name, &zone).await?;
        }
    }
    connection.close().await;
    Ok(())
}

/// Zone names used in the backup's events and expressions.
fn named(archive: &Archive) -> BTreeSet<String> {
    let of_events = archive.manifest().server.fingerprint.get(NAMED_ZONES);
    let of_events_are_any = of_events.is_some_and(|names| names == ANY_ZONE);
    let of_events = of_events.into_iter().flat_map(|names| names.split(','));
    let inventory = archive.contents().inventory.iter();
    let of_tables = inventory.filter_map(|entry| entry.needs.as_ref()?.settings.get(TIME_ZONE));
    let all = of_events.chain(of_tables.map(String::as_str));
    let named = all.filter(|name| name.bytes().any(|byte| byte.is_ascii_alphabetic()));
    let mut named: BTreeSet<String> = named.map(str::to_owned).collect();
    if of_events_are_any {
        named.extend(jiff::tz::db().available().map(|name| name.to_string()));
    }
    named
}

/// Writes a zone in the format of the servers' own programs.
async fn add(connection: &mut Connection, name: &str, zone: &TimeZone) -> Result<()> {
    let Ok(first) = Timestamp::from_second(SPAN.0) else {
        return Ok(());
    };
    let begin = zone.to_offset_info(first);
    let mut types: Vec<(Offset, bool, String)> = vec![(
        begin.offset(),
        begin.dst().is_dst(),
        begin.abbreviation().to_owned(),
    )];
    let mut transitions = vec![(SPAN.0, 0)];
    for next in zone.following(first) {
        let at = next.timestamp().as_second();
        if at > SPAN.1 {
            break;
        }
        let kind = (
            next.offset(),
            next.dst().is_dst(),
            next.abbreviation().to_owned(),
        );
        let known = types.iter().position(|one| *one == kind);
        let number = known.unwrap_or_else(|| {
            types.push(kind);
            types.len() - 1
        });
        transitions.push((at, number));
    }
    connection
        .run("INSERT INTO mysql.time_zone (use_leap_seconds) VALUES ('N')")
        .await?;
    let id: u64 = connection.one("SELECT LAST_INSERT_ID()").await?;
    let kinds: Vec<String> = types
        .iter()
        .enumerate()
        .map(|(number, (offset, dst, short))| {
            let (seconds, dst) = (offset.seconds(), u8::from(*dst));
            let short: String = short.chars().take(8).collect();
            format!("({id}, {number}, {seconds}, {dst}, {})", literal(&short))
        })
        .collect();
    let moments: Vec<String> = transitions
        .iter()
        .map(|(at, number)| format!("({id}, {at}, {number})"))
        .collect();
    for (columns, rows) in [
        (
            "time_zone_transition_type (time_zone_id, transition_type_id, `offset`, is_dst, abbreviation)",
            kinds,
        ),
        (
            "time_zone_transition (time_zone_id, transition_time, transition_type_id)",
            moments,
        ),
        (
            "time_zone_name (name, time_zone_id)",
            vec![format!("({}, {id})", literal(name))],
        ),
    ] {
        let sql = format!("INSERT INTO mysql.{columns} VALUES {}", rows.join(", "));
        connection.run(&sql).await?;
    }
    Ok(())
}
