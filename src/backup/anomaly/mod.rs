//! Whether a new backup is suspect. Pure.
//!
//! A complete dump of wrong data is the most dangerous backup: it is newer than the good one and looks the same. A
//! suspect backup is kept, since it may be the only one, but until an operator accepts it, it is neither selected nor
//! counted by retention.

pub mod baseline;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::sql::statement::quote;
use crate::util::format::{counted, some_of};
use crate::util::times::{after, minutes};

/// The facts by which backups are compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Identity of the server.
    pub identity: String,
    /// The names; `None` of an encrypted backup, which a later one cannot read.
    pub names: Option<Names>,
    /// Number of schemas.
    pub schemas: u64,
    /// Number of tables.
    pub tables: u64,
    /// Number of entries of a kind other than MySQL.
    pub entries: u64,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// Whether it is signed.
    pub signed: bool,
    /// Number of rows of all tables.
    pub rows: u64,
    /// Bytes of SQL.
    pub raw_bytes: u64,
    /// Time of the snapshot, by the server's clock.
    pub snapshot_at: Timestamp,
}

/// The names by which backups are compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// The schemas.
    pub schemas: BTreeSet<String>,
    /// Schema and name of each table.
    pub tables: BTreeSet<(String, String)>,
}

/// The identity of the target's server: that of the backup with which new ones are compared, otherwise the one that the
/// target was bound to. By accepting a backup of a new server, an operator confirms that the target moved there.
pub fn known<'a>(bound: &'a str, before: Option<&'a str>) -> &'a str {
    before.unwrap_or(bound)
}

/// How far the server's clock may be ahead of this host's.
const MAX_AHEAD: SignedDuration = minutes(2);

/// Why the backup `new` is suspect; empty if it is not.
///
/// `bound` is the identity that the target was bound to, `succeeds` the servers whose log goes on in that of this one
/// without a gap, `before` the backup to compare with ([`baseline`]),
/// `shrink_limit` the share of rows or bytes that may be lost, 0 to 1, and `now` the time of this host.
pub fn reasons(
    new: &Facts,
    bound: &str,
    succeeds: &BTreeSet<String>,
    before: Option<&Facts>,
    shrink_limit: f64,
    now: Timestamp,
) -> Vec<String> {
    let mut reasons = Vec::new();
    // All later backups would seem older.
    if new.snapshot_at > after(now, MAX_AHEAD) {
        reasons.push(format!(
            "its snapshot is in the future: {}",
            new.snapshot_at
        ));
    }
    let known = known(bound, before.map(|before| before.identity.as_str()));
    if new.identity != known && !succeeds.contains(known) {
        reasons.push(format!(
            "the server is {}; earlier backups are from {known}",
            new.identity
        ));
    }
    let Some(before) = before else { return reasons };
    if new.snapshot_at < before.snapshot_at {
        let (this, that) = (new.snapshot_at, before.snapshot_at);
        reasons.push(format!(
            "its snapshot of {this} is older than the previous one of {that}"
        ));
    }
    for (then, now, how) in [
        (before.encrypted, new.encrypted, "encrypted"),
        (before.signed, new.signed, "signed"),
    ] {
        if then && !now {
            reasons.push(format!("it is not {how}; the previous one is"));
        }
    }
    match (&new.names, &before.names) {
        (Some(new), Some(before)) => reasons.extend(gone(new, before)),
        _ => {
            for (noun, then, now) in [
                ("schema", before.schemas, new.schemas),
                ("table", before.tables, new.tables),
            ] {
                if now < then {
                    reasons.push(format!("{}, {then} before", counted(now, noun)));
                }
            }
        }
    }
    for (noun, of_what, then, now) in [
        ("row", "", before.rows, new.rows),
        ("object", "", before.entries, new.entries),
        ("byte", " dumped", before.raw_bytes, new.raw_bytes),
    ] {
        let least = then as f64 * (1.0 - shrink_limit);
        if (now as f64) < least {
            reasons.push(format!("{}{of_what}, {then} before", counted(now, noun)));
        }
    }
    reasons
}

/// What an earlier backup has and the new one does not.
fn gone(new: &Names, before: &Names) -> impl Iterator<Item = String> {
    let schemas = before.schemas.difference(&new.schemas);
    let schemas = vanished("schema", schemas.map(|schema| quote(schema)));
    let tables = before.tables.difference(&new.tables);
    let tables = tables.filter(|(schema, _)| new.schemas.contains(schema));
    let tables = tables.map(|(schema, table)| format!("{}.{}", quote(schema), quote(table)));
    schemas.into_iter().chain(vanished("table", tables))
}

