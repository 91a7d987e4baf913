//! What is computed from the bytes of an object while they are copied.

use std::io::{self, Write};

use sha2::{Digest as _, Sha256};
use xxhash_rust::xxh3::Xxh3;
use zstd::stream::raw;
use zstd::stream::zio;

use crate::binlog::segment::MOST_RAW;
use crate::layout::LogObject;
use crate::stream::objects::front_bytes;
use crate::util::digest::Sha256Digest;

/// The digests of an object, so far.
pub struct Inspection {
    sha256: Sha256,
    bytes: u64,
    /// The beginning of the object, and its maximum length.
    front: (Vec<u8>, usize),
    /// A segment of the log, unpacked to be digested: the last segment of a chain has no other digest. `None` after a
    /// failure, and of other objects.
    zstd: Option<zio::Writer<Raw, raw::Decoder<'static>>>,
}

/// Digests raw bytes.
struct Raw {
    xxh3: Xxh3,
    bytes: u64,
}

/// What an object holds.
#[derive(Debug)]
pub struct Seen {
    /// Stored bytes.
    pub bytes: u64,
    /// SHA-256 of them.
    pub sha256: Sha256Digest,
    /// The beginning of the object; empty if it is not a segment of the log.
    pub front: Vec<u8>,
    /// Raw bytes and their XXH3-128; `None` if it is not a segment, is encrypted, or cannot be decompressed.
    pub raw: Option<(u64, u128)>,
}

impl Inspection {
    /// Of an object whose digest is known.
    pub fn plain() -> Inspection {
        Inspection {
            sha256: Sha256::new(),
            bytes: 0,
            front: (Vec::new(), 0),
            zstd: None,
        }
    }

    /// Of a segment of the log. Without an identity nothing of an encrypted one can be unpacked.
    pub fn segment(object: &LogObject) -> Inspection {
        let raw = Raw {
            xxh3: Xxh3::new(),
            bytes: 0,
        };
        let zstd = match object {
            LogObject::EncryptedSegment(..) => None,
            _ => raw::Decoder::new().ok(),
        };
        Inspection {
            front: (Vec::new(), front_bytes(object) as usize),
            zstd: zstd.map(|zstd| zio::Writer::new(raw, zstd)),
            ..Inspection::plain()
        }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.bytes += bytes.len() as u64;
        let (front, most) = &mut self.front;
        let room = most.saturating_sub(front.len());
        front.extend_from_slice(&bytes[..bytes.len().min(room)]);
        let unpacked = self.zstd.as_mut().map(|zstd| zstd.write_all(bytes));
        if !matches!(unpacked, Some(Ok(()))) {
            self.zstd = None;
        }
    }

    /// The result.
    pub fn end(self) -> Seen {
        let whole = self.zstd.and_then(|mut zstd| {
            // An error if the last frame is cut off.
            zstd.finish().ok()?;
            let (raw, _) = zstd.into_inner();
            Some((raw.bytes, raw.xxh3.digest128()))
        });
        Seen {
            bytes: self.bytes,
            sha256: self.sha256.into(),
            front: self.front.0,
            raw: whole,
        }
    }
}

impl Write for Raw {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += bytes.len() as u64;
        if self.bytes > MOST_RAW {
            return Err(io::Error::other("longer than any segment"));
        }
        self.xxh3.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::record::Contents;
    use crate::binlog::segment::{Packer, Place, decode, hex128, record};

    fn packed(raw: &[u8]) -> Vec<u8> {
        let mut packer = Packer::new().unwrap();
        packer.push(raw).unwrap();
        let place = Place {
            timeline: "20261129T222310Z-3f9a".parse().unwrap(),
            file: "binlog.000001".parse().unwrap(),
            from: 0,
            log_pos_to: raw.len() as u64,
            last_event: 31,
            seq: 0,
            prev: None,
            mariadb: false,
            gtid_set: None,
        };
        packer.finish(place, Contents::default()).unwrap().1
    }

    fn seen(object: &[u8], part: usize) -> Seen {
        let segment = LogObject::Segment(
            "20261129T222310Z-3f9a".parse().unwrap(),
            "binlog.000001".parse().unwrap(),
            0,
        );
        let mut inspection = Inspection::segment(&segment);
        object.chunks(part).for_each(|part| inspection.update(part));
        inspection.end()
    }

    /// Whether the inspection accepts a segment, as the copy of the log does.
    fn accepts(object: &[u8], part: usize) -> bool {
        let seen = seen(object, part);
        let Ok((record, _)) = record("k", &seen.front) else {
            return false;
        };
        seen.raw.is_some_and(|(bytes, xxh3)| {
            bytes == record.to - record.from && hex128(xxh3) == record.xxh3
        })
    }

    #[test]
    fn a_segment_is_accepted_in_parts_of_any_size_and_a_cut_or_doubled_one_never() {
        let raw: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        let object = packed(&raw);
        for part in [1 << 10, 4_099, object.len()] {
            assert!(accepts(&object, part), "parts of {part}");
        }
        for end in (0..object.len())
            .step_by(97)
            .chain([object.len() - 1, object.len() - 4])
        {
            assert!(!accepts(&object[..end], 1 << 10), "cut at {end}");
        }
        assert!(!accepts(
            &[object.clone(), object.clone()].concat(),
            1 << 10
        ));
        assert!(!accepts(&[object.clone(), vec![0]].concat(), 1 << 10));
        let whole = seen(&object, 1 << 10);
        assert_eq!(whole.sha256, Sha256Digest::of(&object));
        assert_eq!(whole.bytes, object.len() as u64);
    }

    #[test]
    fn what_the_reader_of_the_log_refuses_is_not_accepted() {
        let object = packed(&b"some events".repeat(10));
        for bit in 0..object.len() * 8 {
            let mut flipped = object.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                accepts(&flipped, 64),
                decode("k", &flipped).is_ok(),
                "bit {bit}"
            );
        }
    }
}
