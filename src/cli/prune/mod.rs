//! `drctl prune`: deletes backups that no retention rule keeps, then the files of the archived log that no backup needs,
//! and cleans up after interrupted runs.
//!
//! owner check → clock check → list complete? → decide on every backup → read those that justify deletions → delete,
//! oldest first → log → cleanup → old evidence → print

use jiff::Timestamp;

use crate::backup::anomaly::baseline;
use crate::backup::source;
use crate::catalog::cleanup;
use crate::catalog::clock;
use crate::catalog::expiry;
use crate::catalog::history::{self, RunRecord};
use crate::catalog::lease;
use crate::catalog::remove;
use crate::catalog::retention::{self, Candidate, Decision, PINNED};
use crate::catalog::summary;
use crate::catalog::{Catalog, Entry};
use crate::cli::Context;
use crate::cli::args::PruneArgs;
use crate::cli::objective_status::ObjectiveStatus;
use crate::cli::output::text;
use crate::cli::prune::log::Staying;
use crate::cli::prune::page::{Line, Outcome, Page};
use crate::keys::signers::Signed;

use crate::util::error::{self, Error, Result};
use crate::util::times::before;

mod justify;
mod log;
mod page;

/// Deletes, or prints what would be deleted.
pub async fn run(context: &Context, args: PruneArgs) -> Result<()> {
    let started_at = Timestamp::now();
    let done = prune(context, &args).await;
    if !args.dry_run {
        let record = RunRecord::ends("prune", started_at, None, done.as_ref().err());
        history::record(&context.store, &context.config.target, &record).await;
    }
    done
}

async fn prune(context: &Context, args: &PruneArgs) -> Result<()> {
    let config = &context.config.retention;
    if !config.rules.is_configured() {
        return Err(Error::usage("no retention rule is configured").hint(
            "set retention.daily, or another of retention.last, weekly, monthly, yearly, within_days",
        ));
    }
    let now = Timestamp::now();
    let catalog = context.catalog().await?;
    let (entries, damaged) = context.cancel.unless(catalog.entries()).await?;
    let refusal = refusal(context, args, &catalog, &entries, now).await?;
    let mut failure = match refusal {
        Some(refusal) if !args.dry_run => return Err(refusal),
        refusal => refusal,
    };
    let status = context
        .cancel
        .unless(ObjectiveStatus::of(context, &catalog, &entries, now))
        .await?;
    let overdue = overdue(&status);
    // Before anything is deleted: an incomplete list of backups must not lead to a decision.
    let left_over = context
        .cancel
        .unless(cleanup::find_leftovers(&context.store, &catalog, now))
        .await?;
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
    // A backup with a wrong date need not be the first.
    let newest = entries
        .iter()
        .max_by_key(|entry| entry.manifest.finished_at);
    page.waits = newest.and_then(Entry::suspect_notice);
    let refused = failure.as_ref().map(|refusal| refusal.what().to_owned());
    if !args.dry_run {
        // The files of the log are deleted because of the same backups.
        let justified = justify::check(&catalog, &entries, &decisions);
        context.cancel.unless(justified).await?;
        failure = delete(context, &catalog, &entries, &decisions, &mut page).await?;
    }
    let unread = (!damaged.is_empty()).then(|| {
        format!(
            "{} cannot be read",
            text::counted(damaged.len() as u64, "backup")
        )
    });
    let suspended = refused.or(unread).or(overdue.clone());
    if let Err(error) = prune_log(context, args, &entries, &decisions, suspended, &mut page).await {
        context.cancel.check()?;
        failure = Some(worse(failure, error));
    }
    if args.dry_run {
        page.leftovers = left_over;
    } else {
        let swept = context
            .cancel
            .unless(async {
                Ok(cleanup::remove_leftovers(&context.store, &catalog, left_over).await)
            })
            .await?;
        (page.leftovers, page.uploads) = (swept.backups, swept.uploads);
        let old = expiry::remove_expired(&context.store, &catalog, before(now, config.evidence));
        page.evidence = context.cancel.unless(old).await?;
        let summarising = async {
            summary::write::merge(&catalog).await?;
            summary::write::sweep(&catalog).await
        };
        if let Err(error) = context.cancel.unless(summarising).await {
            context.cancel.check()?;
            tracing::warn!(%error, "cannot write or remove summaries of manifests");
        }
    }
    let printed = page.print(context.output);
    let waits = decisions
        .iter()
        .any(|decision| matches!(decision, Decision::Postpone(_)));
    if let (Some(why), true) = (overdue, waits) {
        let error = Error::refused(format!("no backup was deleted: {why}"));
        failure = Some(worse(
            failure,
            error.hint("run drctl verify --latest, and fix the cause if it fails"),
        ));
    }
    for error in damaged {
        failure = Some(worse(failure, error));
    }
    failure.map_or(Ok(()), Err).and(printed)
}

