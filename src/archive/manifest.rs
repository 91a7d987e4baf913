//! `manifest.json`: the commit record. Written last, with put-if-absent, and never again.
//!
//! It stays below [`MAX_BYTES`] whatever the size of the database, so that listing a thousand
//! backups costs a thousand small reads; what grows with the database is in the index.
//!
//! Everything else of a backup has its digest in a document above it; nothing is above this one. So
//! its last field is the SHA-256 of its own bytes up to there: the *seal*.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::sql::ledger::Ledger;
use crate::store::keys::{BackupId, BackupObject, TargetName};

/// The format number that this drctl writes, and the only one that it reads.
pub const FORMAT: u32 = 1;

/// The most that a manifest may take, bytes.
pub const MAX_BYTES: usize = 16 << 10;

/// What stands between the sealed bytes and their SHA-256, and behind it.
const SEAL: (&[u8], &[u8]) = (b",\n  \"sha256\": \"", b"\"\n}\n");

/// How many entries of a list that can grow with the database are kept here, where they fit.
const MAX_LISTED: usize = 20;

/// The most bytes of one entry of such a list.
const MAX_ENTRY_BYTES: usize = 200;

/// The most bytes that the user's labels may take.
const MAX_LABELS_BYTES: usize = 2 << 10;

/// The most bytes of a set of GTIDs that is kept here: a longer one is in the index alone.
const MAX_GTID_BYTES: usize = 1 << 10;

/// The commit record of one backup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format's number: [`FORMAT`].
    pub format: u32,
    /// The version of drctl that wrote it.
    pub drctl: String,
    /// The backup's id.
    pub id: BackupId,
    /// The target's name.
    pub target: TargetName,
    /// When the data were as they are in the dump; not later than the snapshot itself.
    pub snapshot_at: Timestamp,
    /// When the run began.
    pub started_at: Timestamp,
    /// When everything but this manifest was in place and read back.
    pub finished_at: Timestamp,
    /// The server that was dumped.
    pub server: ServerFacts,
    /// Where in the server's binary log the snapshot is, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coordinates: Option<Coordinates>,
    /// The client that dumped.
    pub client: ClientFacts,
    /// How frames are compressed.
    pub codec: crate::archive::codec::Codec,
    /// `none` in format 1.
    pub encryption: String,
    /// `none` in format 1: the archive is unauthenticated.
    pub signature: String,
    /// The dump's objects, in order.
    pub segments: Vec<FileFacts>,
    /// The index.
    pub index: FileFacts,
    /// The accounts, where they were taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounts: Option<FileFacts>,
    /// Sums over the whole backup.
    pub totals: Totals,
    /// Columns whose values mysqldump cannot carry exactly; the first ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lossy: Vec<String>,
    /// What a person should know about the run; the first ones, all in the index.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The user's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Why the backup must not be trusted by itself; empty for a good one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suspect: Vec<String>,
}

/// What a restore needs to know of the server that was dumped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerFacts {
    /// `mysql` or `mariadb`.
    pub flavour: String,
    /// The server's version, as it says.
    pub version: String,
    /// What identifies this very server: its server_uuid, or an id of our own.
    pub identity: String,
    /// The variables that a restore depends on.
    pub fingerprint: BTreeMap<String, String>,
    /// Data and indexes on the server, bytes, as it estimates them.
    pub bytes: u64,
}

/// A place in the binary log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coordinates {
    /// The file.
    pub file: String,
    /// The position in it.
    pub position: u64,
    /// The GTIDs executed up to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gtid: Option<String>,
}

impl Coordinates {
    /// Takes out a set of GTIDs that is too long for the manifest: it belongs into the index.
    pub fn take_long_gtid(&mut self) -> Option<String> {
        self.gtid.take_if(|set| set.len() > MAX_GTID_BYTES)
    }
}

