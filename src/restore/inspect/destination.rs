//! State of the destination, read once before anything is decided.

use std::collections::{BTreeMap, BTreeSet};

use crate::mysql::compat::REDO_LOG_ENABLED;
use crate::mysql::connect::{NamedRow, literals, server_code};
use crate::mysql::definers;
use crate::mysql::names::NameCase;
use crate::mysql::replication::Replication;
use crate::mysql::schemas::Own;
use crate::mysql::show_grants::{Line, On, What, is_public};
use crate::mysql::{Connection, ServerVersion};
use crate::sql::definer::Account;
use crate::sql::statement::{ObjectId, ObjectKind};
use crate::util::error::Result;

/// A connection of another client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectedClient {
    /// The server's id of the connection.
    pub id: u32,
    pub user: String,
    pub host: String,
}

impl std::fmt::Display for ConnectedClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{} ({})", self.user, self.host, self.id)
    }
}

/// Default character set and collation of a schema on the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExistingDefault {
    pub charset: String,
    pub collation: String,
    /// Whether the collation is the default of the character set.
    pub of_charset: bool,
}

/// State of the destination.
#[derive(Debug, Clone)]
pub struct DestinationFacts {
    pub version: ServerVersion,
    /// Whether the redo log can be disabled.
    pub has_redo_log_switch: bool,
    /// Global variables, names in lower case.
    pub variables: BTreeMap<String, String>,
    /// Existing objects in the schemas in scope, including the schemas.
    pub objects: BTreeSet<ObjectId>,
    /// Defaults of these schemas.
    pub schemas: BTreeMap<String, ExistingDefault>,
    /// Accounts and roles; `None` if the account of the restore may not read them.
    pub accounts: Option<BTreeSet<Account>>,
    /// Active plugins and their types, both in lower case.
    pub plugins: BTreeMap<String, String>,
    /// Known dynamic privileges; `None` if the server has none (MariaDB).
    pub dynamic_privileges: Option<BTreeSet<String>>,
    /// MySQL accounts with SYSTEM_USER: only an account with this privilege may create objects of such a
    /// definer. Empty if the account of the restore may not read them.
    pub system_accounts: BTreeSet<Account>,
    /// Definers of existing objects in all schemas that do not exist as accounts, as `user@host`, each with these
    /// objects. Empty if the account of the restore may not read accounts.
    pub orphans: BTreeMap<String, Vec<ObjectId>>,
    pub other_clients: Vec<ConnectedClient>,
    pub replication: Replication,
    /// The account of the restore, `user@host` as in `CURRENT_USER()`.
    pub own_account: String,
    /// Global privileges of this account and of its active roles, in upper case; `None` if SHOW GRANTS cannot
    /// be parsed.
    pub privileges: Option<BTreeSet<String>>,
}

impl DestinationFacts {
    /// Queries the server. `schemas`: the schemas in scope, by their names on the destination.
    pub async fn read(connection: &mut Connection, schemas: &BTreeSet<String>) -> Result<Self> {
        let version = connection.version().await?;
        let variables: Vec<(String, String)> = connection.rows("SHOW GLOBAL VARIABLES").await?;
        let variables: BTreeMap<_, _> = variables
            .into_iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .collect();
        let own_account: String = connection.one("SELECT CURRENT_USER()").await?;
        Ok(DestinationFacts {
            objects: {
                let own = Own::from_variables(&version, &variables);
                let mut objects = objects(connection, &version, schemas).await?;
                // MariaDB's information_schema always treats SYS and sys as equal.
                objects.retain(|object| {
                    own.name_case() == NameCase::Insensitive || schemas.contains(&object.schema)
                });
                objects
            },
            schemas: defaults(connection, schemas).await?,
            accounts: accounts(connection, &version).await?,
            plugins: plugins(connection).await?,
            dynamic_privileges: dynamic_privileges(connection, &version).await?,
            system_accounts: system_accounts(connection, &version).await?,
            orphans: definers::missing(connection).await?,
            other_clients: other_clients(connection).await?,
            replication: Replication::query(connection, &version).await?,
            privileges: privileges(connection).await?,
            own_account,
            has_redo_log_switch: has_redo_log_switch(connection).await?,
            version,
            variables,
        })
    }

