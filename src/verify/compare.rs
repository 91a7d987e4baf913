//! The comparison of a server with the dump of a backup, outside of a restore.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::archive::read::Archive;
use crate::comparison::compare::{Class, Comparison, Difference, compare};
use crate::comparison::dump_commands::{self, DumpScope};
use crate::comparison::explain::explain;
use crate::comparison::normalise::ExpectedDeviations;
use crate::comparison::readers_values::Sides;
use crate::comparison::redump::{Redump, redump};
use crate::mysql::ServerConfig;
use crate::reader::Reader;
use crate::restore;
use crate::restore::frames::read_ahead::FrameSource;
use crate::restore::inspect::control_config;
use crate::restore::session::lane::{Lane, LaneConfig};
use crate::sql::computed::{self, Needs};
use crate::sql::statement::{Kind, ObjectId, ObjectKind, Section};
use crate::util::cancel::Cancel;
use crate::util::error::Result;
use crate::verify::expired;

/// A server that should hold what a backup holds.
#[derive(Clone, Copy)]
pub struct Compared<'a> {
    /// The server.
    pub server: &'a Arc<ServerConfig>,
    /// What reads its rows.
    pub reader: Reader,
    /// Connections that read them.
    pub lanes: usize,
    /// Ends the comparison.
    pub cancel: &'a Cancel,
}

impl Compared<'_> {
    /// Compares the ledger of the schemas of the server with that of the backup. Returns, too, the events that are missing
    /// because the server drops them when they are created.
    pub async fn with_dump(
        &self,
        archive: &Archive,
        schemas: BTreeSet<String>,
        deviations: ExpectedDeviations,
    ) -> Result<(Comparison, BTreeSet<ObjectId>)> {
        let expected = Arc::new(archive.contents().ledger.entries().clone());
        let longest = archive.manifest().totals.largest_statement_bytes;
        let wanted = Redump {
            what: DumpScope::Schemas(schemas),
            expected: expected.clone(),
            deviations,
            without: Arc::default(),
            reader: self.reader,
            jobs: dump_commands::at_once(self.lanes, longest),
            shared: false,
        };
        let client = &archive.manifest().client;
        let found = redump(self.server, client, &wanted, self.cancel).await?;
        let mut comparison = compare(&expected, found.ledger.entries());
        let sides = Sides {
            archive,
            mapped: &ObjectId::clone,
            server: self.server,
            redump: &wanted,
            found: found.ledger.entries(),
        };
        sides.settle(&mut comparison, self.cancel).await?;
        let other = self.different_computed_values(archive).await?;
        comparison.differences.extend(other);
        comparison.differences.sort();
        explain(archive, &mut comparison, &found.words).await?;
        let missing = comparison.differences.iter().filter(|one| {
            (one.class, one.object.kind) == (Class::MissingObject, ObjectKind::Event)
                && found.ledger.get(&one.object).is_none()
        });
        let missing: BTreeSet<ObjectId> = missing.map(|one| one.object.clone()).collect();
        let expired = expired::expired(archive, self.server, &missing, self.cancel).await?;
        comparison
            .differences
            .retain(|one| !expired.contains(&one.object));
        Ok((comparison, expired))
    }

    /// Tables whose computed values differ from those of the target, by the definitions in the archive.
    async fn different_computed_values(&self, archive: &Archive) -> Result<Vec<Difference>> {
        let inventory = archive.contents().inventory.iter();
        let needs: BTreeMap<ObjectId, Needs> = inventory
            .filter_map(|entry| Some((entry.object.clone(), entry.needs.clone()?)))
            .collect();
        if needs.is_empty() {
            return Ok(Vec::new());
        }
        let source = FrameSource::of(archive, self.cancel)?;
        let mut frames = source.read(|record| record.has(Section::PreData));
        let mut computed = BTreeMap::new();
        while let Some(ready) = frames.next().await? {
            for (statement, sql) in ready.frame.of(Section::PreData) {
                if let Kind::Create { object, .. } = &statement.kind
                    && needs.contains_key(object)
                {
                    computed.insert(object.clone(), computed::of_table(sql));
                }
            }
        }
        let config = LaneConfig {
            lock: None,
            ..control_config(self.server, true, self.cancel)
        };
        let mut lane = Lane::open(config).await?;
        let differences =
            restore::passes::compare::computed_differences(&mut lane, &needs, &computed).await?;
        lane.close().await;
        Ok(differences)
    }
}
