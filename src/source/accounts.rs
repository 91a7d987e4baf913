//! CREATE USER and GRANT of all accounts, as SQL beside the dump.
//!
//! A data restore never touches accounts, but views, triggers and routines run as their definers,
//! so the accounts have to be somewhere. Left out are the server's own, and the local `root`, which
//! every installation makes for itself. The text holds password hashes.

use std::fmt::Write as _;

use super::account_text::{first_method, grant_alone, without_default_role};
use crate::server::compat::HEX_HASHES;
use crate::server::connect::{is_denied, literal, server_code};
use crate::server::{Connection, ServerVersion};
use crate::source::Want;
use crate::sql::statement::quote;
use crate::{Error, Result};

/// ER_NONEXISTING_GRANT: the account has no privilege at all, not even that to connect.
const NO_GRANTS: u16 = 1141;

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
        self.host
            .as_deref()
            .is_some_and(|host| is_left_out(&self.user, host))
    }
}

/// Whether an account is the server's own, or the local root.
pub(super) fn is_left_out(user: &str, host: &str) -> bool {
    const OWN: [&str; 5] = [
        "mysql.sys",
        "mysql.session",
        "mysql.infoschema",
        "mariadb.sys",
        "root",
    ];
    ["localhost", "127.0.0.1", "::1"].contains(&host) && OWN.contains(&user)
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
        for statement in create(connection, server, account).await? {
            let _ = writeln!(sql, "{statement};");
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

/// What makes the account, as often as it is executed.
async fn create(
    connection: &mut Connection,
    server: &ServerVersion,
    account: &Account,
) -> Result<Vec<String>> {
    let who = account.quoted();
    if account.host.is_none() {
        // PUBLIC is there by itself.
        let role = (who != "PUBLIC").then(|| format!("CREATE ROLE IF NOT EXISTS {who}"));
        return Ok(role.into_iter().collect());
    }
    let shown: Vec<String> = connection.rows(&format!("SHOW CREATE USER {who}")).await?;
    let mut shown = shown.into_iter();
    let made = shown.next().unwrap_or_default();
    let rest = made.strip_prefix("CREATE USER ").ok_or_else(|| {
        connection
            .role()
            .error(format!("SHOW CREATE USER {who} answers something else"))
    })?;
    if server.is_mariadb() {
        // Of an expired password the time for which the next one is good stands in a second line.
        let mut all = vec![format!("CREATE USER IF NOT EXISTS {rest}")];
        all.extend(shown);
        return Ok(all);
    }
    let rest = without_default_role(rest);
    let mut all = vec![format!("CREATE USER IF NOT EXISTS {rest}")];
    let hidden = hidden(connection, server, account).await?;
    if let Some(old) = &hidden.old_password
        && let Some((method, hash)) = first_method(&rest)
    {
        let alter = |hash: &str| format!("ALTER USER {who} IDENTIFIED WITH {method} AS {hash}");
        all.push(alter(&format!("0x{old}")));
        all.push(format!("{} RETAIN CURRENT PASSWORD", alter(&rest[hash])));
    }
    // SHOW CREATE USER says of an expired password that it is, and not for how long the next one is good; and
    // one that is set is not expired.
    if hidden.expired {
        let lifetime = match hidden.lifetime_days {
            None => None,
            Some(0) => Some("NEVER".to_owned()),
            Some(days) => Some(format!("INTERVAL {days} DAY")),
        };
        if hidden.old_password.is_some() || lifetime.is_some() {
            let lifetime = lifetime.map(|how| format!("ALTER USER {who} PASSWORD EXPIRE {how}"));
            all.extend(lifetime);
            all.push(format!("ALTER USER {who} PASSWORD EXPIRE"));
        }
    }
    Ok(all)
}

/// What MySQL's SHOW CREATE USER leaves out of an account.
#[derive(Debug)]
struct Hidden {
    /// Whether the password is expired.
    expired: bool,
    /// For how many days a password is good, where that is the account's own affair; 0 for ever.
    lifetime_days: Option<u16>,
    /// The hash of the password before the current one, which is good beside it, as hexadecimal digits.
    old_password: Option<String>,
}

async fn hidden(
    connection: &mut Connection,
    server: &ServerVersion,
    account: &Account,
) -> Result<Hidden> {
    let old_password = match server.is_mysql_from(8, 0, 14) {
        true => "HEX(JSON_UNQUOTE(JSON_EXTRACT(user_attributes, '$.additional_password')))",
        false => "NULL",
    };
    let sql = format!(
        "SELECT password_expired, password_lifetime, {old_password} FROM mysql.user
         WHERE user = {} AND host = {}",
        literal(&account.user),
        literal(account.host.as_deref().unwrap_or_default())
    );
    let (expired, lifetime_days, old_password): (String, Option<u16>, Option<String>) =
        connection.one(&sql).await?;
    Ok(Hidden {
        expired: expired == "Y",
        lifetime_days,
        old_password,
    })
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
        Err(error) if who == "PUBLIC" && server_code(&error) == Some(NO_GRANTS) => Vec::new(),
        lines => lines?,
    };
    // MariaDB shows a role's roles with the privileges of those; each role has its own turn.
    let about_it = |line: &String| {
        !server.is_mariadb() || account.host.is_some() || line.contains(&format!(" TO {who}"))
    };
    // MariaDB adds what PUBLIC holds to what it shows of others.
    let of_public = |line: &String| who != "PUBLIC" && line.contains(" TO PUBLIC");
    let mut kept: Vec<String> = Vec::new();
    for line in lines {
        let line = match server.is_mariadb() {
            true => grant_alone(&line),
            false => line,
        };
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
