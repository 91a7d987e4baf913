//! Two ledgers to their differences.
//!
//! Of five classes that are shown apart: rows that differ, objects that are on one side only,
//! triggers that fire in another order, definitions whose text differs, views that cannot be used. The
//! first is what a backup is for; the text is often a server of another version. Nothing is normalised
//! here.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::sql::ledger::{Entries, Entry, RowSum};
use crate::sql::statement::{ObjectId, ObjectKind};
use crate::words::counted;

/// What kind of difference it is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// The rows differ.
    Data,
    /// The object is on one side only.
    MissingObject,
    /// The trigger fires at another place among those of its table.
    TriggerOrder,
    /// The definition's text differs.
    DdlText,
    /// The server shows the view in other words because its definer may not see what it is about:
    /// never found here, but made of [`Class::DdlText`] by who can ask the server.
    UnusableView,
}

/// One difference.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
pub struct Difference {
    /// Of which class.
    pub class: Class,
    /// Which object.
    pub object: ObjectId,
    /// What the backup has: a number of rows, or the beginning of a digest.
    pub expected: String,
    /// What the server has.
    pub found: String,
    /// Of a definition: what differs in it, as a unified diff.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
}

/// The result of a comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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

    /// Whether nothing differs but what is of these classes.
    pub fn is_only(&self, classes: &[Class]) -> bool {
        let of_them = |one: &Difference| classes.contains(&one.class);
        self.differences.iter().all(of_them)
    }

    /// How many differences of a class there are.
    pub fn count(&self, class: Class) -> usize {
        self.differences
            .iter()
            .filter(|difference| difference.class == class)
            .count()
    }

    /// One line for a person: the sums, or what differs first.
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
            (Class::Data, "with other rows"),
            (Class::MissingObject, "on one side only"),
            (Class::TriggerOrder, "in another order"),
            (Class::DdlText, "with another definition"),
            (Class::UnusableView, "that cannot be used"),
        ]
        .iter()
        .map(|(class, words)| (self.count(*class), words))
        .filter(|(count, _)| *count > 0)
        .map(|(count, words)| format!("{count} {words}"))
        .collect();
        format!(
            "these differ: {}; first: {} (backup: {}, server: {})",
            counts.join(", "),
            first.object,
            first.expected,
            first.found
        )
    }
}

/// Compares what the backup says with what the server holds.
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
                differs(Class::DdlText, short(theirs), short(ours));
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
    short(&format!("{:032x}", sum.digest.0))
}

/// A trigger's place among those of its table.
fn place(order: Option<u32>) -> String {
    order.map_or("no place".to_owned(), |order| format!("place {order}"))
}

/// Enough of a digest to tell two apart by eye.
fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::ledger::RowDigest;

    fn table(name: &str) -> ObjectId {
        ObjectId::table("shop", name)
    }

    fn trigger() -> ObjectId {
        ObjectId::new(ObjectKind::Trigger, "shop", "t")
    }

    fn side() -> Entries {
        let of_table = |rows, digest, ddl: &str| Entry {
            ddl: Some(ddl.into()),
            rows: Some(RowSum {
                rows,
                digest: RowDigest(digest),
            }),
            order: None,
        };
        let fires = Entry {
            ddl: Some("w".into()),
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
                |side| drop(side.remove(&table("a"))),
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
                |side| side.get_mut(&table("a")).unwrap().ddl = Some("v".into()),
                &[Class::DdlText],
            ),
            (
                "a trigger that does something else, and later",
                |side| {
                    let entry = side.get_mut(&trigger()).unwrap();
                    entry.order = Some(2);
                    entry.ddl = Some("v".into());
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
    fn the_summary_names_data_before_definitions() {
        let mut restored = side();
        restored.get_mut(&table("a")).unwrap().ddl = Some("v".into());
        rows(&mut restored, "b").rows = 5;
        assert_eq!(
            compare(&side(), &restored).summary(),
            "these differ: 1 with other rows, 1 with another definition; first: table `shop`.`b` \
             (backup: 1 row, server: 5 rows)"
        );
    }
}