/// Deletes the files of the log that no backup needs, or lists them.
async fn prune_log(
    context: &Context,
    args: &PruneArgs,
    entries: &[Entry],
    decisions: &[Decision],
    suspended: Option<String>,
    page: &mut Page,
) -> Result<()> {
    let stays = |index: usize| {
        let outcome = page.lines[index].outcome;
        let is_gone = match args.dry_run {
            true => decisions[index] == Decision::Delete,
            false => outcome == Some(Outcome::Deleted),
        };
        let staying = Staying {
            entry: &entries[index],
            only_pinned: decisions[index] == Decision::Keep(vec![PINNED.to_owned()]),
            is_read: outcome == Some(Outcome::Unlisted),
        };
        (!is_gone).then_some(staying)
    };
    let staying: Vec<Staying<'_>> = (0..entries.len()).filter_map(stays).collect();
    let planning = log::plan(context, &staying, suspended, Timestamp::now());
    let planned = context.cancel.unless(planning).await;
    let planned = planned.map_err(|e| e.context("none of the archived log was deleted"))?;
    let Some(mut plan) = planned else {
        return Ok(());
    };
    let failed = match args.dry_run {
        true => None,
        false => {
            let deleting = async { Ok(plan.delete().await) };
            context.cancel.unless(deleting).await?
        }
    };
    page.hidden |= plan.page.hidden;
    page.log = Some(plan.page);
    failed.map_or(Ok(()), Err)
}

/// Why retention is suspended: drills are declared, but none has passed for too long, so it is unknown
/// which backups are good.
fn overdue(status: &ObjectiveStatus) -> Option<String> {
    let objective = status.objectives.verified_rpo?;
    match status.rpo.verified {
        Some(age) if age <= objective => None,
        Some(age) => Some(format!(
            "verification is overdue: the newest verified data are {} old, more than {}",
            text::span(age),
            text::span(objective)
        )),
        None => Some("verification is overdue: no backup was ever verified".into()),
    }
}

fn candidate(entry: &Entry, now: Timestamp) -> Candidate {
    let marks = &entry.marks;
    Candidate {
        snapshot_at: entry.manifest.snapshot_at,
        usable: entry.is_usable(),
        refused: matches!(entry.signed, Signed::Refused(_)),
        verified: marks.was_verified(),
        failed_at: marks.failed_at,
        pinned: marks.pinned,
        in_use: marks
            .read_at
            .is_some_and(|at| at > before(now, lease::VALIDITY)),
        labels: entry.manifest.labels.clone(),
    }
}

