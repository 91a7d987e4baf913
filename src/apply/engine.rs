//! What the passes of one restore share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::apply::facts::TargetFacts;
use crate::apply::guard::Guard;
use crate::apply::lane::{Lane, LaneConfig};
use crate::apply::marker::Marker;
use crate::apply::options::RestoreOptions;
use crate::apply::read_ahead::ReadAhead;
use crate::apply::report::{Progress, RestoreReport};
use crate::apply::survey::Survey;
use crate::archive::index::FrameRecord;
use crate::archive::read::Archive;
use crate::cancel::Cancel;
use crate::sql::definer::Account;
use crate::sql::statement::{ObjectId, ObjectKind};

/// A restore under way.
pub struct Engine {
    /// The backup.
    pub archive: Archive,
    /// What was asked for.
    pub options: RestoreOptions,
    /// What the server said before it began.
    pub facts: TargetFacts,
    /// Which statements may be executed.
    pub guard: Arc<Guard>,
    /// What the archive's definitions say.
    pub survey: Survey,
    /// The connection that keeps the marker; never in a session of the dump.
    pub control: Lane,
    /// How lanes are opened.
    pub lane_config: LaneConfig,
    /// Where the restore is.
    pub marker: Marker,
    /// Whether an earlier run began it.
    pub resuming: bool,
    /// Who hears of it.
    pub progress: Arc<dyn Progress>,
    /// Ends it early.
    pub cancel: Cancel,
    /// What it did so far.
    pub report: RestoreReport,
}

impl Engine {
    /// Begins to fetch the frames that `wanted` picks.
    pub fn read_ahead(&self, wanted: impl Fn(&FrameRecord) -> bool + Send + 'static) -> ReadAhead {
        let memory_bytes = self.options.memory_bytes;
        ReadAhead::begin(
            &self.archive,
            &self.guard,
            memory_bytes,
            &self.cancel,
            wanted,
        )
    }

    /// Begins to fetch all frames, and holds the segments against their digests too.
    pub fn read_whole(&self) -> ReadAhead {
        let memory_bytes = self.options.memory_bytes;
        ReadAhead::whole(&self.archive, &self.guard, memory_bytes, &self.cancel)
    }

    /// Objects that get another definer than they had, and which one they had.
    pub fn substituted(&self) -> BTreeMap<ObjectId, Account> {
        let all = self.survey.definers.iter();
        all.filter(|(account, _)| self.marker.run.substituted.contains(&account.to_string()))
            .flat_map(|(account, of)| of.iter().map(|object| (object.clone(), account.clone())))
            .collect()
    }

    /// The numbers of the tables in scope.
    pub fn chosen_tables(&self) -> BTreeSet<u32> {
        let scope = &self.options.scope;
        let tables = self.archive.contents().tables.iter();
        tables
            .filter(|table| scope.takes_table(&table.schema, &table.name))
            .map(|table| table.n)
            .collect()
    }

    /// The schemas in scope, by their names on the server.
    pub fn placed_schemas(&self) -> BTreeSet<String> {
        self.survey
            .creates
            .iter()
            .map(|object| object.schema.clone())
            .collect()
    }

    /// Whether a schema was there before the restore.
    pub fn met_schema(&self, schema: &str) -> bool {
        let id = ObjectId::new(ObjectKind::Schema, schema, "");
        let met = |object: &ObjectId| self.facts.folded(object) == self.facts.folded(&id);
        self.facts.objects.iter().any(met) && !self.marker.objects.contains(&id)
    }
}
