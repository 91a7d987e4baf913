//! Multipart uploads: parts are in memory, a few are uploaded in parallel, and one request completes the object.
//!
//! The first part is held until there is a second: an object of one part is a single conditional PUT. The CRC-64/NVME
//! of the whole object is computed here and sent with the completion, so the server verifies the assembled object, and
//! HEAD returns the checksum afterwards.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::operation::complete_multipart_upload::CompleteMultipartUploadOutput;
use aws_sdk_s3::operation::list_multipart_uploads::ListMultipartUploadsOutput;
use aws_sdk_s3::operation::upload_part::UploadPartOutput;
use aws_sdk_s3::types::{
    ChecksumType, CompletedMultipartUpload, CompletedPart, ServerSideEncryption,
};
use aws_smithy_types::base64;
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use jiff::Timestamp;
use tokio::task::JoinSet;

use super::S3Store;
use super::list::{CUT_OFF, Pages, WholeDocument};
use super::request::{NoBody, object_options, of_s3, timestamp};
use crate::store::{Key, MAX_PARTS, MIN_PART_BYTES, ObjectMeta, Store, StoreError, Upload};

/// Message for an upload that continues after a failed part.
const GAP: &str = "an earlier part failed";

/// How long an abort waits for parts in flight.
const LAST_PARTS: Duration = Duration::from_secs(5);

/// An upload to S3.
pub(super) struct S3Upload {
    store: S3Store,
    key: Key,
    /// The first part, held until there is a second.
    first: Option<Bytes>,
    /// Size of the first part, and of all others except the last; 0: no part yet.
    part_bytes: usize,
    /// Whether the last part was appended: it may have a different size.
    ended: bool,
    /// Whether a part failed: an incomplete object must never be completed.
    broken: bool,
    /// Id of the multipart upload, once it has begun.
    id: Option<String>,
    /// Number of parts sent.
    sent: usize,
    /// Uploads of parts that have not finished.
    tasks: JoinSet<Result<CompletedPart, StoreError>>,
    /// Parts that were uploaded.
    arrived: Vec<CompletedPart>,
    /// CRC-64/NVME of everything appended.
    digest: Digest,
    /// Bytes appended.
    size: u64,
}

impl S3Upload {
    pub(super) fn new(store: S3Store, key: &str) -> Self {
        S3Upload {
            store,
            key: key.into(),
            first: None,
            part_bytes: 0,
            ended: false,
            broken: false,
            id: None,
            sent: 0,
            tasks: JoinSet::new(),
            arrived: Vec::new(),
            digest: Digest::new(CrcAlgorithm::Crc64Nvme),
            size: 0,
        }
    }

    fn place(&self) -> String {
        self.store.place(&self.key)
    }

    fn failed(&self, action: &'static str, why: impl Into<String>) -> StoreError {
        StoreError::Failed {
            action,
            key: self.place(),
            why: why.into(),
        }
    }

    /// Checksum of the whole object, in the notation of S3.
    fn checksum(&self) -> String {
        base64_of(&self.digest)
    }

    /// Checks a part: some servers reject invalid ones only at completion.
    fn check_part(&self, body: &Bytes) -> Result<(), StoreError> {
        let why = if self.ended {
            "only the last part may have a different size"
        } else if self.part_bytes > 0 && self.part_bytes < MIN_PART_BYTES {
            "parts except the last must have at least 5 MiB"
        } else if self.sent >= MAX_PARTS {
            "an object has at most 10,000 parts"
        } else if body.len() > self.part_bytes && self.part_bytes > 0 {
            "a part is larger than the first"
        } else {
            return Ok(());
        };
        Err(self.failed("write", why))
    }

    async fn append(&mut self, body: Bytes) -> Result<(), StoreError> {
        self.check_part(&body)?;
        self.digest.update(&body);
        self.size += body.len() as u64;
        if self.part_bytes == 0 {
            self.part_bytes = body.len();
            self.first = Some(body);
            return Ok(());
        }
        self.ended = body.len() != self.part_bytes;
        if self.id.is_none() {
            self.begin().await?;
        }
        self.send(body).await
    }

    /// Begins the multipart upload, and sends the first part.
    async fn begin(&mut self) -> Result<(), StoreError> {
        let store = &self.store;
        let checksum = store.algorithm();
        let send = || {
            let request = store
                .client
                .create_multipart_upload()
                .bucket(&store.bucket)
                .key(store.name(&self.key))
                .set_storage_class(store.storage_class())
                .set_checksum_type(checksum.as_ref().map(|_| ChecksumType::FullObject))
                .set_checksum_algorithm(checksum.clone());
            object_options!(request, store.settings).send()
        };
        let id = store.ask("upload", &self.key, send, |begun| {
            let id = begun.upload_id().filter(|id| !id.is_empty());
            id.map(str::to_owned).ok_or("an upload without an id")
        });
        self.id = Some(id.await?);
        match self.first.take() {
            Some(first) => self.send(first).await,
            None => Ok(()),
        }
    }

