//! Digests: bytes in memory, hexadecimal digits in documents.

use std::fmt;

use md5::Md5;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

/// A digest of `N` bytes; twice as many lower-case hexadecimal digits as text and in serialized form.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest<const N: usize>([u8; N]);

/// A SHA-256.
pub type Sha256Digest = Digest<32>;

/// An XXH3-128.
pub type Xxh3Digest = Digest<16>;

impl Sha256Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Sha256::new_with_prefix(bytes).into()
    }
}

/// The MD5 of `bytes` in hexadecimal digits, to recognise a document by the entity tag that a store gives it.
pub fn md5(bytes: impl AsRef<[u8]>) -> String {
    hex::encode(Md5::digest(bytes))
}

impl From<Sha256> for Sha256Digest {
    fn from(sha256: Sha256) -> Self {
        Digest(sha256.finalize().into())
    }
}

impl Xxh3Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        xxhash_rust::xxh3::xxh3_128(bytes).into()
    }
}

impl From<u128> for Xxh3Digest {
    fn from(number: u128) -> Self {
        Digest(number.to_be_bytes())
    }
}

impl From<Xxh3Digest> for u128 {
    fn from(digest: Xxh3Digest) -> Self {
        u128::from_be_bytes(digest.0)
    }
}

impl<const N: usize> fmt::Display for Digest<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl<const N: usize> fmt::Debug for Digest<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<const N: usize> Serialize for Digest<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Digest<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; N];
        match hex::decode_to_slice(&text, &mut bytes) {
            Ok(()) => Ok(Digest(bytes)),
            Err(_) => Err(de::Error::custom(format_args!(
                "a digest is not {} hexadecimal digits",
                2 * N
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_back_from_its_digits() {
        let sha256 = Sha256Digest::of("abc");
        let digits = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256.to_string(), digits);
        let json = serde_json::to_string(&sha256).unwrap();
        assert_eq!(serde_json::from_str::<Sha256Digest>(&json).unwrap(), sha256);
        let small = Xxh3Digest::from(255);
        let json = format!("\"{}ff\"", "0".repeat(30));
        assert_eq!(serde_json::to_string(&small).unwrap(), json);
        assert_eq!(serde_json::from_str::<Xxh3Digest>(&json).unwrap(), small);
        for bad in ["", "ff", "+00000000000000000000000000000ff"] {
            assert!(serde_json::from_str::<Xxh3Digest>(&format!("\"{bad}\"")).is_err());
        }
    }
}
