//! All objects that a server has, according to its catalog.
//!
//! A backup takes the inventory before and after the dump: objects that differ were changed during the dump,
//! and all others must be in it. Each object has a stamp that changes with its definition: a hash of the
//! definition, and for tables the time of the last ALTER and InnoDB's table ID, which reveals TRUNCATE and
//! tables exchanged by RENAME (it needs PROCESS).
//!
//! Memory: about 200 bytes per object.

mod definitions;
mod filename_codes;
pub mod innodb_name;

use std::collections::{BTreeMap, BTreeSet};

use crate::Result;
use crate::mysql::client::line_ends;
use crate::mysql::connect::literals;
use crate::mysql::inventory::innodb_name::innodb_name;
use crate::mysql::names::NameCase;
use crate::mysql::schemas::{Own, Owner};
use crate::mysql::scope::Scope;
use crate::mysql::{Connection, ServerVersion};
use crate::sql::statement::{ObjectId, ObjectKind};

/// All objects in scope that are visible to the account.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// The objects with their stamps.
    pub objects: BTreeMap<ObjectId, Stamp>,
    /// Engines and sizes of the tables.
    pub tables: BTreeMap<ObjectId, TableFacts>,
    /// Stored programs whose end the `mysql` client would not find in a dump ([`line_ends::unterminated`]).
    pub unterminated: Vec<ObjectId>,
    /// Whether InnoDB's table IDs are known (PROCESS). Without them, two tables exchanged by RENAME may go
    /// unnoticed.
    pub table_ids: bool,
    /// Tables that InnoDB has and the server does not show, in InnoDB's spelling.
    pub hidden: Vec<String>,
    /// Schemas that are neither in scope nor the server's own.
    pub left_out: Vec<String>,
    /// How the server compares names.
    pub(crate) name_case: NameCase,
}

/// Changes whenever the definition of the object changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stamp {
    /// Hash of the definition, which includes the time of the last change for stored programs.
    pub definition: String,
    /// When a table was created or altered, to the second; empty for other objects.
    pub altered_at: String,
    /// Sum of hashes of InnoDB's IDs of the table and its partitions; `None` for other objects, and if the
    /// IDs are not known.
    pub table_id: Option<u64>,
}

/// Engine and size of a table; all sizes are estimates of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFacts {
    /// Name of the storage engine.
    pub engine: String,
    /// Bytes of rows.
    pub data_bytes: u64,
    /// Bytes of secondary indexes.
    pub index_bytes: u64,
    /// Number of rows.
    pub rows: u64,
    /// Whether the table is system-versioned (MariaDB).
    pub versioned: bool,
}

