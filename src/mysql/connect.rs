//! Connection to a server, with timeouts and defined session settings.
//!
//! Queries go through [`Connection`], whose errors are one line with a next step. Code that needs the driver itself
//! (bulk loading) gets it from [`Connection::conn`].

use std::time::Duration;

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{ClientIdentity, Conn, DriverError, Opts, OptsBuilder, Row, SslOpts};

use crate::mysql::errors::{connect_error, is_temporary, no_answer, query_error, start_of};
use crate::mysql::url::{Endpoint, Identity, Tls};
use crate::mysql::{Role, ServerConfig, ServerVersion, limits};
use crate::util::times::instant_in;
use crate::{Error, Result};

pub use crate::mysql::errors::{is_denied, is_lost_code, server_code, server_error, server_said};
pub use crate::mysql::named_row::NamedRow;

/// Timeout of a login.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Timeout of one statement of [`Connection`]; catalog queries on a large server are slow.
pub const QUERY_TIMEOUT: Duration = Duration::from_secs(600);

/// Timeout of statements that read whole tables: the idle timeout of the session.
const LONG_QUERY_TIMEOUT: Duration = Duration::from_secs(604_800);

/// Idle time after which TCP keepalive probes are sent.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(30);

/// The protocol's maximum, so that only the server limits the packet size.
const MAX_PACKET_BYTES: usize = 1 << 30;

/// Settings of every session. `sql_mode` is empty so that quotes and backslashes mean the same on every server, even
/// with a global ANSI_QUOTES or NO_BACKSLASH_ESCAPES.
pub(super) const SESSION: &str = "SET NAMES utf8mb4, time_zone = '+00:00', sql_mode = '', autocommit = 1, \
     net_read_timeout = 3600, sql_quote_show_create = 1";

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    conn: Conn,
    /// Determines exit codes, and the keys in hints.
    role: Role,
    /// Whether TLS is used; client programs started later then use it, too.
    encrypted: bool,
    /// Timeout of a statement.
    timeout: Duration,
}

/// Opens a connection and sets up its session: UTC, utf8mb4, an empty `sql_mode`, long timeouts, and nothing hidden
/// ([`crate::mysql::unfiltered_session`]).
///
/// # Errors
///
/// Within [`CONNECT_TIMEOUT`], with the outcome of the server's role.
pub async fn connect(config: &ServerConfig) -> Result<Connection> {
    let mut connection = as_any_client(config).await?;
    let session = format!("{SESSION}, {}", limits::assignments());
    match connection.run(&session).await {
        Ok(()) => Ok(connection),
        // If the server is too old for these settings, report that instead.
        Err(error) => match connection.version().await {
            Err(too_old) if server_code(&error).is_some() => Err(too_old),
            _ => Err(error),
        },
    }
}

