//! A later backup, and a server that has replayed the binary log up to its place.
//!
//! A log does not say everything of a definition: events, which a replica creates disabled, and AUTO_INCREMENT counters are
//! compared without these ([`crate::comparison::normalise`]).

use std::collections::{BTreeMap, BTreeSet};

use crate::archive::read::Archive;
use crate::comparison::compare::Comparison;
use crate::comparison::normalise::ExpectedDeviations;
use crate::restore::frames::read_ahead::FrameSource;
use crate::sql::definer::{Account, definer};
use crate::sql::placement::created;
use crate::sql::statement::{Kind, ObjectId, ObjectKind, Section};
use crate::util::cancel::Cancel;
use crate::util::error::Result;
use crate::verify::compare::Compared;

/// Definitions of a later backup.
#[derive(Default)]
pub struct Later {
    /// Of which a replayed log does not say everything.
    replayed: BTreeMap<ObjectId, Vec<u8>>,
    /// Definers, and one object of each.
    pub(super) definers: BTreeMap<Account, ObjectId>,
}

impl Later {
    /// Reads them.
    pub async fn read(archive: &Archive, cancel: &Cancel) -> Result<Later> {
        let fingerprint = &archive.manifest().server.fingerprint;
        let prints_tablespace = fingerprint.get("innodb_file_per_table");
        let prints_tablespace = prints_tablespace.is_some_and(|value| value == "OFF");
        let mut found = Later::default();
        let source = FrameSource::of(archive, cancel)?;
        let mut frames =
            source.read(|record| record.has(Section::PreData) || record.has(Section::PostData));
        while let Some(ready) = cancel.unless(frames.next()).await? {
            for (statement, sql) in ready.frame.statements() {
                let object = match &statement.kind {
                    Kind::CreateSchema { schema } => &ObjectId::schema(schema.as_str()),
                    Kind::Create {
                        object,
                        placeholder: false,
                    } => object,
                    _ => continue,
                };
                if let Some((account, _)) = definer(sql) {
                    found
                        .definers
                        .entry(account)
                        .or_insert_with(|| object.clone());
                }
                let has_counter = || memchr::memmem::find(sql, b" AUTO_INCREMENT=").is_some();
                let is_partly_logged = match object.kind {
                    ObjectKind::Event => true,
                    ObjectKind::Table => {
                        prints_tablespace || has_counter() || created(sql, true).is_some()
                    }
                    ObjectKind::Schema => created(sql, true).is_some(),
                    _ => false,
                };
                if is_partly_logged {
                    found.replayed.insert(object.clone(), sql.to_vec());
                }
            }
        }
        Ok(found)
    }

    /// Compares the schemas of a server with the backup, as [`Compared::with_dump`].
    pub async fn compare(
        self,
        archive: &Archive,
        server: Compared<'_>,
        schemas: BTreeSet<String>,
    ) -> Result<(Comparison, BTreeSet<ObjectId>)> {
        let deviations = ExpectedDeviations {
            replayed: self.replayed,
            ..ExpectedDeviations::default()
        };
        server.with_dump(archive, schemas, deviations).await
    }
}
