//! Part of a backup to restore, and the names of its schemas on the destination.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::sql::session::Session;
use crate::sql::statement::{Kind, ObjectId, ObjectKind, Statement};
use crate::util::error::{Error, Result};

/// The objects to restore, and how they are renamed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Selected tables, views and sequences (schema, name); empty for the whole backup.
    pub tables: BTreeSet<(String, String)>,
    /// Renamed schemas: name in the backup to name on the destination.
    pub rename: BTreeMap<String, String>,
}

const LIST_HINT: &str = "see drctl show --objects for the objects of the backup";

impl Scope {
    /// Renames a schema; rejects (exit 2) an invalid name and a schema that is renamed twice.
    pub fn rename_to(&mut self, old: &str, new: &str) -> Result<()> {
        if let Some(why) = invalid_name(new) {
            return Err(Error::usage(format!(
                "--rename {old}={new:?}: invalid schema name: {why}"
            ))
            .hint(format!("choose another name: --rename {old}=<name>")));
        }
        match self.rename.insert(old.to_owned(), new.to_owned()) {
            None => Ok(()),
            Some(_) => Err(Error::usage(format!(
                "--rename is given twice for schema {old}"
            ))),
        }
    }

    /// Whether the whole backup is restored.
    pub fn is_everything(&self) -> bool {
        self.tables.is_empty()
    }

    /// Name on the destination of a schema of the backup.
    pub fn mapped_schema<'a>(&'a self, schema: &'a str) -> &'a str {
        self.rename.get(schema).map_or(schema, String::as_str)
    }

    /// A session of the dump, with the name of its schema on the destination.
    pub fn mapped_session(&self, session: &Arc<Session>) -> Arc<Session> {
        let Some(schema) = session.schema().and_then(|schema| self.rename.get(schema)) else {
            return session.clone();
        };
        let mut mapped = Session::clone(session);
        let kind = Kind::Use {
            schema: schema.clone(),
        };
        mapped.apply(&Statement {
            text: b"",
            sql: b"",
            kind,
        });
        Arc::new(mapped)
    }

    /// Name on the destination of an object of the backup.
    pub fn mapped_name(&self, object: &ObjectId) -> ObjectId {
        ObjectId {
            schema: self.mapped_schema(&object.schema).to_owned(),
            ..object.clone()
        }
    }

    /// Whether an object of the backup is restored. A trigger is restored with its table
    /// (`trigger_table`), routines and events only with the whole backup.
    pub fn includes(&self, object: &ObjectId, trigger_table: Option<&str>) -> bool {
        let selected = |name: &str| {
            self.tables
                .contains(&(object.schema.clone(), name.to_owned()))
        };
        self.is_everything()
            || match object.kind {
                ObjectKind::Schema => self.includes_schema(&object.schema),
                ObjectKind::Table | ObjectKind::View | ObjectKind::Sequence => {
                    selected(&object.name)
                }
                ObjectKind::Trigger => trigger_table.is_some_and(selected),
                _ => false,
            }
    }

    /// Whether any object in a schema of the backup is restored.
    pub fn includes_schema(&self, schema: &str) -> bool {
        self.is_everything() || self.tables.iter().any(|(of, _)| of == schema)
    }

    /// Whether a table of the backup is restored.
    pub fn includes_table(&self, schema: &str, name: &str) -> bool {
        self.is_everything() || self.tables.contains(&(schema.to_owned(), name.to_owned()))
    }

    /// Rejects tables and schemas that are not in the backup (exit 3), and names that collide (exit 2).
    pub fn check<'a>(&self, objects: impl Iterator<Item = &'a ObjectId> + Clone) -> Result<()> {
        for (schema, name) in &self.tables {
            let named = |object: &ObjectId| {
                object.schema == *schema
                    && object.name == *name
                    && matches!(
                        object.kind,
                        ObjectKind::Table | ObjectKind::View | ObjectKind::Sequence
                    )
            };
            if !objects.clone().any(named) {
                return Err(
                    Error::nothing(format!("the backup has no table {schema}.{name}"))
                        .hint(LIST_HINT),
                );
            }
        }
        let schemas: BTreeSet<&str> = objects.map(|object| object.schema.as_str()).collect();
        for (old, new) in &self.rename {
            if !schemas.contains(old.as_str()) {
                return Err(
                    Error::nothing(format!("the backup has no schema {old}")).hint(LIST_HINT)
                );
            }
            let exists = schemas.contains(new.as_str()) && !self.rename.contains_key(new);
            let twice = self.rename.values().filter(|other| *other == new).count() > 1;
            if exists || twice {
                return Err(Error::usage(format!("two schemas would be named {new}"))
                    .hint("choose a name that is not in the backup"));
            }
        }
        Ok(())
    }
}