    /// Value of a variable; empty if it does not exist.
    pub fn variable(&self, name: &str) -> &str {
        self.variables.get(name).map_or("", String::as_str)
    }

    /// Value of a numeric variable.
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

    /// Whether the account has any of these global privileges; true if its privileges are unknown.
    pub fn may(&self, any_of: &[&str]) -> bool {
        match &self.privileges {
            None => true,
            Some(held) => held.contains("ALL") || any_of.iter().any(|one| held.contains(*one)),
        }
    }

    /// The schemas reserved by the server.
    pub fn own(&self) -> Own {
        Own::from_variables(&self.version, &self.variables)
    }

    /// Name of an object in the form in which the server compares names.
    pub fn folded(&self, object: &ObjectId) -> ObjectId {
        self.own().name_case().fold_object(object)
    }
}

async fn has_redo_log_switch(connection: &mut Connection) -> Result<bool> {
    let sql = format!("SHOW GLOBAL STATUS LIKE '{REDO_LOG_ENABLED}'");
    Ok(connection.row::<(String, String)>(&sql).await?.is_some())
}

async fn defaults(
    connection: &mut Connection,
    schemas: &BTreeSet<String>,
) -> Result<BTreeMap<String, ExistingDefault>> {
    if schemas.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows: Vec<(String, String, String, bool)> = connection
        .rows(&format!(
            "SELECT schema_name, default_character_set_name, default_collation_name,
             EXISTS (SELECT 1 FROM information_schema.collations
                     WHERE collation_name = default_collation_name AND is_default = 'Yes')
             FROM information_schema.schemata WHERE schema_name IN ({})",
            literals(schemas)
        ))
        .await?;
    let defaults = rows
        .into_iter()
        .map(|(schema, charset, collation, of_charset)| {
            let default = ExistingDefault {
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
    let list = literals(schemas);
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
        found.extend(rows.into_iter().map(|(schema, name, kind)| {
            ObjectId::new(ObjectKind::of_information_schema(&kind), schema, name)
        }));
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

/// Accounts and roles of a server; `None` if the account may not read them. MariaDB's PUBLIC always exists,
/// and is included only if it has privileges.
pub async fn accounts(
    connection: &mut Connection,
    version: &ServerVersion,
) -> Result<Option<BTreeSet<Account>>> {
    // MariaDB's roles have an empty host, as in a DEFINER clause.
    let mut accounts = accounts_of(connection, "SELECT user, host FROM mysql.user").await?;
    if let Some(accounts) = accounts.as_mut().filter(|_| version.is_mariadb()) {
        accounts.retain(|account| !is_public(account));
        if public_has_privileges(connection).await? {
            accounts.insert(Account {
                user: "PUBLIC".into(),
                host: String::new(),
            });
        }
    }
    Ok(accounts)
}

/// Whether PUBLIC has privileges besides those of a new installation.
async fn public_has_privileges(connection: &mut Connection) -> Result<bool> {
    /// PUBLIC does not exist, or has no privileges.
    const NOTHING: [u16; 3] = [1064, 1133, 1141];
    const OF_THE_INSTALLATION: [&str; 2] = ["test", "test\\_%"];
    match connection.rows::<String>("SHOW GRANTS FOR PUBLIC").await {
        Ok(lines) => Ok(lines.iter().any(|line| match Line::parse(line) {
            Some(line) if !is_public(&line.grantee) => false,
            Some(Line {
                what:
                    What::Privileges {
                        on: On::Schema(on), ..
                    },
                ..
            }) => !OF_THE_INSTALLATION.contains(&on.as_str()),
            _ => true,
        })),
        Err(error) if server_code(&error).is_some_and(|code| NOTHING.contains(&code)) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn plugins(connection: &mut Connection) -> Result<BTreeMap<String, String>> {
    let rows: Vec<(String, String)> = connection
        .rows(
            "SELECT LOWER(plugin_name), LOWER(plugin_type) FROM information_schema.plugins
             WHERE plugin_status = 'ACTIVE'",
        )
        .await?;
    Ok(rows.into_iter().collect())
}

async fn dynamic_privileges(
    connection: &mut Connection,
    version: &ServerVersion,
) -> Result<Option<BTreeSet<String>>> {
    if version.is_mariadb() {
        return Ok(None);
    }
    let rows = connection.named_rows("SHOW PRIVILEGES").await?;
    let names = rows.iter().filter_map(|row| row.get("Privilege"));
    Ok(Some(names.map(str::to_uppercase).collect()))
}

async fn system_accounts(
    connection: &mut Connection,
    version: &ServerVersion,
) -> Result<BTreeSet<Account>> {
    const HOLDERS: &str = "SELECT user, host FROM mysql.global_grants WHERE priv = 'SYSTEM_USER'";
    // On versions without SYSTEM_USER the query returns no rows.
    if version.is_mariadb() {
        return Ok(BTreeSet::new());
    }
    Ok(accounts_of(connection, HOLDERS).await?.unwrap_or_default())
}

/// The accounts that a query returns as user and host; `None` if access is denied.
async fn accounts_of(
    connection: &mut Connection,
    query: &str,
) -> Result<Option<BTreeSet<Account>>> {
    match connection.rows::<(String, String)>(query).await {
        Ok(rows) => Ok(Some(
            rows.into_iter()
                .map(|(user, host)| Account { user, host })
                .collect(),
        )),
        Err(error) if hidden(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether access to a system table is denied.
fn hidden(error: &crate::Error) -> bool {
    matches!(server_code(error), Some(1142 | 1143 | 1044))
}

async fn other_clients(connection: &mut Connection) -> Result<Vec<ConnectedClient>> {
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
        let other = ConnectedClient {
            id: row.get("Id")?.parse().ok()?,
            user: text(row, "User"),
            host: text(row, "Host"),
        };
        let command = text(row, "Command");
        let expected = other.id == own
            || OF_THE_SERVER.contains(&other.user.as_str())
            || ["Daemon", "Slave"].contains(&command.as_str())
            || command.starts_with("Binlog Dump");
        (!expected).then_some(other)
    });
    Ok(all.collect())
}

/// Privileges on `*.*`, including those of the roles that are active after login, as in every session of the
/// restore.
async fn privileges(connection: &mut Connection) -> Result<Option<BTreeSet<String>>> {
    let grants: Vec<String> = connection.rows("SHOW GRANTS").await?;
    Ok(global_privileges(&grants))
}

fn global_privileges(grants: &[String]) -> Option<BTreeSet<String>> {
    let mut held = BTreeSet::new();
    for line in grants {
        if let Line {
            revoke: false,
            what:
                What::Privileges {
                    privileges,
                    on: On::Global,
                },
            ..
        } = Line::parse(line)?
        {
            held.extend(privileges);
        }
    }
    Some(held)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn global_privileges_are_those_of_the_account_and_of_its_active_roles() {
        let privileges = |lines: &[&str]| {
            let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            global_privileges(&lines)
        };
        let own = privileges(&[
            "GRANT SELECT, CREATE VIEW ON *.* TO `u`@`%`",
            "GRANT SET_ANY_DEFINER,SYSTEM_VARIABLES_ADMIN ON *.* TO `u`@`%`",
            "GRANT ALL PRIVILEGES ON `a`.* TO `u`@`%`",
            "GRANT `role`@`%` TO `u`@`%`",
            "REVOKE SELECT ON `mysql`.* FROM `u`@`%`",
        ])
        .unwrap();
        assert!(own.contains("CREATE VIEW") && own.contains("SET_ANY_DEFINER"));
        assert!(!own.contains("ALL"));
        let of_role = privileges(&[
            "GRANT `r` TO `u`@`%`",
            "GRANT USAGE ON *.* TO `u`@`%` IDENTIFIED BY PASSWORD '*B6'",
            "GRANT ALL PRIVILEGES ON *.* TO `r`",
        ]);
        assert!(of_role.unwrap().contains("ALL"));
        assert_eq!(privileges(&["SOMETHING NEW"]), None);
    }
}
