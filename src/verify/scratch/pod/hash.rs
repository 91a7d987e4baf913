//! Password hashes in the server's format, so that a pod's spec contains no usable password.
//!
//! MySQL's `caching_sha2_password` is SHA-crypt with SHA-256 and a salt of 20 bytes, but all libraries are
//! limited to 16; hence the implementation here. It is tested with a real server and with a test vector of
//! the specification.

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::mysql::Flavour;
use crate::util::secret::Secret;

/// Salt length of `caching_sha2_password` in bytes.
const SALT_BYTES: usize = 20;

/// Rounds, as the server uses by default: `$A$005$` are thousands.
const ROUNDS: usize = 5000;

/// The alphabet of crypt.
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A random password: 43 characters of an alphabet of 64.
pub fn new_password() -> Secret {
    Secret::new(random(43))
}

/// The `IDENTIFIED …` clause of CREATE USER for this password.
pub fn identified(flavour: Flavour, password: &Secret) -> String {
    let password = password.reveal().as_bytes();
    match flavour {
        Flavour::MySql => {
            let salt = random(SALT_BYTES);
            let digest = sha_crypt(password, salt.as_bytes(), ROUNDS);
            let text = format!("$A$005${salt}{digest}");
            let hash = hex::encode_upper(text);
            format!("IDENTIFIED WITH caching_sha2_password AS 0x{hash}")
        }
        Flavour::MariaDb => {
            let once: [u8; 20] = Sha1::digest(password).into();
            let hash = hex::encode_upper(Sha1::digest(once));
            format!("IDENTIFIED VIA mysql_native_password USING '*{hash}'")
        }
    }
}

fn random(length: usize) -> String {
    let one = |_| char::from(ALPHABET[rand::random_range(0..ALPHABET.len())]);
    (0..length).map(one).collect()
}

/// SHA-crypt (Drepper, version 0.6) with SHA-256: the 43 characters after the salt.
fn sha_crypt(key: &[u8], salt: &[u8], rounds: usize) -> String {
    let digest = |parts: &[&[u8]]| -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part);
        }
        hash.finalize().into()
    };
    // `length` bytes of a repeated digest.
    let repeat = |bytes: &[u8; 32], length: usize| -> Vec<u8> {
        bytes.iter().copied().cycle().take(length).collect()
    };
    let b = digest(&[key, salt, key]);
    let mut a = Sha256::new();
    a.update(key);
    a.update(salt);
    a.update(repeat(&b, key.len()));
    let mut length = key.len();
    while length > 0 {
        match length & 1 {
            1 => a.update(b),
            _ => a.update(key),
        }
        length >>= 1;
    }
    let mut sum: [u8; 32] = a.finalize().into();
    let keys = vec![key; key.len()];
    let salts = vec![salt; 16 + usize::from(sum[0])];
    let (p, s) = (
        repeat(&digest(&keys), key.len()),
        repeat(&digest(&salts), salt.len()),
    );
    for round in 0..rounds {
        let odd = round % 2 == 1;
        let s: &[u8] = if round % 3 == 0 { &[] } else { &s };
        let more: &[u8] = if round % 7 == 0 { &[] } else { &p };
        let (first, last): (&[u8], &[u8]) = if odd { (&p, &sum) } else { (&sum, &p) };
        sum = digest(&[first, s, more, last]);
    }
    encode(&sum)
}

/// Crypt's byte order, and its base64.
fn encode(sum: &[u8; 32]) -> String {
    let mut text = String::new();
    let mut put = |bits: u32, characters: usize| {
        for at in 0..characters {
            let index = (bits >> (6 * at)) & 63;
            text.push(char::from(ALPHABET[index as usize]));
        }
    };
    let (mut a, mut b, mut c) = (0, 10, 20);
    for _ in 0..10 {
        let byte = |at: usize| u32::from(sum[at]);
        put(byte(a) << 16 | byte(b) << 8 | byte(c), 4);
        (a, b, c) = ((c + 1) % 30, (a + 1) % 30, (b + 1) % 30);
    }
    put(u32::from(sum[31]) << 8 | u32::from(sum[30]), 3);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha_crypt_matches_the_specification() {
        assert_eq!(
            sha_crypt(b"Hello world!", b"saltstring", 5000),
            "5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"
        );
        assert_eq!(
            sha_crypt(b"Hello world!", b"saltstringsaltst", 10000),
            "3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA"
        );
    }

    #[test]
    fn a_hash_has_the_format_of_the_server() {
        let secret = Secret::new("secret");
        let mysql = identified(Flavour::MySql, &secret);
        let hash = mysql.split(" AS 0x").nth(1).unwrap();
        let text = String::from_utf8(hex::decode(hash).unwrap()).unwrap();
        assert!(
            text.starts_with("$A$005$") && text.len() == 7 + 20 + 43,
            "{text}"
        );
        // SELECT PASSWORD('secret')
        assert_eq!(
            identified(Flavour::MariaDb, &secret),
            "IDENTIFIED VIA mysql_native_password USING '*14E65567ABDB5135D0CFD9A70B3032C179A49EE7'"
        );
        let long = new_password();
        assert!(long.reveal().len() == 43 && long != new_password());
    }
}
