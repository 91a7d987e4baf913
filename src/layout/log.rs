//! Names of the objects of the archived binary log, below `<target>/log/`.
//!
//! ```text
//! log/<timeline>/timeline.json        why the timeline began, and where
//!    /<timeline>/<file>/<from>.zst    a segment; <from> is its offset in the archived file, 12 digits
//!    /<timeline>/<file>/<from>.zst.age   the same, encrypted
//!    /<timeline>/<file>/closed.json   written when the server has begun the next file
//!    /….json.sig                      the signature of timeline.json or closed.json
//!    /head.json                       the heartbeat, the only object that is rewritten
//!    /RESTORE.txt                     how to restore without drctl
//! ```

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use super::{Key, TIME, TargetName, check_key, parse_time, whole_second};
use crate::{Error, Result};

/// Id of a timeline: when it began and a random part, `20261129T222310Z-3f9a`. Ordered by time.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct TimelineId {
    began: Timestamp,
    random: u16,
}

impl TimelineId {
    /// The id of a timeline that begins at this time, truncated to the second.
    pub fn new(began: Timestamp, random: u16) -> Self {
        TimelineId {
            began: whole_second(began),
            random,
        }
    }

    /// When it began, to the second.
    pub fn began(&self) -> Timestamp {
        self.began
    }
}

impl fmt::Display for TimelineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:04x}", self.began.strftime(TIME), self.random)
    }
}

impl FromStr for TimelineId {
    type Err = Error;

    fn from_str(id: &str) -> Result<Self> {
        parse(id).ok_or_else(|| {
            Error::usage(format!("{id:?} is not a timeline id"))
                .hint("ids look like 20261129T222310Z-3f9a; `drctl log` shows them")
        })
    }
}

fn parse(id: &str) -> Option<TimelineId> {
    let (time, random) = id.split_once('-')?;
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if random.len() != 4 || !random.bytes().all(hex) {
        return None;
    }
    Some(TimelineId {
        began: parse_time(time)?,
        random: u16::from_str_radix(random, 16).ok()?,
    })
}

impl TryFrom<String> for TimelineId {
    type Error = Error;

    fn try_from(id: String) -> Result<Self> {
        id.parse()
    }
}

impl From<TimelineId> for String {
    fn from(id: TimelineId) -> String {
        id.to_string()
    }
}

/// Name of a binary log file of the server: safe as a part of a key, ending in digits.
///
/// Ordered as the server writes them: by the number, of any length.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LogFile(String);

impl LogFile {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Everything but the number.
    fn stem(&self) -> &str {
        self.0.trim_end_matches(|c: char| c.is_ascii_digit())
    }

    /// The number at its end.
    pub fn number(&self) -> u64 {
        self.0[self.stem().len()..].parse().unwrap_or(u64::MAX)
    }

    /// Whether this file follows `other` directly.
    pub fn follows(&self, other: &LogFile) -> bool {
        self.stem() == other.stem() && other.number().checked_add(1) == Some(self.number())
    }
}

impl FromStr for LogFile {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let numbered = name.ends_with(|c: char| c.is_ascii_digit());
        let plain = !name.contains(['/', '\\', '\'']) && check_key(name).is_ok();
        match numbered && plain && name.len() <= 255 {
            true => Ok(LogFile(name.to_owned())),
            false => Err(
                Error::source(format!("{name:?} is not the name of a binary log file"))
                    .hint("set log_bin to a name of letters and digits"),
            ),
        }
    }
}

impl TryFrom<String> for LogFile {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        name.parse()
    }
}

impl From<LogFile> for String {
    fn from(name: LogFile) -> String {
        name.0
    }
}

impl fmt::Display for LogFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Ord for LogFile {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.number(), &self.0).cmp(&(other.number(), &other.0))
    }
}

impl PartialOrd for LogFile {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// One object of the archived log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogObject {
    /// Why a timeline began, and where.
    Timeline(TimelineId),
    /// A piece of a file.
    Segment(TimelineId, LogFile, u64),
    /// A piece of a file, encrypted.
    EncryptedSegment(TimelineId, LogFile, u64),
    /// The end of a file.
    Closed(TimelineId, LogFile),
    /// The heartbeat.
    Head,
    /// How to restore without drctl.
    Readme,
    /// The signature of the record of a timeline, or of the end of a file.
    Signature(Box<LogObject>),
}

