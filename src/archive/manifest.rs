//! `manifest.json`: the commit record, written last, with put-if-absent, and never rewritten.
//!
//! Its size is at most [`MAX_BYTES`] for any database, so that listing a thousand backups takes a thousand small reads;
//! everything that grows with the database is in the index.
//!
//! The digests of all other objects of a backup are in another document; the manifest contains its own: its last field,
//! the *seal*, is the SHA-256 of the bytes before it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::archive::codec::Form;
use crate::entries::Counts;
use crate::layout::{BackupId, BackupObject, TargetName};
use crate::mysql::ServerVersion;
use crate::sql::ledger::Ledger;
use crate::util::digest::Sha256Digest;
use crate::util::error::{Error, Result};
use crate::util::format::counted;

/// The format of archives of SQL.
pub const FORMAT: u32 = 1;

/// The format of archives of other kinds: an earlier version, which knows format 1 only, refuses them.
pub const FORMAT_OF_KINDS: u32 = 2;

/// The kind of an archive that names none.
pub const MYSQL: &str = "mysql";

/// Maximum size of a manifest in bytes.
pub const MAX_BYTES: usize = 16 << 10;

/// The bytes between the sealed bytes and their SHA-256, and the bytes after it.
const SEAL: (&[u8], &[u8]) = (b",\n  \"sha256\": \"", b"\"\n}\n");

/// Maximum number of entries of a list that grows with the database.
const MAX_LISTED: usize = 20;

/// Maximum length in bytes of an entry of such a list.
const MAX_ENTRY_BYTES: usize = 200;

/// Maximum size in bytes of the user's labels.
const MAX_LABELS_BYTES: usize = 2 << 10;

/// Maximum length in bytes of a GTID set in the manifest; a longer one is only in the index.
const MAX_GTID_BYTES: usize = 1 << 10;

/// The commit record of a backup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format: [`FORMAT`], or [`FORMAT_OF_KINDS`] with a kind.
    pub format: u32,
    /// The kind of the source; `None`: [`MYSQL`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Version of drctl that wrote the backup.
    pub drctl: String,
    /// Id of the backup.
    pub id: BackupId,
    /// The target.
    pub target: TargetName,
    /// Time of the data in the dump; not later than the snapshot itself.
    pub snapshot_at: Timestamp,
    /// When the run began.
    pub started_at: Timestamp,
    /// When everything except this manifest was written and read back.
    pub finished_at: Timestamp,
    /// The dumped server, or what a kind backs up.
    pub server: ServerFacts,
    /// Position of the snapshot in the server's binary log, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coordinates: Option<Coordinates>,
    /// The program that wrote the stream.
    pub client: ClientFacts,
    /// How the rows were read, if not by the dump program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reader: Option<ReaderFacts>,
    /// Compression of the frames.
    pub codec: crate::archive::codec::Codec,
    /// `age` if segments, index and accounts are encrypted, otherwise `none`.
    pub encryption: String,
    /// The public keys of those who can decrypt it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
    /// The backup whose data these are, under the headers of other recipients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rekeyed_from: Option<BackupId>,
    /// `sshsig` if `manifest.json.sig` contains a signature of this document, otherwise `none`.
    pub signature: String,
    /// The segments, in order.
    pub segments: Vec<FileFacts>,
    /// The index.
    pub index: FileFacts,
    /// accounts.sql; `None` if the backup contains no accounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounts: Option<FileFacts>,
    /// `RESTORE.txt`; empty in archives of versions that did not record it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub documents: Vec<FileFacts>,
    /// Totals of the backup.
    pub totals: Totals,
    /// The first columns whose values mysqldump cannot represent exactly; all are in the index.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lossy: Vec<String>,
    /// The first warnings of the run; all are in the index.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The user's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Why the backup is suspect; empty if it is not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suspect: Vec<String>,
}

/// How the native reader read the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReaderFacts {
    /// Number of connections.
    pub jobs: u32,
    /// How it is known that all of them read the same snapshot.
    pub snapshot: SnapshotMethod,
    /// How often that was tried without a lock.
    pub attempts: u32,
    /// How long a lock was held for it, microseconds.
    pub held_us: u64,
}

/// How it is known that several connections see the same data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotMethod {
    /// The server proved it; nothing was locked.
    Verified,
    /// All snapshots began under the global read lock.
    GlobalLock,
    /// All snapshots began under read locks on the tables.
    TableLocks,
    /// There was one connection.
    OneConnection,
}

