//! One streamed object: any bytes in, parts of one size out, counted and digested on the way.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::archive::BackupPlace;
use crate::archive::manifest::FileFacts;
use crate::error::{Error, Result};
use crate::store::keys::BackupObject;
use crate::store::{Lack, MAX_PARTS, ObjectMeta, Store, StoreError, Upload};

/// The buffer of an object that is not yet known to be a long one.
const SMALL_BYTES: usize = 64 << 10;

/// Bytes after which an object has to end: S3's part limit, with room for a long frame.
pub fn most_bytes(store: &Arc<dyn Store>) -> u64 {
    store.part_bytes() as u64 * (MAX_PARTS as u64 - 500)
}

/// An object that is being written.
pub struct ObjectWriter {
    /// Its name beside the manifest.
    name: String,
    key: String,
    upload: Option<Box<dyn Upload>>,
    part: Vec<u8>,
    part_bytes: usize,
    bytes: u64,
    sha256: Sha256,
    begun: Timestamp,
}

/// A complete object, to be checked against what the store says of it.
#[derive(Debug, Clone)]
pub struct WrittenObject {
    /// What the manifest says of it.
    pub facts: FileFacts,
    /// Its key in the store.
    pub key: String,
    /// Base64 CRC-64/NVME of its bytes, as S3 gives it, where the store keeps one.
    pub crc64nvme: Option<String>,
    /// When it was begun: from then on counts what protects it.
    pub begun: Timestamp,
}

impl ObjectWriter {
    /// Begins an object of a backup.
    pub async fn begin(
        store: &Arc<dyn Store>,
        place: &BackupPlace,
        object: &BackupObject,
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
            bytes: 0,
            sha256: Sha256::new(),
            begun,
        })
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends.
    pub async fn write(&mut self, mut data: &[u8]) -> Result<()> {
        self.bytes += data.len() as u64;
        self.sha256.update(data);
        while !data.is_empty() {
            let (now, later) = data.split_at(data.len().min(self.part_bytes - self.part.len()));
            if self.part.len() + now.len() > self.part.capacity() {
                // All of it at once: growing step by step would hold twice as much.
                self.part.reserve_exact(self.part_bytes - self.part.len());
            }
            self.part.extend_from_slice(now);
            data = later;
            if self.part.len() == self.part_bytes {
                let full = std::mem::replace(&mut self.part, Vec::with_capacity(self.part_bytes));
                self.send(full).await?;
            }
        }
        Ok(())
    }

    async fn send(&mut self, part: Vec<u8>) -> Result<()> {
        let upload = self.upload.as_mut().ok_or_else(|| gone(&self.key))?;
        Ok(upload.part(Bytes::from(part)).await?)
    }

    /// Makes it exist. Where the store's answer was lost, what it says of the object decides; an
    /// object that it holds although it refused it is not taken for ours.
    pub async fn complete(mut self, store: &Arc<dyn Store>) -> Result<WrittenObject> {
        let last = std::mem::take(&mut self.part);
        if !last.is_empty() || self.bytes == 0 {
            self.send(last).await?;
        }
        let upload = self.upload.take().ok_or_else(|| gone(&self.key))?;
        let written = WrittenObject {
            facts: FileFacts {
                name: self.name,
                bytes: self.bytes,
                sha256: hex::encode(self.sha256.finalize()),
            },
            key: self.key,
            crc64nvme: upload.crc64nvme(),
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

    /// Gives up; nothing of it remains.
    pub async fn abort(mut self) {
        if let Some(upload) = self.upload.take()
            && let Err(error) = upload.abort().await
        {
            tracing::warn!(key = self.key, %error, "cannot abort the upload; a later run sweeps it");
        }
    }
}

impl WrittenObject {
    /// Holds the object against what the store says of it now, and against the protection that was
    /// asked for it; gives what else it lacks.
    pub async fn check(&self, store: &Arc<dyn Store>) -> Result<Vec<String>> {
        let ObjectMeta {
            size, crc64nvme, ..
        } = store.head(&self.key).await?;
        if size != self.facts.bytes {
            return Err(Error::store(format!(
                "{} has {size} bytes in the store, {} were written",
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

/// Refuses an object that lacks the retention or the encryption that was asked for it; gives what
/// else it lacks.
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
    Error::unexpected(format!("{key} was written to after its end"))
}

#[cfg(test)]
#[path = "object_tests.rs"]
mod tests;
