//! The server that is replayed into: prepared, made a stock replica of a listener if it can reach drctl, waited for until
//! it has everything, and made a server again.
//!
//! - [`unfit`]: whether it can be replayed into.
//! - [`settings`]: what is changed meanwhile; [`statements`]: how it is made a replica; [`status`]: what it says of
//!   itself as one.

pub mod settings;
pub(crate) mod statements;
mod status;
pub mod unfit;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::time::Instant;

use crate::binlog::gtid::GtidSet;
use crate::mysql::connect::{connect, server_error};
use crate::mysql::replication::REPLAY_CHANNEL;
use crate::mysql::{Connection, Flavour, ServerConfig, ServerVersion};
use crate::replay::listener::Account;
use crate::replay::plan::Plan;
use crate::replay::{Options, ReplayPath, Then};
use crate::{Error, Result};

use settings::{Journal, Settings};
use status::{Status, Thread};
use unfit::{START_OVER, Unfit, fitness, logs_what_it_replicates};

/// How often a replica is asked.
const POLL: Duration = Duration::from_millis(250);

/// How long a replica may take to reach its source.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(45);

/// How long a replica that has everything and applied everything may lack transactions before it is an error.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a replica may take to stop: MySQL waits a minute for the rest of a transaction that it has in part.
const STOP_TIMEOUT: Duration = Duration::from_secs(100);

/// A server that is replayed into.
pub struct Destination {
    config: ServerConfig,
    path: ReplayPath,
    control: Connection,
    server: ServerVersion,
    settings: Settings,
    /// What the server had executed before the replay began: none of it is of the log's stretch.
    before: GtidSet,
}

/// How a replay begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// On a server that was just restored.
    Fresh,
    /// On such a server whose GTIDs may be reset, which deletes its binary logs.
    FreshWithReset,
    /// On a server on which the same replay was interrupted.
    Resumed,
}

impl Destination {
    /// Connects to a destination; one that is to be a replica is made to forget an interrupted replay.
    pub async fn connect(config: &ServerConfig, path: &ReplayPath) -> Result<Destination> {
        let mut control = connect(config).await?;
        let server = control.version().await?;
        let mut destination = Destination {
            config: config.clone(),
            path: path.clone(),
            before: GtidSet::empty(server.is_mariadb()),
            control,
            server,
            settings: Settings::default(),
        };
        destination.detach().await?;
        Ok(destination)
    }

    /// Ends what an interrupted replay left on a server.
    pub async fn end_interrupted(config: &ServerConfig) -> Result<()> {
        let path = ReplayPath::Replica((Ipv4Addr::LOCALHOST, 0).into());
        Destination::connect(config, &path).await?.close().await;
        Ok(())
    }

    /// Whose server it is.
    pub fn flavour(&self) -> Flavour {
        self.server.flavour
    }

    /// The transactions that the server has executed as a replica.
    pub async fn executed(&mut self) -> Result<GtidSet> {
        let text: Option<String> = self
            .control
            .one(statements::executed(self.server.flavour))
            .await?;
        GtidSet::parse(self.server.is_mariadb(), &text.unwrap_or_default())
    }

    /// Makes the server's GTIDs those of the backup, and changes its settings. Nothing else may write to the server
    /// from here on.
    ///
    /// # Errors
    /// `Refused`: the server would skip transactions, and has not been changed.
    pub async fn prepare(
        &mut self,
        plan: &Plan,
        options: &Options,
        journal: Option<&dyn Journal>,
    ) -> Result<()> {
        let flavour = self.server.flavour;
        let (path, begin) = (self.path.clone(), options.begin);
        let fitness = fitness(&mut self.control, flavour, plan, begin, &path).await?;
        refuse(fitness.unfit.into_iter().next())?;
        self.settings
            .apply(&mut self.control, flavour, options, journal)
            .await?;
        let mut executed = self.executed().await?;
        let stretch = plan.expected.minus(&plan.base);
        if begin != Begin::Resumed {
            // The log of a standby holds the transactions of the target alone.
            let resets =
                options.then == Then::Follow || unfit::known(&stretch, &executed).is_some();
            if begin == Begin::FreshWithReset && resets {
                first_understood(&mut self.control, &statements::reset_gtids()).await?;
                if options.then == Then::Follow && flavour == Flavour::MariaDb {
                    let logged = statements::set_logged(&plan.base);
                    self.control.run(&logged).await?;
                }
                executed = self.executed().await?;
            }
            if !path.is_client() && !logs_what_it_replicates(&mut self.control).await? {
                self.control.run(&statements::not_logged()).await?;
                executed = self.executed().await?;
            }
            refuse(unfit::known(&stretch, &executed))?;
            self.say_executed(plan, &executed).await?;
            if options.then == Then::Follow {
                // A file says at its beginning what was executed before it, and this one was begun before that was said.
                self.control.run(statements::NEXT_FILE).await?;
            }
            if let Some(journal) = journal {
                journal.begins().await?;
            }
        }
        self.settings
            .protect(&mut self.control, flavour, options)
            .await?;
        executed = self.executed().await?;
        if begin != Begin::Resumed {
            // What was written in the meantime.
            refuse(unfit::known(&stretch, &executed))?;
        }
        if !path.is_client() {
            as_the_plan_says(plan, &executed)?;
        }
        self.before = executed.minus(&stretch);
        Ok(())
    }

