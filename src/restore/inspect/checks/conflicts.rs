//! Objects and names on the destination that conflict with those of the restore.

use std::collections::BTreeSet;

use crate::restore::inspect::checks::Checks;
use crate::restore::inspect::refusal::{Refusal, all_of};
use crate::sql::statement::{ObjectId, ObjectKind as Kind};
use crate::util::format::some_of;

impl Checks<'_> {
    /// Schemas of the backup whose names are reserved by this server.
    pub(super) fn reserved_schemas(&self) -> Option<Refusal> {
        let own = self.facts.own();
        let schemas = self.survey.creates.iter().map(|object| &object.schema);
        let reserved: BTreeSet<&String> = schemas.filter(|schema| own.is_closed(schema)).collect();
        let first = reserved.first()?;
        let mut renamed = self.options.scope.rename.iter();
        let in_the_backup = renamed
            .find(|(_, new)| new == first)
            .map_or(*first, |(old, _)| old);
        Some(Refusal::new(
            format!(
                "the destination reserves the name of {}",
                some_of(reserved.iter().map(|schema| ObjectId::schema(*schema)))
            ),
            format!("restore it under another name: --rename {in_the_backup}=<name>"),
        ))
    }

    pub(super) fn existing_objects(&self) -> Option<Refusal> {
        if self.options.destination.permissions().overwrite {
            return None;
        }
        let mut existing: BTreeSet<ObjectId> = self.conflicts().into_iter().collect();
        existing.extend(self.unrelated_objects());
        if existing.is_empty() {
            return None;
        }
        Some(Refusal::new(
            format!(
                "the destination already contains {}",
                some_of(existing.iter())
            ),
            "restore into an empty server, or replace them with --overwrite --confirm <target>",
        ))
    }

    pub(super) fn renames(&self) -> Vec<Refusal> {
        let mut all = Vec::new();
        let references = &self.survey.references_renamed;
        if !references.is_empty() {
            all.push(Refusal::new(
                format!(
                    "these objects reference a renamed schema: {}",
                    all_of(references)
                ),
                "restore without --rename, or only --tables that do not reference it",
            ));
        }
        if self.options.accounts && !self.options.scope.rename.is_empty() {
            all.push(Refusal::new(
                "--accounts would grant privileges on schemas by their old names, which --rename changes",
                "restore without --accounts, then run the statements of drctl cat --accounts with the new names",
            ));
        }
        all
    }

    pub(super) fn unrelated_objects_warning(&self) -> Option<String> {
        let unrelated = self.unrelated_objects();
        let overwrite = self.options.destination.permissions().overwrite;
        (overwrite && !unrelated.is_empty()).then(|| {
            format!(
                "objects that are not in the backup are left unchanged: {}",
                some_of(unrelated.iter())
            )
        })
    }

    /// Existing objects with a name that the restore needs, except those that an earlier run of it created.
    pub fn conflicts(&self) -> Vec<ObjectId> {
        let wanted: BTreeSet<(String, &str, String)> = self
            .survey
            .creates
            .iter()
            .filter_map(|object| self.name_space(object))
            .collect();
        self.objects_of_others()
            .filter(|object| {
                self.name_space(object)
                    .is_some_and(|name| wanted.contains(&name))
            })
            .cloned()
            .collect()
    }

    /// Objects in the schemas of the backup that are not in the backup, if it is restored as a whole: an
    /// empty schema is reused, any other would differ from the dump.
    fn unrelated_objects(&self) -> Vec<ObjectId> {
        if !self.options.scope.is_everything() {
            return Vec::new();
        }
        let creates = self.folded(&self.survey.creates);
        self.objects_of_others()
            .filter(|object| object.kind != Kind::Schema)
            .filter(|object| !creates.contains(&self.facts.folded(object)))
            .cloned()
            .collect()
    }

    /// Existing objects, except those that an earlier run of this restore created.
    fn objects_of_others(&self) -> impl Iterator<Item = &ObjectId> {
        let created = self.folded(self.created_before);
        self.facts.objects.iter().filter(move |object| {
            let folded = self.facts.folded(object);
            // The placeholder of a view is a table on some servers.
            let placeholder = object.kind == Kind::Table
                && created.contains(&ObjectId {
                    kind: Kind::View,
                    ..folded.clone()
                });
            !created.contains(&folded) && !placeholder
        })
    }

    fn folded(&self, objects: &BTreeSet<ObjectId>) -> BTreeSet<ObjectId> {
        objects
            .iter()
            .map(|object| self.facts.folded(object))
            .collect()
    }

    /// Tables, views and sequences share one name space; an existing schema is reused.
    fn name_space(&self, object: &ObjectId) -> Option<(String, &'static str, String)> {
        let object = self.facts.folded(object);
        match object.kind {
            Kind::Schema => None,
            Kind::Table | Kind::View | Kind::Sequence => {
                Some((object.schema, "table", object.name))
            }
            kind => Some((object.schema, kind.noun(), object.name.to_lowercase())),
        }
    }
}
