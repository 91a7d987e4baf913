//! Existing schemas whose default collation differs from that in the backup, when part of a backup is
//! restored into them.
//!
//! A trigger keeps the default collation that its schema has when it is created. A dump alters the schema
//! around a trigger only if the trigger's collation differs from the default of the dumped schema, so in a
//! schema with another default neither the server nor the comparison could detect the wrong collation. A
//! restore of the whole backup changes the default; a partial restore does not, and is refused.

use std::collections::BTreeSet;

use crate::restore::inspect::destination::{DestinationFacts, ExistingDefault};
use crate::restore::inspect::refusal::Refusal;
use crate::restore::inspect::survey::Survey;
use crate::sql::statement::{ObjectId, ObjectKind, quote};
use crate::sql::tokens::Tokens;
use crate::util::format::some_of;

/// Default character set and collation of a schema in the dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpedDefault {
    charset: String,
    /// `None` for the default collation of the character set.
    collation: Option<String>,
}

impl DumpedDefault {
    /// Parses a CREATE DATABASE of the dump; `None` if it has no character set.
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

    fn equals(&self, existing: &ExistingDefault) -> bool {
        match &self.collation {
            Some(collation) => current_name(collation) == current_name(&existing.collation),
            None => {
                current_name(&self.charset) == current_name(&existing.charset)
                    && existing.of_charset
            }
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

/// Before MySQL 8.0.30 and MariaDB 10.6, utf8mb3 is named utf8.
fn current_name(name: &str) -> String {
    match name.strip_prefix("utf8") {
        Some(rest) if rest.is_empty() || rest.starts_with('_') => format!("utf8mb3{rest}"),
        _ => name.to_owned(),
    }
}

/// Schemas in which triggers would be created with the wrong collation.
pub fn refusals(
    facts: &DestinationFacts,
    survey: &Survey,
    created_before: &BTreeSet<ObjectId>,
) -> Vec<Refusal> {
    let folded = |schema: &str| facts.folded(&ObjectId::schema(schema));
    let mut all = Vec::new();
    for (schema, existing) in &facts.schemas {
        let is_same = |other: &str| folded(other) == folded(schema);
        let Some((_, dumped)) = survey.schemas.iter().find(|(other, _)| is_same(other)) else {
            continue;
        };
        let triggers: Vec<&ObjectId> = survey
            .creates
            .iter()
            .filter(|object| object.kind == ObjectKind::Trigger && is_same(&object.schema))
            .collect();
        let created = created_before
            .iter()
            .any(|object| object.kind == ObjectKind::Schema && is_same(&object.schema));
        if dumped.equals(existing) || triggers.is_empty() || created {
            continue;
        }
        let (quoted, clause) = (quote(schema), dumped.clause());
        all.push(Refusal::new(
            format!(
                "the default collation of the schema {quoted} is {}, it was {clause} on the target, and is used by \
                 triggers: {}",
                existing.collation,
                some_of(triggers.into_iter()),
            ),
            format!("ALTER DATABASE {quoted} {clause}, or restore the whole backup"),
        ));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn existing(charset: &str, collation: &str, of_charset: bool) -> ExistingDefault {
        ExistingDefault {
            charset: charset.to_owned(),
            collation: collation.to_owned(),
            of_charset,
        }
    }

    #[test]
    fn the_default_of_a_schema_is_parsed_from_its_definition() {
        let named = |options: &str| {
            let sql = format!("CREATE DATABASE /*!32312 IF NOT EXISTS*/ `COLLATE x` {options}");
            DumpedDefault::of(sql.as_bytes())
        };
        let both = named("/*!40100 DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */").unwrap();
        assert_eq!(both.clause(), "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin");
        assert!(both.equals(&existing("utf8mb4", "utf8mb4_bin", false)));
        assert!(!both.equals(&existing("utf8mb4", "utf8mb4_general_ci", true)));
        let one = named("/*!40100 DEFAULT CHARACTER SET latin1 */ COMMENT 'COLLATE x'").unwrap();
        assert_eq!(one.clause(), "CHARACTER SET latin1");
        assert!(one.equals(&existing("latin1", "latin1_swedish_ci", true)));
        assert!(!one.equals(&existing("latin1", "latin1_bin", false)));
        assert!(!one.equals(&existing("latin2", "latin2_general_ci", true)));
        assert_eq!(named(""), None);
    }

    #[test]
    fn old_and_new_names_of_a_character_set_are_equal() {
        let old = DumpedDefault {
            charset: "utf8".into(),
            collation: Some("utf8_bin".into()),
        };
        assert!(old.equals(&existing("utf8mb3", "utf8mb3_bin", false)));
        assert!(!old.equals(&existing("utf8mb4", "utf8mb4_bin", false)));
    }
}
