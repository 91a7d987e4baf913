//! Identities: the private keys that decrypt objects.

use std::cell::RefCell;
use std::fmt;
use std::io::{Cursor, Read as _};
use std::path::Path;

use age::DecryptError;
use age_core::format::{FileKey, Stanza};

use crate::keys::encrypted::MOST_HEADER;
use crate::keys::recipients::NOTE;
use crate::keys::{entries, read_file};
use crate::util::error::{Error, Result};

/// The variable that names the file of identities.
const VARIABLE: &str = "DRCTL_IDENTITY_FILE";

/// A private key.
enum Identity {
    Age(age::x25519::Identity),
    Ssh(age::ssh::Identity),
}

impl Identity {
    fn as_age(&self) -> &dyn age::Identity {
        match self {
            Identity::Age(identity) => identity,
            Identity::Ssh(identity) => identity,
        }
    }

    /// Its public key, as manifests name it.
    fn recipient(&self) -> Option<String> {
        match self {
            Identity::Age(identity) => Some(identity.to_public().to_string()),
            Identity::Ssh(identity) => {
                let public = age::ssh::Recipient::try_from(identity.clone()).ok()?;
                Some(public.to_string())
            }
        }
    }
}

/// The private keys of one file; at least one.
pub struct Identities(Vec<Identity>);

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} identities", self.0.len())
    }
}

impl Identities {
    /// Reads a file of age identities, one a line, or an OpenSSH private key.
    pub(super) fn read(path: &Path) -> Result<Identities> {
        let text = read_file(path, VARIABLE)?;
        Identities::parse(&text).map_err(|why| {
            Error::usage(format!("{VARIABLE} {} {why}", path.display()))
                .hint("create one with age-keygen, or give an unencrypted OpenSSH private key")
        })
    }

    /// The identities in a text; else the reason, as the end of a sentence. It never contains a part of the text.
    fn parse(text: &str) -> Result<Identities, String> {
        if text.starts_with("age-encryption.org/") || text.starts_with("-----BEGIN AGE ") {
            return Err("is itself encrypted; decrypt it first (age -d)".into());
        }
        if text.trim_start().starts_with("-----BEGIN") {
            let parsed = age::ssh::Identity::from_buffer(Cursor::new(text.trim_start()), None);
            return match parsed {
                Ok(key @ age::ssh::Identity::Unencrypted(_)) => {
                    Ok(Identities(vec![Identity::Ssh(key)]))
                }
                Ok(age::ssh::Identity::Encrypted(_)) => {
                    Err("has a passphrase, for which nobody can be asked (ssh-keygen -p)".into())
                }
                Ok(age::ssh::Identity::Unsupported(_)) | Err(_) => {
                    Err("is not a private key of type ssh-ed25519 or ssh-rsa".into())
                }
            };
        }
        let mut all = Vec::new();
        for (line, text) in entries(text) {
            match text.parse() {
                Ok(identity) => all.push(Identity::Age(identity)),
                Err(_) if text.starts_with("age1") => {
                    return Err(format!(
                        "has a public key in line {line}; the private key AGE-SECRET-KEY-… is needed"
                    ));
                }
                Err(_) => return Err(format!("has no identity in line {line}")),
            }
        }
        match all.is_empty() {
            true => Err("contains no identity".into()),
            false => Ok(Identities(all)),
        }
    }

    pub(super) fn as_age(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.0.iter().map(Identity::as_age)
    }

    /// The public keys of those to which an object with this header is encrypted.
    pub fn of_header(&self, header: &[u8]) -> Vec<String> {
        let opens = |identity: &&Identity| {
            let age = age::Decryptor::new_buffered(header);
            let identity = identity.as_age();
            age.and_then(|age| age.decrypt(std::iter::once(identity)).map(drop))
                .is_ok()
        };
        let of_header = self.0.iter().filter(opens);
        of_header.filter_map(Identity::recipient).collect()
    }

    /// Decrypts a whole object. `named` is its name, for messages.
    ///
    /// # Errors
    /// `Archive` if it is damaged; `Usage` if it is encrypted to other recipients.
    pub fn decrypt_all(&self, named: &str, stored: &[u8]) -> Result<Vec<u8>> {
        has_short_header(stored).ok_or_else(|| damaged(named))?;
        let mut plain = Vec::with_capacity(stored.len());
        age::Decryptor::new_buffered(stored)
            .and_then(|age| age.decrypt(self.as_age()))
            .map_err(|e| wrong(named, e))?
            .read_to_end(&mut plain)
            .map_err(|e| damaged(named).because(e))?;
        Ok(plain)
    }
}

impl Identities {
    /// Decrypts at most `most` bytes at the beginning of an object of which only the front was fetched. Whether the rest
    /// is intact is unknown.
    pub fn decrypt_front(&self, named: &str, front: &[u8], most: u64) -> Result<Vec<u8>> {
        has_short_header(front).ok_or_else(|| damaged(named))?;
        let mut plain = Vec::new();
        let age = age::Decryptor::new_buffered(front).and_then(|age| age.decrypt(self.as_age()));
        let mut text = age.map_err(|e| wrong(named, e))?.take(most);
        let mut buffer = vec![0; 64 << 10];
        // The last chunk that was fetched is cut off, and fails.
        while let Ok(count @ 1..) = text.read(&mut buffer) {
            plain.extend_from_slice(&buffer[..count]);
        }
        match plain.is_empty() {
            true => Err(damaged(named)),
            false => Ok(plain),
        }
    }
}

/// The error of an object that cannot be decrypted.
pub(super) fn wrong(named: &str, error: DecryptError) -> Error {
    match error {
        DecryptError::NoMatchingKeys => Error::usage(format!(
            "{named} is not encrypted to any identity in {VARIABLE}"
        ))
        .hint("drctl show lists the recipients of a backup; give the private key of one of them"),
        error => damaged(named).because(error),
    }
}

/// The error of an object that was changed.
pub(super) fn damaged(named: &str) -> Error {
    Error::archive(format!(
        "{named} cannot be decrypted: it was changed or cut off"
    ))
    .hint("restore another backup, and find out what changed the store")
}

/// The note in the header at the beginning of an object ([`Recipients::encrypt`](super::recipients::Recipients)), which
/// need not be whole; `None` if it has none, or begins with no header. Whoever can write to the store can change it.
pub fn note(stored: &[u8]) -> Option<Vec<u8>> {
    has_short_header(stored)?;
    let found = Found::default();
    let age = age::Decryptor::new_buffered(stored).ok()?;
    age.decrypt(std::iter::once(&found as &dyn age::Identity))
        .err()?;
    found.0.into_inner()
}

/// Whether the header ends where that of an object of drctl does: the time to parse one grows with the square of its length.
fn has_short_header(stored: &[u8]) -> Option<()> {
    let front = &stored[..stored.len().min(MOST_HEADER as usize)];
    memchr::memmem::find(front, b"\n--- ").map(drop)
}

/// Takes the note out of a header; matches no key.
#[derive(Default)]
struct Found(RefCell<Option<Vec<u8>>>);

impl age::Identity for Found {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<std::result::Result<FileKey, DecryptError>> {
        if stanza.tag == NOTE {
            *self.0.borrow_mut() = Some(stanza.body.clone());
        }
        None
    }
}
