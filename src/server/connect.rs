//! A connection to a server, with time-outs and a session whose settings are known.
//!
//! Everything that is asked of a server in SQL goes through [`Connection`], whose errors are one
//! line with a next step. What needs the driver itself (rows by the million, LOAD DATA) takes it
//! from [`Connection::conn`].

use std::io;
use std::time::Duration;

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{ClientIdentity, Conn, DriverError, IoError, Opts, OptsBuilder, Row, SslOpts};

use super::url::{Endpoint, Identity, Tls};
use super::{Role, ServerConfig, ServerVersion, limits};
use crate::times::instant_in;
use crate::{Error, Result};

/// How long a server may take to accept a login.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// How long one statement of [`Connection`] may take; the catalogue of a large server is slow.
pub const QUERY_TIMEOUT: Duration = Duration::from_secs(600);

/// The same for statements that read whole tables: as long as the session may be silent.
const PATIENCE: Duration = Duration::from_secs(604_800);

/// When TCP begins to ask whether a silent server is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// The largest packet of the protocol: a server's limit is the only one.
const MAX_PACKET_BYTES: usize = 1 << 30;

/// What every session begins with. `sql_mode` is empty so that quotes and backslashes mean the same on
/// every server, ANSI_QUOTES and NO_BACKSLASH_ESCAPES ones included.
const SESSION: &str = "SET NAMES utf8mb4, time_zone = '+00:00', sql_mode = '', autocommit = 1, \
     net_read_timeout = 3600, sql_quote_show_create = 1";

/// An open connection and the end of the flow that it belongs to.
#[derive(Debug)]
pub struct Connection {
    /// The driver's connection.
    conn: Conn,
    /// Names the exit code and the keys in hints.
    role: Role,
    /// Whether TLS is in force; a client that is started later is told to do alike.
    encrypted: bool,
    /// How long a statement may take.
    patience: Duration,
}

/// Opens a connection and sets its session up: UTC, utf8mb4, an empty `sql_mode`, long time-outs, and
/// everything shown ([`super::whole`]).
///
/// Fails within [`CONNECT_TIMEOUT`], with the outcome of the server's role.
pub async fn connect(config: &ServerConfig) -> Result<Connection> {
    let mut connection = as_any_client(config).await?;
    let session = format!("{SESSION}, {}", limits::assignments());
    match connection.run(&session).await {
        Ok(()) => Ok(connection),
        // A server that is too old for it is better told so.
        Err(error) => match connection.version().await {
            Err(too_old) if server_code(&error).is_some() => Err(too_old),
            _ => Err(error),
        },
    }
}

