//! Gives an encrypted object other recipients: its header is exchanged, and its payload stays as it is.
//!
//! A header of age (age-encryption.org/v1) has the file key, encrypted to each recipient, and a MAC by that key; the
//! payload depends on the file key and the nonce behind the header alone.

use std::cell::RefCell;

use age_core::format::{FileKey, Stanza};
use age_core::primitives::hkdf;
use age_core::secrecy::ExposeSecret as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::keys::identities::{Identities, damaged, wrong};
use crate::keys::recipients::Recipients;
use crate::util::error::{Error, Result};

/// Length of the nonce behind a header, bytes.
const NONCE: usize = 16;

/// Characters of a line of base64 in a header.
const COLUMNS: usize = 64;

/// The header for other recipients, with the nonce; `old` is the one that the object has, with its nonce.
pub fn exchanged(
    named: &str,
    old: &[u8],
    identities: &Identities,
    recipients: &Recipients,
) -> Result<Vec<u8>> {
    let failed = |e: String| Error::unexpected("cannot write the header of an object").because(e);
    let found = RefCell::new(None);
    let taking: Vec<Taking> = identities
        .as_age()
        .map(|identity| Taking {
            identity,
            found: &found,
        })
        .collect();
    // It verifies the MAC, too.
    let age = age::Decryptor::new_buffered(old);
    age.and_then(|age| age.decrypt(taking.iter().map(|one| one as &dyn age::Identity)))
        .map_err(|e| wrong(named, e))?;
    let key: FileKey = found.into_inner().ok_or_else(|| damaged(named))?;
    let nonce = old
        .split_last_chunk::<NONCE>()
        .ok_or_else(|| damaged(named))?
        .1;

    let mut header = b"age-encryption.org/v1\n".to_vec();
    for stanza in recipients.wrap(&key).map_err(failed)? {
        write_stanza(&mut header, &stanza);
    }
    header.extend_from_slice(b"---");
    let mac_key = hkdf(&[], b"header", key.expose_secret());
    let mut mac = Hmac::<Sha256>::new_from_slice(&mac_key).map_err(|e| failed(e.to_string()))?;
    mac.update(&header);
    let mac = STANDARD_NO_PAD.encode(mac.finalize().into_bytes());
    header.extend_from_slice(format!(" {mac}\n").as_bytes());
    header.extend_from_slice(nonce);
    Ok(header)
}

/// Its body in lines of base64, of which the last is shorter than the others, if need be empty.
fn write_stanza(header: &mut Vec<u8>, stanza: &Stanza) {
    header.extend_from_slice(b"-> ");
    header.extend_from_slice(stanza.tag.as_bytes());
    for argument in &stanza.args {
        header.push(b' ');
        header.extend_from_slice(argument.as_bytes());
    }
    header.push(b'\n');
    let body = STANDARD_NO_PAD.encode(&stanza.body);
    for line in body.as_bytes().chunks(COLUMNS) {
        header.extend_from_slice(line);
        header.push(b'\n');
    }
    if body.len().is_multiple_of(COLUMNS) {
        header.push(b'\n');
    }
}

/// An identity that keeps the file key that it decrypts.
struct Taking<'a> {
    identity: &'a dyn age::Identity,
    found: &'a RefCell<Option<FileKey>>,
}

impl age::Identity for Taking<'_> {
    fn unwrap_stanza(
        &self,
        stanza: &Stanza,
    ) -> Option<std::result::Result<FileKey, age::DecryptError>> {
        let unwrapped = self.identity.unwrap_stanza(stanza);
        if let Some(Ok(key)) = &unwrapped {
            let copy = Box::new(*key.expose_secret());
            *self.found.borrow_mut() = Some(FileKey::new(copy));
        }
        unwrapped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::encrypted::tests::{pair, text};

    #[test]
    fn the_new_recipient_reads_and_the_old_one_does_not() {
        let ((old, reader), (new, other)) = (pair(), pair());
        for length in [0, 1, 65_536, 200_000] {
            let plain = text(length);
            let stored = old.encrypt_all(&plain, None).unwrap();
            let payload = length + 16 * length.div_ceil(65_536).max(1);
            let (header, payload) = stored.split_at(stored.len() - payload);
            let mut again = exchanged("x", header, &reader, &new).unwrap();
            again.extend_from_slice(payload);
            assert_eq!(other.decrypt_all("x", &again).unwrap(), plain);
            assert!(reader.decrypt_all("x", &again).is_err());
            // Only who can read it can give it away.
            let error = exchanged("x", header, &other, &new).unwrap_err();
            assert_eq!(error.outcome(), crate::Outcome::Usage);
            let mut flipped = header.to_vec();
            let at = flipped.len() - NONCE - 10;
            flipped[at] ^= 2;
            assert!(exchanged("x", &flipped, &reader, &new).is_err());
        }
    }
}