impl fmt::Display for LogObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogObject::Timeline(timeline) => write!(f, "{timeline}/timeline.json"),
            LogObject::Segment(timeline, file, from) => {
                write!(f, "{timeline}/{file}/{from:012}.zst")
            }
            LogObject::EncryptedSegment(timeline, file, from) => {
                write!(f, "{timeline}/{file}/{from:012}.zst.age")
            }
            LogObject::Closed(timeline, file) => write!(f, "{timeline}/{file}/closed.json"),
            LogObject::Head => f.write_str("head.json"),
            LogObject::Readme => f.write_str("RESTORE.txt"),
            LogObject::Signature(of) => write!(f, "{of}.sig"),
        }
    }
}

impl LogObject {
    /// Parses a name below `log/`.
    pub fn parse(name: &str) -> Option<LogObject> {
        if let Some(of) = name.strip_suffix(".sig") {
            let of = LogObject::parse(of)?;
            let signed = matches!(of, LogObject::Timeline(_) | LogObject::Closed(..));
            return signed.then(|| of.signature());
        }
        let parts: Vec<&str> = name.split('/').collect();
        let object = match parts.as_slice() {
            ["head.json"] => LogObject::Head,
            ["RESTORE.txt"] => LogObject::Readme,
            [timeline, "timeline.json"] => LogObject::Timeline(parse(timeline)?),
            [timeline, file, "closed.json"] => {
                LogObject::Closed(parse(timeline)?, file.parse().ok()?)
            }
            [timeline, file, segment] => {
                let (timeline, file) = (parse(timeline)?, file.parse().ok()?);
                match segment.strip_suffix(".age") {
                    Some(plain) => {
                        let from = plain.strip_suffix(".zst")?.parse().ok()?;
                        LogObject::EncryptedSegment(timeline, file, from)
                    }
                    None => {
                        let from = segment.strip_suffix(".zst")?.parse().ok()?;
                        LogObject::Segment(timeline, file, from)
                    }
                }
            }
            _ => return None,
        };
        // Only the exact spelling is a name.
        (object.to_string() == name).then_some(object)
    }

    /// The signature of the object.
    pub fn signature(&self) -> LogObject {
        LogObject::Signature(Box::new(self.clone()))
    }
}

impl TargetName {
    /// Prefix of the archived log: `shop/log/`.
    pub fn log(&self) -> Key {
        format!("{self}/log/")
    }

    /// Prefix of one timeline.
    pub fn timeline(&self, id: TimelineId) -> Key {
        format!("{self}/log/{id}/")
    }

    /// Prefix of one file of a timeline.
    pub fn log_file(&self, id: TimelineId, file: &LogFile) -> Key {
        format!("{self}/log/{id}/{file}/")
    }

    /// One object of the archived log.
    pub fn log_object(&self, object: &LogObject) -> Key {
        format!("{self}/log/{object}")
    }

    /// Parses a key into an object of the archived log.
    pub fn parse_log(&self, key: &str) -> Option<LogObject> {
        LogObject::parse(key.strip_prefix(&self.log())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back_and_no_other_spelling_is() {
        let timeline = TimelineId::new("2026-11-29T22:23:10.7Z".parse().unwrap(), 0x3f9a);
        let file: LogFile = "binlog.000001".parse().unwrap();
        let target: TargetName = "shop".parse().unwrap();
        for (object, key) in [
            (
                LogObject::Timeline(timeline),
                "20261129T222310Z-3f9a/timeline.json",
            ),
            (
                LogObject::Segment(timeline, file.clone(), 4_096),
                "20261129T222310Z-3f9a/binlog.000001/000000004096.zst",
            ),
            (
                LogObject::Closed(timeline, file),
                "20261129T222310Z-3f9a/binlog.000001/closed.json",
            ),
            (LogObject::Head, "head.json"),
            (LogObject::Readme, "RESTORE.txt"),
        ] {
            let key = format!("shop/log/{key}");
            assert_eq!(target.log_object(&object), key);
            assert_eq!(target.parse_log(&key), Some(object));
        }
        for other in [
            "shop/log/20261129T222310Z-3f9a/binlog.000001/4096.zst",
            "shop/log/20261129T222310Z-3f9a/binlog.000001/+00000004096.zst",
            "shop/log/20261129T222310Z-3F9A/timeline.json",
            "shop/log/20261129T222310Z-3f9a/binlog/000000004096.zst",
            "shop/head.json",
        ] {
            assert_eq!(target.parse_log(other), None, "{other}");
        }
    }

    #[test]
    fn files_are_in_the_order_of_their_numbers() {
        let file = |name: &str| name.parse::<LogFile>().unwrap();
        assert!(file("b.999999") < file("b.1000000"));
        assert!(file("b.1000000").follows(&file("b.999999")));
        assert!(!file("b.000002").follows(&file("a.000001")));
        for bad in ["", "binlog", "../b.000001", "a/b.000001", "b'.000001"] {
            assert!(bad.parse::<LogFile>().is_err(), "{bad}");
        }
    }
}
