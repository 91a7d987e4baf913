//! Candidate time zones for values that depend on the time zone of a session.

use crate::Result;
use crate::backup::computed::is_unsupported;
use crate::mysql::Connection;
use crate::mysql::connect::literal;

/// Offsets from UTC that are not whole hours, minutes.
const ODD_MINUTES: [i32; 12] = [-570, -210, 210, 270, 330, 345, 390, 525, 570, 630, 765, 0];

/// Time zones known to any server (offsets) or to one with loaded time zone tables (names).
#[derive(Debug, Default)]
pub(super) struct Zones {
    all: Option<Vec<String>>,
    system: Option<String>,
}

impl Zones {
    pub(super) async fn all(&mut self, connection: &mut Connection) -> Result<&[String]> {
        if self.all.is_none() {
            let hours = (-12..=14).map(|hours| hours * 60);
            let mut all: Vec<String> = hours.chain(ODD_MINUTES).map(offset).collect();
            let names: Option<Vec<String>> = connection
                .rows_if_allowed(
                    "SELECT name FROM mysql.time_zone_name \
                     WHERE name NOT LIKE 'posix/%' AND name NOT LIKE 'right/%' ORDER BY name NOT LIKE '%/%', name",
                )
                .await?;
            all.extend(names.unwrap_or_default());
            self.all = Some(all);
        }
        Ok(self.all.as_deref().unwrap_or_default())
    }

    /// A time zone equal to the server's system time zone, daylight saving time included; UTC if there is none.
    pub(super) async fn system(&mut self, connection: &mut Connection) -> Result<String> {
        if let Some(system) = &self.system {
            return Ok(system.clone());
        }
        let wanted = clock(connection, "SYSTEM").await?;
        let mut system = "+00:00".to_owned();
        for zone in self.all(connection).await? {
            if clock(connection, zone).await? == wanted {
                system.clone_from(zone);
                break;
            }
        }
        self.system = Some(system.clone());
        Ok(system)
    }
}

/// `+05:30`
fn offset(minutes: i32) -> String {
    let sign = if minutes < 0 { '-' } else { '+' };
    let minutes = minutes.unsigned_abs();
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

/// Local times of a zone at fixed moments over sixty years; `None` if the server does not know the zone.
async fn clock(connection: &mut Connection, zone: &str) -> Result<Option<String>> {
    /// Half a year and a day, so that the moments differ in their day of the year.
    const STEP_SECONDS: u64 = (183 + 1) * 86_400;
    let set = format!("SET SESSION time_zone = {}", literal(zone));
    match connection.run(&set).await {
        Ok(()) => {}
        Err(error) if is_unsupported(&error) => return Ok(None),
        Err(error) => return Err(error),
    }
    let moments: Vec<String> = (1..120)
        .map(|n| format!("FROM_UNIXTIME({})", n * STEP_SECONDS))
        .collect();
    connection
        .one(&format!("SELECT CONCAT_WS(' ', {})", moments.join(", ")))
        .await
        .map(Some)
}
