//! The moment that a restore goes to: which backup it begins with, and what of the archived binary log follows.
//!
//! The newest usable backup before the moment whose place lies in the archived log. A moment that is not covered is
//! refused (exit 9) with what is; the nearest one never takes its place.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use crate::binlog::gtid::{Gtid, GtidSet};
use crate::catalog::{Catalog, Entry, Which};
use crate::cli::Context;
use crate::cli::args::{MomentArgs, ReplayPathArg, RestoreArgs, To};
use crate::layout::TimelineId;
use crate::mysql::ServerConfig;
use crate::replay::address::own_address;
use crate::replay::archive::ArchivedLog;
use crate::replay::place::Place;
use crate::replay::stop::Stop;
use crate::replay::{self, ReplayPath, Then};
use crate::stream::coverage::{self, Stretch};
use crate::stream::objects::Objects;
use crate::stream::read;
use crate::util::error::{Error, Outcome, Result};

/// A moment, as it is named.
#[derive(Debug, Clone)]
pub(super) enum Moment {
    /// A time.
    Time(Timestamp),
    /// The end of the log behind the newest usable backup.
    Latest,
    /// Behind a transaction.
    Through(String),
    /// In front of a transaction.
    Before(String),
    /// A position of the target's binary log.
    Position(String),
    /// In front of a statement.
    Statement(regex::Regex),
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Moment::Time(time) => write!(f, "up to {time}"),
            Moment::Latest => f.write_str("all that is archived"),
            Moment::Through(gtid) => write!(f, "up to {gtid}, and with it"),
            Moment::Before(gtid) => write!(f, "up to {gtid}, and without it"),
            Moment::Position(position) => write!(f, "up to {position}"),
            Moment::Statement(pattern) => write!(f, "up to the statement {pattern}"),
        }
    }
}

impl Moment {
    /// The one that the arguments name; `None` for the moment of a backup.
    pub(super) fn of(args: &MomentArgs) -> Option<Moment> {
        let MomentArgs {
            to,
            to_gtid,
            before_gtid,
            to_position,
            before_statement,
        } = args.clone();
        let to = to.map(|to| match to {
            To::Time(time) => Moment::Time(time),
            To::Latest => Moment::Latest,
        });
        to.or(to_gtid.map(Moment::Through))
            .or(before_gtid.map(Moment::Before))
            .or(to_position.map(Moment::Position))
            .or(before_statement.map(Moment::Statement))
    }
}

/// The backup to begin with, and the stretch to replay behind it.
pub(super) async fn find(
    context: &Context,
    args: &RestoreArgs,
    catalog: &Catalog,
    chosen: Option<Which>,
    moment: Moment,
    server: &ServerConfig,
) -> Result<(Entry, replay::Stretch)> {
    if !args.rename.is_empty() {
        return Err(Error::usage(
            "--rename cannot be combined with a point in time: the log has the old names",
        )
        .hint("restore into another server, and copy the tables from there"));
    }
    let objects =
        Arc::new(Objects::list(context.store.clone(), context.config.target.clone()).await?);
    let stretches = coverage::stretches(&objects).await?;
    let moment = match moment {
        Moment::Statement(pattern) => Moment::Before(statement(&objects, &pattern).await?),
        other => other,
    };
    let entries = match chosen {
        Some(which) => vec![catalog.find(which).await?],
        // An earlier backup, and the log up to a gap in front of the newest one, are older than that one alone.
        None if matches!(moment, Moment::Latest) => {
            catalog.bases().await?.into_iter().take(1).collect()
        }
        None => catalog.bases().await?,
    };
    let path = path(args.path, server).await?;
    let mut reasons = Vec::new();
    for entry in entries {
        let id = entry.id;
        match behind(catalog, &entry, &objects, &stretches, &moment).await {
            Ok((log, resolved)) => {
                if matches!(moment, Moment::Latest) {
                    is_latest(catalog, &entry, &stretches, log.timeline, chosen).await?;
                }
                let stretch = replay::Stretch {
                    log: Arc::new(log),
                    resolved,
                    moment: moment.to_string(),
                    path,
                    tables: None,
                    reset: args.overwrite,
                    then: Then::End,
                };
                return Ok((entry, stretch));
            }
            Err(error) if error.outcome() == Outcome::Refused => {
                reasons.push(format!("{id}: {}", error.what()));
            }
            Err(error) => return Err(error),
        }
    }
    Err(not_covered(&stretches, &reasons))
}

