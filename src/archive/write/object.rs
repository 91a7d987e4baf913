//! One streamed object: any bytes in, parts of one size out, counted and digested on the way.

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::archive::BackupPlace;
use crate::archive::manifest::FileFacts;
use crate::error::{Error, Result};
use crate::store::keys::BackupObject;
use crate::store::{ObjectMeta, Store, StoreError, Upload};

/// Bytes of a part. An object of the most parts that S3 takes is then 78 GiB.
pub const PART_BYTES: usize = 8 << 20;

/// An object that is being written.
pub struct ObjectWriter {
    /// Its name beside the manifest.
    name: String,
    key: String,
    upload: Option<Box<dyn Upload>>,
    part: Vec<u8>,
    bytes: u64,
    sha256: Sha256,
    crc64: crc_fast::Digest,
}

/// A complete object, to be checked against what the store says of it.
#[derive(Debug, Clone)]
pub struct WrittenObject {
    /// What the manifest says of it.
    pub facts: FileFacts,
    /// Its key in the store.
    pub key: String,
    /// Base64 CRC-64/NVME of its bytes, as S3 gives it.
    pub crc64nvme: String,
}

impl ObjectWriter {
    /// Begins an object of a backup.
    pub async fn begin(
        store: &Arc<dyn Store>,
        place: &BackupPlace,
        object: &BackupObject,
    ) -> Result<Self> {
        let key = place.key(object);
        let upload = store.upload(&key).await?;
        Ok(ObjectWriter {
            name: object.to_string(),
            key,
            upload: Some(upload),
            part: Vec::with_capacity(PART_BYTES),
            bytes: 0,
            sha256: Sha256::new(),
            crc64: crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme),
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
        self.crc64.update(data);
        while !data.is_empty() {
            let (now, later) = data.split_at(data.len().min(PART_BYTES - self.part.len()));
            self.part.extend_from_slice(now);
            data = later;
            if self.part.len() == PART_BYTES {
                let full = std::mem::replace(&mut self.part, Vec::with_capacity(PART_BYTES));
                self.send(full).await?;
            }
        }
        Ok(())
    }

    async fn send(&mut self, part: Vec<u8>) -> Result<()> {
        let upload = self.upload.as_mut().ok_or_else(|| gone(&self.key))?;
        Ok(upload.part(Bytes::from(part)).await?)
    }

    /// Makes it exist. Where the store's answer was lost, what it says of the object decides.
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
            crc64nvme: base64_be(self.crc64.finalize()),
        };
        match upload.complete().await {
            Ok(_) => Ok(written),
            Err(error @ StoreError::Failed { .. }) => match written.check(store).await {
                Ok(()) => Ok(written),
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
    /// Holds the object against what the store says of it now.
    pub async fn check(&self, store: &Arc<dyn Store>) -> Result<()> {
        let ObjectMeta {
            size, crc64nvme, ..
        } = store.head(&self.key).await?;
        if size != self.facts.bytes {
            return Err(Error::store(format!(
                "{} has {size} bytes in the store, {} were written",
                self.key, self.facts.bytes
            )));
        }
        match crc64nvme {
            Some(theirs) if theirs != self.crc64nvme => Err(Error::store(format!(
                "{} differs in the store from what was written",
                self.key
            ))),
            _ => Ok(()),
        }
    }
}

fn gone(key: &str) -> Error {
    Error::unexpected(format!("{key} was written to after its end"))
}

/// Base64 of the eight bytes, most significant first: S3's form of a CRC-64.
fn base64_be(crc: u64) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(crc.to_be_bytes())
}

#[cfg(test)]
#[path = "object_tests.rs"]
mod tests;
