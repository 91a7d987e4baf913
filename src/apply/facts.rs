//! What the server being restored says about itself, read once before anything is decided.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Result;
use crate::server::compat::REDO_LOG_ENABLED;
use crate::server::connect::{NamedRow, literal, server_code};
use crate::server::{Connection, ServerVersion};
use crate::sql::definer::Account;
use crate::sql::statement::{ObjectId, ObjectKind};

/// A connection that is not the restore's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherConnection {
    /// The server's number of it.
    pub id: u32,
    /// Whose it is.
    pub user: String,
    /// Where it comes from.
    pub host: String,
}

impl std::fmt::Display for OtherConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{} ({})", self.user, self.host, self.id)
    }
}

/// What a schema of the server gives to what is made in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetDefault {
    /// Its character set.
    pub charset: String,
    /// Its collation.
    pub collation: String,
    /// Whether that is what the character set alone would give.
    pub of_charset: bool,
}

/// One look at the server.
#[derive(Debug, Clone)]
pub struct TargetFacts {
    /// What it is.
    pub version: ServerVersion,
    /// Whether its redo log can be switched off.
    pub has_redo_log_switch: bool,
    /// Its global variables, names in lower case.
    pub variables: BTreeMap<String, String>,
    /// What exists in the schemas that a restore would touch; the schemas themselves too.
    pub objects: BTreeSet<ObjectId>,
    /// The defaults of such schemas.
    pub schemas: BTreeMap<String, MetDefault>,
    /// Its accounts and roles; `None` where the account of the restore may not see them.
    pub accounts: Option<BTreeSet<Account>>,
    /// Those of MySQL with SYSTEM_USER: only an account that holds it may define objects as one of them.
    /// Empty where the account of the restore may not see who does.
    pub system_accounts: BTreeSet<Account>,
    /// Who else is connected.
    pub others: Vec<OtherConnection>,
    /// The server that it replicates from.
    pub replicates_from: Option<String>,
    /// Whether it is an online member of a Group Replication group.
    pub group_member: bool,
    /// The account of the restore, as the server knows it.
    pub own_account: String,
    /// The global privileges of that account, upper case; `None` where roles hide them.
    pub privileges: Option<BTreeSet<String>>,
}

impl TargetFacts {
    /// Asks the server. `schemas` are those that the restore would touch, by their names there.
    pub async fn read(connection: &mut Connection, schemas: &BTreeSet<String>) -> Result<Self> {
        let version = connection.version().await?;
        let variables: Vec<(String, String)> = connection.rows("SHOW GLOBAL VARIABLES").await?;
        let variables: BTreeMap<_, _> = variables
            .into_iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .collect();
        let own_account: String = connection.one("SELECT CURRENT_USER()").await?;
        Ok(TargetFacts {
            objects: objects(connection, &version, schemas).await?,
            schemas: defaults(connection, schemas).await?,
            accounts: accounts(connection, &version).await?,
            system_accounts: system_accounts(connection, &version).await?,
            others: others(connection).await?,
            replicates_from: replicates_from(connection, &version).await?,
            group_member: group_member(connection, &variables).await?,
            privileges: privileges(connection).await?,
            own_account,
            has_redo_log_switch: has_redo_log_switch(connection).await?,
            version,
            variables,
        })
    }

    /// A variable's value; empty where the server has none of that name.
    pub fn variable(&self, name: &str) -> &str {
        self.variables.get(name).map_or("", String::as_str)
    }

    /// A variable that is a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.variable(name).parse().ok()
    }

    /// Whether a variable is on.
    pub fn is_on(&self, name: &str) -> bool {
        matches!(
            self.variable(name).to_ascii_uppercase().as_str(),
            "ON" | "1" | "YES"
        )
    }

    /// Whether the account has any of these global privileges, as far as one can see.
    pub fn may(&self, any_of: &[&str]) -> bool {
        match &self.privileges {
            None => true,
            Some(held) => {
                held.contains("ALL PRIVILEGES") || any_of.iter().any(|one| held.contains(*one))
            }
        }
    }

    /// An object's name as the server compares it.
    pub fn folded(&self, object: &ObjectId) -> ObjectId {
        if self.number("lower_case_table_names").unwrap_or(0) == 0 {
            return object.clone();
        }
        let name = match object.kind {
            ObjectKind::Table | ObjectKind::View | ObjectKind::Sequence => {
                object.name.to_lowercase()
            }
            _ => object.name.clone(),
        };
        ObjectId {
            schema: object.schema.to_lowercase(),
            kind: object.kind,
            name,
        }
    }
}

