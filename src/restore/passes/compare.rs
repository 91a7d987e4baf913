//! The pass that compares the ledger of the restored server with that of the archive.
//!
//! A server of another release series may print some definitions differently. In this case, and only then, a
//! difference in the text of a definition is a warning: the dumped definition was executed as it is. Such a
//! restore succeeds, but does not count as a verification of its backup. The same holds for a view whose
//! definer lacks privileges on this server: MariaDB prints it differently.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::archive::read::Archive;
use crate::comparison::compare::{Class, Comparison, Difference, compare};
use crate::comparison::dump_commands::{self, DumpScope};
use crate::comparison::explain::explain;
use crate::comparison::normalise::{ExpectedDeviations, names_system_tablespace};
use crate::comparison::readers_values::Sides;
use crate::comparison::redump::{Redump, redump};
use crate::mysql::Flavour;
use crate::mysql::connect::server_code;
use crate::restore::inspect::destination::DestinationFacts;
use crate::restore::inspect::survey::Survey;
use crate::restore::options::RestoreOptions;
use crate::restore::passes::source_values::SourceValues;
use crate::restore::report::RestoreReport;
use crate::restore::session::lane::{Lane, LaneConfig};
use crate::restore::state::open_marker::OpenMarker;
use crate::sql::computed::{self, Computed, Needs};
use crate::sql::ledger::Entries;
use crate::sql::session::Session;
use crate::sql::statement::{ObjectId, ObjectKind};
use crate::util::cancel::Cancel;
use crate::util::error::{Error, Result};
use crate::util::format::counted;

/// Inputs of the pass.
pub(crate) struct Compare<'a> {
    pub archive: &'a Archive,
    pub options: &'a RestoreOptions,
    pub facts: &'a DestinationFacts,
    pub survey: &'a Survey,
    pub lanes: &'a LaneConfig,
    pub cancel: &'a Cancel,
    pub marker: &'a mut OpenMarker,
    pub report: &'a mut RestoreReport,
}

