//! The names of a backup's objects below its prefix, and of the records of drills and runs.

use std::fmt;

use jiff::Timestamp;

use super::{BackupId, TIME, parse_id, parse_time};

/// How SQL objects are compressed, as their names say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suffix {
    /// `.sql.zst`
    Zstd,
    /// `.sql.gz`
    Gzip,
    /// `.sql`
    Plain,
}

impl Suffix {
    const ALL: [Suffix; 3] = [Suffix::Zstd, Suffix::Gzip, Suffix::Plain];

    /// What the name ends in.
    pub fn as_str(self) -> &'static str {
        match self {
            Suffix::Zstd => ".sql.zst",
            Suffix::Gzip => ".sql.gz",
            Suffix::Plain => ".sql",
        }
    }
}

/// An object of a backup; `Display` is its name below the backup's prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupObject {
    /// Frames, concatenated.
    Segment {
        /// 0 for the first, which is nearly always the only one; at most [`MAX_SEGMENT`](super::MAX_SEGMENT).
        number: u16,
        /// How its frames are compressed.
        suffix: Suffix,
    },
    /// CREATE USER and GRANT.
    Accounts(Suffix),
    /// Frames, ledger and inventory, one record a line.
    Index,
    /// The SHA-256 of each object, as `sha256sum -c` wants it.
    Sums,
    /// How to restore it without drctl.
    Readme,
    /// The commit record.
    Manifest,
    /// The heartbeat of a backup in the making: the one object that is rewritten.
    Running,
    /// A person trusts a suspect backup.
    Accepted,
    /// A person keeps it for ever.
    Pin,
    /// The evidence of one restore verification.
    Drill(DrillName),
    /// Somebody reads it: while this is younger than a day, retention spares the backup.
    Reading {
        /// Since when, to the second.
        since: Timestamp,
        /// 24 random bits, so that two readers of one second differ.
        random: u32,
    },
    /// What stays of a backup that retention deleted: it did protect while it was there.
    Pruned {
        /// When it was committed, to the second.
        committed_at: Timestamp,
        /// Whether it was trusted.
        trusted: bool,
    },
}

impl BackupObject {
    /// Reads a name below a backup's prefix; `None` for names that are not ours.
    pub fn parse(name: &str) -> Option<Self> {
        let object = match name {
            "index.jsonl.zst" => Self::Index,
            "SHA256SUMS" => Self::Sums,
            "RESTORE.txt" => Self::Readme,
            "manifest.json" => Self::Manifest,
            "running.json" => Self::Running,
            "accepted" => Self::Accepted,
            "pin" => Self::Pin,
            _ => {
                return Self::parse_sql(name)
                    .or_else(|| Self::parse_drill(name))
                    .or_else(|| Self::parse_reading(name))
                    .or_else(|| Self::parse_pruned(name));
            }
        };
        Some(object)
    }

    fn parse_sql(name: &str) -> Option<Self> {
        let of_suffix = |suffix: Suffix| {
            if name.strip_prefix("accounts") == Some(suffix.as_str()) {
                return Some(Self::Accounts(suffix));
            }
            let number = name.strip_prefix("dump")?.strip_prefix(suffix.as_str())?;
            let number = match number.strip_prefix('.') {
                None if number.is_empty() => 0,
                Some(digits) if digits.len() == 3 => digits.parse().ok()?,
                _ => return None,
            };
            Some(Self::Segment { number, suffix })
        };
        let object = Suffix::ALL.into_iter().find_map(of_suffix)?;
        // `dump.sql.000` and `dump.sql.+01` are no names of ours.
        (object.to_string() == name).then_some(object)
    }

    fn parse_drill(name: &str) -> Option<Self> {
        DrillName::parse(name.strip_prefix("drills/")?).map(Self::Drill)
    }

    fn parse_reading(name: &str) -> Option<Self> {
        let reading = name.strip_prefix("reading/")?.strip_suffix(".json")?;
        let BackupId {
            snapshot_at: since,
            random,
        } = parse_id(reading)?;
        Some(Self::Reading { since, random })
    }

