//! What a restore is asked to do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::apply::lane::RECONNECT_WAIT;
use crate::error::{Error, Result};
use crate::sql::definer::Account;
use crate::sql::session::Session;
use crate::sql::statement::{Kind, ObjectId, ObjectKind, Statement};

/// How a restore goes about it. The default refuses whatever could harm the server.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// What of the backup, and under which names.
    pub scope: Scope,
    /// How many connections load rows and build keys.
    pub lanes: usize,
    /// Replace objects that exist; the command has made sure that its user means it.
    pub overwrite: bool,
    /// What of the archive is checked beyond the frames that are executed, and when.
    pub check: Check,
    /// Create the accounts of the backup first.
    pub accounts: bool,
    /// Restore although others are connected.
    pub allow_connections: bool,
    /// Restore into a replica or a read-only server.
    pub allow_replica: bool,
    /// Restore into a member of a Group Replication or Galera cluster.
    pub allow_cluster: bool,
    /// The account that stands for definers that the server does not have.
    pub substitute_definer: Option<Account>,
    /// Drop what an unfinished restore made, and begin anew; the command has made sure that its user
    /// means it.
    pub discard: bool,
    /// Compare the restored data with the dump.
    pub prove: bool,
    /// The server is thrown away afterwards: nobody may log in to it with the accounts of the
    /// backup, which are made locked, and definers that the backup has no account of are made up.
    pub scratch: bool,
    /// Which settings of the server are changed while it is restored.
    pub tuning: Tuning,
    /// Write the restore to the binary log, for replicas and point-in-time recovery.
    pub binlog: bool,
    /// How long the server may take to come back where it has gone away.
    pub reconnect: Duration,
    /// Bytes of frames that may be in memory at any time; see [`crate::apply::read_ahead`].
    pub memory_bytes: usize,
}

impl Default for RestoreOptions {
    fn default() -> Self {
        RestoreOptions {
            scope: Scope::default(),
            lanes: std::thread::available_parallelism()
                .map_or(2, usize::from)
                .clamp(2, 8),
            overwrite: false,
            check: Check::Executed,
            accounts: false,
            allow_connections: false,
            allow_replica: false,
            allow_cluster: false,
            substitute_definer: None,
            discard: false,
            prove: true,
            scratch: false,
            tuning: Tuning::Keep,
            binlog: true,
            reconnect: RECONNECT_WAIT,
            memory_bytes: 40 << 20,
        }
    }
}

/// How an archive is checked. No byte of a damaged frame is ever executed, whichever it is: each frame is
/// held against the index, which is verified whole, before the server gets anything of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Check {
    /// The frames that are executed: for what was restored before.
    #[default]
    Executed,
    /// The whole archive, while it is loaded: damage ends the restore where it is met. What was restored up
    /// to there is new on the server, and can be dropped.
    Loading,
    /// The whole archive before anything is executed: nothing is dropped for a backup that cannot take its
    /// place. It is read twice.
    First,
}

impl Check {
    /// What it means, for the plan.
    pub fn says(self) -> &'static str {
        match self {
            Check::Executed => "each frame before it is executed",
            Check::Loading => {
                "each frame before it is executed, and the whole backup while it is loaded (--check-first \
                 reads it to its end before anything is changed)"
            }
            Check::First => "the whole backup, read to its end before anything is changed",
        }
    }
}

/// Which settings of the server are changed while it is restored; all are put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tuning {
    /// None but those of the restore's own connections.
    #[default]
    Keep,
    /// Flushing: a crash of the machine during the restore may cost committed transactions.
    FastUnsafe,
    /// Flushing and the redo log: a crash costs the server. For throw-away servers alone.
    Scratch,
}

/// What of a backup is restored, and under which names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Schema and name of the chosen tables (views and sequences too); empty for everything.
    pub tables: BTreeSet<(String, String)>,
    /// Schemas that get another name.
    pub rename: BTreeMap<String, String>,
}

