//! Differences between two ledgers.
//!
//! Five classes, reported separately: different rows, objects on one side only, triggers in another order,
//! definitions with different text, unusable views. Only the first class concerns the data; a different text often just
//! means a different server version. Nothing is normalised here.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::sql::ledger::{Entries, Entry, RowSum};
use crate::sql::statement::{ObjectId, ObjectKind};
use crate::util::digest::{Digest, Xxh3Digest};
use crate::util::format::{counted, some_of};

/// Class of a difference.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// The rows differ.
    Data,
    /// The object exists on one side only.
    MissingObject,
    /// The trigger fires at another position among those of its table.
    TriggerOrder,
    /// The definition's text differs.
    DdlText,
    /// The server prints the view differently because its definer lacks privileges on the objects it uses.
    /// Never found by this comparison, but derived from [`Class::DdlText`] by querying the server.
    UnusableView,
}

/// One difference.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
pub struct Difference {
    /// Its class.
    pub class: Class,
    /// The object.
    pub object: ObjectId,
    /// The backup's value: a row count, or the beginning of a digest.
    pub expected: String,
    /// The server's value, likewise.
    pub found: String,
    /// For a definition, the differing lines as a unified diff.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
}

/// Result of a comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// Number of tables compared.
    pub tables: u64,
    /// Rows of these tables in the backup.
    pub rows_expected: u64,
    /// Rows of these tables on the server.
    pub rows_found: u64,
    /// Number of other objects compared.
    pub objects: u64,
    /// All differences, sorted by class, data first.
    pub differences: Vec<Difference>,
}

impl Comparison {
    /// Whether there are no differences.
    pub fn is_equal(&self) -> bool {
        self.differences.is_empty()
    }

    /// Whether all differences are of these classes.
    pub fn is_only(&self, classes: &[Class]) -> bool {
        let of_them = |one: &Difference| classes.contains(&one.class);
        self.differences.iter().all(of_them)
    }

    /// The objects with differences of these classes.
    pub fn objects_of(&self, classes: &[Class]) -> BTreeSet<ObjectId> {
        let differences = self.differences.iter();
        differences
            .filter(|one| classes.contains(&one.class))
            .map(|one| one.object.clone())
            .collect()
    }

    /// The objects that differ, in one line.
    pub fn which_differ(&self) -> String {
        let objects = self.differences.iter().map(|one| one.object.to_string());
        let objects: BTreeSet<String> = objects.collect();
        let number = counted(objects.len() as u64, "object");
        format!("{number} differ: {}", some_of(objects))
    }

    /// Number of differences of a class.
    pub fn count(&self, class: Class) -> usize {
        self.differences
            .iter()
            .filter(|difference| difference.class == class)
            .count()
    }

    /// Summary in one line: totals, or the counts of differences with the first one.
    pub fn summary(&self) -> String {
        let Some(first) = self.differences.first() else {
            return format!(
                "{} of {} and {} are equal",
                counted(self.rows_found, "row"),
                counted(self.tables, "table"),
                counted(self.objects, "other object"),
            );
        };
        let counts: Vec<String> = [
            (Class::Data, "with different rows"),
            (Class::MissingObject, "on one side only"),
            (Class::TriggerOrder, "in a different order"),
            (Class::DdlText, "with a different definition"),
            (Class::UnusableView, "unusable"),
        ]
        .iter()
        .map(|(class, words)| (self.count(*class), words))
        .filter(|(count, _)| *count > 0)
        .map(|(count, words)| format!("{count} {words}"))
        .collect();
        format!(
            "differences: {}; first: {} (backup: {}, server: {})",
            counts.join(", "),
            first.object,
            first.expected,
            first.found
        )
    }
}

/// Compares the backup's ledger with the server's.
pub fn compare(expected: &Entries, found: &Entries) -> Comparison {
    let mut comparison = Comparison::default();
    let objects: BTreeSet<&ObjectId> = expected.keys().chain(found.keys()).collect();
    for object in objects {
        let nothing = Entry::default();
        let theirs = expected.get(object).unwrap_or(&nothing);
        let ours = found.get(object).unwrap_or(&nothing);
        match object.kind {
            ObjectKind::Table => comparison.tables += 1,
            _ => comparison.objects += 1,
        }
        let (before, after) = (
            theirs.rows.unwrap_or_default(),
            ours.rows.unwrap_or_default(),
        );
        comparison.rows_expected += before.rows;
        comparison.rows_found += after.rows;
        let mut differs = |class, expected: String, found: String| {
            let object = object.clone();
            comparison.differences.push(Difference {
                class,
                object,
                expected,
                found,
                diff: None,
            });
        };
        if before.rows != after.rows {
            differs(
                Class::Data,
                counted(before.rows, "row"),
                counted(after.rows, "row"),
            );
        } else if before != after {
            differs(Class::Data, short_rows(before), short_rows(after));
        }
        match (&theirs.ddl, &ours.ddl) {
            (Some(theirs), Some(ours)) if theirs != ours => {
                differs(Class::DdlText, short(*theirs), short(*ours));
            }
            (Some(_), None) => differs(Class::MissingObject, "there".into(), "missing".into()),
            (None, Some(_)) => differs(Class::MissingObject, "missing".into(), "there".into()),
            _ => {}
        }
        let both = theirs.ddl.is_some() && ours.ddl.is_some();
        if both && theirs.order != ours.order {
            differs(Class::TriggerOrder, place(theirs.order), place(ours.order));
        }
    }
    comparison.differences.sort();
    comparison
}