/// Refuses labels that would not fit into a manifest: before a dump, and not behind it.
pub fn check_labels(labels: &BTreeMap<String, String>) -> Result<()> {
    let bytes: usize = labels
        .iter()
        .map(|(key, value)| listed_bytes(key) + listed_bytes(value))
        .sum();
    match bytes <= MAX_LABELS_BYTES {
        true => Ok(()),
        false => Err(Error::usage(format!(
            "the labels take {bytes} bytes, more than the {MAX_LABELS_BYTES} that a manifest has for them"
        ))
        .hint("shorten them, or leave some out")),
    }
}

/// The client that dumped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientFacts {
    /// The program: `mysqldump` or `mariadb-dump`.
    pub name: String,
    /// What it says of its version.
    pub version: String,
    /// Its options, none of them secret.
    pub options: Vec<String>,
}

/// One object of the backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFacts {
    /// Its name beside this manifest.
    pub name: String,
    /// Stored bytes.
    pub bytes: u64,
    /// SHA-256 of the stored bytes, hex.
    pub sha256: String,
}

/// Sums over the whole backup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Bytes of SQL.
    pub raw_bytes: u64,
    /// Stored bytes of all segments.
    pub stored_bytes: u64,
    /// Frames in all segments.
    pub frames: u64,
    /// mysqldump processes whose output this is.
    pub streams: u32,
    /// Rows in all tables.
    pub rows: u64,
    /// The longest statement, bytes: a server's max_allowed_packet must exceed it.
    pub largest_statement_bytes: u64,
    /// Objects by kind: `table` → 12.
    pub objects: BTreeMap<String, u64>,
}

impl Totals {
    /// How many objects of each kind a ledger has.
    pub fn objects_of(ledger: &Ledger) -> BTreeMap<String, u64> {
        let mut objects = BTreeMap::new();
        for (object, _) in ledger.iter() {
            let kind = object.kind.noun().replace(' ', "-");
            *objects.entry(kind).or_default() += 1;
        }
        objects
    }
}

impl Manifest {
    /// How long the backup took.
    pub fn took(&self) -> SignedDuration {
        self.finished_at.duration_since(self.started_at)
    }

    /// The bytes to store.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let write = |manifest: &Manifest| {
            serde_json::to_vec_pretty(manifest)
                .map_err(|e| Error::unexpected("cannot write the manifest").because(e))
        };
        let mut short = Manifest {
            lossy: Vec::new(),
            warnings: Vec::new(),
            suspect: Vec::new(),
            ..self.clone()
        };
        // What the lists may take is what all else leaves, shared out in the order of their weight.
        let mut room = MAX_BYTES.saturating_sub(write(&short)?.len() + LEFT_FREE_BYTES);
        for (lists, whole, list, rest) in [
            (3, &self.suspect, &mut short.suspect, ""),
            (2, &self.lossy, &mut short.lossy, ", all in the index"),
            (1, &self.warnings, &mut short.warnings, ", all in the index"),
        ] {
            *list = abbreviated(whole, room / lists, rest);
            room -= room.min(list.iter().map(|entry| listed_bytes(entry)).sum());
        }
        let mut bytes = write(&short)?;
        seal(&mut bytes);
        if bytes.len() > MAX_BYTES {
            return Err(Error::unexpected(format!(
                "the manifest would take {} bytes, more than {MAX_BYTES}",
                bytes.len()
            ))
            .hint("split the target into several, by schemas"));
        }
        Ok(bytes)
    }

    /// Reads what [`Manifest::to_bytes`] or a later drctl of the same format wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Manifest> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let damaged = |e: serde_json::Error| Error::archive("manifest.json is damaged").because(e);
        let Format { format } = serde_json::from_slice(bytes).map_err(damaged)?;
        if format != FORMAT {
            return Err(Error::archive(format!(
                "the archive is of format {format}, this drctl reads format {FORMAT}"
            ))
            .hint("use a drctl that knows it"));
        }
        if !is_sealed(bytes) {
            return Err(Error::archive(
                "manifest.json was edited: it does not match its own SHA-256",
            )
            .hint("restore another backup, and find out what changed the store"));
        }
        let manifest: Manifest = serde_json::from_slice(bytes).map_err(damaged)?;
        manifest.refuse_what_cannot_be_read()?;
        Ok(manifest)
    }

    /// Encrypted archives, and objects under names that are never looked at.
    fn refuse_what_cannot_be_read(&self) -> Result<()> {
        if self.encryption != "none" {
            return Err(Error::archive(format!(
                "the archive is encrypted by {}, which this drctl cannot read",
                self.encryption
            ))
            .hint("use a drctl that knows it"));
        }
        let mut files = vec![(&self.index, BackupObject::Index)];
        for (number, facts) in self.segments.iter().enumerate() {
            files.push((facts, self.codec.segment(number)?));
        }
        if let Some(facts) = &self.accounts {
            files.push((facts, BackupObject::Accounts(self.codec.suffix())));
        }
        match files
            .into_iter()
            .find(|(facts, name)| facts.name != name.to_string())
        {
            None => Ok(()),
            Some((facts, name)) => Err(Error::archive(format!(
                "manifest.json was edited: it names {} where {name} belongs",
                facts.name
            ))
            .hint("restore another backup, and find out what changed the store")),
        }
    }

    /// Whether a signature vouches for it: never, since nothing here checks one. What the field
    /// says is only a claim, and who can write the store can write the claim.
    pub fn is_authenticated(&self) -> bool {
        false
    }

    /// How many tables it holds.
    pub fn tables(&self) -> u64 {
        self.totals.objects.get("table").copied().unwrap_or(0)
    }
}