/// Waits until a server takes connections, for so long: one that is restarting comes back. What will not change
/// by waiting, such as a wrong password, is an error at once.
pub async fn wait_for(config: &ServerConfig, patience: Duration) -> Result<()> {
    const LONGEST_PAUSE: Duration = Duration::from_secs(5);
    let until = instant_in(patience);
    let mut pause = Duration::from_millis(500);
    let mut said = false;
    loop {
        let Unreached { error, may_come } = match reach(config).await {
            Ok(connection) => {
                connection.close().await;
                return Ok(());
            }
            Err(unreached) => unreached,
        };
        if !may_come || instant_in(pause) >= until {
            return Err(match said {
                true => error.context(format!("tried for {} s", patience.as_secs())),
                false => error,
            });
        }
        if !said {
            tracing::warn!(%error, seconds = patience.as_secs(), "the server cannot be reached; trying on");
            said = true;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Why there is no connection.
struct Unreached {
    error: Error,
    /// Whether one may be had in a while.
    may_come: bool,
}

/// Opens a connection and leaves its session as the server makes it for everybody.
pub async fn as_any_client(config: &ServerConfig) -> Result<Connection> {
    reach(config).await.map_err(|unreached| unreached.error)
}

async fn reach(config: &ServerConfig) -> std::result::Result<Connection, Unreached> {
    let encrypt =
        matches!(config.url.endpoint, Endpoint::Tcp { .. }) && config.url.tls != Tls::Disabled;
    let attempt = async {
        match open(config, encrypt).await {
            // Without TLS on offer, `preferred` means to go on in the clear, as the clients do.
            Err(mysql_async::Error::Driver(DriverError::NoClientSslFlagFromServer))
                if config.url.tls == Tls::Preferred =>
            {
                open(config, false).await.map(|conn| (conn, false))
            }
            opened => opened.map(|conn| (conn, encrypt)),
        }
    };
    let (conn, encrypted) = match tokio::time::timeout(CONNECT_TIMEOUT, attempt).await {
        Ok(opened) => opened.map_err(|error| Unreached {
            may_come: may_come(&error),
            error: connect_error(config, error),
        })?,
        Err(_) => {
            let (endpoint, seconds) = (&config.url.endpoint, CONNECT_TIMEOUT.as_secs());
            let error = config
                .role
                .error(format!("{endpoint}: no answer within {seconds} s"))
                .hint("check the address, and firewalls and network policies on the way")
                .lost();
            return Err(Unreached {
                error,
                may_come: true,
            });
        }
    };
    Ok(Connection {
        conn,
        role: config.role,
        encrypted,
        patience: QUERY_TIMEOUT,
    })
}

async fn open(config: &ServerConfig, encrypt: bool) -> mysql_async::Result<Conn> {
    let mut opts = OptsBuilder::default()
        .user(Some(config.url.user.clone()))
        .pass(config.password.as_ref().map(|p| p.reveal().to_owned()))
        // The driver would otherwise leave a forwarded port for the local server's socket.
        .prefer_socket(false)
        .tcp_keepalive(Some(KEEPALIVE))
        .max_allowed_packet(Some(MAX_PACKET_BYTES))
        .wait_timeout(Some(28_800))
        .enable_cleartext_plugin(config.sends_cleartext(encrypt))
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
    /// All rows of a query, each converted.
    pub async fn rows<T: FromRow>(&mut self, sql: &str) -> Result<Vec<T>> {
        let rows: Vec<Row> = self.timed(sql, async |conn| conn.query(sql).await).await?;
        rows.into_iter()
            .map(|row| {
                // The driver's own error would print the row's data.
                T::from_row_opt(row).map_err(|_| {
                    Error::unexpected(format!("{}: the answer has another shape", start_of(sql)))
                })
            })
            .collect()
    }

    /// Hands each row of a query on as it comes, so that none are held.
    pub async fn each_row(&mut self, sql: &str, mut take: impl FnMut(Row) + Send) -> Result<()> {
        self.timed(sql, async |conn| {
            conn.query_iter(sql)
                .await?
                .for_each_and_drop(&mut take)
                .await
        })
        .await
    }

    /// The first row of a query, converted.
    pub async fn row<T: FromRow>(&mut self, sql: &str) -> Result<Option<T>> {
        Ok(self.rows(sql).await?.into_iter().next())
    }

    /// The only row of a query; having none is an error.
    pub async fn one<T: FromRow>(&mut self, sql: &str) -> Result<T> {
        self.row(sql)
            .await?
            .ok_or_else(|| self.role.error(format!("{}: no answer", start_of(sql))))
    }

    /// The rows of a query as pairs of column name and text, for SHOW statements whose columns
    /// differ between versions. NULL is the empty text.
    pub async fn named_rows(&mut self, sql: &str) -> Result<Vec<NamedRow>> {
        let rows: Vec<Row> = self.timed(sql, async |conn| conn.query(sql).await).await?;
        Ok(rows.into_iter().map(NamedRow::new).collect())
    }

    /// All rows of a query, or `None` where the account may not ask.
    pub async fn rows_if_allowed<T: FromRow>(&mut self, sql: &str) -> Result<Option<Vec<T>>> {
        match self.rows(sql).await {
            Ok(rows) => Ok(Some(rows)),
            Err(error) if is_denied(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// For statements that take as long as the tables are large; that the server lives, TCP asks.
    pub fn patient(self) -> Self {
        Connection {
            patience: PATIENCE,
            ..self
        }
    }

    /// Runs a statement and drops what it answers.
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
        match tokio::time::timeout(self.patience, work(&mut self.conn)).await {
            Ok(done) => done.map_err(|error| query_error(role, sql, error)),
            Err(_) => Err(role.error(format!(
                "{}: no answer within {} s",
                start_of(sql),
                self.patience.as_secs()
            ))),
        }
    }

    /// What the server is; one that is too old is refused (exit 9), whatever it is asked for.
    pub async fn version(&mut self) -> Result<ServerVersion> {
        let (version, comment): (String, String) =
            self.one("SELECT @@version, @@version_comment").await?;
        let server = ServerVersion::parse(&version, &comment).ok_or_else(|| {
            self.role
                .error(format!(
                    "the server's version {version:?} is not understood"
                ))
                .hint("drctl knows MySQL and MariaDB")
        })?;
        server.demand_supported()?;
        Ok(server)
    }

    /// The server's number for this connection.
    pub fn id(&self) -> u32 {
        self.conn.id()
    }

    /// Whether TLS is in force.
    pub fn encrypted(&self) -> bool {
        self.encrypted
    }

    /// Which end of the flow this is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The driver's connection, for what this wrapper does not do.
    pub fn conn(&mut self) -> &mut Conn {
        &mut self.conn
    }

    /// The driver's connection, to keep.
    pub fn into_conn(self) -> Conn {
        self.conn
    }

    /// Says good-bye; a server that has gone is fine.
    pub async fn close(self) {
        let _ = tokio::time::timeout(CONNECT_TIMEOUT, self.conn.disconnect()).await;
    }
}

/// A row whose columns are asked for by name, without regard to case.
#[derive(Debug, Clone)]
pub struct NamedRow(Vec<(String, Option<String>)>);

impl NamedRow {
    fn new(row: Row) -> Self {
        let names: Vec<String> = row
            .columns_ref()
            .iter()
            .map(|column| column.name_str().into_owned())
            .collect();
        let values = row.unwrap_raw().into_iter().map(|value| {
            value.and_then(|value| match value {
                mysql_async::Value::NULL => None,
                mysql_async::Value::Bytes(bytes) => {
                    Some(String::from_utf8_lossy(&bytes).into_owned())
                }
                other => Some(other.as_sql(true).trim_matches('\'').to_owned()),
            })
        });
        NamedRow(names.into_iter().zip(values).collect())
    }

    /// A row that no server was asked for.
    #[cfg(test)]
    pub fn of(columns: &[(&str, Option<&str>)]) -> Self {
        let owned = columns
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned)));
        NamedRow(owned.collect())
    }

    /// The text of a column: `None` where it is NULL or there is no such column.
    pub fn get(&self, column: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(column))
            .and_then(|(_, value)| value.as_deref())
    }

    /// The text of the first of several names that a column has had.
    pub fn any(&self, columns: &[&str]) -> Option<&str> {
        columns.iter().find_map(|column| self.get(column))
    }

    /// The text of a column by its place.
    pub fn at(&self, index: usize) -> Option<&str> {
        self.0.get(index).and_then(|(_, value)| value.as_deref())
    }
}

/// The server's error number behind a failure, where the server named one.
pub fn server_code(error: &Error) -> Option<u16> {
    server_said(error).map(|(code, _)| code)
}

/// The server's error number behind a failure, and what it said.
pub fn server_said(error: &Error) -> Option<(u16, &str)> {
    let cause = std::error::Error::source(error)?;
    match cause.downcast_ref::<mysql_async::Error>()? {
        mysql_async::Error::Server(server) => Some((server.code, &server.message)),
        _ => None,
    }
}

/// Whether an error number says that the connection is gone, or that the server is going or coming: server
/// shutdown, forced close, broken network, killed (1317: in the middle of a statement), not available,
/// idle too long.
pub fn is_lost_code(code: u16) -> bool {
    const LOST: [u16; 11] = [
        1053, 1080, 1152, 1158, 1159, 1160, 1161, 1317, 1927, 3169, 4031,
    ];
    LOST.contains(&code)
}

/// Whether a driver's error says that the connection is gone.
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

/// A server's error that a program passed on as text, as the cause of a failure.
pub fn server_error(code: u16, message: impl Into<String>) -> mysql_async::Error {
    mysql_async::Error::Server(mysql_async::ServerError {
        code,
        message: message.into(),
        state: String::new(),
    })
}

/// Whether the server said that the account may not: on a schema (1044), a table (1142), a column
/// (1143), an operation (1227), a routine (1370).
pub fn is_denied(error: &Error) -> bool {
    matches!(server_code(error), Some(1044 | 1142 | 1143 | 1227 | 1370))
}

/// A text as an SQL string literal. Sessions of [`connect`] have backslash escapes on.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// What could not be done on the way to a session.
/// Whether a server that refused a connection so may take one in a while: it is starting, stopping, or full.
fn may_come(error: &mysql_async::Error) -> bool {
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
            // A socket is made when its server is up.
            | ErrorKind::NotFound => true,
            // The name of a pod is known while the pod is ready.
            _ => io.to_string().contains("lookup"),
        },
        mysql_async::Error::Driver(DriverError::ConnectionClosed) => true,
        _ => false,
    }
}

