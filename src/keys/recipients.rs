//! Recipients: the public keys that objects are encrypted to. What they encrypt, only the owner of a private key can
//! read; drctl cannot.

use std::collections::HashSet;
use std::fmt;
use std::io::Write as _;
use std::mem;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use age::stream::StreamWriter;
use age_core::format::{FileKey, Stanza};

use crate::keys::identities::Identities;
use crate::keys::{entries, read_file};
use crate::util::error::{Error, Result};

/// The variables that name recipients.
const VARIABLE: &str = "DRCTL_ENCRYPTION_RECIPIENTS";
const FILE_VARIABLE: &str = "DRCTL_ENCRYPTION_RECIPIENTS_FILE";

/// Maximum length of all recipients as text, bytes.
const MOST_BYTES: usize = 6 << 10;

/// A public key.
#[derive(Clone)]
enum Recipient {
    Age(age::x25519::Recipient),
    Ssh(age::ssh::Recipient),
}

impl Recipient {
    fn as_age(&self) -> &dyn age::Recipient {
        match self {
            Recipient::Age(recipient) => recipient,
            Recipient::Ssh(recipient) => recipient,
        }
    }

    /// Parses a public key of age or OpenSSH; else returns the reason.
    fn parse(text: &str) -> Result<Recipient, &'static str> {
        if text.starts_with("AGE-SECRET-KEY-") || text.contains("PRIVATE KEY") {
            return Err("a private key; only its public key belongs here (age-keygen -y)");
        }
        if text.starts_with("ssh-") {
            let parsed = text.parse().map(Recipient::Ssh);
            return parsed.map_err(
                |_| "malformed, or of an unsupported type: ssh-ed25519 and ssh-rsa are supported",
            );
        }
        if text.starts_with("age1") {
            let parsed = text.parse().map(Recipient::Age);
            return parsed
                .map_err(|_| "malformed, or one of a plugin; copy it again (age-keygen -y)");
        }
        Err("no public key of age (age1…) or OpenSSH (ssh-ed25519 …, ssh-rsa …)")
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Recipient::Age(recipient) => recipient.fmt(f),
            Recipient::Ssh(recipient) => recipient.fmt(f),
        }
    }
}

/// The recipients of new objects; at least one.
#[derive(Clone)]
pub struct Recipients(Arc<[Recipient]>);

impl fmt::Debug for Recipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl Recipients {
    /// Reads the recipients given directly and those in a file; `None` if neither is configured.
    pub(super) fn read(given: &[String], file: Option<&Path>) -> Result<Option<Recipients>> {
        let mut all = Vec::new();
        for (n, text) in (1..).zip(given) {
            let recipient = Recipient::parse(text.trim());
            all.push(
                recipient.map_err(|why| malformed(&format!("recipient {n} in {VARIABLE}"), why))?,
            );
        }
        if let Some(path) = file {
            let (before, shown) = (all.len(), path.display());
            for (line, text) in entries(&read_file(path, FILE_VARIABLE)?) {
                let recipient = Recipient::parse(text);
                all.push(
                    recipient.map_err(|why| malformed(&format!("line {line} of {shown}"), why))?,
                );
            }
            if all.len() == before {
                return Err(
                    Error::usage(format!("{FILE_VARIABLE} {shown} contains no recipient"))
                        .hint("write one public key per line, or unset the variable"),
                );
            }
        }
        // All of them stand in the manifest.
        let bytes: usize = all.iter().map(|one| one.to_string().len()).sum();
        if bytes > MOST_BYTES {
            return Err(Error::usage(format!(
                "the recipients take {bytes} bytes, more than the maximum of {MOST_BYTES}"
            ))
            .hint("use age keys (age1…) instead of RSA keys, or fewer"));
        }
        Ok((!all.is_empty()).then(|| Recipients(all.into())))
    }

    /// The recipients of an existing object, as its manifest lists them; `None` if it has none or one that is malformed.
    pub fn listed(names: &[String]) -> Option<Recipients> {
        Recipients::read(names, None).ok().flatten()
    }

    /// Whether one of the identities decrypts what is encrypted to these recipients. Tries it.
    pub fn include_one_of(&self, identities: &Identities) -> Result<bool> {
        let stored = self.encrypt_all(b"", None)?;
        Ok(identities.decrypt_all("an empty text", &stored).is_ok())
    }

    /// The public keys, as text.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(ToString::to_string)
    }

    /// Begins to encrypt an object. The note, if any, can be read without an identity.
    pub fn encrypt(&self, note: Option<Vec<u8>>) -> Result<Encryption> {
        let note = note.map(Note);
        let recipients = self.0.iter().map(Recipient::as_age);
        let recipients = recipients.chain(note.iter().map(|note| note as &dyn age::Recipient));
        let out = Output::default();
        let writer = age::Encryptor::with_recipients(recipients)
            .map_err(|e| e.to_string())
            .and_then(|age| age.wrap_output(out.clone()).map_err(|e| e.to_string()))
            .map_err(|e| Error::unexpected("cannot encrypt").because(e))?;
        Ok(Encryption { writer, out })
    }

    /// The stanzas of a header that give a file key to each recipient.
    pub(super) fn wrap(&self, key: &FileKey) -> std::result::Result<Vec<Stanza>, String> {
        let mut all = Vec::new();
        for recipient in self.0.iter() {
            let (stanzas, _) = recipient
                .as_age()
                .wrap_file_key(key)
                .map_err(|e| e.to_string())?;
            all.extend(stanzas);
        }
        Ok(all)
    }

    /// Encrypts a whole object.
    pub fn encrypt_all(&self, plain: &[u8], note: Option<Vec<u8>>) -> Result<Vec<u8>> {
        let mut encryption = self.encrypt(note)?;
        let mut stored = encryption.push(plain)?;
        stored.append(&mut encryption.finish()?);
        Ok(stored)
    }
}

fn malformed(which: &str, why: &str) -> Error {
    Error::usage(format!("{which} is {why}"))
        .hint("nothing is encrypted to it; correct the list, and run drctl doctor")
}

/// An object that is being encrypted.
pub struct Encryption {
    writer: StreamWriter<Output>,
    out: Output,
}

impl Encryption {
    /// Encrypts more bytes; returns what can be stored so far.
    pub fn push(&mut self, plain: &[u8]) -> Result<Vec<u8>> {
        self.writer.write_all(plain).map_err(failed)?;
        Ok(self.out.take())
    }

    /// Encrypts the rest.
    pub fn finish(self) -> Result<Vec<u8>> {
        self.writer.finish().map_err(failed)?;
        Ok(self.out.take())
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::unexpected("cannot encrypt").because(error)
}

/// Where age writes.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Output {
    fn take(&self) -> Vec<u8> {
        mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl std::io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The type of the stanza that holds a [`Note`].
pub(super) const NOTE: &str = "drctl-note";

/// Text in the header of an object, for those who cannot decrypt it. It is not secret. Other programs skip it, as they
/// do any stanza of a type that they do not know; whoever decrypts the object knows that it was not changed.
struct Note(Vec<u8>);

impl age::Recipient for Note {
    fn wrap_file_key(
        &self,
        _file_key: &FileKey,
    ) -> std::result::Result<(Vec<Stanza>, HashSet<String>), age::EncryptError> {
        let stanza = Stanza {
            tag: NOTE.to_owned(),
            args: Vec::new(),
            body: self.0.clone(),
        };
        Ok((vec![stanza], HashSet::new()))
    }
}