/// Why nothing may be deleted at all, whatever the rules; the same in a dry run.
async fn refusal(
    context: &Context,
    args: &PruneArgs,
    catalog: &Catalog,
    entries: &[Entry],
    now: Timestamp,
) -> Result<Option<Error>> {
    if entries.is_empty() {
        return Ok(None);
    }
    if let Some(refusal) = foreign(context, catalog, entries).await? {
        return Ok(Some(refusal));
    }
    match check_clocks(context, entries, now).await {
        Ok(refusal) => Ok(refusal),
        // A dry run may lack write permission, and reading the store's clock needs a write.
        Err(error) if args.dry_run && error.outcome() == error::Outcome::Store => {
            tracing::warn!(%error, "cannot compare the store's clock with this host's");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Rejects a target name shared by two servers in one store: each would delete the other's backups. The
/// backups of the second server are suspect, and its retention is refused. Asks the server for its
/// identity. If none is configured, or its password is missing, as in the chart, only the backups
/// themselves show whether there are two servers ([`beside`]).
async fn foreign(context: &Context, catalog: &Catalog, entries: &[Entry]) -> Result<Option<Error>> {
    let known = context
        .cancel
        .unless(baseline::server(&context.store, catalog));
    let Some(known) = known.await? else {
        return Ok(None);
    };
    let (target, place) = (catalog.target(), context.store.location());
    let refused = |who: String| {
        Error::refused(format!(
            "no backup was deleted: the backups of {target} in {place} are from server {known}, but {who}"
        ))
    };
    let found = beside(entries, &known).map(|other| {
        let (id, server) = (other.id, &other.manifest.server.identity);
        let at = other.manifest.finished_at;
        refused(format!(
            "{server} created one at {at:.0}: {id}, which is suspect"
        ))
        .hint(format!(
            "if the target moved to that server, run drctl accept {id}; otherwise give the other server its own \
             target name or store prefix, and delete {id}/manifest.json from the store"
        ))
    });
    if !context.config.names_source() {
        return Ok(found);
    }
    let config = match context.config.source() {
        Ok(config) => config,
        Err(error) => {
            tracing::debug!(%error, "no server to check the owner of the backups");
            return Ok(found);
        }
    };
    let asked = context.cancel.unless(source::identity(&config)).await;
    context.cancel.check()?;
    let identity = asked.map_err(|error| {
        error
            .context("no backup was deleted: cannot check which server they are from")
            .hint("run it where the server is reachable; if the server is gone for good, remove source.url")
    })?;
    if identity == known {
        return Ok(found);
    }
    Ok(Some(refused(format!("{} is {identity}", config.url)).hint(
        "give the other server its own target name or store prefix; if the target moved to it, \
         run drctl backup there and accept the new backup",
    )))
}

/// Finds the newest backup of a second server that writes besides the known one: suspect, and not accepted.
///
/// Age does not matter: until an operator has decided which server the target is, retention could delete
/// the only backups of a cluster. Suspect backups that are older than all usable ones of the known server
/// are those of its predecessor, from which the target moved.
fn beside<'a>(entries: &'a [Entry], known: &str) -> Option<&'a Entry> {
    let finished_at = |entry: &&Entry| entry.manifest.finished_at;
    let is_known = |entry: &&Entry| entry.manifest.server.identity == known;
    let usable = entries.iter().filter(|entry| entry.is_usable());
    let since = usable
        .filter(is_known)
        .map(|entry| finished_at(&entry))
        .min();
    let other = entries
        .iter()
        .filter(|entry| !entry.is_usable() && !is_known(entry) && Some(finished_at(entry)) > since);
    other.max_by_key(finished_at)
}

/// Checks the clocks that ages depend on: of the host, of the store, and of the server that dated the
/// snapshots.
async fn check_clocks(
    context: &Context,
    entries: &[Entry],
    now: Timestamp,
) -> Result<Option<Error>> {
    let refused = |what: String| {
        Ok(Some(
            Error::refused(format!("no backup was deleted: {what}"))
                .hint("synchronise all clocks by NTP, then run it again"),
        ))
    };
    let newest = entries.iter().map(|entry| entry.manifest.snapshot_at).max();
    if let Some(ahead) = newest.map(|newest| newest.duration_since(now))
        && ahead > clock::MOST_APART
    {
        return refused(format!(
            "the newest snapshot is {} in the future",
            text::span(ahead)
        ));
    }
    let measure = clock::measure(&context.store, &context.config.target);
    let apart = context.cancel.unless(measure).await?.apart();
    if apart > clock::MOST_APART {
        return refused(format!(
            "the clocks of this host and the store differ by {}",
            text::span(apart)
        ));
    }
    Ok(None)
}

/// Deletes the backups due for deletion, oldest first. A failure does not stop later deletions; returns the
/// most severe failure.
async fn delete(
    context: &Context,
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
        let removal = remove::remove(
            &context.store,
            &place,
            manifest.finished_at,
            entry.is_usable(),
        );
        // If this is interrupted, the next run completes it.
        let removed = context.cancel.unless(removal).await;
        context.cancel.check()?;
        page.lines[index].outcome = match removed {
            Ok(removed) if removed.in_use => Some(Outcome::Unlisted),
            Ok(removed) => {
                page.bytes += removed.bytes;
                page.hidden |= removed.hidden;
                Some(Outcome::Deleted)
            }
            Err(error) => {
                tracing::warn!(id = %entry.id, %error, "cannot delete the backup");
                failed += 1;
                failure = Some(worse(failure, error));
                Some(Outcome::Failed)
            }
        };
    }
    Ok(failure.map(|error: Error| match failed {
        1 => error.context("cannot delete 1 backup"),
        failed => error.context(format!("cannot delete {failed} backups, the oldest")),
    }))
}

fn worse(failure: Option<Error>, error: Error) -> Error {
    match failure {
        Some(failure) => failure.most_severe(error),
        None => error,
    }
}
