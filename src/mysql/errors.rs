//! Errors of a server and of connections to it: classification, messages and hints.

use std::io;

use mysql_async::{DriverError, IoError};

use crate::Error;
use crate::mysql::connect::CONNECT_TIMEOUT;
use crate::mysql::{Role, ServerConfig};

/// The server's error number, if the failure is an error of the server.
pub fn server_code(error: &Error) -> Option<u16> {
    server_said(error).map(|(code, _)| code)
}

/// The server's error number and message, if the failure is an error of the server.
pub fn server_said(error: &Error) -> Option<(u16, &str)> {
    let cause = std::error::Error::source(error)?;
    match cause.downcast_ref::<mysql_async::Error>()? {
        mysql_async::Error::Server(server) => Some((server.code, &server.message)),
        _ => None,
    }
}

/// Whether an error number means that the connection is lost: shutdown, forced close, network failure, killed
/// (1317: during a statement), not available, idle for too long.
pub fn is_lost_code(code: u16) -> bool {
    const LOST: [u16; 11] = [
        1053, 1080, 1152, 1158, 1159, 1160, 1161, 1317, 1927, 3169, 4031,
    ];
    LOST.contains(&code)
}

/// Whether an error means that the connection is lost.
fn is_lost(error: &mysql_async::Error) -> bool {
    match error {
        mysql_async::Error::Server(server) => is_lost_code(server.code),
        mysql_async::Error::Io(IoError::Io(_)) => true,
        mysql_async::Error::Driver(driver) => matches!(
            driver,
            DriverError::ConnectionClosed | DriverError::PoolDisconnected
        ),
        _ => false,
    }
}

/// An error of the server that a client program printed, as the cause of a failure.
pub fn server_error(code: u16, message: impl Into<String>) -> mysql_async::Error {
    mysql_async::Error::Server(mysql_async::ServerError {
        code,
        message: message.into(),
        state: String::new(),
    })
}

/// Whether the account lacks a privilege: on a schema (1044), table (1142), column (1143) or routine (1370), or for
/// an operation (1227).
pub fn is_denied(error: &Error) -> bool {
    matches!(server_code(error), Some(1044 | 1142 | 1143 | 1227 | 1370))
}

/// Whether a later connection may succeed: the server is starting, stopping or full.
pub(super) fn is_temporary(error: &mysql_async::Error) -> bool {
    use io::ErrorKind;
    match error {
        // No connection free; shutting down; not available yet.
        mysql_async::Error::Server(server) => matches!(server.code, 1040 | 1053 | 1203 | 3168),
        mysql_async::Error::Io(IoError::Io(io)) => match io.kind() {
            ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof
            | ErrorKind::TimedOut
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            // A server creates its socket when it starts.
            | ErrorKind::NotFound => true,
            // The name of a pod only resolves while the pod is ready.
            _ => io.to_string().contains("lookup"),
        },
        mysql_async::Error::Driver(DriverError::ConnectionClosed) => true,
        _ => false,
    }
}

/// The failure of a server that has not answered within [`CONNECT_TIMEOUT`].
pub(super) fn no_answer(config: &ServerConfig) -> Error {
    let (endpoint, seconds) = (&config.url.endpoint, CONNECT_TIMEOUT.as_secs());
    config
        .role
        .error(format!("{endpoint}: no answer within {seconds} s"))
        .hint("check the address, firewalls and network policies")
        .lost()
}

/// The failure to connect, with a hint.
pub(super) fn connect_error(config: &ServerConfig, error: mysql_async::Error) -> Error {
    let lost = is_lost(&error);
    let failure = connect_failure(config, error);
    if lost { failure.lost() } else { failure }
}