/// Why a name is not valid for a schema on any server; `None` if it is.
fn invalid_name(name: &str) -> Option<String> {
    const MAX_CHARS: usize = 64;
    let chars = name.chars().count();
    let beyond = |c: &char| *c > '\u{ffff}';
    Some(match name.chars().last() {
        None => "it is empty".to_owned(),
        Some(last) if last.is_ascii_whitespace() || last == '\u{b}' => {
            "it ends in whitespace".to_owned()
        }
        _ if chars > MAX_CHARS => {
            format!("it has {chars} characters, the maximum is {MAX_CHARS}")
        }
        _ if name.contains('\0') => "it contains a NUL character".to_owned(),
        _ if name.chars().any(|c| beyond(&c)) => {
            "it contains characters beyond U+FFFF, such as emoji".to_owned()
        }
        _ if name.starts_with("#mysql50#") => {
            "the prefix #mysql50# is reserved for directory names of version 5.0".to_owned()
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(tables: &[(&str, &str)], rename: &[(&str, &str)]) -> Scope {
        let owned = |pair: &(&str, &str)| (pair.0.to_owned(), pair.1.to_owned());
        Scope {
            tables: tables.iter().map(owned).collect(),
            rename: rename.iter().map(owned).collect(),
        }
    }

    fn objects() -> Vec<ObjectId> {
        vec![
            ObjectId::schema("a"),
            ObjectId::schema("b"),
            ObjectId::table("a", "t"),
            ObjectId::new(ObjectKind::Procedure, "a", "p"),
        ]
    }

    #[test]
    fn a_selection_that_is_not_in_the_backup_is_rejected() {
        let all = objects();
        for wrong in [
            scope(&[("a", "u")], &[]),
            scope(&[("a", "p")], &[]),
            scope(&[], &[("c", "d")]),
        ] {
            assert_eq!(
                wrong.check(all.iter()).unwrap_err().outcome().code(),
                3,
                "{wrong:?}"
            );
        }
        for wrong in [
            scope(&[], &[("a", "b")]),
            scope(&[], &[("a", "c"), ("b", "c")]),
        ] {
            assert_eq!(
                wrong.check(all.iter()).unwrap_err().outcome().code(),
                2,
                "{wrong:?}"
            );
        }
        assert!(
            scope(&[("a", "t")], &[("a", "b"), ("b", "a")])
                .check(all.iter())
                .is_ok()
        );
    }

    #[test]
    fn a_schema_is_never_renamed_to_an_invalid_name() {
        let wrong = ["", "a ", "a\t", "a\0b", "😀", "#mysql50#a", &"ü".repeat(65)];
        for new in wrong {
            let error = Scope::default().rename_to("shop", new).unwrap_err();
            assert_eq!(error.outcome().code(), 2, "{new:?}");
            assert!(error.to_string().contains("--rename shop="), "{error}");
        }
        for new in [
            " a",
            "a b",
            "a.b",
            "a/b",
            "\u{ffee}",
            "a`b",
            &"ü".repeat(64),
        ] {
            assert!(Scope::default().rename_to("shop", new).is_ok(), "{new:?}");
        }
        let mut twice = Scope::default();
        twice.rename_to("shop", "a").unwrap();
        assert!(twice.rename_to("shop", "b").is_err());
    }

    #[test]
    fn selected_tables_include_their_schema_and_triggers_and_nothing_else() {
        let scope = scope(&[("a", "t")], &[("a", "x")]);
        let trigger = ObjectId::new(ObjectKind::Trigger, "a", "tr");
        assert!(scope.includes(&ObjectId::schema("a"), None));
        assert!(scope.includes(&trigger, Some("t")));
        for (object, table) in [
            (trigger, Some("u")),
            (ObjectId::schema("b"), None),
            (ObjectId::new(ObjectKind::Procedure, "a", "t"), None),
            (ObjectId::table("b", "t"), None),
        ] {
            assert!(!scope.includes(&object, table), "{object}");
        }
        assert_eq!(
            scope.mapped_name(&ObjectId::table("a", "t")),
            ObjectId::table("x", "t")
        );
    }
}
