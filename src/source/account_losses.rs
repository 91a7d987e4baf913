//! What accounts have that accounts.sql does not bring to another server, or that means something only beside a
//! setting of this one: named before the backup.

use std::collections::BTreeSet;

use super::accounts::is_left_out;
use super::unkept::some_of;
use crate::Result;
use crate::server::{Connection, ServerVersion};
use crate::sql::definer::Account;

/// Privileges on what does not exist, which a server keeps and does not take again; MySQL grants CREATE on a table
/// that is still to come.
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

/// All of it, a line each.
pub(super) async fn warnings(
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
            "privileges on what does not exist, which a restore leaves out: {stale}"
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
            "earlier passwords are not taken along, and may be used again after a restore, by {history}"
        ));
    }
    if server.is_mysql_from(8, 0, 0) {
        let roles: String = connection.one("SELECT @@GLOBAL.mandatory_roles").await?;
        if !roles.is_empty() {
            all.push(format!(
                "mandatory_roles gives every account {roles}: set it on a restored server, accounts do not bring it"
            ));
        }
    }
    if server.is_mysql_from(8, 0, 16)
        && connection.one::<u8>("SELECT @@partial_revokes").await? != 0
    {
        all.push(
            "partial_revokes is on: restore the accounts into a server where it is on too"
                .to_owned(),
        );
    }
    Ok(all)
}

/// Whom and what a query names; nothing where the account may not ask.
async fn accounts(connection: &mut Connection, query: &str) -> Result<Vec<(String, String)>> {
    let rows: Option<Vec<(String, String, Vec<u8>)>> = connection.rows_if_allowed(query).await?;
    let rows = rows.unwrap_or_default().into_iter();
    let taken = rows.filter(|(user, host, _)| !is_left_out(user, host));
    let named = taken.map(|(user, host, what)| {
        let account = Account { user, host }.to_string();
        (account, String::from_utf8_lossy(&what).into_owned())
    });
    Ok(named.collect())
}