/// The source: the dumped server, as far as a restore needs to know it, or what a kind backs up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerFacts {
    /// `mysql`, `mariadb` or the kind.
    pub flavour: String,
    /// The version, as reported by the server; of a kind without a server its place.
    pub version: String,
    /// Identity of the source: of a server its server_uuid, or an id created by drctl.
    pub identity: String,
    /// Variables on which a restore depends.
    pub fingerprint: BTreeMap<String, String>,
    /// Size in bytes of the data, with the indexes of a server, as estimated.
    pub bytes: u64,
}

impl ServerFacts {
    /// Flavour and version; `None` if they are unknown to this version of drctl.
    pub fn parsed(&self) -> Option<ServerVersion> {
        ServerVersion::parse(&self.version, &self.flavour)
    }
}

/// A position in the binary log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coordinates {
    /// The file.
    pub file: String,
    /// The position in the file.
    pub position: u64,
    /// The GTIDs executed up to the position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gtid: Option<String>,
    /// Whether they are too long for the manifest, and in the index.
    #[serde(default, skip_serializing_if = "is_false")]
    pub gtid_in_index: bool,
}

impl Coordinates {
    /// Moves a GTID set that is too long for the manifest to the index.
    pub fn take_long_gtid(&mut self) -> Option<String> {
        let long = self.gtid.take_if(|set| set.len() > MAX_GTID_BYTES);
        self.gtid_in_index |= long.is_some();
        long
    }

    /// Whether the GTIDs are recorded.
    pub fn has_gtid(&self) -> bool {
        self.gtid.is_some() || self.gtid_in_index
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// Rejects labels that would not fit into a manifest; called before the dump.
pub fn check_labels(labels: &BTreeMap<String, String>) -> Result<()> {
    let bytes: usize = labels
        .iter()
        .map(|(key, value)| listed_bytes(key) + listed_bytes(value))
        .sum();
    if bytes > MAX_LABELS_BYTES {
        return Err(Error::usage(format!(
            "the labels take {bytes} bytes, more than the maximum of {MAX_LABELS_BYTES}"
        ))
        .hint("shorten or remove labels"));
    }
    Ok(())
}

/// The program that wrote the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientFacts {
    /// Its name: `mysqldump` or `mariadb-dump`.
    pub name: String,
    /// Its version, as it reports it.
    pub version: String,
    /// Its options, none of them secret.
    pub options: Vec<String>,
}

/// An object of the backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFacts {
    /// Its name below the prefix of the backup.
    pub name: String,
    /// Stored bytes.
    pub bytes: u64,
    /// Digest of the stored bytes.
    pub sha256: Sha256Digest,
    /// Bytes before encryption; `None` if it is not encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain_bytes: Option<u64>,
}

impl FileFacts {
    /// The facts of an object that is not encrypted, or of which it does not matter.
    pub fn of(object: &BackupObject, stored: &[u8]) -> FileFacts {
        FileFacts {
            name: object.to_string(),
            bytes: stored.len() as u64,
            sha256: Sha256Digest::of(stored),
            plain_bytes: None,
        }
    }

    /// Bytes before encryption, if any.
    pub fn text_bytes(&self) -> u64 {
        self.plain_bytes.unwrap_or(self.bytes)
    }
}

/// Totals of a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Bytes of the dump.
    pub raw_bytes: u64,
    /// Stored bytes of all segments.
    pub stored_bytes: u64,
    /// Frames in all segments.
    pub frames: u64,
    /// Number of dump processes.
    pub streams: u32,
    /// Rows in all tables, or lines in all entries.
    pub rows: u64,
    /// Length of the longest statement in bytes; max_allowed_packet must be larger.
    pub largest_statement_bytes: u64,
    /// Number of objects by kind: `table` → 12.
    pub objects: BTreeMap<String, u64>,
}

impl Totals {
    /// The number of objects of each kind in the ledger of an archive of SQL.
    pub fn objects_of(ledger: &Ledger) -> BTreeMap<String, u64> {
        let mut objects = BTreeMap::new();
        for (object, _) in ledger.iter() {
            let kind = object.kind.noun().replace(' ', "-");
            *objects.entry(kind).or_default() += 1;
        }
        objects
    }

