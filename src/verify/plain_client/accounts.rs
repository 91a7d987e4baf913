//! Accounts of the backup on the scratch server.

use std::collections::BTreeSet;

use crate::archive::accounts::BackupAccounts;
use crate::mysql::blame::{GONE, NO_PLUGIN};
use crate::mysql::client::shell::ClientError;
use crate::mysql::show_grants::is_public;
use crate::mysql::{ServerConfig, connect};
use crate::restore::inspect::destination;
use crate::restore::passes::accounts::created_without_plugin;
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

/// Locks the accounts that the client created, so that no client can log in to the scratch server with them.
/// An account whose authentication plugin is missing could not be created; it is created without the plugin,
/// since definers must exist.
pub(super) async fn lock(server: &ServerConfig, restored: &mut RestoreReport) -> Result<()> {
    let existing = existing(server).await?;
    let existing: BTreeSet<String> = existing.iter().map(ToString::to_string).collect();
    let mut connection = connect(server).await?;
    for account in restored.created_accounts.clone() {
        if external::is_role(&account) {
            continue;
        }
        let sql = if existing.contains(&account) {
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
/// that is not restored is a warning, a missing plugin was handled by [`lock`], anything else a failure.
pub(super) fn check_refused(refused: Vec<ClientError>, restored: &mut RestoreReport) -> Result<()> {
    for error in refused {
        if error.has(&GONE) {
            restored.warn(format!(
                "an account was not granted a privilege on an object that is not restored here: {}",
                error.text
            ));
        } else if !error.has(&[NO_PLUGIN]) {
            // The server's message may contain a password hash.
            let text = format!("accounts.sql, line {}: error {}", error.line, error.code);
            return Err(ClientError { text, ..error }.into_error(None));
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
