//! Which two backups a drill of the binary log uses: the newest usable one, and an earlier one from which the archived
//! log leads to it.

use std::sync::Arc;

use crate::catalog::{Catalog, Entry};
use crate::cli::Context;
use crate::replay::place::Place;
use crate::stream::objects::Objects;
use crate::stream::{check, coverage};
use crate::util::error::{Error, Outcome, Result};
use crate::util::format::some_of;
use crate::verify::pitr::Until;

/// The earlier backup, and the log to the newest one. `earlier`: the one that was requested; else the newest from which
/// the log leads there.
///
/// # Errors
/// `NothingToDo`: no log is archived, or there is no backup. `Refused`: the log does not lead from one to the other.
pub(super) async fn choose(
    context: &Context,
    catalog: &Catalog,
    earlier: Option<Entry>,
) -> Result<(Entry, Until)> {
    let objects = list(context).await?;
    let stretches = coverage::stretches(&objects).await?;
    let mut usable = catalog.bases().await?.into_iter();
    let Some(newest) = usable.next() else {
        return Err(
            Error::nothing(format!("{} has no usable backup", catalog.target()))
                .hint("see drctl list"),
        );
    };
    check::reaches_the_heartbeat(&objects, &stretches).await?;
    let of_newest = |error: Error| match error.outcome() {
        Outcome::Refused => Error::refused(format!(
            "the archived log does not lead to the newest backup, {}: {}",
            newest.id,
            error.what()
        ))
        .hint("see drctl log; check that drctl stream runs, and back up with coordinates"),
        _ => error,
    };
    let to = Place::of(catalog, &newest, &objects, &stretches).await;
    let to = to.map_err(of_newest)?;
    let candidates: Vec<Entry> = match earlier {
        Some(entry) => vec![entry],
        None => usable.collect(),
    };
    let mut reasons = Vec::new();
    for entry in candidates {
        let from = Place::of(catalog, &entry, &objects, &stretches).await;
        let from = from.and_then(|from| from.reaches(&to).map(|()| from));
        match from {
            Ok(from) => {
                let until = Until {
                    entry: newest,
                    from,
                    to,
                };
                return Ok((entry, until));
            }
            Err(error) if error.outcome() == Outcome::Refused => {
                reasons.push(format!("{}: {}", entry.id, error.what()));
            }
            Err(error) => return Err(error),
        }
    }
    let reasons = match reasons.is_empty() {
        true => "there is no other usable one".to_owned(),
        false => some_of(reasons),
    };
    Err(Error::refused(format!(
        "the archived log does not lead from an earlier backup to the newest one, {} ({reasons})",
        newest.id
    ))
    .hint("see drctl log and drctl list; make another backup"))
}

/// The objects of the archived log.
///
/// # Errors
/// `NothingToDo`: there are none.
pub(super) async fn list(context: &Context) -> Result<Arc<Objects>> {
    let target = &context.config.target;
    let objects = Objects::list(context.store.clone(), target.clone()).await?;
    if objects.timelines.is_empty() {
        return Err(Error::nothing(format!(
            "no binary log of {target} in {}",
            context.store.location()
        ))
        .hint("archive it with drctl stream"));
    }
    Ok(Arc::new(objects))
}