    fn parse_pruned(name: &str) -> Option<Self> {
        let pruned = name.strip_prefix("pruned/")?.strip_suffix(".json")?;
        let (time, trusted) = pruned.split_once('-')?;
        Some(Self::Pruned {
            committed_at: parse_time(time)?,
            trusted: match trusted {
                "trusted" => true,
                "suspect" => false,
                _ => return None,
            },
        })
    }

    /// Whether it outlives its backup: the auditor's drills, and that the backup was there.
    pub fn is_evidence(&self) -> bool {
        matches!(self, Self::Drill(_) | Self::Pruned { .. })
    }
}

impl fmt::Display for BackupObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment { number: 0, suffix } => write!(f, "dump{}", suffix.as_str()),
            Self::Segment { number, suffix } => write!(f, "dump{}.{number:03}", suffix.as_str()),
            Self::Accounts(suffix) => write!(f, "accounts{}", suffix.as_str()),
            Self::Index => f.write_str("index.jsonl.zst"),
            Self::Sums => f.write_str("SHA256SUMS"),
            Self::Readme => f.write_str("RESTORE.txt"),
            Self::Manifest => f.write_str("manifest.json"),
            Self::Running => f.write_str("running.json"),
            Self::Accepted => f.write_str("accepted"),
            Self::Pin => f.write_str("pin"),
            Self::Drill(drill) => write!(f, "drills/{drill}"),
            Self::Reading { since, random } => {
                write!(f, "reading/{}-{random:06x}.json", since.strftime(TIME))
            }
            Self::Pruned {
                committed_at,
                trusted,
            } => {
                let word = if *trusted { "trusted" } else { "suspect" };
                write!(f, "pruned/{}-{word}.json", committed_at.strftime(TIME))
            }
        }
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[derive(schemars::JsonSchema)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name { $($(#[$variant_doc])* $variant),* }

        impl $name {
            /// The word in names and on the command line.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

words! {
    /// How much of a backup a drill proves.
    DrillLevel {
        /// The archive alone: digests, decoding, ledger; no server.
        Archive = "archive",
        /// The whole: restored into a scratch server and compared.
        Restore = "restore",
    }
}

words! {
    /// How a drill ended.
    DrillVerdict {
        /// Proven, within its objective.
        Pass = "pass",
        /// Found not to be what was dumped, or damaged.
        Fail = "fail",
        /// Broke off without a word about the backup: no server, no space, no time.
        Broken = "broken",
        /// Proven, but an objective was missed.
        Missed = "missed",
    }
}

impl DrillVerdict {
    /// Whether the data were found to be right.
    pub fn proves(self) -> bool {
        matches!(self, DrillVerdict::Pass | DrillVerdict::Missed)
    }
}

/// The name of a drill's report, `20261121T020000Z-restore-pass.json`: a LIST alone answers when
/// a backup was proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrillName {
    /// When the drill ended, to the second.
    pub time: Timestamp,
    /// How much it proves.
    pub level: DrillLevel,
    /// How it ended.
    pub verdict: DrillVerdict,
}

impl DrillName {
    fn parse(name: &str) -> Option<Self> {
        let mut words = name.strip_suffix(".json")?.split('-');
        let drill = DrillName {
            time: parse_time(words.next()?)?,
            level: DrillLevel::parse(words.next()?)?,
            verdict: DrillVerdict::parse(words.next()?)?,
        };
        words.next().is_none().then_some(drill)
    }
}

impl fmt::Display for DrillName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (time, level) = (self.time.strftime(TIME), self.level.as_str());
        write!(f, "{time}-{level}-{}.json", self.verdict.as_str())
    }
}

/// The name of a run's record, `20261121T020000Z-backup-0.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunName {
    /// When the run ended, to the second.
    pub time: Timestamp,
    /// The command: lower-case words with hyphens.
    pub verb: String,
    /// Its exit code.
    pub exit: u8,
}

impl RunName {
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (time, rest) = name.strip_suffix(".json")?.split_once('-')?;
        let (verb, exit) = rest.rsplit_once('-')?;
        Some(RunName {
            time: parse_time(time)?,
            verb: verb.to_owned(),
            exit: exit.parse().ok()?,
        })
    }
}

impl fmt::Display for RunName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (time, verb) = (self.time.strftime(TIME), &self.verb);
        write!(f, "{time}-{verb}-{}.json", self.exit)
    }
}
