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
use crate::sql::tokens::{Token, Tokens};

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

/// Which part of the accounts is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All that needs no object: it comes first, since definers have to be there.
    Accounts,
    /// Privileges on single tables, views (a place-holder will do) and their columns: a server grants
    /// them only where these exist, and makes a view on a view only for a definer that may see it.
    TableGrants,
    /// Privileges on single routines and packages, likewise.
    RoutineGrants,
}

/// Creates the accounts that are missing, or gives them what they may do to single objects.
pub async fn run(engine: &mut Engine, part: Part) -> Result<()> {
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
        if statement.kind != Kind::Account || part_of(statement.sql) != part {
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
        if part == Part::Accounts && Tokens::new(statement.sql).eat("CREATE") {
            engine.report.created_accounts.push(name.clone());
            // A role has no host, and nobody logs in as one.
            if engine.options.scratch && !account.host.is_empty() {
                let lock = format!("ALTER USER {name} ACCOUNT LOCK");
                lane.run(lock.as_bytes()).await?;
            }
        }
    }
    // That a scratch server has an administrator of its own is nothing to tell.
    if !left_alone.is_empty() && part == Part::Accounts && !engine.options.scratch {
        let all = left_alone.into_iter().collect::<Vec<_>>().join(", ");
        engine
            .report
            .warn(format!("accounts that exist were left as they are: {all}"));
    }
    lane.close().await;
    Ok(())
}

/// Which part a statement belongs to: ON `schema`.`object` it grants on one object, ON `schema`.* not.
fn part_of(sql: &[u8]) -> Part {
    let mut tokens = Tokens::new(sql);
    let verb = tokens.next();
    if !verb.is_some_and(|verb| verb.is("GRANT") || verb.is("REVOKE"))
        || tokens.find(|token| token.is("ON")).is_none()
    {
        return Part::Accounts;
    }
    // PROCEDURE, FUNCTION, PACKAGE [BODY] stand unquoted before the name of what is no table.
    let routine = matches!(tokens.clone().next(), Some(Token::Word(_)));
    while let Some(token) = tokens.next() {
        if token == Token::Mark(b'.') {
            let object = tokens.next().is_some_and(|name| name.name().is_some());
            return match (object, routine) {
                (false, _) => Part::Accounts,
                (true, false) => Part::TableGrants,
                (true, true) => Part::RoutineGrants,
            };
        }
        if token.is("TO") || token.is("FROM") {
            break;
        }
    }
    Part::Accounts
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

    #[test]
    fn a_grant_on_one_object_is_told_from_those_that_need_none() {
        for sql in [
            "GRANT SELECT ON `a`.`t` TO `u`@`%`",
            "GRANT SELECT, UPDATE (`on`, `b`) ON `a`.`t` TO `u`@`%` WITH GRANT OPTION",
            "REVOKE INSERT ON `procedure`.`t` FROM `u`@`%`",
        ] {
            assert_eq!(part_of(sql.as_bytes()), Part::TableGrants, "{sql}");
        }
        for sql in [
            "GRANT EXECUTE ON PROCEDURE `a`.`p` TO `u`@`%`",
            "GRANT EXECUTE ON FUNCTION `to`.`p` TO `u`@`%`",
            "GRANT EXECUTE ON PACKAGE BODY `a`.`p` TO `u`@`%`",
        ] {
            assert_eq!(part_of(sql.as_bytes()), Part::RoutineGrants, "{sql}");
        }
        for sql in [
            "GRANT SELECT ON *.* TO `u`@`%`",
            "GRANT SELECT ON `a`.* TO `u.v`@`10.0.0.1`",
            "GRANT SELECT ON `a.b`.* TO `u`@`%`",
            "REVOKE INSERT ON `a`.* FROM `u`@`%`",
            "GRANT `a`.`t` TO `u`@`%`",
            "GRANT PROXY ON 'a'@'1.2.3.4' TO 'u'@'%'",
            "GRANT PROXY ON ''@'%' TO 'root'@'localhost' WITH GRANT OPTION",
            "CREATE USER `u`@`%` IDENTIFIED BY 'ON `a`.`t`'",
            "SET DEFAULT ROLE `r`@`%` TO `u`@`%`",
        ] {
            assert_eq!(part_of(sql.as_bytes()), Part::Accounts, "{sql}");
        }
    }
}
