//! Where a streamer goes on, and whether anything is missing: the end of the archive against what the server says.
//!
//! | found | start |
//! |---|---|
//! | nothing archived | the file of the newest usable backup, else the oldest |
//! | same server, file there, long enough, our GTIDs executed | where the archive ends |
//! | same server, file gone, and all that is gone is archived | the oldest file, same timeline |
//! | same server, file gone | a new timeline after a gap |
//! | same server, file too short or unknown to it, or our GTIDs not executed | a new timeline: rewound |
//! | another server that has all of ours, and still the next transaction | a new timeline that continues |
//! | another server, without some of ours | a new timeline after a gap, which names them |
//! | another server that lacks the next transaction | a new timeline after a gap |
//!
//! A name alone proves nothing: every server has a `binlog.000001`. Where the archive goes on, the session first
//! reads its last events again and compares. MariaDB has no identity that every account can see, so that a server that
//! seems to be another one is asked for them, too.

use crate::binlog::gtid::GtidSet;
use crate::binlog::record::{FileEnd, Parent, Reason, Record, Timeline};
use crate::layout::LogFile;
use crate::stream::base::Base;
use crate::stream::survey::Survey;

/// The end of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The newest timeline.
    pub timeline: Timeline,
    /// Its last segment.
    pub last: Record,
    /// SHA-256 of that segment as stored.
    pub sha256: String,
    /// All of its transactions, where known.
    pub gtids: Option<GtidSet>,
}

impl End {
    /// The end, for the timeline that comes next.
    pub fn as_parent(&self) -> Parent {
        Parent {
            id: self.timeline.id,
            file: self.last.file.clone(),
            log_pos: self.last.log_pos_to,
            gtid_set: self.gtids.as_ref().map(ToString::to_string),
            covered_until: None,
        }
    }
}

/// Where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// Where the archive ends.
    Resume,
    /// At the beginning of this file, in the same timeline: it follows what is archived.
    Next(LogFile),
    /// In a new timeline.
    New(New),
}

/// A new timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct New {
    /// Why.
    pub reason: Reason,
    /// Its first file.
    pub file: LogFile,
    /// Whether nothing is missing.
    pub continues: bool,
    /// What is missing, for people.
    pub missing: Option<String>,
    /// Why this file, for people.
    pub why: String,
}

/// Decides by the table above.
pub fn decide(end: Option<&End>, survey: &Survey, base: Option<&Base>) -> Start {
    let Some(oldest) = survey.files.first() else {
        // A survey has files; without any there is nothing to read.
        return Start::Resume;
    };
    let new = |reason, missing: Option<String>| {
        Start::New(New {
            reason,
            file: oldest.name.clone(),
            continues: false,
            missing,
            why: format!("the oldest file of the server, {}", oldest.name),
        })
    };
    let Some(end) = end else {
        return first(survey, base).unwrap_or_else(|| new(Reason::First, None));
    };
    let (file, log_pos) = (&end.last.file, end.last.log_pos_to);
    let lost = end.gtids.as_ref().and_then(|ours| survey.lost(ours));
    if is_other(end, survey) {
        let may_be_same =
            survey.mariadb && survey.file(file).is_some_and(|there| there.end >= log_pos);
        return match may_be_same && lost.is_none() {
            true => Start::Resume,
            false => other_server(end, survey).unwrap_or(Start::Resume),
        };
    }
    if let Some(lost) = lost {
        let missing = format!("the server no longer has {lost}, which are archived");
        return new(Reason::Rewound, Some(missing));
    }
    // One that has executed all that is archived, and has other files, is another server of the same origin: a copy of its
    // data directory.
    let rewound = |missing: String| {
        let same_origin = another(end, survey, None);
        same_origin.unwrap_or_else(|| new(Reason::Rewound, Some(missing)))
    };
    match survey.file(file) {
        Some(there) if there.end >= log_pos => Start::Resume,
        Some(there) => rewound(format!(
            "{file} ends at {} on the server, and is archived up to {log_pos}",
            there.end
        )),
        None if *file > oldest.name => rewound(format!(
            "the server no longer has {file}, and has older files"
        )),
        None if follows(end, survey, &oldest.name) => Start::Next(oldest.name.clone()),
        None => new(Reason::Gap, Some(purged(end, survey))),
    }
}

/// Whether the server calls itself another one than the archive's.
pub fn is_other(end: &End, survey: &Survey) -> bool {
    end.timeline.server != survey.identity
}

