//! Which statements of an archive may be executed at all: who can write the bucket must not own the
//! server.
//!
//! The scanner knows the kinds of statements that a dump has and refuses all others, GRANT, SET
//! GLOBAL and INSTALL among them, and a second statement behind a first one; settings are never
//! executed as they stand ([`crate::sql::session`]). What is left to see to here is that nothing
//! reaches outside of the schemas of the backup. Bodies of routines, which may hold anything, are for
//! the server's parser to delimit ([`super::lane::Lane::demand_single`]).
//!
//! What it cannot do: a trigger or a view of a forged archive runs as its definer. Only a signature
//! would help, and format 1 has none.

use std::collections::BTreeSet;

use crate::error::{Error, Result};
use crate::server::schemas::is_closed_anywhere;
use crate::sql::statement::{Kind, Statement};

/// Holds statements against the schemas that the backup says it has.
#[derive(Debug, Clone)]
pub struct Guard {
    schemas: BTreeSet<String>,
}

impl Guard {
    /// Admits statements about these schemas; one that every server keeps for itself is refused (exit 6).
    /// Which others a server does, its own facts say: [`crate::server::schemas::Own::is_closed`].
    pub fn new(schemas: impl IntoIterator<Item = String>) -> Result<Guard> {
        let schemas: BTreeSet<String> = schemas.into_iter().collect();
        match schemas.iter().find(|schema| is_closed_anywhere(schema)) {
            Some(schema) => Err(forbidden(format!(
                "it holds the server's own schema {schema}"
            ))),
            None => Ok(Guard { schemas }),
        }
    }

    /// Refuses (exit 6) what must not be executed.
    pub fn admit(&self, statement: &Statement<'_>) -> Result<()> {
        match &statement.kind {
            Kind::Account => Err(forbidden(
                "it holds a statement about accounts among its data",
            )),
            Kind::Use { schema } | Kind::CreateSchema { schema } | Kind::AlterSchema { schema } => {
                self.admit_schema(schema)
            }
            Kind::Drop { object }
            | Kind::SetSequence { object }
            | Kind::Insert { table: object }
            | Kind::Create { object, .. } => self.admit_schema(&object.schema),
            Kind::Comment
            | Kind::Delimiter
            | Kind::Set
            | Kind::LockTables
            | Kind::UnlockTables
            | Kind::ToggleKeys
            | Kind::Transaction => Ok(()),
        }
    }

    fn admit_schema(&self, schema: &str) -> Result<()> {
        match self.schemas.contains(schema) {
            true => Ok(()),
            false => Err(forbidden(format!("it reaches into the schema {schema:?}"))),
        }
    }
}

fn forbidden(why: impl std::fmt::Display) -> Error {
    Error::archive(format!("the archive must not be executed: {why}"))
        .hint("find out who wrote it; restore another backup")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::statement::{ObjectId, ObjectKind};

    fn admit(kind: Kind) -> Result<()> {
        let guard = Guard::new(["shop".to_owned()])?;
        guard.admit(&Statement {
            text: b"",
            sql: b"",
            kind,
        })
    }

    fn create(schema: &str) -> Kind {
        Kind::Create {
            object: ObjectId::new(ObjectKind::Table, schema, "x"),
            placeholder: false,
        }
    }

    #[test]
    fn nothing_reaches_outside_of_the_schemas_of_the_backup() {
        for kind in [
            Kind::Account,
            create("mysql"),
            create("other"),
            create("SHOP"),
            create(""),
            Kind::Insert {
                table: ObjectId::table("sys", "sys_config"),
            },
            Kind::Use {
                schema: "mysql".into(),
            },
            Kind::AlterSchema {
                schema: "other".into(),
            },
            Kind::Drop {
                object: ObjectId::schema("other"),
            },
        ] {
            let refused = admit(kind.clone()).unwrap_err();
            assert_eq!(refused.outcome().code(), 6, "{kind:?}");
        }
        for kind in [
            create("shop"),
            Kind::Set,
            Kind::Use {
                schema: "shop".into(),
            },
        ] {
            admit(kind).unwrap();
        }
    }

    #[test]
    fn a_backup_of_the_servers_own_schemas_is_refused_and_one_of_their_namesakes_is_not() {
        Guard::new(["SYS".to_owned(), "MYSQL".to_owned(), "ndbinfo".to_owned()]).unwrap();
        for schema in ["sys", "mysql", "drctl_restore"] {
            assert_eq!(
                Guard::new([schema.to_owned()])
                    .unwrap_err()
                    .outcome()
                    .code(),
                6
            );
        }
    }
}
