//! One connection that executes statements of a dump.
//!
//! A lane tracks its session state, and sets the session that a statement was dumped under, also after a
//! reconnect: SET statements of the archive are never executed as such. Settings that a restore needs
//! (checks off, no binary log) are set once, and no session of a dump can change them.
//!
//! Failures are classified by how a restore can react: [`crate::restore::session::failure`]. Every request
//! to the server is part of a [`Lane::step`], which is retried on a new connection if the old one is lost:
//! a [`Failure`] becomes an [`Error`] nowhere else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use mysql_async::LocalInfileError;
use mysql_async::prelude::Queryable;
use tokio::task::JoinSet;

use crate::mysql::connect::{is_denied, is_lost_code, server_code};
use crate::mysql::{Connection, ServerConfig, connect};
use crate::restore::session::failure::{self, Failure, classify};
use crate::restore::session::lane_session;
use crate::sql::session::Session;
use crate::util::cancel::Cancel;
use crate::util::error::{Error, Result};

/// Default wait for a lost server to return: a restart with crash recovery.
pub const RECONNECT_WAIT: Duration = Duration::from_secs(120);

/// Pause between attempts to reach a lost server.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// Time limit for telling the server to stop a statement.
const ABANDON_TIMEOUT: Duration = Duration::from_secs(5);

/// Number of attempts at a repeatable operation.
#[derive(Debug, Default)]
pub struct Tries(u32);

impl Tries {
    /// Maximum number of attempts, whatever the failures.
    const MOST: u32 = 8;

    /// First pause before a retry; doubles each time.
    const PAUSE: Duration = Duration::from_millis(50);

    /// Prepares the lane for a retry: waits after a conflict, reconnects after a loss. Returns the failure
    /// itself if it is not retryable, or after too many attempts.
    ///
    /// [`Lane::step`] is the usual caller; code that runs in its own tasks has to spell out the loop, since
    /// the compiler cannot prove that an `async` closure may move between threads.
    pub async fn again(&mut self, lane: &mut Lane, failure: Failure) -> Result<()> {
        self.0 += 1;
        if let Failure::Fatal(error) = failure {
            return Err(error);
        }
        if self.0 >= Self::MOST {
            // Final: an enclosing step does not retry it.
            let error = failure.into_error().final_loss();
            return Err(error.context(format!("failed after {} attempts", self.0)));
        }
        match failure {
            Failure::Fatal(error) => Err(error),
            Failure::Lost(error) => lane.reconnect(error).await,
            Failure::Conflict(error) => {
                tracing::warn!(%error, tries = self.0, "conflict with another transaction; retrying");
                tokio::time::sleep(Self::PAUSE * 2u32.pow(self.0)).await;
                Ok(())
            }
        }
    }
}

/// Configuration common to all lanes of a restore.
#[derive(Debug, Clone)]
pub struct LaneConfig {
    /// The destination.
    pub server: Arc<ServerConfig>,
    /// Settings of this restore, executed after those of every session of the dump.
    pub settings: Arc<Vec<String>>,
    /// A named lock that the connection holds while it is open; `None` for no lock.
    pub lock: Option<&'static str>,
    /// How long to wait for a lost server to return.
    pub reconnect: Duration,
    /// Ends every wait.
    pub cancel: Cancel,
}

/// Result of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// Rows affected.
    pub affected: u64,
    /// Number of warnings.
    pub warnings: u16,
}

/// Result of a LOAD DATA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// Rows affected.
    pub affected: u64,
    /// Number of warnings.
    pub warnings: u16,
    /// What the server counted: `Records: 1  Deleted: 0  Skipped: 0  Warnings: 0`.
    pub info: String,
}

/// One connection with its session state.
#[derive(Debug)]
pub struct Lane {
    config: LaneConfig,
    connection: Connection,
    /// The session of the dump that is currently set.
    session: Option<Session>,
}

impl Lane {
    /// Connects; fails at once if the server is unreachable.
    pub async fn open(config: LaneConfig) -> Result<Lane> {
        let connection = connect(&config.server).await?;
        let mut lane = Lane {
            config,
            connection,
            session: connected(),
        };
        // The server takes a moment to notice that a killed restore is gone.
        match lane.ready(5).await {
            Err(Failure::Lost(error)) => lane.reconnect(error).await?,
            ready => ready.map_err(Failure::into_error)?,
        }
        Ok(lane)
    }

    /// Connects during a restore: waits for a lost server to return.
    pub async fn open_patiently(config: LaneConfig) -> Result<Lane> {
        let began = Instant::now();
        loop {
            match Lane::open(config.clone()).await {
                Err(error) if error.is_lost() && began.elapsed() < config.reconnect => {
                    tracing::warn!(%error, "the server is unreachable; reconnecting");
                }
                opened => return opened,
            }
            pause(&config.cancel).await?;
        }
    }

