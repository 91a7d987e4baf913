//! Whether a new backup must be distrusted: pure, so that every rule can be tried.
//!
//! A whole dump of the wrong thing is the most dangerous backup of all: it is newer than the good
//! one and looks just as well. Such a backup is kept, since it may be all there is, but never
//! chosen, counted or pruned for until a person has accepted it.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::sql::statement::quote;
use crate::times::{after, minutes};
use crate::words::counted;

/// What of a backup the judgement looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The server's identity.
    pub identity: String,
    /// Schemas in it.
    pub schemas: BTreeSet<String>,
    /// Tables in it: schema and name.
    pub tables: BTreeSet<(String, String)>,
    /// Rows in all of them.
    pub rows: u64,
    /// Bytes of SQL.
    pub raw_bytes: u64,
    /// The time of its snapshot, by the server's clock.
    pub snapshot_at: Timestamp,
}

/// The server that a target is: that of the backup which new ones are judged against, else the one that it was
/// bound to. Accepting a backup of a new server is how a person says that the target moved there.
pub fn known<'a>(bound: &'a str, before: Option<&'a str>) -> &'a str {
    before.unwrap_or(bound)
}

/// How far ahead of this host's clock the server's may be.
const AHEAD: SignedDuration = minutes(2);

/// Why `new` is suspect; empty for a good one.
///
/// `bound` is the identity that the target was bound to, `before` the newest backup that was verified or
/// accepted, else the newest trusted one. `shrink_limit` is the share of rows or bytes that may be lost, 0
/// to 1; `now` is this host's time.
pub fn reasons(
    new: &Facts,
    bound: &str,
    before: Option<&Facts>,
    shrink_limit: f64,
    now: Timestamp,
) -> Vec<String> {
    let mut reasons = Vec::new();
    // From such a snapshot on, every later and better one would look older.
    if new.snapshot_at > after(now, AHEAD) {
        reasons.push(format!(
            "its snapshot is in the future: {}",
            new.snapshot_at
        ));
    }
    let known = known(bound, before.map(|before| before.identity.as_str()));
    if new.identity != known {
        reasons.push(format!(
            "the server is {}, not {known} as before",
            new.identity
        ));
    }
    let Some(before) = before else { return reasons };
    if new.snapshot_at < before.snapshot_at {
        let (this, that) = (new.snapshot_at, before.snapshot_at);
        reasons.push(format!(
            "its snapshot is of {this}, the one before is of {that}"
        ));
    }
    let schemas = before.schemas.difference(&new.schemas);
    reasons.extend(vanished("schema", schemas.map(|schema| quote(schema))));
    let tables = before.tables.difference(&new.tables);
    let tables = tables.filter(|(schema, _)| new.schemas.contains(schema));
    reasons.extend(vanished(
        "table",
        tables.map(|(schema, table)| format!("{}.{}", quote(schema), quote(table))),
    ));
    for (noun, of_what, then, now) in [
        ("row", "", before.rows, new.rows),
        ("byte", " of SQL", before.raw_bytes, new.raw_bytes),
    ] {
        let least = then as f64 * (1.0 - shrink_limit);
        if (now as f64) < least {
            reasons.push(format!("{}{of_what}, {then} before", counted(now, noun)));
        }
    }
    reasons
}

fn vanished(what: &str, names: impl Iterator<Item = String>) -> Option<String> {
    const SHOWN: usize = 5;
    let names: Vec<String> = names.collect();
    let more = names.len().saturating_sub(SHOWN);
    match names.as_slice() {
        [] => None,
        [one] => Some(format!("{what} {one} vanished")),
        many => {
            let shown = many[..many.len() - more].join(", ");
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            Some(format!("{} {what}s vanished: {shown}{more}", many.len()))
        }
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
            let found = reasons(&at(new), "a", Some(&at(before)), 0.5, NOW);
            assert_eq!(found.len(), suspect, "{found:?}");
        }
    }

    fn facts() -> Facts {
        Facts {
            identity: "a".into(),
            schemas: ["shop".to_owned(), "log".to_owned()].into(),
            tables: [
                ("shop".to_owned(), "orders".to_owned()),
                ("log".to_owned(), "l".to_owned()),
            ]
            .into(),
            rows: 1000,
            raw_bytes: 100_000,
            snapshot_at: NOW,
        }
    }

    #[test]
    fn a_backup_like_the_one_before_is_not_suspect() {
        assert_eq!(
            reasons(&facts(), "a", Some(&facts()), 0.5, NOW),
            Vec::<String>::new()
        );
        assert_eq!(reasons(&facts(), "a", None, 0.5, NOW), Vec::<String>::new());
    }

    #[test]
    fn another_server_is_suspect_even_at_the_second_backup() {
        assert_eq!(
            reasons(&facts(), "b", None, 0.5, NOW),
            ["the server is a, not b as before"]
        );
        let before = Facts {
            identity: "b".into(),
            ..facts()
        };
        assert_eq!(reasons(&facts(), "b", Some(&before), 0.5, NOW).len(), 1);
    }

    #[test]
    fn an_accepted_backup_of_a_new_server_settles_who_the_target_is() {
        assert_eq!(
            reasons(&facts(), "the first server", Some(&facts()), 0.5, NOW),
            Vec::<String>::new()
        );
    }

    #[test]
    fn what_vanished_is_named_once() {
        let mut new = facts();
        new.schemas.remove("log");
        new.tables.remove(&("log".to_owned(), "l".to_owned()));
        assert_eq!(
            reasons(&new, "a", Some(&facts()), 0.5, NOW),
            ["schema `log` vanished"]
        );
        let mut new = facts();
        new.tables.remove(&("shop".to_owned(), "orders".to_owned()));
        assert_eq!(
            reasons(&new, "a", Some(&facts()), 0.5, NOW),
            ["table `shop`.`orders` vanished"]
        );
    }

    #[test]
    fn more_than_the_limit_gone_is_suspect_and_less_is_not() {
        let new = Facts {
            rows: 499,
            ..facts()
        };
        assert_eq!(
            reasons(&new, "a", Some(&facts()), 0.5, NOW),
            ["499 rows, 1000 before"]
        );
        let new = Facts {
            rows: 500,
            raw_bytes: 50_000,
            ..facts()
        };
        assert_eq!(
            reasons(&new, "a", Some(&facts()), 0.5, NOW),
            Vec::<String>::new()
        );
        let new = Facts {
            raw_bytes: 10,
            ..facts()
        };
        assert_eq!(
            reasons(&new, "a", Some(&facts()), 0.5, NOW),
            ["10 bytes of SQL, 100000 before"]
        );
    }
}
