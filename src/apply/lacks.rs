//! What a server lacks that a backup needs and no session can provide: time zones by name, spatial reference
//! systems, engines, global settings. Named before anything is touched.

use std::collections::BTreeMap;

use crate::apply::facts::TargetFacts;
use crate::apply::refusal::Refusal;
use crate::archive::index::InventoryRecord;
use crate::archive::read::Archive;
use crate::error::Result;
use crate::server::Connection;
use crate::server::connect::literal;
use crate::sql::computed::{Needs, TIME_ZONE};
use crate::sql::session::Session;
use crate::sql::spatial::SpatialReference;
use crate::sql::statement::{ObjectId, ObjectKind};
use crate::sql::tokens::Tokens;

/// What the definitions in scope need beside each other, each with the first of those that need it.
#[derive(Debug, Clone, Default)]
pub struct Requires {
    /// Time zones by their names.
    zones: BTreeMap<String, ObjectId>,
    /// Spatial reference systems by their numbers.
    spatial: BTreeMap<u32, ObjectId>,
}

impl Requires {
    /// Notes what one definition needs, by the object's name on the server.
    pub fn note(&mut self, object: &ObjectId, sql: &[u8], session: &Session) {
        if object.kind == ObjectKind::Event
            && let Some(zone) = session.variable(TIME_ZONE)
        {
            self.note_zone(zone.trim_matches('\''), object);
        }
        if object.kind == ObjectKind::Table {
            let mut tokens = Tokens::new(sql);
            while tokens.find(|token| token.is("SRID")).is_some() {
                let number = tokens
                    .clone()
                    .next()
                    .and_then(|token| token.name())
                    .flatten();
                if let Some(number) = number.and_then(|number| number.parse().ok()) {
                    self.spatial.entry(number).or_insert_with(|| object.clone());
                }
            }
        }
    }

    /// Notes what a table's expressions need.
    pub fn note_needs(&mut self, table: &ObjectId, needs: &Needs) {
        if let Some(zone) = needs.settings.get(TIME_ZONE) {
            self.note_zone(zone, table);
        }
    }

    fn note_zone(&mut self, zone: &str, object: &ObjectId) {
        let named = zone.bytes().any(|byte| byte.is_ascii_alphabetic());
        if named && !zone.eq_ignore_ascii_case("SYSTEM") {
            self.zones
                .entry(zone.to_owned())
                .or_insert_with(|| object.clone());
        }
    }

    /// What of it the server does not have.
    pub async fn missing(
        &self,
        connection: &mut Connection,
        inventory: &[InventoryRecord],
    ) -> Result<Vec<Refusal>> {
        let mut all = Vec::new();
        for (zone, object) in &self.zones {
            let sql = format!(
                "SELECT CONVERT_TZ('2000-01-01 00:00:00', '+00:00', {}) IS NULL",
                literal(zone)
            );
            if connection.one::<bool>(&sql).await? {
                all.push(Refusal::new(
                    format!("the server does not know the time zone {zone}, of {object}"),
                    "load the time zones into it: mysql_tzinfo_to_sql /usr/share/zoneinfo | mysql -u root mysql",
                ));
            }
        }
        for (number, object) in &self.spatial {
            let sql = format!(
                "SELECT COUNT(*) FROM information_schema.st_spatial_reference_systems WHERE srs_id = {number}"
            );
            // MariaDB has no such list, and needs none.
            let known: Option<u64> = connection.row(&sql).await.unwrap_or_default();
            if known == Some(0) {
                let mut dumped = inventory.iter().flat_map(|entry| &entry.spatial);
                let create = dumped.find(|system| system.id == *number).map_or_else(
                    || {
                        format!(
                            "create it as it is where the backup was made: \
                             information_schema.st_spatial_reference_systems there has the definition of {number}"
                        )
                    },
                    SpatialReference::create,
                );
                all.push(Refusal::new(
                    format!("the server lacks the spatial reference system {number}, of {object}"),
                    create,
                ));
            }
        }
        Ok(all)
    }
}

/// Global settings under which a restore can only fail, and which no session can have otherwise.
pub fn of_the_server(facts: &TargetFacts, archive: &Archive) -> Vec<Refusal> {
    let mut all = Vec::new();
    for (variable, harmless) in [
        ("innodb_read_only", "OFF"),
        ("innodb_force_recovery", "0"),
        ("offline_mode", "OFF"),
    ] {
        let value = facts.variable(variable);
        if !value.is_empty() && !value.eq_ignore_ascii_case(harmless) {
            all.push(Refusal::new(
                format!("{variable} is {value}: nothing can be written to the server"),
                format!("start it with {variable}={harmless}"),
            ));
        }
    }
    let short = |format: &str| {
        ["compact", "redundant"]
            .iter()
            .any(|one| format.eq_ignore_ascii_case(one))
    };
    const ROW_FORMAT: &str = "innodb_default_row_format";
    let ours = facts.variable(ROW_FORMAT);
    let fingerprint = &archive.manifest().server.fingerprint;
    let theirs = fingerprint.get(ROW_FORMAT);
    if let Some(theirs) = theirs.filter(|theirs| short(ours) && !short(theirs)) {
        all.push(Refusal::new(
            format!("{ROW_FORMAT} is {ours}, it was {theirs} where the backup was made: rows and keys may not fit"),
            format!("SET GLOBAL {ROW_FORMAT} = {theirs}"),
        ));
    }
    const DISABLED: &str = "disabled_storage_engines";
    let disabled: Vec<&str> = facts.variable(DISABLED).split(',').map(str::trim).collect();
    let uses = archive.contents().inventory.iter().find_map(|entry| {
        let engine = entry.engine.as_deref()?;
        let off = disabled.iter().any(|one| one.eq_ignore_ascii_case(engine));
        off.then_some((engine, &entry.object))
    });
    if let Some((engine, table)) = uses {
        all.push(Refusal::new(
            format!("{DISABLED} has {engine}, the engine of {table}"),
            format!("start the server without {engine} in {DISABLED}"),
        ));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_by_name_and_spatial_systems_are_found_where_they_are_named() {
        let mut requires = Requires::default();
        let event = ObjectId::new(ObjectKind::Event, "s", "e");
        for zone in ["'Europe/Berlin'", "'SYSTEM'", "'+02:00'"] {
            let mut session = Session::default();
            assert!(session.set(TIME_ZONE, zone));
            requires.note(&event, b"CREATE EVENT", &session);
        }
        let table = ObjectId::table("s", "t");
        let sql = b"CREATE TABLE `t` (\n  `SRID` int COMMENT 'SRID 5',\n  `p` point NOT NULL /*!80003 SRID 1999999 */\n)";
        requires.note(&table, sql, &Session::default());
        assert_eq!(requires.zones, [("Europe/Berlin".to_owned(), event)].into());
        assert_eq!(requires.spatial, [(1_999_999, table)].into());
    }
}
