//! Names of a backup's objects below its prefix, and of the records of drills and runs.

use std::fmt;

use jiff::Timestamp;

use crate::layout::{BackupId, TIME, parse_id, parse_time};

/// Contents and compression of objects that hold data, as given by the suffix of their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suffix {
    /// `.sql.zst`
    Zstd,
    /// `.sql.gz`
    Gzip,
    /// `.sql`
    Plain,
    /// `.zst`: of a stream that is not SQL.
    BytesZstd,
    /// `.gz`: of a stream that is not SQL.
    BytesGzip,
    /// `.raw`: of a stream that is not SQL.
    BytesPlain,
}

impl Suffix {
    const OF_SQL: [Suffix; 3] = [Suffix::Zstd, Suffix::Gzip, Suffix::Plain];

    const ALL: [Suffix; 6] = [
        Suffix::Zstd,
        Suffix::Gzip,
        Suffix::Plain,
        Suffix::BytesZstd,
        Suffix::BytesGzip,
        Suffix::BytesPlain,
    ];

    /// The suffix of the name.
    pub fn as_str(self) -> &'static str {
        match self {
            Suffix::Zstd => ".sql.zst",
            Suffix::Gzip => ".sql.gz",
            Suffix::Plain => ".sql",
            Suffix::BytesZstd => ".zst",
            Suffix::BytesGzip => ".gz",
            Suffix::BytesPlain => ".raw",
        }
    }
}

/// An object of a backup; `Display` is its name below the backup's prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupObject {
    /// Frames, concatenated.
    Segment {
        /// 0 for the first, which is nearly always the only one; at most [`MAX_SEGMENT`](crate::layout::MAX_SEGMENT).
        number: u16,
        /// How its frames are compressed.
        suffix: Suffix,
    },
    /// CREATE USER and GRANT statements.
    Accounts(Suffix),
    /// Frames, ledger and inventory, one record per line.
    Index,
    /// SHA-256 of each object, in the format of `sha256sum -c`.
    Sums,
    /// Instructions for a restore without drctl.
    Readme,
    /// The commit record.
    Manifest,
    /// The signature of the commit record.
    ManifestSignature,
    /// An object that holds data, encrypted: its name ends in `.age`.
    Encrypted(Box<BackupObject>),
    /// The heartbeat of a backup in progress: the only object that is rewritten.
    Running,
    /// Marker: an operator accepted this suspect backup.
    Accepted,
    /// Marker: an operator pinned this backup, so retention keeps it forever.
    Pin,
    /// The report of one drill.
    Drill(DrillName),
    /// Lease of a restore or drill that reads the backup: retention spares the backup until this is a day
    /// old.
    Reading {
        /// When the lease was taken, to the second.
        since: Timestamp,
        /// 24 random bits, so that two leases taken in one second differ.
        random: u32,
    },
    /// Tombstone of a backup deleted by retention; past RPO figures still count the backup.
    Pruned {
        /// When it was committed, to the second.
        committed_at: Timestamp,
        /// Whether the backup was usable: not suspect, or accepted. The word in the name is `trusted`.
        usable: bool,
    },
}

impl BackupObject {
    /// Parses a name below a backup's prefix; `None` for a name that drctl does not write.
    pub fn parse(name: &str) -> Option<Self> {
        let object = match name {
            "index.jsonl.zst" => Self::Index,
            "SHA256SUMS" => Self::Sums,
            "RESTORE.txt" => Self::Readme,
            "manifest.json" => Self::Manifest,
            "manifest.json.sig" => Self::ManifestSignature,
            "running.json" => Self::Running,
            "accepted" => Self::Accepted,
            "pin" => Self::Pin,
            _ => {
                return Self::parse_encrypted(name)
                    .or_else(|| Self::parse_sql(name))
                    .or_else(|| Self::parse_drill(name))
                    .or_else(|| Self::parse_reading(name))
                    .or_else(|| Self::parse_pruned(name));
            }
        };
        Some(object)
    }

    fn parse_encrypted(name: &str) -> Option<Self> {
        let plain = Self::parse(name.strip_suffix(".age")?)?;
        (plain.holds_data() || plain == Self::Readme).then(|| plain.encrypted())
    }

    /// The object under the name that it has if it is encrypted.
    pub fn encrypted(self) -> Self {
        Self::Encrypted(Box::new(self))
    }

    /// Whether the object holds what the dump contains, and is encrypted where anything is.
    pub fn holds_data(&self) -> bool {
        matches!(self, Self::Segment { .. } | Self::Accounts(_) | Self::Index)
    }

