//! Whether a restore to a later moment can begin with a backup: the only place that decides it.
//!
//! Decided by the manifest and by where each timeline begins and ends, so that it costs nothing for a backup. What lies
//! between is read only by a restore, or by `drctl log --check`.
//!
//! File names repeat in the life of a server, and so do its GTIDs after a RESET. So the place of a backup counts as
//! archived only within the time that is covered; exactly at the end of the archive the GTIDs decide. The server's clock
//! dates both, so that a backup made just before a RESET is not taken for one made behind it.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::archive::manifest::{Coordinates, Manifest};
use crate::binlog::gtid::GtidSet;
use crate::layout::{LogFile, TimelineId};
use crate::mysql::facts;
use crate::stream::coverage::Stretch;
use crate::util::times::{before, signed};

/// How long before a backup the log may have gone silent for a restore to try it: the restore compares GTIDs and
/// positions.
const SILENT: Duration = Duration::from_secs(300);

/// A place in the archived log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The timeline.
    pub timeline: TimelineId,
    /// The file.
    pub file: LogFile,
    /// Position in the server's file.
    pub position: u64,
}

/// Whether a restore to a later moment can begin with a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromHere {
    /// Its place is archived.
    Yes {
        /// The place.
        place: Place,
        /// Up to when the log behind it is archived.
        until: Timestamp,
    },
    /// The log is archived up to a time before the backup.
    NotYet {
        /// Its place, where the names and the GTIDs of what is archived fit, and the clocks may be the reason.
        place: Option<Place>,
        /// Why, for people.
        why: String,
    },
    /// Why not, for people.
    No(String),
}

/// [`FromHere`] as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Said {
    /// `yes`, `not yet` or `no`.
    from_here: &'static str,
    /// Up to when the log behind the backup is archived.
    until: Option<Timestamp>,
    /// Why not.
    why: Option<String>,
}

impl Said {
    /// `yes`, `not yet` or `no`.
    pub fn word(&self) -> &'static str {
        self.from_here
    }
}

impl FromHere {
    /// Decides about a backup.
    pub fn of(manifest: &Manifest, stretches: &[Stretch]) -> FromHere {
        let no = |why: &str| FromHere::No(why.to_owned());
        let Some(at) = &manifest.coordinates else {
            return no("its place in the binary log is not recorded");
        };
        if !at.has_gtid() {
            return no("its GTIDs are not recorded");
        }
        let backup = Backup {
            server: &manifest.server.identity,
            snapshot_at: manifest.snapshot_at,
            gtids: gtids(manifest, at),
            at,
        };
        backup.judge(stretches)
    }

    /// The place of the backup, as far as it is known to be archived, or may be.
    pub fn place(&self) -> Option<&Place> {
        match self {
            FromHere::Yes { place, .. } => Some(place),
            FromHere::NotYet { place, .. } => place.as_ref(),
            FromHere::No(_) => None,
        }
    }

    /// `yes`, `not yet` or `no`.
    pub fn word(&self) -> &'static str {
        match self {
            FromHere::Yes { .. } => "yes",
            FromHere::NotYet { .. } => "not yet",
            FromHere::No(_) => "no",
        }
    }

    /// Why not.
    pub fn why(&self) -> Option<&str> {
        match self {
            FromHere::Yes { .. } => None,
            FromHere::NotYet { why, .. } | FromHere::No(why) => Some(why),
        }
    }

    /// As JSON.
    pub fn said(&self) -> Said {
        Said {
            from_here: self.word(),
            until: match self {
                FromHere::Yes { until, .. } => Some(*until),
                _ => None,
            },
            why: self.why().map(str::to_owned),
        }
    }
}

impl std::fmt::Display for FromHere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FromHere::Yes { until, .. } => write!(f, "yes, up to {}", second(*until)),
            FromHere::NotYet { why, .. } | FromHere::No(why) => {
                write!(f, "{} ({why})", self.word())
            }
        }
    }
}

fn second(time: Timestamp) -> impl std::fmt::Display {
    time.strftime("%Y-%m-%dT%H:%M:%SZ")
}

