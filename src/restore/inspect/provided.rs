//! What the definitions of a backup require and only the operator of a server can provide: general tablespaces, keys,
//! collations from files, loadable functions. The other way round, a READ ONLY schema keeps itself from being filled.
//!
//! A table or variable that the account may not read is no reason to refuse: the warnings of the backup name what it
//! requires.

use std::collections::{BTreeMap, BTreeSet};

use crate::mysql::connect::{literals, server_code};
use crate::mysql::{Connection, Flavour};
use crate::restore::inspect::destination::DestinationFacts;
use crate::restore::inspect::refusal::Refusal;
use crate::sql::statement::{ObjectId, quote};
use crate::util::error::Result;

/// Errors of a server without the table: MariaDB, or an earlier MySQL.
const ABSENT: [u16; 2] = [1109, 1146];

/// The names that a query returns; `None` if the server has no such table, or denies access to it.
async fn names(connection: &mut Connection, query: &str) -> Result<Option<Vec<String>>> {
    match connection.rows(query).await {
        Ok(names) => Ok(Some(names)),
        Err(error) if server_code(&error).is_some() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Refusals for those of `used` (by name, each with a table in it and the statement that creates it) that the server
/// lacks.
pub async fn missing_tablespaces(
    connection: &mut Connection,
    used: &BTreeMap<String, (ObjectId, String)>,
) -> Result<Vec<Refusal>> {
    const QUERY: &str =
        "SELECT name FROM information_schema.innodb_tablespaces WHERE space_type = 'General'";
    if used.is_empty() {
        return Ok(Vec::new());
    }
    let Some(there) = names(connection, QUERY).await? else {
        return Ok(Vec::new());
    };
    let missing = used.iter().filter(|(name, _)| !there.contains(name));
    let refusal = |(name, (table, create)): (&String, &(ObjectId, String))| {
        Refusal::new(
            format!(
                "the destination lacks the tablespace {} (used by {table})",
                quote(name)
            ),
            create.as_str(),
        )
    };
    Ok(missing.map(refusal).collect())
}

/// A refusal if the server has no keys for this encrypted table.
pub async fn missing_keys(
    connection: &mut Connection,
    facts: &DestinationFacts,
    table: &ObjectId,
) -> Result<Option<Refusal>> {
    let (kind, what, install) = match facts.version.flavour {
        Flavour::MySql => (
            "keyring",
            "keyring",
            "set up a keyring component on the destination, such as component_keyring_file",
        ),
        Flavour::MariaDb => (
            "encryption",
            "plugin for encryption keys",
            "set up such a plugin on the destination, such as file_key_management",
        ),
    };
    let has_plugin = facts.plugins.values().any(|plugin| plugin == kind);
    if has_plugin || facts.version.flavour == Flavour::MySql && has_component(connection).await? {
        return Ok(None);
    }
    Ok(Some(Refusal::new(
        format!("the destination has no {what}, which encrypted tables need, such as {table}"),
        install,
    )))
}

/// Whether MySQL has a keyring component; true if that is denied.
async fn has_component(connection: &mut Connection) -> Result<bool> {
    const QUERY: &str = "SELECT status_value FROM performance_schema.keyring_component_status \
                         WHERE status_key = 'Component_status' AND status_value = 'Active'";
    match connection.rows::<String>(QUERY).await {
        Ok(active) => Ok(!active.is_empty()),
        Err(error) => match server_code(&error) {
            Some(code) => Ok(!ABSENT.contains(&code)),
            None => Err(error),
        },
    }
}

/// Refusals for those of the schemas that are READ ONLY on the server.
pub async fn read_only_schemas(
    connection: &mut Connection,
    schemas: &BTreeSet<String>,
) -> Result<Vec<Refusal>> {
    if schemas.is_empty() {
        return Ok(Vec::new());
    }
    let query = format!(
        "SELECT schema_name FROM information_schema.schemata_extensions \
         WHERE options LIKE '%READ ONLY=1%' AND schema_name IN ({})",
        literals(schemas)
    );
    let read_only = names(connection, &query).await?.unwrap_or_default();
    let refusal = |schema: String| {
        Refusal::new(
            format!(
                "{} is READ ONLY on the destination",
                ObjectId::schema(schema.as_str())
            ),
            format!("ALTER SCHEMA {} READ ONLY = 0", quote(&schema)),
        )
    };
    Ok(read_only.into_iter().map(refusal).collect())
}

/// Refusals for those of `used` (by name, each with an object that names it) that the server does not know.
pub async fn missing_collations(
    connection: &mut Connection,
    used: &BTreeMap<String, ObjectId>,
) -> Result<Vec<Refusal>> {
    const UNKNOWN: u16 = 1273;
    let mut missing = Vec::new();
    for (name, object) in used {
        // Not looked up: MariaDB lists some without the character set that definitions prefix.
        let sql = format!("SELECT _latin1'' COLLATE {name}");
        match connection.one::<String>(&sql).await {
            Err(error) if server_code(&error) == Some(UNKNOWN) => missing.push(Refusal::new(
                format!("the destination lacks the collation {name} (used by {object})"),
                "restore into a server that has it; one from files is in the character_sets_dir of the target",
            )),
            Err(error) if server_code(&error).is_none() => return Err(error),
            _ => {}
        }
    }
    Ok(missing)
}

/// Refusals for those of `used` (by name in lower case, each with a view that calls it) that the server lacks.
pub async fn missing_functions(
    connection: &mut Connection,
    used: &BTreeMap<String, ObjectId>,
) -> Result<Vec<Refusal>> {
    const QUERY: &str = "SELECT LOWER(name) FROM mysql.func";
    const OF_COMPONENTS: &str =
        "SELECT LOWER(udf_name) FROM performance_schema.user_defined_functions";
    if used.is_empty() {
        return Ok(Vec::new());
    }
    let Some(mut there) = names(connection, QUERY).await? else {
        return Ok(Vec::new());
    };
    there.extend(
        names(connection, OF_COMPONENTS)
            .await?
            .into_iter()
            .flatten(),
    );
    let missing = used.iter().filter(|(name, _)| !there.contains(name));
    let refusal = |(name, view): (&String, &ObjectId)| {
        Refusal::new(
            format!("the destination lacks the loadable function {name} (used by {view})"),
            format!(
                "CREATE FUNCTION {} … SONAME on the destination, or INSTALL COMPONENT for one of a component",
                quote(name)
            ),
        )
    };
    Ok(missing.map(refusal).collect())
}
