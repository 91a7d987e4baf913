//! Writes an object as a stream: encrypts it if it holds data and the store has recipients, splits it into parts of
//! equal size, counts and digests its bytes. All bytes of an archive pass here.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::archive::BackupPlace;
use crate::archive::manifest::FileFacts;
use crate::archive::write::spread::Spread;
use crate::keys::recipients::Encryption;
use crate::layout::BackupObject;
use crate::store::{Lack, MAX_PARTS, ObjectMeta, Store, StoreError, Upload};
use crate::util::digest::Sha256Digest;
use crate::util::error::{Error, Result};

/// Initial size of the buffer in bytes.
const SMALL_BYTES: usize = 64 << 10;

/// Bytes after which an object must end: S3's part limit, minus a long frame.
pub fn most_bytes(store: &Arc<dyn Store>) -> u64 {
    store.part_bytes() as u64 * (MAX_PARTS as u64 - 500)
}

/// An object that is being written.
pub struct ObjectWriter {
    /// Its name below the prefix of the backup.
    name: String,
    key: String,
    upload: Option<Box<dyn Upload>>,
    part: Vec<u8>,
    part_bytes: usize,
    encrypted: Encrypted,
    /// Bytes written, before they are encrypted here.
    text_bytes: u64,
    /// Bytes as stored.
    bytes: u64,
    sha256: Sha256,
    samples: Spread<Sample>,
    begun: Timestamp,
}

/// Whether an object is encrypted, and where.
enum Encrypted {
    No,
    /// Here.
    Here(Encryption),
    /// Its bytes come encrypted; it had this many before.
    Already(Option<u64>),
}

/// A range of an encrypted object as stored. Only the read-back needs it: who encrypts cannot decrypt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The range.
    pub range: Range<u64>,
    /// Digest of its bytes.
    pub sha256: Sha256Digest,
}

/// A complete object.
#[derive(Debug, Clone)]
pub struct WrittenObject {
    /// Its entry in the manifest.
    pub facts: FileFacts,
    /// Its key in the store.
    pub key: String,
    /// CRC-64/NVME of its bytes in base64, like S3's; `None` if the store has no such checksum.
    pub crc64nvme: Option<String>,
    /// Ranges of it to read back, if it is encrypted.
    pub samples: Vec<Sample>,
    /// When it was begun: the beginning of its retention.
    pub begun: Timestamp,
}

impl ObjectWriter {
    /// Begins an object of a backup.
    pub async fn begin(
        store: &Arc<dyn Store>,
        place: &BackupPlace,
        object: &BackupObject,
    ) -> Result<Self> {
        let recipients = store.keys().recipients()?;
        let object = match recipients {
            Some(_) if object.holds_data() => object.clone().encrypted(),
            _ => object.clone(),
        };
        let recipients = recipients.filter(|_| matches!(object, BackupObject::Encrypted(_)));
        let encrypted = match recipients {
            Some(recipients) => Encrypted::Here(recipients.encrypt(None)?),
            None => Encrypted::No,
        };
        ObjectWriter::begin_as(store, place, &object, encrypted).await
    }

    /// Begins an object whose bytes are encrypted already; it had `plain_bytes` before.
    pub async fn begin_encrypted(
        store: &Arc<dyn Store>,
        place: &BackupPlace,
        object: &BackupObject,
        plain_bytes: Option<u64>,
    ) -> Result<Self> {
        let encrypted = Encrypted::Already(plain_bytes);
        ObjectWriter::begin_as(store, place, object, encrypted).await
    }

    async fn begin_as(
        store: &Arc<dyn Store>,
        place: &BackupPlace,
        object: &BackupObject,
        encrypted: Encrypted,
    ) -> Result<Self> {
        let key = place.key(object);
        let begun = Timestamp::now();
        let upload = store.upload(&key).await?;
        Ok(ObjectWriter {
            name: object.to_string(),
            key,
            upload: Some(upload),
            part: Vec::with_capacity(SMALL_BYTES),
            part_bytes: store.part_bytes(),
            encrypted,
            text_bytes: 0,
            bytes: 0,
            sha256: Sha256::new(),
            samples: Spread::default(),
            begun,
        })
    }

    /// Bytes written so far, before encryption.
    pub fn text_bytes(&self) -> u64 {
        self.text_bytes
    }

    /// Appends bytes.
    pub async fn write(&mut self, data: &[u8]) -> Result<()> {
        self.text_bytes += data.len() as u64;
        match &mut self.encrypted {
            Encrypted::Here(encryption) => {
                let stored = encryption.push(data)?;
                let begin = self.bytes;
                if !stored.is_empty() {
                    self.samples.offer(|| Sample {
                        range: begin..begin + stored.len() as u64,
                        sha256: Sha256Digest::of(&stored),
                    });
                }
                self.store(&stored).await
            }
            Encrypted::No | Encrypted::Already(_) => self.store(data).await,
        }
    }