    fn parse_sql(name: &str) -> Option<Self> {
        let is_accounts = |suffix: &Suffix| name.strip_prefix("accounts") == Some(suffix.as_str());
        if let Some(suffix) = Suffix::OF_SQL.into_iter().find(is_accounts) {
            return Some(Self::Accounts(suffix));
        }
        let of_suffix = |suffix: Suffix| {
            let number = name.strip_prefix("dump")?.strip_prefix(suffix.as_str())?;
            let number = match number.strip_prefix('.') {
                None if number.is_empty() => 0,
                Some(digits) if digits.len() == 3 => digits.parse().ok()?,
                _ => return None,
            };
            Some(Self::Segment { number, suffix })
        };
        let object = Suffix::ALL.into_iter().find_map(of_suffix)?;
        // drctl does not write `dump.sql.000` or `dump.sql.+01`.
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
        let (time, word) = pruned.split_once('-')?;
        Some(Self::Pruned {
            committed_at: parse_time(time)?,
            usable: match word {
                "trusted" => true,
                "suspect" => false,
                _ => return None,
            },
        })
    }

    /// Whether the object outlives its backup: drill reports and tombstones.
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
            Self::ManifestSignature => f.write_str("manifest.json.sig"),
            Self::Encrypted(plain) => write!(f, "{plain}.age"),
            Self::Running => f.write_str("running.json"),
            Self::Accepted => f.write_str("accepted"),
            Self::Pin => f.write_str("pin"),
            Self::Drill(drill) => write!(f, "drills/{drill}"),
            Self::Reading { since, random } => {
                write!(f, "reading/{}-{random:06x}.json", since.strftime(TIME))
            }
            Self::Pruned {
                committed_at,
                usable,
            } => {
                let word = if *usable { "trusted" } else { "suspect" };
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
            /// The word used in names and on the command line.
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
    /// What a drill verifies.
    DrillLevel {
        /// The archive only: digests, decoding, ledger; no server.
        Archive = "archive",
        /// The whole backup: restored into a scratch server and compared.
        Restore = "restore",
        /// The whole backup, and the binary log from it to a later backup: restored, compared, replayed, and compared
        /// with that one.
        Pitr = "pitr",
        /// The archived binary log only; no server.
        Log = "log",
    }
}

words! {
    /// Result of a drill.
    DrillVerdict {
        /// Verified, within its objective.
        Pass = "pass",
        /// Damaged, or different from the dump.
        Fail = "fail",
        /// Stopped without a result about the backup: no server, no space, no time.
        Broken = "broken",
        /// Verified, but an objective was missed.
        Missed = "missed",
    }
}

impl DrillLevel {
    /// All levels.
    pub const ALL: [DrillLevel; 4] = [
        DrillLevel::Restore,
        DrillLevel::Archive,
        DrillLevel::Pitr,
        DrillLevel::Log,
    ];
}

impl DrillVerdict {
    /// Whether the drill verified the data.
    pub fn is_verified(self) -> bool {
        matches!(self, DrillVerdict::Pass | DrillVerdict::Missed)
    }
}

/// Name of a drill's report, `20261121T020000Z-restore-pass.json`: a LIST alone shows when a backup was
/// verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrillName {
    /// When the drill ended, to the second.
    pub time: Timestamp,
    /// How much the drill verified.
    pub level: DrillLevel,
    /// Its result.
    pub verdict: DrillVerdict,
}

impl DrillName {
    /// Whether it verified that its backup restores. The only place that decides this.
    pub fn verifies_restore(&self) -> bool {
        let restores = matches!(self.level, DrillLevel::Restore | DrillLevel::Pitr);
        restores && self.verdict.is_verified()
    }

    /// Whether it found its backup damaged or wrong. A drill of the binary log that fails says nothing about its
    /// backup, which was found equal to its dump before the log was replayed: one that is not is a drill of the
    /// level `restore` that failed.
    pub fn fails_backup(&self) -> bool {
        let reads_backup = matches!(self.level, DrillLevel::Archive | DrillLevel::Restore);
        reads_backup && self.verdict == DrillVerdict::Fail
    }

    /// Whether it is one of this level, or has verified what that level verifies.
    pub fn speaks_of(&self, level: DrillLevel) -> bool {
        self.level == level || (level == DrillLevel::Restore && self.verifies_restore())
    }

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

/// Name of a run record, `20261121T020000Z-backup-0.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunName {
    /// When the run ended, to the second.
    pub time: Timestamp,
    /// The command: lower-case words joined by hyphens.
    pub verb: String,
    /// The exit code of the run.
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
