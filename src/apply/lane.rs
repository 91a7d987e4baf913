//! One connection that statements of a dump are executed on.
//!
//! A lane knows which session of the dump it is in, brings itself to the one that a statement was
//! dumped under, and does so again after a reconnect: the archive's own SETs are never executed
//! where they stand. What a restore needs differently (checks off, no binary log) it sets once, and no
//! session of a dump can undo it.
//!
//! Its failures say what a restore can do about them: [`super::failure`]. Everything that a restore asks of
//! its server is part of a [`Lane::step`], which is repeated on a new connection where the old one is lost:
//! a [`Failure`] becomes an [`Error`] nowhere else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use tokio::task::JoinSet;

use crate::apply::failure::{self, Failure, sorted};
use crate::apply::lane_session;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::server::connect::{is_lost_code, server_code};
use crate::server::{Connection, ServerConfig, connect};
use crate::sql::session::Session;

/// How long a server that has gone away may usually take to come back: a restart with crash recovery.
pub const RECONNECT_WAIT: Duration = Duration::from_secs(120);

/// The pause between two attempts to reach a server that has gone away.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// How long telling the server to stop may take.
const ABANDON_TIMEOUT: Duration = Duration::from_secs(5);

/// How often something that can be done again has been tried.
#[derive(Debug, Default)]
pub struct Tries(u32);

impl Tries {
    /// How often one thing is tried, whatever stops it.
    const MOST: u32 = 8;

    /// The pause before something is repeated, for the first time; it doubles.
    const PAUSE: Duration = Duration::from_millis(50);

    /// Prepares the lane for another try: gives a conflict time to pass, connects again where the
    /// connection was lost. The failure itself where nothing can be done about it, or no more.
    ///
    /// [`Lane::step`] is the usual way to it; what runs in tasks of its own has to spell its loop out, since
    /// the compiler cannot see that an `async` closure may change threads.
    pub async fn again(&mut self, lane: &mut Lane, failure: Failure) -> Result<()> {
        self.0 += 1;
        if let Failure::Fatal(error) = failure {
            return Err(error);
        }
        if self.0 >= Self::MOST {
            // Final: a step around this one does not repeat it.
            let error = failure.into_error().final_loss();
            return Err(error.context(format!("tried {} times", self.0)));
        }
        match failure {
            Failure::Fatal(error) => Err(error),
            Failure::Lost(error) => lane.reconnect(error).await,
            Failure::Conflict(error) => {
                tracing::warn!(%error, tries = self.0, "a conflict; trying again");
                tokio::time::sleep(Self::PAUSE * 2u32.pow(self.0)).await;
                Ok(())
            }
        }
    }
}

/// What all lanes of a restore have in common.
#[derive(Debug, Clone)]
pub struct LaneConfig {
    /// The server being restored.
    pub server: Arc<ServerConfig>,
    /// Settings of this restore, executed after those of every session of the dump.
    pub settings: Arc<Vec<String>>,
    /// A named lock of the server that the connection holds for as long as it lives.
    pub lock: Option<&'static str>,
    /// How long the server may take to come back where it has gone away.
    pub reconnect: Duration,
    /// Ends every wait.
    pub cancel: Cancel,
}

/// What a statement did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// Rows affected.
    pub affected: u64,
    /// Warnings that the server has about it.
    pub warnings: u16,
}

/// One connection, and the session of the dump that it is in.
#[derive(Debug)]
pub struct Lane {
    config: LaneConfig,
    connection: Connection,
    /// The session of the dump that it is in.
    session: Option<Session>,
}

impl Lane {
    /// Connects; fails at once where the server is not there.
    pub async fn open(config: LaneConfig) -> Result<Lane> {
        let connection = connect(&config.server).await?;
        let mut lane = Lane {
            config,
            connection,
            session: connected(),
        };
        // A server takes a moment to see that a killed restore is gone.
        match lane.ready(5).await {
            Err(Failure::Lost(error)) => lane.reconnect(error).await?,
            ready => ready.map_err(Failure::into_error)?,
        }
        Ok(lane)
    }

    /// Connects in the middle of a restore: a server that has gone away is waited for.
    pub async fn open_patiently(config: LaneConfig) -> Result<Lane> {
        let began = Instant::now();
        loop {
            match Lane::open(config.clone()).await {
                Err(error) if error.is_lost() && began.elapsed() < config.reconnect => {
                    tracing::warn!(%error, "the server is not there; connecting again");
                }
                opened => return opened,
            }
            pause(&config.cancel).await?;
        }
    }

    /// Takes the lock, waiting for so many seconds; `held` (exit 11) where another one has it.
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

