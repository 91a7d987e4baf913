//! Warnings about properties of accounts that accounts.sql does not restore on another server.

use std::collections::BTreeSet;

use crate::Result;
use crate::backup::accounts::is_left_out;
use crate::backup::not_restorable::some_of;
use crate::mysql::{Connection, ServerVersion};
use crate::sql::definer::Account;

/// Privileges on objects that do not exist. A server keeps them, but does not accept them in GRANT, except CREATE on
/// a table.
const STALE: [&str; 3] = [
    "SELECT DISTINCT user, host, CONCAT('table ', db, '.', table_name) what FROM mysql.tables_priv p
     WHERE NOT FIND_IN_SET('Create', table_priv) AND NOT EXISTS (SELECT 1 FROM information_schema.tables t
     WHERE BINARY t.table_schema = BINARY p.db AND BINARY t.table_name = BINARY p.table_name)",
    "SELECT DISTINCT user, host, CONCAT('column ', db, '.', table_name, '.', column_name) what FROM mysql.columns_priv p
     WHERE EXISTS (SELECT 1 FROM information_schema.tables t
     WHERE BINARY t.table_schema = BINARY p.db AND BINARY t.table_name = BINARY p.table_name)
     AND NOT EXISTS (SELECT 1 FROM information_schema.columns c WHERE BINARY c.table_schema = BINARY p.db
     AND BINARY c.table_name = BINARY p.table_name AND LOWER(c.column_name) = LOWER(p.column_name))",
    "SELECT DISTINCT user, host, CONCAT('routine ', db, '.', routine_name) what FROM mysql.procs_priv p
     WHERE NOT EXISTS (SELECT 1 FROM information_schema.routines r
     WHERE BINARY r.routine_schema = BINARY p.db AND LOWER(r.routine_name) = LOWER(p.routine_name))",
];

/// Default roles that their account was not granted, of MariaDB and MySQL: dropped or revoked, or mandatory.
const UNGRANTED_ROLES: [&str; 2] = [
    "SELECT user, host, default_role what FROM mysql.user u WHERE default_role <> '' AND NOT EXISTS (SELECT 1
     FROM mysql.roles_mapping r WHERE BINARY r.user = BINARY u.user AND r.host = u.host AND BINARY r.role = BINARY u.default_role)",
    "SELECT user, host, default_role_user what FROM mysql.default_roles d WHERE NOT EXISTS (SELECT 1
     FROM mysql.role_edges e WHERE (e.from_user, e.from_host, e.to_user, e.to_host)
     = (d.default_role_user, d.default_role_host, d.user, d.host))",
];

/// The warnings, a line each.
pub(in crate::backup) async fn warnings(
    connection: &mut Connection,
    server: &ServerVersion,
) -> Result<Vec<String>> {
    let mut all = Vec::new();
    let mut stale = BTreeSet::new();
    for query in STALE {
        stale.extend(
            accounts(connection, query)
                .await?
                .into_iter()
                .map(|(account, what)| format!("{account} on {what}")),
        );
    }
    if let Some(stale) = some_of(&stale) {
        all.push(format!(
            "privileges on objects that do not exist will not be restored: {stale}"
        ));
    }
    let ungranted = UNGRANTED_ROLES[usize::from(!server.is_mariadb())];
    let ungranted = accounts(connection, ungranted).await?;
    let ungranted = ungranted
        .iter()
        .map(|(account, role)| format!("{role} of {account}"));
    if let Some(ungranted) = some_of(ungranted) {
        all.push(format!(
            "default roles that the account was not granted, or only by mandatory_roles, will not be restored: {ungranted}"
        ));
    }
    if server.is_mariadb() {
        return Ok(all);
    }
    let history = "SELECT DISTINCT user, host, '' what FROM mysql.password_history";
    let history = accounts(connection, history).await?;
    let history: BTreeSet<String> = history.into_iter().map(|(account, _)| account).collect();
    if let Some(history) = some_of(&history) {
        all.push(format!(
            "the password history is not backed up; after a restore, earlier passwords can be reused by {history}"
        ));
    }
    let roles = connection.variable(&["mandatory_roles"]).await?;
    if let Some(roles) = roles.filter(|roles| !roles.is_empty()) {
        all.push(format!(
            "mandatory_roles grants every account {roles}: set it on the restored server; it is not part of the accounts"
        ));
    }
    let revokes = connection.variable(&["partial_revokes"]).await?;
    if revokes.is_some_and(|value| value == "ON") {
        all.push(
            "partial_revokes is on: restore the accounts into a server where it is on, too"
                .to_owned(),
        );
    }
    Ok(all)
}

/// The accounts and objects in the result of a query; none if the query is denied.
async fn accounts(connection: &mut Connection, query: &str) -> Result<Vec<(String, String)>> {
    let rows: Option<Vec<(String, String, Vec<u8>)>> = connection.rows_if_allowed(query).await?;
    Ok(rows
        .unwrap_or_default()
        .into_iter()
        .map(|(user, host, what)| (Account { user, host }, what))
        .filter(|(account, _)| !is_left_out(account))
        .map(|(account, what)| {
            let what = String::from_utf8_lossy(&what).into_owned();
            (account.to_string(), what)
        })
        .collect())
}