fn short_rows(sum: RowSum) -> String {
    short(Xxh3Digest::from(sum.digest))
}

/// A trigger's position among those of its table.
fn place(order: Option<u32>) -> String {
    order.map_or("no place".to_owned(), |order| format!("place {order}"))
}

/// The first digits of a digest.
fn short<const N: usize>(digest: Digest<N>) -> String {
    digest.to_string().chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::ledger::RowDigest;
    use crate::util::digest::Sha256Digest;

    fn table(name: &str) -> ObjectId {
        ObjectId::table("shop", name)
    }

    fn trigger() -> ObjectId {
        ObjectId::new(ObjectKind::Trigger, "shop", "t")
    }

    fn side() -> Entries {
        let of_table = |rows, digest, ddl: &str| Entry {
            ddl: Some(Sha256Digest::of(ddl)),
            rows: Some(RowSum {
                rows,
                digest: RowDigest(digest),
            }),
            order: None,
        };
        let fires = Entry {
            ddl: Some(Sha256Digest::of("w")),
            rows: None,
            order: Some(1),
        };
        [
            (table("a"), of_table(2, 11, "x")),
            (table("b"), of_table(1, 22, "y")),
            (table("empty"), of_table(0, 0, "z")),
            (trigger(), fires),
        ]
        .into()
    }

    fn rows<'a>(side: &'a mut Entries, name: &str) -> &'a mut RowSum {
        side.get_mut(&table(name)).unwrap().rows.as_mut().unwrap()
    }

    #[test]
    fn every_single_difference_is_found_and_has_its_class() {
        type Damage = fn(&mut Entries);
        let cases: [(&str, Damage, &[Class]); 9] = [
            (
                "a row more",
                |side| rows(side, "a").rows += 1,
                &[Class::Data],
            ),
            (
                "another row",
                |side| rows(side, "b").digest.0 += 1,
                &[Class::Data],
            ),
            (
                "all rows gone",
                |side| *rows(side, "a") = RowSum::default(),
                &[Class::Data],
            ),
            (
                "rows in the empty table",
                |side| rows(side, "empty").rows = 1,
                &[Class::Data],
            ),
            (
                "a table gone",
                |side| {
                    side.remove(&table("a"));
                },
                &[Class::Data, Class::MissingObject],
            ),
            (
                "a table too many",
                |side| {
                    let entry = side[&table("empty")].clone();
                    side.insert(table("new"), entry);
                },
                &[Class::MissingObject],
            ),
            (
                "another definition",
                |side| side.get_mut(&table("a")).unwrap().ddl = Some(Sha256Digest::of("v")),
                &[Class::DdlText],
            ),
            (
                "a trigger that does something else, and later",
                |side| {
                    let entry = side.get_mut(&trigger()).unwrap();
                    entry.order = Some(2);
                    entry.ddl = Some(Sha256Digest::of("v"));
                },
                &[Class::TriggerOrder, Class::DdlText],
            ),
            (
                "a trigger that fires later",
                |side| side.get_mut(&trigger()).unwrap().order = Some(2),
                &[Class::TriggerOrder],
            ),
        ];
        for (what, damage, classes) in cases {
            let mut restored = side();
            damage(&mut restored);
            let found = compare(&side(), &restored);
            assert_eq!(
                found.is_only(&[Class::DdlText]),
                classes == [Class::DdlText],
                "{what}"
            );
            let found: Vec<Class> = found.differences.iter().map(|one| one.class).collect();
            assert_eq!(found, classes, "{what}");
        }
        assert!(compare(&side(), &side()).is_equal());
    }

    #[test]
    fn a_table_with_another_definition_is_not_among_those_with_other_rows() {
        let mut restored = side();
        restored.get_mut(&table("a")).unwrap().ddl = Some(Sha256Digest::of("v"));
        rows(&mut restored, "b").rows = 5;
        let found = compare(&side(), &restored);
        let differ = found.objects_of(&[Class::Data, Class::MissingObject]);
        assert_eq!(differ, [table("b")].into());
    }

    #[test]
    fn the_summary_names_data_before_definitions() {
        let mut restored = side();
        restored.get_mut(&table("a")).unwrap().ddl = Some(Sha256Digest::of("v"));
        rows(&mut restored, "b").rows = 5;
        assert_eq!(
            compare(&side(), &restored).summary(),
            "differences: 1 with different rows, 1 with a different definition; first: table `shop`.`b` \
             (backup: 1 row, server: 5 rows)"
        );
    }
}