/// How the log gets into the destination.
async fn path(arg: Option<ReplayPathArg>, server: &ServerConfig) -> Result<ReplayPath> {
    match arg {
        Some(ReplayPathArg::Client) => ReplayPath::through_client(server).await,
        Some(ReplayPathArg::Replica) | None => {
            Ok(ReplayPath::Replica((own_address(server).await?, 0).into()))
        }
    }
}

/// Whether all that is archived behind a backup is the newest that can be restored; warns of what is newer and cannot.
///
/// # Errors
/// `Refused`: the log goes on without a gap in another timeline, and this backup was not selected explicitly.
async fn is_latest(
    catalog: &Catalog,
    base: &Entry,
    stretches: &[Stretch],
    timeline: TimelineId,
    chosen: Option<Which>,
) -> Result<()> {
    let mut later = stretches
        .iter()
        .skip_while(|one| one.timeline.id != timeline);
    if let (Some(this), Some(next)) = (later.next(), later.next()) {
        let (id, from, to) = (next.timeline.id, next.from, next.to);
        if next.timeline.continues && chosen.is_none() {
            return Err(Error::refused(format!(
                "the log goes on in timeline {id}, up to {to}, and no usable backup stands in that one"
            ))
            .hint(format!(
                "a replay cannot go on there: to restore what is before it, --to {}",
                this.to
            )));
        }
        tracing::warn!(timeline = %id, %from, %to, "the archived log goes on in a later timeline, which is not restored");
    }
    let newest = catalog.find(Which::Latest).await?;
    if newest.manifest.snapshot_at > base.manifest.snapshot_at {
        tracing::warn!(id = %newest.id, "a newer backup is not restored: it was not selected, or a drill found it damaged or wrong");
    }
    Ok(())
}

/// What of the log follows a backup, up to the moment.
///
/// # Errors
/// `Refused`: this backup cannot be the beginning. Anything else concerns all of them.
async fn behind(
    catalog: &Catalog,
    entry: &Entry,
    objects: &Arc<Objects>,
    stretches: &[Stretch],
    moment: &Moment,
) -> Result<(ArchivedLog, replay::stop::Resolved)> {
    let manifest = &entry.manifest;
    if let Moment::Time(time) = moment
        && manifest.snapshot_at > *time
    {
        return Err(Error::refused("it was made later"));
    }
    let place = Place::of(catalog, entry, objects, stretches).await?;
    let stop = stop(moment, manifest.server.flavour == "mariadb")?;
    if let Stop::Before(gtid) = &stop
        && place.gtids.contains(gtid)
    {
        return Err(Error::refused(format!("it holds {gtid}")));
    }
    let resolved = place.resolve(stop).await?;
    Ok((place.log, resolved))
}

fn stop(moment: &Moment, mariadb: bool) -> Result<Stop> {
    Ok(match moment {
        Moment::Time(time) => Stop::Time(*time),
        Moment::Latest => Stop::End,
        Moment::Through(text) => Stop::Through(gtid(text, mariadb)?),
        Moment::Before(text) => Stop::Before(gtid(text, mariadb)?),
        Moment::Position(text) => {
            let wrong =
                || Error::usage(format!("{text} is not a position")).hint("write FILE:POSITION");
            let (file, position) = text.rsplit_once(':').ok_or_else(wrong)?;
            Stop::Position {
                file: file.to_owned(),
                position: position.parse().map_err(|_| wrong())?,
            }
        }
        Moment::Statement(_) => {
            return Err(Error::unexpected("a statement was not resolved"));
        }
    })
}

