//! CREATE USER and GRANT of all accounts, as SQL beside the dump.
//!
//! A data restore never touches accounts, but views, triggers and routines run as their definers,
//! so the accounts have to be somewhere. Left out are the server's own, and the local `root`, which
//! every installation makes for itself. The text holds password hashes.

use std::fmt::Write as _;

use crate::server::compat::HEX_HASHES;
use crate::server::connect::{is_denied, server_code};
use crate::server::{Connection, ServerVersion};
use crate::source::Want;
use crate::sql::statement::quote;
use crate::{Error, Result};

/// One account or role.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Account {
    user: String,
    /// `None` for a MariaDB role, which has no host.
    host: Option<String>,
}

impl Account {
    fn quoted(&self) -> String {
        match &self.host {
            Some(host) => format!("{}@{}", quote(&self.user), quote(host)),
            // PUBLIC is a keyword, not a name.
            None if self.user == "PUBLIC" => self.user.clone(),
            None => quote(&self.user),
        }
    }

    fn is_left_out(&self) -> bool {
        let local = matches!(
            self.host.as_deref(),
            Some("localhost" | "127.0.0.1" | "::1")
        );
        let own = [
            "mysql.sys",
            "mysql.session",
            "mysql.infoschema",
            "mariadb.sys",
            "root",
        ];
        local && own.contains(&self.user.as_str())
    }
}

/// The accounts as SQL that ends in a newline: every account, then every privilege, then default
/// roles, so that each statement finds what it refers to.
///
/// An error of which [`is_denied`](crate::server::connect::is_denied) is true where the account
/// may not read the schema `mysql`.
pub async fn sql(connection: &mut Connection, server: &ServerVersion) -> Result<Vec<u8>> {
    let (accounts, _) = known(connection, server).await?;
    sql_of(connection, server, &accounts).await
}

async fn sql_of(
    connection: &mut Connection,
    server: &ServerVersion,
    accounts: &[Account],
) -> Result<Vec<u8>> {
    let mut sql =
        String::from("-- Accounts and privileges, without the server's own and the local root.\n");
    if !server.is_mariadb() {
        // Hashes are raw bytes, control characters included.
        connection.run(HEX_HASHES).await?;
    }
    for account in accounts {
        if let Some(create) = create(connection, server, account).await? {
            let _ = writeln!(sql, "{create};");
        }
    }
    let mut defaults = String::new();
    for account in accounts {
        for grant in grants(connection, server, account).await? {
            let out = if grant.starts_with("SET ") {
                &mut defaults
            } else {
                &mut sql
            };
            let _ = writeln!(out, "{grant};");
        }
    }
    if !server.is_mariadb() {
        defaults = default_roles(connection, accounts).await?;
    }
    sql.push_str(&defaults);
    Ok(sql.into_bytes())
}

async fn list(connection: &mut Connection, server: &ServerVersion) -> Result<Vec<Account>> {
    let rows: Vec<(String, String, String)> =
        match server.is_mariadb() {
            // Roles first: grants name them.
            true => connection
                .rows(
                    "SELECT user, host, is_role FROM mysql.user ORDER BY is_role = 'Y' DESC, 1, 2",
                )
                .await?,
            false => {
                connection
                    .rows("SELECT user, host, 'N' FROM mysql.user ORDER BY 1, 2")
                    .await?
            }
        };
    let accounts = rows.into_iter().map(|(user, host, is_role)| Account {
        user,
        host: (is_role != "Y").then_some(host),
    });
    Ok(accounts.filter(|account| !account.is_left_out()).collect())
}

