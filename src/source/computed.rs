//! Under which session settings the tables of a server hold what they compute, and rows for which there are
//! none: asked of the rows themselves, before the dump.
//!
//! A row is computed in the session of who writes it, and the server remembers nothing of that. So each
//! table whose expressions depend on a session variable ([`crate::sql::computed`]) is compared with what these
//! give now: in the settings that the server gives to everybody, and where a row differs, in others, one
//! variable changed at a time, until all rows agree. A restore computes in the same. What no settings give is
//! named with its number of rows.
//!
//! Each such table is read once, and the expressions that do not fit end at their first row. A row that
//! changes between this look and the dump is not seen.

use std::collections::BTreeSet;

use crate::Result;
use crate::server::connect::literal;
use crate::server::{Connection, ServerConfig, ServerVersion, connect};
use crate::sql::computed::{
    self, Computed, MODES, Needs, Place, SQL_MODE, Settings, TIME_ZONE, VARIABLES,
};
use crate::sql::statement::ObjectId;
use crate::words::counted;

/// What was found of all tables.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What each table needs of a session.
    pub needs: std::collections::BTreeMap<ObjectId, Needs>,
    /// What a restore computes otherwise than it is, a line each.
    pub lossy: Vec<String>,
}

/// Locales whose names of days and months differ from others' (MySQL manual, "MySQL Server Locale Support").
const LOCALES: &str = "en_US de_DE fr_FR es_ES it_IT pt_PT pt_BR nl_NL pl_PL ru_RU ja_JP zh_CN zh_TW ko_KR tr_TR \
    sv_SE da_DK nb_NO fi_FI cs_CZ sk_SK hu_HU ro_RO bg_BG uk_UA el_GR he_IL ar_AE ar_SA ar_EG hi_IN th_TH vi_VN \
    id_ID ms_MY et_EE lv_LV lt_LT hr_HR sl_SI sr_RS mk_MK sq_AL be_BY ca_ES eu_ES gl_ES is_IS fo_FO ur_PK ta_IN \
    te_IN gu_IN mn_MN de_AT de_CH en_GB es_MX";

/// Zones that are so many minutes and no whole hours from UTC.
const ODD_MINUTES: [i32; 12] = [-570, -210, 210, 270, 330, 345, 390, 525, 570, 630, 765, 0];

/// Asks the server. A connection of its own: its session is changed all the time.
pub(super) async fn needs(
    config: &ServerConfig,
    server: &ServerVersion,
    schemas: &[String],
) -> Result<Found> {
    let mut connection = connect(config).await?.patient();
    let mut found = Found::default();
    let mut zones = Zones::default();
    for table in tables(&mut connection, server, schemas).await? {
        let sql = format!("SHOW CREATE TABLE {}", table.quoted());
        let Some((_, create)) = connection.row::<(String, Vec<u8>)>(&sql).await? else {
            continue;
        };
        let expressions = computed::of_table(&create);
        if expressions.is_empty() {
            continue;
        }
        let lossy = &mut found.lossy;
        let mut needs = of_table(&mut connection, &table, &expressions, &mut zones, lossy).await?;
        if !server.is_mariadb() && needs.recomputes() {
            let checks = expressions.iter().filter(|one| one.place == Place::Check);
            needs.checks = checks.map(|one| one.name.clone()).collect();
        }
        found.needs.insert(table, needs);
    }
    connection.close().await;
    Ok(found)
}

/// Tables that compute anything.
async fn tables(
    connection: &mut Connection,
    server: &ServerVersion,
    schemas: &[String],
) -> Result<BTreeSet<ObjectId>> {
    let mut queries = vec![
        "SELECT DISTINCT table_schema, table_name FROM information_schema.columns \
         WHERE generation_expression <> ''",
    ];
    if server.is_mariadb() {
        queries.push("SELECT DISTINCT constraint_schema, table_name FROM information_schema.check_constraints");
    }
    if server.is_mysql_from(8, 0, 13) {
        queries.push(
            "SELECT DISTINCT table_schema, table_name FROM information_schema.statistics \
             WHERE expression IS NOT NULL",
        );
    }
    if server.is_mysql_from(8, 0, 16) {
        queries.push(
            "SELECT DISTINCT table_schema, table_name FROM information_schema.table_constraints \
             WHERE constraint_type = 'CHECK'",
        );
    }
    let mut tables = BTreeSet::new();
    for query in queries {
        let rows: Vec<(String, String)> = connection.rows(query).await?;
        let ours = rows
            .into_iter()
            .filter(|(schema, _)| schemas.contains(schema));
        tables.extend(ours.map(|(schema, name)| ObjectId::table(schema, name)));
    }
    Ok(tables)
}

