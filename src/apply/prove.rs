//! The pass of the proof: the restored server's ledger against the archive's.
//!
//! A server of another version line writes some definitions in other words than the one that was
//! dumped. There, and only there, the text of a definition is a warning: its own words were
//! executed, and what the server makes of them cannot be held to what another one made. Such a
//! restore ends well, and does not count as the proof of its backup.

use std::collections::{BTreeMap, BTreeSet};

use crate::apply::engine::Engine;
use crate::apply::marker::Pass;
use crate::error::{Error, Result};
use crate::proof::compare::{Side, compare};
use crate::proof::redump::{What, redump};
use crate::server::ServerVersion;
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
    let other = other_version(engine).filter(|_| comparison.is_text_alone());
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
    match (equal, other) {
        (true, _) => Ok(()),
        (false, Some((theirs, ours))) => {
            engine.report.warn(format!(
                "all rows are equal and all objects there, and {ours} writes definitions in other \
                 words than {theirs}: {summary}; see the log for all of them"
            ));
            Ok(())
        }
        (false, None) => Err(Error::verification(format!(
            "the restored server is not what was dumped: {summary}"
        ))
        .hint("the marker stays on the server; see the log for all differences")),
    }
}

/// The version that was dumped and the one of this server, where they are of two lines.
fn other_version(engine: &Engine) -> Option<(ServerVersion, ServerVersion)> {
    let server = &engine.archive.manifest().server;
    let theirs = ServerVersion::parse(&server.version, &server.flavour)?;
    let ours = engine.facts.version.clone();
    let line = |of: &ServerVersion| (of.flavour, of.version.line());
    (line(&theirs) != line(&ours)).then_some((theirs, ours))
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
    let scope = &engine.options.scope;
    let expired = &engine.marker.expired;
    let entries = engine
        .archive
        .contents()
        .ledger
        .iter()
        .map(|(object, entry)| {
            // A schema that was there keeps its definition where only tables are restored, and a
            // renamed one names itself in it.
            let placed = scope.placed(object);
            let own = object.kind == ObjectKind::Schema
                && (!scope.is_everything() || placed.schema != object.schema);
            (placed, entry, own)
        });
    entries
        .filter(|(placed, _, own)| {
            // What is in the ledger and was never met in a frame must not go unnoticed.
            let wanted = scope.is_everything() || engine.survey.creates.contains(placed);
            wanted && !own && !expired.contains(placed)
        })
        .map(|(placed, entry, _)| (placed, entry.clone()))
        .collect()
}

/// What the server holds, without what the restore met there and left alone.
fn relevant(engine: &Engine, mut found: Side) -> Side {
    let scope = &engine.options.scope;
    let renamed = |schema: &String| scope.rename.values().any(|name| name == schema);
    found.retain(|object, _| {
        let met = !engine.survey.creates.contains(object) && engine.facts.objects.contains(object);
        let own = object.kind == ObjectKind::Schema
            && (!scope.is_everything() || renamed(&object.schema));
        !met && !own
    });
    found
}
