//! What the server says exists, to hold against what the dump contains.
//!
//! Taken before and after the dump. What differs moved under it; what did not must have been seen
//! in it. Each object carries a stamp that any definition change alters: a hash of the definition, and
//! for tables the time of the last ALTER and InnoDB's table id (which reveals TRUNCATE, and a RENAME
//! that exchanged two tables; it takes PROCESS).
//!
//! Memory: about 200 bytes an object.

use std::collections::{BTreeMap, BTreeSet};

use super::definitions;
use super::innodb_name::innodb_name;
use super::scope::{Scope, same_name};
use crate::Result;
use crate::server::line_ends;
use crate::server::schemas::{Own, Owner};
use crate::server::{Connection, ServerVersion};
use crate::sql::statement::{ObjectId, ObjectKind};

/// Everything in scope that the server shows to the account.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// The objects and what tells one definition of them from another.
    pub objects: BTreeMap<ObjectId, Stamp>,
    /// Size, rows and engine of the tables.
    pub tables: BTreeMap<ObjectId, TableFacts>,
    /// Stored programs whose end the `mysql` client would not find in a dump: [`super::undumpable`].
    pub endless: Vec<ObjectId>,
    /// Whether InnoDB told its table ids (PROCESS): without them an exchange of two tables by
    /// RENAME may go unnoticed.
    pub table_ids: bool,
    /// Tables that InnoDB knows and the server does not show, as InnoDB spells them.
    pub hidden: Vec<String>,
    /// Schemas that are neither in scope nor the server's own.
    pub left_out: Vec<String>,
    /// Whether schema and table names differ by more than case alone.
    pub(super) fold: bool,
}

/// What changes when an object's definition does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stamp {
    /// A hash of its definition, with the time of its last change where the server tells one.
    pub definition: String,
    /// When the server says that a table was made or altered, to the second; empty for other
    /// objects.
    pub made: String,
    /// Made of InnoDB's ids of the table and its partitions; `None` for other objects and where
    /// they are not known.
    pub table_id: Option<u64>,
}

/// What the server estimates of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFacts {
    /// The storage engine's name.
    pub engine: String,
    /// Bytes of rows, as the server estimates them.
    pub data_bytes: u64,
    /// Bytes of secondary indexes, as the server estimates them.
    pub index_bytes: u64,
    /// Rows, as the server estimates them.
    pub rows: u64,
    /// Whether it keeps MariaDB's system-versioned history.
    pub versioned: bool,
}

impl Inventory {
    /// Asks the server for everything in scope. A schema that is listed and does not exist (or is
    /// out of sight) is an error.
    pub async fn take(
        connection: &mut Connection,
        server: &ServerVersion,
        own: &Own,
        scope: &Scope,
    ) -> Result<Inventory> {
        let mut taken = Inventory {
            fold: own.folds(),
            ..Inventory::default()
        };
        taken.schemas(connection, own, scope).await?;
        let schemas: BTreeSet<String> = taken.schema_names().into_iter().collect();
        taken.tables_and_views(connection, &schemas).await?;
        taken.definitions(connection).await?;
        taken.programs(connection, &schemas).await?;
        taken.innodb(connection, server, &schemas).await?;
        Ok(taken)
    }

    async fn schemas(
        &mut self,
        connection: &mut Connection,
        own: &Own,
        scope: &Scope,
    ) -> Result<()> {
        let rows: Vec<(String, String, String)> = connection
            .rows(
                "SELECT schema_name, default_character_set_name, default_collation_name \
                 FROM information_schema.schemata",
            )
            .await?;
        for (name, charset, collation) in rows {
            match scope.covers(&name, own) {
                true => self.add(ObjectId::schema(name), format!("{charset} {collation}")),
                false if own.owner(&name) == Owner::Server => {}
                false => self.left_out.push(name),
            }
        }
        if let Scope::Only(listed) = scope {
            let found = self.schema_names();
            let absent: Vec<&str> = listed
                .iter()
                .filter(|name| !found.iter().any(|f| same_name(f, name, self.fold)))
                .map(String::as_str)
                .collect();
            if !absent.is_empty() {
                return Err(connection
                    .role()
                    .error(format!(
                        "there is no schema {} on the server, or the account may not see it",
                        absent.join(", ")
                    ))
                    .hint("correct the list of schemas, or grant the account SELECT on it"));
            }
        }
        Ok(())
    }

