//! What exists already under the names that a restore would use.

use std::collections::BTreeSet;

use crate::apply::checks::Case;
use crate::sql::statement::{ObjectId, ObjectKind as Kind};

impl Case<'_> {
    /// Objects that are in the way: they exist, and no earlier run of this restore made them.
    pub fn in_the_way(&self) -> Vec<ObjectId> {
        let wanted: BTreeSet<(String, &str, String)> = self
            .creates
            .iter()
            .filter_map(|object| self.name_space(object))
            .collect();
        let made: BTreeSet<ObjectId> = self
            .made
            .iter()
            .map(|object| self.facts.folded(object))
            .collect();
        self.facts
            .objects
            .iter()
            .filter(|object| !made.contains(&self.facts.folded(object)))
            .filter(|object| {
                self.name_space(object)
                    .is_some_and(|name| wanted.contains(&name))
            })
            .filter(|object| !self.made_as_placeholder(object, &made))
            .cloned()
            .collect()
    }

    /// Tables, views and sequences share their names; an existing schema is reused.
    fn name_space(&self, object: &ObjectId) -> Option<(String, &'static str, String)> {
        let object = self.facts.folded(object);
        let space = match object.kind {
            Kind::Schema => return None,
            Kind::Table | Kind::View | Kind::Sequence => "table",
            kind => kind.noun(),
        };
        let name = match object.kind {
            Kind::Table | Kind::View | Kind::Sequence => object.name,
            _ => object.name.to_lowercase(),
        };
        Some((object.schema, space, name))
    }

    /// A view's place-holder is a table on some servers.
    fn made_as_placeholder(&self, object: &ObjectId, made: &BTreeSet<ObjectId>) -> bool {
        object.kind == Kind::Table
            && made.contains(&self.facts.folded(&ObjectId {
                kind: Kind::View,
                ..object.clone()
            }))
    }

    /// What the schemas of the backup have beside it, where all of it is restored: an empty schema is
    /// reused, another one would not be what was dumped.
    pub(super) fn strangers(&self) -> Vec<ObjectId> {
        if !self.options.scope.is_everything() {
            return Vec::new();
        }
        let folded = |objects: &BTreeSet<ObjectId>| -> BTreeSet<ObjectId> {
            objects
                .iter()
                .map(|object| self.facts.folded(object))
                .collect()
        };
        let (made, creates) = (folded(self.made), folded(self.creates));
        self.facts
            .objects
            .iter()
            .filter(|object| object.kind != Kind::Schema)
            .filter(|object| !made.contains(&self.facts.folded(object)))
            .filter(|object| !creates.contains(&self.facts.folded(object)))
            .filter(|object| !self.made_as_placeholder(object, &made))
            .cloned()
            .collect()
    }
}