    /// Says that the transactions of the backup are executed.
    async fn say_executed(&mut self, plan: &Plan, executed: &GtidSet) -> Result<()> {
        match (self.server.flavour, &self.path) {
            // It has a meaning for replicas alone.
            (Flavour::MariaDb, ReplayPath::Client(_)) => Ok(()),
            (Flavour::MariaDb, _) => {
                self.control
                    .run(&statements::set_executed(&plan.base))
                    .await
            }
            (Flavour::MySql, path) => {
                let purged = plan.base.minus(executed);
                if purged.is_empty() {
                    return Ok(());
                }
                match self.control.run(&statements::set_executed(&purged)).await {
                    // A managed server may not permit it, and the client does without.
                    Err(error) if path.is_client() => {
                        tracing::warn!(%error, "the destination does not know the GTIDs of the backup as executed");
                        Ok(())
                    }
                    done => done,
                }
            }
        }
    }

    /// Points the server at a listener and starts it.
    pub async fn attach(&mut self, listener: SocketAddr, account: &Account) -> Result<()> {
        let flavour = self.server.flavour;
        first_understood(
            &mut self.control,
            &statements::attach(flavour, listener, account),
        )
        .await?;
        if flavour == Flavour::MySql {
            let no_filters = format!("{} FOR CHANNEL '{REPLAY_CHANNEL}'", statements::NO_FILTERS);
            self.control.run(&no_filters).await?;
        }
        let status = status::ask(&mut self.control, flavour).await?;
        if let Some(filter) = status.and_then(|status| status.filter) {
            return Err(Error::refused(format!(
                "the destination filters what it replicates, and would skip transactions: {filter}"
            ))
            .hint("restart it without that option"));
        }
        first_understood(&mut self.control, &statements::start(flavour)).await
    }

