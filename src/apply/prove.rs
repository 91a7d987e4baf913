//! The pass of the proof: the restored server's ledger against the archive's.
//!
//! A server of another version line writes some definitions in other words than the one that was
//! dumped. There, and only there, the text of a definition is a warning: its own words were
//! executed, and what the server makes of them cannot be held to what another one made. Such a
//! restore ends well, and does not count as the proof of its backup. The same goes for a view whose
//! definer lacks privileges on this server: MariaDB shows it in other words then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::apply::engine::Engine;
use crate::apply::lane::Lane;
use crate::apply::marker::Pass;
use crate::error::{Error, Result};
use crate::proof::compare::{Class, Comparison, Difference, compare};
use crate::proof::explain::explain;
use crate::proof::normalise::{Forgiven, names_system_tablespace};
use crate::proof::redump::{Redump, redump};
use crate::proof::runs::{self, What};
use crate::server::connect::server_code;
use crate::server::{Flavour, ServerVersion};
use crate::sql::computed::{self, Computed, Needs};
use crate::sql::ledger::Entries;
use crate::sql::session::Session;
use crate::sql::statement::{ObjectId, ObjectKind};

/// Dumps what was restored again and compares; a difference is exit 7.
pub async fn run(engine: &mut Engine) -> Result<()> {
    engine.progress.begin(Pass::Prove, None);
    let expected = Arc::new(expected(engine));
    let longest = engine.archive.manifest().totals.largest_statement_bytes;
    let wanted = Redump {
        what: what(engine),
        expected: expected.clone(),
        forgiven: forgiven(engine),
        programs: match engine.options.scratch {
            true => runs::at_once(engine.options.lanes, longest),
            false => 1,
        },
    };
    let (server, client) = (
        &engine.lane_config.server,
        &engine.archive.manifest().client,
    );
    // A dump program that loses its server says nothing about the data: it only reads, and begins again.
    let found = engine
        .control
        .step(async |_| Ok(redump(server, client, &wanted, &engine.cancel).await?))
        .await?;
    let mut comparison = compare(&expected, &relevant(engine, found.ledger.into_entries()));
    tell_unusable_views(engine, &mut comparison).await?;
    let mut lane = Lane::open(engine.lane_config.clone()).await?;
    let survey = &engine.survey;
    let other = computed_otherwise(&mut lane, &survey.needs, &survey.computed).await?;
    lane.close().await;
    comparison.differences.extend(other);
    comparison.differences.sort();
    // Under another name nothing is found by its own.
    if engine.options.scope.rename.is_empty() {
        explain(&engine.archive, &mut comparison, &found.words).await?;
    }
    for difference in &comparison.differences {
        tracing::warn!(
            class = ?difference.class,
            object = %difference.object,
            backup = difference.expected,
            server = difference.found,
            diff = difference.diff,
            "the restored server differs"
        );
    }
    let summary = comparison.summary();
    let excuse = match other_version(engine) {
        _ if comparison.is_equal() => None,
        _ if comparison.is_only(&[Class::UnusableView]) => Some(
            "views have definers that lack privileges on this server: grant them what the views are about"
                .to_owned(),
        ),
        Some((theirs, ours)) if comparison.is_only(&[Class::DdlText, Class::UnusableView]) => {
            Some(format!("{ours} writes definitions in other words than {theirs}"))
        }
        _ => {
            engine.report.proof = Some(comparison);
            return Err(Error::verification(format!(
                "the restored server is not what was dumped: {summary}"
            ))
            .hint(
                "see the log for all differences; then drctl restore --keep keeps what is there, and \
                 --discard --confirm <target> drops it",
            ));
        }
    };
    engine.report.proof = Some(comparison);
    if let Some(excuse) = excuse {
        engine.report.warn(format!(
            "all rows are equal and all objects there, and {excuse}: {summary}; see the log for all of them"
        ));
    }
    Ok(())
}