    /// Takes the lock, waiting up to `seconds`; `held` (exit 11) if another connection holds it.
    async fn take_lock(&mut self, seconds: u32) -> Result<(), Failure> {
        let Some(name) = self.config.lock else {
            return Ok(());
        };
        let got: Vec<Option<u8>> = self
            .rows(&format!("SELECT GET_LOCK('{name}', {seconds})"))
            .await?;
        match got.first() {
            Some(Some(1)) => Ok(()),
            _ => Err(Failure::Fatal(another_runs())),
        }
    }

    /// Sets the variables of every restore session, then the settings of this restore.
    async fn set_variables(&mut self) -> Result<(), Failure> {
        let given: Vec<(String, String)> = self.rows("SHOW SESSION VARIABLES").await?;
        for change in lane_session::changes(&given) {
            match self.run(change.sql.as_bytes()).await {
                Err(Failure::Fatal(error)) if change.tolerates(server_code(&error)) => {
                    tracing::debug!(%error, "skipping a session variable that the server rejects");
                }
                Err(Failure::Fatal(error)) if is_denied(&error) => {
                    return Err(Failure::Fatal(error.hint(
                        "grant SESSION_VARIABLES_ADMIN to the account, which sets variables of its sessions (docs/iam.md)",
                    )));
                }
                done => {
                    done?;
                }
            }
        }
        for sql in self.config.settings.clone().iter() {
            self.run(sql.as_bytes()).await?;
        }
        Ok(())
    }

    /// The server's id of this connection.
    pub fn id(&self) -> u32 {
        self.connection.id()
    }

    /// The configuration of the lane.
    pub fn config(&self) -> &LaneConfig {
        &self.config
    }

    /// Stops observing cancellation, for cleanup after a cancelled run.
    pub fn ignore_cancel(&mut self) {
        self.config.cancel = Cancel::default();
    }

    /// Executes a step of a restore, and retries it if possible: on a new connection after a loss, after a
    /// pause after a conflict.
    ///
    /// After a loss it is unknown whether the statement took effect, so a step must query the state it
    /// depends on each time, and must be idempotent.
    pub async fn step<T>(
        &mut self,
        mut step: impl AsyncFnMut(&mut Lane) -> Result<T, Failure>,
    ) -> Result<T> {
        let mut tries = Tries::default();
        loop {
            match step(self).await {
                Ok(done) => return Ok(done),
                Err(failure) => tries.again(self, failure).await?,
            }
        }
    }

    /// Reconnects after a loss.
    async fn reconnect(&mut self, lost: Error) -> Result<()> {
        tracing::warn!(error = %lost, "the connection was lost; reconnecting");
        self.renew().await
    }

    /// Reconnects, retrying until [`LaneConfig::reconnect`] has passed.
    pub async fn renew(&mut self) -> Result<()> {
        let began = Instant::now();
        loop {
            match connect(&self.config.server).await {
                Ok(connection) => {
                    self.connection = connection;
                    self.session = connected();
                    // The server may not yet have noticed the loss of the old connection.
                    match self.ready(30).await {
                        Err(Failure::Lost(_)) if began.elapsed() < self.config.reconnect => {}
                        ready => return ready.map_err(|failure| failure.into_error().final_loss()),
                    }
                }
                Err(error) if began.elapsed() > self.config.reconnect => {
                    return Err(error
                        .final_loss()
                        .context("the connection was lost, and cannot reconnect")
                        .hint("once the server is reachable again, resume with the same command"));
                }
                Err(_) => {}
            }
            pause(&self.config.cancel).await?;
        }
    }

    /// Replaces a connection that may be executing a statement: kills it on the server, where it would
    /// otherwise continue and hold its locks, and opens a new one.
    pub async fn replace(&mut self) -> Result<()> {
        self.abandon().await;
        self.renew().await
    }

    async fn ready(&mut self, seconds: u32) -> Result<(), Failure> {
        self.take_lock(seconds).await?;
        self.set_variables().await
    }

    /// Sets a session of the dump.
    pub async fn enter(&mut self, session: &Session) -> Result<(), Failure> {
        if self.session.as_ref() == Some(session) {
            return Ok(());
        }
        // After a failure half-way this connection is not used again.
        for sql in session.statements_from(self.session.as_ref()) {
            self.run(sql.as_bytes()).await?;
        }
        self.session = Some(session.clone());
        Ok(())
    }

