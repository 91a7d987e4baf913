//! The accounts that a backup brings: what accounts.sql creates, what that takes of a server, and whom its
//! statements are about.

use std::collections::{BTreeMap, BTreeSet};

use crate::archive::read::Archive;
use crate::error::{Error, Result};
use crate::server::show_grants::{Line, On};
use crate::sql::definer::{Account, spelled};
use crate::sql::scan::{ScanError, Scanner};
use crate::sql::tokens::Tokens;

/// What accounts.sql holds.
#[derive(Debug, Clone, Default)]
pub struct Offered {
    /// The accounts that it creates.
    pub accounts: BTreeSet<Account>,
    /// The authentication plugins by which accounts log in, in lower case.
    pub plugins: BTreeMap<Account, BTreeSet<String>>,
    /// Accounts with the hash of a password.
    pub hashed: BTreeSet<Account>,
    /// Accounts whose privileges mean something else where partial_revokes is set otherwise, with an example:
    /// a partial revoke, or a schema's name with a character that may be a wildcard.
    pub literal: BTreeMap<Account, String>,
    /// What MariaDB's PUBLIC is granted.
    pub to_public: Vec<String>,
}

/// What a backup has of accounts; nothing where it took none.
pub async fn read(archive: &Archive) -> Result<Offered> {
    let mut all = Offered::default();
    let Some(sql) = archive.accounts().await? else {
        return Ok(all);
    };
    let mut scanner = Scanner::accounts();
    scanner.push(&sql);
    scanner.finish();
    while let Some(statement) = scanner.next().map_err(unknown)? {
        all.note(statement.sql);
    }
    Ok(all)
}

impl Offered {
    fn note(&mut self, sql: &[u8]) {
        let Some(account) = account_of(sql) else {
            return;
        };
        if is_public(&account) {
            self.to_public
                .push(String::from_utf8_lossy(sql).into_owned());
        }
        if Tokens::new(sql).eat("CREATE") {
            let plugins = plugins(sql);
            if !plugins.is_empty() {
                self.plugins.insert(account.clone(), plugins);
            }
            if Tokens::new(sql).any(|token| token.is("IDENTIFIED")) {
                self.hashed.insert(account.clone());
            }
            self.accounts.insert(account);
            return;
        }
        let Ok(line) = std::str::from_utf8(sql) else {
            return;
        };
        if let Some(Line::Privileges { revoke, on, .. }) = Line::parse(line)
            && let On::Schema(schema) = on
            && (revoke || schema.contains(['_', '%', '\\']))
        {
            self.literal
                .entry(account)
                .or_insert_with(|| schema.clone());
        }
    }
}

/// Whether it is the role that every account of MariaDB has.
pub fn is_public(account: &Account) -> bool {
    account.user == "PUBLIC" && account.host.is_empty()
}

/// What takes a privilege from PUBLIC again; `None` where it was none.
pub fn taken_from_public(grant: &str) -> Option<String> {
    let given = grant.strip_prefix("GRANT ")?;
    let (what, rest) = given.split_once(" TO PUBLIC")?;
    // A role goes when it is dropped.
    let (privileges, on) = what.split_once(" ON ")?;
    let option = if rest.is_empty() {
        ""
    } else {
        ", GRANT OPTION"
    };
    (privileges != "USAGE").then(|| format!("REVOKE {privileges}{option} ON {on} FROM PUBLIC"))
}

/// The plugins of a CREATE USER: `IDENTIFIED WITH 'a' … AND IDENTIFIED WITH 'b'`, `IDENTIFIED VIA a … OR b …`.
fn plugins(sql: &[u8]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut tokens = Tokens::new(sql);
    while let Some(token) = tokens.next() {
        let named = match token.is("IDENTIFIED") {
            true => tokens.eat("WITH") || tokens.eat("VIA"),
            // Nothing else in a CREATE USER stands between OR and a name.
            false => token.is("OR"),
        };
        if named {
            let plugin = tokens.next().and_then(spelled);
            found.extend(plugin.map(|plugin| plugin.to_lowercase()));
        }
    }
    found
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
    fn what_accounts_take_of_a_server_is_found() {
        let mut all = Offered::default();
        for sql in [
            "CREATE USER IF NOT EXISTS `a`@`%` IDENTIFIED WITH 'caching_sha2_password' AS 0x24 AND IDENTIFIED WITH 'auth_socket' REQUIRE NONE",
            "CREATE USER IF NOT EXISTS `b`@`%` IDENTIFIED VIA unix_socket OR ed25519 USING ' OR x '",
            "CREATE USER IF NOT EXISTS `c`@`%` IDENTIFIED BY PASSWORD '*B6'",
            "CREATE ROLE IF NOT EXISTS `r`",
            "GRANT SELECT ON `shop`.* TO `a`@`%`",
            "GRANT SELECT ON `shop\\_1`.* TO `b`@`%`",
            "REVOKE INSERT ON `mysql`.* FROM `c`@`%`",
            "GRANT SELECT ON `a_b`.`t_1` TO `a`@`%`",
            "GRANT SELECT ON `shop`.* TO PUBLIC",
        ] {
            all.note(sql.as_bytes());
        }
        let names = |of: &mut dyn Iterator<Item = &Account>| {
            of.map(|account| account.user.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(&mut all.accounts.iter()), ["a", "b", "c", "r"]);
        assert_eq!(names(&mut all.hashed.iter()), ["a", "b", "c"]);
        assert_eq!(names(&mut all.literal.keys()), ["b", "c"]);
        let plugins: Vec<&String> = all.plugins.values().flatten().collect();
        assert_eq!(
            plugins,
            [
                "auth_socket",
                "caching_sha2_password",
                "ed25519",
                "unix_socket"
            ]
        );
        assert_eq!(all.to_public, ["GRANT SELECT ON `shop`.* TO PUBLIC"]);
    }

    #[test]
    fn what_public_was_granted_can_be_taken_back() {
        for (grant, back) in [
            (
                "GRANT SELECT, UPDATE (`a`) ON `s`.`t` TO PUBLIC",
                Some("REVOKE SELECT, UPDATE (`a`) ON `s`.`t` FROM PUBLIC"),
            ),
            (
                "GRANT SHOW DATABASES ON *.* TO PUBLIC WITH GRANT OPTION",
                Some("REVOKE SHOW DATABASES, GRANT OPTION ON *.* FROM PUBLIC"),
            ),
            ("GRANT USAGE ON *.* TO PUBLIC", None),
            ("GRANT `r` TO PUBLIC", None),
        ] {
            assert_eq!(taken_from_public(grant).as_deref(), back, "{grant}");
        }
    }

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
