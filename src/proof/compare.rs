//! Two ledgers to their differences.
//!
//! Of three classes that are shown apart: rows that differ, objects that are on one side only,
//! definitions whose text differs. The first is what a backup is for; the last is often a client of another
//! version. Nothing is normalised here.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::sql::statement::{ObjectId, ObjectKind};

/// What a ledger says of a table's rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RowSum {
    /// How many.
    pub rows: u64,
    /// The digest of the multiset of them, hex.
    pub digest: String,
}

/// One side of a comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Side {
    /// The rows of each table that has any.
    pub rows: BTreeMap<ObjectId, RowSum>,
    /// The digest of each object's definition, hex; tables too.
    pub definitions: BTreeMap<ObjectId, String>,
}

/// What kind of difference it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// The rows differ.
    Data,
    /// The object is on one side only.
    MissingObject,
    /// The definition's text differs.
    DdlText,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Difference {
    /// Of which class.
    pub class: Class,
    /// Which object.
    pub object: ObjectId,
    /// What the backup has: a number of rows, or the beginning of a digest.
    pub expected: String,
    /// What the server has.
    pub found: String,
}

/// The result of a comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Tables that were compared.
    pub tables: u64,
    /// Rows that the backup has of them.
    pub rows_expected: u64,
    /// Rows that the server has of them.
    pub rows_found: u64,
    /// Other objects that were compared.
    pub objects: u64,
    /// All differences, those of data first.
    pub differences: Vec<Difference>,
}

impl Comparison {
    /// Whether nothing differs.
    pub fn is_equal(&self) -> bool {
        self.differences.is_empty()
    }

    /// How many differences of a class there are.
    pub fn count(&self, class: Class) -> usize {
        self.differences.iter().filter(|difference| difference.class == class).count()
    }

    /// One line for a person: the sums, or what differs first.
    pub fn summary(&self) -> String {
        let Some(first) = self.differences.first() else {
            return format!(
                "{} rows of {} tables and {} other objects are equal",
                self.rows_found, self.tables, self.objects
            );
        };
        let counts: Vec<String> = [
            (Class::Data, "with other rows"),
            (Class::MissingObject, "on one side only"),
            (Class::DdlText, "with another definition"),
        ]
        .iter()
        .map(|(class, words)| (self.count(*class), words))
        .filter(|(count, _)| *count > 0)
        .map(|(count, words)| format!("{count} {words}"))
        .collect();
        format!(
            "objects {}; first: {} (backup: {}, server: {})",
            counts.join(", "),
            first.object,
            first.expected,
            first.found
        )
    }
}

/// Compares what the backup says with what the server holds.
pub fn compare(expected: &Side, found: &Side) -> Comparison {
    let mut comparison = Comparison::default();
    let nothing = RowSum::default();
    let with_rows: BTreeSet<&ObjectId> = expected.rows.keys().chain(found.rows.keys()).collect();
    for table in with_rows {
        let theirs = expected.rows.get(table).unwrap_or(&nothing);
        let ours = found.rows.get(table).unwrap_or(&nothing);
        comparison.rows_expected += theirs.rows;
        comparison.rows_found += ours.rows;
        // A table of no rows may have no entry at all.
        if theirs == ours || theirs.rows + ours.rows == 0 {
            continue;
        }
        let (expected, found) = match theirs.rows == ours.rows {
            true => (short(&theirs.digest), short(&ours.digest)),
            false => (format!("{} rows", theirs.rows), format!("{} rows", ours.rows)),
        };
        let object = table.clone();
        comparison.differences.push(Difference { class: Class::Data, object, expected, found });
    }
    let defined: BTreeSet<&ObjectId> =
        expected.definitions.keys().chain(found.definitions.keys()).collect();
    for object in defined {
        match object.kind {
            ObjectKind::Table => comparison.tables += 1,
            _ => comparison.objects += 1,
        }
        let (class, expected, found) =
            match (expected.definitions.get(object), found.definitions.get(object)) {
                (Some(theirs), Some(ours)) if theirs == ours => continue,
                (Some(theirs), Some(ours)) => (Class::DdlText, short(theirs), short(ours)),
                (Some(_), None) => (Class::MissingObject, "there".to_owned(), "missing".to_owned()),
                (None, _) => (Class::MissingObject, "missing".to_owned(), "there".to_owned()),
            };
        comparison.differences.push(Difference { class, object: object.clone(), expected, found });
    }
    comparison.differences.sort();
    comparison
}

/// Enough of a digest to tell two apart by eye.
fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str) -> ObjectId {
        ObjectId::table("shop", name)
    }

    fn side() -> Side {
        let sum = |rows, digest: &str| RowSum { rows, digest: digest.into() };
        let definition = |object, digest: &str| (object, digest.to_owned());
        Side {
            rows: [(table("a"), sum(2, "d1")), (table("b"), sum(1, "d2"))].into(),
            definitions: [
                definition(table("a"), "x"),
                definition(table("b"), "y"),
                definition(table("empty"), "z"),
                definition(ObjectId::new(ObjectKind::Trigger, "shop", "t"), "w"),
            ]
            .into(),
        }
    }

    #[test]
    fn every_single_difference_is_found_and_has_its_class() {
        type Damage = fn(&mut Side);
        let cases: [(&str, Damage, Class); 7] = [
            ("a row more", |side| side.rows.get_mut(&table("a")).unwrap().rows += 1, Class::Data),
            (
                "another row",
                |side| side.rows.get_mut(&table("b")).unwrap().digest.push('x'),
                Class::Data,
            ),
            ("all rows gone", |side| drop(side.rows.remove(&table("a"))), Class::Data),
            (
                "rows in the empty table",
                |side| {
                    side.rows.insert(table("empty"), RowSum { rows: 1, digest: String::new() });
                },
                Class::Data,
            ),
            (
                "a table gone",
                |side| drop(side.definitions.remove(&table("empty"))),
                Class::MissingObject,
            ),
            (
                "a table too many",
                |side| drop(side.definitions.insert(table("new"), String::new())),
                Class::MissingObject,
            ),
            (
                "another definition",
                |side| side.definitions.get_mut(&table("a")).unwrap().push('x'),
                Class::DdlText,
            ),
        ];
        for (what, damage, class) in cases {
            let mut restored = side();
            damage(&mut restored);
            let found = compare(&side(), &restored);
            let classes: Vec<Class> = found.differences.iter().map(|one| one.class).collect();
            assert_eq!(classes, [class], "{what}");
        }
        assert!(compare(&side(), &side()).is_equal());
    }

    #[test]
    fn a_table_without_rows_needs_no_entry() {
        let mut restored = side();
        restored.rows.insert(table("empty"), RowSum::default());
        assert!(compare(&side(), &restored).is_equal());
    }

    #[test]
    fn the_summary_names_data_before_definitions() {
        let mut restored = side();
        restored.definitions.get_mut(&table("a")).unwrap().push('x');
        restored.rows.get_mut(&table("b")).unwrap().rows = 5;
        assert_eq!(
            compare(&side(), &restored).summary(),
            "objects 1 with other rows, 1 with another definition; first: table `shop`.`b` \
             (backup: 1 rows, server: 5 rows)"
        );
    }
}
