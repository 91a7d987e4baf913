//! The pass of the proof: the restored server's ledger against the archive's.

use std::collections::{BTreeMap, BTreeSet};

use crate::apply::engine::Engine;
use crate::apply::marker::Pass;
use crate::error::{Error, Result};
use crate::proof::compare::{RowSum, Side, compare};
use crate::proof::redump::{What, redump};
use crate::sql::statement::{ObjectId, ObjectKind};

/// Dumps what was restored again and compares; a difference is exit 7.
pub async fn run(engine: &mut Engine) -> Result<()> {
    engine.progress.begin(Pass::Prove, None);
    let events = engine.marker.events.iter();
    let disabled: BTreeSet<ObjectId> = events
        .map(|event| ObjectId::new(ObjectKind::Event, event.schema.clone(), event.name.clone()))
        .collect();
    let found = redump(
        &engine.lane_config.server,
        &engine.archive.manifest().client,
        &what(engine),
        &disabled,
        &engine.cancel,
    )
    .await?;
    let comparison = compare(&expected(engine), &relevant(engine, found));
    let equal = comparison.is_equal();
    for difference in &comparison.differences {
        tracing::warn!(
            class = ?difference.class,
            object = %difference.object,
            backup = difference.expected,
            server = difference.found,
            "the restored server differs"
        );
    }
    let summary = comparison.summary();
    engine.report.proof = Some(comparison);
    match equal {
        true => Ok(()),
        false => Err(Error::verification(format!("the restored server is not what was dumped: {summary}"))
            .hint("the marker stays on the server; see the log for all differences")),
    }
}

fn what(engine: &Engine) -> What {
    if engine.options.scope.is_everything() {
        return What::Schemas(engine.placed_schemas());
    }
    let mut tables: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (schema, name) in &engine.options.scope.tables {
        let schema = engine.options.scope.schema(schema).to_owned();
        tables.entry(schema).or_default().insert(name.clone());
    }
    What::Tables(tables)
}

/// The archive's ledger, as far as it is in scope, by the names on the server.
fn expected(engine: &Engine) -> Side {
    let contents = engine.archive.contents();
    let scope = &engine.options.scope;
    let mut side = Side::default();
    for record in &contents.rows {
        let Some(table) = contents.tables.get(record.table as usize) else { continue };
        if scope.takes_table(&table.schema, &table.name) {
            let placed = scope.placed(&ObjectId::table(table.schema.clone(), table.name.clone()));
            let sum = RowSum { rows: record.rows, digest: record.digest.clone() };
            side.rows.insert(placed, sum);
        }
    }
    let expired = &engine.marker.expired;
    for record in &contents.objects {
        let placed = scope.placed(&record.object);
        // A schema that was there keeps its definition where only tables are restored, and a renamed
        // one names itself in it.
        let own = record.object.kind == ObjectKind::Schema
            && (!scope.is_everything() || placed.schema != record.object.schema);
        if engine.survey.creates.contains(&placed) && !own && !expired.contains(&placed) {
            side.definitions.insert(placed, record.ddl.clone());
        }
    }
    side
}

/// What the server holds, without what the restore met there and left alone.
fn relevant(engine: &Engine, mut found: Side) -> Side {
    let scope = &engine.options.scope;
    let met = |object: &ObjectId| {
        !engine.survey.creates.contains(object) && engine.facts.objects.contains(object)
    };
    found.rows.retain(|table, _| !met(table));
    found.definitions.retain(|object, _| {
        let own = object.kind == ObjectKind::Schema
            && (!scope.is_everything() || scope.rename.values().any(|name| *name == object.schema));
        !own && !met(object)
    });
    found
}