impl Inventory {
    /// Takes the inventory of a server.
    ///
    /// # Errors
    ///
    /// A schema that the scope lists does not exist or is not visible to the account.
    pub async fn take(
        connection: &mut Connection,
        server: &ServerVersion,
        own: &Own,
        scope: &Scope,
    ) -> Result<Inventory> {
        let mut taken = Inventory {
            name_case: own.name_case(),
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
            if scope.covers(&name, own) {
                self.add(ObjectId::schema(name), format!("{charset} {collation}"));
            } else if own.owner(&name) != Owner::Server {
                self.left_out.push(name);
            }
        }
        if let Scope::Only(listed) = scope {
            let found = self.schema_names();
            let absent: Vec<&str> = listed
                .iter()
                .filter(|name| !found.iter().any(|f| self.name_case.same(f, name)))
                .map(String::as_str)
                .collect();
            if !absent.is_empty() {
                return Err(connection
                    .role()
                    .error(format!(
                        "there is no schema {} on the server, or it is not visible to the account",
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
        // Read as text, since the types of the columns depend on the version.
        let listed = literals(schemas);
        let rows = connection
            .named_rows(&format!(
                "SELECT table_schema s, table_name n, table_type t, engine e, create_time c, \
                 data_length d, index_length i, table_rows r FROM information_schema.tables \
                 WHERE table_type <> 'SYSTEM VIEW' AND table_schema IN ({listed})"
            ))
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
                    self.add_table(ObjectId::new(ObjectKind::Sequence, schema, name), text("c"))
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
                    self.add_table(table.clone(), text("c"));
                    self.tables.insert(table, facts);
                }
            }
        }
        let views: Vec<(String, String, Option<Vec<u8>>)> = connection
            .rows(&format!(
                "SELECT table_schema, table_name, CONCAT_WS(' ', definer, security_type, \
                 check_option, character_set_client, collation_connection, view_definition) \
                 FROM information_schema.views WHERE table_schema IN ({listed})"
            ))
            .await?;
        for (schema, name, definition) in views {
            let view = ObjectId::new(ObjectKind::View, schema, name);
            if let Some(stamp) = self.objects.get_mut(&view) {
                stamp.definition = hash(definition.as_deref().unwrap_or_default());
            }
        }
        Ok(())
    }

    /// Hashes of the definitions of tables and sequences.
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

    /// Triggers, routines, events and libraries.
    async fn programs(
        &mut self,
        connection: &mut Connection,
        schemas: &BTreeSet<String>,
    ) -> Result<()> {
        let mut queries = vec![
            "SELECT 'TRIGGER', trigger_schema, trigger_name, CONCAT_WS(' ', created, definer, \
             event_object_table, action_timing, event_manipulation, action_order, sql_mode), \
             action_statement, sql_mode, character_set_client FROM information_schema.triggers",
            "SELECT routine_type, routine_schema, routine_name, CONCAT_WS(' ', last_altered, \
             definer, dtd_identifier, security_type, sql_mode), routine_definition, \
             IF(routine_body = 'SQL', sql_mode, NULL), character_set_client \
             FROM information_schema.routines",
            "SELECT 'EVENT', event_schema, event_name, CONCAT_WS(' ', last_altered, definer, \
             interval_value, interval_field, execute_at, starts, ends, on_completion, sql_mode), \
             event_definition, sql_mode, character_set_client FROM information_schema.events",
        ];
        if connection.has_information("libraries").await? {
            queries.push(
                "SELECT 'LIBRARY', library_schema, library_name, CONCAT_WS(' ', last_altered), \
                 library_definition, NULL, NULL FROM information_schema.libraries",
            );
        }
        let mut may_be_unterminated = Vec::new();
        for query in queries {
            // The last are the sql_mode of a program whose body is SQL, and the character set of its text.
            type Program = (
                String,
                String,
                String,
                Option<Vec<u8>>,
                Option<Vec<u8>>,
                Option<String>,
                Option<String>,
            );
            let rows: Vec<Program> = connection.rows(query).await?;
            for (kind, schema, name, stamp, body, sql_mode, charset) in rows {
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
                                "{schema}.{name} is an object of the unsupported type {other}"
                            ))
                            .hint("exclude its schema, or use a newer drctl"));
                    }
                };
                let mut bytes = stamp.unwrap_or_default();
                bytes.push(0);
                let body = body.unwrap_or_default();
                let object = ObjectId::new(kind, schema, name);
                if let Some(mode) = sql_mode
                    && line_ends::may_be_misread(&body, charset.as_deref().unwrap_or_default())
                {
                    may_be_unterminated.push((object.clone(), mode));
                }
                bytes.extend(body);
                self.add(object, hash(&bytes));
            }
        }
        self.unterminated = line_ends::unterminated(connection, may_be_unterminated).await?;
        Ok(())
    }

    /// Reads InnoDB's list of tables, which is not filtered by privileges: table IDs, and hidden tables.
    async fn innodb(
        &mut self,
        connection: &mut Connection,
        server: &ServerVersion,
        schemas: &BTreeSet<String>,
    ) -> Result<()> {
        let list = if server.is_mariadb() {
            "SELECT table_id, name FROM information_schema.innodb_sys_tables"
        } else {
            "SELECT table_id, name FROM information_schema.innodb_tables"
        };
        let rows: Option<Vec<(u64, String)>> = connection.rows_if_allowed(list).await?;
        let Some(rows) = rows else { return Ok(()) };
        self.table_ids = true;
        for (id, spelled) in rows {
            let Some((schema, table)) = innodb_name(&spelled) else {
                continue;
            };
            let in_scope = schemas.iter().find(|s| self.name_case.same(s, &schema));
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
                // A sum, since the server lists the partitions of a table in no particular order.
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
            .filter(|id| id.kind == ObjectKind::Table && id.schema == schema)
            .find(|id| self.name_case.same(&id.name, table))
            .cloned()
    }

    pub(crate) fn add(&mut self, object: ObjectId, definition: String) {
        let stamp = Stamp {
            definition,
            ..Stamp::default()
        };
        self.objects.insert(object, stamp);
    }

    fn add_table(&mut self, object: ObjectId, altered_at: &str) {
        let stamp = Stamp {
            altered_at: altered_at.to_owned(),
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

    /// Estimated bytes of rows and of indexes.
    pub fn total_bytes(&self) -> (u64, u64) {
        let sum = |size: fn(&TableFacts) -> u64| self.tables.values().map(size).sum();
        (sum(|t| t.data_bytes), sum(|t| t.index_bytes))
    }
}

fn hash(bytes: &[u8]) -> String {
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(bytes))
}
