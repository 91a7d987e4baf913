//! A segment as stored: its record in a skippable zstd frame, then a piece of the file in a zstd frame.
//!
//! `zstd -dc` of the segments of a file, in the order of their names, is the file.

use std::io::{Read as _, Write as _};

use sha2::Digest as _;
use xxhash_rust::xxh3::Xxh3;
use zstd::stream::raw::{self, CParameter, Operation as _};
use zstd::stream::zio;

use super::record::{Contents, FORMAT, Record};
use crate::layout::{LogFile, TimelineId};
use crate::{Error, Result};

/// Begins a skippable frame of zstd.
const SKIPPABLE: [u8; 4] = 0x184D_2A50_u32.to_le_bytes();

/// Most bytes of a record.
pub const MOST_RECORD: usize = 64 << 10;

/// Most bytes at the beginning of an object that hold its record.
pub const RECORD_READ: u64 = MOST_RECORD as u64 + 8;

/// Most raw bytes: those of a cut and of the largest event.
pub const MOST_RAW: u64 = (1 << 30) + (64 << 20);

/// Compression level: fast rather than small, as that of a backup.
const LEVEL: i32 = 1;

/// Threads that compress beside the one that reads the log, and bytes that one is given at a time.
const COMPRESSORS: u32 = 1;
const JOB_BYTES: u32 = 1 << 20;

/// Room for what a full segment is usually compressed to, so that it is not moved while it grows.
const USUAL_BYTES: usize = 10 << 20;

/// The longest set of GTIDs that a record carries, bytes.
const MOST_SET: usize = 16 << 10;

type Writer = zio::Writer<Vec<u8>, raw::Encoder<'static>>;

/// Raw bytes that are handed to the compressor at a time: each handover takes a lock.
const HANDOVER_BYTES: usize = 128 << 10;

/// Makes one segment after another: raw bytes are compressed as they come.
pub struct Packer {
    /// `None` only after a failure.
    zstd: Option<Writer>,
    /// What is not yet handed to it.
    raw_bytes: Vec<u8>,
    /// A buffer for the next object.
    spare: Option<Vec<u8>>,
    xxh3: Xxh3,
    raw: u64,
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packer")
            .field("raw", &self.raw)
            .finish_non_exhaustive()
    }
}

/// Where a segment stands, and what it continues.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its timeline.
    pub timeline: TimelineId,
    /// The file.
    pub file: LogFile,
    /// Its offset in the archived file.
    pub from: u64,
    /// Position of its end in the server's file.
    pub log_pos_to: u64,
    /// Bytes of its last event.
    pub last_event: u64,
    /// Its number.
    pub seq: u64,
    /// SHA-256 of the segment before.
    pub prev: Option<String>,
    /// Whether MariaDB wrote it.
    pub mariadb: bool,
    /// All transactions up to its end.
    pub gtid_set: Option<String>,
}

impl Packer {
    /// Begins the first segment.
    pub fn new() -> Result<Packer> {
        let mut zstd = raw::Encoder::new(LEVEL).map_err(no_encoder)?;
        for parameter in [
            CParameter::ChecksumFlag(true),
            CParameter::NbWorkers(COMPRESSORS),
            CParameter::JobSize(JOB_BYTES),
        ] {
            zstd.set_parameter(parameter).map_err(no_encoder)?;
        }
        Ok(Packer {
            zstd: Some(empty(zstd, None)),
            raw_bytes: Vec::with_capacity(HANDOVER_BYTES),
            spare: None,
            xxh3: Xxh3::new(),
            raw: 0,
        })
    }

    /// Raw bytes of the segment so far.
    pub fn raw(&self) -> u64 {
        self.raw
    }