    /// Executes a statement without a time limit.
    pub async fn run(&mut self, sql: &[u8]) -> Result<Done, Failure> {
        let asked = self.connection.conn().query_drop(sql);
        let answer = unless_cancelled(&self.config.cancel, asked).await;
        self.take(sql, answer).await?;
        let conn = self.connection.conn();
        Ok(Done {
            affected: conn.affected_rows(),
            warnings: conn.get_warnings(),
        })
    }

    /// Executes a LOAD DATA LOCAL INFILE, and sends these rows as the file.
    ///
    /// A server may answer any statement with a request for any file. The driver knows no file: it answers one request,
    /// whatever its name, with these rows, and fails at every other one.
    pub async fn load(
        &mut self,
        sql: &str,
        rows: impl Iterator<Item = Bytes> + Send + Sync + 'static,
    ) -> Result<Counted, Failure> {
        let conn = self.connection.conn();
        conn.set_infile_handler(async move { Ok(stream::iter(rows.map(Ok)).boxed()) });
        let answer = unless_cancelled(&self.config.cancel, conn.query_drop(sql)).await;
        // The rows of a rejected statement must not answer a later request.
        let conn = self.connection.conn();
        conn.set_infile_handler(async { Err(not_asked_for()) });
        self.take(sql.as_bytes(), answer).await?;
        let conn = self.connection.conn();
        Ok(Counted {
            affected: conn.affected_rows(),
            warnings: conn.get_warnings(),
            info: conn.info().into_owned(),
        })
    }

    /// Awaits the server's answer. If the run is cancelled, tells the server to stop instead.
    async fn take<T>(
        &mut self,
        sql: &[u8],
        answer: Option<mysql_async::Result<T>>,
    ) -> Result<T, Failure> {
        match answer {
            Some(answer) => answer.map_err(|error| classify(sql, error)),
            None => {
                self.abandon().await;
                Err(Failure::Fatal(self.config.cancel.error()))
            }
        }
    }

    /// Tells the server to stop this connection's statement: the server would not notice the disconnect
    /// before the statement ends, and building a key can take hours. Best effort: a resumed run copes with
    /// a statement that continues.
    async fn abandon(&self) {
        let id = self.id();
        let kill = async {
            let mut connection = connect(&self.config.server).await?;
            connection.run(&format!("KILL {id}")).await?;
            connection.close().await;
            Ok::<(), Error>(())
        };
        match tokio::time::timeout(ABANDON_TIMEOUT, kill).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(id, %error, "cannot cancel a statement; the server keeps running it")
            }
            Err(_) => tracing::warn!(id, "cannot cancel a statement; the server keeps running it"),
        }
    }

    /// Executes an idempotent statement, with retries.
    pub async fn persist(&mut self, sql: &str) -> Result<()> {
        let mut tries = Tries::default();
        while let Err(failure) = self.run(sql.as_bytes()).await {
            tries.again(self, failure).await?;
        }
        Ok(())
    }

    /// Executes an idempotent statement of the dump in its session, with retries.
    pub async fn run_in(&mut self, session: &Session, sql: &[u8]) -> Result<()> {
        let mut tries = Tries::default();
        while let Err(failure) = self.try_in(session, sql).await {
            tries.again(self, failure).await?;
        }
        Ok(())
    }

    /// Rows of a query, with retries.
    pub async fn query<T: mysql_async::prelude::FromRow + Send + 'static>(
        &mut self,
        sql: &str,
    ) -> Result<Vec<T>> {
        let mut tries = Tries::default();
        loop {
            match self.rows(sql).await {
                Ok(rows) => return Ok(rows),
                Err(failure) => tries.again(self, failure).await?,
            }
        }
    }

    /// Rows of a query in a session of the dump, with retries.
    pub async fn query_in<T: mysql_async::prelude::FromRow + Send + 'static>(
        &mut self,
        session: &Session,
        sql: &str,
    ) -> Result<Vec<T>> {
        let mut tries = Tries::default();
        loop {
            let asked = match self.enter(session).await {
                Ok(()) => self.rows(sql).await,
                Err(failure) => Err(failure),
            };
            match asked {
                Ok(rows) => return Ok(rows),
                Err(failure) => tries.again(self, failure).await?,
            }
        }
    }

    async fn try_in(&mut self, session: &Session, sql: &[u8]) -> Result<(), Failure> {
        self.enter(session).await?;
        self.run(sql).await.map(|_| ())
    }

    /// Rows of a query, converted.
    pub async fn rows<T: mysql_async::prelude::FromRow + Send + 'static>(
        &mut self,
        sql: &str,
    ) -> Result<Vec<T>, Failure> {
        let asked = self.connection.conn().query(sql);
        let answer = unless_cancelled(&self.config.cancel, asked).await;
        self.take(sql.as_bytes(), answer).await
    }

    /// Warnings about the last statement: code and text.
    pub async fn warnings(&mut self) -> Result<Vec<(u16, String)>, Failure> {
        let rows: Vec<(String, u16, String)> = self.rows("SHOW WARNINGS").await?;
        Ok(rows
            .into_iter()
            .map(|(_, code, text)| (code, text))
            .collect())
    }

    /// Rejects SQL that the server would parse as more than one statement.
    ///
    /// The driver's connections allow several statements per query, and the body of a routine may contain
    /// `;` anywhere, so only the server's parser knows where a definition ends. PREPARE rejects a second
    /// statement: with a syntax error, or with the error that this kind of statement cannot be prepared,
    /// which is raised only after everything was parsed.
    pub async fn demand_single(&mut self, sql: &[u8]) -> Result<(), Failure> {
        const SYNTAX: u16 = 1064;
        let conn = self.connection.conn();
        let asked = async {
            match conn.prep(sql).await {
                Ok(statement) => conn.close(statement).await.map(|()| None),
                Err(mysql_async::Error::Server(server)) if server.code == SYNTAX => {
                    Ok(Some(server.message))
                }
                // Executing the statement will report any other error.
                Err(mysql_async::Error::Server(server)) if !is_lost_code(server.code) => Ok(None),
                Err(error) => Err(error),
            }
        };
        let answer = unless_cancelled(&self.config.cancel, asked).await;
        match self.take(sql, answer).await? {
            None => Ok(()),
            Some(why) => Err(Failure::Fatal(Error::archive(format!(
                "{}: the server does not parse this as a single statement: {why}",
                failure::start_of(sql)
            )))),
        }
    }

    /// Closes the connection.
    pub async fn close(self) {
        self.connection.close().await;
    }
}

