//! Replays a stretch of a binary log into a server: drctl serves it as a replication source, and the server applies
//! it as a stock replica, in parallel. A server that cannot reach drctl gets it through `mysqlbinlog | mysql`.
//!
//! ```text
//! log ─events→ select ─transactions behind the backup, up to the stop→ filter ─not what is refused→ listener ─→ replica
//!                                                                                                 └→ pipe ─→ client
//! ```
//!
//! - [`place`]: where a backup stands in the archived log; [`plan`]: what has to be replayed; [`stop`]: where a stretch
//!   ends, in GTIDs; [`address`]: how the destination reaches drctl.
//! - [`feed`]: the interfaces between those parts; [`archive`]: the archived log; [`file`](mod@file): a log in files.
//! - [`select`], [`filter`]: which transactions are served; [`refused`]: which statements are not; [`tables`]: what a
//!   restore of some tables does without; `as_text`: what a client would misread; `payload`: compressed transactions.
//! - [`listener`]: the source; [`pipe`]: the programs; [`destination`]: the server.
//!
//! A log that lacks or doubles a transaction is never served to its end ([`select`]), and a destination that has
//! executed anything else than the plan says is an error ([`destination`]).

pub mod address;
pub mod archive;
mod as_text;
pub mod destination;
pub mod feed;
pub mod file;
pub mod filter;
pub mod listener;
mod payload;
pub mod pipe;
pub mod place;
pub mod plan;
pub mod refused;
pub mod select;
pub mod stop;
pub mod tables;
mod whole;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, PoisonError};

use async_trait::async_trait;

use crate::binlog::gtid::GtidSet;
use crate::mysql::{Client, ServerConfig};
use crate::util::cancel::Cancel;
use crate::{Error, Result};

use destination::settings::Journal;
use destination::{Begin, Destination};
use feed::{Events, Feed, Log};
use filter::{Filter, Refused, RefusedList};
use listener::Listener;
use plan::Plan;
use select::{Selection, Tally};
use stop::Resolved;
use tables::Tables;

/// A stretch of a log behind a backup, for the restore of that backup.
#[derive(Clone)]
pub struct Stretch {
    /// The log.
    pub log: Arc<dyn Log>,
    /// What of it is replayed.
    pub resolved: Resolved,
    /// Where it ends, as it was asked for.
    pub moment: String,
    /// How it gets into the destination.
    pub path: ReplayPath,
    /// The tables that are replayed; `None` for all.
    pub tables: Option<Arc<Tables>>,
    /// Whether the GTIDs of the destination may be reset, which deletes its binary logs.
    pub reset: bool,
    /// What becomes of the destination behind it.
    pub then: Then,
}

impl std::fmt::Debug for Stretch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let resolved = &self.resolved;
        f.debug_struct("Stretch")
            .field("resolved", resolved)
            .finish_non_exhaustive()
    }
}

impl Stretch {
    /// What a run has to have in common with the one that it resumes.
    pub fn described(&self) -> String {
        match (&self.path, self.then) {
            (_, Then::Follow) => STANDBY.to_owned(),
            (ReplayPath::Replica(_), Then::End) => self.moment.clone(),
            (ReplayPath::Client(_), Then::End) => format!("{}, by the client", self.moment),
        }
    }

    /// How the replay begins on a server where it has `begun` before or not.
    pub fn begin(&self, begun: bool) -> Begin {
        match begun {
            true => Begin::Resumed,
            false if self.reset => Begin::FreshWithReset,
            false => Begin::Fresh,
        }
    }
}

/// The moment of a restore that follows the log, as [`Stretch::described`].
pub const STANDBY: &str = "the end of the log, as a standby";

/// The same of a standby that is dropped in order to be rebuilt.
pub const CLEARED: &str = "nothing: the standby is dropped";

/// What becomes of a destination behind a stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It is a server again.
    End,
    /// It stays read-only, with the settings of a replay: the next stretch follows.
    Follow,
}

/// How a log gets into a destination.
#[derive(Debug, Clone)]
pub enum ReplayPath {
    /// The destination reaches drctl at this address, and applies the log as its replica, in parallel. Port 0 takes a
    /// free one.
    Replica(SocketAddr),
    /// Through `mysqlbinlog | mysql`, in one session.
    Client(Arc<Client>),
}

impl ReplayPath {
    /// Through the programs that fit a server.
    ///
    /// # Errors
    /// `Usage`: one of them is missing.
    pub async fn through_client(server: &ServerConfig) -> Result<ReplayPath> {
        let client = Client::of(server).await?;
        client.log_command()?;
        client.shell_command([""; 0])?;
        Ok(ReplayPath::Client(Arc::new(client)))
    }

    /// Whether the plain programs are the path.
    pub fn is_client(&self) -> bool {
        matches!(self, ReplayPath::Client(_))
    }
}

/// How a stretch is replayed.
#[derive(Debug, Clone)]
pub struct Options {
    /// How it gets into the destination.
    pub path: ReplayPath,
    /// The tables that are replayed; `None` for all.
    pub tables: Option<Arc<Tables>>,
    /// Statements that prepare the session of a client.
    pub session: Vec<String>,
    /// Threads of a replica that apply transactions.
    pub workers: usize,
    /// How it begins.
    pub begin: Begin,
    /// How it ends.
    pub then: Then,
}

