//! Why a statement did not do what it should, by what a restore can do about it.

use crate::error::{Error, Outcome};
use crate::server::connect::is_lost_code;
use crate::sql::tokens::Tokens;

/// The most characters of a statement that an error quotes.
const QUOTED_CHARS: usize = 60;

/// Why a statement did not do what it should, by what can be done about it.
#[derive(Debug)]
pub enum Failure {
    /// A deadlock or a lock time-out: the transaction was rolled back, and can be repeated.
    Conflict(Error),
    /// The connection is gone; whether the last statement took effect is unknown.
    Lost(Error),
    /// Anything else ends the restore.
    Fatal(Error),
}

impl Failure {
    /// Whether it is about what was restored, and not about restoring it.
    pub fn is_verdict(&self) -> bool {
        matches!(self, Failure::Fatal(error) if error.outcome() == Outcome::Verification)
    }

    /// Puts what it is about in front.
    #[must_use]
    pub fn context(self, about: impl std::fmt::Display) -> Failure {
        match self {
            Failure::Conflict(error) => Failure::Conflict(error.context(about)),
            Failure::Lost(error) => Failure::Lost(error.context(about)),
            Failure::Fatal(error) => Failure::Fatal(error.context(about)),
        }
    }

    /// The error, for a caller that can do nothing about it.
    pub fn into_error(self) -> Error {
        match self {
            Failure::Conflict(error) | Failure::Lost(error) | Failure::Fatal(error) => error,
        }
    }
}

// There is no way back by `?`: what ends a restore for want of a connection would be hidden in it.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error.is_lost() {
            true => Failure::Lost(error),
            false => Failure::Fatal(error),
        }
    }
}

/// Sorts a driver's error by what can be done about it.
pub fn sorted(sql: &[u8], error: mysql_async::Error) -> Failure {
    /// ER_LOCK_WAIT_TIMEOUT, ER_LOCK_DEADLOCK.
    const CONFLICTS: [u16; 2] = [1205, 1213];
    let what = start_of(sql);
    let error = discreet(sql, error);
    match &error {
        mysql_async::Error::Server(server) => {
            let line = Error::server(format!("{what}: {} ({})", server.message, server.code));
            let line = match hint(server.code) {
                Some(hint) => line.hint(hint),
                None => line,
            };
            let code = server.code;
            let line = line.caused_by(error);
            if CONFLICTS.contains(&code) {
                Failure::Conflict(line)
            } else if is_lost_code(code) {
                Failure::Lost(line.lost())
            } else {
                Failure::Fatal(line)
            }
        }
        mysql_async::Error::Url(_) => Failure::Fatal(Error::unexpected(what).because(error)),
        _ => Failure::Lost(
            Error::server(format!("{what}: {error}"))
                .caused_by(error)
                .lost(),
        ),
    }
}

/// A server quotes what it did not understand: of a statement about accounts, a password's hash.
fn discreet(sql: &[u8], error: mysql_async::Error) -> mysql_async::Error {
    let verb = Tokens::new(sql).next();
    let about_accounts = verb
        .is_some_and(|verb| verb.is("CREATE") || verb.is("ALTER") || verb.is("GRANT"))
        && memchr::memmem::find(sql, b"IDENTIFIED").is_some();
    match error {
        mysql_async::Error::Server(server) if about_accounts => {
            mysql_async::Error::Server(mysql_async::ServerError {
                message: "the server refuses it".to_owned(),
                ..server
            })
        }
        error => error,
    }
}

/// What to do about failures that a person can do something about.
fn hint(code: u16) -> Option<&'static str> {
    Some(match code {
        1021 | 1114 | 3 | 28 => {
            "the server's disk is full: make room, and the same command resumes"
        }
        1044 | 1045 | 1142 | 1227 | 1370 | 1419 => {
            "give the account of the restore the missing privilege"
        }
        1356 => {
            "where the definer may not see what the view is about: grant it that, or begin anew with \
             --accounts or --definer <account>"
        }
        3510 => "create the tablespace first, as it is where the backup was made",
        1153 => "raise the server's max_allowed_packet",
        1290 | 1836 => "the server is read-only",
        _ => return None,
    })
}

/// The first words of a statement, for messages; rows are data, and what identifies an account is secret.
pub fn start_of(sql: &[u8]) -> String {
    let head = &sql[..sql.len().min(4 * QUOTED_CHARS)];
    let text = String::from_utf8_lossy(head);
    let ends = ["VALUES", "IDENTIFIED"]
        .iter()
        .filter_map(|word| text.find(word));
    let text = &text[..ends.min().unwrap_or(text.len())];
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = line.char_indices().nth(QUOTED_CHARS) {
        line.truncate(end);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::connect::server_code;

    fn server(code: u16) -> Failure {
        let error = mysql_async::ServerError {
            code,
            message: "no".into(),
            state: "HY000".into(),
        };
        sorted(
            b"INSERT INTO `t` VALUES (1,'secret')",
            mysql_async::Error::Server(error),
        )
    }

    #[test]
    fn a_password_s_hash_is_not_quoted_where_the_server_quotes_it() {
        let refuses = |sql: &[u8]| {
            let error = mysql_async::Error::Server(mysql_async::ServerError {
                code: 1064,
                message: "near 'PASSWORD '*B69027D4''".into(),
                state: "42000".into(),
            });
            sorted(sql, error).into_error()
        };
        let secret = refuses(b"CREATE USER `a`@`%` IDENTIFIED BY PASSWORD '*B69027D4'");
        assert!(
            !format!("{secret} {secret:?}").contains("B69027D4"),
            "{secret:?}"
        );
        assert_eq!(server_code(&secret), Some(1064));
        assert!(refuses(b"CREATE TABLE t").to_string().contains("near"));
    }

    #[test]
    fn only_conflicts_are_repeated_and_only_lost_connections_opened_again() {
        assert!(matches!(server(1213), Failure::Conflict(_)));
        assert!(matches!(server(1205), Failure::Conflict(_)));
        assert!(matches!(server(1053), Failure::Lost(_)));
        for code in [1062, 1064, 1114, 1142, 1290, 1366] {
            assert!(matches!(server(code), Failure::Fatal(_)), "{code}");
        }
    }

    #[test]
    fn an_error_names_the_statement_and_never_its_rows() {
        let line = server(1114).into_error().to_string();
        assert_eq!(
            line,
            "INSERT INTO `t`: no (1114); the server's disk is full: make room, and the same command resumes"
        );
    }
}