/// Puts the seal in the place of the closing brace.
fn seal(json: &mut Vec<u8>) {
    json.truncate(json.trim_ascii_end().len().saturating_sub(b"\n}".len()));
    let sha256 = hex::encode(Sha256::digest(&json));
    for piece in [SEAL.0, sha256.as_bytes(), SEAL.1] {
        json.extend_from_slice(piece);
    }
}

/// Whether a manifest ends in the seal of all that stands before it.
fn is_sealed(bytes: &[u8]) -> bool {
    const DIGITS: usize = 64;
    let sealed = || {
        let rest = bytes.strip_suffix(SEAL.1)?;
        let (rest, sha256) = rest.split_at_checked(rest.len().checked_sub(DIGITS)?)?;
        let body = rest.strip_suffix(SEAL.0)?;
        Some(hex::encode(Sha256::digest(body)).as_bytes() == sha256)
    };
    sealed() == Some(true)
}

/// Bytes that are left free for the lists' own names and brackets, and the seal.
const LEFT_FREE_BYTES: usize = 512;

/// Bytes that a text takes as an entry of a list: with its escapes, its indentation and a comma.
fn listed_bytes(text: &str) -> usize {
    let quoted = serde_json::to_string(text).map_or(text.len(), |quoted| quoted.len());
    quoted + "\n    ,".len()
}

/// The first entries of a list, each of a bounded length, as many as there is room for, and how many more
/// there are.
fn abbreviated(list: &[String], room: usize, rest: &str) -> Vec<String> {
    let more = |count: usize| format!("… and {count} more{rest}");
    let mut kept: Vec<String> = list
        .iter()
        .take(MAX_LISTED)
        .map(|entry| cut(entry))
        .collect();
    loop {
        let left = list.len() - kept.len();
        let last = (left > 0).then(|| more(left));
        let taken: usize = kept
            .iter()
            .chain(&last)
            .map(|entry| listed_bytes(entry))
            .sum();
        if taken <= room || kept.is_empty() {
            kept.extend(last);
            return kept;
        }
        kept.pop();
    }
}

