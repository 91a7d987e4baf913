//! Who defines a view, trigger, routine, package or event: the clause before the body, as the server
//! itself wrote it.

use std::fmt;
use std::ops::Range;

use super::statement::{ObjectId, quote};
use super::tokens::{Token, Tokens};

/// An account, as a DEFINER clause names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account {
    /// The user, or MariaDB's role.
    pub user: String,
    /// The host; empty for a role.
    pub host: String,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.is_empty() {
            true => f.write_str(&quote(&self.user)),
            false => write!(f, "{}@{}", quote(&self.user), quote(&self.host)),
        }
    }
}

/// The definer of a view, trigger, routine, package or event, and where the account stands.
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
    let host = match tokens.eat_mark(b'@') {
        true => spelled(tokens.next()?)?,
        false => String::new(),
    };
    Some((
        Account {
            user: spelled(user)?,
            host,
        },
        start..place(sql, &tokens),
    ))
}

/// The statement that enables an event of that definer, given in backticks; empty where it has none.
/// Without it the account that executes the statement would become the definer.
pub fn enable_event(event: &ObjectId, definer: &str) -> String {
    let definer = match definer {
        "" => String::new(),
        account => format!("DEFINER={account} "),
    };
    let (schema, name) = (quote(&event.schema), quote(&event.name));
    format!("ALTER {definer}EVENT {schema}.{name} ENABLE")
}

/// A user or host: a name, or a text in either kind of quotes.
pub fn spelled(token: Token<'_>) -> Option<String> {
    if let Some(name) = token.name() {
        return name;
    }
    let text = std::str::from_utf8(token.bytes()?).ok()?;
    Some(text.trim_matches('\'').replace("''", "'"))
}

/// Where the last token ends.
fn place(sql: &[u8], tokens: &Tokens<'_>) -> usize {
    sql.len() - tokens.rest().len()
}

/// A text with one place of it replaced.
pub fn replace(sql: &[u8], place: Range<usize>, with: &[u8]) -> Vec<u8> {
    [&sql[..place.start], with, &sql[place.end..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::tokens::DAMAGED;

    #[test]
    fn the_definer_is_found_in_every_form_that_the_clients_write() {
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
    fn damaged_statements_are_no_reason_to_panic() {
        for sql in DAMAGED {
            definer(sql.as_bytes());
        }
    }
}