fn connect_error(config: &ServerConfig, error: mysql_async::Error) -> Error {
    let lost = is_lost(&error);
    let told = connect_failure(config, error);
    if lost { told.lost() } else { told }
}

fn connect_failure(config: &ServerConfig, error: mysql_async::Error) -> Error {
    let (endpoint, key) = (&config.url.endpoint, config.role.key());
    let fail = |what: String| config.role.error(what);
    match &error {
        mysql_async::Error::Server(server) => {
            let failed = fail(format!("{endpoint}: {}", server.message));
            let hint = match server.code {
                // After a rotation, or a release that was rolled back past one, both are there and differ.
                1045 | 1698 => format!(
                    "check the user in {key}_URL and {key}_PASSWORD[_FILE]: after a rotation or a helm rollback \
                     the account may have another one (runbooks/key-rotation.md)"
                ),
                1040 | 1203 | 1226 => {
                    "the server has no connection free: try again later, or raise its limit".into()
                }
                1129 | 1130 => "let the account log in from this host".into(),
                3159 => format!("add tls=required to {key}_URL"),
                // Off by default from MySQL 8.4 on, gone in 9.0.
                1524 => "give the account caching_sha2_password: ALTER USER … IDENTIFIED WITH caching_sha2_password BY …".into(),
                _ => return failed.caused_by(error),
            };
            failed.hint(hint).caused_by(error)
        }
        mysql_async::Error::Io(IoError::Io(io)) => {
            let hint = match io.kind() {
                io::ErrorKind::ConnectionRefused => "is the server running there?".into(),
                io::ErrorKind::NotFound => format!("no such socket: check {key}_URL"),
                io::ErrorKind::PermissionDenied => "this user may not open the socket".into(),
                _ if io.to_string().contains("lookup") => format!("check the host in {key}_URL"),
                io::ErrorKind::InvalidData => "TLS failed: check tls and ca in the URL".into(),
                _ => "check the network between here and there".into(),
            };
            fail(format!("{endpoint}: {io}"))
                .hint(hint)
                .caused_by(error)
        }
        mysql_async::Error::Io(IoError::Tls(tls)) => fail(format!("{endpoint}: TLS failed: {tls}"))
            .hint(format!("check tls and ca in {key}_URL"))
            .caused_by(error),
        mysql_async::Error::Driver(DriverError::NoClientSslFlagFromServer) => {
            fail(format!("{endpoint}: the server offers no TLS"))
                .hint(format!(
                    "give it a certificate, or take tls out of {key}_URL"
                ))
                .caused_by(error)
        }
        mysql_async::Error::Driver(DriverError::UnknownAuthPlugin { name }) => {
            fail(format!("{endpoint}: the account logs in by {name}"))
                .hint("give it caching_sha2_password, mysql_native_password or unix_socket")
                .caused_by(error)
        }
        mysql_async::Error::Driver(DriverError::CleartextPluginDisabled) => {
            let what = "the account logs in by a token or password that is sent as it is";
            fail(format!("{endpoint}: {what}"))
                .hint(format!(
                    "that is done only where TLS has verified the server: add tls=verify&ca=/file.pem to {key}_URL"
                ))
                .caused_by(error)
        }
        other => fail(format!("{endpoint}: {other}")).caused_by(error),
    }
}

