//! `drctl copy`: copies a target to a second store, once or continuously.
//!
//! The run record is written to the second store: the credentials for the primary one may only read.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::catalog::history::RunRecord;
use crate::cli::Context;
use crate::cli::args::CopyArgs;
use crate::cli::context::without_a_store;
use crate::cli::ended::{ended, recorded};
use crate::cli::output::text;
use crate::copy::ends::{Ends, of_second};
use crate::copy::lock::{CopierLease, locked};
use crate::copy::promoted::Promotable;
use crate::copy::rate::Limiter;
use crate::copy::{Copier, Tally};
use crate::layout::BackupId;
use crate::monitor::notify::Task;
use crate::store::{self, StoreConfig, StoreUrl};
use crate::util::error::{Error, Outcome, Result};
use crate::util::format::Output;

/// Longest pause after a pass that failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Copies.
pub async fn run(context: &Context, args: CopyArgs) -> Result<()> {
    let config = &context.config.copy;
    let second = second_store(context, args.to)?;
    let keys = context.keys()?;
    let opened = async { store::open(&second, keys).await.map_err(of_second) };
    let second = match context.cancel.unless(opened).await {
        Ok(second) => second,
        Err(error) => {
            without_a_store(&context.config, Task::Copy, &error).await;
            return Err(error);
        }
    };
    let over_there = Context {
        config: context.config.clone(),
        store: second.clone(),
        output: context.output,
        cancel: context.cancel.clone(),
    };
    let ends = Ends {
        primary: context.store.clone(),
        second,
        target: context.config.target.clone(),
        limiter: Arc::new(Limiter::new(args.max_rate.or(config.max_rate))),
        objects_at_once: config.objects,
        cancel: context.cancel.clone(),
    };
    let promotable = promotable(context).await?;
    let started_at = Timestamp::now();
    let copying = async {
        let copying = copy(&over_there, ends, promotable, args.once, args.init_store);
        let done = Box::pin(copying).await;
        if let Err(error) = &done {
            record(&over_there, started_at, None, Some(error)).await;
        }
        done
    };
    recorded(&over_there, "copy", Some(Task::Copy), copying).await
}

/// Who ends the copy by being promoted, where that is configured.
async fn promotable(context: &Context) -> Result<Option<Promotable>> {
    let config = &context.config;
    let Some(side) = config.copy.side.clone() else {
        return Ok(None);
    };
    let opened = store::open(config.lease_store()?, context.keys()?);
    Ok(Some(Promotable {
        store: context.cancel.unless(opened).await?,
        target: config.target.clone(),
        side,
    }))
}

/// Notifies, and writes a run record to the second store.
async fn record(
    context: &Context,
    started_at: Timestamp,
    newest: Option<BackupId>,
    error: Option<&Error>,
) {
    let record = RunRecord::ends("copy", started_at, newest, error);
    ended(context, Task::Copy, Outcome::of(error), record).await;
}

/// The settings of the second store.
fn second_store(context: &Context, to: Option<StoreUrl>) -> Result<StoreConfig> {
    let config = &context.config.copy;
    let named = to.map(|url| StoreConfig {
        url,
        ..config.settings.clone()
    });
    let Some(second) = named.or_else(|| config.store.clone()) else {
        return Err(Error::usage("no second store is configured").hint(
            "give --to URL, or set DRCTL_COPY_TO or copy.to to s3://bucket/prefix or file:///dir",
        ));
    };
    let first = &context.config.store;
    let endpoint = |config: &StoreConfig| config.s3.endpoint_url.clone();
    if first.url == second.url && endpoint(first) == endpoint(&second) {
        return Err(Error::usage("the second store is the primary one").hint(
            "name another bucket, prefix or directory; for a bucket of the same name elsewhere set copy.s3.endpoint_url",
        ));
    }
    Ok(second)
}

async fn copy(
    context: &Context,
    ends: Ends,
    promotable: Option<Promotable>,
    once: bool,
    init_store: bool,
) -> Result<()> {
    let init = async { ends.second.init(init_store).await.map_err(of_second) };
    context.cancel.unless(init).await?;
    if let Some(promotable) = &promotable {
        context.cancel.unless(promotable.check()).await?;
    }
    let lease = CopierLease::take(&ends).await?;
    let copier = Copier::new(ends.clone());
    let work = async {
        match once {
            true => copy_once(context, copier).await,
            false => copy_forever(context, copier).await,
        }
    };
    let promoted = async {
        match &promotable {
            Some(promotable) => promotable.promoted().await,
            None => std::future::pending().await,
        }
    };
    let done = tokio::select! {
        done = work => done,
        () = lease.lost() => Err(locked(&ends)),
        error = promoted => Err(error),
    };
    lease.end().await;
    done
}

