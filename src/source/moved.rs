//! What moved between two inventories, and what of both was never seen. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::inventory::Inventory;
use crate::sql::statement::ObjectId;

/// One thing that changed between two inventories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// What changed.
    pub object: ObjectId,
    /// How.
    pub how: Change,
}

/// How an object changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was not there before.
    Created,
    /// It is not there any more.
    Dropped,
    /// Its definition is another.
    Altered,
    /// It bears another name now.
    Renamed,
    /// Another table bears its name now, and it another one.
    Exchanged,
    /// It is made as it was, and made anew: truncated, rebuilt, or, where ids are not known,
    /// exchanged by RENAME.
    Replaced,
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.how {
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
    /// What moved between this inventory and a later one, apart from tables whose `schema.table`
    /// matches one of the `churn` patterns (`%` is any run of characters): those come and go.
    pub fn diff(&self, after: &Inventory, churn: &[String]) -> Vec<Moved> {
        let mut moved = Vec::new();
        let mut push = |object: &ObjectId, how| {
            let name = format!("{}.{}", object.schema, object.name);
            if !churn.iter().any(|pattern| like(pattern, &name)) {
                moved.push(Moved {
                    object: object.clone(),
                    how,
                });
            }
        };
        let places = after.places();
        for (object, before) in &self.objects {
            let now = after.objects.get(object);
            let elsewhere = before
                .table_id
                .and_then(|id| places.get(&id))
                .is_some_and(|place| *place != object);
            match now {
                None if elsewhere => push(object, Change::Renamed),
                None => push(object, Change::Dropped),
                Some(_) if elsewhere => push(object, Change::Exchanged),
                Some(now) if now.definition != before.definition => push(object, Change::Altered),
                Some(now) => {
                    let both = before.table_id.zip(now.table_id);
                    if now.made != before.made || both.is_some_and(|(before, now)| before != now) {
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
        moved
    }

    /// Which table bears which id.
    fn places(&self) -> BTreeMap<u64, &ObjectId> {
        let tables = self.objects.iter();
        tables
            .filter_map(|(object, stamp)| Some((stamp.table_id?, object)))
            .collect()
    }

    /// What existed throughout, here and in the later inventory `after`, and was not `seen` in the
    /// dump.
    pub fn missing_from(&self, after: &Inventory, seen: &BTreeSet<ObjectId>) -> Vec<ObjectId> {
        let folded: BTreeSet<ObjectId> = match self.fold {
            true => seen.iter().map(fold).collect(),
            false => BTreeSet::new(),
        };
        self.objects
            .keys()
            .filter(|object| after.objects.contains_key(object))
            .filter(|object| !seen.contains(object) && !folded.contains(&fold(object)))
            .cloned()
            .collect()
    }
}

fn fold(object: &ObjectId) -> ObjectId {
    ObjectId {
        schema: object.schema.to_lowercase(),
        kind: object.kind,
        name: object.name.to_lowercase(),
    }
}

/// Whether a name matches a pattern in which `%` stands for any run of characters.
fn like(pattern: &str, name: &str) -> bool {
    match pattern.split_once('%') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|name| {
            let tails = name.char_indices().map(|(at, _)| &name[at..]);
            tails.chain([""]).any(|tail| like(rest, tail))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn everything_that_moved_is_told_apart() {
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
        let moved: Vec<String> = before
            .diff(&after, &[])
            .iter()
            .map(Moved::to_string)
            .collect();
        assert_eq!(
            moved,
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
        assert_eq!(before.diff(&before, &[]), []);
        assert_eq!(before.diff(&after, &["shop.%".into()]), []);
        // `%` is any run of characters, `_` is itself.
        let churn = ["shop.a".into(), "s%.%d".into(), "shop.ne_".into()];
        assert_eq!(before.diff(&after, &churn).len(), 2);
    }

    #[test]
    fn what_existed_throughout_must_have_been_seen() {
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
            fold: true,
            ..before
        };
        assert_eq!(folded.missing_from(&after, &seen), []);
    }
}
