//! Drops objects: conflicting ones, those of an interrupted run, those of an unfinished restore.

use crate::mysql::connect::{literal, server_code};
use crate::restore::session::failure::Failure;
use crate::restore::session::lane::{Lane, Tries, name_literal};
use crate::restore::state::marker::{self, Marker, drop_marker};
use crate::sql::statement::{ObjectId, ObjectKind, quote};
use crate::util::error::{Error, Result};

/// Drops the objects of a restore, then its marker. Pre-existing objects are never touched: an object is
/// recorded only after it was found not to exist, or to be replaced as the operator confirmed.
pub async fn discard(lane: &mut Lane, marker: &Marker) -> Result<Vec<ObjectId>> {
    let dropped = drop_all(lane, &marker.objects).await?;
    drop_marker(lane).await?;
    Ok(dropped)
}

/// Drops objects, and a schema only if it is then empty; returns what was dropped.
pub async fn drop_all<'a>(
    lane: &mut Lane,
    objects: impl IntoIterator<Item = &'a ObjectId>,
) -> Result<Vec<ObjectId>> {
    lane.persist("SET SESSION foreign_key_checks = 0").await?;
    let mut objects: Vec<&ObjectId> = objects.into_iter().collect();
    objects.sort_by_key(|object| match object.kind {
        ObjectKind::Schema => 2,
        ObjectKind::Table | ObjectKind::Sequence => 1,
        _ => 0,
    });
    let mut dropped = Vec::new();
    for object in objects {
        // Another client may have created objects in a schema of this restore.
        if object.kind == ObjectKind::Schema && !is_empty_schema(lane, &object.schema).await? {
            continue;
        }
        let mut tries = Tries::default();
        let existed = loop {
            match drop_object(lane, object).await {
                Ok(existed) => break existed,
                Err(failure) => tries.again(lane, failure).await?,
            }
        };
        // An object is recorded before it is created, so it may not exist.
        if existed {
            dropped.push(object.clone());
        }
    }
    Ok(dropped)
}

/// Drops a marker that was only partly created or dropped; returns whether there was one.
pub async fn drop_incomplete_marker(lane: &mut Lane) -> Result<bool> {
    let exists = format!(
        "SELECT 1 FROM information_schema.schemata WHERE schema_name = '{}'",
        marker::SCHEMA
    );
    if lane.query::<u8>(&exists).await?.is_empty() {
        return Ok(false);
    }
    marker::drop_tables(lane).await?;
    if !is_empty_schema(lane, marker::SCHEMA).await? {
        let what = format!(
            "the schema {} contains objects that no restore created",
            marker::SCHEMA
        );
        return Err(Error::refused(what).hint("move them elsewhere, and drop the schema"));
    }
    lane.persist(&format!("DROP DATABASE {}", marker::SCHEMA))
        .await?;
    Ok(true)
}

async fn is_empty_schema(lane: &mut Lane, schema: &str) -> Result<bool> {
    let schema = literal(schema);
    let sql = format!(
        "SELECT (SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = {schema})
         + (SELECT COUNT(*) FROM information_schema.routines WHERE routine_schema = {schema})
         + (SELECT COUNT(*) FROM information_schema.events WHERE event_schema = {schema})"
    );
    let count: Vec<u64> = lane.query(&sql).await?;
    Ok(count.first().is_some_and(|count| *count == 0))
}

/// Drops an object if it exists, and returns whether it did.
pub async fn drop_object(lane: &mut Lane, object: &ObjectId) -> Result<bool, Failure> {
    /// Notes about a schema (1008), table (1051), routine (1305), trigger (1360), event (1539) or sequence
    /// (4091) that does not exist.
    const DOES_NOT_EXIST: [u16; 6] = [1008, 1051, 1305, 1360, 1539, 4091];
    let sql = match object.kind {
        ObjectKind::View => return drop_view(lane, object).await,
        _ => drop_statement(object),
    };
    match lane.run(sql.as_bytes()).await {
        // Its schema no longer exists, so neither does the object.
        Err(Failure::Fatal(error)) if server_code(&error) == Some(1049) => Ok(false),
        Ok(done) if done.warnings > 0 => {
            let notes = lane.warnings().await?;
            Ok(!notes.iter().any(|(code, _)| DOES_NOT_EXIST.contains(code)))
        }
        done => done.map(|_| true),
    }
}

/// A view's placeholder may be a table.
async fn drop_view(lane: &mut Lane, view: &ObjectId) -> Result<bool, Failure> {
    let sql = format!(
        "SELECT table_type FROM information_schema.tables WHERE table_schema = {} AND table_name = {}",
        name_literal(&view.schema),
        name_literal(&view.name)
    );
    let types: Vec<String> = lane.rows(&sql).await?;
    let noun = match types.first().map(String::as_str) {
        None => return Ok(false),
        Some("VIEW") => "VIEW",
        Some(_) => "TABLE",
    };
    let sql = format!("DROP {noun} IF EXISTS {}", view.quoted());
    lane.run(sql.as_bytes()).await.map(|_| true)
}

fn drop_statement(object: &ObjectId) -> String {
    if object.kind == ObjectKind::Schema {
        return format!("DROP DATABASE IF EXISTS {}", quote(&object.schema));
    }
    let noun = object.kind.noun().to_ascii_uppercase();
    let drop = format!("DROP {noun} IF EXISTS {}", object.quoted());
    match object.kind {
        // Only sql_mode ORACLE knows packages.
        ObjectKind::Package | ObjectKind::PackageBody => format!(
            "SET STATEMENT sql_mode = 'ORACLE' FOR EXECUTE IMMEDIATE {}",
            name_literal(&drop)
        ),
        _ => drop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_dropped_by_their_full_quoted_name() {
        let id = |kind, name: &str| ObjectId::new(kind, "sh`op", name);
        assert_eq!(
            drop_statement(&id(ObjectKind::PackageBody, "a.b")),
            format!(
                "SET STATEMENT sql_mode = 'ORACLE' FOR EXECUTE IMMEDIATE _utf8mb4 x'{}'",
                hex::encode("DROP PACKAGE BODY IF EXISTS `sh``op`.`a.b`")
            )
        );
        assert_eq!(
            drop_statement(&ObjectId::schema("x")),
            "DROP DATABASE IF EXISTS `x`"
        );
    }
}
