//! What the server being restored says about itself, read once before anything is decided.

use std::collections::{BTreeMap, BTreeSet};

use crate::apply::offered::is_public;
use crate::error::Result;
use crate::server::compat::REDO_LOG_ENABLED;
use crate::server::connect::{NamedRow, literal, server_code};
use crate::server::replication::Replication;
use crate::server::schemas::Own;
use crate::server::show_grants::{Line, On};
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
    /// Its plugins that are at work and what kind each is, both in lower case.
    pub plugins: BTreeMap<String, String>,
    /// The dynamic privileges that it knows; `None` where it has none (MariaDB).
    pub dynamic_privileges: Option<BTreeSet<String>>,
    /// Those of MySQL with SYSTEM_USER: only an account that holds it may define objects as one of them.
    /// Empty where the account of the restore may not see who does.
    pub system_accounts: BTreeSet<Account>,
    /// Who else is connected.
    pub others: Vec<OtherConnection>,
    /// What it is among other servers.
    pub replication: Replication,
    /// The account of the restore, as the server knows it.
    pub own_account: String,
    /// The global privileges of that account and of its active roles, upper case; `None` where the server
    /// tells them in a way that drctl does not know.
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
            objects: {
                let own = Own::from_variables(&version, &variables);
                let mut objects = objects(connection, &version, schemas).await?;
                // To MariaDB's information_schema SYS is sys, whatever the server makes of names.
                objects.retain(|object| own.folds() || schemas.contains(&object.schema));
                objects
            },
            schemas: defaults(connection, schemas).await?,
            accounts: accounts(connection, &version).await?,
            plugins: plugins(connection).await?,
            dynamic_privileges: dynamic_privileges(connection, &version).await?,
            system_accounts: system_accounts(connection, &version).await?,
            others: others(connection).await?,
            replication: Replication::ask(connection, &version).await?,
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
            Some(held) => held.contains("ALL") || any_of.iter().any(|one| held.contains(*one)),
        }
    }

    /// Which schemas are the server's own.
    pub fn own(&self) -> Own {
        Own::from_variables(&self.version, &self.variables)
    }

    /// An object's name as the server compares it.
    pub fn folded(&self, object: &ObjectId) -> ObjectId {
        if !self.own().folds() {
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

/// The accounts and roles of a server; `None` where the account may not see them. MariaDB's PUBLIC is there by
/// itself, and counts as one where somebody granted it something.
pub async fn accounts(
    connection: &mut Connection,
    version: &ServerVersion,
) -> Result<Option<BTreeSet<Account>>> {
    // MariaDB's roles have an empty host there, as they have in a DEFINER clause.
    let mut accounts = named_by(connection, "SELECT user, host FROM mysql.user").await?;
    if let Some(accounts) = accounts.as_mut().filter(|_| version.is_mariadb()) {
        accounts.retain(|account| !is_public(account));
        if public_holds_something(connection).await? {
            accounts.insert(Account {
                user: "PUBLIC".into(),
                host: String::new(),
            });
        }
    }
    Ok(accounts)
}

/// Whether PUBLIC was granted anything but what an installation gives it.
async fn public_holds_something(connection: &mut Connection) -> Result<bool> {
    /// There is no PUBLIC, or it has no privilege.
    const NOTHING: [u16; 3] = [1064, 1133, 1141];
    const OF_THE_INSTALLATION: [&str; 2] = [" ON `test`.* ", " ON `test\\_%`.* "];
    match connection.rows::<String>("SHOW GRANTS FOR PUBLIC").await {
        Ok(lines) => Ok(lines.iter().any(|line| {
            line.contains(" TO PUBLIC") && !OF_THE_INSTALLATION.iter().any(|on| line.contains(on))
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
    if !version.is_mysql_from(8, 0, 0) {
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

/// The privileges on `*.*`. SHOW GRANTS right after login counts the roles that are active then, which are
/// those that every connection of the restore gets.
async fn privileges(connection: &mut Connection) -> Result<Option<BTreeSet<String>>> {
    let grants: Vec<String> = connection.rows("SHOW GRANTS").await?;
    Ok(global_privileges(&grants))
}

fn global_privileges(grants: &[String]) -> Option<BTreeSet<String>> {
    let mut held = BTreeSet::new();
    for line in grants {
        if let Line::Privileges {
            revoke: false,
            privileges,
            on: On::Global,
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
        let held = |lines: &[&str]| {
            let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            global_privileges(&lines)
        };
        let own = held(&[
            "GRANT SELECT, CREATE VIEW ON *.* TO `u`@`%`",
            "GRANT SET_ANY_DEFINER,SYSTEM_VARIABLES_ADMIN ON *.* TO `u`@`%`",
            "GRANT ALL PRIVILEGES ON `a`.* TO `u`@`%`",
            "GRANT `role`@`%` TO `u`@`%`",
            "REVOKE SELECT ON `mysql`.* FROM `u`@`%`",
        ])
        .unwrap();
        assert!(own.contains("CREATE VIEW") && own.contains("SET_ANY_DEFINER"));
        assert!(!own.contains("ALL"));
        let of_role = held(&[
            "GRANT `r` TO `u`@`%`",
            "GRANT USAGE ON *.* TO `u`@`%` IDENTIFIED BY PASSWORD '*B6'",
            "GRANT ALL PRIVILEGES ON *.* TO `r`",
        ]);
        assert!(of_role.unwrap().contains("ALL"));
        assert_eq!(held(&["SOMETHING NEW"]), None);
    }
}
