//! Compression and decompression of frames.
//!
//! Each frame is a complete zstd frame or gzip member, so that their concatenation is a valid stream for `zstd -d` and
//! `gunzip`. The codec's own checksum is always enabled.

use std::io::{Read, Write};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::layout::{BackupObject, MAX_SEGMENT, Suffix};
use crate::util::error::{Error, Result};

/// What the frames of an archive contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// Complete SQL statements.
    #[default]
    Sql,
    /// The bytes of a stream, divided anywhere.
    Bytes,
}

/// Compression of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
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
    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Codec::Zstd => "zstd",
            Codec::Gzip => "gzip",
            Codec::None => "none",
        }
    }

    /// Suffix of the names of its objects that contain SQL.
    pub fn suffix(self) -> Suffix {
        self.suffix_of(Form::Sql)
    }

    fn suffix_of(self, form: Form) -> Suffix {
        match (form, self) {
            (Form::Sql, Codec::Zstd) => Suffix::Zstd,
            (Form::Sql, Codec::Gzip) => Suffix::Gzip,
            (Form::Sql, Codec::None) => Suffix::Plain,
            (Form::Bytes, Codec::Zstd) => Suffix::BytesZstd,
            (Form::Bytes, Codec::Gzip) => Suffix::BytesGzip,
            (Form::Bytes, Codec::None) => Suffix::BytesPlain,
        }
    }

    /// The name of a segment, counted from 0.
    pub fn segment(self, form: Form, number: usize) -> Result<BackupObject> {
        match u16::try_from(number) {
            Ok(number) if number <= MAX_SEGMENT => Ok(BackupObject::Segment {
                number,
                suffix: self.suffix_of(form),
            }),
            _ => Err(
                Error::source(format!("the dump needs more than {MAX_SEGMENT} segments"))
                    .hint("split the target into several, by schemas"),
            ),
        }
    }

    /// The command that decompresses standard input, for RESTORE.txt.
    pub fn decoder_command(self) -> &'static str {
        match self {
            Codec::Zstd => "zstd -dc",
            Codec::Gzip => "gunzip -c",
            Codec::None => "cat",
        }
    }

    /// The default level: fast rather than small.
    pub fn default_level(self) -> i32 {
        match self {
            Codec::Zstd => 1,
            Codec::Gzip => 3,
            Codec::None => 0,
        }
    }

    /// The valid levels.
    pub fn levels(self) -> std::ops::RangeInclusive<i32> {
        match self {
            Codec::Zstd => 1..=19,
            Codec::Gzip => 1..=9,
            Codec::None => 0..=0,
        }
    }
}

/// A reusable compression context, for one thread.
pub struct Encoder {
    codec: Codec,
    level: i32,
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

impl Encoder {
    /// A context for a codec and level.
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

    /// Compresses one frame into an empty buffer.
    pub fn encode(&mut self, raw: &[u8], stored: &mut Vec<u8>) -> std::io::Result<()> {
        match (self.codec, &mut self.zstd) {
            (Codec::Zstd, Some(zstd)) => {
                stored.reserve_exact(zstd::zstd_safe::compress_bound(raw.len()));
                zstd.compress_to_buffer(raw, stored)?;
            }
            (Codec::Gzip, _) => {
                let level = flate2::Compression::new(self.level.unsigned_abs());
                stored.reserve(raw.len() / 2);
                let mut gzip = flate2::write::GzEncoder::new(stored, level);
                gzip.write_all(raw)?;
                gzip.finish()?;
            }
            (Codec::Zstd, None) | (Codec::None, _) => stored.extend_from_slice(raw),
        }
        Ok(())
    }
}

/// Decompresses a frame whose raw size is known. Any other size, or bytes after the end of the frame, are errors: a
/// decoder that stops after the first member would silently lose the rest.
pub fn decode(codec: Codec, stored: &[u8], raw_len: usize) -> std::io::Result<Vec<u8>> {
    let wrong = |what: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned());
    // Too large a size is an error, not an abort.
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
            "the frame does not have the number of bytes recorded in the index",
        ))
    }
}

/// Decompresses a small object of at most `most` bytes.
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
        let mut encoder = Encoder::new(codec, codec.default_level()).unwrap();
        let mut stored = Vec::new();
        encoder.encode(SQL, &mut stored).unwrap();
        stored
    }

    #[test]
    fn every_codec_restores_the_original() {
        for codec in [Codec::Zstd, Codec::Gzip, Codec::None] {
            assert_eq!(decode(codec, &encode(codec), SQL.len()).unwrap(), SQL);
        }
    }

    #[test]
    fn two_frames_instead_of_one_are_rejected() {
        for codec in [Codec::Zstd, Codec::Gzip, Codec::None] {
            let twice = [encode(codec), encode(codec)].concat();
            assert!(decode(codec, &twice, SQL.len()).is_err(), "{codec:?}");
        }
    }

    #[test]
    fn a_truncated_frame_is_rejected() {
        for codec in [Codec::Zstd, Codec::Gzip, Codec::None] {
            let whole = encode(codec);
            assert!(
                decode(codec, &whole[..whole.len() - 1], SQL.len()).is_err(),
                "{codec:?}"
            );
        }
    }

    #[test]
    fn a_flipped_bit_never_decodes_silently_to_other_bytes() {
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