/// Tables that hold what the backup's settings do not give, where the backup's server held nothing else: no
/// dump shows what MySQL computes.
pub async fn computed_otherwise(
    lane: &mut Lane,
    needs: &BTreeMap<ObjectId, Needs>,
    computed: &BTreeMap<ObjectId, Vec<Computed>>,
) -> Result<Vec<Difference>> {
    let mut differences = Vec::new();
    for (table, needs) in needs.iter().filter(|(_, needs)| needs.unlike == 0) {
        let computed = computed.get(table).into_iter().flatten();
        let conditions: Vec<String> = computed.filter_map(computed::unlike).collect();
        if conditions.is_empty() {
            continue;
        }
        let mut dumped = Session::default();
        let known = dumped.set("sql_mode", "''") && dumped.set("time_zone", "'+00:00'");
        if !known {
            return Err(Error::unexpected(
                "a session cannot be told its own settings",
            ));
        }
        let session = needs.over(&dumped);
        let sql = format!(
            "SELECT COUNT(*) FROM {} WHERE {}",
            table.quoted(),
            conditions.join(" OR ")
        );
        let rows: Vec<u64> = lane.query_in(&session, &sql).await?;
        let rows = rows.first().copied().unwrap_or_default();
        if rows > 0 {
            differences.push(Difference {
                class: Class::Data,
                object: table.clone(),
                expected: "computed values as they were stored".to_owned(),
                found: format!("{rows} rows with others"),
                diff: None,
            });
        }
    }
    Ok(differences)
}

/// Sets views apart that MariaDB shows in other words only because it cannot open them. MySQL shows
/// them as they are: there, other words are another view.
async fn tell_unusable_views(engine: &mut Engine, comparison: &mut Comparison) -> Result<()> {
    const CANNOT_BE_USED: u16 = 1356;
    if engine.facts.version.flavour == Flavour::MySql {
        return Ok(());
    }
    for one in &mut comparison.differences {
        if (one.class, one.object.kind) != (Class::DdlText, ObjectKind::View) {
            continue;
        }
        let sql = format!("SELECT 1 FROM {} LIMIT 0", one.object.quoted());
        if let Err(error) = engine.control.query::<u8>(&sql).await
            && server_code(&error) == Some(CANNOT_BE_USED)
        {
            one.class = Class::UnusableView;
        }
    }
    Ok(())
}

/// What the restore itself brought about.
fn forgiven(engine: &Engine) -> Forgiven {
    let facts = &engine.facts;
    let named = facts.version.flavour == Flavour::MySql && !facts.is_on("innodb_file_per_table");
    let waiting = engine.survey.waiting.iter().filter(|_| named);
    Forgiven {
        placed: match engine.options.scratch {
            true => engine.survey.placed.clone(),
            false => BTreeMap::new(),
        },
        disabled_events: engine
            .marker
            .events
            .iter()
            .map(|event| ObjectId::new(ObjectKind::Event, &event.schema, &event.name))
            .collect(),
        definers: match &engine.options.substitute_definer {
            Some(substitute) => engine
                .substituted()
                .into_iter()
                .map(|(object, had)| (object, (substitute.clone(), had)))
                .collect(),
            None => BTreeMap::new(),
        },
        altered_tables: waiting
            .filter(|(_, waiting)| !names_system_tablespace(&waiting.table.kept()))
            .map(|(table, _)| table.clone())
            .collect(),
    }
}

/// The version that was dumped and the one of this server, where they are of two lines.
fn other_version(engine: &Engine) -> Option<(ServerVersion, ServerVersion)> {
    let server = &engine.archive.manifest().server;
    let theirs = ServerVersion::parse(&server.version, &server.flavour)?;
    let ours = engine.facts.version.clone();
    (!theirs.same_line(&ours)).then_some((theirs, ours))
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
fn expected(engine: &Engine) -> Entries {
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
fn relevant(engine: &Engine, mut found: Entries) -> Entries {
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
