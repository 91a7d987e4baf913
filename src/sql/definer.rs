//! The DEFINER clause of a view, trigger, routine, package or event, as the server prints it.

use std::fmt;
use std::ops::Range;

use super::statement::{ObjectId, quote};
use super::tokens::{Token, Tokens};

/// An account, as named by a DEFINER clause.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account {
    /// The user, or MariaDB's role.
    pub user: String,
    /// The host; empty for a role.
    pub host: String,
}

impl Account {
    /// Whether the account is restricted to connections from the server's own host.
    pub fn is_local(&self) -> bool {
        ["localhost", "127.0.0.1", "::1"].contains(&self.host.as_str())
    }

    /// Whether this is the administrator that every installation creates.
    pub fn is_local_root(&self) -> bool {
        self.user == "root" && self.is_local()
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&quote(&self.user))?;
        if !self.host.is_empty() {
            write!(f, "@{}", quote(&self.host))?;
        }
        Ok(())
    }
}

/// The definer of a view, trigger, routine, package or event, and the position of the account in the statement.
pub fn definer(sql: &[u8]) -> Option<(Account, Range<usize>)> {
    const OBJECTS: [&str; 6] = [
        "VIEW",
        "TRIGGER",
        "PROCEDURE",
        "FUNCTION",
        "EVENT",
        "PACKAGE",
    ];
    let mut tokens = Tokens::new(sql);
    loop {
        let token = tokens.next()?;
        if OBJECTS.iter().any(|object| token.is(object)) {
            return None;
        }
        if token.is("DEFINER") && tokens.eat_mark(b'=') {
            break;
        }
    }
    let user = tokens.next()?;
    let start = place(sql, &tokens) - user.bytes()?.len();
    let host = if tokens.eat_mark(b'@') {
        unquoted(tokens.next()?)?
    } else {
        String::new()
    };
    Some((
        Account {
            user: unquoted(user)?,
            host,
        },
        start..place(sql, &tokens),
    ))
}

/// The statement that enables an event. `definer` is in backticks, or empty if the event has none; without it the
/// account that executes the statement would become the definer.
pub fn enable_event(event: &ObjectId, definer: &str) -> String {
    alter_event(event, definer, "ENABLE")
}

/// The statement that gives an event a state, as [`enable_event`].
pub fn alter_event(event: &ObjectId, definer: &str, state: &str) -> String {
    let definer = match definer {
        "" => String::new(),
        account => format!("DEFINER={account} "),
    };
    let (schema, name) = (quote(&event.schema), quote(&event.name));
    format!("ALTER {definer}EVENT {schema}.{name} {state}")
}

/// A user or host, unquoted: a name, or a text in either kind of quotes.
pub fn unquoted(token: Token<'_>) -> Option<String> {
    if let Some(name) = token.name() {
        return name;
    }
    let text = std::str::from_utf8(token.bytes()?).ok()?;
    let inner = text.get(1..text.len() - 1)?;
    let (mut unquoted, mut chars) = (String::with_capacity(inner.len()), inner.chars());
    while let Some(c) = chars.next() {
        match c {
            // Doubled, or escaped.
            '\'' | '\\' => unquoted.push(chars.next()?),
            c => unquoted.push(c),
        }
    }
    Some(unquoted)
}

/// Offset of the end of the last token.
fn place(sql: &[u8], tokens: &Tokens<'_>) -> usize {
    sql.len() - tokens.rest().len()
}

/// Replaces one range of a text.
pub fn replace(sql: &[u8], place: Range<usize>, with: &[u8]) -> Vec<u8> {
    [&sql[..place.start], with, &sql[place.end..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::tokens::DAMAGED;

    #[test]
    fn the_definer_is_found_in_every_form_written_by_the_clients() {
        for (sql, account) in [
            (
                "/*!50003 CREATE*/ /*!50017 DEFINER=`a b`@`%`*/ /*!50003 TRIGGER `t` BEFORE",
                "`a b`@`%`",
            ),
            (
                "CREATE DEFINER=`ro``ot`@`localhost` PROCEDURE `p`()",
                "`ro``ot`@`localhost`",
            ),
            (
                "/*!50001 CREATE ALGORITHM=UNDEFINED */\n/*!50013 DEFINER='x'@'y' SQL SECURITY DEFINER */\n/*!50001 VIEW",
                "`x`@`y`",
            ),
            (
                "/*!50106 CREATE*/ /*!50117 DEFINER=`r`*/ /*!50106 EVENT `e`",
                "`r`",
            ),
        ] {
            let (found, place) = definer(sql.as_bytes()).unwrap();
            assert_eq!(found.to_string(), account);
            assert!(sql[place.clone()].starts_with(['`', '\'']), "{sql}");
            assert!(sql[place].ends_with(['`', '\'']), "{sql}");
        }
        assert_eq!(
            definer(b"CREATE FUNCTION f() RETURNS text RETURN ' DEFINER=`a`@`b`'"),
            None
        );
    }

    #[test]
    fn damaged_statements_do_not_panic() {
        for sql in DAMAGED {
            definer(sql.as_bytes());
        }
    }
}