/// What was replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// Transactions of the stretch, those of an interrupted replay included.
    pub transactions: u64,
    /// Statements that were left out.
    pub refused: Vec<Refused>,
}

/// Replays a stretch of a log into a server that holds the plan's base and that nothing else writes to. `progress`
/// receives how many transactions are applied.
///
/// On failure and cancellation the server is no replica any more, and its settings are reverted; its GTIDs say what is
/// applied, and [`Begin::Resumed`] continues there. A replay by the client is not resumed.
pub async fn replay(
    destination: &ServerConfig,
    log: Arc<dyn Log>,
    plan: &Plan,
    options: &Options,
    journal: Option<&dyn Journal>,
    progress: impl Fn(u64) + Send + Sync,
    cancel: &Cancel,
) -> Result<Replayed> {
    let connect = Destination::connect(destination, &options.path);
    let mut destination = cancel.unless(connect).await?;
    let refused = RefusedList::default();
    let work = async {
        destination.prepare(plan, options, journal).await?;
        let stretch = Arc::new(Served {
            log,
            plan: Arc::new(plan.clone()),
            tally: Arc::new(Tally {
                before: destination.executed().await?,
                already: OnceLock::new(),
            }),
            refused: refused.clone(),
            tables: options.tables.clone(),
        });
        match &options.path {
            ReplayPath::Replica(listen) => {
                attached(&mut destination, *listen, stretch, plan, progress).await
            }
            // None of the stretch is executed, or `prepare` would have refused it.
            ReplayPath::Client(client) => {
                let events = stretch.behind(plan.base.clone(), true).await?;
                pipe::apply(client, &options.session, events).await
            }
        }
    };
    let worked = cancel.unless(work).await;
    // Not cancelled: what is left would replicate again when the server is restarted.
    let released = destination.release().await;
    // While the server is still read-only, so that nothing is mixed into what is compared.
    let checked = match (&worked, &released) {
        (Ok(()), Ok(())) => destination.check(plan).await,
        _ => Ok(()),
    };
    let reverted = match options.then {
        Then::End => destination.revert().await,
        Then::Follow => Ok(()),
    };
    destination.close().await;
    let mut failures = [worked, released, checked, reverted]
        .into_iter()
        .filter_map(Result::err);
    if let Some(first) = failures.next() {
        return Err(failures.fold(first, |first, other| first.also(&other)));
    }
    let refused = refused
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    Ok(Replayed {
        transactions: plan.transactions,
        refused,
    })
}

/// Serves the stretch until the destination, as a replica, has all of it.
async fn attached(
    replica: &mut Destination,
    listen: SocketAddr,
    stretch: Arc<Served>,
    plan: &Plan,
    progress: impl Fn(u64),
) -> Result<()> {
    let listener = Listener::bind(listen, replica.flavour()).await?;
    let (address, account) = (listener.address(), listener.account().clone());
    let tally = stretch.tally.clone();
    let applied = async {
        replica.attach(address, &account).await?;
        replica
            .wait(plan, || tally.already.get().is_some(), progress)
            .await?;
        replica.applied().await
    };
    let applied = tokio::select! {
        // The reason of a failure that the replica only notices.
        biased;
        error = listener.serve(stretch) => return Err(error),
        applied = applied => applied?,
    };
    // The sets of MariaDB name the last transaction alone; its replica counts.
    let (Some(applied), Some(&already)) = (applied, tally.already.get()) else {
        return match plan.base {
            GtidSet::MySql(_) => Ok(()),
            GtidSet::MariaDb(_) => Err(Error::verification(
                "the destination did not count the transactions that it has applied",
            )),
        };
    };
    let served = plan.transactions.saturating_sub(already);
    match applied == served {
        true => Ok(()),
        false => Err(Error::verification(format!(
            "the destination has applied {applied} transactions of {served}"
        ))
        .hint("discard the restore")),
    }
}

/// The stretch of a plan.
struct Served {
    log: Arc<dyn Log>,
    plan: Arc<Plan>,
    tally: Arc<Tally>,
    refused: RefusedList,
    tables: Option<Arc<Tables>>,
}

#[async_trait]
impl Feed for Served {
    async fn open(&self, executed: &str) -> Result<Box<dyn Events>> {
        let mariadb = matches!(self.plan.base, GtidSet::MariaDb(_));
        let executed = GtidSet::parse(mariadb, executed)?;
        let missing = self.plan.base.minus(&executed);
        if !missing.is_empty() {
            return Err(Error::server(format!(
                "the replica lacks GTIDs of the restored backup: {missing}"
            )));
        }
        self.behind(executed, false).await
    }
}

impl Served {
    /// What is behind these transactions; `as_text` for a client that reads SQL.
    async fn behind(&self, executed: GtidSet, as_text: bool) -> Result<Box<dyn Events>> {
        let log = self.log.open().await?;
        let selection = Selection::new(log, self.plan.clone(), self.tally.clone(), executed);
        Ok(Box::new(Filter::new(
            Box::new(selection),
            self.refused.clone(),
            as_text,
            self.tables.clone(),
        )))
    }
}
