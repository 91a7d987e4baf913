//! The accounts that a backup brings: what accounts.sql creates, and whom its statements are about.

use std::collections::BTreeSet;

use crate::archive::read::Archive;
use crate::error::{Error, Result};
use crate::sql::definer::{Account, spelled};
use crate::sql::scan::{ScanError, Scanner};
use crate::sql::tokens::Tokens;

/// The accounts that a backup has; none where it took none.
pub async fn accounts(archive: &Archive) -> Result<BTreeSet<Account>> {
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

/// What a scanner of it stopped at.
pub(super) fn unknown(error: ScanError) -> Error {
    Error::archive("accounts.sql holds what drctl does not know").because(error)
}

/// The account that a statement is about: behind `USER` or `ROLE`, or the last `TO`, `FROM` or `FOR`.
pub(super) fn account_of(sql: &[u8]) -> Option<Account> {
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
