//! A frame's bytes, compressed and back.
//!
//! Frames are whole zstd frames or gzip members, so that their concatenation is one valid stream
//! for `zstd -d` and `gunzip`. The codec's own checksum is always on.

use std::io::{Read, Write};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::store::keys::{BackupObject, MAX_SEGMENT, Suffix};

/// How frames are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// Zstandard, one frame each.
    Zstd,
    /// gzip, one member each.
    Gzip,
    /// Not compressed.
    None,
}

impl Codec {
    /// Its name, as the configuration spells it.
    pub fn name(self) -> &'static str {
        match self {
            Codec::Zstd => "zstd",
            Codec::Gzip => "gzip",
            Codec::None => "none",
        }
    }

    /// How the names of its objects end.
    pub fn suffix(self) -> Suffix {
        match self {
            Codec::Zstd => Suffix::Zstd,
            Codec::Gzip => Suffix::Gzip,
            Codec::None => Suffix::Plain,
        }
    }

    /// The name of a segment, counted from 0.
    pub fn segment(self, number: usize) -> Result<BackupObject> {
        match u16::try_from(number) {
            Ok(number) if number <= MAX_SEGMENT => Ok(BackupObject::Segment {
                number,
                suffix: self.suffix(),
            }),
            _ => Err(
                Error::source(format!("the dump needs more than {MAX_SEGMENT} segments"))
                    .hint("split the target into several, by schemas"),
            ),
        }
    }

    /// The command that undoes it on a pipe, for RESTORE.txt.
    pub fn decoder_command(self) -> &'static str {
        match self {
            Codec::Zstd => "zstd -dc",
            Codec::Gzip => "gunzip -c",
            Codec::None => "cat",
        }
    }

    /// Its usual level: fast rather than small.
    pub fn default_level(self) -> i32 {
        match self {
            Codec::Zstd => 1,
            Codec::Gzip => 3,
            Codec::None => 0,
        }
    }

    /// The levels that it knows.
    pub fn levels(self) -> std::ops::RangeInclusive<i32> {
        match self {
            Codec::Zstd => 1..=19,
            Codec::Gzip => 1..=9,
            Codec::None => 0..=0,
        }
    }
}

/// A reusable compression context; one a worker.
pub struct Encoder {
    codec: Codec,
    level: i32,
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

impl Encoder {
    /// A context for one codec at one level.
    pub fn new(codec: Codec, level: i32) -> std::io::Result<Self> {
        let zstd = match codec {
            Codec::Zstd => {
                let mut compressor = zstd::bulk::Compressor::new(level)?;
                compressor.include_checksum(true)?;
                Some(compressor)
            }
            Codec::Gzip | Codec::None => None,
        };
        Ok(Encoder { codec, level, zstd })
    }

    /// Compresses one frame.
    pub fn encode(&mut self, raw: &[u8]) -> std::io::Result<Vec<u8>> {
        match (self.codec, &mut self.zstd) {
            (Codec::Zstd, Some(zstd)) => zstd.compress(raw),
            (Codec::Gzip, _) => {
                let level = flate2::Compression::new(self.level.unsigned_abs());
                let buffer = Vec::with_capacity(raw.len() / 2);
                let mut gzip = flate2::write::GzEncoder::new(buffer, level);
                gzip.write_all(raw)?;
                gzip.finish()
            }
            (Codec::Zstd, None) | (Codec::None, _) => Ok(raw.to_vec()),
        }
    }
}

/// Decompresses one frame whose raw size is known. More, less, or bytes after its end are errors:
/// a reader that stops after the first member would lose the rest in silence.
pub fn decode(codec: Codec, stored: &[u8], raw_len: usize) -> std::io::Result<Vec<u8>> {
    let wrong = |what: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned());
    // A size that cannot be had is an error, not an abort.
    let mut raw = Vec::new();
    if codec != Codec::None {
        raw.try_reserve_exact(raw_len)?;
    }
    let raw = match codec {
        Codec::Zstd => zstd::bulk::Decompressor::new()?
            .decompress_to_buffer(stored, &mut raw)
            .map(|_| raw)?,
        Codec::Gzip => {
            let mut gzip = flate2::bufread::GzDecoder::new(stored);
            (&mut gzip).take(raw_len as u64 + 1).read_to_end(&mut raw)?;
            if !gzip.into_inner().is_empty() {
                return Err(wrong("bytes after the end of the frame"));
            }
            raw
        }
        Codec::None => stored.to_vec(),
    };
    if raw.len() == raw_len {
        Ok(raw)
    } else {
        Err(wrong(
            "the frame holds another number of bytes than the index says",
        ))
    }
}

/// Decompresses a whole small object, of `most` bytes at the most.
pub fn decode_all(codec: Codec, stored: &[u8], most: u64) -> std::io::Result<Vec<u8>> {
    let mut reader: Box<dyn Read + '_> = match codec {
        Codec::Zstd => Box::new(zstd::stream::read::Decoder::new(stored)?),
        Codec::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(stored)),
        Codec::None => Box::new(stored),
    };
    let mut raw = Vec::new();
    (&mut reader).take(most + 1).read_to_end(&mut raw)?;
    if raw.len() as u64 > most {
        let what = format!("it decodes to more than {most} bytes");
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, what));
    }
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SQL: &[u8] = b"INSERT INTO `t` VALUES (1,'one'),(2,'two');\n";

    fn encode(codec: Codec) -> Vec<u8> {
        Encoder::new(codec, codec.default_level())
            .unwrap()
            .encode(SQL)
            .unwrap()
    }

    #[test]
    fn every_codec_gives_back_what_it_took() {
        for codec in [Codec::Zstd, Codec::Gzip, Codec::None] {
            assert_eq!(decode(codec, &encode(codec), SQL.len()).unwrap(), SQL);
        }
    }

    #[test]
    fn two_frames_in_the_place_of_one_are_refused() {
        for codec in [Codec::Zstd, Codec::Gzip, Codec::None] {
            let twice = [encode(codec), encode(codec)].concat();
            assert!(decode(codec, &twice, SQL.len()).is_err(), "{codec:?}");
        }
    }

    #[test]
    fn a_cut_frame_is_refused() {
        for codec in [Codec::Zstd, Codec::Gzip, Codec::None] {
            let whole = encode(codec);
            assert!(
                decode(codec, &whole[..whole.len() - 1], SQL.len()).is_err(),
                "{codec:?}"
            );
        }
    }

    #[test]
    fn a_flipped_bit_never_decodes_to_something_else_in_silence() {
        for codec in [Codec::Zstd, Codec::Gzip] {
            let whole = encode(codec);
            for bit in 0..whole.len() * 8 {
                let mut flipped = whole.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                if let Ok(raw) = decode(codec, &flipped, SQL.len()) {
                    assert_eq!(raw, SQL, "{codec:?} bit {bit}");
                }
            }
        }
    }
}