    /// Gives the session what every one of a restore has, and then the settings of this one.
    async fn settle(&mut self) -> Result<(), Failure> {
        let given: Vec<(String, String)> = self.rows("SHOW SESSION VARIABLES").await?;
        for change in lane_session::changes(&given) {
            match self.run(change.sql.as_bytes()).await {
                Err(Failure::Fatal(error)) if change.may_fail_by(server_code(&error)) => {
                    tracing::debug!(%error, "a session does without");
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

    /// The server's number of this connection.
    pub fn id(&self) -> u32 {
        self.connection.id()
    }

    /// What it was opened with.
    pub fn config(&self) -> &LaneConfig {
        &self.config
    }

    /// From here on a cancelled run does not end its waits: for what must be cleaned up.
    pub fn ignore_cancel(&mut self) {
        self.config.cancel = Cancel::default();
    }

    /// Executes a step of a restore, and repeats it where that can help: on a new connection where the
    /// old one was lost, after a pause where another transaction was in its way.
    ///
    /// Whether the lost statement took effect is unknown, so a step asks the server for what it needs to
    /// know each time, and comes to the same when it is done twice.
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

    /// Connects anew after a loss.
    async fn reconnect(&mut self, lost: Error) -> Result<()> {
        tracing::warn!(error = %lost, "the connection was lost; connecting again");
        self.renew().await
    }

    /// Connects anew, as often as it takes until [`LaneConfig::reconnect`] has passed.
    pub async fn renew(&mut self) -> Result<()> {
        let began = Instant::now();
        loop {
            match connect(&self.config.server).await {
                Ok(connection) => {
                    self.connection = connection;
                    self.session = connected();
                    // The server may not have noticed yet that the old connection is gone.
                    match self.ready(30).await {
                        Err(Failure::Lost(_)) if began.elapsed() < self.config.reconnect => {}
                        ready => return ready.map_err(|failure| failure.into_error().final_loss()),
                    }
                }
                Err(error) if began.elapsed() > self.config.reconnect => {
                    return Err(error
                        .final_loss()
                        .context("the connection was lost and cannot be opened again")
                        .hint("when the server is back, the same command resumes"));
                }
                Err(_) => {}
            }
            pause(&self.config.cancel).await?;
        }
    }

    /// Replaces a connection that may be in the middle of a statement: ends that one on the server, which
    /// would go on with it and hold its locks, and opens another.
    pub async fn replace(&mut self) -> Result<()> {
        self.abandon().await;
        self.renew().await
    }

    async fn ready(&mut self, seconds: u32) -> Result<(), Failure> {
        self.take_lock(seconds).await?;
        self.settle().await
    }

    /// Brings the connection to a session of the dump.
    pub async fn enter(&mut self, session: &Session) -> Result<(), Failure> {
        if self.session.as_ref() == Some(session) {
            return Ok(());
        }
        // A failure half-way is only followed by the end, or by a new connection.
        for sql in session.statements_from(self.session.as_ref()) {
            self.run(sql.as_bytes()).await?;
        }
        self.session = Some(session.clone());
        Ok(())
    }

    /// Executes a statement, however long it takes.
    pub async fn run(&mut self, sql: &[u8]) -> Result<Done, Failure> {
        let asked = self.connection.conn().query_drop(sql);
        let answer = unless_ended(&self.config.cancel, asked).await;
        self.take(sql, answer).await?;
        let conn = self.connection.conn();
        Ok(Done {
            affected: conn.affected_rows(),
            warnings: conn.get_warnings(),
        })
    }

    /// Takes the server's answer. There is none where the run must end: then the server is told to stop.
    async fn take<T>(
        &mut self,
        sql: &[u8],
        answer: Option<mysql_async::Result<T>>,
    ) -> Result<T, Failure> {
        match answer {
            Some(answer) => answer.map_err(|error| sorted(sql, error)),
            None => {
                self.abandon().await;
                Err(Failure::Fatal(self.config.cancel.error()))
            }
        }
    }

    /// Tells the server to stop what this connection executes: it would not notice before the end
    /// that nobody waits for it, and building a key can take hours. Best effort: a run that resumes
    /// copes with what goes on.
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
            Ok(Err(error)) => tracing::warn!(id, %error, "the server goes on with a statement"),
            Err(_) => tracing::warn!(id, "the server goes on with a statement"),
        }
    }

    /// Executes a statement, again where that can help: for what comes to the same when it is done
    /// twice.
    pub async fn persist(&mut self, sql: &str) -> Result<()> {
        let mut tries = Tries::default();
        while let Err(failure) = self.run(sql.as_bytes()).await {
            tries.again(self, failure).await?;
        }
        Ok(())
    }

    /// Executes a statement of the dump under its session, again where that can help: for what comes
    /// to the same when it is done twice.
    pub async fn run_in(&mut self, session: &Session, sql: &[u8]) -> Result<()> {
        let mut tries = Tries::default();
        while let Err(failure) = self.try_in(session, sql).await {
            tries.again(self, failure).await?;
        }
        Ok(())
    }

    /// The rows of a query, asked again where that can help.
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

    /// The same in a session of the dump.
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

    /// The rows of a query, converted.
    pub async fn rows<T: mysql_async::prelude::FromRow + Send + 'static>(
        &mut self,
        sql: &str,
    ) -> Result<Vec<T>, Failure> {
        let asked = self.connection.conn().query(sql);
        let answer = unless_ended(&self.config.cancel, asked).await;
        self.take(sql.as_bytes(), answer).await
    }

    /// The warnings about the last statement: code and text.
    pub async fn warnings(&mut self) -> Result<Vec<(u16, String)>, Failure> {
        let rows: Vec<(String, u16, String)> = self.rows("SHOW WARNINGS").await?;
        Ok(rows
            .into_iter()
            .map(|(_, code, text)| (code, text))
            .collect())
    }

    /// Refuses what the server itself would take for more than one statement.
    ///
    /// The driver's connections allow several statements in one query, and the body of a routine may
    /// hold `;` anywhere, so only the server's parser knows where a definition ends. It takes no
    /// second statement when it prepares one: what it answers to that is a syntax error, or that this
    /// kind cannot be prepared, which it says only after it has parsed the whole.
    pub async fn demand_single(&mut self, sql: &[u8]) -> Result<(), Failure> {
        const SYNTAX: u16 = 1064;
        let conn = self.connection.conn();
        let asked = async {
            match conn.prep(sql).await {
                Ok(statement) => conn.close(statement).await.map(|()| None),
                Err(mysql_async::Error::Server(server)) if server.code == SYNTAX => {
                    Ok(Some(server.message))
                }
                // What else is wrong with it, executing it will tell.
                Err(mysql_async::Error::Server(server)) if !is_lost_code(server.code) => Ok(None),
                Err(error) => Err(error),
            }
        };
        let answer = unless_ended(&self.config.cancel, asked).await;
        match self.take(sql, answer).await? {
            None => Ok(()),
            Some(why) => Err(Failure::Fatal(Error::archive(format!(
                "{}: the server does not take this for one statement: {why}",
                failure::start_of(sql)
            )))),
        }
    }

    /// Says good-bye.
    pub async fn close(self) {
        self.connection.close().await;
    }
}

/// Why a restore cannot begin while another one into the same server runs.
pub fn another_runs() -> Error {
    Error::held("another restore into this server is running").hint("wait for it to end")
}

/// A name as a literal that means the same in every session of a dump, whatever its sql_mode.
pub fn name_literal(name: &str) -> String {
    format!("_utf8mb4 x'{}'", hex::encode(name))
}

/// What [`connect`] leaves a connection in, as far as sessions of dumps differ in it: what one of
/// them does not set is to have the server's own value.
fn connected() -> Option<Session> {
    let mut session = Session::default();
    let known = session.set("sql_mode", "''") && session.set("time_zone", "'+00:00'");
    known.then_some(session)
}

/// What something comes to; `None` where the run must end before.
async fn unless_ended<T>(cancel: &Cancel, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = cancel.token().cancelled() => None,
    }
}

