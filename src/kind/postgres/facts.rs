//! What a server says of a database: which it is, what the account cannot read, and what no script holds.

use serde::Deserialize;

use crate::kind::postgres::programs::{Connection, Programs};
use crate::util::error::{Error, Outcome, Result};
use crate::util::format::{counted, some_of};

/// One row with one JSON value. What is of the system itself has an OID below 16384.
const QUERY: &str = r"
SET client_min_messages = error;
SET search_path = pg_catalog;
WITH relations AS (
    SELECT c.oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name, c.relkind, n.oid AS schema
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid >= 16384 AND c.relpersistence <> 't' AND n.nspname !~ '^pg_toast'
)
SELECT json_build_object(
    'version', current_setting('server_version'),
    'major', current_setting('server_version_num')::int / 10000,
    'system', (SELECT system_identifier::text FROM pg_control_system()),
    'database', current_database(),
    'bytes', pg_database_size(current_database()),
    'bootstrap', (SELECT rolname FROM pg_roles WHERE oid = 10),
    'is_superuser', (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
    'unreadable', (SELECT coalesce(json_agg(name ORDER BY name), '[]') FROM (
        SELECT name FROM relations
        WHERE NOT has_schema_privilege(schema, 'USAGE')
           OR (relkind IN ('r', 'p', 'm') AND NOT has_table_privilege(oid, 'SELECT'))
           OR (relkind = 'S' AND NOT has_sequence_privilege(oid, 'SELECT'))
        UNION ALL
        SELECT 'large object ' || oid FROM pg_largeobject_metadata
        WHERE NOT pg_has_role(lomowner, 'USAGE') AND NOT EXISTS (
            SELECT FROM aclexplode(lomacl)
            WHERE privilege_type = 'SELECT' AND (grantee = 0 OR pg_has_role(grantee, 'USAGE')))
    ) AS found),
    'foreign_tables', (SELECT coalesce(json_agg(name ORDER BY name), '[]') FROM relations WHERE relkind = 'f'),
    'other_databases', (SELECT coalesce(json_agg(datname ORDER BY datname), '[]') FROM pg_database
        WHERE datname NOT IN (current_database(), 'postgres') AND NOT datistemplate),
    'other_roles', (SELECT coalesce(json_agg(rolname ORDER BY rolname), '[]') FROM pg_roles WHERE oid >= 16384),
    'tablespaces', (SELECT coalesce(json_agg(spcname ORDER BY spcname), '[]') FROM pg_tablespace WHERE oid >= 16384)
)";

/// What a server says.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Facts {
    pub version: String,
    pub major: u32,
    /// Identifier of the cluster.
    pub system: String,
    pub database: String,
    pub bytes: u64,
    /// The role that initialised the cluster.
    pub bootstrap: String,
    pub is_superuser: bool,
    /// Tables, sequences and large objects that the account may not read.
    unreadable: Vec<String>,
    foreign_tables: Vec<String>,
    pub other_databases: Vec<String>,
    pub other_roles: Vec<String>,
    tablespaces: Vec<String>,
    /// Major version of the client programs.
    #[serde(default)]
    programs: u32,
}

impl Facts {
    /// Asks a server.
    pub async fn ask(
        programs: &Programs,
        connection: &Connection,
        outcome: Outcome,
    ) -> Result<Facts> {
        let mut facts: Facts = programs.ask(QUERY, connection, outcome).await?;
        facts.programs = programs.major(connection, outcome).await?;
        Ok(facts)
    }

    /// Refuses a database that would not be backed up completely.
    pub fn check(&self, outcome: Outcome) -> Result<()> {
        if self.programs != self.major {
            return Err(Error::new(
                outcome,
                format!(
                    "pg_dump is of version {}, the server of version {}",
                    self.programs, self.major
                ),
            )
            .hint("set source.postgres.program_dir to the programs of the server's version"));
        }
        if ["postgres", "template0", "template1"].contains(&&*self.database) {
            return Err(Error::usage(format!(
                "the database {} exists in every server, so it cannot be restored into one",
                self.database
            ))
            .hint("name the database of the application in source.postgres.url"));
        }
        match self.unreadable.as_slice() {
            [] => Ok(()),
            names => Err(Error::new(
                outcome,
                format!(
                    "the account may not read {} of {}: {}",
                    counted(names.len() as u64, "object"),
                    self.database,
                    some_of(names)
                ),
            )
            .hint("grant it pg_read_all_data, and SELECT on large objects")),
        }
    }

    /// What the script of the database does not hold.
    pub fn warnings(&self, role_passwords: bool) -> Vec<String> {
        let mut all = Vec::new();
        if !role_passwords {
            all.push(
                "passwords of roles are not included (source.postgres.role_passwords)".to_owned(),
            );
        }
        for (names, what) in [
            (
                &self.foreign_tables,
                "rows of foreign tables are not included",
            ),
            (
                &self.tablespaces,
                "tablespaces are not included; their tables are restored into the default one",
            ),
            (
                &self.other_databases,
                "other databases of the server are not included; each needs a target of its own",
            ),
        ] {
            if !names.is_empty() {
                all.push(format!("{what}: {}", some_of(names)));
            }
        }
        all
    }
}
