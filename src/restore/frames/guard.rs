//! Rejects statements of an archive that must not be executed: write access to the bucket must not give
//! control of the server.
//!
//! The scanner accepts only the kinds of statements that a dump contains and rejects all others, GRANT, SET
//! GLOBAL and INSTALL among them, and a second statement after the first one; SET statements are never
//! executed as such ([`crate::sql::session`]). The guard ensures that no statement affects schemas outside
//! the backup. Bodies of routines, which may contain anything, are delimited by the server's parser
//! ([`crate::restore::session::lane::Lane::demand_single`]).
//!
//! Limits: a trigger or view of a forged archive runs as its definer. Only a signature would prevent this,
//! and format 1 has none.

use std::collections::BTreeSet;

use crate::mysql::schemas::is_closed_anywhere;
use crate::sql::statement::{Kind, Statement};
use crate::util::error::{Error, Result};

/// Checks statements against the schemas listed in the backup.
#[derive(Debug, Clone)]
pub struct Guard {
    schemas: BTreeSet<String>,
}

impl Guard {
    /// Admits statements for these schemas; schemas reserved by every server are rejected (exit 6). For
    /// those reserved by this server see [`crate::mysql::schemas::Own::is_closed`].
    pub fn new(schemas: impl IntoIterator<Item = String>) -> Result<Guard> {
        let schemas: BTreeSet<String> = schemas.into_iter().collect();
        match schemas.iter().find(|schema| is_closed_anywhere(schema)) {
            Some(schema) => Err(forbidden(format!(
                "it contains the server's own schema {schema}"
            ))),
            None => Ok(Guard { schemas }),
        }
    }

    /// Rejects (exit 6) statements that must not be executed.
    pub fn admit(&self, statement: &Statement<'_>) -> Result<()> {
        match &statement.kind {
            Kind::Account => Err(forbidden(
                "it contains a statement about accounts among its data",
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
        if self.schemas.contains(schema) {
            return Ok(());
        }
        Err(forbidden(format!(
            "it contains a statement for schema {schema:?}, which is not part of the backup"
        )))
    }
}

fn forbidden(why: impl std::fmt::Display) -> Error {
    Error::archive(format!("archive rejected: {why}"))
        .hint("restore another backup, and find out which client wrote this one")
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
    fn statements_for_other_schemas_are_rejected() {
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
    fn backups_of_reserved_schemas_are_rejected_but_not_of_similar_names() {
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
