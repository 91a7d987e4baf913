//! Names of objects in the store. Only this module builds and parses them.
//!
//! ```text
//! <target>/target.json                               identity of the target, written once
//!         /copying.json                              in a second store: the lease of the copier
//!         /standby.json                              in a second store: the state of the standby
//!         /runs/<time>-<verb>-<exit>.json            run records
//!         /summaries/<time>-<random>-<level>.jsonl.zst   manifests, many in one object
//!         /<backup id>/dump.sql.zst                  the archive, continued in dump.sql.zst.001, …
//!                     /accounts.sql.zst              CREATE USER and GRANT
//!                     /index.jsonl.zst               frames, ledger, inventory
//!                     /SHA256SUMS, RESTORE.txt       for a restore without drctl
//!                     /….age                         data, if they are encrypted: dump.sql.zst.age
//!                     /manifest.json.sig             the signature of the commit record, if it is signed
//!                     /manifest.json                 the commit record, written last
//!                     /running.json                  the heartbeat of a backup in progress
//!                     /accepted, pin                 markers set by an operator
//!                     /reading/<time>-<random>.json   the lease of a restore or drill that reads the backup
//!                     /pruned/<time>-<trusted|suspect>.json  commit time of a backup deleted by retention
//!                     /drills/<time>-<level>-<pass|fail|missed|broken>.json
//!         /log/                                      the archived binary log: [`log`]
//!         /leader/                                   which side is writable: [`lease`]
//! ```
//!
//! Times are UTC to the second, `20261121T020000Z`, so names sort by time. A segment's number comes *after*
//! its suffix, so that a shell's `dump.sql.zst*` lists the segments in order.

pub mod lease;
pub mod log;
mod object;
mod summary;

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

pub use lease::{Epoch, LeaseObject};
pub use log::{LogFile, LogObject, TimelineId};
pub use object::{BackupObject, DrillLevel, DrillName, DrillVerdict, RunName, Suffix};
pub use summary::{MAX_SUMMARY_LEVEL, SummaryName};

use crate::{Error, Result};

/// Name of an object below the store's root: `shop/20261121T020000Z-3f9a1c/manifest.json`.
pub type Key = String;

/// Maximum length of a key: S3's limit.
pub const MAX_KEY_BYTES: usize = 1024;

/// Prefix of temporary files in a directory store; no object name may begin with it.
pub const TEMPORARY: &str = ".drctl-tmp-";

/// Highest segment number; 1,000 segments in all.
pub const MAX_SEGMENT: u16 = 999;

const TIME: &str = "%Y%m%dT%H%M%SZ";
const TIME_BYTES: usize = "20261121T020000Z".len();

/// Checks that a key is valid and means the same as a path, in a URL and in S3; else returns the reason.
pub fn check_key(key: &str) -> Result<(), &'static str> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err("an object's name must have 1 to 1024 bytes");
    }
    if key.chars().any(char::is_control) {
        return Err("an object's name must not contain control characters");
    }
    for part in key.split('/') {
        match part {
            "" => return Err("an object's name must not begin or end with / or contain //"),
            "." | ".." => {
                return Err("an object's name must not contain . or .. as a path segment");
            }
            _ if part.starts_with(TEMPORARY) => {
                return Err("names that begin with .drctl-tmp- are reserved for temporary files");
            }
            _ => {}
        }
    }
    Ok(())
}

/// Name of a target: lower-case letters, digits and inner hyphens, 1 to 63 characters.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct TargetName(String);

