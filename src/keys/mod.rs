//! The keys to what a store holds: who can read it (age), and whose signatures count (OpenSSH).
//!
//! A store has one set of [`Keys`]. Each key is read when it is first needed, so that a command that needs none works
//! where its file is missing: a backup needs recipients and the signing key, a restore an identity and the allowed
//! signers. What runs on reads rotated files again where a piece of its work begins ([`Keys::refresh`]).
//!
//! - [`recipients`]: public keys that objects are encrypted to, and the encryption.
//! - [`identities`]: the private keys that decrypt them.
//! - [`encrypted`]: ranges of an encrypted object; [`rekey`]: other recipients for one.
//! - [`signing`]: signatures of documents; [`signers`]: `allowed_signers`.

pub mod encrypted;
pub mod identities;
pub mod recipients;
pub mod rekey;
pub mod signers;
pub mod signing;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::util::error::{Error, Result};
use crate::util::secret::MOST_BYTES;
use crate::util::{bounded, cancel};
use identities::Identities;
use recipients::Recipients;
use signers::AllowedSigners;
use signing::SigningKey;

/// What happens to a document without a valid signature of an allowed signer.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Trust {
    /// Signatures are not verified.
    Off,
    /// It is used, with a warning.
    Warn,
    /// It is refused (exit 6), and `--latest` selects another backup.
    Require,
}

/// Where the keys come from.
#[derive(Debug, Clone, Default)]
pub struct KeysConfig {
    /// Recipients: public keys of age or OpenSSH.
    pub recipients: Vec<String>,
    /// A file with more recipients, one a line.
    pub recipients_file: Option<PathBuf>,
    /// A file with identities.
    pub identity_file: Option<PathBuf>,
    /// A file with an OpenSSH private key, or with the public key of one that an agent has.
    pub signing_key_file: Option<PathBuf>,
    /// A file in the format of OpenSSH's `allowed_signers`.
    pub allowed_signers_file: Option<PathBuf>,
    /// What happens without a valid signature. Default: [`Trust::Require`] with allowed signers, otherwise
    /// [`Trust::Off`].
    pub trust: Option<Trust>,
}

/// The keys to what a store holds.
#[derive(Debug, Default)]
pub struct Keys {
    config: KeysConfig,
    recipients: Kept<Option<Recipients>>,
    identities: Kept<Option<Arc<Identities>>>,
    signing: Kept<Option<Arc<SigningKey>>>,
    signers: Kept<Arc<AllowedSigners>>,
}

/// What was read of a file, until it is read again.
#[derive(Debug)]
struct Kept<T>(Mutex<Option<T>>);

impl<T> Default for Kept<T> {
    fn default() -> Kept<T> {
        Kept(Mutex::new(None))
    }
}

impl<T: Clone> Kept<T> {
    /// The value; reads it unless that was done before. A failure is not kept.
    fn get(&self, read: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some(value) => Ok(value.clone()),
            None => Ok(kept.insert(read()?).clone()),
        }
    }

    /// Forgets the value, and returns it.
    fn forget(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Reads the value again if it was read before. What cannot be read now stays as it was: a file may be about to be
    /// replaced.
    fn renew(&self, read: impl FnOnce() -> Result<T>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = &mut *kept {
            match read() {
                Ok(new) => *value = new,
                Err(error) => tracing::error!(%error, "the key stays the one that was read before"),
            }
        }
    }
}

impl Keys {
    /// Keys that are read when they are needed.
    ///
    /// # Errors
    /// `Usage` for settings that contradict each other.
    pub fn new(config: KeysConfig) -> Result<Keys> {
        if config.allowed_signers_file.is_none()
            && config.trust.is_some_and(|trust| trust != Trust::Off)
        {
            return Err(Error::usage(
                "signatures are to be verified, but no allowed signers are configured",
            )
            .hint("set DRCTL_ALLOWED_SIGNERS_FILE, or DRCTL_TRUST to off"));
        }
        Ok(Keys {
            config,
            ..Keys::default()
        })
    }