    async fn tables_and_views(
        &mut self,
        connection: &mut Connection,
        schemas: &BTreeSet<String>,
    ) -> Result<()> {
        // One column each is text whatever the version: dates and numbers come as they print.
        let rows = connection
            .named_rows(
                "SELECT table_schema s, table_name n, table_type t, engine e, create_time c, \
                 data_length d, index_length i, table_rows r \
                 FROM information_schema.tables WHERE table_type <> 'SYSTEM VIEW'",
            )
            .await?;
        for row in rows {
            let text = |column: &str| row.get(column).unwrap_or_default();
            let number = |column: &str| text(column).parse::<u64>().unwrap_or(0);
            let (schema, name, kind) = (text("s"), text("n"), text("t"));
            if !schemas.contains(schema) || kind.starts_with("TEMPORARY") {
                continue;
            }
            match kind {
                "VIEW" => {
                    let view = ObjectId::new(ObjectKind::View, schema, name);
                    self.add(view, String::new());
                }
                "SEQUENCE" => {
                    self.add_made(ObjectId::new(ObjectKind::Sequence, schema, name), text("c"))
                }
                _ => {
                    let table = ObjectId::table(schema, name);
                    let facts = TableFacts {
                        engine: text("e").to_owned(),
                        data_bytes: number("d"),
                        index_bytes: number("i"),
                        rows: number("r"),
                        versioned: kind == "SYSTEM VERSIONED",
                    };
                    self.add_made(table.clone(), text("c"));
                    self.tables.insert(table, facts);
                }
            }
        }
        let views: Vec<(String, String, Option<Vec<u8>>)> = connection
            .rows(
                "SELECT table_schema, table_name, CONCAT_WS(' ', definer, security_type, \
                 check_option, character_set_client, collation_connection, view_definition) \
                 FROM information_schema.views",
            )
            .await?;
        for (schema, name, definition) in views {
            let view = ObjectId::new(ObjectKind::View, schema, name);
            if let Some(stamp) = self.objects.get_mut(&view) {
                stamp.definition = hash(definition.as_deref().unwrap_or_default());
            }
        }
        Ok(())
    }

    /// What tables and sequences are made of.
    async fn definitions(&mut self, connection: &mut Connection) -> Result<()> {
        for (table, hash) in definitions::hashes(connection).await? {
            let sequence = ObjectId::new(ObjectKind::Sequence, &table.schema, &table.name);
            let known = [table, sequence]
                .into_iter()
                .find(|id| self.objects.contains_key(id));
            if let Some(stamp) = known.and_then(|id| self.objects.get_mut(&id)) {
                stamp.definition = format!("{hash:032x}");
            }
        }
        Ok(())
    }

    /// Triggers, routines, events, libraries.
    async fn programs(
        &mut self,
        connection: &mut Connection,
        schemas: &BTreeSet<String>,
    ) -> Result<()> {
        let mut queries = vec![
            "SELECT 'TRIGGER', trigger_schema, trigger_name, CONCAT_WS(' ', created, definer, \
             event_object_table, action_timing, event_manipulation, action_order, sql_mode), \
             action_statement, sql_mode FROM information_schema.triggers",
            "SELECT routine_type, routine_schema, routine_name, CONCAT_WS(' ', last_altered, \
             definer, dtd_identifier, security_type, sql_mode), routine_definition, \
             IF(routine_body = 'SQL', sql_mode, NULL) FROM information_schema.routines",
            "SELECT 'EVENT', event_schema, event_name, CONCAT_WS(' ', last_altered, definer, \
             interval_value, interval_field, execute_at, starts, ends, on_completion, sql_mode), \
             event_definition, sql_mode FROM information_schema.events",
        ];
        if connection.has_information("libraries").await? {
            queries.push(
                "SELECT 'LIBRARY', library_schema, library_name, CONCAT_WS(' ', last_altered), \
                 library_definition, NULL FROM information_schema.libraries",
            );
        }
        let mut may_be_endless = Vec::new();
        for query in queries {
            // The last is the sql_mode of what is written in SQL.
            type Program = (
                String,
                String,
                String,
                Option<Vec<u8>>,
                Option<Vec<u8>>,
                Option<String>,
            );
            let rows: Vec<Program> = connection.rows(query).await?;
            for (kind, schema, name, stamp, body, sql_mode) in rows {
                if !schemas.contains(&schema) {
                    continue;
                }
                let kind = match kind.as_str() {
                    "TRIGGER" => ObjectKind::Trigger,
                    "EVENT" => ObjectKind::Event,
                    "PROCEDURE" => ObjectKind::Procedure,
                    "FUNCTION" => ObjectKind::Function,
                    "PACKAGE" => ObjectKind::Package,
                    "PACKAGE BODY" => ObjectKind::PackageBody,
                    "LIBRARY" => ObjectKind::Library,
                    other => {
                        return Err(connection
                            .role()
                            .error(format!(
                                "{schema}.{name} is a {other}, a kind of object that drctl does not know"
                            ))
                            .hint("leave its schema out, or use a newer drctl"));
                    }
                };
                let mut bytes = stamp.unwrap_or_default();
                bytes.push(0);
                let body = body.unwrap_or_default();
                let object = ObjectId::new(kind, schema, name);
                if let Some(mode) = sql_mode
                    && line_ends::may_be_misread(&body)
                {
                    may_be_endless.push((object.clone(), mode));
                }
                bytes.extend(body);
                self.add(object, hash(&bytes));
            }
        }
        self.endless = line_ends::endless(connection, may_be_endless).await?;
        Ok(())
    }

