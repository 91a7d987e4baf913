//! Comparison of two inventories: objects that changed during the dump, and objects missing from the dump. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::mysql::inventory::Inventory;
use crate::mysql::names::is_like;
use crate::sql::statement::{ObjectId, ObjectKind};

/// An object that differs between two inventories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// The object.
    pub object: ObjectId,
    /// How it changed.
    pub change: Change,
}

/// How an object changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It did not exist before.
    Created,
    /// It no longer exists.
    Dropped,
    /// Its definition changed.
    Altered,
    /// It has another name now.
    Renamed,
    /// Another table has its name now, and it has another one.
    Exchanged,
    /// It was recreated with the same definition: truncated, rebuilt, or, if table IDs are not known,
    /// possibly exchanged by RENAME.
    Replaced,
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.change {
            Change::Created => "created",
            Change::Dropped => "dropped",
            Change::Altered => "altered",
            Change::Renamed => "renamed",
            Change::Exchanged => "exchanged by RENAME",
            Change::Replaced => "truncated, rebuilt or exchanged",
        };
        write!(f, "{} was {how}", self.object)
    }
}

impl Inventory {
    /// Objects that differ between this inventory and a later one, except those whose `schema.name` matches one
    /// of the patterns `ignored`, in which `%` matches any run of characters.
    pub fn drift(&self, after: &Inventory, ignored: &[String]) -> Vec<Drift> {
        // In these patterns only % is a wildcard.
        let ignored: Vec<String> = ignored
            .iter()
            .map(|pattern| pattern.replace('\\', "\\\\").replace('_', "\\_"))
            .collect();
        let mut drift = Vec::new();
        let mut push = |object: &ObjectId, change| {
            let name = format!("{}.{}", object.schema, object.name);
            if !ignored.iter().any(|pattern| is_like(&name, pattern)) {
                drift.push(Drift {
                    object: object.clone(),
                    change,
                });
            }
        };
        let tables = after.tables_by_id();
        for (object, before) in &self.objects {
            let now = after.objects.get(object);
            let elsewhere = before
                .table_id
                .and_then(|id| tables.get(&id))
                .is_some_and(|table| *table != object);
            match now {
                None if elsewhere => push(object, Change::Renamed),
                None => push(object, Change::Dropped),
                Some(_) if elsewhere => push(object, Change::Exchanged),
                Some(now) if now.definition != before.definition => push(object, Change::Altered),
                Some(now) => {
                    let ids = before.table_id.zip(now.table_id);
                    if now.altered_at != before.altered_at
                        || ids.is_some_and(|(before, now)| before != now)
                    {
                        push(object, Change::Replaced);
                    }
                }
            }
        }
        for object in after.objects.keys() {
            if !self.objects.contains_key(object) {
                push(object, Change::Created);
            }
        }
        drift
    }

    fn tables_by_id(&self) -> BTreeMap<u64, &ObjectId> {
        self.objects
            .iter()
            .filter_map(|(object, stamp)| Some((stamp.table_id?, object)))
            .collect()
    }

    /// Objects that are in this inventory and in the later one `after`, but not in the dump (`seen`).
    pub fn missing_from(&self, after: &Inventory, seen: &BTreeSet<ObjectId>) -> Vec<ObjectId> {
        let seen: BTreeSet<_> = seen.iter().map(|object| self.folded(object)).collect();
        self.objects
            .keys()
            .filter(|object| after.objects.contains_key(object))
            .filter(|object| !seen.contains(&self.folded(object)))
            .cloned()
            .collect()
    }

    /// Equal for names that the server may show in one case and dump in another.
    fn folded(&self, object: &ObjectId) -> (String, ObjectKind, String) {
        let fold = |name| self.name_case.fold(name).into_owned();
        (fold(&object.schema), object.kind, fold(&object.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mysql::names::NameCase;

    fn inventory(objects: &[(ObjectId, &str, Option<u64>)]) -> Inventory {
        let mut all = Inventory::default();
        for (object, definition, table_id) in objects {
            all.add(object.clone(), (*definition).to_owned());
            if let Some(stamp) = all.objects.get_mut(object) {
                stamp.table_id = *table_id;
            }
        }
        all
    }

    fn t(name: &str) -> ObjectId {
        ObjectId::table("shop", name)
    }

    #[test]
    fn each_kind_of_change_is_detected() {
        let before = inventory(&[
            (t("dropped"), "1", Some(1)),
            (t("altered"), "1", Some(2)),
            (t("a"), "1", Some(3)),
            (t("b"), "2", Some(4)),
            (t("still"), "1", Some(5)),
            (t("old"), "1", Some(8)),
            (t("truncated"), "1", Some(9)),
        ]);
        let after = inventory(&[
            (t("altered"), "2", Some(6)),
            (t("a"), "2", Some(4)),
            (t("b"), "1", Some(3)),
            (t("still"), "1", Some(5)),
            (t("new"), "1", Some(8)),
            (t("truncated"), "1", Some(10)),
        ]);
        let drift: Vec<String> = before
            .drift(&after, &[])
            .iter()
            .map(Drift::to_string)
            .collect();
        assert_eq!(
            drift,
            [
                "table `shop`.`a` was exchanged by RENAME",
                "table `shop`.`altered` was altered",
                "table `shop`.`b` was exchanged by RENAME",
                "table `shop`.`dropped` was dropped",
                "table `shop`.`old` was renamed",
                "table `shop`.`truncated` was truncated, rebuilt or exchanged",
                "table `shop`.`new` was created",
            ]
        );
        assert_eq!(before.drift(&before, &[]), []);
        assert_eq!(before.drift(&after, &["shop.%".into()]), []);
        // `%` matches any run of characters, `_` only itself.
        let ignored = ["shop.a".into(), "s%.%d".into(), "shop.ne_".into()];
        assert_eq!(before.drift(&after, &ignored).len(), 2);
    }

    #[test]
    fn objects_that_existed_throughout_must_be_in_the_dump() {
        let before = inventory(&[
            (t("a"), "", None),
            (t("b"), "", None),
            (t("gone"), "", None),
        ]);
        let after = inventory(&[(t("a"), "", None), (t("b"), "", None), (t("new"), "", None)]);
        let seen = BTreeSet::from([t("a"), t("other")]);
        assert_eq!(before.missing_from(&after, &seen), [t("b")]);
        let seen = BTreeSet::from([t("A"), t("B")]);
        assert_eq!(before.missing_from(&after, &seen).len(), 2);
        let folded = Inventory {
            name_case: NameCase::Insensitive,
            ..before
        };
        assert_eq!(folded.missing_from(&after, &seen), []);
    }
}
