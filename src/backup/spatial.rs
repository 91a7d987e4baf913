//! Spatial reference systems that columns refer to (MySQL).
//!
//! Those that every server has are recorded too: a target can have replaced one, under its name and number.

use std::collections::BTreeMap;

use mysql_async::prelude::FromRow;

use crate::Result;
use crate::mysql::{Connection, ServerVersion};
use crate::sql::spatial::SpatialReference;
use crate::sql::statement::ObjectId;

#[derive(FromRow)]
struct Row {
    schema_name: String,
    table_name: String,
    id: u32,
    name: String,
    organization: Option<String>,
    organization_id: Option<u32>,
    definition: String,
    description: Option<String>,
}

/// The spatial reference systems of each table; none on MariaDB.
pub(super) async fn of_tables(
    connection: &mut Connection,
    server: &ServerVersion,
) -> Result<BTreeMap<ObjectId, Vec<SpatialReference>>> {
    let mut found: BTreeMap<ObjectId, Vec<SpatialReference>> = BTreeMap::new();
    if server.is_mariadb() {
        return Ok(found);
    }
    let rows: Vec<Row> = connection
        .rows(
            "SELECT DISTINCT c.table_schema AS schema_name, c.table_name AS table_name, \
             CAST(s.srs_id AS UNSIGNED) AS id, s.srs_name AS name, s.organization AS organization, \
             CAST(s.organization_coordsys_id AS UNSIGNED) AS organization_id, \
             s.definition AS definition, s.description AS description \
             FROM information_schema.columns c \
             JOIN information_schema.st_spatial_reference_systems s ON s.srs_id = c.srs_id \
             WHERE s.srs_id <> 0",
        )
        .await?;
    for row in rows {
        let table = ObjectId::table(row.schema_name, row.table_name);
        found.entry(table).or_default().push(SpatialReference {
            id: row.id,
            name: row.name,
            organization: row.organization.zip(row.organization_id),
            definition: row.definition,
            description: row.description,
        });
    }
    Ok(found)
}