fn vanished(what: &str, names: impl Iterator<Item = String>) -> Option<String> {
    let names: Vec<String> = names.collect();
    match names.as_slice() {
        [] => None,
        [one] => Some(format!("{what} {one} vanished")),
        many => Some(format!(
            "{} {what}s vanished: {}",
            many.len(),
            some_of(many)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn a_snapshot_in_the_future_or_before_the_last_one_is_suspect() {
        let at = |seconds| Facts {
            snapshot_at: Timestamp::from_second(seconds).unwrap(),
            ..facts()
        };
        for (new, before, suspect) in [
            (0, 0, 0),
            (120, 0, 0),
            (121, 0, 1),
            (50, 60, 1),
            (121, 122, 2),
        ] {
            let found = reasons(&at(new), "a", &BTreeSet::new(), Some(&at(before)), 0.5, NOW);
            assert_eq!(found.len(), suspect, "{found:?}");
        }
    }

    fn facts() -> Facts {
        Facts {
            identity: "a".into(),
            names: Some(Names {
                schemas: ["shop".to_owned(), "log".to_owned()].into(),
                tables: [
                    ("shop".to_owned(), "orders".to_owned()),
                    ("log".to_owned(), "l".to_owned()),
                ]
                .into(),
            }),
            schemas: 2,
            tables: 2,
            entries: 0,
            encrypted: false,
            signed: false,
            rows: 1000,
            raw_bytes: 100_000,
            snapshot_at: NOW,
        }
    }

    #[test]
    fn a_backup_like_the_one_before_is_not_suspect() {
        assert_eq!(
            reasons(&facts(), "a", &BTreeSet::new(), Some(&facts()), 0.5, NOW),
            Vec::<String>::new()
        );
        assert_eq!(
            reasons(&facts(), "a", &BTreeSet::new(), None, 0.5, NOW),
            Vec::<String>::new()
        );
    }

    #[test]
    fn another_server_is_suspect_even_at_the_second_backup() {
        assert_eq!(
            reasons(&facts(), "b", &BTreeSet::new(), None, 0.5, NOW),
            ["the server is a; earlier backups are from b"]
        );
        let before = Facts {
            identity: "b".into(),
            ..facts()
        };
        let succeeds = ["b".to_owned()].into();
        let moved = reasons(&facts(), "b", &succeeds, Some(&before), 0.5, NOW);
        assert_eq!(moved, Vec::<String>::new(), "the log goes on in it");
        let succeeds = ["c".to_owned()].into();
        assert_eq!(reasons(&facts(), "b", &succeeds, None, 0.5, NOW).len(), 1);
        assert_eq!(
            reasons(&facts(), "b", &BTreeSet::new(), Some(&before), 0.5, NOW).len(),
            1
        );
    }

    #[test]
    fn an_accepted_backup_of_a_new_server_determines_the_identity() {
        assert_eq!(
            reasons(
                &facts(),
                "the first server",
                &BTreeSet::new(),
                Some(&facts()),
                0.5,
                NOW
            ),
            Vec::<String>::new()
        );
    }

    #[test]
    fn tables_of_a_vanished_schema_are_not_listed() {
        let without = |schema: &str, table: &str| {
            let mut new = facts();
            let names = new.names.as_mut().unwrap();
            names.schemas.remove(schema);
            names.tables.retain(|(_, name)| name != table);
            new
        };
        let new = without("log", "l");
        assert_eq!(
            reasons(&new, "a", &BTreeSet::new(), Some(&facts()), 0.5, NOW),
            ["schema `log` vanished"]
        );
        let new = without("", "orders");
        assert_eq!(
            reasons(&new, "a", &BTreeSet::new(), Some(&facts()), 0.5, NOW),
            ["table `shop`.`orders` vanished"]
        );
    }

    #[test]
    fn of_an_encrypted_backup_the_numbers_are_compared() {
        let unnamed = |schemas, tables| Facts {
            names: None,
            schemas,
            tables,
            ..facts()
        };
        for (new, before) in [
            (unnamed(1, 1), facts()),
            (unnamed(1, 1), unnamed(2, 2)),
            (
                Facts {
                    schemas: 1,
                    tables: 1,
                    ..facts()
                },
                unnamed(2, 2),
            ),
        ] {
            let found = reasons(&new, "a", &BTreeSet::new(), Some(&before), 0.5, NOW);
            assert_eq!(found, ["1 schema, 2 before", "1 table, 2 before"]);
        }
        let none: [String; 0] = [];
        assert_eq!(
            reasons(
                &unnamed(2, 3),
                "a",
                &BTreeSet::new(),
                Some(&facts()),
                0.5,
                NOW
            ),
            none
        );
    }

    #[test]
    fn a_backup_without_the_protection_of_the_one_before_is_suspect() {
        let protected = Facts {
            encrypted: true,
            signed: true,
            ..facts()
        };
        let found = reasons(&facts(), "a", &BTreeSet::new(), Some(&protected), 0.5, NOW);
        let words =
            ["encrypted", "signed"].map(|how| format!("it is not {how}; the previous one is"));
        assert_eq!(found, words);
        let none: [String; 0] = [];
        assert_eq!(
            reasons(&protected, "a", &BTreeSet::new(), Some(&facts()), 0.5, NOW),
            none
        );
    }

    #[test]
    fn only_a_loss_above_the_limit_is_suspect() {
        let new = Facts {
            rows: 499,
            ..facts()
        };
        assert_eq!(
            reasons(&new, "a", &BTreeSet::new(), Some(&facts()), 0.5, NOW),
            ["499 rows, 1000 before"]
        );
        let new = Facts {
            rows: 500,
            raw_bytes: 50_000,
            ..facts()
        };
        assert_eq!(
            reasons(&new, "a", &BTreeSet::new(), Some(&facts()), 0.5, NOW),
            Vec::<String>::new()
        );
        let new = Facts {
            raw_bytes: 10,
            ..facts()
        };
        assert_eq!(
            reasons(&new, "a", &BTreeSet::new(), Some(&facts()), 0.5, NOW),
            ["10 bytes dumped, 100000 before"]
        );
    }
}