async fn of_table(
    connection: &mut Connection,
    table: &ObjectId,
    expressions: &[Computed],
    zones: &mut Zones,
    lossy: &mut Vec<String>,
) -> Result<Needs> {
    let variables: BTreeSet<&str> = expressions
        .iter()
        .flat_map(|one| one.variables.iter().copied())
        .collect();
    let mut usual = Settings::new();
    for &variable in &variables {
        let value = usual_value(connection, variable, zones).await?;
        usual.extend(value.map(|value| (variable.to_owned(), value)));
    }
    let mut needs = Needs {
        settings: usual.clone(),
        ..Needs::default()
    };
    if agrees(connection, table, expressions, &needs).await? {
        return Ok(needs);
    }
    for &variable in &variables {
        for value in values(connection, variable, zones).await? {
            needs.settings.insert(variable.to_owned(), value);
            if agrees(connection, table, expressions, &needs).await? {
                return Ok(needs);
            }
        }
        needs.settings.clone_from(&usual);
    }
    set(connection, &needs).await?;
    let told: Vec<String> = needs
        .settings
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    for one in expressions {
        let Some(condition) = computed::unlike(one) else {
            continue;
        };
        let sql = format!("SELECT COUNT(*) FROM {} WHERE {condition}", table.quoted());
        let rows: u64 = connection.one(&sql).await?;
        if rows == 0 {
            continue;
        }
        needs.unlike = needs.unlike.saturating_add(rows);
        let name = &one.name;
        let rows = counted(rows, "row");
        let line = match one.place {
            Place::Check => format!(
                "{rows} not passing the CHECK {name} under any one session setting: MySQL takes them back only \
                 where it is NOT ENFORCED"
            ),
            _ => format!(
                "{rows} with what no one session setting gives: a restore computes it under {}",
                told.join(", ")
            ),
        };
        let of = match one.place {
            Place::Check => format!("{}.{}", table.schema, table.name),
            _ => format!("{}.{}.{name}", table.schema, table.name),
        };
        lossy.push(format!("{of}: {line}"));
    }
    Ok(needs)
}

/// Whether all rows hold what the expressions give under these settings.
async fn agrees(
    connection: &mut Connection,
    table: &ObjectId,
    expressions: &[Computed],
    needs: &Needs,
) -> Result<bool> {
    let conditions: Vec<String> = expressions.iter().filter_map(computed::unlike).collect();
    if conditions.is_empty() {
        return Ok(true);
    }
    set(connection, needs).await?;
    let sql = format!(
        "SELECT 1 FROM {} WHERE {} LIMIT 1",
        table.quoted(),
        conditions.join(" OR ")
    );
    Ok(connection.row::<u8>(&sql).await?.is_none())
}

async fn set(connection: &mut Connection, needs: &Needs) -> Result<()> {
    match needs.set_statement() {
        Some(sql) => connection.run(&sql).await,
        None => Ok(()),
    }
}

/// What the server gives to everybody, in words that another server knows.
async fn usual_value(
    connection: &mut Connection,
    variable: &str,
    zones: &mut Zones,
) -> Result<Option<String>> {
    let value: Option<(String, String)> = connection
        .row(&format!("SHOW GLOBAL VARIABLES LIKE {}", literal(variable)))
        .await?;
    let Some((_, value)) = value else {
        return Ok(None);
    };
    Ok(Some(match variable {
        TIME_ZONE if value == "SYSTEM" => zones.system(connection).await?,
        SQL_MODE => {
            let modes = MODES
                .into_iter()
                .filter(|mode| value.split(',').any(|one| one == *mode));
            modes.collect::<Vec<_>>().join(",")
        }
        _ => value,
    }))
}

/// What a session may have had of a variable, the likeliest first.
async fn values(
    connection: &mut Connection,
    variable: &str,
    zones: &mut Zones,
) -> Result<Vec<String>> {
    let own = VARIABLES.iter().find(|(name, _)| *name == variable);
    let mut all: Vec<String> = own
        .map(|(_, value)| (*value).to_owned())
        .into_iter()
        .collect();
    match variable {
        TIME_ZONE => all.extend(zones.all(connection).await?.iter().cloned()),
        "lc_time_names" => all.extend(LOCALES.split_whitespace().map(str::to_owned)),
        "div_precision_increment" => all.extend((0..=30).map(|digits| digits.to_string())),
        "block_encryption_mode" => {
            for bits in ["128", "192", "256"] {
                let modes = ["ecb", "cbc", "cfb1", "cfb8", "cfb128", "ofb"];
                all.extend(modes.map(|mode| format!("aes-{bits}-{mode}")));
            }
        }
        SQL_MODE => {
            for chosen in 0..1_usize << MODES.len() {
                let modes = MODES.iter().enumerate();
                let modes = modes.filter(|(at, _)| chosen >> at & 1 == 1);
                all.push(modes.map(|(_, mode)| *mode).collect::<Vec<_>>().join(","));
            }
        }
        _ => {}
    }
    Ok(all)
}

/// Time zones by names that any server knows, or that one with its tables of zones knows.
#[derive(Debug, Default)]
struct Zones {
    all: Option<Vec<String>>,
    system: Option<String>,
}

impl Zones {
    async fn all(&mut self, connection: &mut Connection) -> Result<&[String]> {
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

    /// One that reads as the server's own zone does, summer and winter; UTC where none does.
    async fn system(&mut self, connection: &mut Connection) -> Result<String> {
        if let Some(system) = &self.system {
            return Ok(system.clone());
        }
        let wanted = clock(connection, "SYSTEM").await?;
        let mut system = "+00:00".to_owned();
        for zone in self.all(connection).await? {
            // The list itself needs the connection no more.
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

/// What the clocks of a zone show at some moments of sixty years.
async fn clock(connection: &mut Connection, zone: &str) -> Result<String> {
    /// Half a year and a day, so that the moments move through the year.
    const STEP_SECONDS: u64 = (183 + 1) * 86_400;
    connection
        .run(&format!("SET SESSION time_zone = {}", literal(zone)))
        .await?;
    let moments: Vec<String> = (1..120)
        .map(|n| format!("FROM_UNIXTIME({})", n * STEP_SECONDS))
        .collect();
    connection
        .one(&format!("SELECT CONCAT_WS(' ', {})", moments.join(", ")))
        .await
}