async fn has_redo_log_switch(connection: &mut Connection) -> Result<bool> {
    let sql = format!("SHOW GLOBAL STATUS LIKE '{REDO_LOG_ENABLED}'");
    Ok(connection.row::<(String, String)>(&sql).await?.is_some())
}

fn listed(schemas: &BTreeSet<String>) -> String {
    let all: Vec<String> = schemas.iter().map(|schema| literal(schema)).collect();
    all.join(", ")
}

async fn defaults(
    connection: &mut Connection,
    schemas: &BTreeSet<String>,
) -> Result<BTreeMap<String, MetDefault>> {
    if schemas.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows: Vec<(String, String, String, bool)> = connection
        .rows(&format!(
            "SELECT schema_name, default_character_set_name, default_collation_name,
             EXISTS (SELECT 1 FROM information_schema.collations
                     WHERE collation_name = default_collation_name AND is_default = 'Yes')
             FROM information_schema.schemata WHERE schema_name IN ({})",
            listed(schemas)
        ))
        .await?;
    let defaults = rows
        .into_iter()
        .map(|(schema, charset, collation, of_charset)| {
            let default = MetDefault {
                charset,
                collation,
                of_charset,
            };
            (schema, default)
        });
    Ok(defaults.collect())
}

async fn objects(
    connection: &mut Connection,
    version: &ServerVersion,
    schemas: &BTreeSet<String>,
) -> Result<BTreeSet<ObjectId>> {
    let mut found = BTreeSet::new();
    if schemas.is_empty() {
        return Ok(found);
    }
    let list = listed(schemas);
    let names: Vec<String> = connection
        .rows(&format!(
            "SELECT schema_name FROM information_schema.schemata WHERE schema_name IN ({list})"
        ))
        .await?;
    found.extend(names.into_iter().map(ObjectId::schema));
    let queries = [
        (
            "table_schema, table_name, table_type",
            "tables",
            "table_schema",
        ),
        (
            "routine_schema, routine_name, routine_type",
            "routines",
            "routine_schema",
        ),
        (
            "trigger_schema, trigger_name, 'TRIGGER'",
            "triggers",
            "trigger_schema",
        ),
        (
            "event_schema, event_name, 'EVENT'",
            "events",
            "event_schema",
        ),
    ];
    for (columns, table, schema) in queries {
        let rows: Vec<(String, String, String)> = connection
            .rows(&format!(
                "SELECT {columns} FROM information_schema.{table} WHERE {schema} IN ({list})"
            ))
            .await?;
        found.extend(
            rows.into_iter()
                .map(|(schema, name, kind)| ObjectId::new(object_kind(&kind), schema, name)),
        );
    }
    if !version.is_mariadb() && connection.has_information("libraries").await? {
        let rows: Vec<(String, String)> = connection
            .rows(&format!(
                "SELECT library_schema, library_name FROM information_schema.libraries
                 WHERE library_schema IN ({list})"
            ))
            .await?;
        found.extend(
            rows.into_iter()
                .map(|(schema, name)| ObjectId::new(ObjectKind::Library, schema, name)),
        );
    }
    Ok(found)
}

