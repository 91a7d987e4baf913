//! CREATE USER and GRANT statements of all accounts, as SQL stored beside the dump.
//!
//! A restore of data never changes accounts, but views, triggers and routines run as their definers. System
//! accounts and the local `root`, which every installation creates itself, are left out. The SQL contains
//! password hashes.

mod create_user;
pub(super) mod losses;
mod text;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::backup::options::Want;
use crate::mysql::compat::HEX_HASHES;
use crate::mysql::connect::{is_denied, server_code};
use crate::mysql::show_grants::{Line, account_of, is_public, quoted, without_hash};
use crate::mysql::{Connection, ServerVersion};
use crate::sql::definer::Account;
use crate::sql::scan::Scanner;
use crate::sql::statement::quote;
use crate::{Error, Result};

use create_user::create_user;

/// ER_NONEXISTING_GRANT: the account has no privileges, not even USAGE.
const NO_GRANTS: u16 = 1141;

/// The server does not know an account: ER_PASSWORD_NO_MATCH, ER_NONEXISTING_GRANT, ER_CANNOT_USER.
const NOT_KNOWN: [u16; 3] = [1133, NO_GRANTS, 1396];

/// An account, or a role of MariaDB, which has no host.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Principal {
    account: Account,
    is_role: bool,
}

impl Principal {
    /// Its name in SQL.
    fn quoted(&self) -> String {
        let Account { user, host } = &self.account;
        if self.is_role {
            quoted(&self.account)
        } else {
            // The host of an account may be empty, too.
            format!("{}@{}", quote(user), quote(host))
        }
    }
}

/// Whether an account is a system account or the local root.
fn is_left_out(account: &Account) -> bool {
    const SYSTEM: [&str; 4] = [
        "mysql.sys",
        "mysql.session",
        "mysql.infoschema",
        "mariadb.sys",
    ];
    account.is_local_root() || account.is_local() && SYSTEM.contains(&account.user.as_str())
}

/// The SQL, which ends in a newline: first all accounts, then all privileges, then default roles, so that each
/// statement finds what it refers to.
///
/// # Errors
///
/// [`is_denied`] is true for the error if the account may not read the schema `mysql`.
pub async fn sql(connection: &mut Connection, server: &ServerVersion) -> Result<Vec<u8>> {
    let (known, _) = known(connection, server).await?;
    sql_of(connection, server, &known).await
}

async fn sql_of(
    connection: &mut Connection,
    server: &ServerVersion,
    principals: &[Principal],
) -> Result<Vec<u8>> {
    // Names are in UTF-8, whatever the client that reads them takes from its locale.
    let mut sql = String::from(
        "-- Accounts and privileges, without the server's own and the local root.\nSET NAMES utf8mb4;\n",
    );
    let mut roles_of_root = BTreeSet::new();
    let mut has_attributes = false;
    if server.is_mariadb() {
        roles_of_root = self::roles_of_root(connection).await?;
    } else {
        // Hashes are raw bytes, including control characters.
        connection.run(HEX_HASHES).await?;
        // A server without the column has neither second passwords nor attributes.
        has_attributes = connection
            .has_column("mysql", "user", "User_attributes")
            .await?;
    }
    for principal in principals {
        let statements = if principal.is_role {
            create_role(principal, &roles_of_root).into_iter().collect()
        } else {
            create_user(connection, server, principal, has_attributes)
                .await
                .map_err(|error| unknown_account(error, principal))?
        };
        for statement in statements {
            check_parses(&statement, principal)?;
            let _ = writeln!(sql, "{statement};");
        }
    }
    let mut defaults = String::new();
    for principal in principals {
        for grant in grants(connection, server, principal).await? {
            check_parses(&grant, principal)?;
            let out = if grant.starts_with("SET ") {
                &mut defaults
            } else {
                &mut sql
            };
            // A grant on a package does not parse in other modes.
            let _ = if Line::parse(&grant).is_some_and(|line| line.is_on_a_package()) {
                writeln!(
                    out,
                    "SET sql_mode = 'ORACLE';\n{grant};\nSET sql_mode = DEFAULT;"
                )
            } else {
                writeln!(out, "{grant};")
            };
        }
    }
    if !server.is_mariadb() {
        defaults = default_roles(connection, principals).await?;
    }
    sql.push_str(&defaults);
    Ok(sql.into_bytes())
}

/// Refuses SQL that a restore would not parse as one statement about this account: an accounts.sql that cannot be
/// read must never be committed.
fn check_parses(statement: &str, principal: &Principal) -> Result<()> {
    let mut scanner = Scanner::accounts();
    scanner.push(format!("{statement};\n").as_bytes());
    scanner.finish();
    let is_whole = scanner.next().is_ok_and(|read| {
        read.is_some_and(|read| {
            read.sql == statement.as_bytes()
                && account_of(read.sql).as_ref() == Some(&principal.account)
        })
    });
    if is_whole && scanner.next().is_ok_and(|more| more.is_none()) {
        return Ok(());
    }
    Err(unreadable(principal))
}

