//! An object of an archive on the way out of the store: fetched by ranges or whole, and decrypted. All bytes of an
//! archive pass here.
//!
//! Of an encrypted object the header and the last chunk are fetched once; a range then takes the chunks that it touches,
//! at most 128 KiB more than its own bytes.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;

use crate::archive::BackupPlace;
use crate::archive::manifest::{FileFacts, Manifest};
use crate::archive::write::object::ObjectWriter;
use crate::keys::encrypted::{Encrypted, Layout};
use crate::keys::rekey;
use crate::layout::BackupObject;
use crate::store::{Key, Store, StoreError};
use crate::util::digest::Sha256Digest;
use crate::util::error::{Error, Result};

/// Bytes per request when a whole object is read.
const CHUNK_BYTES: u64 = 4 << 20;

/// An object that holds data.
#[derive(Debug)]
pub struct StoredObject {
    store: Arc<dyn Store>,
    key: Key,
    /// The object, for messages: `the index`.
    what: &'static str,
    facts: FileFacts,
    /// `None` if the object is not encrypted.
    encrypted: Option<OnceCell<Arc<Encrypted>>>,
}

impl StoredObject {
    /// The object of a backup with this name before encryption.
    pub fn new(
        store: &Arc<dyn Store>,
        place: &BackupPlace,
        manifest: &Manifest,
        object: BackupObject,
        facts: &FileFacts,
    ) -> Self {
        let what = match object {
            BackupObject::Index => "the index",
            BackupObject::Accounts(_) => "accounts.sql",
            _ => "a segment",
        };
        StoredObject {
            store: store.clone(),
            key: place.key(&manifest.named(object)),
            what,
            facts: facts.clone(),
            encrypted: manifest.is_encrypted().then(OnceCell::new),
        }
    }

    /// Its key in the store.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Reads the whole object, and compares it with its digest before it is decrypted. Memory is allocated by the bytes
    /// received, not by the manifest.
    pub async fn whole(&self) -> Result<Bytes> {
        let mut stored = Vec::new();
        while (stored.len() as u64) < self.facts.bytes {
            let at = stored.len() as u64;
            let range = at..self.facts.bytes.min(at + CHUNK_BYTES);
            stored.extend_from_slice(&self.fetch(range).await?);
        }
        if Sha256Digest::of(&stored) != self.facts.sha256 {
            return Err(self.differs());
        }
        if self.encrypted.is_some() {
            let identities = self.store.keys().identities()?;
            stored = identities.decrypt_all(&self.key, &stored)?;
        }
        stored.shrink_to_fit();
        Ok(stored.into())
    }

    /// The public keys of the identities that decrypt it; none if it is not encrypted.
    pub async fn decrypting(&self) -> Result<Vec<String>> {
        if self.encrypted.is_none() {
            return Ok(Vec::new());
        }
        let header = self.fetch(self.layout()?.header()).await?;
        Ok(self.store.keys().identities()?.of_header(&header))
    }

    /// Fetches a range of the object before encryption.
    pub async fn range(&self, range: Range<u64>) -> Result<StoredRange> {
        let Some(encrypted) = &self.encrypted else {
            return Ok(StoredRange {
                stored: self.fetch(range.clone()).await?,
                begin: range.start,
                of_object: range,
                encrypted: None,
            });
        };
        let encrypted = encrypted.get_or_try_init(|| self.open()).await?.clone();
        let layout = encrypted.layout;
        let chunks = layout.chunks(&range);
        Ok(StoredRange {
            stored: self.fetch(chunks.clone()).await?,
            begin: chunks.start,
            of_object: layout.cut(range.start)..layout.cut(range.end),
            encrypted: Some(EncryptedRange {
                store: self.store.clone(),
                object: encrypted,
                range,
            }),
        })
    }

    /// Fetches the parts of an encrypted object that all of its ranges need.
    async fn open(&self) -> Result<Arc<Encrypted>> {
        let layout = self.layout()?;
        let parts = (self.fetch(layout.header()), self.fetch(layout.last()));
        let (header, last) = futures_util::try_join!(parts.0, parts.1)?;
        Ok(Arc::new(Encrypted {
            named: self.key.clone(),
            layout,
            header,
            last,
        }))
    }