impl TargetName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Prefix of all objects of this target: `shop/`.
    pub fn prefix(&self) -> Key {
        format!("{self}/")
    }

    /// Identity of the target, written at its first backup: `shop/target.json`.
    pub fn identity(&self) -> Key {
        format!("{self}/target.json")
    }

    /// Lease of the copier that writes to a second store: `shop/copying.json`.
    pub fn copying(&self) -> Key {
        format!("{self}/copying.json")
    }

    /// What the standby that is built from this store says of itself: `shop/standby.json`.
    pub fn standby(&self) -> Key {
        format!("{self}/standby.json")
    }

    /// Prefix of the summaries of manifests: `shop/summaries/`.
    pub fn summaries(&self) -> Key {
        format!("{self}/summaries/")
    }

    /// One summary: `shop/summaries/20261121T020000Z-3f9a1c-2.jsonl.zst`.
    pub fn summary(&self, name: SummaryName) -> Key {
        format!("{self}/summaries/{name}")
    }

    /// Parses the key of a summary.
    pub fn parse_summary(&self, key: &str) -> Option<SummaryName> {
        SummaryName::parse(self.below(key)?.strip_prefix("summaries/")?)
    }

    /// Prefix of run records: `shop/runs/`.
    pub fn runs(&self) -> Key {
        format!("{self}/runs/")
    }

    /// Record of one run: `shop/runs/20261121T020000Z-backup-0.json`.
    pub fn run(&self, run: &RunName) -> Key {
        format!("{self}/runs/{run}")
    }

    /// Object that is written only to test the store's behaviour: `shop/runs/probe-00c0ffee`.
    pub fn probe(&self, random: u32) -> Key {
        format!("{self}/runs/probe-{random:08x}")
    }

    /// Whether a key names a probe object.
    pub fn is_probe(&self, key: &str) -> bool {
        self.below(key)
            .is_some_and(|name| name.starts_with("runs/probe-"))
    }

    /// Prefixes of all objects of all backups, and of nothing else: `shop/1`, `shop/2`. Ids begin with the year of
    /// the server's clock, which is 1970 after a reset, and at most 3000.
    pub fn backups(&self) -> [Key; 2] {
        ["1", "2"].map(|millennium| format!("{self}/{millennium}"))
    }

    /// A name between the objects of backups from before a second and of those since then: `shop/20261121T020000Z`.
    pub fn backups_since(&self, second: i64) -> Option<Key> {
        let time = Timestamp::from_second(second).ok()?;
        Some(format!("{self}/{}", time.strftime(TIME)))
    }

    /// The second in which the backup of an object was taken, by the beginning of its name; `None` if it begins otherwise.
    pub fn second_of(&self, key: &str) -> Option<i64> {
        let time = self.below(key)?.get(..TIME_BYTES)?;
        Some(parse_time(time)?.as_second())
    }

    /// Prefix of all objects of one backup: `shop/20261121T020000Z-3f9a1c/`.
    pub fn backup(&self, id: BackupId) -> Key {
        format!("{self}/{id}/")
    }

    /// One object of a backup.
    pub fn object(&self, id: BackupId, object: &BackupObject) -> Key {
        format!("{self}/{id}/{object}")
    }

    /// Parses a key into backup and object; `None` if it names no object of a backup.
    pub fn parse_object(&self, key: &str) -> Option<(BackupId, BackupObject)> {
        let (id, name) = self.below(key)?.split_once('/')?;
        Some((id.parse().ok()?, BackupObject::parse(name)?))
    }

    /// Parses the key of a run record.
    pub fn parse_run(&self, key: &str) -> Option<RunName> {
        RunName::parse(self.below(key)?.strip_prefix("runs/")?)
    }

    fn below<'a>(&self, key: &'a str) -> Option<&'a str> {
        key.strip_prefix(&self.0)?.strip_prefix('/')
    }
}

impl FromStr for TargetName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let good = (1..=63).contains(&name.len())
            && name.chars().all(inner)
            && !name.starts_with('-')
            && !name.ends_with('-');
        if good {
            Ok(TargetName(name.to_owned()))
        } else {
            Err(Error::usage(format!("{name:?} is not a target name"))
                .hint("use lower-case letters, digits and inner hyphens, 63 at most, like shop-eu"))
        }
    }
}

impl TryFrom<String> for TargetName {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        name.parse()
    }
}

impl From<TargetName> for String {
    fn from(name: TargetName) -> String {
        name.0
    }
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Id of a backup: the time of its snapshot and a random part, `20261121T020000Z-3f9a1c`.
///
/// Ordered by snapshot time: the greatest id is the newest backup.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct BackupId {
    /// When the snapshot was taken, in whole seconds.
    snapshot_at: Timestamp,
    /// 24 random bits, so that two backups taken in one second differ.
    random: u32,
}

impl BackupId {
    /// A new id for a snapshot time; fractions of a second are truncated.
    pub fn generate(snapshot_at: Timestamp) -> Self {
        Self::new(snapshot_at, rand::random())
    }

    /// The id for a snapshot time and the low 24 bits of `random`.
    pub fn new(snapshot_at: Timestamp, random: u32) -> Self {
        BackupId {
            snapshot_at: whole_second(snapshot_at),
            random: random & 0xff_ffff,
        }
    }

    /// When the snapshot was taken, to the second.
    pub fn snapshot_at(&self) -> Timestamp {
        self.snapshot_at
    }
}

impl FromStr for BackupId {
    type Err = Error;

    fn from_str(id: &str) -> Result<Self> {
        parse_id(id).ok_or_else(|| {
            Error::usage(format!("{id:?} is not a backup id"))
                .hint("ids look like 20261121T020000Z-3f9a1c; `drctl list` shows them")
        })
    }
}

