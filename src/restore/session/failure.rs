//! Failures of statements, classified by how a restore can react.

use crate::mysql::connect::is_lost_code;
use crate::sql::tokens::Tokens;
use crate::util::error::{Error, Outcome};

/// Maximum number of characters of a statement quoted in an error.
const QUOTED_CHARS: usize = 60;

/// Failure of a statement, classified by how a restore can react.
#[derive(Debug)]
pub enum Failure {
    /// A deadlock or a lock timeout: the transaction was rolled back, and can be retried.
    Conflict(Error),
    /// The connection was lost; it is unknown whether the last statement took effect.
    Lost(Error),
    /// Any other failure; ends the restore.
    Fatal(Error),
}

impl Failure {
    /// Whether the failure is a result of the comparison, not a failure to restore.
    pub fn is_verdict(&self) -> bool {
        matches!(self, Failure::Fatal(error) if error.outcome() == Outcome::Verification)
    }

    /// Prefixes the failure with the object or operation.
    #[must_use]
    pub fn context(self, about: impl std::fmt::Display) -> Failure {
        match self {
            Failure::Conflict(error) => Failure::Conflict(error.context(about)),
            Failure::Lost(error) => Failure::Lost(error.context(about)),
            Failure::Fatal(error) => Failure::Fatal(error.context(about)),
        }
    }

    /// The error, for callers that cannot retry.
    pub fn into_error(self) -> Error {
        match self {
            Failure::Conflict(error) | Failure::Lost(error) | Failure::Fatal(error) => error,
        }
    }
}

// Deliberately no `From` for `?`: it would hide a lost connection in an error that ends the restore.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        if error.is_lost() {
            Failure::Lost(error)
        } else {
            Failure::Fatal(error)
        }
    }
}

/// Classifies a driver's error.
pub fn classify(sql: &[u8], error: mysql_async::Error) -> Failure {
    /// ER_LOCK_WAIT_TIMEOUT, ER_LOCK_DEADLOCK.
    const CONFLICTS: [u16; 2] = [1205, 1213];
    let what = start_of(sql);
    let error = without_secrets(sql, error);
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

/// Removes the server's message for statements about accounts: it may quote a password hash.
fn without_secrets(sql: &[u8], error: mysql_async::Error) -> mysql_async::Error {
    let verb = Tokens::new(sql).next();
    let about_accounts = verb
        .is_some_and(|verb| verb.is("CREATE") || verb.is("ALTER") || verb.is("GRANT"))
        && memchr::memmem::find(sql, b"IDENTIFIED").is_some();
    match error {
        mysql_async::Error::Server(server) if about_accounts => {
            mysql_async::Error::Server(mysql_async::ServerError {
                message: "rejected by the server".to_owned(),
                ..server
            })
        }
        error => error,
    }
}

/// The next step for common server errors.
fn hint(code: u16) -> Option<&'static str> {
    Some(match code {
        1021 | 1114 | 3 | 28 => {
            "the server's disk is full: free disk space, then resume with the same command"
        }
        1044 | 1045 | 1142 | 1227 | 1370 | 1419 => {
            "grant the missing privilege to the account of the restore"
        }
        1356 => {
            "if the definer lacks privileges on the objects the view uses: grant them, or start over with \
             --accounts or --definer <account>"
        }
        3510 => "create the tablespace first, as on the target",
        1153 => "raise the server's max_allowed_packet",
        1290 | 1836 => "the server is read-only",
        _ => return None,
    })
}

/// The first words of a statement, for messages; without rows, which are data, and without authentication
/// data of accounts.
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
    use crate::mysql::connect::server_code;

    fn server(code: u16) -> Failure {
        let error = mysql_async::ServerError {
            code,
            message: "no".into(),
            state: "HY000".into(),
        };
        classify(
            b"INSERT INTO `t` VALUES (1,'secret')",
            mysql_async::Error::Server(error),
        )
    }

    #[test]
    fn a_password_hash_quoted_by_the_server_is_not_repeated() {
        let rejected = |sql: &[u8]| {
            let error = mysql_async::Error::Server(mysql_async::ServerError {
                code: 1064,
                message: "near 'PASSWORD '*B69027D4''".into(),
                state: "42000".into(),
            });
            classify(sql, error).into_error()
        };
        let secret = rejected(b"CREATE USER `a`@`%` IDENTIFIED BY PASSWORD '*B69027D4'");
        assert!(
            !format!("{secret} {secret:?}").contains("B69027D4"),
            "{secret:?}"
        );
        assert_eq!(server_code(&secret), Some(1064));
        assert!(rejected(b"CREATE TABLE t").to_string().contains("near"));
    }

    #[test]
    fn only_conflicts_are_retried_and_only_lost_connections_are_reopened() {
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
            "INSERT INTO `t`: no (1114); the server's disk is full: free disk space, then resume with the same command"
        );
    }
}