/// Whether it may be another one, though it calls itself the same: it does not have what is archived of the last file.
pub fn may_be_another(end: &End, survey: &Survey) -> bool {
    let there = survey.file(&end.last.file);
    is_other(end, survey) || there.is_none_or(|there| there.end < end.last.log_pos_to)
}

/// Where to go on with another server; `None` if it has no log.
pub fn other_server(end: &End, survey: &Survey) -> Option<Start> {
    let lost = end.gtids.as_ref().and_then(|ours| survey.lost(ours));
    if let Some(start) = another(end, survey, lost.as_ref()) {
        return Some(start);
    }
    let oldest = survey.files.first()?;
    Some(Start::New(New {
        reason: Reason::Gap,
        file: oldest.name.clone(),
        continues: false,
        missing: Some(difference(end, survey, lost.as_ref())),
        why: format!("the oldest file of the server, {}", oldest.name),
    }))
}

/// Starts at the file in which the newest usable backup stands, if the server still has it.
fn first(survey: &Survey, base: Option<&Base>) -> Option<Start> {
    let base = base.filter(|base| base.server == survey.identity || survey.mariadb)?;
    let name: LogFile = base.coordinates.file.parse().ok()?;
    let there = survey.file(&name)?;
    let executed = base.coordinates.gtid.as_deref().is_none_or(|gtid| {
        let set = GtidSet::parse(survey.mariadb, gtid);
        set.is_ok_and(|set| survey.executed.covers(&set))
    });
    (there.end >= base.coordinates.position && executed).then(|| {
        Start::New(New {
            reason: Reason::First,
            why: format!("the file of backup {}, {name}", base.backup),
            file: name,
            continues: false,
            missing: None,
        })
    })
}

/// Goes on with another server that has executed all of ours, at its newest file that begins within it.
fn another(end: &End, survey: &Survey, lost: Option<&GtidSet>) -> Option<Start> {
    let ours = end.gtids.as_ref().filter(|ours| !ours.is_empty())?;
    // A server of MySQL that does not log what it replicates has executed it, and no file of it ever had it.
    let lacks_next = survey
        .purged
        .as_ref()
        .is_some_and(|purged| !ours.covers(purged));
    if lost.is_some() || lacks_next || end.timeline.mariadb != survey.mariadb {
        return None;
    }
    let mut starts = survey.starts.iter();
    let (file, _) = starts.find(|(_, start)| ours.covers(start))?;
    Some(Start::New(New {
        reason: Reason::Failover,
        file: file.clone(),
        continues: true,
        missing: None,
        why: format!(
            "{file} of the server {}, which has all that is archived",
            survey.identity
        ),
    }))
}

fn difference(end: &End, survey: &Survey, lost: Option<&GtidSet>) -> String {
    let mut text = format!(
        "the log of {} ends, and that of {} begins",
        end.timeline.server, survey.identity
    );
    if let Some(lost) = lost {
        text.push_str(&format!("; archived and unknown to it: {lost}"));
    }
    if let (Some(purged), Some(ours)) = (&survey.purged, &end.gtids) {
        let missing = purged.minus(ours);
        if !missing.is_empty() {
            text.push_str(&format!("; purged there and not archived: {missing}"));
        }
    }
    text
}

/// Whether the server's oldest file follows what is archived.
fn follows(end: &End, survey: &Survey, oldest: &LogFile) -> bool {
    let is_next = match &end.last.contents.ends {
        Some(FileEnd::Rotate(next)) => next == oldest,
        Some(FileEnd::Stop) => oldest.follows(&end.last.file),
        Some(FileEnd::Incident) => false,
        // After a crash the end of the file is unknown: only GTIDs tell.
        None => survey
            .purged
            .as_ref()
            .is_some_and(|purged| !purged.is_empty()),
    };
    let purged = survey.purged.as_ref().zip(end.gtids.as_ref());
    is_next && purged.is_none_or(|(purged, ours)| ours.covers(purged))
}