    /// Appends raw bytes.
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        if self.raw_bytes.len() + bytes.len() > HANDOVER_BYTES {
            self.hand_over()?;
        }
        if bytes.len() > HANDOVER_BYTES {
            let zstd = self.zstd.as_mut().ok_or_else(no_more)?;
            zstd.write_all(bytes).map_err(no_encoder)?;
            self.xxh3.update(bytes);
        } else {
            self.raw_bytes.extend_from_slice(bytes);
        }
        self.raw += bytes.len() as u64;
        Ok(())
    }

    fn hand_over(&mut self) -> Result<()> {
        let zstd = self.zstd.as_mut().ok_or_else(no_more)?;
        zstd.write_all(&self.raw_bytes).map_err(no_encoder)?;
        self.xxh3.update(&self.raw_bytes);
        self.raw_bytes.clear();
        Ok(())
    }

    /// Takes the buffer of an object that is stored, for one to come: fresh memory costs more than its compression.
    pub fn reuse(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.spare = Some(buffer);
    }

    /// Ends the segment, and begins another: its bytes compressed, their number and their digest.
    fn end(&mut self) -> Result<(Vec<u8>, u64, u128)> {
        self.hand_over()?;
        let mut writer = self.zstd.take().ok_or_else(no_more)?;
        writer.finish().map_err(no_encoder)?;
        let (packed, mut zstd) = writer.into_inner();
        zstd.reinit().map_err(no_encoder)?;
        self.zstd = Some(empty(zstd, self.spare.take()));
        let digest = self.xxh3.digest128();
        self.xxh3.reset();
        Ok((packed, std::mem::take(&mut self.raw), digest))
    }

    /// The object, and its record; begins another segment.
    pub fn finish(&mut self, place: Place, contents: Contents) -> Result<(Record, Vec<u8>)> {
        let (mut object, raw, digest) = self.end()?;
        let mut record = Record {
            format: FORMAT,
            timeline: place.timeline,
            file: place.file,
            from: place.from,
            to: place.from + raw,
            log_pos_to: place.log_pos_to,
            last_event: place.last_event,
            seq: place.seq,
            prev: place.prev,
            xxh3: hex128(digest),
            mariadb: place.mariadb,
            contents,
            gtid_set: place.gtid_set.filter(|set| set.len() <= MOST_SET),
        };
        let json = fitting(&mut record)?;
        let length = (json.len() as u32).to_le_bytes();
        let front = [&SKIPPABLE[..], &length, &json].concat();
        object.splice(..0, front);
        Ok((record, object))
    }
}

/// An empty segment for an encoder that has none open.
fn empty(zstd: raw::Encoder<'static>, buffer: Option<Vec<u8>>) -> Writer {
    let buffer = buffer.unwrap_or_else(|| Vec::with_capacity(USUAL_BYTES));
    zio::Writer::new(buffer, zstd)
}

fn no_more() -> Error {
    Error::unexpected("the log cannot be compressed any more")
}

/// The record as JSON, shortened until it fits.
fn fitting(record: &mut Record) -> Result<Vec<u8>> {
    loop {
        let json = serde_json::to_vec(record)
            .map_err(|e| Error::unexpected("cannot write the record of a segment").because(e))?;
        if json.len() <= MOST_RECORD {
            return Ok(json);
        }
        let contents = &mut record.contents;
        let (statements, tables) = (contents.statements.len(), contents.tables.len());
        if tables > 0 {
            let kept = contents.tables.iter().take(tables / 2);
            contents.tables = kept.map(|(name, bytes)| (name.clone(), *bytes)).collect();
            contents.more_tables += (tables - tables / 2) as u64;
        } else if statements > 0 {
            contents.statements.truncate(statements / 2);
            contents.more_statements += (statements - statements / 2) as u64;
        } else if record.gtid_set.take().is_none() {
            return Err(Error::source(format!(
                "the GTIDs of one segment take {} bytes",
                json.len()
            ))
            .hint("report this: no server is known that numbers its transactions so"));
        }
    }
}

fn no_encoder(error: std::io::Error) -> Error {
    Error::unexpected("cannot compress the log").because(error)
}

/// A digest as it stands in records.
pub fn hex128(digest: u128) -> String {
    format!("{digest:032x}")
}

/// SHA-256 of an object, as the next segment names it.
pub fn sha256(object: &[u8]) -> String {
    hex::encode(sha2::Sha256::digest(object))
}

/// A segment that is not what was archived.
pub fn broken(key: &str, why: &str) -> Error {
    Error::archive(format!("{key}: {why}")).hint(
        "find out what changed the store; backups, and the log in front of it, are not affected",
    )
}