    /// The same with the entries of another kind.
    pub fn objects_with(ledger: &Ledger, entries: &Counts) -> BTreeMap<String, u64> {
        let mut objects = Totals::objects_of(ledger);
        objects.extend(entries.by_type.clone());
        objects
    }
}

impl Manifest {
    /// Duration of the backup.
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
        // The lists share the remaining space, the most important one first.
        let mut room = MAX_BYTES.saturating_sub(write(&short)?.len() + RESERVED_BYTES);
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

    /// Parses and verifies a manifest of this format.
    pub fn from_bytes(bytes: &[u8]) -> Result<Manifest> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let damaged = |e: serde_json::Error| Error::archive("manifest.json is damaged").because(e);
        let Format { format } = serde_json::from_slice(bytes).map_err(damaged)?;
        if ![FORMAT, FORMAT_OF_KINDS].contains(&format) {
            return Err(Error::archive(format!(
                "the archive is of format {format}; this version of drctl reads formats {FORMAT} and {FORMAT_OF_KINDS}"
            ))
            .hint("use a version of drctl that supports it"));
        }
        if !is_sealed(bytes) {
            return Err(Error::archive(
                "manifest.json was edited: it does not match its own SHA-256",
            )
            .hint("restore another backup, and find out what changed the store"));
        }
        let manifest: Manifest = serde_json::from_slice(bytes).map_err(damaged)?;
        manifest.check_readable()?;
        Ok(manifest)
    }

    /// The kind of the source.
    pub fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or(MYSQL)
    }

    /// Refuses a backup of another kind than `kind`, before any of its contents are used.
    pub fn check_kind(&self, kind: &str) -> Result<()> {
        if self.kind() == kind {
            return Ok(());
        }
        Err(Error::usage(format!(
            "backup {} of {} is of kind {}, but the configured kind is {kind}",
            self.id,
            self.target,
            self.kind()
        ))
        .hint("set source.kind to the kind of the backup, or give each kind its own target"))
    }

    /// What the frames contain.
    pub fn form(&self) -> Form {
        match self.kind {
            None => Form::Sql,
            Some(_) => Form::Bytes,
        }
    }

    /// The name of a segment before encryption, counted from 0.
    pub fn segment(&self, number: usize) -> Result<BackupObject> {
        self.codec.segment(self.form(), number)
    }

    /// Rejects unknown kinds of encryption and objects with unexpected names.
    fn check_readable(&self) -> Result<()> {
        if (self.format == FORMAT_OF_KINDS) != self.kind.is_some() {
            return Err(Error::archive(format!(
                "manifest.json is damaged: format {} does not fit the kind {}",
                self.format,
                self.kind()
            )));
        }
        if !["none", "age"].contains(&self.encryption.as_str()) {
            return Err(Error::archive(format!(
                "the archive is encrypted with {}, which this version of drctl does not support",
                self.encryption
            ))
            .hint("use a version of drctl that supports it"));
        }
        let mut files = vec![(&self.index, BackupObject::Index)];
        for (number, facts) in self.segments.iter().enumerate() {
            files.push((facts, self.segment(number)?));
        }
        if let Some(facts) = &self.accounts {
            files.push((facts, BackupObject::Accounts(self.codec.suffix())));
        }
        let files = files.into_iter();
        let mut files = files.map(|(facts, object)| (facts, self.named(object)));
        match files.find(|(facts, name)| facts.name != name.to_string()) {
            None => Ok(()),
            Some((facts, name)) => Err(Error::archive(format!(
                "manifest.json was edited: it names {} where {name} belongs",
                facts.name
            ))
            .hint("restore another backup, and find out what changed the store")),
        }
    }

    /// The objects of which SHA256SUMS has the digest, in its order.
    pub fn files(&self) -> impl Iterator<Item = &FileFacts> {
        let data = self.segments.iter().chain(&self.accounts);
        data.chain([&self.index]).chain(&self.documents)
    }

    /// Whether the objects that hold data are encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.encryption != "none"
    }

    /// An object that holds data under the name that it has in this backup.
    pub fn named(&self, object: BackupObject) -> BackupObject {
        match self.is_encrypted() {
            true => object.encrypted(),
            false => object,
        }
    }

    fn count(&self, kind: &str) -> u64 {
        self.totals.objects.get(kind).copied().unwrap_or(0)
    }

    /// Number of entries of a kind other than MySQL.
    pub fn entries(&self) -> u64 {
        match self.form() {
            Form::Sql => 0,
            Form::Bytes => self.totals.objects.values().sum(),
        }
    }

    /// What it contains, as text.
    pub fn contents(&self) -> String {
        if self.form() == Form::Sql {
            let (rows, tables) = (self.totals.rows, self.tables());
            return format!("{} in {}", counted(rows, "row"), counted(tables, "table"));
        }
        let objects = self.totals.objects.iter();
        let objects: Vec<String> = objects.map(|(what, n)| counted(*n, what)).collect();
        objects.join(", ")
    }

    /// Number of schemas.
    pub fn schemas(&self) -> u64 {
        self.count("schema")
    }

    /// Number of tables.
    pub fn tables(&self) -> u64 {
        self.count("table")
    }
}