/// Where the names stand.
const LISTS: &str = "see drctl show --objects with the same backup for what it has";

impl Scope {
    /// Whether all of the backup is restored.
    pub fn is_everything(&self) -> bool {
        self.tables.is_empty()
    }

    /// The name that a schema of the backup has on the server.
    pub fn schema<'a>(&'a self, schema: &'a str) -> &'a str {
        self.rename.get(schema).map_or(schema, String::as_str)
    }

    /// A session of the dump, with its schema as it is called on the server.
    pub fn session(&self, session: &Arc<Session>) -> Arc<Session> {
        let Some(schema) = session.schema().and_then(|schema| self.rename.get(schema)) else {
            return session.clone();
        };
        let mut placed = Session::clone(session);
        let kind = Kind::Use {
            schema: schema.clone(),
        };
        placed.apply(&Statement {
            text: b"",
            sql: b"",
            kind,
        });
        Arc::new(placed)
    }

    /// An object of the backup as it is called on the server.
    pub fn placed(&self, object: &ObjectId) -> ObjectId {
        ObjectId {
            schema: self.schema(&object.schema).to_owned(),
            ..object.clone()
        }
    }

    /// Whether an object of the backup is restored. A trigger is restored with its table, which
    /// the caller names; routines and events only with everything.
    pub fn takes(&self, object: &ObjectId, trigger_table: Option<&str>) -> bool {
        let chosen = |name: &str| {
            self.tables
                .contains(&(object.schema.clone(), name.to_owned()))
        };
        self.is_everything()
            || match object.kind {
                ObjectKind::Schema => self.takes_schema(&object.schema),
                ObjectKind::Table | ObjectKind::View | ObjectKind::Sequence => chosen(&object.name),
                ObjectKind::Trigger => trigger_table.is_some_and(chosen),
                _ => false,
            }
    }

    /// Whether anything of a schema of the backup is restored.
    pub fn takes_schema(&self, schema: &str) -> bool {
        self.is_everything() || self.tables.iter().any(|(of, _)| of == schema)
    }

    /// Whether a table of the backup is restored.
    pub fn takes_table(&self, schema: &str, name: &str) -> bool {
        self.is_everything() || self.tables.contains(&(schema.to_owned(), name.to_owned()))
    }

    /// Refuses what the backup does not have (exit 3), and names that collide (exit 2).
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
                    Error::nothing(format!("the backup has no table {schema}.{name}")).hint(LISTS),
                );
            }
        }
        let schemas: BTreeSet<&str> = objects.map(|object| object.schema.as_str()).collect();
        for (old, new) in &self.rename {
            if !schemas.contains(old.as_str()) {
                return Err(Error::nothing(format!("the backup has no schema {old}")).hint(LISTS));
            }
            let taken = schemas.contains(new.as_str()) && !self.rename.contains_key(new);
            let twice = self.rename.values().filter(|other| *other == new).count() > 1;
            if taken || twice {
                return Err(Error::usage(format!("two schemas would be called {new}"))
                    .hint("rename to a name that the backup does not have"));
            }
        }
        Ok(())
    }
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
    fn what_the_backup_does_not_have_is_not_restored_in_silence() {
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
    fn chosen_tables_bring_their_schema_and_triggers_and_nothing_else() {
        let scope = scope(&[("a", "t")], &[("a", "x")]);
        let trigger = ObjectId::new(ObjectKind::Trigger, "a", "tr");
        assert!(scope.takes(&ObjectId::schema("a"), None));
        assert!(scope.takes(&trigger, Some("t")));
        for (object, table) in [
            (trigger, Some("u")),
            (ObjectId::schema("b"), None),
            (ObjectId::new(ObjectKind::Procedure, "a", "t"), None),
            (ObjectId::table("b", "t"), None),
        ] {
            assert!(!scope.takes(&object, table), "{object}");
        }
        assert_eq!(
            scope.placed(&ObjectId::table("a", "t")),
            ObjectId::table("x", "t")
        );
    }
}
