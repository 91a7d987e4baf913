//! The archived binary log: segments in their order, each with the chain that leads to it, then the records that vouch
//! for them.
//!
//! `timeline.json`, the segments of a file, its `closed.json`, the next file, and at the end `head.json`, which was read
//! before anything was listed: what it says is in the second store by then. A record is written behind its signature.
//! Killed at any moment, what is there is a shorter log, never a damaged one.
//!
//! A timeline stops at the first object that is wrong; the others go on.

use std::sync::Arc;

use bytes::Bytes;

use crate::binlog::record::Head;
use crate::copy::Tally;
use crate::copy::ends::{Ends, damaged, is_of_one_object, of_primary, of_second};
use crate::copy::object;
use crate::copy::timeline::{Last, TimelineCopy};
use crate::layout::{LogFile, LogObject, TimelineId};
use crate::store::{MOST_RECORD_BYTES, Store, StoreError};
use crate::stream::check::check_end;
use crate::stream::objects::{Objects, TimelineObjects};
use crate::{Outcome, Result};

/// The log of a target, as far as it was copied by this process.
#[derive(Debug, Default)]
pub struct LogCopy {
    /// The last segment that is in both stores; later passes list nothing before it. `None` before the first pass.
    reached: Option<Last>,
    /// The heartbeat that the second store has.
    head: Option<Bytes>,
    /// Whether RESTORE.txt is there.
    has_readme: bool,
}

/// Copies what the primary store has of the log. What is wrong with single objects is noted in `tally`.
///
/// # Errors
/// `Store`: one of the stores failed.
pub async fn copy(ends: &Ends, state: &mut LogCopy, tally: &mut Tally) -> Result<()> {
    let head = match head(ends).await {
        // The next heartbeat replaces it; the segments do not depend on it.
        Err(error) if is_of_one_object(&error) => {
            tally.failed(error);
            None
        }
        head => head?,
    };
    let source = ends.cancel.unless(list_source(ends, state)).await?;
    if source.timelines.is_empty() {
        return Ok(());
    }
    tally.has_log = true;
    let there = match &state.reached {
        // Everything before it is there, and nothing behind it.
        Some(_) => Objects::none(ends.second.clone(), ends.target.clone()),
        None => {
            let listed = Objects::list(ends.second.clone(), ends.target.clone());
            let listed = async { listed.await.map_err(of_second) };
            ends.cancel.unless(listed).await?
        }
    };
    if !state.has_readme && source.has_readme {
        copy_readme(ends, there.has_readme).await?;
        state.has_readme = true;
    }
    let mut ended = None;
    let mut stopped = Vec::new();
    for (&id, timeline) in &source.timelines {
        let reached = state.reached.as_ref();
        let last = reached.filter(|last| last.record.timeline == id).cloned();
        let mut copier = TimelineCopy {
            ends,
            id,
            there: there.timelines.get(&id),
            last,
            tally: &mut *tally,
        };
        let done = match deleted_there(&there, id, timeline) {
            Some(rest) => copier.copy(&rest).await,
            None => Ok(()),
        };
        let last = copier.last.take();
        if let Some(last) = last {
            ended = Some((id, last.record.file.clone(), last.record.log_pos_to));
            // A timeline that stopped is listed again from the beginning.
            if done.is_ok() && stopped.is_empty() {
                state.reached = Some(last);
            }
        }
        match done {
            Ok(()) => {}
            Err(error) if is_of_one_object(&error) || error.outcome() == Outcome::Refused => {
                stopped.push(id);
                match was_pruned(ends, id, timeline).await? {
                    true => {
                        tracing::info!(%id, "the primary store deleted files of the log meanwhile");
                    }
                    false => tally.failed(error),
                }
            }
            Err(error) => return Err(error),
        }
    }
    if !stopped.is_empty() {
        state.reached = None;
    }
    let Some((bytes, head)) = head.filter(|(_, head)| !stopped.contains(&head.timeline)) else {
        return Ok(());
    };
    let end = ended
        .filter(|(id, ..)| *id == head.timeline)
        .map(|(_, file, log_pos)| (file, log_pos));
    // A timeline of which retention has left nothing there says nothing of its end.
    if end.is_some()
        && let Err(error) = check_end(head.timeline, Some(&head), end)
    {
        tally.failed(of_primary(error));
        return Ok(());
    }
    put_head(ends, state, bytes).await
}

