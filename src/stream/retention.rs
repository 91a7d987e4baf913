//! Which files of the archived log retention deletes: whole files of which no backup that counts needs a byte.
//!
//! The decision is pure. A file is deleted so that the log is shorter at every moment, never damaged, and never said to
//! cover more than it does: the oldest files first, of each `closed.json`, then its first segment, from when on the file
//! counts as deleted ([`Objects`]), then the others; `timeline.json` when all files of a timeline are gone. The last
//! file of the newest timeline, which a streamer may be writing, is never among them.

use futures_util::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};

use crate::Result;
use crate::layout::{BackupId, LogFile, LogObject, TimelineId};
use crate::store::{Deleted, StoreError};
use crate::stream::from_here::Place;
use crate::stream::objects::{FileObjects, Objects};
use crate::util::format::span;
use crate::util::times::before;

/// Segments that are deleted at once.
const DELETES_AT_ONCE: usize = 16;

/// A backup that stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Its id.
    pub id: BackupId,
    /// Time of its snapshot.
    pub snapshot_at: Timestamp,
    /// Its place in the archived log; `None` if it has none.
    pub place: Option<Place>,
    /// Whether it is usable and failed no drill: a restore to a moment may begin with it.
    pub sound: bool,
    /// Whether it was ever verified.
    pub verified: bool,
    /// Whether a pin alone keeps it.
    pub only_pinned: bool,
    /// Whether a restore or drill reads it now.
    pub in_use: bool,
}

/// From where on the log is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The place of the backup that needs it.
    pub from: Place,
    /// That backup, and the rule, for people.
    pub why: String,
}

/// Decides from where on the log is kept: from the oldest place of
///
/// - the sound backups of the window, but those that a pin alone keeps,
/// - the newest verified backup, whatever its age,
/// - the newest sound one,
/// - those that are being read.
///
/// # Errors
/// Why all of it is kept.
pub fn decide(
    bases: &[Base],
    window: Option<SignedDuration>,
    now: Timestamp,
) -> std::result::Result<Kept, String> {
    let window = window.ok_or("retention.log_days is 0")?;
    let since = before(now, window);
    let newest = |which: &dyn Fn(&&Base) -> bool| {
        let those = bases.iter().filter(which);
        those
            .max_by_key(|base| base.snapshot_at)
            .map(|base| base.id)
    };
    let verified = newest(&|base| base.sound && base.verified);
    let sound = newest(&|base| base.sound);
    let rule = |base: &Base| {
        let is_recent = base.sound && !base.only_pinned && base.snapshot_at >= since;
        let id = Some(base.id);
        is_recent
            .then(|| format!("the oldest of the last {}", span(window)))
            .or((id == verified).then(|| "the newest verified".to_owned()))
            .or((id == sound).then(|| "the newest".to_owned()))
            .or(base
                .in_use
                .then(|| "in use by a restore or drill".to_owned()))
    };
    let needed = bases.iter().filter_map(|base| {
        let (place, rule) = (base.place.clone()?, rule(base)?);
        Some((place, base.id, rule))
    });
    let oldest = needed.min_by(|one, other| one.0.cmp(&other.0));
    let (from, id, rule) = oldest.ok_or("no backup that counts lies in the archived log")?;
    let why = format!("backup {id}, {rule}");
    Ok(Kept { from, why })
}

/// A file that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doomed {
    /// Its timeline.
    pub timeline: TimelineId,
    /// Its name.
    pub file: LogFile,
    /// What is left of it.
    pub objects: FileObjects,
}

/// The files in front of what is kept, oldest first; also those whose deletion was interrupted.
pub async fn doomed(objects: &mut Objects, kept: &Kept) -> Result<Vec<Doomed>> {
    let from = (&kept.from.timeline, &kept.from.file);
    let whole = objects.timelines.iter().flat_map(|(id, timeline)| {
        let names = timeline.files.keys();
        names
            .filter(move |name| (id, *name) < from)
            .map(|name| (*id, name.clone()))
    });
    let whole: Vec<(TimelineId, LogFile)> = whole.collect();
    let partly = objects.partly_deleted.iter();
    let mut doomed: Vec<Doomed> = partly
        .filter(|(id, name, _)| (id, name) < from)
        .map(|(id, name, objects)| Doomed {
            timeline: *id,
            file: name.clone(),
            objects: objects.clone(),
        })
        .collect();
    for (timeline, file) in whole {
        objects.add_file(timeline, &file).await?;
        let listed = objects.timelines.get(&timeline);
        let listed = listed
            .and_then(|timeline| timeline.files.get(&file))
            .cloned();
        doomed.push(Doomed {
            timeline,
            file,
            objects: listed.unwrap_or_default(),
        });
    }
    doomed.sort_by(|one, other| (one.timeline, &one.file).cmp(&(other.timeline, &other.file)));
    Ok(doomed)
}

/// Timelines of which nothing is left, or will be, once the files in front of what is kept are gone.
pub fn ended(objects: &Objects, kept: &Kept) -> Vec<TimelineId> {
    let ids = objects.timelines.keys().chain(&objects.empty).copied();
    let mut ids: Vec<TimelineId> = ids.filter(|id| *id < kept.from.timeline).collect();
    ids.sort();
    ids
}