    /// Appends bytes as they are.
    pub async fn store(&mut self, mut data: &[u8]) -> Result<()> {
        self.bytes += data.len() as u64;
        while !data.is_empty() {
            let (now, later) = data.split_at(data.len().min(self.part_bytes - self.part.len()));
            if self.part.len() + now.len() > self.part.capacity() {
                // At once: growing step by step would need up to twice the memory.
                self.part.reserve_exact(self.part_bytes - self.part.len());
            }
            self.part.extend_from_slice(now);
            data = later;
            if self.part.len() == self.part_bytes {
                let full = std::mem::take(&mut self.part);
                self.part = self.send(full).await?;
            }
        }
        Ok(())
    }

    /// Uploads a part, and digests it meanwhile on a thread of its own: a large part would hold up the other
    /// tasks of this one. Returns an empty buffer for the next part.
    async fn send(&mut self, part: Vec<u8>) -> Result<Vec<u8>> {
        let upload = self.upload.as_mut().ok_or_else(|| gone(&self.key))?;
        let part = Bytes::from(part);
        let (mut sha256, bytes) = (std::mem::take(&mut self.sha256), part.clone());
        let digested = tokio::task::spawn_blocking(move || {
            sha256.update(&bytes);
            sha256
        });
        let (sent, digested) = tokio::join!(upload.part(part.clone()), digested);
        sent?;
        self.sha256 = digested
            .map_err(|e| Error::unexpected("digesting a part was interrupted").because(e))?;
        // The same memory, if the store has let go of it.
        let mut buffer = match part.try_into_mut() {
            Ok(part) => Vec::from(part),
            Err(_) => Vec::new(),
        };
        buffer.clear();
        Ok(buffer)
    }

    /// Completes the object. If the response was lost, the outcome is determined from the stored object; a rejection by
    /// the store is an error even if the object exists.
    pub async fn complete(mut self, store: &Arc<dyn Store>) -> Result<WrittenObject> {
        let plain_bytes = match std::mem::replace(&mut self.encrypted, Encrypted::No) {
            Encrypted::No => None,
            Encrypted::Already(plain_bytes) => plain_bytes,
            Encrypted::Here(encryption) => {
                self.store(&encryption.finish()?).await?;
                Some(self.text_bytes)
            }
        };
        let last = std::mem::take(&mut self.part);
        if !last.is_empty() || self.bytes == 0 {
            let _ = self.send(last).await?;
        }
        let upload = self.upload.take().ok_or_else(|| gone(&self.key))?;
        let written = WrittenObject {
            facts: FileFacts {
                name: self.name,
                bytes: self.bytes,
                sha256: self.sha256.into(),
                plain_bytes,
            },
            key: self.key,
            crc64nvme: upload.crc64nvme(),
            samples: self.samples.into_kept(),
            begun: self.begun,
        };
        match upload.complete().await {
            Ok(_) => Ok(written),
            Err(error @ StoreError::Failed { .. }) => match written.check(store).await {
                Ok(_) => Ok(written),
                Err(_) => Err(error.into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Aborts the upload; nothing of it remains.
    pub async fn abort(mut self) {
        if let Some(upload) = self.upload.take()
            && let Err(error) = upload.abort().await
        {
            tracing::warn!(key = self.key, %error, "cannot abort the upload; a later run removes it");
        }
    }
}

impl WrittenObject {
    /// Compares the object with the store's metadata, and checks its protection as configured; returns other missing
    /// properties.
    pub async fn check(&self, store: &Arc<dyn Store>) -> Result<Vec<String>> {
        let ObjectMeta {
            size, crc64nvme, ..
        } = store.head(&self.key).await?;
        if size != self.facts.bytes {
            return Err(Error::store(format!(
                "{} has {size} bytes in the store, but {} were written",
                self.key, self.facts.bytes
            )));
        }
        if let (Some(theirs), Some(ours)) = (&crc64nvme, &self.crc64nvme)
            && theirs != ours
        {
            return Err(Error::store(format!(
                "{} differs in the store from what was written",
                self.key
            )));
        }
        protected(store, &self.key, self.begun).await
    }
}

/// Rejects an object without the configured retention or encryption; returns other missing properties.
pub async fn protected(store: &Arc<dyn Store>, key: &str, since: Timestamp) -> Result<Vec<String>> {
    let lacks = store.lacks(key, since).await?;
    if let Some(lack) = lacks.iter().find(|lack| lack.is_protection()) {
        let hint = match lack {
            Lack::Retention(_) => {
                "enable Object Lock for the bucket and allow the account s3:PutObjectRetention and \
                 s3:GetObjectRetention, or unset store.s3.object_lock"
            }
            _ => "check that the server encrypts by KMS, or unset store.s3.kms_key_id",
        };
        let what = lack.what();
        return Err(
            Error::store(format!("{key} is not protected as configured: {what}")).hint(hint),
        );
    }
    Ok(lacks
        .iter()
        .map(|lack| format!("{key}: {}", lack.what()))
        .collect())
}

fn gone(key: &str) -> Error {
    Error::unexpected(format!("{key} was written after its completion"))
}

#[cfg(test)]
#[path = "object_tests.rs"]
mod tests;