fn unreadable(principal: &Principal) -> Error {
    Error::source(format!(
        "cannot back up the account {}: the server shows it by a statement that does not create it",
        principal.quoted()
    ))
    .hint("inspect its SHOW CREATE USER and SHOW GRANTS; backup.accounts: off leaves accounts out")
}

/// The error of an account that the server lists and does not know: inserted into the tables, or dropped meanwhile, or
/// one of MariaDB whose name ends in a space, which its tables do not keep.
fn unknown_account(error: Error, principal: &Principal) -> Error {
    match server_code(&error) {
        Some(code) if NOT_KNOWN.contains(&code) => Error::source(format!(
            "cannot back up the account {}: the server lists it and does not know it ({code})",
            principal.quoted()
        ))
        .hint(
            "run FLUSH PRIVILEGES on the target, after which the account is what the server's tables have (without \
             spaces at the end of its name); backup.accounts: off leaves accounts out",
        )
        .caused_by(error),
        _ => error,
    }
}

/// Roles of MariaDB granted to the local root, which is left out; usually because root created them.
async fn roles_of_root(connection: &mut Connection) -> Result<BTreeSet<String>> {
    let roles: Vec<String> = connection
        .rows(
            "SELECT role FROM mysql.roles_mapping \
             WHERE user = 'root' AND host IN ('localhost', '127.0.0.1', '::1')",
        )
        .await?;
    Ok(roles.into_iter().collect())
}

async fn all(connection: &mut Connection, server: &ServerVersion) -> Result<Vec<Principal>> {
    let query = if server.is_mariadb() {
        // Roles first, since grants refer to them.
        "SELECT user, host, is_role FROM mysql.user ORDER BY is_role = 'Y' DESC, 1, 2"
    } else {
        "SELECT user, host, 'N' FROM mysql.user ORDER BY 1, 2"
    };
    let rows: Vec<(String, String, String)> = connection.rows(query).await?;
    let all = rows.into_iter().map(|(user, host, is_role)| {
        let is_role = is_role == "Y";
        let host = if is_role { String::new() } else { host };
        Principal {
            account: Account { user, host },
            is_role,
        }
    });
    Ok(all.filter(|one| !is_left_out(&one.account)).collect())
}

/// Accounts that the server knows, and accounts that it ignores: with skip_name_resolve, those whose host is a
/// name. They cannot log in, and the server does not show them.
async fn known(
    connection: &mut Connection,
    server: &ServerVersion,
) -> Result<(Vec<Principal>, Vec<Principal>)> {
    let all = all(connection, server).await?;
    let resolves: bool = connection
        .one("SELECT NOT @@GLOBAL.skip_name_resolve")
        .await?;
    if resolves {
        return Ok((all, Vec::new()));
    }
    let is_host_name = |host: &str| host.chars().any(|c| !"0123456789.:%_/".contains(c));
    let (mut known, mut ignored) = (Vec::new(), Vec::new());
    for principal in all {
        if !is_host_name(&principal.account.host) {
            known.push(principal);
            continue;
        }
        let show = format!("SHOW CREATE USER {}", principal.quoted());
        match connection.one::<String>(&show).await {
            Ok(_) => known.push(principal),
            Err(error) if server_code(&error).is_some_and(|code| NOT_KNOWN.contains(&code)) => {
                ignored.push(principal);
            }
            Err(error) => return Err(error),
        }
    }
    Ok((known, ignored))
}

/// `None` for PUBLIC, which always exists.
fn create_role(role: &Principal, roles_of_root: &BTreeSet<String>) -> Option<String> {
    // The creator administers the role in any case; the clause records whether that is to remain.
    let admin = if roles_of_root.contains(&role.account.user) {
        " WITH ADMIN CURRENT_USER"
    } else {
        ""
    };
    (!is_public(&role.account))
        .then(|| format!("CREATE ROLE IF NOT EXISTS {}{admin}", role.quoted()))
}

async fn grants(
    connection: &mut Connection,
    server: &ServerVersion,
    principal: &Principal,
) -> Result<Vec<String>> {
    let show = format!("SHOW GRANTS FOR {}", principal.quoted());
    let of_public = principal.is_role && is_public(&principal.account);
    let lines = match connection.rows::<String>(&show).await {
        Err(error) if of_public && server_code(&error) == Some(NO_GRANTS) => Vec::new(),
        lines => lines?,
    };
    let mut kept: Vec<String> = Vec::new();
    for line in lines {
        let line = if server.is_mariadb() {
            let line = Line::parse(&line).ok_or_else(|| unknown_line(principal, &line))?;
            // MariaDB also shows the privileges of a role's roles, and those of PUBLIC with every account.
            // These have grants of their own.
            let of_other_role = principal.is_role && line.grantee != principal.account;
            if of_other_role || is_public(&line.grantee) && !of_public {
                continue;
            }
            line.without_account_options()
        } else {
            line
        };
        // MariaDB's installation creates the same PROXY grant twice.
        if !kept.contains(&line) {
            kept.push(line);
        }
    }
    Ok(kept)
}