/// A text of a bounded length.
fn cut(text: &str) -> String {
    match text.len() <= MAX_ENTRY_BYTES {
        true => text.to_owned(),
        false => format!("{}…", &text[..text.floor_char_boundary(MAX_ENTRY_BYTES)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::fixture;

    fn file(name: &str) -> FileFacts {
        FileFacts {
            name: name.into(),
            bytes: 1,
            sha256: "00".repeat(32),
        }
    }

    fn manifest() -> Manifest {
        let (_, place) = fixture::place();
        fixture::manifest(&place, vec![file("dump.sql.zst")], file("index.jsonl.zst"))
    }

    #[test]
    fn what_was_written_is_read_back() {
        let manifest = manifest();
        assert_eq!(
            Manifest::from_bytes(&manifest.to_bytes().unwrap()).unwrap(),
            manifest
        );
    }

    /// Whatever is in the lists, in whichever script and with whichever escapes.
    #[test]
    fn a_manifest_fits_whatever_its_lists_hold_and_says_what_it_leaves_out() {
        for text in ["x", "表", "\u{1}", "\"\\"] {
            let list: Vec<String> = (0..500)
                .map(|n| format!("{n} {}", text.repeat(400)))
                .collect();
            let full = Manifest {
                lossy: list.clone(),
                warnings: list.clone(),
                suspect: list.clone(),
                ..manifest()
            };
            let bytes = full.to_bytes().unwrap();
            assert!(
                bytes.len() <= MAX_BYTES && bytes.len() > MAX_BYTES / 2,
                "{text}"
            );
            let read = Manifest::from_bytes(&bytes).unwrap();
            for list in [&read.lossy, &read.warnings, &read.suspect] {
                assert!(list.len() > 1 && list[0].starts_with("0 "), "{text}");
                let (said, kept) = (list.last().unwrap(), list.len() - 1);
                assert!(
                    said.starts_with(&format!("… and {} more", 500 - kept)),
                    "{said}"
                );
            }
        }
        let few = Manifest {
            warnings: vec!["one".into(), "two".into()],
            ..manifest()
        };
        let read = Manifest::from_bytes(&few.to_bytes().unwrap()).unwrap();
        assert_eq!(read.warnings, few.warnings);
    }

    #[test]
    fn labels_are_bounded_as_they_are_written() {
        let of = |value: String| BTreeMap::from([("key".to_owned(), value)]);
        check_labels(&of("x".repeat(2000))).unwrap();
        for value in ["x".repeat(2100), "表".repeat(700), "\u{1}".repeat(400)] {
            assert_eq!(check_labels(&of(value)).unwrap_err().outcome().code(), 2);
        }
    }

    #[test]
    fn the_seal_is_the_digest_of_all_but_the_last_83_bytes() {
        let bytes = manifest().to_bytes().unwrap();
        let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let sealed = &bytes[..bytes.len() - 83];
        assert_eq!(json["sha256"], hex::encode(Sha256::digest(sealed)));
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let bytes = manifest().to_bytes().unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let refused = Manifest::from_bytes(&flipped).unwrap_err();
            assert_eq!(refused.outcome().code(), 6, "bit {bit}");
        }
    }

    #[test]
    fn a_field_that_is_changed_added_or_taken_out_is_refused_although_it_is_good_json() {
        let bytes = manifest().to_bytes().unwrap();
        let text = String::from_utf8(bytes).unwrap();
        for (from, to) in [
            ("\"it shrank\"", ""),
            ("\"drctl\": \"1.2.3\"", "\"drctl\": \"1.2.4\""),
            ("\"drctl\"", "\"later\": 1,\n  \"drctl\""),
            ("\"encryption\": \"none\",\n  ", ""),
            (",\n  \"sha256\": \"", ",\n  \"sha265\": \""),
            ("\n}\n", "\n}"),
            ("\n}\n", ",\n  \"suspect\": []\n}\n"),
        ] {
            let edited = match to.is_empty() || from.starts_with("\"d") {
                true => text.replacen(from, to, 1),
                false => {
                    let at = text.rfind(from).unwrap();
                    format!("{}{to}{}", &text[..at], &text[at + from.len()..])
                }
            };
            assert_ne!(edited, text);
            let refused = Manifest::from_bytes(edited.as_bytes()).unwrap_err();
            assert_eq!(refused.outcome().code(), 6, "{from} → {to}");
        }
    }

    #[test]
    fn fields_that_only_a_later_drctl_knows_are_ignored() {
        let bytes = manifest().to_bytes().unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let mut later = text
            .replacen("\"drctl\"", "\"later\": [1],\n  \"drctl\"", 1)
            .into_bytes();
        later.truncate(later.len() - 83);
        later.extend_from_slice(b"\n}");
        seal(&mut later);
        assert_eq!(Manifest::from_bytes(&later).unwrap(), manifest());
    }
}