    /// Sends a part in the background; waits while too many are in flight.
    async fn send(&mut self, body: Bytes) -> Result<(), StoreError> {
        while self.tasks.len() >= self.store.parts_in_flight {
            self.arrive().await?;
        }
        self.sent += 1;
        let (store, key, number) = (self.store.clone(), self.key.clone(), self.sent);
        let id = self.id.clone();
        self.tasks.spawn(async move {
            let send = || {
                let request = store.client.upload_part().bucket(&store.bucket);
                request
                    .key(store.name(&key))
                    .set_upload_id(id.clone())
                    .part_number(number as i32)
                    .set_checksum_algorithm(store.algorithm())
                    .body(body.clone().into())
                    .send()
            };
            let read = |answer| of_s3(answer, UploadPartOutput::e_tag);
            let sent = store.ask("upload", &key, send, read).await;
            let answer = sent.map_err(|error| part_error(error, number))?;
            Ok(CompletedPart::builder()
                .part_number(number as i32)
                .set_e_tag(answer.e_tag)
                .set_checksum_crc64_nvme(answer.checksum_crc64_nvme)
                .build())
        });
        Ok(())
    }

    /// Waits for one part in flight.
    async fn arrive(&mut self) -> Result<(), StoreError> {
        match self.tasks.join_next().await {
            None => Ok(()),
            Some(Ok(part)) => {
                self.arrived.push(part?);
                Ok(())
            }
            Some(Err(panic)) => Err(self.failed("upload", panic.to_string())),
        }
    }

    /// Completes the object. If a retry finds an object, it is compared: an earlier attempt may have completed it.
    async fn assemble(&mut self) -> Result<(), StoreError> {
        if self.broken {
            return Err(self.failed("complete", GAP));
        }
        while !self.tasks.is_empty() {
            self.arrive().await?;
        }
        self.arrived.sort_by_key(CompletedPart::part_number);
        let parts =
            CompletedMultipartUpload::builder().set_parts(Some(std::mem::take(&mut self.arrived)));
        let request = self
            .store
            .client
            .complete_multipart_upload()
            .bucket(&self.store.bucket)
            .key(self.store.name(&self.key))
            .set_upload_id(self.id.clone())
            .if_none_match("*")
            .mpu_object_size(self.size as i64)
            .multipart_upload(parts.build());
        let request = match self.store.algorithm() {
            Some(_) => request
                .checksum_type(ChecksumType::FullObject)
                .checksum_crc64_nvme(self.checksum()),
            None => request,
        };
        let send = || request.clone().send();
        let read = |answer| of_s3(answer, CompleteMultipartUploadOutput::e_tag);
        match self.store.send(send, read).await {
            Ok(_) => Ok(()),
            Err(failed)
                if failed.unsure
                    && (failed.failure.is_exists() || failed.failure.is_no_upload()) =>
            {
                self.settle().await
            }
            Err(failed) => Err(failed.into_error("complete", self.place())),
        }
    }

    /// Checks whether an earlier completion, whose response was lost, created the object.
    async fn settle(&self) -> Result<(), StoreError> {
        let found = match self.store.head(&self.key).await {
            Err(StoreError::NotFound { .. }) => {
                return Err(self.failed(
                    "complete",
                    "the upload no longer exists, and there is no object",
                ));
            }
            found => found?,
        };
        match found.crc64nvme {
            Some(checksum) if found.size == self.size && checksum == self.checksum() => Ok(()),
            Some(_) => Err(StoreError::AlreadyExists { key: self.place() }),
            None => Err(self.failed(
                "complete",
                "an object exists; whether this upload created it is unknown",
            )),
        }
    }

    /// Aborts the upload on the server.
    async fn discard(&mut self) -> Result<(), StoreError> {
        // A part that the server stores after the abort would restore the upload.
        let arrive = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_PARTS, arrive).await.is_err() {
            self.tasks.shutdown().await;
        }
        let Some(id) = self.id.take() else {
            return Ok(());
        };
        abort(&self.store, &self.key, &id).await
    }
}

#[async_trait]
impl Upload for S3Upload {
    async fn part(&mut self, body: Bytes) -> Result<(), StoreError> {
        // Set until the part is queued: it is lost as well if this future is dropped.
        if std::mem::replace(&mut self.broken, true) {
            return Err(self.failed("write", GAP));
        }
        self.append(body).await?;
        self.broken = false;
        Ok(())
    }