/// Those that the server knows, and those that it keeps and does not know: one that resolves no names
/// leaves out, as it starts, whose host is a name. They cannot log in there, and cannot be shown.
async fn known(
    connection: &mut Connection,
    server: &ServerVersion,
) -> Result<(Vec<Account>, Vec<Account>)> {
    /// ER_PASSWORD_NO_MATCH, ER_NONEXISTING_GRANT, ER_CANNOT_USER.
    const NOT_KNOWN: [u16; 3] = [1133, 1141, 1396];
    let all = list(connection, server).await?;
    let resolves: bool = connection
        .one("SELECT NOT @@GLOBAL.skip_name_resolve")
        .await?;
    if resolves {
        return Ok((all, Vec::new()));
    }
    let is_a_name = |host: &String| host.chars().any(|c| !"0123456789.:%_/".contains(c));
    let (mut known, mut ignored) = (Vec::new(), Vec::new());
    for account in all {
        if !account.host.as_ref().is_some_and(is_a_name) {
            known.push(account);
            continue;
        }
        let show = format!("SHOW CREATE USER {}", account.quoted());
        match connection.one::<String>(&show).await {
            Ok(_) => known.push(account),
            Err(error) if server_code(&error).is_some_and(|code| NOT_KNOWN.contains(&code)) => {
                ignored.push(account);
            }
            Err(error) => return Err(error),
        }
    }
    Ok((known, ignored))
}

async fn create(
    connection: &mut Connection,
    server: &ServerVersion,
    account: &Account,
) -> Result<Option<String>> {
    if account.host.is_none() {
        let role = account.quoted();
        return Ok((role != "PUBLIC").then(|| format!("CREATE ROLE IF NOT EXISTS {role}")));
    }
    let shown = connection
        .one::<String>(&format!("SHOW CREATE USER {}", account.quoted()))
        .await?;
    let rest = shown.strip_prefix("CREATE USER ").ok_or_else(|| {
        connection.role().error(format!(
            "SHOW CREATE USER {} answers something else",
            account.quoted()
        ))
    })?;
    // The role need not exist yet, and is not granted yet: default roles come last.
    let rest = match server.is_mariadb() {
        true => rest.to_owned(),
        false => without_default_role(rest),
    };
    Ok(Some(format!("CREATE USER IF NOT EXISTS {rest}")))
}

/// Takes ` DEFAULT ROLE …` out of MySQL's SHOW CREATE USER; it stands before ` REQUIRE `, which is
/// always there. Quoted text is skipped.
fn without_default_role(text: &str) -> String {
    let outside = |word: &str, from: usize| {
        let mut quoted = None;
        text.char_indices().find_map(|(at, c)| {
            match quoted {
                Some(open) if c == open => quoted = None,
                Some(_) => {}
                None if matches!(c, '\'' | '`' | '"') => quoted = Some(c),
                None if at >= from && text[at..].starts_with(word) => return Some(at),
                None => {}
            }
            None
        })
    };
    match outside(" DEFAULT ROLE ", 0).and_then(|from| Some((from, outside(" REQUIRE ", from)?))) {
        Some((from, to)) => format!("{}{}", &text[..from], &text[to..]),
        None => text.to_owned(),
    }
}

async fn grants(
    connection: &mut Connection,
    server: &ServerVersion,
    account: &Account,
) -> Result<Vec<String>> {
    let who = account.quoted();
    let lines = match connection
        .rows::<String>(&format!("SHOW GRANTS FOR {who}"))
        .await
    {
        // PUBLIC without a single grant, or a server that does not know it.
        Err(_) if who == "PUBLIC" => return Ok(Vec::new()),
        lines => lines?,
    };
    // MariaDB shows a role's roles with the privileges of those; each role has its own turn.
    let about_it = |line: &String| {
        !server.is_mariadb() || account.host.is_some() || line.contains(&format!(" TO {who}"))
    };
    // MariaDB adds what PUBLIC holds to what it shows of others.
    let of_public = |line: &String| who != "PUBLIC" && line.ends_with(" TO PUBLIC");
    let mut kept: Vec<String> = Vec::new();
    for line in lines {
        // MariaDB's installation leaves the same PROXY grant twice.
        if about_it(&line) && !of_public(&line) && !kept.contains(&line) {
            kept.push(line);
        }
    }
    Ok(kept)
}

