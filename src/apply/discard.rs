//! Dropping: what is in the way, what an interrupted run created, what an unfinished restore made.

use crate::apply::failure::Failure;
use crate::apply::lane::{Lane, Tries, name_literal};
use crate::apply::marker::{self, Marker, drop_marker};
use crate::error::{Error, Result};
use crate::server::connect::{literal, server_code};
use crate::sql::statement::{ObjectId, ObjectKind, quote};

/// Drops what a restore made, and then its marker. What it met is never touched: an object is
/// written down only after it was found not to exist, or was replaced as its user confirmed.
pub async fn discard(lane: &mut Lane, marker: &Marker) -> Result<Vec<ObjectId>> {
    let dropped = drop_all(lane, &marker.objects).await?;
    drop_marker(lane).await?;
    Ok(dropped)
}

/// Drops objects, and a schema only if nothing else is in it; says what was dropped.
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
        // Somebody else may have moved into a schema that this restore made.
        if object.kind == ObjectKind::Schema && !is_empty_schema(lane, &object.schema).await? {
            continue;
        }
        let mut tries = Tries::default();
        while let Err(failure) = drop_object(lane, object).await {
            tries.again(lane, failure).await?;
        }
        dropped.push(object.clone());
    }
    Ok(dropped)
}

/// Drops a marker in which nothing says any more what it marks; whether there was one.
pub async fn remains(lane: &mut Lane) -> Result<bool> {
    let there = format!(
        "SELECT 1 FROM information_schema.schemata WHERE schema_name = '{}'",
        marker::SCHEMA
    );
    if lane.query::<u8>(&there).await?.is_empty() {
        return Ok(false);
    }
    marker::drop_tables(lane).await?;
    if !is_empty_schema(lane, marker::SCHEMA).await? {
        let what = format!("the schema {} holds what no restore made", marker::SCHEMA);
        return Err(Error::refused(what).hint("move it elsewhere, and drop the schema"));
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

/// Drops an object where it exists.
pub async fn drop_object(lane: &mut Lane, object: &ObjectId) -> Result<(), Failure> {
    let sql = match object.kind {
        ObjectKind::View => return drop_view(lane, object).await,
        _ => drop_statement(object),
    };
    match lane.run(sql.as_bytes()).await {
        // Its schema is gone, and it with it.
        Err(Failure::Fatal(error)) if server_code(&error) == Some(1049) => Ok(()),
        done => done.map(|_| ()),
    }
}

/// A view's place-holder may be a table.
async fn drop_view(lane: &mut Lane, view: &ObjectId) -> Result<(), Failure> {
    let sql = format!(
        "SELECT table_type FROM information_schema.tables WHERE table_schema = {} AND table_name = {}",
        name_literal(&view.schema),
        name_literal(&view.name)
    );
    let types: Vec<String> = lane.rows(&sql).await?;
    let noun = match types.first().map(String::as_str) {
        None => return Ok(()),
        Some("VIEW") => "VIEW",
        Some(_) => "TABLE",
    };
    let sql = format!("DROP {noun} IF EXISTS {}", view.quoted());
    lane.run(sql.as_bytes()).await.map(|_| ())
}

fn drop_statement(object: &ObjectId) -> String {
    if object.kind == ObjectKind::Schema {
        return format!("DROP DATABASE IF EXISTS {}", quote(&object.schema));
    }
    let noun = object.kind.noun().to_ascii_uppercase();
    format!("DROP {noun} IF EXISTS {}", object.quoted())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_dropped_by_their_full_quoted_name() {
        let id = |kind, name: &str| ObjectId::new(kind, "sh`op", name);
        assert_eq!(
            drop_statement(&id(ObjectKind::PackageBody, "a.b")),
            "DROP PACKAGE BODY IF EXISTS `sh``op`.`a.b`"
        );
        assert_eq!(
            drop_statement(&ObjectId::schema("x")),
            "DROP DATABASE IF EXISTS `x`"
        );
    }
}