/// Deletes a file; whether a versioned bucket only hid it.
///
/// # Errors
/// If the first segment is still there, no later file of the timeline may be deleted.
pub async fn remove(objects: &Objects, doomed: &Doomed) -> Result<Deleted, StoreError> {
    let (id, name) = (doomed.timeline, &doomed.file);
    let delete = |object: LogObject| async move {
        let key = objects.target.log_object(&object);
        objects.store.delete(&key).await
    };
    if doomed.objects.closed {
        delete(LogObject::Closed(id, name.clone())).await?;
    }
    if doomed.objects.signed {
        let closed = LogObject::Closed(id, name.clone());
        delete(closed.signature()).await?;
    }
    let mut segments = doomed.objects.segments.keys().copied();
    let Some(first) = segments.next() else {
        return Ok(Deleted::Gone);
    };
    let segment = |from| doomed.objects.segment(id, name, from);
    let deleted = delete(segment(first)).await?;
    let rest = segments.map(|from| delete(segment(from)));
    let mut rest = stream::iter(rest).buffer_unordered(DELETES_AT_ONCE);
    let mut failed = None;
    while let Some(deleted) = rest.next().await {
        failed = failed.or(deleted.err());
    }
    match failed {
        None => Ok(deleted),
        Some(error) => Err(error),
    }
}

/// Deletes the record of a timeline of which nothing else is left.
pub async fn remove_timeline(objects: &Objects, id: TimelineId) -> Result<(), StoreError> {
    let timeline = LogObject::Timeline(id);
    for object in [timeline.signature(), timeline] {
        let key = objects.target.log_object(&object);
        objects.store.delete(&key).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "20261101T000000Z-0001";
    const NEW: &str = "20261115T000000Z-0002";

    fn now() -> Timestamp {
        "2026-11-30T00:00:00Z".parse().unwrap()
    }

    fn days_ago(days: i64) -> Timestamp {
        now() - SignedDuration::from_hours(24 * days)
    }

    /// A sound backup of so many days ago, at the beginning of a file.
    fn base(days: i64, at: Option<(&str, u32)>) -> Base {
        Base {
            id: BackupId::new(days_ago(days), 1),
            snapshot_at: days_ago(days),
            place: at.map(|(timeline, number)| Place {
                timeline: timeline.parse().unwrap(),
                file: format!("b.{number:06}").parse().unwrap(),
                position: 4,
            }),
            sound: true,
            verified: false,
            only_pinned: false,
            in_use: false,
        }
    }

    fn decided(bases: &[Base], days: Option<i64>) -> String {
        let window = days.map(|days| SignedDuration::from_hours(24 * days));
        match decide(bases, window, now()) {
            Ok(kept) => {
                let rule = kept.why.split_once(", ").unwrap().1.to_owned();
                format!("{} {rule}", kept.from.file)
            }
            Err(why) => format!("all: {why}"),
        }
    }

    #[test]
    fn the_log_is_kept_from_the_oldest_backup_that_counts() {
        let verified = |base: Base| Base {
            verified: true,
            ..base
        };
        let pinned = |base: Base| Base {
            only_pinned: true,
            ..base
        };
        let unsound = |base: Base| Base {
            sound: false,
            ..base
        };
        let read = |base: Base| Base {
            in_use: true,
            ..base
        };
        let at = |number| Some((NEW, number));
        for (bases, days, kept) in [
            // The window.
            (
                vec![base(9, at(1)), base(6, at(3)), base(1, at(5))],
                Some(7),
                "b.000003 the oldest of the last 7 d",
            ),
            (
                vec![base(1, at(5)), base(9, at(1)), base(6, at(3))],
                Some(7),
                "b.000003 the oldest of the last 7 d",
            ),
            (
                vec![base(9, at(1)), base(6, at(3))],
                Some(30),
                "b.000001 the oldest of the last 30 d",
            ),
            // The newest verified and the newest, whatever their age.
            (
                vec![verified(base(20, at(1))), base(1, at(5))],
                Some(7),
                "b.000001 the newest verified",
            ),
            (
                vec![verified(base(20, at(1))), verified(base(1, at(5)))],
                Some(7),
                "b.000005 the oldest of the last 7 d",
            ),
            (
                vec![base(20, at(1)), base(9, at(2))],
                Some(7),
                "b.000002 the newest",
            ),
            // A later failure: it is not verified by all that is known.
            (
                vec![unsound(verified(base(20, at(1)))), base(1, at(5))],
                Some(7),
                "b.000005 the oldest of the last 7 d",
            ),
            (
                vec![unsound(base(2, at(2))), base(1, at(5))],
                Some(7),
                "b.000005 the oldest of the last 7 d",
            ),
            // A pin alone keeps none, a drill that runs does.
            (
                vec![pinned(base(3, at(2))), base(1, at(5))],
                Some(7),
                "b.000005 the oldest of the last 7 d",
            ),
            (
                vec![read(base(30, at(1))), base(1, at(5))],
                Some(7),
                "b.000001 in use by a restore or drill",
            ),
            // Other timelines: by their order, not by the names of their files.
            (
                vec![base(6, Some((OLD, 9))), base(1, at(2))],
                Some(7),
                "b.000009 the oldest of the last 7 d",
            ),
            // Those that are not in the log keep none of it.
            (
                vec![base(6, None), base(1, at(5))],
                Some(7),
                "b.000005 the oldest of the last 7 d",
            ),
            (
                vec![base(6, None)],
                Some(7),
                "all: no backup that counts lies in the archived log",
            ),
            (
                vec![],
                Some(7),
                "all: no backup that counts lies in the archived log",
            ),
            (
                vec![unsound(base(1, at(5)))],
                Some(7),
                "all: no backup that counts lies in the archived log",
            ),
            (vec![base(1, at(5))], None, "all: retention.log_days is 0"),
        ] {
            assert_eq!(decided(&bases, days), kept, "{bases:?}");
        }
    }
}
