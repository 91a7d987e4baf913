//! The keeper of a side: it renews the lease, and makes the server writable or read-only by it.
//!
//! Two tasks beside each other, so that a store that does not answer never delays the end of a lease: one renews, the
//! other watches the server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::layout::{Epoch, TargetName};
use crate::lease::release::release;
use crate::lease::renewal::{Renewer, Standing};
use crate::lease::server::{Access, Server};
use crate::lease::side::Side;
use crate::lease::validity::Now;
use crate::lease::wanted::{Wanted, wanted};
use crate::mysql::ServerConfig;
use crate::store::Store;
use crate::util::cancel::{Cancel, tidy};
use crate::util::format::counted;
use crate::util::times::instant_in;
use crate::{Error, Outcome, Result};

/// Longest pause between two looks at the server.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Pause after an attempt that failed.
const SOON: Duration = Duration::from_millis(250);

/// A lease that ends sooner than this does not make a server writable: more than the time limit of the statement.
const LEAST_LEFT: Duration = Duration::from_millis(2_500);

/// Time limit for recording that this side has given up an epoch.
const RELEASE: Duration = Duration::from_secs(3);

/// A keeper.
#[derive(Debug)]
pub struct Keeper {
    /// Store that has the lease.
    pub store: Arc<dyn Store>,
    /// The target.
    pub target: TargetName,
    /// This side.
    pub side: Side,
    /// The server of this side.
    pub server: ServerConfig,
    /// Validity of a renewal.
    pub lease: Duration,
    /// Whether it takes the lease if no side ever held it.
    pub takes_first: bool,
}

impl Keeper {
    /// Keeps the lease until it is cancelled. Then the server is made read-only if it was writable by the lease: nobody
    /// would end it.
    ///
    /// # Errors
    /// `Refused`: the account lacks a privilege. Everything else is logged and retried.
    pub async fn run(self, cancel: &Cancel) -> Result<()> {
        let (standings, standing) = watch::channel(Standing::Unknown);
        let (read_only, read_only_since) = watch::channel(None);
        let renewer = Renewer::new(
            self.store.clone(),
            self.target.clone(),
            self.side.clone(),
            self.lease,
            self.takes_first,
        );
        let pause = self.lease.checked_div(4).unwrap_or(self.lease);
        let guard = Guard {
            server: Server::new(self.server.clone(), self.target.clone()),
            pause: pause.min(LONGEST_PAUSE),
            keeper: self,
            standing,
            read_only,
            young_until: instant_in(pause),
            has_held: false,
            was_writable: false,
            released: None,
            said: Said::default(),
        };
        tokio::select! {
            ended = guard.run(cancel) => ended,
            () = renew(renewer, pause, standings, read_only_since) => Ok(()),
        }
    }
}

/// Renews forever.
async fn renew(
    mut renewer: Renewer,
    pause: Duration,
    standings: watch::Sender<Standing>,
    read_only_since: watch::Receiver<Option<Timestamp>>,
) {
    // A request that hangs must leave time for another one.
    let limit = pause.saturating_mul(2);
    let mut said = Said::default();
    loop {
        let begun = Instant::now();
        let since = *read_only_since.borrow();
        let renewed = timeout(limit, renewer.once(since)).await;
        let no_answer = |_| Err(Error::store(format!("no answer within {limit:?}")));
        match renewed.unwrap_or_else(no_answer) {
            Ok(standing) => {
                let text = standing.to_string();
                if said.is_new(&text) {
                    tracing::info!("{text}");
                }
                standings.send_replace(standing);
            }
            Err(error) => {
                if said.is_new(error.what()) {
                    tracing::warn!(%error, "cannot renew the lease; retrying");
                }
            }
        }
        tokio::time::sleep(pause.saturating_sub(begun.elapsed())).await;
    }
}

/// What watches the server.
struct Guard {
    keeper: Keeper,
    server: Server,
    standing: watch::Receiver<Standing>,
    /// Since when the server is read-only, for renewals.
    read_only: watch::Sender<Option<Timestamp>>,
    /// Pause between two looks at the server.
    pause: Duration,
    /// When the store should have answered for the first time.
    young_until: Instant,
    /// Whether this side had the lease since the keeper started.
    has_held: bool,
    /// Whether the server was writable by the lease since then.
    was_writable: bool,
    /// The epoch of another side for which this side has released its own.
    released: Option<Epoch>,
    said: Said,
}

