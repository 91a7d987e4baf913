//! Schemas that are there before a part of a backup is restored into them, with another default
//! collation than the backup's.
//!
//! A trigger is made under its schema's collation of the moment, and keeps it. A dump alters the schema
//! around a trigger only where that differs from what the schema had there, so in a schema that has
//! something else neither the server nor the proof could tell what was meant. A restore of everything
//! gives a schema the dump's; a part leaves it alone, and is refused.

use std::collections::{BTreeMap, BTreeSet};

use crate::apply::facts::{MetDefault, TargetFacts};
use crate::apply::refusal::{Refusal, some_of};
use crate::sql::statement::{ObjectId, ObjectKind, quote};
use crate::sql::tokens::Tokens;

/// What a schema of a dump gives to what is made in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpedDefault {
    charset: String,
    /// Absent where it is the character set's own.
    collation: Option<String>,
}

impl DumpedDefault {
    /// What a CREATE DATABASE of a dump names; `None` where it names no character set.
    pub fn of(create: &[u8]) -> Option<DumpedDefault> {
        let after = |words: &[&str]| {
            let mut tokens = Tokens::new(create);
            while !tokens.eat_all(words) {
                tokens.next()?;
            }
            tokens.next()?.name()?
        };
        Some(DumpedDefault {
            charset: after(&["CHARACTER", "SET"])?,
            collation: after(&["COLLATE"]),
        })
    }

    fn is(&self, met: &MetDefault) -> bool {
        match &self.collation {
            Some(collation) => spelled_now(collation) == spelled_now(&met.collation),
            None => spelled_now(&self.charset) == spelled_now(&met.charset) && met.of_charset,
        }
    }

    fn clause(&self) -> String {
        let charset = format!("CHARACTER SET {}", self.charset);
        match &self.collation {
            Some(collation) => format!("{charset} COLLATE {collation}"),
            None => charset,
        }
    }
}

/// Servers of before MySQL 8.0.30 and MariaDB 10.6 call utf8mb3 utf8.
fn spelled_now(name: &str) -> String {
    match name.strip_prefix("utf8") {
        Some(rest) if rest.is_empty() || rest.starts_with('_') => format!("utf8mb3{rest}"),
        _ => name.to_owned(),
    }
}

/// Schemas that would give triggers, as a part is restored into them, another collation than they had.
pub fn refusals(
    facts: &TargetFacts,
    dumped: &BTreeMap<String, DumpedDefault>,
    creates: &BTreeSet<ObjectId>,
    made: &BTreeSet<ObjectId>,
) -> Vec<Refusal> {
    let made: BTreeSet<ObjectId> = made.iter().map(|one| facts.folded(one)).collect();
    let there = facts.schemas.iter().filter_map(|(schema, met)| {
        let folded = facts.folded(&ObjectId::schema(schema));
        let is_it = |other: &str| facts.folded(&ObjectId::schema(other)) == folded;
        let (_, dumped) = dumped.iter().find(|(dumped, _)| is_it(dumped))?;
        let triggers = creates
            .iter()
            .filter(|object| object.kind == ObjectKind::Trigger && is_it(&object.schema));
        let triggers: Vec<&ObjectId> = triggers.collect();
        let refused = !dumped.is(met) && !triggers.is_empty() && !made.contains(&folded);
        refused.then(|| {
            Refusal::new(
                format!(
                    "the schema {schema} has the default collation {} and in the backup {}, \
                     under which triggers are made: {}",
                    met.collation,
                    dumped.clause(),
                    some_of(triggers.into_iter()),
                    schema = quote(schema),
                ),
                format!(
                    "ALTER DATABASE {} {}, or restore everything",
                    quote(schema),
                    dumped.clause()
                ),
            )
        })
    });
    there.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(charset: &str, collation: &str, of_charset: bool) -> MetDefault {
        MetDefault {
            charset: charset.to_owned(),
            collation: collation.to_owned(),
            of_charset,
        }
    }

    #[test]
    fn a_schema_is_what_a_dump_names_and_nothing_else() {
        let named = |options: &str| {
            let sql = format!("CREATE DATABASE /*!32312 IF NOT EXISTS*/ `COLLATE x` {options}");
            DumpedDefault::of(sql.as_bytes())
        };
        let both = named("/*!40100 DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */").unwrap();
        assert_eq!(both.clause(), "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin");
        assert!(both.is(&met("utf8mb4", "utf8mb4_bin", false)));
        assert!(!both.is(&met("utf8mb4", "utf8mb4_general_ci", true)));
        let one = named("/*!40100 DEFAULT CHARACTER SET latin1 */ COMMENT 'COLLATE x'").unwrap();
        assert_eq!(one.clause(), "CHARACTER SET latin1");
        assert!(one.is(&met("latin1", "latin1_swedish_ci", true)));
        assert!(!one.is(&met("latin1", "latin1_bin", false)));
        assert!(!one.is(&met("latin2", "latin2_general_ci", true)));
        assert_eq!(named(""), None);
    }

    #[test]
    fn two_names_of_one_character_set_are_one() {
        let old = DumpedDefault {
            charset: "utf8".into(),
            collation: Some("utf8_bin".into()),
        };
        assert!(old.is(&met("utf8mb3", "utf8mb3_bin", false)));
        assert!(!old.is(&met("utf8mb4", "utf8mb4_bin", false)));
    }
}
