//! Spatial reference systems that the backup's tables use: the server needs each, with the definition that the
//! target had. With another one, positions and distances mean something else, and no comparison of rows shows it.

use std::collections::BTreeMap;

use crate::archive::index::InventoryRecord;
use crate::mysql::Connection;
use crate::mysql::connect::server_code;
use crate::restore::inspect::refusal::Refusal;
use crate::sql::spatial::SpatialReference;
use crate::sql::statement::ObjectId;
use crate::util::error::Result;

/// Errors of a server without the table of spatial reference systems: MariaDB, which accepts every SRID.
const ABSENT: [u16; 2] = [1109, 1146];

/// The definitions of a server compared with those of a backup.
#[derive(Debug, Default)]
pub struct Compared {
    /// Those that the server lacks, or defines otherwise.
    pub refusals: Vec<Refusal>,
    /// Those of the server itself whose definition differs between release series.
    pub warnings: Vec<String>,
}

/// Compares those in `used` (by SRID, each with the first table that uses it). The inventory has their definitions, in
/// backups of earlier versions except those that every server has.
pub async fn compare(
    connection: &mut Connection,
    used: &BTreeMap<u32, ObjectId>,
    inventory: &[InventoryRecord],
    same_series: bool,
) -> Result<Compared> {
    let mut all = Compared::default();
    for (number, table) in used {
        let there = match definition(connection, *number).await {
            Err(error) if server_code(&error).is_some_and(|code| ABSENT.contains(&code)) => {
                return Ok(Compared::default());
            }
            found => found?,
        };
        let mut dumped = inventory.iter().flat_map(|entry| &entry.spatial);
        let dumped = dumped.find(|system| system.id == *number);
        let Some(refusal) = refusal(*number, table, there.as_deref(), dumped) else {
            continue;
        };
        if !same_series && there.is_some() && dumped.is_some_and(may_be_of_the_server) {
            all.warnings.push(refusal.what);
        } else {
            all.refusals.push(refusal);
        }
    }
    Ok(all)
}

/// Whether it has the name of one that every server has. Each release series has its own edition of these, which is no
/// reason not to restore into the next one.
fn may_be_of_the_server(system: &SpatialReference) -> bool {
    let organization = system.organization.as_ref();
    organization.is_some_and(|(name, number)| name == "EPSG" && *number == system.id)
}

/// The definition on a server; `None` if it lacks the spatial reference system.
pub async fn definition(connection: &mut Connection, number: u32) -> Result<Option<String>> {
    let sql = format!(
        "SELECT definition FROM information_schema.st_spatial_reference_systems WHERE srs_id = {number}"
    );
    connection.row(&sql).await
}

/// Compares the definition on the server with that of the backup. Only the definition determines results, so names and
/// descriptions may differ.
fn refusal(
    number: u32,
    table: &ObjectId,
    there: Option<&str>,
    dumped: Option<&SpatialReference>,
) -> Option<Refusal> {
    match (there, dumped) {
        (None, dumped) => Some(Refusal::new(
            format!("the destination lacks the spatial reference system {number} (used by {table})"),
            dumped.map_or_else(
                || {
                    format!(
                        "create it as on the target, where information_schema.st_spatial_reference_systems contains \
                         the definition of {number}"
                    )
                },
                SpatialReference::create,
            ),
        )),
        (Some(there), Some(dumped)) if there != dumped.definition => Some(Refusal::new(
            format!(
                "the destination defines the spatial reference system {number} (used by {table}) as {there}, but the \
                 target as {}",
                dumped.definition
            ),
            format!(
                "restore into another server, or, if nothing on this one needs its definition: {}",
                dumped.replace()
            ),
        )),
        (Some(_), _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_missing_or_another_definition_is_refused() {
        let dumped = SpatialReference {
            id: 1_999_999,
            name: "Lunar".to_owned(),
            organization: None,
            definition: "GEOGCS[1]".to_owned(),
            description: None,
        };
        let table = ObjectId::table("s", "t");
        for (there, dumped, found) in [
            (Some("GEOGCS[1]"), Some(&dumped), None),
            // Every server has it.
            (Some("GEOGCS[2]"), None, None),
            (None, None, Some("create it as on the target")),
            (None, Some(&dumped), Some("IF NOT EXISTS 1999999")),
            (
                Some("GEOGCS[2]"),
                Some(&dumped),
                Some("CREATE OR REPLACE SPATIAL"),
            ),
        ] {
            let refusal = refusal(1_999_999, &table, there, dumped);
            let hint = refusal.as_ref().map(|one| one.hint.as_str());
            assert_eq!(hint.is_some(), found.is_some(), "{refusal:?}");
            assert!(hint.unwrap_or_default().contains(found.unwrap_or_default()));
        }
    }
}