/// Reads the record at the beginning of an object, which need not be whole; returns what follows.
pub fn record<'a>(key: &str, object: &'a [u8]) -> Result<(Record, &'a [u8])> {
    let wrong = |why: &str| broken(key, why);
    let rest = object
        .strip_prefix(&SKIPPABLE)
        .ok_or_else(|| wrong("not a segment of a binary log"))?;
    let (length, rest) = rest.split_at_checked(4).ok_or_else(|| wrong("cut off"))?;
    let length = u32::from_le_bytes(length.try_into().unwrap_or_default()) as usize;
    if length > MOST_RECORD {
        return Err(wrong("its record is longer than any is"));
    }
    let (json, rest) = rest
        .split_at_checked(length)
        .ok_or_else(|| wrong("cut off"))?;
    let record: Record =
        serde_json::from_slice(json).map_err(|e| wrong("its record cannot be read").because(e))?;
    if record.format != FORMAT {
        return Err(wrong(&format!(
            "format {} is not known to this version",
            record.format
        ))
        .hint("use a newer drctl"));
    }
    let raw = record.to.checked_sub(record.from);
    if raw.is_none_or(|raw| raw == 0 || raw > MOST_RAW) {
        return Err(wrong("its record has a length that cannot be"));
    }
    Ok((record, rest))
}

/// Reads a whole segment: its record and the raw bytes, which fit the record.
pub fn decode(key: &str, object: &[u8]) -> Result<(Record, Vec<u8>)> {
    let (record, packed) = record(key, object)?;
    let wrong = |why: &str| broken(key, why);
    let raw_bytes = record.to - record.from;
    let mut raw = Vec::new();
    let reader = zstd::stream::read::Decoder::new(packed);
    let mut reader = reader.map_err(|e| wrong("cannot decompress").because(e))?;
    (&mut reader)
        .take(raw_bytes + 1)
        .read_to_end(&mut raw)
        .map_err(|e| wrong("cannot decompress").because(e))?;
    if raw.len() as u64 != raw_bytes {
        return Err(wrong(
            "it holds another number of bytes than its record says",
        ));
    }
    match hex128(xxhash_rust::xxh3::xxh3_128(&raw)) == record.xxh3 {
        true => Ok((record, raw)),
        false => Err(wrong("its bytes do not fit its record")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::record::LoggedStatement;

    fn packed(contents: Contents, raw: &[u8]) -> (Record, Vec<u8>) {
        let mut packer = Packer::new().unwrap();
        packer.push(raw).unwrap();
        let place = Place {
            timeline: "20261129T222310Z-3f9a".parse().unwrap(),
            file: "binlog.000001".parse().unwrap(),
            from: 4,
            log_pos_to: 4 + raw.len() as u64,
            last_event: 31,
            seq: 0,
            prev: None,
            mariadb: false,
            gtid_set: Some("x".repeat(100)),
        };
        packer.finish(place, contents).unwrap()
    }

    #[test]
    fn a_segment_is_read_as_it_was_written_and_zstd_reads_only_the_log() {
        let raw = b"some events".repeat(1_000);
        let (record, object) = packed(Contents::default(), &raw);
        let read = decode("k", &object).unwrap();
        assert_eq!(read, (record, raw.clone()));
        assert_eq!(zstd::stream::decode_all(object.as_slice()).unwrap(), raw);
        let twice = [object.clone(), object].concat();
        assert_eq!(
            zstd::stream::decode_all(twice.as_slice()).unwrap().len(),
            2 * raw.len()
        );
        assert!(decode("k", &twice).is_err(), "two segments in one object");
    }

    #[test]
    fn a_cut_or_flipped_segment_is_never_read_as_another() {
        let raw = b"some events".repeat(10);
        let (record, object) = packed(Contents::default(), &raw);
        for end in 0..object.len() {
            assert!(decode("k", &object[..end]).is_err(), "cut at {end}");
        }
        let body = object.len() - zstd_bytes(&object);
        for bit in body * 8..object.len() * 8 {
            let mut flipped = object.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(read) = decode("k", &flipped) {
                assert_eq!(read, (record.clone(), raw.clone()), "bit {bit}");
            }
        }
    }

    fn zstd_bytes(object: &[u8]) -> usize {
        record("k", object).unwrap().1.len()
    }

    #[test]
    fn a_record_always_fits() {
        let statement = LoggedStatement {
            gtid: Some("g".repeat(60)),
            at: jiff::Timestamp::UNIX_EPOCH,
            kind: "DROP TABLE".into(),
            objects: vec!["o".repeat(128); 20],
            sql: Some("s".repeat(200)),
        };
        let contents = Contents {
            statements: vec![statement; 100],
            tables: (0..200)
                .map(|n| (format!("{n:0128}"), Default::default()))
                .collect(),
            ..Contents::default()
        };
        let (shortened, object) = packed(contents, b"x");
        let (read, _) = record("k", &object).unwrap();
        assert_eq!(read, shortened);
        assert!(read.contents.more_tables + read.contents.more_statements > 0);
    }
}
