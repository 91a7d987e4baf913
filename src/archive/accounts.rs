//! The accounts of a backup: what accounts.sql creates, and what it requires of a server.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use crate::archive::read::Archive;
use crate::mysql::show_grants::{Line, On, What, account_of, is_public};
use crate::sql::definer::{Account, unquoted};
use crate::sql::scan::{ScanError, Scanner};
use crate::sql::tokens::Tokens;
use crate::util::error::{Error, Result};

/// The contents of accounts.sql.
#[derive(Debug, Clone, Default)]
pub struct BackupAccounts {
    /// The accounts that it creates.
    pub accounts: BTreeSet<Account>,
    /// The authentication plugins of each account, in lower case.
    pub plugins: BTreeMap<Account, BTreeSet<String>>,
    /// Accounts with a password hash.
    pub hashed: BTreeSet<Account>,
    /// Accounts whose privileges depend on partial_revokes, with an example: a partial revoke, or a schema whose name
    /// contains a possible wildcard.
    pub literal: BTreeMap<Account, String>,
    /// The statements that grant privileges to MariaDB's PUBLIC.
    pub to_public: Vec<String>,
}

/// The accounts of a backup; empty if it contains none.
pub async fn read(archive: &Archive) -> Result<BackupAccounts> {
    let mut all = BackupAccounts::default();
    let Some(sql) = archive.accounts().await? else {
        return Ok(all);
    };
    each_statement(&sql, |statement| all.note(statement))?;
    Ok(all)
}

/// Calls `visit` with each statement of accounts.sql.
fn each_statement(sql: &[u8], mut visit: impl FnMut(&[u8])) -> Result<()> {
    let mut scanner = Scanner::accounts();
    scanner.push(sql);
    scanner.finish();
    while let Some(statement) = scanner.next().map_err(unknown)? {
        visit(statement.sql);
    }
    Ok(())
}

/// Each statement of accounts.sql with its lines, counted from 1.
pub fn by_line(sql: &[u8]) -> Result<Vec<(RangeInclusive<u64>, Vec<u8>)>> {
    let (mut all, mut rest, mut line) = (Vec::new(), sql, 1);
    let ends = |part: &[u8]| part.iter().filter(|byte| **byte == b'\n').count() as u64;
    each_statement(sql, |statement| {
        if let Some(at) = memchr::memmem::find(rest, statement) {
            let first = line + ends(&rest[..at]);
            line = first + ends(statement);
            rest = &rest[at + statement.len()..];
            all.push((first..=line, statement.to_vec()));
        }
    })?;
    Ok(all)
}

impl BackupAccounts {
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
        if let Some(Line {
            revoke,
            what:
                What::Privileges {
                    on: On::Schema(schema),
                    ..
                },
            ..
        }) = Line::parse(line)
            && (revoke || schema.contains(['_', '%', '\\']))
        {
            self.literal
                .entry(account)
                .or_insert_with(|| schema.clone());
        }
    }
}

/// The plugins of a CREATE USER: `IDENTIFIED WITH 'a' … AND IDENTIFIED WITH 'b'`, `IDENTIFIED VIA a … OR b …`.
fn plugins(sql: &[u8]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut tokens = Tokens::new(sql);
    while let Some(token) = tokens.next() {
        let is_before_plugin = if token.is("IDENTIFIED") {
            tokens.eat("WITH") || tokens.eat("VIA")
        } else {
            token.is("OR")
        };
        if is_before_plugin {
            let plugin = tokens.next().and_then(unquoted);
            found.extend(plugin.map(|plugin| plugin.to_lowercase()));
        }
    }
    found
}

/// The error of a scanner of accounts.sql.
pub(crate) fn unknown(error: ScanError) -> Error {
    Error::archive("cannot read accounts.sql").because(error)
}

/// A role of MariaDB in accounts.sql.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// Whether the local root, who is in no backup, was its administrator: `WITH ADMIN CURRENT_USER`.
    pub of_root: bool,
    /// Its administrators, by their names in the marker.
    pub administrators: BTreeSet<String>,
}

/// The roles that accounts.sql creates.
pub fn roles(sql: &[u8]) -> Result<BTreeMap<String, Role>> {
    let mut roles: BTreeMap<String, Role> = BTreeMap::new();
    each_statement(sql, |statement| {
        let Some(account) = account_of(statement) else {
            return;
        };
        let mut tokens = Tokens::new(statement);
        if tokens.eat_all(&["CREATE", "ROLE"]) {
            let of_root = tokens.any(|token| token.is("CURRENT_USER"));
            roles.entry(account.to_string()).or_default().of_root = of_root;
        } else if let Some(Line {
            what: What::Roles(of),
            option: Some("ADMIN"),
            revoke: false,
            ..
        }) = std::str::from_utf8(statement).ok().and_then(Line::parse)
        {
            for role in of {
                let role = roles.entry(role.to_string()).or_default();
                role.administrators.insert(account.to_string());
            }
        }
    })?;
    Ok(roles)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mysql::recorded::CREATE_USER;

    #[test]
    fn the_requirements_of_accounts_are_found() {
        let mut all = BackupAccounts::default();
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
    fn who_administers_a_role_is_read_from_what_creates_and_grants_it() {
        let sql = b"CREATE ROLE IF NOT EXISTS `r` WITH ADMIN CURRENT_USER;\nCREATE ROLE IF NOT EXISTS `CURRENT_USER`;\n\
            GRANT `r` TO `a`@`%`;\nGRANT `CURRENT_USER` TO `r` WITH ADMIN OPTION;\n";
        let role = |of_root, administrators: &[&str]| Role {
            of_root,
            administrators: administrators
                .iter()
                .map(|name| (*name).to_owned())
                .collect(),
        };
        let expected = [
            ("`CURRENT_USER`".to_owned(), role(false, &["`r`"])),
            ("`r`".to_owned(), role(true, &[])),
        ];
        assert_eq!(roles(sql).unwrap(), expected.into());
    }

    #[test]
    fn an_account_of_every_version_is_read_back_with_its_plugins() {
        for shown in CREATE_USER {
            let mut all = BackupAccounts::default();
            let rest = shown.answer.strip_prefix("CREATE USER ").unwrap();
            all.note(format!("CREATE USER IF NOT EXISTS {rest}").as_bytes());
            let found: Vec<&str> = all.accounts.iter().map(|one| one.user.as_str()).collect();
            assert_eq!(found, [shown.user], "{}", shown.version);
            let plugins: Vec<&String> = all.plugins.values().flatten().collect();
            assert_eq!(plugins, shown.plugins, "{}", shown.version);
        }
    }
}