/// Waits up to `timeout` until the server accepts connections: it may be restarting. Permanent failures, such as a
/// wrong password, are returned at once.
pub async fn wait_for(config: &ServerConfig, timeout: Duration) -> Result<()> {
    const MAX_PAUSE: Duration = Duration::from_secs(5);
    let until = instant_in(timeout);
    let mut pause = Duration::from_millis(500);
    let mut logged = false;
    loop {
        let ConnectFailure {
            error,
            is_temporary,
        } = match reach(config).await {
            Ok(connection) => {
                connection.close().await;
                return Ok(());
            }
            Err(failure) => failure,
        };
        if !is_temporary || instant_in(pause) >= until {
            return Err(if logged {
                error.context(format!("tried for {} s", timeout.as_secs()))
            } else {
                error
            });
        }
        if !logged {
            tracing::warn!(%error, seconds = timeout.as_secs(), "server unreachable; retrying");
            logged = true;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

struct ConnectFailure {
    error: Error,
    /// Whether a later attempt may succeed.
    is_temporary: bool,
}

/// Opens a connection without changing the server's default session settings.
pub async fn as_any_client(config: &ServerConfig) -> Result<Connection> {
    reach(config).await.map_err(|failure| failure.error)
}

async fn reach(config: &ServerConfig) -> std::result::Result<Connection, ConnectFailure> {
    let encrypt = config.url.tries_tls();
    let attempt = async {
        match open(config, encrypt).await {
            // The server does not support TLS: like the clients, `preferred` falls back to cleartext.
            Err(mysql_async::Error::Driver(DriverError::NoClientSslFlagFromServer))
                if config.url.tls == Tls::Preferred =>
            {
                open(config, false).await.map(|conn| (conn, false))
            }
            opened => opened.map(|conn| (conn, encrypt)),
        }
    };
    let (conn, encrypted) = match tokio::time::timeout(CONNECT_TIMEOUT, attempt).await {
        Ok(opened) => opened.map_err(|error| ConnectFailure {
            is_temporary: is_temporary(&error),
            error: connect_error(config, error),
        })?,
        Err(_) => {
            return Err(ConnectFailure {
                error: no_answer(config),
                is_temporary: true,
            });
        }
    };
    Ok(Connection {
        conn,
        role: config.role,
        encrypted,
        timeout: QUERY_TIMEOUT,
    })
}

async fn open(config: &ServerConfig, encrypt: bool) -> mysql_async::Result<Conn> {
    let mut opts = OptsBuilder::default()
        .user(Some(config.url.user.clone()))
        .pass(config.password.as_ref().map(|p| p.reveal().to_owned()))
        // Otherwise the driver would switch from a forwarded port to the socket of a local server.
        .prefer_socket(false)
        .tcp_keepalive(Some(KEEPALIVE))
        .max_allowed_packet(Some(MAX_PACKET_BYTES))
        .wait_timeout(Some(28_800))
        .enable_cleartext_plugin(config.allows_cleartext(encrypt))
        .stmt_cache_size(0);
    opts = match &config.url.endpoint {
        Endpoint::Tcp { host, port } => opts.ip_or_hostname(host.clone()).tcp_port(*port),
        Endpoint::Socket(path) => opts.socket(Some(path.to_string_lossy())),
    };
    if encrypt {
        let mut tls = match &config.url.ca {
            Some(ca) => SslOpts::default()
                .with_root_certs(vec![ca.clone().into()])
                .with_disable_built_in_roots(true),
            None => SslOpts::default()
                .with_danger_accept_invalid_certs(true)
                .with_danger_skip_domain_validation(true),
        };
        if let Some(Identity { cert, key }) = &config.url.identity {
            let identity = ClientIdentity::new(cert.clone().into(), key.clone().into());
            tls = tls.with_client_identity(Some(identity));
        }
        opts = opts.ssl_opts(Some(tls));
    }
    Conn::new(Opts::from(opts)).await
}

impl Connection {
    /// All rows of a query.
    ///
    /// Not cancel safe: a connection whose statement was dropped cannot be used again.
    pub async fn rows<T: FromRow>(&mut self, sql: &str) -> Result<Vec<T>> {
        let rows: Vec<Row> = self.timed(sql, async |conn| conn.query(sql).await).await?;
        rows.into_iter()
            .map(|row| {
                // The driver's error message contains the data of the row.
                T::from_row_opt(row).map_err(|_| {
                    Error::unexpected(format!(
                        "{}: unexpected columns in the result",
                        start_of(sql)
                    ))
                })
            })
            .collect()
    }

    /// Calls `take` with each row as it arrives, without buffering.
    pub async fn each_row(&mut self, sql: &str, mut take: impl FnMut(Row) + Send) -> Result<()> {
        self.timed(sql, async |conn| {
            conn.query_iter(sql)
                .await?
                .for_each_and_drop(&mut take)
                .await
        })
        .await
    }

    /// The first row of a query.
    pub async fn row<T: FromRow>(&mut self, sql: &str) -> Result<Option<T>> {
        Ok(self.rows(sql).await?.into_iter().next())
    }

    /// The first row of a query; an error if there is none.
    pub async fn one<T: FromRow>(&mut self, sql: &str) -> Result<T> {
        self.row(sql)
            .await?
            .ok_or_else(|| self.role.error(format!("{}: no rows", start_of(sql))))
    }

    /// The rows of a query with column names, for SHOW statements whose columns differ between versions.
    pub async fn named_rows(&mut self, sql: &str) -> Result<Vec<NamedRow>> {
        let rows: Vec<Row> = self.timed(sql, async |conn| conn.query(sql).await).await?;
        Ok(rows.into_iter().map(NamedRow::new).collect())
    }

    /// All rows of a query; `None` if the account lacks the privilege.
    pub async fn rows_if_allowed<T: FromRow>(&mut self, sql: &str) -> Result<Option<Vec<T>>> {
        match self.rows(sql).await {
            Ok(rows) => Ok(Some(rows)),
            Err(error) if is_denied(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// For statements that read whole tables; a dead server is detected by TCP keepalive.
    pub fn with_long_timeout(self) -> Self {
        Connection {
            timeout: LONG_QUERY_TIMEOUT,
            ..self
        }
    }

    /// For short queries to a server that may be frozen: the timeout of each statement.
    pub fn within(self, timeout: Duration) -> Self {
        Connection { timeout, ..self }
    }

    /// Runs a statement and discards its result.
    pub async fn run(&mut self, sql: &str) -> Result<()> {
        self.timed(sql, async |conn| conn.query_drop(sql).await)
            .await
    }

    async fn timed<T>(
        &mut self,
        sql: &str,
        work: impl AsyncFnOnce(&mut Conn) -> mysql_async::Result<T>,
    ) -> Result<T> {
        let role = self.role;
        match tokio::time::timeout(self.timeout, work(&mut self.conn)).await {
            Ok(done) => done.map_err(|error| query_error(role, sql, error)),
            Err(_) => Err(role.error(format!(
                "{}: no answer within {} s",
                start_of(sql),
                self.timeout.as_secs()
            ))),
        }
    }

    /// The server's flavour and version.
    ///
    /// # Errors
    ///
    /// The server is older than the supported versions (exit 9).
    pub async fn version(&mut self) -> Result<ServerVersion> {
        let (version, comment): (String, String) =
            self.one("SELECT @@version, @@version_comment").await?;
        let server = ServerVersion::parse(&version, &comment).ok_or_else(|| {
            self.role
                .error(format!("cannot parse the server's version {version:?}"))
                .hint("drctl supports MySQL and MariaDB")
        })?;
        server.check_supported()?;
        Ok(server)
    }

    /// The statement of another connection that has been running for longest, if for more than this number of seconds: the ID
    /// of the connection, and the seconds. Only with PROCESS are those of other accounts among them.
    pub async fn long_statement(&mut self, seconds: u32) -> Result<Option<(u64, i64)>> {
        self.row(&format!(
            "SELECT id, time FROM information_schema.processlist WHERE command IN ('Query', 'Execute') \
             AND time > {seconds} AND id <> CONNECTION_ID() ORDER BY time DESC LIMIT 1"
        ))
        .await
    }

    /// The server's ID of this connection.
    pub fn id(&self) -> u32 {
        self.conn.id()
    }

    /// Whether TLS is used.
    pub fn encrypted(&self) -> bool {
        self.encrypted
    }

    /// The role of the server.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The driver's connection, for operations that this wrapper does not support.
    pub fn conn(&mut self) -> &mut Conn {
        &mut self.conn
    }

    /// Unwraps the driver's connection.
    pub fn into_conn(self) -> Conn {
        self.conn
    }

    /// Closes the connection; failures are ignored.
    pub async fn close(self) {
        let _ = tokio::time::timeout(CONNECT_TIMEOUT, self.conn.disconnect()).await;
    }
}

/// Strings as literals for `IN (…)`; of none, one that no name equals. MariaDB opens each table of information_schema that
/// such a list of schemas does not rule out.
pub fn literals<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> String {
    let all: Vec<String> = texts
        .into_iter()
        .map(|text| literal(text.as_ref()))
        .collect();
    match all.is_empty() {
        true => literal(""),
        false => all.join(", "),
    }
}

/// A string as an SQL literal, for sessions of [`connect`], in which backslash escapes are enabled.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// The statement that sets a global variable: a number as such, anything else as a string.
pub fn set_global(name: &str, value: &str) -> String {
    let number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    match number {
        true => format!("SET GLOBAL {name} = {value}"),
        false => format!("SET GLOBAL {name} = {}", literal(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;
    use crate::mysql::errors::tests::config;

    #[tokio::test]
    async fn an_unreachable_server_is_one_line_with_a_hint() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        for (url, says) in [
            (
                format!("mysql://u@127.0.0.1:{port}"),
                "is the server running?",
            ),
            (
                "mysql://u@localhost/?socket=/nonexistent/s".into(),
                "no such socket",
            ),
            (
                "mysql://u@no-such-host.invalid".into(),
                "check the host in DRCTL_INTO_URL",
            ),
        ] {
            let error = connect(&config(&url)).await.unwrap_err();
            assert_eq!(error.outcome(), Outcome::Server);
            assert!(error.to_string().contains(says), "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_literal_cannot_be_broken_out_of() {
        assert_eq!(literal(r"a'b\c"), r"'a''b\\c'");
    }
}