/// A moment before another try to connect.
async fn pause(cancel: &Cancel) -> Result<()> {
    tokio::select! {
        () = tokio::time::sleep(RECONNECT_PAUSE) => Ok(()),
        () = cancel.token().cancelled() => Err(cancel.error()),
    }
}

/// The lanes of one pass. Where one fails the others are cancelled, as all are with the run: each ends by
/// itself, so that it can tell the server to stop what it executes.
pub struct Lanes<T> {
    lanes: JoinSet<Result<T>>,
    config: LaneConfig,
}

impl<T: Send + 'static> Lanes<T> {
    /// No lanes yet; those to come are opened like this one.
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

    /// Begins one.
    pub fn begin<F: Future<Output = Result<T>> + Send + 'static>(
        &mut self,
        lane: impl FnOnce(LaneConfig) -> F,
    ) {
        self.lanes.spawn(lane(self.config.clone()));
    }

    /// What all of them did, or the first failure.
    pub async fn join(mut self) -> Result<Vec<T>> {
        let mut done = Vec::new();
        let mut failed = None;
        while let Some(lane) = self.lanes.join_next().await {
            let lane = lane
                .map_err(|e| Error::unexpected("a lane broke off").because(e))
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
    fn what_connecting_changed_is_put_back_for_a_session_that_does_not_set_it() {
        let changes = Session::default().statements_from(connected().as_ref());
        assert_eq!(changes, ["SET sql_mode=DEFAULT,time_zone=DEFAULT"]);
    }
}