fn object_kind(word: &str) -> ObjectKind {
    match word {
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

async fn accounts(
    connection: &mut Connection,
    version: &ServerVersion,
) -> Result<Option<BTreeSet<Account>>> {
    // MariaDB's roles have an empty host there, as they have in a DEFINER clause.
    let mut accounts = named_by(connection, "SELECT user, host FROM mysql.user").await?;
    if let Some(accounts) = accounts.as_mut().filter(|_| version.is_mariadb()) {
        // Created by the server, not listed in mysql.user in all versions.
        accounts.insert(Account {
            user: "PUBLIC".into(),
            host: String::new(),
        });
    }
    Ok(accounts)
}

async fn system_accounts(
    connection: &mut Connection,
    version: &ServerVersion,
) -> Result<BTreeSet<Account>> {
    const HOLDERS: &str = "SELECT user, host FROM mysql.global_grants WHERE priv = 'SYSTEM_USER'";
    // Before SYSTEM_USER came there is a table of privileges all the same, and nobody in it.
    if version.is_mariadb() {
        return Ok(BTreeSet::new());
    }
    Ok(named_by(connection, HOLDERS).await?.unwrap_or_default())
}

/// The accounts that a query names by user and host; `None` where they are hidden from this one.
async fn named_by(connection: &mut Connection, query: &str) -> Result<Option<BTreeSet<Account>>> {
    match connection.rows::<(String, String)>(query).await {
        Ok(rows) => {
            let accounts = rows.into_iter();
            Ok(Some(
                accounts
                    .map(|(user, host)| Account { user, host })
                    .collect(),
            ))
        }
        Err(error) if hidden(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the account may not see a table of the server's own.
fn hidden(error: &crate::Error) -> bool {
    matches!(server_code(error), Some(1142 | 1143 | 1044))
}

async fn others(connection: &mut Connection) -> Result<Vec<OtherConnection>> {
    const OF_THE_SERVER: [&str; 4] = [
        "system user",
        "event_scheduler",
        "mysql.session",
        "mysql.infoschema",
    ];
    let own = connection.id();
    let rows = connection.named_rows("SHOW PROCESSLIST").await?;
    let text = |row: &NamedRow, column: &str| row.get(column).unwrap_or_default().to_owned();
    let all = rows.iter().filter_map(|row| {
        let other = OtherConnection {
            id: row.get("Id")?.parse().ok()?,
            user: text(row, "User"),
            host: text(row, "Host"),
        };
        let command = text(row, "Command");
        let business = other.id == own
            || OF_THE_SERVER.contains(&other.user.as_str())
            || ["Daemon", "Slave"].contains(&command.as_str())
            || command.starts_with("Binlog Dump");
        (!business).then_some(other)
    });
    Ok(all.collect())
}

async fn replicates_from(
    connection: &mut Connection,
    version: &ServerVersion,
) -> Result<Option<String>> {
    let sql = match version.is_mysql_from(8, 0, 22) {
        true => "SHOW REPLICA STATUS",
        false => "SHOW SLAVE STATUS",
    };
    match connection.named_rows(sql).await {
        Ok(rows) => Ok(rows.first().map(|row| {
            row.any(&["Source_Host", "Master_Host"])
                .unwrap_or("another server")
                .to_owned()
        })),
        // Without the privilege to look, nothing is known.
        Err(error) if server_code(&error) == Some(1227) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn group_member(
    connection: &mut Connection,
    variables: &BTreeMap<String, String>,
) -> Result<bool> {
    let group = variables
        .get("group_replication_group_name")
        .map_or("", String::as_str);
    if group.is_empty() {
        return Ok(false);
    }
    let online: u64 = connection
        .one(
            "SELECT COUNT(*) FROM performance_schema.replication_group_members
             WHERE member_id = @@server_uuid AND member_state <> 'OFFLINE'",
        )
        .await?;
    Ok(online > 0)
}

/// What follows `GRANT` and precedes `ON *.*` in SHOW GRANTS.
async fn privileges(connection: &mut Connection) -> Result<Option<BTreeSet<String>>> {
    let grants: Vec<String> = connection.rows("SHOW GRANTS").await?;
    Ok(global_privileges(&grants))
}

fn global_privileges(grants: &[String]) -> Option<BTreeSet<String>> {
    let mut held = BTreeSet::new();
    for line in grants {
        let line = line.strip_prefix("GRANT ")?;
        match line.split_once(" ON *.* TO ") {
            Some((list, _)) => {
                held.extend(list.split(',').map(|one| one.trim().to_ascii_uppercase()));
            }
            // A role is granted, whose privileges this list does not show.
            None if !line.contains(" ON ") => return None,
            None => {}
        }
    }
    Some(held)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn global_privileges_are_read_and_roles_make_them_unknown() {
        let own = |lines: &[&str]| {
            lines
                .iter()
                .map(|line| (*line).to_owned())
                .collect::<Vec<_>>()
        };
        let held = global_privileges(&own(&[
            "GRANT SELECT, CREATE VIEW ON *.* TO `u`@`%`",
            "GRANT SET_ANY_DEFINER,SYSTEM_VARIABLES_ADMIN ON *.* TO `u`@`%`",
            "GRANT ALL PRIVILEGES ON `a`.* TO `u`@`%`",
        ]))
        .unwrap();
        assert!(held.contains("CREATE VIEW") && held.contains("SET_ANY_DEFINER"));
        assert!(!held.contains("ALL PRIVILEGES"));
        assert_eq!(
            global_privileges(&own(&["GRANT `role`@`%` TO `u`@`%`"])),
            None
        );
    }
}