async fn default_roles(connection: &mut Connection, accounts: &[Account]) -> Result<String> {
    let rows: Vec<(String, String, String, String)> = connection
        .rows(
            "SELECT user, host, default_role_user, default_role_host FROM mysql.default_roles \
             ORDER BY 1, 2, 3, 4",
        )
        .await?;
    let mut sql = String::new();
    for account in accounts {
        let roles: Vec<String> = rows
            .iter()
            .filter(|(user, host, ..)| *user == account.user && Some(host) == account.host.as_ref())
            .map(|(_, _, role, host)| format!("{}@{}", quote(role), quote(host)))
            .collect();
        if !roles.is_empty() {
            let _ = writeln!(
                sql,
                "SET DEFAULT ROLE {} TO {};",
                roles.join(", "),
                account.quoted()
            );
        }
    }
    Ok(sql)
}

/// Whether the accounts can be read, and what to say where they cannot.
pub(super) async fn readable(
    connection: &mut Connection,
    server: &ServerVersion,
    want: Want,
) -> Result<(bool, Option<String>)> {
    if want == Want::Off {
        return Ok((false, None));
    }
    match probe(connection, server).await {
        Ok(ignored) if ignored.is_empty() => Ok((true, None)),
        Ok(ignored) => {
            let names = ignored.iter().map(Account::quoted);
            let names = names.collect::<Vec<_>>().join(", ");
            Ok((
                true,
                Some(format!(
                    "without accounts that the server itself ignores, as it resolves no names (skip_name_resolve): {names}"
                )),
            ))
        }
        Err(error) if is_denied(&error) && want == Want::Require => Err(Error::source(
            "the account may not read the server's accounts",
        )
        .hint("grant it SELECT on mysql.*, or set backup.accounts: auto")),
        Err(error) if is_denied(&error) => Ok((false, Some(without(&error)))),
        Err(error) => Err(error),
    }
}

/// Asks of one other account all that is asked of each: to list them takes less than to show them. Gives
/// those that the server ignores.
async fn probe(connection: &mut Connection, server: &ServerVersion) -> Result<Vec<Account>> {
    let own: String = connection.one("SELECT CURRENT_USER()").await?;
    let (mut others, ignored) = known(connection, server).await?;
    others.retain(|account| {
        let host = account.host.as_deref();
        host.is_some_and(|host| format!("{}@{host}", account.user) != own)
    });
    others.truncate(1);
    sql_of(connection, server, &others).await?;
    Ok(ignored)
}

/// The warning of a backup that has no accounts because they may not be read.
pub(super) fn without(denied: &Error) -> String {
    format!(
        "without accounts: grant SELECT on mysql.*, or set backup.accounts: off ({})",
        denied.what()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_role_is_taken_out_and_nothing_else() {
        let shown = "`a`@`%` IDENTIFIED WITH 'x' AS ' DEFAULT ROLE ' DEFAULT ROLE `r REQUIRE `@`%`,`s`@`%` REQUIRE NONE ACCOUNT UNLOCK";
        assert_eq!(
            without_default_role(shown),
            "`a`@`%` IDENTIFIED WITH 'x' AS ' DEFAULT ROLE ' REQUIRE NONE ACCOUNT UNLOCK"
        );
        let none = "`a`@`%` IDENTIFIED WITH 'x' REQUIRE NONE PASSWORD EXPIRE DEFAULT";
        assert_eq!(without_default_role(none), none);
    }

    #[test]
    fn the_servers_own_accounts_and_the_local_root_are_left_out() {
        let account = |user: &str, host: &str| Account {
            user: user.into(),
            host: Some(host.into()),
        };
        assert!(account("mysql.sys", "localhost").is_left_out());
        assert!(account("root", "localhost").is_left_out());
        assert!(!account("root", "%").is_left_out());
        assert!(!account("shop", "localhost").is_left_out());
    }
}