fn parse_id(id: &str) -> Option<BackupId> {
    let (time, random) = id.split_once('-')?;
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if random.len() != 6 || !random.bytes().all(hex) {
        return None;
    }
    Some(BackupId {
        snapshot_at: parse_time(time)?,
        random: u32::from_str_radix(random, 16).ok()?,
    })
}

impl TryFrom<String> for BackupId {
    type Error = Error;

    fn try_from(id: String) -> Result<Self> {
        id.parse()
    }
}

impl From<BackupId> for String {
    fn from(id: BackupId) -> String {
        id.to_string()
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:06x}", self.snapshot_at.strftime(TIME), self.random)
    }
}

/// Parses a time in the exact format of names.
fn parse_time(text: &str) -> Option<Timestamp> {
    let digits =
        |range: std::ops::Range<usize>| text.as_bytes()[range].iter().all(u8::is_ascii_digit);
    if text.len() != TIME_BYTES || !digits(0..8) || !digits(9..15) {
        return None;
    }
    let civil = jiff::civil::DateTime::strptime(TIME, text).ok()?;
    let time = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    // A leap second would be parsed as the second before it.
    (time.strftime(TIME).to_string() == text).then_some(time)
}

/// Truncates to whole seconds, towards the past.
fn whole_second(time: Timestamp) -> Timestamp {
    let second = time.as_nanosecond().div_euclid(1_000_000_000) as i64;
    Timestamp::from_second(second).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn id() -> BackupId {
        BackupId::new(time("2026-11-21T02:00:00.9Z"), 0xaa3f_9a1c)
    }

    #[test]
    fn an_id_contains_the_truncated_second_of_its_snapshot() {
        assert_eq!(id().to_string(), "20261121T020000Z-3f9a1c");
        assert_eq!(id().snapshot_at(), time("2026-11-21T02:00:00Z"));
        assert_eq!(id().to_string().parse::<BackupId>().unwrap(), id());
        let before_the_epoch = BackupId::new(time("1969-12-31T23:59:58.5Z"), 0);
        assert_eq!(before_the_epoch.to_string(), "19691231T235958Z-000000");
    }

    #[test]
    fn ids_are_ordered_by_time_and_so_are_their_names() {
        let older = BackupId::new(time("2026-11-21T01:59:59Z"), 0xff_ffff);
        assert!(older < id());
        assert!(older.to_string() < id().to_string());
    }

    #[test]
    fn texts_that_resemble_an_id_are_rejected() {
        for text in [
            "",
            "20261121T020000Z",
            "20261121T020000Z-3F9A1C",
            "20261121T020000Z-3f9a1",
            "20261121T020000Z-3f9a1c0",
            "20261121T020000Z-+f9a1c",
            "20261121T020000Z-3f9a1c/",
            "20261321T020000Z-3f9a1c",
            "20261121T020060Z-3f9a1c",
            "20261121 020000Z-3f9a1c",
            "2026-121T020000Z-3f9a1c",
            "２0261121T020000Z-3f9a1c",
            " 0261121T020000Z-3f9a1c",
        ] {
            assert!(text.parse::<BackupId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_target_name_is_a_dns_label() {
        for good in ["a", "shop", "shop-eu-1", "0", &"x".repeat(63)] {
            assert!(good.parse::<TargetName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "-a",
            "a-",
            "Shop",
            "a_b",
            "a/b",
            "..",
            "ä",
            &"x".repeat(64),
        ] {
            assert!(bad.parse::<TargetName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_object_is_read_back_from_its_own_name() {
        let target: TargetName = "shop".parse().unwrap();
        let drill = DrillName {
            time: time("2026-11-21T03:00:00Z"),
            level: DrillLevel::Restore,
            verdict: DrillVerdict::Missed,
        };
        let cases = [
            (segment(0, Suffix::Zstd), "dump.sql.zst"),
            (segment(1, Suffix::Zstd), "dump.sql.zst.001"),
            (segment(999, Suffix::Gzip), "dump.sql.gz.999"),
            (segment(12, Suffix::Plain), "dump.sql.012"),
            (segment(0, Suffix::BytesZstd), "dump.zst"),
            (segment(1, Suffix::BytesGzip), "dump.gz.001"),
            (segment(0, Suffix::BytesPlain), "dump.raw"),
            (BackupObject::Accounts(Suffix::Gzip), "accounts.sql.gz"),
            (BackupObject::Index, "index.jsonl.zst"),
            (BackupObject::Sums, "SHA256SUMS"),
            (BackupObject::Readme, "RESTORE.txt"),
            (segment(0, Suffix::Zstd).encrypted(), "dump.sql.zst.age"),
            (segment(7, Suffix::Plain).encrypted(), "dump.sql.007.age"),
            (
                segment(7, Suffix::BytesZstd).encrypted(),
                "dump.zst.007.age",
            ),
            (BackupObject::Index.encrypted(), "index.jsonl.zst.age"),
            (BackupObject::Readme.encrypted(), "RESTORE.txt.age"),
            (BackupObject::ManifestSignature, "manifest.json.sig"),
            (BackupObject::Manifest, "manifest.json"),
            (BackupObject::Running, "running.json"),
            (BackupObject::Accepted, "accepted"),
            (BackupObject::Pin, "pin"),
            (
                BackupObject::Reading {
                    since: time("2026-11-21T03:00:00Z"),
                    random: 0x00_00ab,
                },
                "reading/20261121T030000Z-0000ab.json",
            ),
            (
                BackupObject::Pruned {
                    committed_at: time("2026-11-21T02:05:00Z"),
                    usable: false,
                },
                "pruned/20261121T020500Z-suspect.json",
            ),
            (
                BackupObject::Drill(drill),
                "drills/20261121T030000Z-restore-missed.json",
            ),
        ];
        for (object, name) in cases {
            let key = target.object(id(), &object);
            assert_eq!(key, format!("shop/20261121T020000Z-3f9a1c/{name}"));
            assert_eq!(check_key(&key), Ok(()));
            assert_eq!(target.parse_object(&key), Some((id(), object)));
        }
    }

    #[test]
    fn other_names_are_not_parsed() {
        let target: TargetName = "shop".parse().unwrap();
        for name in [
            "dump.sql.000",
            "dump.sql.+01",
            "dump.sql.1",
            "dump.sql.zst.0001",
            "dump.sql.zst.age.age",
            "manifest.json.age",
            "pin.txt",
        ] {
            assert_eq!(BackupObject::parse(name), None, "{name}");
        }
        for name in [
            "drills/20261121T030000Z-restore-pass-x.json",
            "drills/x-restore-pass.json",
        ] {
            assert_eq!(BackupObject::parse(name), None, "{name}");
        }
        assert_eq!(
            target.parse_object("shop2/20261121T020000Z-3f9a1c/pin"),
            None
        );
    }

    #[test]
    fn a_run_is_read_back_from_its_name() {
        let target: TargetName = "shop".parse().unwrap();
        let run = RunName {
            time: time("2026-11-21T02:00:00Z"),
            verb: "alert-test".into(),
            exit: 143,
        };
        let key = target.run(&run);
        assert_eq!(key, "shop/runs/20261121T020000Z-alert-test-143.json");
        assert_eq!(target.parse_run(&key), Some(run));
    }

    #[test]
    fn a_summary_is_read_back_from_its_name_alone() {
        let target: TargetName = "shop".parse().unwrap();
        let name = SummaryName {
            written: id(),
            level: 2,
        };
        let key = target.summary(name);
        assert_eq!(key, "shop/summaries/20261121T020000Z-3f9a1c-2.jsonl.zst");
        assert_eq!(target.parse_summary(&key), Some(name));
        for other in ["-31", "-+2", "-02", "--1", ""] {
            let key = format!("shop/summaries/20261121T020000Z-3f9a1c{other}.jsonl.zst");
            assert_eq!(target.parse_summary(&key), None, "{other}");
        }
    }

    #[test]
    fn rolled_over_segments_sort_in_the_order_they_are_concatenated() {
        let names: Vec<String> = (0..=MAX_SEGMENT)
            .map(|number| segment(number, Suffix::Zstd).to_string())
            .collect();
        assert!(names.is_sorted());
    }

    #[test]
    fn names_with_another_meaning_in_a_directory_are_rejected() {
        for bad in [
            "",
            "/a",
            "a/",
            "a//b",
            "..",
            "a/../b",
            "./a",
            "a\nb",
            "a/.drctl-tmp-x",
        ] {
            assert!(check_key(bad).is_err(), "{bad:?}");
        }
        assert!(check_key(&"x".repeat(1025)).is_err());
        for good in ["a", "a/b.c", "…/ü x+%41", ".hidden", "a..b"] {
            assert_eq!(check_key(good), Ok(()));
        }
    }

    fn segment(number: u16, suffix: Suffix) -> BackupObject {
        BackupObject::Segment { number, suffix }
    }
}
