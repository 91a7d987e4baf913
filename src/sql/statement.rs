//! A statement of a dump: its bytes, its kind and its section.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A statement. The concatenated `text`s of all statements of a dump are the dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement<'a> {
    /// All bytes: leading white space, the statement, its delimiter, the end of the line.
    pub text: &'a [u8],
    /// The SQL for a server, without delimiter and surrounding white space. Empty for kinds that only a client
    /// interprets ([`Kind::Comment`], [`Kind::Delimiter`]).
    pub sql: &'a [u8],
    /// What the statement does.
    pub kind: Kind,
}

/// The three sections of a dump, in the order in which they are restored; the terms are `pg_dump`'s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Section {
    /// Schemas, tables, sequences, placeholders of views.
    PreData,
    /// Rows.
    Data,
    /// Triggers, routines, events, final views.
    PostData,
}

/// What a statement does. A dump with any other statement is rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `-- …` lines, blank lines, MariaDB's sandbox line, and the statements of Percona's program for MyRocks: not
    /// executed.
    Comment,
    /// `DELIMITER ;;`: a command of the client.
    Delimiter,
    /// `SET` of session variables, bare or in a conditional comment. Never GLOBAL or PERSIST.
    Set,
    /// `USE schema`.
    Use {
        /// The schema.
        schema: String,
    },
    /// `CREATE DATABASE`.
    CreateSchema {
        /// The schema.
        schema: String,
    },
    /// `ALTER DATABASE … CHARACTER SET`, which encloses triggers and routines that were created under another
    /// default character set.
    AlterSchema {
        /// The schema.
        schema: String,
    },
    /// `DROP … IF EXISTS`, also `DROP DATABASE`, before the definition of the same object. Before the final
    /// definition of a view it drops the placeholder, whichever object it names.
    Drop {
        /// What is dropped.
        object: ObjectId,
    },
    /// Any `CREATE` other than of a schema.
    Create {
        /// What is created.
        object: ObjectId,
        /// Whether this is the placeholder of a view: a table or view with its name until its final definition.
        placeholder: bool,
    },
    /// `DO SETVAL(…)` / `SELECT SETVAL(…)`: a MariaDB sequence's position.
    SetSequence {
        /// The sequence.
        object: ObjectId,
    },
    /// `INSERT INTO t VALUES (…),(…)`.
    Insert {
        /// The table.
        table: ObjectId,
    },
    /// `LOCK TABLES … WRITE`.
    LockTables,
    /// `UNLOCK TABLES`.
    UnlockTables,
    /// `ALTER TABLE … DISABLE KEYS` or `ENABLE KEYS`.
    ToggleKeys,
    /// `COMMIT`, which MariaDB's client writes after versioned rows, and `START TRANSACTION`.
    Transaction,
    /// `CREATE USER`, `ALTER USER`, `GRANT`, `CREATE ROLE`, `SET DEFAULT ROLE`: only in accounts.sql, never in a
    /// dump.
    Account,
}

impl Kind {
    /// The section of the statement; `None` if it only affects other statements.
    pub fn section(&self) -> Option<Section> {
        match self {
            Kind::Comment
            | Kind::Delimiter
            | Kind::Set
            | Kind::Use { .. }
            | Kind::LockTables
            | Kind::UnlockTables
            | Kind::ToggleKeys
            | Kind::Transaction
            | Kind::Drop { .. }
            | Kind::Account => None,
            Kind::CreateSchema { .. } | Kind::SetSequence { .. } => Some(Section::PreData),
            Kind::AlterSchema { .. } => Some(Section::PostData),
            Kind::Insert { .. } => Some(Section::Data),
            Kind::Create {
                placeholder: true, ..
            } => Some(Section::PreData),
            Kind::Create { object, .. } => Some(object.kind.section()),
        }
    }
}

/// The kinds of object that a dump defines.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectKind {
    /// A schema ("database").
    Schema,
    /// A base table.
    Table,
    /// A view.
    View,
    /// A trigger.
    Trigger,
    /// A stored procedure.
    Procedure,
    /// A stored function.
    Function,
    /// A MariaDB package specification.
    Package,
    /// A MariaDB package body.
    PackageBody,
    /// An event.
    Event,
    /// A MariaDB sequence.
    Sequence,
    /// A MySQL ≥ 9.2 JavaScript library.
    Library,
}

impl ObjectKind {
    /// The kind for a type in information_schema; a table for all types of tables.
    pub fn of_information_schema(kind: &str) -> Self {
        match kind {
            "VIEW" | "SYSTEM VIEW" => ObjectKind::View,
            "SEQUENCE" => ObjectKind::Sequence,
            "PROCEDURE" => ObjectKind::Procedure,
            "FUNCTION" => ObjectKind::Function,
            "PACKAGE" => ObjectKind::Package,
            "PACKAGE BODY" => ObjectKind::PackageBody,
            "TRIGGER" => ObjectKind::Trigger,
            "EVENT" => ObjectKind::Event,
            _ => ObjectKind::Table,
        }
    }

    /// The section with its definition.
    pub fn section(self) -> Section {
        match self {
            ObjectKind::Schema | ObjectKind::Table | ObjectKind::Sequence => Section::PreData,
            _ => Section::PostData,
        }
    }

    /// Whether it has a body, which the server stores together with the session's sql_mode.
    pub fn is_stored_program(self) -> bool {
        self.is_routine()
            || matches!(
                self,
                ObjectKind::Trigger | ObjectKind::Event | ObjectKind::Library
            )
    }

    /// Whether it is a routine or a package.
    pub fn is_routine(self) -> bool {
        matches!(
            self,
            ObjectKind::Procedure
                | ObjectKind::Function
                | ObjectKind::Package
                | ObjectKind::PackageBody
        )
    }

    /// Its name in messages.
    pub fn noun(self) -> &'static str {
        match self {
            ObjectKind::Schema => "schema",
            ObjectKind::Table => "table",
            ObjectKind::View => "view",
            ObjectKind::Trigger => "trigger",
            ObjectKind::Procedure => "procedure",
            ObjectKind::Function => "function",
            ObjectKind::Package => "package",
            ObjectKind::PackageBody => "package body",
            ObjectKind::Event => "event",
            ObjectKind::Sequence => "sequence",
            ObjectKind::Library => "library",
        }
    }
}

/// The identity of an object: kind, schema, name, all unquoted.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
pub struct ObjectId {
    /// Its schema; for a schema, its own name.
    pub schema: String,
    /// Its kind.
    pub kind: ObjectKind,
    /// Its name; empty for a schema.
    pub name: String,
}

impl ObjectId {
    /// An object of a schema.
    pub fn new(kind: ObjectKind, schema: impl Into<String>, name: impl Into<String>) -> Self {
        ObjectId {
            schema: schema.into(),
            kind,
            name: name.into(),
        }
    }

    /// A schema itself.
    pub fn schema(name: impl Into<String>) -> Self {
        ObjectId::new(ObjectKind::Schema, name, "")
    }

    /// A table.
    pub fn table(schema: impl Into<String>, name: impl Into<String>) -> Self {
        ObjectId::new(ObjectKind::Table, schema, name)
    }

    /// The qualified name, quoted; meaningless for a schema.
    pub fn quoted(&self) -> String {
        format!("{}.{}", quote(&self.schema), quote(&self.name))
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ObjectKind::Schema => write!(f, "schema {}", quote(&self.schema)),
            kind => write!(f, "{} {}", kind.noun(), self.quoted()),
        }
    }
}

/// An identifier in backticks, as the server prints it.
pub fn quote(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
