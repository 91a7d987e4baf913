//! `drctl prune`: what no rule keeps goes, and what killed runs left.
//!
//! whose are they? → judge every backup → clocks → delete, the oldest first → sweep → old evidence → say what and why

use jiff::{SignedDuration, Timestamp};

use crate::archive::remove::{self, LEASE};
use crate::baseline;
use crate::catalog::{Catalog, Entry};
use crate::cli::PruneArgs;
use crate::clocks;
use crate::commands::promises::Promises;
use crate::commands::prune::page::{Line, Outcome, Page};
use crate::commands::{Run, text};
use crate::error::{self, Error, Result};
use crate::evidence;
use crate::leftovers;
use crate::retention::{self, Candidate, Decision};
use crate::runs::{self, RunRecord};
use crate::source;
use crate::times::{before, days};

mod page;

/// Prunes, or says what pruning would do.
pub async fn run(run: &Run, args: PruneArgs) -> Result<()> {
    let started_at = Timestamp::now();
    let done = prune(run, &args).await;
    if !args.dry_run {
        let record = RunRecord::ends("prune", started_at, None, done.as_ref().err());
        runs::record(&run.store, &run.config.target, &record).await;
    }
    done
}

async fn prune(run: &Run, args: &PruneArgs) -> Result<()> {
    let config = &run.config.retention;
    if !config.rules.say_what_to_keep() {
        return Err(Error::usage("nothing says which backups to keep").hint(
            "set retention.daily, or another of retention.last, weekly, monthly, yearly, within_days",
        ));
    }
    let now = Timestamp::now();
    let catalog = run.catalog().await?;
    let (entries, damaged) = run.cancel.unless(catalog.entries()).await?;
    let refusal = refusal(run, args, &catalog, &entries, now).await?;
    let mut failure = match refusal {
        Some(refusal) if !args.dry_run => return Err(refusal),
        refusal => refusal,
    };
    let promises = run
        .cancel
        .unless(Promises::of(run, &catalog, &entries, now))
        .await?;
    let overdue = overdue(&promises);
    let candidates: Vec<Candidate> = entries.iter().map(|entry| candidate(entry, now)).collect();
    let decisions = retention::decide(
        &candidates,
        &config.rules,
        now,
        overdue.as_deref(),
        args.force,
    );
    let lines = entries
        .iter()
        .zip(&decisions)
        .map(|(entry, decision)| Line::new(entry, decision));
    let mut page = Page::new(args.dry_run, lines.collect());
    // One that was dated wrongly need not be the first.
    let newest = entries
        .iter()
        .max_by_key(|entry| entry.manifest.finished_at);
    page.waits = newest.and_then(Entry::waits);
    match args.dry_run {
        true => page.leftovers = leftovers::left_over(&catalog, now),
        false => {
            failure = delete(run, &catalog, &entries, &decisions, &mut page).await?;
            let swept = run
                .cancel
                .unless(async { Ok(leftovers::sweep(&run.store, &catalog).await) })
                .await?;
            (page.leftovers, page.uploads) = (swept.backups, swept.uploads);
            let old = evidence::remove_old(&run.store, &catalog, before(now, config.evidence));
            page.evidence = run.cancel.unless(old).await?;
        }
    }
    page.say(run.output)?;
    let waits = decisions
        .iter()
        .any(|decision| matches!(decision, Decision::Postpone(_)));
    if let (Some(why), true) = (overdue, waits) {
        let error = Error::refused(format!("no backup was deleted: {why}"));
        failure = Some(worse(
            failure,
            error.hint("run drctl verify --latest, and fix what keeps drills from passing"),
        ));
    }
    for error in damaged {
        failure = Some(worse(failure, error));
    }
    failure.map_or(Ok(()), Err)
}

/// Why nothing may go now: with drills declared, and none that passed for too long, nobody knows which
/// backups are good.
fn overdue(promises: &Promises) -> Option<String> {
    let objective = promises.objectives.proven_rpo?;
    match promises.rpo.proven {
        Some(age) if age <= objective => None,
        Some(age) => Some(format!(
            "verification is overdue: the newest proven data are {} old, more than {}",
            text::span(age),
            text::span(objective)
        )),
        None => Some("verification is overdue: no backup was ever proven".into()),
    }
}

fn candidate(entry: &Entry, now: Timestamp) -> Candidate {
    let marks = &entry.marks;
    Candidate {
        snapshot_at: entry.manifest.snapshot_at,
        trusted: entry.is_trusted(),
        proven: marks.was_proven(),
        failed_at: marks.failed_at,
        pinned: marks.pinned,
        in_use: marks.read_at.is_some_and(|at| at > before(now, LEASE)),
        labels: entry.manifest.labels.clone(),
    }
}