    fn crc64nvme(&self) -> Option<String> {
        Some(self.checksum())
    }

    async fn complete(mut self: Box<Self>) -> Result<ObjectMeta, StoreError> {
        if self.id.is_none() && !self.broken {
            let body = self.first.take().unwrap_or_default();
            let class = self.store.storage_class();
            self.store.create(&self.key, body, class).await?;
        } else if let Err(error) = self.assemble().await {
            if let Err(abort) = self.discard().await {
                tracing::warn!(%abort, "cannot remove the failed upload");
            }
            return Err(error);
        }
        let found = self.store.head(&self.key).await?;
        let checksum = found.crc64nvme.as_deref();
        if found.size != self.size || checksum.is_some_and(|found| found != self.checksum()) {
            let why = format!(
                "{} bytes were sent, but the store has {} different bytes",
                self.size, found.size
            );
            return Err(self.failed("complete", why));
        }
        Ok(found)
    }

    async fn abort(mut self: Box<Self>) -> Result<(), StoreError> {
        self.discard().await
    }
}

/// The notation of S3: base64 of the eight bytes, most significant first.
fn base64_of(digest: &Digest) -> String {
    base64::encode(digest.finalize().to_be_bytes())
}

/// Adds the number of the part to an error.
fn part_error(error: StoreError, number: usize) -> StoreError {
    match error {
        StoreError::Failed { action, key, why } => StoreError::Failed {
            action,
            key,
            why: format!("part {number}: {why}"),
        },
        StoreError::Refused {
            action,
            key,
            why,
            hint,
        } => StoreError::Refused {
            action,
            key,
            why: format!("part {number}: {why}"),
            hint,
        },
        other => other,
    }
}

async fn abort(store: &S3Store, key: &str, id: &str) -> Result<(), StoreError> {
    let request = store
        .client
        .abort_multipart_upload()
        .bucket(&store.bucket)
        .key(store.name(key))
        .upload_id(id);
    let send = || request.clone().customize().interceptor(NoBody).send();
    match store.send(send, Ok).await {
        Ok(_) => Ok(()),
        Err(failed) if failed.failure.is_no_upload() => Ok(()),
        Err(failed) => Err(failed.into_error("abort", store.place(key))),
    }
}

/// Aborts uploads that were begun before `older_than`. Some servers list only uploads of one exact key, and none
/// here: for those a lifecycle rule is needed.
pub(super) async fn abort_stale(
    store: &S3Store,
    prefix: &str,
    older_than: Timestamp,
) -> Result<usize, StoreError> {
    let (mut stale, mut seen) = (Vec::new(), HashSet::new());
    let mut marker = (None, None);
    let mut pages = Pages::new(store, "list uploads", prefix);
    loop {
        let page = list_uploads(store, prefix, marker).await?;
        let before = seen.len();
        for upload in page.uploads() {
            seen.insert(upload.upload_id().map(str::to_owned));
            // An upload of unknown age may be active.
            let Some(begun) = upload.initiated() else {
                continue;
            };
            if let (Some(key), Some(id)) = (store.key(upload.key()), upload.upload_id())
                && timestamp(Some(begun)) < older_than
            {
                stale.push((key.to_owned(), id.to_owned()));
            }
        }
        if page.is_truncated() != Some(true) || page.next_key_marker().is_none() {
            break;
        }
        let (listed, news) = (page.uploads().len(), seen.len() - before);
        marker = (page.next_key_marker, page.next_upload_id_marker);
        pages.turn(&format!("{marker:?}"), listed, news)?;
    }
    for (key, id) in &stale {
        abort(store, key, id).await?;
    }
    Ok(stale.len())
}

async fn list_uploads(
    store: &S3Store,
    prefix: &str,
    (key, id): (Option<String>, Option<String>),
) -> Result<ListMultipartUploadsOutput, StoreError> {
    let request = store
        .client
        .list_multipart_uploads()
        .bucket(&store.bucket)
        .prefix(store.name(prefix))
        .set_key_marker(key)
        .set_upload_id_marker(id);
    let end = WholeDocument::default();
    let send = || request.clone().customize().interceptor(end.clone()).send();
    store
        .ask("list uploads", prefix, send, |page| {
            match page.is_truncated() {
                Some(_) if end.came() => Ok(page),
                _ => Err(CUT_OFF),
            }
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_s3() {
        let mut digest = Digest::new(CrcAlgorithm::Crc64Nvme);
        digest.update(b"1234");
        digest.update(b"56789");
        // The check value of CRC-64/NVME, AE8B14860A799888.
        assert_eq!(base64_of(&digest), "rosUhgp5mIg=");
    }
}