    /// Waits until the server has executed what the plan expects, and `served` says that it was served to its end. `progress`
    /// receives how many transactions of it are executed.
    ///
    /// # Errors
    /// The replica has stopped, with its words; it cannot reach the listener; it has skipped transactions.
    pub async fn wait(
        &mut self,
        plan: &Plan,
        served: impl Fn() -> bool,
        progress: impl Fn(u64),
    ) -> Result<()> {
        let stretch = plan.expected.minus(&plan.base);
        let mut reached = Instant::now();
        let mut moved = Instant::now();
        let mut last = None;
        loop {
            // Asked before the set, so that what follows is not older.
            let status = status::ask(&mut self.control, self.server.flavour).await?;
            let executed = self.executed().await?;
            let now = Instant::now();
            let status = status.ok_or_else(|| {
                Error::server(
                    "the destination is no longer a replica of drctl: another client reset it",
                )
            })?;
            let missing = stretch.minus(&executed);
            if missing.is_empty() && served() {
                return Ok(());
            }
            stopped(&status, &executed)?;
            if status.reader == Thread::Runs {
                reached = now;
            } else if now.duration_since(reached) > CONNECT_TIMEOUT {
                return Err(Error::server(format!(
                    "the destination cannot reach drctl as its source: {}",
                    status.reader_error
                ))
                .hint("check the address that drctl listens at, and network policies on the way"));
            }
            if last.as_ref() != Some(&executed) || !status.is_idle || status.reader != Thread::Runs
            {
                moved = now;
                let done = count(&stretch).zip(count(&missing));
                let done = done.map(|(all, missing)| all.saturating_sub(missing));
                progress(done.or(status.applied).unwrap_or_default());
                last = Some(executed);
            } else if now.duration_since(moved) > IDLE_TIMEOUT && !missing.is_empty() {
                return Err(Error::verification(format!(
                    "the destination has applied all that it was sent and lacks {missing}"
                ))
                .hint("find in its log and settings why it skips transactions"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Compares what the server has executed with the plan, once it is no longer a replica. MariaDB knows only what it
    /// has executed as a replica.
    pub async fn check(&mut self, plan: &Plan) -> Result<()> {
        let expected = match (self.server.flavour, &self.path) {
            (Flavour::MariaDb, ReplayPath::Client(_)) => return Ok(()),
            (_, ReplayPath::Client(_)) => plan.expected.minus(&plan.base),
            _ => plan.expected.clone(),
        };
        let executed = self.executed().await?;
        let missing = expected.minus(&executed);
        let extra = executed.minus(&plan.expected).minus(&self.before);
        if missing.is_empty() && extra.is_empty() {
            return Ok(());
        }
        Err(Error::verification(format!(
            "the destination has executed other transactions than the log has up to the stop: \
             missing {missing}, in addition {extra}"
        ))
        .hint("discard the restore"))
    }

    /// Transactions that the replica has applied since it was attached, where the server counts them.
    pub async fn applied(&mut self) -> Result<Option<u64>> {
        let status = status::ask(&mut self.control, self.server.flavour).await?;
        Ok(status.and_then(|status| status.applied))
    }

    /// Stops the replica, and leaves no trace of it but the GTIDs.
    pub async fn release(&mut self) -> Result<()> {
        // A question that was dropped half-way may have left the old one anywhere.
        self.control = connect(&self.config).await?;
        self.detach().await
    }

    /// Reverts the settings.
    pub async fn revert(&mut self) -> Result<()> {
        self.settings.revert(&mut self.control).await
    }

    /// Ends the channel of a replay, if there is one.
    async fn detach(&mut self) -> Result<()> {
        let flavour = self.server.flavour;
        if self.path.is_client() || status::ask(&mut self.control, flavour).await?.is_none() {
            return Ok(());
        }
        // On a connection of its own, which a statement that is given up takes with it.
        let mut other = connect(&self.config).await?;
        let stop = statements::stop(flavour);
        match tokio::time::timeout(STOP_TIMEOUT, first_understood(&mut other, &stop)).await {
            Ok(stopped) => stopped?,
            Err(_) => {
                return Err(Error::server("the destination does not stop replicating").hint(
                    "wait for its statement to end, then run the same command: it ends the replica first",
                ));
            }
        }
        first_understood(&mut other, &statements::forget(flavour)).await?;
        other.close().await;
        Ok(())
    }

    /// Says good-bye.
    pub async fn close(self) {
        self.control.close().await;
    }
}

/// The error of a replica that has stopped, which has executed this.
fn stopped(status: &Status, executed: &GtidSet) -> Result<()> {
    let failed = |what: &str, error: &str| {
        let hint = "the same command resumes; if it ends the same way, restore to the moment before that transaction";
        Err(Error::server(format!("the destination {what}: {error}")).hint(hint))
    };
    if !status.applier_error.is_empty() {
        let mut error = status.applier_error.clone();
        if let GtidSet::MariaDb(_) = executed {
            // Its words do not name the transaction.
            error += &format!(" (the last transaction that it has applied is {executed})");
        }
        let failed = failed("cannot apply a transaction of the log", &error);
        let number = error.split(':').next().and_then(|code| code.parse().ok());
        return match number {
            Some(code) => failed.map_err(|failed| failed.caused_by(server_error(code, error))),
            None => failed,
        };
    }
    if status.applier == Thread::Stopped {
        return failed("has stopped applying the log", "another client stopped it");
    }
    if status.reader == Thread::Stopped {
        let error = match status.reader_error.as_str() {
            "" => "another client stopped it",
            error => error,
        };
        return failed("has stopped reading the log", error);
    }
    Ok(())
}

/// A replica has executed the backup, and nothing behind the stop.
fn as_the_plan_says(plan: &Plan, executed: &GtidSet) -> Result<()> {
    let missing = plan.base.minus(executed);
    if !missing.is_empty() {
        return Err(Error::server(format!(
            "the destination lacks GTIDs of the restored backup: {missing}"
        ))
        .hint(START_OVER));
    }
    let beyond = match executed {
        GtidSet::MySql(_) => GtidSet::empty(false),
        GtidSet::MariaDb(_) => executed.minus(&plan.expected),
    };
    if !beyond.is_empty() {
        return Err(Error::refused(format!(
            "the destination has replayed beyond the stop: {beyond}"
        ))
        .hint(START_OVER));
    }
    Ok(())
}

fn refuse(unfit: Option<Unfit>) -> Result<()> {
    match unfit {
        None => Ok(()),
        Some(Unfit { what, hint }) => Err(Error::refused(what).hint(hint)),
    }
}

/// Runs the first of several statements that the server understands.
async fn first_understood(connection: &mut Connection, statements: &[String]) -> Result<()> {
    let words: Vec<&str> = statements.iter().map(String::as_str).collect();
    connection.first_understood(&words).await.map(drop)
}

/// How many transactions a set holds; `None` of MariaDB, whose sets do not say.
fn count(set: &GtidSet) -> Option<u64> {
    match set {
        GtidSet::MySql(origins) => {
            let intervals = origins.values().flatten();
            Some(intervals.map(|(from, to)| to - from + 1).sum())
        }
        GtidSet::MariaDb(_) => None,
    }
}