/// The error if another restore into the same server is running.
pub fn another_runs() -> Error {
    Error::locked("another restore into this server is running").hint("wait for it to end")
}

/// A name as a literal with the same meaning in every session of a dump, whatever its sql_mode.
pub fn name_literal(name: &str) -> String {
    format!("_utf8mb4 x'{}'", hex::encode(name))
}

/// The answer to a request for a file.
fn not_asked_for() -> mysql_async::Error {
    let error = std::io::Error::other("the server asked for a file, but no rows are due");
    LocalInfileError::from(error).into()
}

/// The session after [`connect`], as far as sessions of dumps differ in it: what a session does not set
/// must keep the server's own value.
fn connected() -> Option<Session> {
    let mut session = Session::default();
    let known = session.set("sql_mode", "''") && session.set("time_zone", "'+00:00'");
    known.then_some(session)
}

/// Result of a future; `None` if the run is cancelled before.
async fn unless_cancelled<T>(cancel: &Cancel, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = cancel.token().cancelled() => None,
    }
}

/// Pauses before the next attempt to connect.
async fn pause(cancel: &Cancel) -> Result<()> {
    tokio::select! {
        () = tokio::time::sleep(RECONNECT_PAUSE) => Ok(()),
        () = cancel.token().cancelled() => Err(cancel.error()),
    }
}

/// The lanes of one pass. If one fails, or the run is cancelled, the others are cancelled
/// and awaited, so that each can stop its statement on the server.
pub struct Lanes<T> {
    lanes: JoinSet<Result<T>>,
    config: LaneConfig,
}

impl<T: Send + 'static> Lanes<T> {
    /// No lanes yet; new ones are opened with this configuration.
    pub fn new(config: &LaneConfig) -> Self {
        let cancel = config.cancel.child();
        Lanes {
            lanes: JoinSet::new(),
            config: LaneConfig {
                cancel,
                ..config.clone()
            },
        }
    }

    /// Starts a lane.
    pub fn begin<F: Future<Output = Result<T>> + Send + 'static>(
        &mut self,
        lane: impl FnOnce(LaneConfig) -> F,
    ) {
        self.lanes.spawn(lane(self.config.clone()));
    }

    /// Results of all lanes, or the first failure.
    pub async fn join(mut self) -> Result<Vec<T>> {
        let mut done = Vec::new();
        let mut failed = None;
        while let Some(lane) = self.lanes.join_next().await {
            let lane = lane
                .map_err(|e| Error::unexpected("a lane was interrupted").because(e))
                .and_then(|lane| lane);
            match lane {
                Ok(lane) => done.push(lane),
                Err(error) => {
                    failed.get_or_insert(error);
                    self.config.cancel.stop();
                }
            }
        }
        match failed {
            None => Ok(done),
            Some(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_set_by_connecting_are_reverted_for_sessions_that_do_not_set_them() {
        let changes = Session::default().statements_from(connected().as_ref());
        assert_eq!(changes, ["SET sql_mode=DEFAULT,time_zone=DEFAULT"]);
    }
}