/// The only transaction of a set.
fn gtid(text: &str, mariadb: bool) -> Result<Gtid> {
    let wrong = || Error::usage(format!("{text} is not a GTID")).hint("see drctl log --statements");
    match GtidSet::parse(mariadb, text).map_err(|_| wrong())? {
        GtidSet::MySql(origins) => {
            let mut all = origins.into_iter();
            let (origin, intervals) = all.next().ok_or_else(wrong)?;
            match (intervals.as_slice(), all.next()) {
                ([(from, to)], None) if from == to => Ok(Gtid::MySql(origin, *from)),
                _ => Err(wrong()),
            }
        }
        GtidSet::MariaDb(domains) => {
            let mut all = domains.into_iter();
            let (domain, (server, sequence)) = all.next().ok_or_else(wrong)?;
            match all.next() {
                None => Ok(Gtid::MariaDb {
                    domain,
                    server,
                    sequence,
                }),
                Some(_) => Err(wrong()),
            }
        }
    }
}

/// The transaction of the only archived statement that matches.
///
/// # Errors
/// `Usage`: none, or several, which are listed. `Refused`: not every statement is known.
async fn statement(objects: &Objects, pattern: &regex::Regex) -> Result<String> {
    objects.check_readable()?;
    let (mut found, mut unknown) = (BTreeSet::new(), 0);
    for (&id, timeline) in &objects.timelines {
        for file in timeline.files.keys() {
            for record in read::records_of(objects, id, file).await? {
                unknown += record.contents.more_statements;
                for one in record.contents.statements {
                    let sql = one.sql.as_deref().unwrap_or_default();
                    let text = format!("{} {} {sql}", one.kind, one.objects.join(" "));
                    if pattern.is_match(&text) {
                        let gtid = one.gtid.unwrap_or_default();
                        found.insert((one.at, gtid, one.kind, one.objects.join(", ")));
                    }
                }
            }
        }
    }
    if unknown > 0 {
        return Err(Error::refused(format!(
            "{unknown} statements of the log are not listed in its records, so that no match is the only one for sure"
        ))
        .hint("name the transaction: --before-gtid GTID"));
    }
    let shown = |(at, gtid, kind, objects): &(Timestamp, String, String, String)| {
        format!("{gtid} of {at}: {kind} {objects}")
    };
    let all: Vec<String> = found.iter().map(shown).collect();
    match found.into_iter().next() {
        Some((_, gtid, ..)) if all.len() == 1 && !gtid.is_empty() => Ok(gtid),
        Some(_) => Err(
            Error::usage(format!("several statements match: {}", all.join("; ")))
                .hint("name one of them: --before-gtid GTID"),
        ),
        None => Err(
            Error::usage(format!("no archived statement matches {pattern}"))
                .hint("see drctl log --statements"),
        ),
    }
}

/// The refusal of a moment that no backup and the log behind it lead to.
fn not_covered(stretches: &[Stretch], reasons: &[String]) -> Error {
    let covered: Vec<String> = stretches
        .iter()
        .map(|stretch| format!("{} to {}", stretch.from, stretch.to))
        .collect();
    let covered = match covered.is_empty() {
        true => "nothing; archive the log with drctl stream".to_owned(),
        false => covered.join(", "),
    };
    let reasons = match reasons.is_empty() {
        true => "there is no usable backup".to_owned(),
        // The newest ones say most.
        false => reasons
            .iter()
            .take(5)
            .cloned()
            .collect::<Vec<_>>()
            .join("; "),
    };
    Error::refused(format!(
        "the moment is not covered by a backup and the log behind it ({reasons}); the log covers {covered}"
    ))
    .hint("choose a covered moment (drctl log, drctl list), or restore a backup alone (--latest)")
}
