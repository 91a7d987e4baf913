//! Accounts of the backup on the scratch server.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use crate::archive::accounts::{BackupAccounts, by_line};
use crate::mysql::blame::{GONE, NO_PLUGIN, NO_SUCH_ROLE};
use crate::mysql::client::shell::ClientError;
use crate::mysql::show_grants::{account_of, is_public, sets_default_role};
use crate::mysql::{ServerConfig, connect};
use crate::restore::inspect::destination;
use crate::restore::passes::accounts::{created_without_plugin, no_default_role};
use crate::restore::report::RestoreReport;
use crate::sql::definer::Account;
use crate::util::error::{Error, Result};
use crate::verify::Drill;
use crate::verify::scratch::{Choice, external};

/// Accounts of the backup that do not exist on the scratch server. Refuses an external server that has one
/// of them: the client would change its privileges.
pub(super) async fn missing(
    drill: &Drill<'_>,
    backup: &BackupAccounts,
    server: &ServerConfig,
) -> Result<Vec<String>> {
    let existing = existing(server).await?;
    let (common, missing): (Vec<&Account>, Vec<&Account>) = backup
        .accounts
        .iter()
        .partition(|account| existing.contains(*account));
    // Every new server has accounts of root, which have all privileges already.
    let mut common: Vec<&Account> = common
        .into_iter()
        .filter(|account| account.user != "root")
        .collect();
    if !backup.to_public.is_empty() {
        common.extend(existing.iter().filter(|account| is_public(account)));
    }
    match (common.first(), &drill.scratch) {
        (Some(account), Choice::External(_)) => Err(Error::refused(format!(
            "the account {account} of the backup exists on the scratch server"
        ))
        .hint("drop it there, or drill with --path lanes, which does not change it")),
        _ => Ok(missing.iter().map(ToString::to_string).collect()),
    }
}

/// The statement of accounts.sql that the server refused, and its account.
fn refused_by<'s>(
    statements: &'s [(RangeInclusive<u64>, Vec<u8>)],
    error: &ClientError,
) -> Option<(&'s [u8], Account)> {
    let (_, sql) = statements.iter().find(|(at, _)| at.contains(&error.line))?;
    Some((sql, account_of(sql)?))
}

/// The accounts that the server refused to create since it lacks their authentication plugin.
pub(super) fn without_plugin(sql: &[u8], refused: &[ClientError]) -> Result<BTreeSet<String>> {
    let statements = by_line(sql)?;
    Ok(refused
        .iter()
        .filter(|error| error.has(&[NO_PLUGIN]))
        .filter_map(|error| refused_by(&statements, error))
        .map(|(_, account)| account.to_string())
        .collect())
}

/// Locks the accounts that the client created, so that no client can log in to the scratch server with them.
/// Those `without_plugin` are created without the plugin, since definers must exist.
///
/// # Errors
///
/// Fails if the client created another account of the backup under another name, or not at all.
pub(super) async fn lock(
    server: &ServerConfig,
    without_plugin: &BTreeSet<String>,
    restored: &mut RestoreReport,
) -> Result<()> {
    let existing = existing(server).await?;
    let existing: BTreeSet<String> = existing.iter().map(ToString::to_string).collect();
    let mut connection = connect(server).await?;
    for account in restored.created_accounts.clone() {
        let exists = existing.contains(&account);
        if !exists && !without_plugin.contains(&account) {
            return Err(Error::verification(format!(
                "the plain client ran accounts.sql, and the account {account} does not exist"
            ))
            .hint("inspect its CREATE statement: drctl cat --accounts"));
        }
        if external::is_role(&account) {
            continue;
        }
        let sql = if exists {
            format!("ALTER USER {account} ACCOUNT LOCK")
        } else {
            restored.warn(created_without_plugin(&account));
            format!("CREATE USER {account} ACCOUNT LOCK")
        };
        connection.run(&sql).await?;
    }
    connection.close().await;
    Ok(())
}

/// Checks the statements of accounts.sql that the server refused in the second run. A privilege on an object
/// that is not restored and a default role that the account does not have are warnings, a missing plugin was handled by
/// [`lock`], anything else a failure.
pub(super) fn check_refused(
    sql: &[u8],
    refused: Vec<ClientError>,
    restored: &mut RestoreReport,
) -> Result<()> {
    let statements = by_line(sql)?;
    for error in refused {
        let by = refused_by(&statements, &error);
        match by {
            _ if error.has(&[NO_PLUGIN]) => {}
            Some((sql, account)) if error.has(&NO_SUCH_ROLE) && sets_default_role(sql) => {
                restored.warn(no_default_role(&account, sql));
            }
            _ if error.has(&GONE) => restored.warn(format!(
                "an account was not granted a privilege on an object that is not restored here: {}",
                error.text
            )),
            by => {
                // The server's message may contain a password hash.
                let of = by.map_or(String::new(), |(_, account)| {
                    format!(" (account {account})")
                });
                let text = format!(
                    "accounts.sql, line {}{of}: error {}",
                    error.line, error.code
                );
                return Err(ClientError { text, ..error }.into_error(None));
            }
        }
    }
    Ok(())
}

async fn existing(server: &ServerConfig) -> Result<BTreeSet<Account>> {
    let mut connection = connect(server).await?;
    let version = connection.version().await?;
    let accounts = destination::accounts(&mut connection, &version).await?;
    connection.close().await;
    accounts.ok_or_else(|| {
        Error::refused("the drill's account cannot list the accounts of the scratch server")
            .hint("grant it SELECT on mysql.user")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_plugin_is_known_by_its_error_and_its_statement() {
        let sql = b"-- Accounts\nSET NAMES utf8mb4;\nCREATE USER IF NOT EXISTS `a`@`%`;\n\
            CREATE USER IF NOT EXISTS `b\nc`@`%` IDENTIFIED WITH 'x';\nCREATE USER IF NOT EXISTS `d`@`%`;\n\
            GRANT USAGE ON *.* TO `a`@`%`;\nSET DEFAULT ROLE `r` TO `d`@`%`;\n";
        let error = |code, line| ClientError {
            code,
            line,
            text: String::new(),
        };
        let found = without_plugin(sql, &[error(1524, 5), error(1396, 3), error(1410, 7)]);
        assert_eq!(found.unwrap(), ["`b\nc`@`%`".to_owned()].into());
        // A default role is a warning, the same error at a privilege is not.
        let mut report = RestoreReport::default();
        check_refused(sql, vec![error(1524, 5), error(3530, 8)], &mut report).unwrap();
        assert_eq!(report.warnings.len(), 1);
        let refused = check_refused(sql, vec![error(3530, 7)], &mut report).unwrap_err();
        assert!(
            refused.what().contains("line 7 (account `a`@`%`)"),
            "{refused}"
        );
    }
}