/// What the server, or the way to it, made of a statement.
fn query_error(role: Role, sql: &str, error: mysql_async::Error) -> Error {
    let what = match &error {
        mysql_async::Error::Server(server) => {
            format!("{}: {} ({})", start_of(sql), server.message, server.code)
        }
        other => format!("{}: {other}", start_of(sql)),
    };
    let lost = is_lost(&error);
    let told = role.error(what).caused_by(error);
    if lost { told.lost() } else { told }
}

/// The first words of a statement, for messages.
fn start_of(sql: &str) -> String {
    const MOST_CHARS: usize = 60;
    let line = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MOST_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;
    use crate::server::Secret;

    fn config(url: &str) -> ServerConfig {
        ServerConfig {
            url: url.parse().unwrap(),
            password: Some(Secret::new("hunter2")),
            client_dir: None,
            role: Role::Into,
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_one_line_with_a_hint() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        for (url, says) in [
            (
                format!("mysql://u@127.0.0.1:{port}"),
                "is the server running there?",
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
             the account may have another one (runbooks/key-rotation.md)"
        );
    }

    #[test]
    fn a_method_that_a_server_gave_up_is_told_with_the_one_that_took_its_place() {
        // Recorded from documentation: MySQL 8.4 without --mysql-native-password=ON.
        let unloaded = mysql_async::Error::Server(mysql_async::ServerError {
            code: 1524,
            message: "Plugin 'mysql_native_password' is not loaded".into(),
            state: "HY000".into(),
        });
        let told = connect_error(&config("mysql://u@h"), unloaded).to_string();
        assert!(
            told.contains("IDENTIFIED WITH caching_sha2_password"),
            "{told}"
        );
        let cleartext = mysql_async::Error::Driver(DriverError::CleartextPluginDisabled);
        let told = connect_error(&config("mysql://u@h"), cleartext).to_string();
        assert!(
            told.contains("tls=verify") && told.contains("DRCTL_INTO_URL"),
            "{told}"
        );
    }

    #[test]
    fn a_literal_cannot_be_left() {
        assert_eq!(literal(r"a'b\c"), r"'a''b\\c'");
    }

    #[test]
    fn long_statements_are_cut_in_messages() {
        let cut = start_of(&"é ".repeat(100));
        assert_eq!(cut.chars().count(), 61);
    }
}
