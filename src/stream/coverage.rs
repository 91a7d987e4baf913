//! Covered stretches of the archived log, and the gaps between them.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use crate::binlog::record::{Head, Record, Timeline};
use crate::binlog::segment;
use crate::layout::{LogFile, TargetName};
use crate::store::Store;
use crate::stream::objects::Objects;
use crate::{Outcome, Result};

/// One timeline: an unbroken stretch.
#[derive(Debug, Clone)]
pub struct Stretch {
    /// Why and where it began.
    pub timeline: Timeline,
    /// Its first file that retention has not deleted; all files up to the last one are archived.
    pub first_file: LogFile,
    /// Its last file.
    pub last_file: LogFile,
    /// Position of the end of what is archived, in the server's last file.
    pub log_pos: u64,
    /// All transactions archived, where known.
    pub gtid_set: Option<String>,
    /// From when on every commit is archived.
    pub from: Timestamp,
    /// Up to when.
    pub to: Timestamp,
}

/// What is not archived between two stretches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The end of what is archived before it.
    pub from: Timestamp,
    /// The beginning of what is archived behind it.
    pub to: Timestamp,
    /// What is missing, for people.
    pub missing: String,
}

/// The stretches, oldest first, from the names of the log's folders and its first and last records: costs nothing more
/// for a longer log.
pub async fn outline(store: &Arc<dyn Store>, target: &TargetName) -> Result<Vec<Stretch>> {
    let read = || async {
        let objects = Objects::outline(store.clone(), target.clone()).await?;
        stretches(&objects).await
    };
    match read().await {
        // Retention may have deleted what was listed.
        Err(error) if error.outcome() == Outcome::Archive => read().await,
        read => read,
    }
}

/// The stretches, oldest first, from their first and last records.
pub async fn stretches(objects: &Objects) -> Result<Vec<Stretch>> {
    if objects.timelines.is_empty() {
        return Ok(Vec::new());
    }
    let head = objects.head().await?;
    let mut stretches = Vec::new();
    for (&id, timeline) in &objects.timelines {
        let mut all = timeline.all();
        let Some((file, from)) = all.next() else {
            continue;
        };
        if from != 0 {
            let key = objects.target.log_file(id, file);
            return Err(segment::broken(&key, "its beginning is missing"));
        }
        let first = objects.record(id, file, from).await?;
        let last = match all.next_back() {
            Some((file, from)) => objects.record(id, file, from).await?,
            None => first.clone(),
        };
        let from = first.contents.first_at.unwrap_or(id.began());
        stretches.push(Stretch {
            from,
            to: covered_until(head.as_ref(), &last)
                .unwrap_or(from)
                .max(from),
            timeline: objects.timeline(id).await?,
            first_file: first.file,
            last_file: last.file,
            log_pos: last.log_pos_to,
            gtid_set: last.gtid_set,
        });
    }
    Ok(stretches)
}

/// The servers whose log goes on in that of a server without a gap, by the archived log: it has executed all that they had
/// logged, as a standby that was promoted has.
pub fn predecessors(stretches: &[Stretch], server: &str) -> BTreeSet<String> {
    let all = stretches.iter().map(|stretch| &stretch.timeline);
    let mut back = all.rev().skip_while(|timeline| timeline.server != server);
    let mut servers = BTreeSet::new();
    let mut newer = back.next();
    while let Some(timeline) = newer.filter(|timeline| timeline.continues) {
        let before = timeline.parent.as_ref().map(|parent| parent.id);
        newer = back.find(|older| Some(older.id) == before);
        servers.extend(newer.map(|older| older.server.clone()));
    }
    servers.remove(server);
    servers
}

/// Up to when every commit is in the segments up to this last one.
pub(super) fn covered_until(head: Option<&Head>, last: &Record) -> Option<Timestamp> {
    let contents = &last.contents;
    let by_commit = last.covered_by_commits().or(contents.first_at);
    // The heartbeat of an idle server says more, of exactly this place.
    let here = head.filter(|head| {
        (head.timeline, &head.file, head.log_pos) == (last.timeline, &last.file, last.log_pos_to)
    });
    by_commit.max(here.and_then(|head| head.covered_until))
}

impl Stretch {
    /// The gap between the stretch before and this one.
    pub fn gap_after(&self, before: Option<&Stretch>) -> Option<Gap> {
        let before = before?;
        (!self.timeline.continues).then(|| Gap {
            from: before.to,
            to: self.from.max(before.to),
            missing: self.timeline.missing.clone().unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::record::{FORMAT, Parent, Reason};
    use crate::layout::TimelineId;

    fn stretch(day: u8, server: &str, before: Option<&Stretch>, continues: bool) -> Stretch {
        let id: TimelineId = format!("202611{day:02}T020000Z-00ab").parse().unwrap();
        let file: LogFile = "binlog.000001".parse().unwrap();
        Stretch {
            timeline: Timeline {
                format: FORMAT,
                id,
                reason: Reason::Failover,
                server: server.to_owned(),
                version: "9.7".to_owned(),
                mariadb: false,
                file: file.clone(),
                gtid_set: None,
                parent: before.map(|before| Parent {
                    id: before.timeline.id,
                    file: file.clone(),
                    log_pos: 4,
                    gtid_set: None,
                    covered_until: None,
                }),
                continues,
                missing: None,
                target: None,
            },
            first_file: file.clone(),
            last_file: file,
            log_pos: 4,
            gtid_set: None,
            from: id.began(),
            to: id.began(),
        }
    }

    #[test]
    fn a_server_succeeds_those_whose_log_goes_on_in_its_own() {
        let first = stretch(1, "a", None, false);
        let second = stretch(2, "b", Some(&first), true);
        let third = stretch(3, "c", Some(&second), true);
        let gap = stretch(4, "d", Some(&third), false);
        let last = stretch(5, "e", Some(&gap), true);
        let all = [first, second, third, gap, last];
        let of = |server: &str| {
            let servers = predecessors(&all, server);
            servers.into_iter().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of("a"), "");
        assert_eq!(of("c"), "a b");
        assert_eq!(of("d"), "", "part of the log is missing");
        assert_eq!(of("e"), "d");
        assert_eq!(of("unknown"), "");
    }
}