fn connect_failure(config: &ServerConfig, error: mysql_async::Error) -> Error {
    let (endpoint, key) = (&config.url.endpoint, config.role.key());
    let fail = |what: String| config.role.error(what);
    match &error {
        mysql_async::Error::Server(server) => {
            let failed = fail(format!("{endpoint}: {}", server.message));
            let hint = match server.code {
                // After a rotation, or a rollback past one, the passwords of account and Secret differ.
                1045 | 1698 => format!(
                    "check the user in {key}_URL and {key}_PASSWORD[_FILE]: after a rotation or a helm rollback \
                     the account may have a different password (runbooks/key-rotation.md)"
                ),
                1040 | 1203 | 1226 => {
                    "the connection limit is reached: retry later, or raise it".into()
                }
                1129 | 1130 => "allow the account to log in from this host".into(),
                3159 => format!("add tls=required to {key}_URL"),
                // mysql_native_password: disabled by default since MySQL 8.4, removed in 9.0.
                1524 => "give the account caching_sha2_password: ALTER USER … IDENTIFIED WITH caching_sha2_password BY …".into(),
                _ => return failed.caused_by(error),
            };
            failed.hint(hint).caused_by(error)
        }
        mysql_async::Error::Io(IoError::Io(io)) => {
            let hint = match io.kind() {
                io::ErrorKind::ConnectionRefused => "is the server running?".into(),
                io::ErrorKind::NotFound => format!("no such socket: check {key}_URL"),
                io::ErrorKind::PermissionDenied => {
                    "this user has no permission to open the socket".into()
                }
                _ if io.to_string().contains("lookup") => format!("check the host in {key}_URL"),
                io::ErrorKind::InvalidData => "TLS failed: check tls and ca in the URL".into(),
                _ => "check the network between this host and the server".into(),
            };
            fail(format!("{endpoint}: {io}"))
                .hint(hint)
                .caused_by(error)
        }
        mysql_async::Error::Io(IoError::Tls(tls)) => fail(format!("{endpoint}: TLS failed: {tls}"))
            .hint(format!("check tls and ca in {key}_URL"))
            .caused_by(error),
        mysql_async::Error::Driver(DriverError::NoClientSslFlagFromServer) => {
            fail(format!("{endpoint}: the server does not support TLS"))
                .hint(format!(
                    "configure a certificate on the server, or remove tls from {key}_URL"
                ))
                .caused_by(error)
        }
        mysql_async::Error::Driver(DriverError::UnknownAuthPlugin { name }) => fail(format!(
            "{endpoint}: the account uses the unsupported authentication plugin {name}"
        ))
        .hint("change it to caching_sha2_password, mysql_native_password or unix_socket")
        .caused_by(error),
        mysql_async::Error::Driver(DriverError::CleartextPluginDisabled) => {
            let what = "the account logs in with a token or password sent in cleartext";
            fail(format!("{endpoint}: {what}"))
                .hint(format!(
                    "drctl sends it only over verified TLS: add tls=verify&ca=/file.pem to {key}_URL"
                ))
                .caused_by(error)
        }
        other => fail(format!("{endpoint}: {other}")).caused_by(error),
    }
}

/// The failure of a statement.
pub(crate) fn query_error(role: Role, sql: &str, error: mysql_async::Error) -> Error {
    let what = match &error {
        mysql_async::Error::Server(server) => {
            format!("{}: {} ({})", start_of(sql), server.message, server.code)
        }
        other => format!("{}: {other}", start_of(sql)),
    };
    let lost = is_lost(&error);
    let failure = role.error(what).caused_by(error);
    if lost { failure.lost() } else { failure }
}

/// The first words of a statement, for messages.
pub(super) fn start_of(sql: &str) -> String {
    const MAX_CHARS: usize = 60;
    let line = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::util::secret::Secret;

    /// The configuration of a destination, with a password.
    pub(in crate::mysql) fn config(url: &str) -> ServerConfig {
        ServerConfig {
            url: url.parse().unwrap(),
            password: Some(Secret::new("hunter2")),
            client_dir: None,
            role: Role::Into,
        }
    }

    #[test]
    fn a_wrong_password_names_the_keys_to_check() {
        let denied = mysql_async::Error::Server(mysql_async::ServerError {
            code: 1045,
            message: "Access denied for user 'u'@'h' (using password: YES)".into(),
            state: "28000".into(),
        });
        let error = connect_error(&config("mysql://u@h"), denied);
        assert_eq!(server_code(&error), Some(1045));
        assert_eq!(
            error.to_string(),
            "h:3306: Access denied for user 'u'@'h' (using password: YES); \
             check the user in DRCTL_INTO_URL and DRCTL_INTO_PASSWORD[_FILE]: after a rotation or a helm rollback \
             the account may have a different password (runbooks/key-rotation.md)"
        );
    }

    #[test]
    fn a_removed_authentication_plugin_is_reported_with_its_replacement() {
        // Recorded from documentation: MySQL 8.4 without --mysql-native-password=ON.
        let unloaded = mysql_async::Error::Server(mysql_async::ServerError {
            code: 1524,
            message: "Plugin 'mysql_native_password' is not loaded".into(),
            state: "HY000".into(),
        });
        let error = connect_error(&config("mysql://u@h"), unloaded).to_string();
        assert!(
            error.contains("IDENTIFIED WITH caching_sha2_password"),
            "{error}"
        );
        let cleartext = mysql_async::Error::Driver(DriverError::CleartextPluginDisabled);
        let error = connect_error(&config("mysql://u@h"), cleartext).to_string();
        assert!(
            error.contains("tls=verify") && error.contains("DRCTL_INTO_URL"),
            "{error}"
        );
    }

    #[test]
    fn long_statements_are_truncated_in_messages() {
        let cut = start_of(&"é ".repeat(100));
        assert_eq!(cut.chars().count(), 61);
    }
}