/// The GTIDs of a backup, where its manifest has them.
fn gtids(manifest: &Manifest, at: &Coordinates) -> Option<GtidSet> {
    let set = at.gtid.as_deref()?;
    GtidSet::parse(manifest.server.flavour == "mariadb", set).ok()
}

struct Backup<'a> {
    server: &'a str,
    snapshot_at: Timestamp,
    at: &'a Coordinates,
    gtids: Option<GtidSet>,
}

impl Backup<'_> {
    fn judge(&self, stretches: &[Stretch]) -> FromHere {
        let Some(newest) = stretches.last() else {
            return FromHere::No("no binary log is archived".to_owned());
        };
        if !stretches.iter().any(|stretch| self.is_of(stretch)) {
            return FromHere::No("the archived log is another server's".to_owned());
        }
        let Ok(file) = self.at.file.parse::<LogFile>() else {
            return FromHere::No(format!("{} is no file of a binary log", self.at.file));
        };
        let mut late = None;
        // The newest timeline that began before the backup has its own files of these names.
        for stretch in stretches
            .iter()
            .rev()
            .filter(|stretch| self.may_be_in(stretch))
        {
            let place = Place {
                timeline: stretch.timeline.id,
                file: file.clone(),
                position: self.at.position,
            };
            let archived = stretch.gtid_set.as_deref();
            let here = (&file, self.at.position);
            let end = (&stretch.last_file, stretch.log_pos);
            let is_newest = stretch.timeline.id == newest.timeline.id;
            if here > end {
                if is_newest && self.covers(archived) {
                    let why = format!("the log is archived up to {} position {}", end.0, end.1);
                    late = Some(FromHere::NotYet { place: None, why });
                }
                continue;
            }
            if file < stretch.first_file || !self.is_covered_by(archived) {
                continue;
            }
            let known = self.known(archived);
            if here == end && known.is_some_and(|(ours, all)| *ours == all) {
                let until = stretch.to.max(self.snapshot_at);
                return FromHere::Yes { place, until };
            }
            if self.snapshot_at <= stretch.to {
                let until = stretch.to;
                return FromHere::Yes { place, until };
            }
            if !is_newest {
                continue;
            }
            // Here or in an earlier life of the server: the next commit or heartbeat tells.
            let near = before(self.snapshot_at, signed(SILENT)) <= stretch.to;
            late = Some(FromHere::NotYet {
                place: near.then_some(place),
                why: format!("the log is covered up to {}", second(stretch.to)),
            });
        }
        late.unwrap_or_else(|| {
            FromHere::No(format!(
                "its place, {}:{}, is not archived",
                self.at.file, self.at.position
            ))
        })
    }

    /// Whether a stretch is of the server of the backup. The account of a streamer may not see who MariaDB is; then the
    /// GTIDs have to be known.
    fn is_of(&self, stretch: &Stretch) -> bool {
        let server = &stretch.timeline.server;
        server == self.server
            || (facts::may_be_one_server(server, self.server)
                && self.known(stretch.gtid_set.as_deref()).is_some())
    }

    /// Whether a stretch is of the server of the backup, and began before it.
    fn may_be_in(&self, stretch: &Stretch) -> bool {
        self.is_of(stretch)
            && self.snapshot_at >= stretch.from
            && self.covers(stretch.timeline.gtid_set.as_deref())
    }

    /// Whether the backup has all of these transactions, as far as both are known.
    fn covers(&self, set: Option<&str>) -> bool {
        self.known(set).is_none_or(|(ours, set)| ours.covers(&set))
    }

    /// Whether all transactions of the backup are among these, as far as both are known.
    fn is_covered_by(&self, set: Option<&str>) -> bool {
        self.known(set).is_none_or(|(ours, set)| set.covers(ours))
    }

    fn known(&self, set: Option<&str>) -> Option<(&GtidSet, GtidSet)> {
        let ours = self.gtids.as_ref()?;
        let mariadb = matches!(ours, GtidSet::MariaDb(_));
        Some((ours, GtidSet::parse(mariadb, set?).ok()?))
    }
}

#[cfg(test)]
#[path = "from_here_tests.rs"]
mod tests;