    /// InnoDB's own list, which no grant hides a table from: its ids, and what else it holds.
    async fn innodb(
        &mut self,
        connection: &mut Connection,
        server: &ServerVersion,
        schemas: &BTreeSet<String>,
    ) -> Result<()> {
        let list = match server.is_mariadb() {
            true => "SELECT table_id, name FROM information_schema.innodb_sys_tables",
            false => "SELECT table_id, name FROM information_schema.innodb_tables",
        };
        let rows: Option<Vec<(u64, String)>> = connection.rows_if_allowed(list).await?;
        let Some(rows) = rows else { return Ok(()) };
        self.table_ids = true;
        for (id, spelled) in rows {
            let Some((schema, table)) = innodb_name(&spelled) else {
                continue;
            };
            let in_scope = schemas.iter().find(|s| same_name(s, &schema, self.fold));
            let Some(schema) = in_scope else {
                continue;
            };
            let candidates = [
                ObjectId::table(schema, &table),
                ObjectId::new(ObjectKind::Sequence, schema, &table),
            ];
            let known = candidates
                .iter()
                .find(|id| self.objects.contains_key(id))
                .cloned()
                .or_else(|| self.find_folded(schema, &table));
            match known.and_then(|id| self.objects.get_mut(&id)) {
                // A partitioned table is replaced when any of its partitions is: the sum does not
                // depend on the order in which the server lists them.
                Some(stamp) => {
                    let hashed = xxhash_rust::xxh3::xxh3_64(&id.to_le_bytes());
                    stamp.table_id = Some(stamp.table_id.unwrap_or(0).wrapping_add(hashed));
                }
                None => self.hidden.push(spelled),
            }
        }
        Ok(())
    }

    fn find_folded(&self, schema: &str, table: &str) -> Option<ObjectId> {
        self.objects
            .keys()
            .filter(|id| self.fold && id.kind == ObjectKind::Table && id.schema == schema)
            .find(|id| same_name(&id.name, table, true))
            .cloned()
    }

    pub(super) fn add(&mut self, object: ObjectId, definition: String) {
        let stamp = Stamp {
            definition,
            ..Stamp::default()
        };
        self.objects.insert(object, stamp);
    }

    fn add_made(&mut self, object: ObjectId, made: &str) {
        let stamp = Stamp {
            made: made.to_owned(),
            ..Stamp::default()
        };
        self.objects.insert(object, stamp);
    }

    /// The schemas in scope, sorted.
    pub fn schema_names(&self) -> Vec<String> {
        self.objects
            .keys()
            .filter(|id| id.kind == ObjectKind::Schema)
            .map(|id| id.schema.clone())
            .collect()
    }

    /// Bytes of rows and of indexes, as the server estimates them.
    pub fn total_bytes(&self) -> (u64, u64) {
        let sum = |size: fn(&TableFacts) -> u64| self.tables.values().map(size).sum();
        (sum(|t| t.data_bytes), sum(|t| t.index_bytes))
    }
}

fn hash(bytes: &[u8]) -> String {
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(bytes))
}