fn purged(end: &End, survey: &Survey) -> String {
    let (file, log_pos) = (&end.last.file, end.last.log_pos_to);
    let missing = match (&survey.purged, &end.gtids) {
        (Some(purged), Some(ours)) => purged.minus(ours).to_string(),
        _ => String::new(),
    };
    let oldest = survey.files.first().map(|file| file.name.to_string());
    let oldest = oldest.unwrap_or_default();
    let files = format!("from {file} position {log_pos} to the beginning of {oldest}");
    match missing.is_empty() {
        true => format!("purged before it was archived: {files}"),
        false => format!("purged before it was archived: {missing}, {files}"),
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::archive::manifest::Coordinates;
    use crate::binlog::fixture;
    use crate::binlog::record::Contents;
    use crate::catalog::clock::Ahead;
    use crate::stream::survey::ServerFile;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn set(text: &str) -> GtidSet {
        GtidSet::parse(false, &text.replace('A', A)).unwrap()
    }

    fn end(gtids: Option<&str>, ends: Option<FileEnd>) -> End {
        let id = "20261129T222310Z-3f9a".parse().unwrap();
        End {
            timeline: fixture::timeline(id),
            last: Record {
                contents: Contents {
                    ends,
                    ..Contents::default()
                },
                ..fixture::record(id, fixture::file(5))
            },
            sha256: String::new(),
            gtids: gtids.map(set),
        }
    }

    fn survey(files: &[(u64, u64)], executed: &str, purged: &str) -> Survey {
        let file = |(number, end): &(u64, u64)| ServerFile {
            name: fixture::file(*number),
            end: *end,
        };
        Survey {
            identity: "mysql:a".into(),
            version: "9.7.4".into(),
            mariadb: false,
            files: files.iter().map(file).collect(),
            executed: set(executed),
            purged: Some(set(purged)),
            logged: Default::default(),
            replicated: set(""),
            strays: set(""),
            starts: Vec::new(),
            ahead: Ahead {
                least: SignedDuration::ZERO,
                most: SignedDuration::ZERO,
            },
            at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    fn said(start: &Start) -> String {
        match start {
            Start::Resume => "resume".into(),
            Start::Next(file) => format!("next {file}"),
            Start::New(new) => format!("{} {} {}", new.reason, new.file, new.continues),
        }
    }

    #[test]
    fn the_archive_goes_on_only_where_the_server_has_what_is_archived() {
        let rotate = Some(FileEnd::Rotate("b.000006".parse().unwrap()));
        for (gtids, ends, files, executed, purged, start) in [
            (
                Some("A:1-10"),
                None,
                &[(5, 1000)][..],
                "A:1-10",
                "",
                "resume",
            ),
            (
                Some("A:1-10"),
                None,
                &[(4, 9), (5, 2000), (6, 4)],
                "A:1-20",
                "",
                "resume",
            ),
            // A crash lost a tail; RESET; a data directory from elsewhere.
            (
                Some("A:1-10"),
                None,
                &[(5, 900), (6, 200)],
                "A:1-9",
                "",
                "rewound b.000005 false",
            ),
            (
                Some("A:1-10"),
                None,
                &[(1, 200)],
                "A:1-3",
                "",
                "rewound b.000001 false",
            ),
            (
                None,
                None,
                &[(5, 900), (6, 200)],
                "",
                "",
                "rewound b.000005 false",
            ),
            (None, None, &[(1, 9000)], "", "", "rewound b.000001 false"),
            // Purged.
            (
                Some("A:1-10"),
                rotate.clone(),
                &[(6, 900)],
                "A:1-30",
                "A:1-10",
                "next b.000006",
            ),
            (
                Some("A:1-10"),
                Some(FileEnd::Stop),
                &[(6, 900)],
                "A:1-30",
                "A:1-10",
                "next b.000006",
            ),
            (
                Some("A:1-10"),
                None,
                &[(6, 900)],
                "A:1-30",
                "A:1-10",
                "next b.000006",
            ),
            (
                Some("A:1-10"),
                rotate.clone(),
                &[(7, 900)],
                "A:1-30",
                "A:1-20",
                "gap b.000007 false",
            ),
            (
                Some("A:1-10"),
                None,
                &[(6, 900)],
                "A:1-30",
                "A:1-11",
                "gap b.000006 false",
            ),
            (None, None, &[(6, 900)], "", "", "gap b.000006 false"),
        ] {
            let (end, survey) = (end(gtids, ends), survey(files, executed, purged));
            let decided = decide(Some(&end), &survey, None);
            assert_eq!(said(&decided), start, "{end:?} {survey:?}");
        }
    }

    #[test]
    fn another_server_continues_only_with_all_that_is_archived_and_the_next() {
        let ours = end(Some("A:1-10"), None);
        let mut there = survey(&[(5, 2000), (6, 300)], "A:1-20", "A:1-4");
        there.identity = "mysql:b".into();
        there.starts = vec![
            ("b.000006".parse().unwrap(), set("A:1-15")),
            ("b.000005".parse().unwrap(), set("A:1-4")),
        ];
        let decided = decide(Some(&ours), &there, None);
        assert_eq!(said(&decided), "failover b.000005 true");
        there.starts.pop();
        there.purged = Some(set("A:1-12"));
        let Start::New(new) = decide(Some(&ours), &there, None) else {
            panic!("another server is never resumed");
        };
        assert_eq!((new.reason, new.continues), (Reason::Gap, false));
        let missing = new.missing.unwrap();
        assert!(
            missing.ends_with(&format!("not archived: {A}:11-12")),
            "{missing}"
        );
    }

    #[test]
    fn another_server_that_never_logged_what_it_replicated_does_not_continue() {
        let ours = end(Some("A:1-10"), None);
        let mut there = survey(&[(1, 2000)], "A:1-15", "A:1-15");
        there.identity = "mysql:b".into();
        there.starts = vec![("b.000001".parse().unwrap(), set(""))];
        let Start::New(new) = decide(Some(&ours), &there, None) else {
            panic!("another server is never resumed");
        };
        assert_eq!((new.reason, new.continues), (Reason::Gap, false));
        let missing = new.missing.unwrap();
        assert!(missing.ends_with(&format!("{A}:11-15")), "{missing}");
    }

    #[test]
    fn a_number_of_mariadb_counts_only_with_its_server() {
        let set = |text| GtidSet::parse(true, text).unwrap();
        let mut ours = end(None, None);
        ours.timeline.mariadb = true;
        ours.gtids = Some(set("0-1-103,2-7-5"));
        let mut there = survey(&[(1, 2000)], "", "");
        (there.identity, there.mariadb, there.purged) = ("mariadb:b".into(), true, None);
        (there.replicated, there.strays) = (set(""), set(""));
        there.starts = vec![("b.000001".parse().unwrap(), set("0-1-90,2-7-5"))];
        let mut of = |executed, logged: &[((u32, u32), u64)], replicated, strays| {
            there.executed = set(executed);
            there.logged = logged.iter().copied().collect();
            (there.replicated, there.strays) = (set(replicated), set(strays));
            match decide(Some(&ours), &there, None) {
                Start::New(new) => (new.continues, new.missing.unwrap_or_default()),
                other => panic!("{other:?}"),
            }
        };
        let of_two = ((2, 7), 5);
        let (continues, _) = of(
            "0-2-110,2-7-5",
            &[((0, 1), 103), ((0, 2), 110), of_two],
            "",
            "",
        );
        assert!(continues);
        // Promoted without the last three, and its own have their numbers.
        let (continues, missing) = of(
            "0-2-110,2-7-5",
            &[((0, 1), 100), ((0, 2), 110), of_two],
            "",
            "",
        );
        assert!(
            !continues && missing.ends_with("unknown to it: 0-1-103"),
            "{missing}"
        );
        // The first server came back by then: its number is beyond, and its log does not have ours.
        let logged = [((0, 1), 111), ((0, 2), 110), of_two];
        let (continues, missing) = of("0-1-111,2-7-5", &logged, "", "0-1-103");
        assert!(
            !continues && missing.ends_with("unknown to it: 0-1-103"),
            "{missing}"
        );
        // A standby that was built at the end of the archive has logged nothing of it.
        let (continues, _) = of("0-9-110", &[((0, 9), 110)], "0-1-103,2-7-5", "");
        assert!(continues);
        let (continues, _) = of("0-9-110", &[((0, 9), 110)], "0-1-104,2-7-5", "");
        assert!(!continues, "built behind the end");
    }

    #[test]
    fn the_first_start_is_at_the_newest_backup_if_its_file_is_there() {
        let base = |server: &str, file: &str, position, gtid: &str| Base {
            backup: "20261121T020000Z-3f9a1c".into(),
            server: server.into(),
            coordinates: Coordinates {
                file: file.into(),
                position,
                gtid: Some(set(gtid).to_string()),
                gtid_in_index: false,
            },
        };
        let survey = survey(&[(4, 9), (5, 2000), (6, 4)], "A:1-20", "");
        for (base, start) in [
            (
                base("mysql:a", "b.000005", 2000, "A:1-3"),
                "first b.000005 false",
            ),
            (
                base("mysql:a", "b.000005", 2001, "A:1-3"),
                "first b.000004 false",
            ),
            (
                base("mysql:a", "b.000003", 4, "A:1-3"),
                "first b.000004 false",
            ),
            (
                base("mysql:b", "b.000005", 4, "A:1-3"),
                "first b.000004 false",
            ),
            (
                base("mysql:a", "b.000005", 4, "A:1-21"),
                "first b.000004 false",
            ),
        ] {
            assert_eq!(said(&decide(None, &survey, Some(&base))), start, "{base:?}");
        }
    }
}
