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

/// Refusals for those in `used` (by SRID, each with the first table that uses it) that the server lacks or defines
/// otherwise. The inventory has the definitions of all except those that every server has.
pub async fn refusals(
    connection: &mut Connection,
    used: &BTreeMap<u32, ObjectId>,
    inventory: &[InventoryRecord],
) -> Result<Vec<Refusal>> {
    let mut all = Vec::new();
    for (number, table) in used {
        let sql = format!(
            "SELECT definition FROM information_schema.st_spatial_reference_systems WHERE srs_id = {number}"
        );
        let there: Option<String> = match connection.row(&sql).await {
            Err(error) if server_code(&error).is_some_and(|code| ABSENT.contains(&code)) => {
                return Ok(Vec::new());
            }
            found => found?,
        };
        let mut dumped = inventory.iter().flat_map(|entry| &entry.spatial);
        let dumped = dumped.find(|system| system.id == *number);
        all.extend(refusal(*number, table, there.as_deref(), dumped));
    }
    Ok(all)
}

/// The refusals for the tables of a whole backup.
pub async fn refusals_for_all(
    connection: &mut Connection,
    inventory: &[InventoryRecord],
) -> Result<Vec<Refusal>> {
    let mut used = BTreeMap::new();
    for entry in inventory {
        for system in &entry.spatial {
            used.entry(system.id)
                .or_insert_with(|| entry.object.clone());
        }
    }
    refusals(connection, &used, inventory).await
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