    /// No keys: nothing is encrypted, and no signature verified.
    pub fn none() -> &'static Keys {
        static NONE: LazyLock<Keys> = LazyLock::new(Keys::default);
        &NONE
    }

    /// The recipients of new objects; `None` if they are not encrypted.
    ///
    /// # Errors
    /// `Usage` for one that is malformed, or for a file without any.
    pub fn recipients(&self) -> Result<Option<Recipients>> {
        self.recipients.get(|| self.read_recipients())
    }

    fn read_recipients(&self) -> Result<Option<Recipients>> {
        let file = self.config.recipients_file.as_deref();
        Recipients::read(&self.config.recipients, file)
    }

    /// Whether new objects are encrypted, without reading the recipients.
    pub fn encrypts(&self) -> bool {
        !self.config.recipients.is_empty() || self.config.recipients_file.is_some()
    }

    /// The identities.
    ///
    /// # Errors
    /// `Usage` if none are configured, or the file has none.
    pub fn identities(&self) -> Result<Arc<Identities>> {
        let identities = self.identities.get(|| self.read_identities())?;
        identities.ok_or_else(|| {
            Error::usage("the data are encrypted, and no identity is configured").hint(
                "set DRCTL_IDENTITY_FILE to a file with the private key of one of its recipients",
            )
        })
    }

    fn read_identities(&self) -> Result<Option<Arc<Identities>>> {
        let file = self.config.identity_file.as_deref();
        let read = file.map(Identities::read).transpose()?;
        Ok(read.map(Arc::new))
    }

    /// Whether identities are configured.
    pub fn has_identities(&self) -> bool {
        self.config.identity_file.is_some()
    }

    /// The key that signs new documents; `None` if they are not signed.
    ///
    /// # Errors
    /// `Usage` for a file without a usable key.
    pub fn signing(&self) -> Result<Option<Arc<SigningKey>>> {
        self.signing.get(|| self.read_signing())
    }

    fn read_signing(&self) -> Result<Option<Arc<SigningKey>>> {
        let file = self.config.signing_key_file.as_deref();
        let read = file.map(SigningKey::read).transpose()?;
        Ok(read.map(Arc::new))
    }

    /// What happens to a document without a valid signature of an allowed signer.
    pub fn trust(&self) -> Trust {
        self.config
            .trust
            .unwrap_or(match self.config.allowed_signers_file {
                Some(_) => Trust::Require,
                None => Trust::Off,
            })
    }

    /// The allowed signers; none without a file.
    ///
    /// # Errors
    /// `Usage` for a file that cannot be read.
    pub fn signers(&self) -> Result<Arc<AllowedSigners>> {
        self.signers.get(|| {
            let file = self.config.allowed_signers_file.as_deref();
            let read = file.map_or_else(|| Ok(AllowedSigners::default()), AllowedSigners::read);
            read.map(Arc::new)
        })
    }

    /// Reads files again that may have been rotated. Whether what was said of signatures before may no longer hold: other
    /// signers are allowed, or their file cannot be read. A pipe is read once.
    pub fn refresh(&self) -> bool {
        let config = &self.config;
        if is_file(config.recipients_file.as_deref()) {
            self.recipients.renew(|| self.read_recipients());
        }
        if is_file(config.identity_file.as_deref()) {
            self.identities.renew(|| self.read_identities());
        }
        if is_file(config.signing_key_file.as_deref()) {
            self.signing.renew(|| self.read_signing());
        }
        let signers = config.allowed_signers_file.as_deref();
        if signers.is_some_and(|path| path.exists()) && !is_file(signers) {
            return false;
        }
        match (self.signers.forget(), self.signers()) {
            (None, _) => false,
            (Some(before), Ok(now)) => before != now,
            (Some(_), Err(_)) => true,
        }
    }
}

/// Whether a path is that of a file, which can be read more than once.
fn is_file(path: Option<&Path>) -> bool {
    path.is_some_and(Path::is_file)
}

/// Reads a file of keys. `named` is the variable that names it.
fn read_file(path: &Path, named: &str) -> Result<String> {
    let shown = path.display();
    let failed = |e: io::Error| match cancel::signalled() {
        Some(error) => error,
        None => Error::usage(format!("cannot read {named} {shown}"))
            .because(e)
            .hint("check the path and its permissions; in Kubernetes, the mounted Secret"),
    };
    let bytes = bounded::read(path, MOST_BYTES).map_err(failed)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::usage(format!("{named} {shown} is not UTF-8 text")))?;
    Ok(text.trim_start_matches('\u{feff}').to_owned())
}

/// The lines of a file of keys that are not empty or comments, each with its number.
fn entries(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = (1..).zip(text.lines().map(str::trim));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_rotated_file_is_read_again_where_the_next_piece_of_work_begins() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("recipients");
        let rotate = || {
            let recipient = age::x25519::Identity::generate().to_public().to_string();
            fs::write(&file, &recipient).unwrap();
            recipient
        };
        let first = rotate();
        let keys = Keys::new(KeysConfig {
            recipients_file: Some(file.clone()),
            ..KeysConfig::default()
        });
        let keys = keys.unwrap();
        let names = || -> Vec<String> {
            let recipients = keys.recipients().unwrap();
            recipients.iter().flat_map(Recipients::names).collect()
        };
        assert_eq!(names(), std::slice::from_ref(&first));
        let second = rotate();
        assert_eq!(names(), [first], "one piece of work has the same keys");
        assert!(!keys.refresh(), "who may sign has not changed");
        assert_eq!(names(), std::slice::from_ref(&second));
        fs::write(&file, "age1").unwrap();
        keys.refresh();
        assert_eq!(names(), [second], "a file that is about to be replaced");
    }
}