/// Why nothing may be deleted at all, whatever the rules say; the same for a dry run.
async fn refusal(
    run: &Run,
    args: &PruneArgs,
    catalog: &Catalog,
    entries: &[Entry],
    now: Timestamp,
) -> Result<Option<Error>> {
    if entries.is_empty() {
        return Ok(None);
    }
    if let Some(refusal) = foreign(run, catalog, entries, now).await? {
        return Ok(Some(refusal));
    }
    match check_clocks(run, entries, now).await {
        Ok(refusal) => Ok(refusal),
        // Who only looks may not be allowed to write, and the store's clock is read from what is written.
        Err(error) if args.dry_run && error.outcome() == error::Outcome::Store => {
            tracing::warn!(%error, "cannot compare the store's clock with this host's");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Two servers whose configuration names one target in one store would delete each other's backups: those of
/// the second are suspect, and its retention is refused. The server is asked who it is. Where none is configured, or
/// retention is not given its password, as in the chart, the backups themselves tell whether there are two.
async fn foreign(
    run: &Run,
    catalog: &Catalog,
    entries: &[Entry],
    now: Timestamp,
) -> Result<Option<Error>> {
    let known = run.cancel.unless(baseline::server(&run.store, catalog));
    let Some(known) = known.await? else {
        return Ok(None);
    };
    let (target, place) = (catalog.target(), run.store.location());
    let refused = |who: String| {
        Error::refused(format!(
            "no backup was deleted: those of {target} in {place} are of the server {known}, and {who}"
        ))
        .hint(
            "give the other server a target name or a store prefix of its own; if the target moved to it, \
             run drctl backup there and accept what it made",
        )
    };
    let config = match run.config.names_source() {
        true => run.config.source(),
        false => return Ok(beside(entries, &known, now).map(refused)),
    };
    let config = match config {
        Ok(config) => config,
        Err(error) => {
            tracing::debug!(%error, "the server is not asked whose backups these are");
            return Ok(beside(entries, &known, now).map(refused));
        }
    };
    let asked = run.cancel.unless(source::identity(&config)).await;
    run.cancel.check()?;
    let identity = asked.map_err(|error| {
        error
            .context("no backup was deleted, since whose they are could not be asked")
            .hint("run it where the server answers; where it is gone for good, without source.url")
    })?;
    Ok((identity != known).then(|| refused(format!("{} is {identity}", config.url))))
}

/// Another server that makes backups beside the one that is known: one of its own is from the last days, and not the
/// last of all. A target that has just moved has none of the old server behind it.
fn beside(entries: &[Entry], known: &str, now: Timestamp) -> Option<String> {
    const DAYS: u32 = 3;
    let since = before(now, days(DAYS));
    let mut newest_known = None;
    for Entry { manifest, .. } in entries {
        if manifest.server.identity == known {
            newest_known = newest_known.max(Some(manifest.finished_at));
        }
    }
    let other = entries.iter().find(|entry| {
        let manifest = &entry.manifest;
        let (identity, at) = (&manifest.server.identity, manifest.finished_at);
        !entry.is_trusted() && identity != known && at > since && Some(at) < newest_known
    })?;
    let (other, at) = (&other.manifest.server.identity, other.manifest.finished_at);
    Some(format!(
        "{other} made one at {at:.0}; retention goes on {DAYS} days after its last"
    ))
}

/// Ages rest on clocks: of the host, of the store, and of the server that dated the snapshots.
async fn check_clocks(run: &Run, entries: &[Entry], now: Timestamp) -> Result<Option<Error>> {
    let refused = |what: String| {
        Ok(Some(
            Error::refused(format!("no backup was deleted: {what}"))
                .hint("set all clocks by NTP, then run it again"),
        ))
    };
    let newest = entries.iter().map(|entry| entry.manifest.snapshot_at).max();
    if let Some(ahead) = newest.map(|newest| newest.duration_since(now))
        && ahead > clocks::MOST_APART
    {
        return refused(format!(
            "the newest snapshot is {} in the future",
            text::span(ahead)
        ));
    }
    let apart: SignedDuration = run
        .cancel
        .unless(clocks::apart(&run.store, &run.config.target))
        .await?;
    if apart > clocks::MOST_APART {
        return refused(format!(
            "this host's and the store's clock are {} apart",
            text::span(apart)
        ));
    }
    Ok(None)
}

/// Deletes what was decided, the oldest first. One that the store refuses keeps none of the others;
/// gives the worst of the failures.
async fn delete(
    run: &Run,
    catalog: &Catalog,
    entries: &[Entry],
    decisions: &[Decision],
    page: &mut Page,
) -> Result<Option<Error>> {
    let mut failure = None;
    let mut failed = 0;
    for (index, entry) in entries.iter().enumerate().rev() {
        if decisions[index] != Decision::Delete {
            continue;
        }
        let place = catalog.place(entry.id);
        let manifest = &entry.manifest;
        let removal = remove::remove(&run.store, &place, manifest.finished_at, entry.is_trusted());
        // Whatever it is cut off at, the next run finishes.
        let removed = run.cancel.unless(removal).await;
        run.cancel.check()?;
        page.lines[index].outcome = match removed {
            Ok(removed) if removed.in_use => Some(Outcome::Unlisted),
            Ok(removed) => {
                page.bytes += removed.bytes;
                page.hidden |= removed.hidden;
                Some(Outcome::Deleted)
            }
            Err(error) => {
                tracing::warn!(id = %entry.id, %error, "cannot delete");
                failed += 1;
                failure = Some(worse(failure, error));
                Some(Outcome::Failed)
            }
        };
    }
    Ok(failure.map(|error: Error| match failed {
        1 => error.context("a backup could not be deleted"),
        failed => error.context(format!("{failed} backups could not be deleted, the oldest")),
    }))
}

fn worse(failure: Option<Error>, error: Error) -> Error {
    match failure {
        Some(failure) => failure.most_severe(error),
        None => error,
    }
}