fn unknown_line(principal: &Principal, line: &str) -> Error {
    Error::source(format!(
        "cannot back up the account {}: cannot parse a line of SHOW GRANTS: {}",
        principal.quoted(),
        without_hash(line)
    ))
    .hint("report it; backup.accounts: off leaves accounts out")
}

/// The default roles of MySQL, which SHOW GRANTS does not show. The server rejects a statement with a role that the
/// account was not granted: one that it only has by mandatory_roles, or had. So there is one statement for the granted
/// ones, and behind it one for all.
async fn default_roles(connection: &mut Connection, accounts: &[Principal]) -> Result<String> {
    let rows: Vec<(String, String, String, String, bool)> = connection
        .rows(
            "SELECT d.user, d.host, default_role_user, default_role_host, EXISTS (SELECT 1 FROM mysql.role_edges e \
             WHERE (from_user, from_host, to_user, to_host) = (default_role_user, default_role_host, d.user, d.host)) \
             FROM mysql.default_roles d ORDER BY 1, 2, 3, 4",
        )
        .await?;
    let mut sql = String::new();
    for principal in accounts {
        let account = &principal.account;
        let roles: Vec<(String, bool)> = rows
            .iter()
            .filter(|(user, host, ..)| *user == account.user && *host == account.host)
            .map(|(_, _, role, host, granted)| {
                (format!("{}@{}", quote(role), quote(host)), *granted)
            })
            .collect();
        let granted = roles.iter().filter(|(_, granted)| *granted);
        let granted: Vec<&str> = granted.map(|(role, _)| role.as_str()).collect();
        let all: Vec<&str> = roles.iter().map(|(role, _)| role.as_str()).collect();
        let is_part = granted.len() < all.len();
        let lists = [(granted, true), (all, is_part)];
        for (list, _) in lists
            .iter()
            .filter(|(list, wanted)| *wanted && !list.is_empty())
        {
            let _ = writeln!(
                sql,
                "SET DEFAULT ROLE {} TO {};",
                list.join(", "),
                principal.quoted()
            );
        }
    }
    Ok(sql)
}

/// Whether the accounts can be read, and a warning if not all of them can.
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
            let names: Vec<String> = ignored.iter().map(Principal::quoted).collect();
            let warning = format!(
                "accounts that the server itself ignores, since it does not resolve names (skip_name_resolve), are not backed up: {}",
                names.join(", ")
            );
            Ok((true, Some(warning)))
        }
        Err(error) if is_denied(&error) && want == Want::Require => Err(Error::source(
            "the account may not read the accounts of the server",
        )
        .hint("grant it SELECT on mysql.*, or set backup.accounts: auto")),
        Err(error) if is_denied(&error) => Ok((false, Some(without(&error)))),
        Err(error) => Err(error),
    }
}

/// Reads all accounts like a backup: listing needs fewer privileges than showing, and a backup fails at one that cannot
/// be shown. Returns the accounts that the server ignores.
async fn probe(connection: &mut Connection, server: &ServerVersion) -> Result<Vec<Principal>> {
    let (known, ignored) = known(connection, server).await?;
    sql_of(connection, server, &known).await?;
    Ok(ignored)
}

/// The warning of a backup without accounts, since they may not be read.
pub(super) fn without(denied: &Error) -> String {
    format!(
        "accounts are not backed up: grant SELECT on mysql.*, or set backup.accounts: off ({})",
        denied.what()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sql_that_does_not_parse_as_one_statement_about_its_account_is_refused() {
        let principal = Principal {
            account: Account {
                user: "a".into(),
                host: "%".into(),
            },
            is_role: false,
        };
        let reads = |sql: &str| check_parses(sql, &principal).is_ok();
        for sql in [
            "CREATE USER IF NOT EXISTS `a`@`%` REQUIRE SUBJECT '/O=O''Reilly'",
            "GRANT SELECT ON `d TO PUBLIC`.* TO `a`@`%` WITH GRANT OPTION",
            "SET DEFAULT ROLE `r` FOR `a`@`%`",
        ] {
            assert!(reads(sql), "{sql}");
        }
        for sql in [
            "CREATE USER IF NOT EXISTS `a`@`%` REQUIRE SUBJECT '/O=O'Reilly'",
            "CREATE USER IF NOT EXISTS `a`@`%` REQUIRE SUBJECT 'x'; DROP USER `b`@`%`",
            "CREATE USER IF NOT EXISTS `b`@`%`",
            "DROP DATABASE IF EXISTS `a`",
            "",
        ] {
            let error = check_parses(sql, &principal).unwrap_err();
            assert_eq!(error.outcome().code(), 4, "{sql}");
        }
    }

    #[test]
    fn system_accounts_and_the_local_root_are_left_out() {
        let left_out = |user: &str, host: &str| {
            is_left_out(&Account {
                user: user.into(),
                host: host.into(),
            })
        };
        assert!(left_out("mysql.sys", "localhost"));
        assert!(left_out("root", "localhost"));
        assert!(!left_out("root", "%"));
        assert!(!left_out("shop", "localhost"));
    }
}