    /// Writes the object with the header for the recipients of its store; compares the stored bytes with their digest in
    /// passing.
    pub async fn exchange_header(&self, to: &mut ObjectWriter) -> Result<()> {
        let keys = self.store.keys();
        let (identities, recipients) = (keys.identities()?, keys.recipients()?);
        let recipients =
            recipients.ok_or_else(|| Error::unexpected("there are no recipients to write for"))?;
        let mut at = self.layout()?.header().end;
        let header = self.fetch(0..at).await?;
        to.store(&rekey::exchanged(
            &self.key,
            &header,
            &identities,
            &recipients,
        )?)
        .await?;
        let mut sha256 = Sha256::new_with_prefix(&header);
        while at < self.facts.bytes {
            let end = self.facts.bytes.min(at + CHUNK_BYTES);
            let stored = self.fetch(at..end).await?;
            sha256.update(&stored);
            to.store(&stored).await?;
            at = end;
        }
        match Sha256Digest::from(sha256) == self.facts.sha256 {
            true => Ok(()),
            false => Err(self.differs()),
        }
    }

    fn differs(&self) -> Error {
        Error::archive(format!("{} does not match its SHA-256", self.what))
            .because(&*self.key)
            .hint("restore another backup, and find out what changed the store")
    }

    /// Where the parts of an encrypted object are.
    fn layout(&self) -> Result<Layout> {
        Layout::new(self.facts.bytes, self.facts.text_bytes()).ok_or_else(|| {
            Error::archive(format!(
                "according to the manifest {} has {} bytes, and {} before encryption, which is impossible",
                self.key,
                self.facts.bytes,
                self.facts.text_bytes()
            ))
            .hint("restore another backup, and find out what changed the store")
        })
    }

    /// Reads a range of the stored bytes. If it does not exist, the archive is damaged; any other failure is one of the
    /// store.
    async fn fetch(&self, range: Range<u64>) -> Result<Bytes> {
        let (key, what) = (&self.key, self.what);
        let error = match self.store.get(key, Some(range.clone())).await {
            Ok(stored) if stored.len() as u64 == range.end - range.start => return Ok(stored),
            Ok(stored) => {
                return Err(Error::archive(format!(
                    "{what} of the backup was received incompletely: {} of {} bytes of {key}",
                    stored.len(),
                    range.end - range.start
                ))
                .hint("check for a proxy between drctl and the store, and run it again"));
            }
            Err(error @ StoreError::NotFound { .. }) => {
                let missing = format!("{what} of the backup is missing");
                return Err(Error::archive(missing).because(error));
            }
            Err(error) => error,
        };
        match self.store.head(key).await {
            Ok(meta) if meta.size < range.end => Err(Error::archive(format!(
                "{what} of the backup is truncated: {key} has {} bytes instead of at least {}",
                meta.size, range.end
            ))
            .hint("restore another backup, and find out what changed the store")),
            _ => Err(error.into()),
        }
    }
}

/// A range of an object, as fetched.
#[derive(Debug)]
pub struct StoredRange {
    stored: Bytes,
    /// Where it begins in the object.
    begin: u64,
    /// Its part of the object's digest. The parts of adjacent ranges adjoin, although they share a chunk.
    of_object: Range<u64>,
    encrypted: Option<EncryptedRange>,
}

/// A range of an encrypted object.
#[derive(Debug)]
struct EncryptedRange {
    /// The store, which has the identities.
    store: Arc<dyn Store>,
    object: Arc<Encrypted>,
    range: Range<u64>,
}

impl StoredRange {
    /// The bytes before encryption. Blocks while it decrypts.
    pub fn text(&self) -> Result<Bytes> {
        match &self.encrypted {
            None => Ok(self.stored.clone()),
            Some(EncryptedRange {
                store,
                object,
                range,
            }) => {
                let identities = store.keys().identities()?;
                let text = object.decrypt(&identities, range.clone(), self.stored.clone())?;
                Ok(text.into())
            }
        }
    }

    /// The stored bytes that are its part of the object's digest, in two pieces: the first range has the header, too.
    pub fn of_object(&self) -> [&[u8]; 2] {
        let at = |place: u64| {
            let place = place.saturating_sub(self.begin);
            usize::try_from(place).unwrap_or(usize::MAX)
        };
        let header: &[u8] = match &self.encrypted {
            Some(encrypted) if self.of_object.start < self.begin => &encrypted.object.header,
            _ => &[],
        };
        let range = at(self.of_object.start)..at(self.of_object.end);
        [header, self.stored.get(range).unwrap_or_default()]
    }
}

#[cfg(test)]
#[path = "stored_object_tests.rs"]
mod tests;