/// Replaces the closing brace with the seal.
fn seal(json: &mut Vec<u8>) {
    json.truncate(json.trim_ascii_end().len().saturating_sub(b"\n}".len()));
    let sha256 = Sha256Digest::of(&json).to_string();
    for piece in [SEAL.0, sha256.as_bytes(), SEAL.1] {
        json.extend_from_slice(piece);
    }
}

/// Whether a manifest ends with the seal of the bytes before it.
fn is_sealed(bytes: &[u8]) -> bool {
    const DIGITS: usize = 64;
    let sealed = || {
        let rest = bytes.strip_suffix(SEAL.1)?;
        let (rest, sha256) = rest.split_at_checked(rest.len().checked_sub(DIGITS)?)?;
        let body = rest.strip_suffix(SEAL.0)?;
        Some(Sha256Digest::of(body).to_string().as_bytes() == sha256)
    };
    sealed() == Some(true)
}

/// Bytes reserved for the names and brackets of the lists, and the seal.
const RESERVED_BYTES: usize = 512;

/// Size in bytes of a text as an entry of a list: with escapes, indentation and comma.
fn listed_bytes(text: &str) -> usize {
    let quoted = serde_json::to_string(text).map_or(text.len(), |quoted| quoted.len());
    quoted + "\n    ,".len()
}

/// The first entries of a list, truncated, as many as fit into `room` bytes, and the number of the others.
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

/// Truncates a text to [`MAX_ENTRY_BYTES`].
fn cut(text: &str) -> String {
    if text.len() <= MAX_ENTRY_BYTES {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(MAX_ENTRY_BYTES)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::fixture;

    fn file(name: &str) -> FileFacts {
        FileFacts {
            name: name.into(),
            bytes: 1,
            sha256: Sha256Digest::of(name),
            plain_bytes: None,
        }
    }

    fn manifest() -> Manifest {
        let (_, place) = fixture::place();
        fixture::manifest(&place, vec![file("dump.sql.zst")], file("index.jsonl.zst"))
    }

    #[test]
    fn a_manifest_is_read_back_from_its_bytes() {
        let manifest = manifest();
        assert_eq!(
            Manifest::from_bytes(&manifest.to_bytes().unwrap()).unwrap(),
            manifest
        );
    }

    /// In any script, and with any escapes.
    #[test]
    fn a_manifest_of_long_lists_fits_and_contains_the_number_of_omitted_entries() {
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
    fn labels_are_bounded_in_their_serialized_form() {
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
        assert_eq!(json["sha256"], Sha256Digest::of(sealed).to_string());
    }

    #[test]
    fn every_flipped_bit_is_rejected() {
        let bytes = manifest().to_bytes().unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let refused = Manifest::from_bytes(&flipped).unwrap_err();
            assert_eq!(refused.outcome().code(), 6, "bit {bit}");
        }
    }

    #[test]
    fn a_changed_added_or_removed_field_is_rejected_although_the_json_is_valid() {
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
            let edited = if to.is_empty() || from.starts_with("\"d") {
                text.replacen(from, to, 1)
            } else {
                let at = text.rfind(from).unwrap();
                format!("{}{to}{}", &text[..at], &text[at + from.len()..])
            };
            assert_ne!(edited, text);
            let refused = Manifest::from_bytes(edited.as_bytes()).unwrap_err();
            assert_eq!(refused.outcome().code(), 6, "{from} → {to}");
        }
    }

    #[test]
    fn fields_of_later_versions_are_ignored() {
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