impl Guard {
    async fn run(mut self, cancel: &Cancel) -> Result<()> {
        let stopped = cancel.token();
        let mut is_checked = false;
        while !stopped.is_cancelled() {
            let looked = async {
                if !is_checked {
                    self.server.check().await?;
                    is_checked = true;
                }
                self.look().await
            };
            let looked = tokio::select! {
                looked = looked => looked,
                () = stopped.cancelled() => break,
            };
            let pause = match looked {
                Ok(pause) => pause,
                Err(error) if !is_checked && error.outcome() == Outcome::Refused => {
                    return Err(error);
                }
                Err(error) => {
                    if self.said.is_new(error.what()) {
                        tracing::warn!(%error, "cannot check the server; retrying");
                    }
                    SOON
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // It cannot end before this.
                _ = self.standing.changed() => {}
                () = stopped.cancelled() => {}
            }
        }
        self.stop().await
    }

    /// Makes the server what it has to be; returns the time until it has to be looked at again.
    async fn look(&mut self) -> Result<Duration> {
        let standing = self.standing.borrow_and_update().clone();
        self.has_held |= matches!(standing, Standing::Ours { .. });
        let access = self.server.access().await?;
        self.publish(access == Access::ReadOnly);
        // After the question, which takes time.
        match (self.wanted(&standing), access) {
            (Wanted::Unchanged, _) => {}
            (Wanted::Writable(_), Access::Writable) => self.was_writable = true,
            (Wanted::Writable(_), _) => self.open(&standing).await?,
            (Wanted::ReadOnly, Access::ReadOnly) => self.release(&standing).await?,
            (Wanted::ReadOnly, _) => self.close(&standing).await?,
        }
        Ok(match self.wanted(&standing) {
            Wanted::Writable(left) => left.min(self.pause),
            Wanted::ReadOnly if self.is_open() => Duration::ZERO,
            _ => self.pause,
        })
    }

    fn wanted(&self, standing: &Standing) -> Wanted {
        let is_young = Instant::now() < self.young_until;
        wanted(standing, Now::read(), self.has_held, is_young)
    }

    /// Whether the server was writable by the lease when it was last looked at.
    fn is_open(&self) -> bool {
        self.was_writable && self.read_only.borrow().is_none()
    }

    async fn open(&mut self, standing: &Standing) -> Result<()> {
        if self.server.has_marker().await? {
            let text = "the server has an unfinished restore, and stays read-only";
            if self.said.is_new(text) {
                tracing::warn!("{text}");
            }
            return Ok(());
        }
        let Standing::Ours { validity, .. } = *standing else {
            return Ok(());
        };
        // Asked as late as possible: the statement may take effect until its time limit.
        let is_long = || validity.left(Now::read()) > LEAST_LEFT;
        if !self.server.make_writable(is_long).await? {
            return Ok(());
        }
        self.was_writable = true;
        self.publish(false);
        self.said.is_new("writable");
        tracing::info!("the server is writable: {standing}");
        Ok(())
    }

    async fn close(&mut self, standing: &Standing) -> Result<()> {
        // A restore into a server that never was writable by the lease has to write.
        if !self.was_writable && self.server.has_marker().await? {
            let text = "the server has an unfinished restore, and stays as it is";
            if self.said.is_new(text) {
                tracing::info!("{text}");
            }
            return Ok(());
        }
        let disconnected = self.server.make_read_only().await?;
        self.was_writable = false;
        self.publish(true);
        self.said.is_new("read-only");
        let why = match standing {
            Standing::Ours { fenced: false, .. } => "an earlier holder may be writable".to_owned(),
            Standing::Ours { .. } => "its lease ended: the store was not reached".to_owned(),
            standing => standing.to_string(),
        };
        let disconnected = match disconnected {
            0 => String::new(),
            number => format!("; disconnected {}", counted(number, "client")),
        };
        tracing::warn!("the server is read-only: {why}{disconnected}");
        self.release(standing).await
    }

    /// Records that this side has given up its epoch.
    async fn release(&mut self, standing: &Standing) -> Result<()> {
        let Standing::Theirs { epoch, .. } = standing else {
            return Ok(());
        };
        if self.released == Some(*epoch) || self.server.has_marker().await? {
            return Ok(());
        }
        let gtids = self.server.executed().await?;
        let Keeper {
            store,
            target,
            side,
            ..
        } = &self.keeper;
        let released = release(store, target, side, *epoch, gtids);
        match timeout(RELEASE, released).await {
            Ok(released) => released?,
            // The server has to be looked at again first.
            Err(_) => return Ok(()),
        }
        self.released = Some(*epoch);
        Ok(())
    }

    fn publish(&self, is_read_only: bool) {
        let since =
            |was: &Option<Timestamp>| is_read_only.then(|| was.unwrap_or_else(Timestamp::now));
        self.read_only.send_modify(|was| *was = since(was));
    }

    async fn stop(mut self) -> Result<()> {
        if !self.was_writable {
            return Ok(());
        }
        let closed = async {
            match self.server.access().await? {
                Access::ReadOnly => Ok(()),
                _ => self.server.make_read_only().await.map(|_| ()),
            }
        };
        match tidy(closed).await {
            Some(Ok(())) => {
                tracing::info!("the server is read-only: its keeper ends");
                Ok(())
            }
            Some(Err(error)) => Err(error.context("make the server read-only")),
            None => Err(Error::server("the server did not become read-only in time")
                .hint("make it read-only by hand, unless this side is to be the writable one")),
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Standing::Unknown => f.write_str("the store has not answered"),
            Standing::Nobody => f.write_str(
                "no side holds the lease; run drctl lease --first on the one that is to be writable",
            ),
            Standing::Ours { epoch, .. } => write!(f, "this side holds the lease, epoch {epoch}"),
            Standing::Theirs { epoch, side } => {
                write!(f, "the side {side} holds the lease, epoch {epoch}")
            }
        }
    }
}

/// Each line once, until another one is logged.
#[derive(Debug, Default)]
struct Said(String);

impl Said {
    fn is_new(&mut self, text: &str) -> bool {
        let is_new = self.0 != text;
        if is_new {
            text.clone_into(&mut self.0);
        }
        is_new
    }
}
