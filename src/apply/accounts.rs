//! accounts.sql: the accounts of the backup that the server does not have, and their privileges.
//!
//! An account that exists is left as it is: a restore must not change who may do what.

use std::collections::BTreeSet;

use crate::apply::definition::{Account, spelled};
use crate::apply::engine::Engine;
use crate::apply::lane::Lane;
use crate::apply::marker;
use crate::archive::read::Archive;
use crate::error::{Error, Result};
use crate::sql::scan::{ScanError, Scanner};
use crate::sql::statement::Kind;
use crate::sql::tokens::Tokens;

/// The accounts that a backup has; none where it took none.
pub async fn offered(archive: &Archive) -> Result<BTreeSet<Account>> {
    let mut all = BTreeSet::new();
    let Some(sql) = archive.accounts().await? else {
        return Ok(all);
    };
    let mut scanner = Scanner::accounts();
    scanner.push(&sql);
    scanner.finish();
    while let Some(statement) = scanner.next().map_err(unknown)? {
        let creates = Tokens::new(statement.sql).eat("CREATE");
        all.extend(account_of(statement.sql).filter(|_| creates));
    }
    Ok(all)
}

fn unknown(error: ScanError) -> Error {
    Error::archive("accounts.sql holds what drctl does not know").because(error)
}

/// Creates the accounts that are missing.
pub async fn run(engine: &mut Engine) -> Result<()> {
    let Some(sql) = engine.archive.accounts().await? else {
        return Err(Error::nothing("the backup has no accounts")
            .hint("restore without --accounts, and create the definers by hand"));
    };
    let Some(there) = engine.facts.accounts.clone() else {
        return Err(
            Error::refused("the account of the restore may not see which accounts exist")
                .hint("grant it SELECT on mysql.user"),
        );
    };
    let mut lane = Lane::open(engine.lane_config.clone()).await?;
    let mut scanner = Scanner::accounts();
    scanner.push(&sql);
    scanner.finish();
    let mut left_alone = BTreeSet::new();
    while let Some(statement) = scanner.next().map_err(unknown)? {
        if statement.kind != Kind::Account {
            continue;
        }
        let account = account_of(statement.sql).ok_or_else(|| {
            Error::archive("accounts.sql holds a statement about no single account")
        })?;
        let name = account.to_string();
        if there.contains(&account) && !engine.marker.accounts.contains(&name) {
            left_alone.insert(name);
            continue;
        }
        if engine.marker.accounts.insert(name.clone()) {
            marker::note_account(&mut engine.control, &name).await?;
        }
        lane.run(statement.sql)
            .await
            .map_err(|failure| Error::from(failure).context(format!("account {account}")))?;
    }
    if !left_alone.is_empty() {
        let all = left_alone.into_iter().collect::<Vec<_>>().join(", ");
        engine
            .report
            .warn(format!("accounts that exist were left as they are: {all}"));
    }
    lane.close().await;
    Ok(())
}

/// The account that a statement is about: behind `USER` or `ROLE`, or the last `TO`, `FROM` or `FOR`.
fn account_of(sql: &[u8]) -> Option<Account> {
    let mut tokens = Tokens::new(sql);
    let verb = tokens.next()?;
    if verb.is("GRANT") || verb.is("REVOKE") || verb.is("SET") {
        let mut last = None;
        while let Some(token) = tokens.next() {
            if token.is("TO") || token.is("FROM") || (token.is("FOR") && verb.is("SET")) {
                last = Some(tokens.clone());
            }
        }
        return account(last?);
    }
    tokens.find(|token| token.is("USER") || token.is("ROLE"))?;
    let _ = tokens.eat_all(&["IF", "NOT", "EXISTS"]) || tokens.eat_all(&["IF", "EXISTS"]);
    account(tokens)
}

fn account(mut tokens: Tokens<'_>) -> Option<Account> {
    let user = spelled(tokens.next()?)?;
    let host = match tokens.eat_mark(b'@') {
        true => spelled(tokens.next()?)?,
        false => String::new(),
    };
    Some(Account { user, host })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_of_a_statement_is_found() {
        for (sql, found) in [
            (
                "CREATE USER IF NOT EXISTS 'a'@'%' IDENTIFIED WITH 'x' AS 'TO `b`@`c`'",
                "`a`@`%`",
            ),
            ("CREATE USER `a b`@`10.0.0.%`", "`a b`@`10.0.0.%`"),
            (
                "GRANT SELECT, INSERT ON `to`.* TO `a`@`%` WITH GRANT OPTION",
                "`a`@`%`",
            ),
            ("GRANT `r`@`%` TO `a`@`%`", "`a`@`%`"),
            ("CREATE ROLE IF NOT EXISTS `r`", "`r`"),
            ("SET DEFAULT ROLE `r`@`%` TO `a`@`%`", "`a`@`%`"),
            ("SET DEFAULT ROLE `r` FOR `a`@`%`", "`a`@`%`"),
            ("REVOKE INSERT ON `x`.* FROM `a`@`%`", "`a`@`%`"),
        ] {
            assert_eq!(
                account_of(sql.as_bytes()).unwrap().to_string(),
                found,
                "{sql}"
            );
        }
        assert_eq!(account_of(b"GRANT SELECT ON x"), None);
    }
}