impl Compare<'_> {
    /// Dumps the restored objects again and compares; differences are exit 7.
    pub async fn run(mut self) -> Result<()> {
        let comparison = self.compare().await?;
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
        let explanation = self.explanation(&comparison);
        let is_equal = comparison.is_equal();
        self.report.comparison = Some(comparison);
        match explanation {
            _ if is_equal => Ok(()),
            Some(explanation) => {
                self.report.warn(format!(
                    "all rows are equal and all objects exist, but {explanation}: {summary}; the log lists all \
                     differences"
                ));
                Ok(())
            }
            None => Err(Error::verification(format!(
                "the restored data differ from the dump: {summary}"
            ))
            .hint(
                "the log lists all differences; drctl restore --keep keeps the restored objects, --discard --confirm \
                 <target> drops them",
            )),
        }
    }

    async fn compare(&mut self) -> Result<Comparison> {
        let manifest = self.archive.manifest();
        let expected = Arc::new(self.expected());
        let longest = manifest.totals.largest_statement_bytes;
        let wanted = Redump {
            what: self.what(),
            expected: expected.clone(),
            deviations: self.expected_deviations(),
            without: Arc::default(),
            reader: self.options.resources.reader,
            jobs: dump_commands::at_once(self.options.resources.lanes, longest),
            shared: !self.options.destination.is_scratch(),
        };
        let (server, client, cancel) = (&self.lanes.server, &manifest.client, self.cancel);
        // A dump program only reads, so it can be repeated after it lost its connection.
        let found = self
            .marker
            .control
            .step(async |_| Ok(redump(server, client, &wanted, cancel).await?))
            .await?;
        let entries = self.relevant(found.ledger.into_entries());
        let mut comparison = compare(&expected, &entries);
        let sides = Sides {
            archive: self.archive,
            mapped: &|object| self.options.scope.mapped_name(object),
            server,
            redump: &wanted,
            found: &entries,
        };
        sides.settle(&mut comparison, cancel).await?;
        self.classify_unusable_views(&mut comparison).await?;
        let mut lane = Lane::open(self.lanes.clone()).await?;
        let (needs, computed) = (&self.survey.needs, &self.survey.computed);
        let computed = computed_differences(&mut lane, needs, computed).await?;
        let values = SourceValues {
            source: &self.archive.contents().source,
            scope: &self.options.scope,
            skip: &comparison.objects_of(&[Class::Data, Class::MissingObject]),
            needs,
        };
        let losses = values.compare(&mut lane).await?;
        lane.close().await;
        if !losses.is_empty() {
            self.report.warn(format!(
                "the dump could not carry all values; these columns differ from those of the target: {}",
                losses.join(", ")
            ));
        }
        comparison.differences.extend(computed);
        comparison.differences.sort();
        // Explanations look up objects by their names in the backup.
        if self.options.scope.rename.is_empty() {
            explain(self.archive, &mut comparison, &found.words).await?;
        }
        Ok(comparison)
    }

    /// Why the differences do not mean that the data differ; `None` if they may.
    fn explanation(&self, comparison: &Comparison) -> Option<String> {
        if comparison.is_only(&[Class::UnusableView]) {
            return Some(
                "views have definers that lack privileges on this server: grant them privileges on the objects \
                 that the views use"
                    .to_owned(),
            );
        }
        let server = &self.archive.manifest().server;
        let theirs = server.parsed()?;
        let ours = &self.facts.version;
        (!theirs.same_series(ours) && comparison.is_only(&[Class::DdlText, Class::UnusableView]))
            .then(|| format!("{ours} prints definitions differently than {theirs}"))
    }

    /// Classifies views that MariaDB prints differently only because they cannot be used. MySQL prints them
    /// unchanged, so there a difference is another view.
    async fn classify_unusable_views(&mut self, comparison: &mut Comparison) -> Result<()> {
        /// ER_VIEW_INVALID
        const CANNOT_BE_USED: u16 = 1356;
        if self.facts.version.flavour == Flavour::MySql {
            return Ok(());
        }
        for one in &mut comparison.differences {
            if (one.class, one.object.kind) != (Class::DdlText, ObjectKind::View) {
                continue;
            }
            let sql = format!("SELECT 1 FROM {} LIMIT 0", one.object.quoted());
            if let Err(error) = self.marker.control.query::<u8>(&sql).await
                && server_code(&error) == Some(CANNOT_BE_USED)
            {
                one.class = Class::UnusableView;
            }
        }
        Ok(())
    }

    /// Deviations caused by the restore itself.
    fn expected_deviations(&self) -> ExpectedDeviations {
        let (facts, survey) = (self.facts, self.survey);
        let prints_tablespace =
            facts.version.flavour == Flavour::MySql && !facts.is_on("innodb_file_per_table");
        let mut deviations = ExpectedDeviations {
            disabled_events: self
                .marker
                .contents
                .events
                .iter()
                .map(|event| event.object())
                .collect(),
            changed: survey.changed.clone(),
            ..ExpectedDeviations::default()
        };
        if let Some(substitute) = &self.options.substitute_definer {
            let substituted = self.marker.substituted(&survey.definers).into_iter();
            deviations.definers = substituted
                .map(|(object, original)| (object, (substitute.clone(), original)))
                .collect();
        }
        if prints_tablespace {
            let altered = survey.deferred.iter();
            deviations.altered_tables = altered
                .filter(|(_, deferred)| !names_system_tablespace(&deferred.table.kept()))
                .map(|(table, _)| table.clone())
                .collect();
        }
        deviations
    }

    /// What to dump.
    fn what(&self) -> DumpScope {
        let scope = &self.options.scope;
        if scope.is_everything() {
            return DumpScope::Schemas(self.survey.schema_names());
        }
        let mut tables: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (schema, name) in &scope.tables {
            let schema = scope.mapped_schema(schema).to_owned();
            tables.entry(schema).or_default().insert(name.clone());
        }
        DumpScope::Tables(tables)
    }

    /// The archive's ledger for the objects in scope, by their names on the destination.
    fn expected(&self) -> Entries {
        let scope = &self.options.scope;
        let mut expected = Entries::default();
        for (object, entry) in self.archive.contents().ledger.iter() {
            let mapped = scope.mapped_name(object);
            // An existing schema keeps its definition in a partial restore, and the definition of a renamed
            // schema contains its name.
            let own_definition = object.kind == ObjectKind::Schema
                && (!scope.is_everything() || mapped.schema != object.schema);
            // An object of the ledger that is in no frame must be found missing.
            let wanted = scope.is_everything() || self.survey.creates.contains(&mapped);
            if wanted && !own_definition && !self.marker.contents.expired.contains(&mapped) {
                expected.insert(mapped, entry.clone());
            }
        }
        expected
    }

    /// The ledger of the destination without pre-existing objects that the restore did not touch.
    fn relevant(&self, mut found: Entries) -> Entries {
        let scope = &self.options.scope;
        let is_renamed = |schema: &String| scope.rename.values().any(|name| name == schema);
        found.retain(|object, _| {
            let pre_existing =
                !self.survey.creates.contains(object) && self.facts.objects.contains(object);
            let own_definition = object.kind == ObjectKind::Schema
                && (!scope.is_everything() || is_renamed(&object.schema));
            !pre_existing && !own_definition
        });
        found
    }
}

/// Differences in computed columns, which a dump of MySQL does not contain: values that the settings of the
/// target do not produce, in columns that contained no such values on the target. `needs` and `computed` are
/// by names on the destination.
pub async fn computed_differences(
    lane: &mut Lane,
    needs: &BTreeMap<ObjectId, Needs>,
    computed: &BTreeMap<ObjectId, Vec<Computed>>,
) -> Result<Vec<Difference>> {
    let mut differences = Vec::new();
    for (table, needs) in needs {
        let computed = computed.get(table).into_iter().flatten();
        let computed = computed.filter(|one| one.is_shown() && !needs.is_mismatched(&one.name));
        let conditions: Vec<String> = computed.filter_map(computed::mismatch_condition).collect();
        if conditions.is_empty() {
            continue;
        }
        let mut dumped = Session::default();
        let known = dumped.set("sql_mode", "''") && dumped.set("time_zone", "'+00:00'");
        if !known {
            return Err(Error::unexpected("cannot represent the restore session"));
        }
        let session = needs.session_to_compute(&dumped);
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
                expected: "computed values as stored on the target".to_owned(),
                found: format!("{} with other values", counted(rows, "row")),
                diff: None,
            });
        }
    }
    Ok(differences)
}