async fn copy_once(context: &Context, mut copier: Copier) -> Result<()> {
    let started_at = Timestamp::now();
    let mut tally = Tally::default();
    let done = copier.pass(&mut tally).await;
    log_failed(&tally.failed);
    let printed = print(context, &tally);
    let newest = tally.copied.iter().max().copied();
    let failure = match (done, tally.into_failure()) {
        (Err(error), Some(failure)) if !error.outcome().is_cancelled() => {
            Some(failure.most_severe(error))
        }
        (Err(error), _) => Some(error),
        (Ok(()), failure) => failure,
    };
    if let Some(failure) = failure {
        return Err(failure);
    }
    record(context, started_at, newest, None).await;
    printed
}

/// Passes until the run is cancelled. A failure is logged, and recorded when it is another one than before.
async fn copy_forever(context: &Context, mut copier: Copier) -> Result<()> {
    let interval = context.config.copy.interval;
    let (mut pause, mut last, mut last_failed) = (interval, None, Vec::new());
    loop {
        let started_at = Timestamp::now();
        let mut tally = Tally::default();
        copier.refresh_keys();
        let done = copier.pass(&mut tally).await;
        context.cancel.check()?;
        let (newest, has_changed) = (tally.copied.iter().max().copied(), tally.has_changed());
        if has_changed {
            tracing::info!("{}", summary(&tally));
        }
        // What stays damaged is named once.
        if tally.failed != last_failed {
            log_failed(&tally.failed);
            last_failed.clone_from(&tally.failed);
        }
        let failure = match (done, tally.into_failure()) {
            (Err(error), _) | (Ok(()), Some(error)) => Some(error),
            (Ok(()), None) => None,
        };
        let said = failure.as_ref().map(|error| error.what().to_owned());
        match &failure {
            None => pause = interval,
            Some(error) if is_final(error) => {
                return Err(failure.unwrap_or_else(|| context.cancel.error()));
            }
            Some(error) => {
                if said != last {
                    tracing::warn!(%error, "the copy is incomplete; trying again");
                }
                pause = pause.saturating_mul(2).min(LONGEST_PAUSE.max(interval));
            }
        }
        if newest.is_some() || said != last {
            record(context, started_at, newest, failure.as_ref()).await;
        }
        last = said;
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = context.cancel.token().cancelled() => return Err(context.cancel.error()),
        }
    }
}

/// Names everything that was not copied; the error line has room for one.
fn log_failed(failed: &[String]) {
    for what in failed {
        tracing::error!("not copied: {what}");
    }
}

/// Whether waiting does not change a failure: only stores, and what they hold, change.
fn is_final(error: &Error) -> bool {
    let passes = [
        Outcome::Store,
        Outcome::Archive,
        Outcome::NothingToDo,
        Outcome::Refused,
    ];
    !passes.contains(&error.outcome())
}

fn print(context: &Context, tally: &Tally) -> Result<()> {
    match context.output {
        Output::Json => text::json(tally),
        Output::Text => text::print(&format!("{}\n", summary(tally))),
    }
}

fn summary(tally: &Tally) -> String {
    let counted = |number: u64, what| text::counted(number, what);
    let mut line = format!(
        "{} copied, {} present",
        counted(tally.copied.len() as u64, "backup"),
        text::count(tally.present),
    );
    if tally.pruned > 0 {
        line.push_str(&format!(", {} pruned there", text::count(tally.pruned)));
    }
    for (number, what) in [(tally.marks, "mark"), (tally.segments, "log segment")] {
        if number > 0 {
            line.push_str(&format!(", {}", counted(number, what)));
        }
    }
    line.push_str(&format!(", {}", text::bytes(tally.bytes)));
    if !tally.failed.is_empty() {
        let failed = tally.failed.len() as u64;
        line.push_str(&format!("; {} NOT copied", counted(failed, "object")));
    }
    line
}