/// Whether retention of the primary store has deleted files of a timeline since it was listed.
async fn was_pruned(ends: &Ends, id: TimelineId, listed: &TimelineObjects) -> Result<bool> {
    let list = Objects::list(ends.primary.clone(), ends.target.clone());
    let list = async { list.await.map_err(of_primary) };
    let now = ends.cancel.unless(list).await?;
    let first = |timeline: &TimelineObjects| timeline.files.keys().next().cloned();
    Ok(now.timelines.get(&id).and_then(first) > first(listed) || !now.timelines.contains_key(&id))
}

/// The heartbeat of the primary store, and its bytes; `None` before the first.
async fn head(ends: &Ends) -> Result<Option<(Bytes, Head)>> {
    let key = ends.target.log_object(&LogObject::Head);
    let read = async { Ok(ends.primary.get_at_most(&key, MOST_RECORD_BYTES).await) };
    match ends.cancel.unless(read).await? {
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(head) => Ok(Some((bytes, head))),
            Err(_) => Err(damaged(&key, "cannot be read")),
        },
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(of_primary(error)),
    }
}

/// The heartbeat is the only object of the log that is rewritten.
async fn put_head(ends: &Ends, state: &mut LogCopy, bytes: Bytes) -> Result<()> {
    if state.head.as_ref() == Some(&bytes) {
        return Ok(());
    }
    let key = ends.target.log_object(&LogObject::Head);
    let put = async {
        ends.second
            .put(&key, bytes.clone())
            .await
            .map_err(of_second)
    };
    ends.cancel.unless(put).await?;
    state.head = Some(bytes);
    Ok(())
}

async fn copy_readme(ends: &Ends, is_there: bool) -> Result<()> {
    let key = ends.target.log_object(&LogObject::Readme);
    if is_there {
        return Ok(());
    }
    let read = async {
        let read = ends.primary.get_at_most(&key, MOST_RECORD_BYTES).await;
        read.map_err(of_primary)
    };
    let bytes = ends.cancel.unless(read).await?;
    object::put(ends, &key, bytes).await.map(drop)
}

/// Lists the log of the primary store, from the segment on that was reached.
async fn list_source(ends: &Ends, state: &LogCopy) -> Result<Objects> {
    let (store, target) = (ends.primary.clone(), ends.target.clone());
    let Some(last) = &state.reached else {
        return Objects::list(store, target).await.map_err(of_primary);
    };
    list_behind(store, ends, last).await.map_err(of_primary)
}

async fn list_behind(store: Arc<dyn Store>, ends: &Ends, last: &Last) -> Result<Objects> {
    let target = &ends.target;
    let (reached, reached_file) = (last.record.timeline, &last.record.file);
    let mut objects = Objects::none(store.clone(), target.clone());
    for name in store.folders(&target.log()).await? {
        let Ok(id) = name.parse::<TimelineId>() else {
            continue;
        };
        if id < reached {
            continue;
        }
        if id == reached {
            objects.timelines.entry(id).or_default();
        }
        for name in store.folders(&target.timeline(id)).await? {
            let Ok(file) = name.parse::<LogFile>() else {
                continue;
            };
            let prefix = target.log_file(id, &file);
            let listed = match (id, &file) == (reached, reached_file) {
                true => store.list_after(&prefix, &last.key).await?,
                false if id == reached && file < *reached_file => continue,
                false => store.list(&prefix).await?,
            };
            for meta in listed {
                objects.add(&meta);
            }
        }
    }
    for timeline in objects.timelines.values_mut() {
        timeline.begun = true;
    }
    Ok(objects)
}

/// The files of a timeline that are to be in the second store: not those in front of what its retention has left.
/// `None` if none is.
fn deleted_there(
    there: &Objects,
    id: TimelineId,
    timeline: &TimelineObjects,
) -> Option<TimelineObjects> {
    let partly = there.partly_deleted.iter();
    let deleted = partly.map(|(id, file, _)| (*id, file)).max();
    let kept = there.timelines.iter().find_map(|(id, timeline)| {
        let first = timeline.files.keys().next()?;
        Some((*id, first))
    });
    let is_wanted =
        |file: &LogFile| Some((id, file)) > deleted && kept.is_none_or(|kept| (id, file) >= kept);
    let mut rest = timeline.clone();
    rest.files.retain(|file, _| is_wanted(file));
    // With an empty list the timeline that was reached may still be idle.
    (!rest.files.is_empty() || timeline.files.is_empty()).then_some(rest)
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
