//! A store in an S3 bucket, or in whatever speaks S3: `s3://bucket/prefix`.
//!
//! - `connect`: settings and the AWS variables → a client with time-outs.
//! - `credentials`: read again when they have expired, checked before they are used.
//! - `outcome`: the one table of what a status and an error code mean; `failure` reads an answer by it.
//! - `request`: what objects are to be like, and how a request is sent until the table says its end.
//! - `protection`: what was asked for objects (retention, encryption), held against what they have.
//! - `list`, `read`: whole lists, whole bodies.
//! - `upload`: streamed objects, by parts.
//!
//! Bodies are sent from memory, so checksums are headers and every request can be repeated. The
//! SDK's own repetitions are off: all are made here, since the answer "exists" to a repetition may
//! speak of the first attempt's own work. ETags mean nothing across encryption and multipart, and
//! are never compared.

mod connect;
mod credentials;
mod failure;
mod list;
mod outcome;
mod protection;
mod read;
mod request;
mod trust;
mod upload;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::SharedCredentialsProvider;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::operation::put_object::PutObjectOutput;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, ServerSideEncryption, StorageClass};
use bytes::Bytes;
use jiff::Timestamp;

use self::credentials::Renewing;
use self::request::{NoBody, object_options, of_object, of_s3, timestamp};
use super::config::{Checksum, S3Config, StoreConfig};
use super::{Deleted, Lack, ObjectMeta, Store, StoreError, StoreUrl, Upload, check};
use crate::{Error, Result};

/// Objects in a bucket, below a prefix.
#[derive(Debug, Clone)]
pub struct S3Store {
    /// The connection pool, credentials and time-outs; cheap to clone.
    client: Client,
    /// What requests are signed with.
    credentials: Arc<Renewing>,
    /// Who is asked, for error texts: `minio.example:9000`.
    endpoint: String,
    /// The bucket's name.
    bucket: String,
    /// What every name in the bucket begins with: empty, or ending in `/`.
    prefix: String,
    /// Bytes of a part.
    part_bytes: usize,
    /// Parts uploaded at once.
    parts_in_flight: usize,
    /// What objects are to be like, and how patient to be.
    settings: S3Config,
}

impl S3Store {
    /// Opens a bucket with what the environment gives besides the configuration; with these
    /// credentials instead of the SDK's default chain, where there are any. Asks nothing of the
    /// server yet.
    ///
    /// # Errors
    /// `Usage`: no region, an endpoint that is no URL, certificates that are none, an AWS variable
    /// that no request could carry.
    pub async fn connect(
        config: &StoreConfig,
        given: Option<SharedCredentialsProvider>,
    ) -> Result<Self> {
        let StoreUrl::S3 { bucket, prefix } = &config.url else {
            return Err(Error::usage(format!("{} is no S3 URL", config.url)));
        };
        let (client, endpoint, credentials) = connect::connect(&config.s3, given).await?;
        Ok(S3Store {
            client,
            credentials,
            endpoint,
            bucket: bucket.clone(),
            prefix: match prefix.as_str() {
                "" => String::new(),
                prefix => format!("{prefix}/"),
            },
            part_bytes: config.part_bytes,
            parts_in_flight: config.parts_in_flight,
            settings: config.s3.clone(),
        })
    }

    /// The object's name in the bucket.
    fn name(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Where an object is, for people.
    fn place(&self, key: &str) -> String {
        format!("s3://{}/{}", self.bucket, self.name(key))
    }

    /// The key of a name that was listed.
    fn key<'a>(&self, name: Option<&'a str>) -> Option<&'a str> {
        name?.strip_prefix(&self.prefix)
    }

    fn algorithm(&self) -> Option<ChecksumAlgorithm> {
        match self.settings.checksum {
            Checksum::Crc64nvme => Some(ChecksumAlgorithm::Crc64Nvme),
            Checksum::Off => None,
        }
    }

    /// Of archive segments.
    fn storage_class(&self) -> Option<StorageClass> {
        self.settings
            .storage_class
            .as_deref()
            .map(StorageClass::from)
    }

    /// Writes an object where none is. A repetition that meets one looks whose it is.
    async fn create(
        &self,
        key: &str,
        body: Bytes,
        class: Option<StorageClass>,
    ) -> Result<(), StoreError> {
        let request = || {
            let request = self
                .client
                .put_object()
                .bucket(&self.bucket)
                .key(self.name(key))
                .if_none_match("*")
                .set_storage_class(class.clone())
                .set_checksum_algorithm(self.algorithm())
                .body(body.clone().into());
            object_options!(request, self.settings).send()
        };
        let sent = self.send(request, |answer| of_s3(answer, PutObjectOutput::e_tag));
        match sent.await {
            Ok(_) => Ok(()),
            // Only where an attempt before had no answer: what a server keeps of a request that it
            // refused is not ours.
            Err(failed) if failed.unsure && failed.failure.is_definitive() => {
                let place = self.place(key);
                match self.get(key, None).await {
                    Ok(found) if found == body => Ok(()),
                    Err(StoreError::NotFound { .. }) => {
                        Err(failed.failure.into_error("put", place))
                    }
                    _ => Err(failed.into_error("put", place)),
                }
            }
            Err(failed) => Err(failed.into_error("put", self.place(key))),
        }
    }
}

#[async_trait]
impl Store for S3Store {
    fn location(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix)
            .trim_end_matches('/')
            .to_owned()
    }

    fn part_bytes(&self) -> usize {
        self.part_bytes
    }

    async fn put_new(&self, key: &str, body: Bytes) -> Result<(), StoreError> {
        check("put", key)?;
        self.create(key, body, None).await
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), StoreError> {
        check("put", key)?;
        // No retention: each version of a heartbeat would be kept.
        let key_id = &self.settings.kms_key_id;
        let send = || {
            let request = self.client.put_object().bucket(&self.bucket);
            request
                .key(self.name(key))
                .set_server_side_encryption(key_id.as_ref().map(|_| ServerSideEncryption::AwsKms))
                .set_ssekms_key_id(key_id.clone())
                .set_checksum_algorithm(self.algorithm())
                .body(body.clone().into())
                .send()
        };
        let sent = self.ask("put", key, send, |answer| {
            of_s3(answer, PutObjectOutput::e_tag)
        });
        sent.await.map(drop)
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
        check("get", key)?;
        read::get(self, key, range).await
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta, StoreError> {
        check("head", key)?;
        let request = self
            .client
            .head_object()
            .bucket(&self.bucket)
            .key(self.name(key));
        let mode = self.algorithm().map(|_| ChecksumMode::Enabled);
        let request = request.set_checksum_mode(mode);
        let send = || request.clone().send();
        let answer = self.ask("head", key, send, |answer| {
            of_object(answer, |answer: &HeadObjectOutput| {
                (answer.last_modified(), answer.content_type())
            })
        });
        let answer = answer.await?;
        let size = answer
            .content_length()
            .and_then(|size| u64::try_from(size).ok());
        Ok(ObjectMeta {
            key: key.into(),
            size: size.ok_or_else(|| StoreError::Failed {
                action: "head",
                key: self.place(key),
                why: format!("{}: an answer without a size", self.endpoint),
            })?,
            modified: timestamp(answer.last_modified()),
            crc64nvme: answer.checksum_crc64_nvme().map(str::to_owned),
        })
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        list::objects(self, prefix).await
    }

    async fn delete(&self, key: &str) -> Result<Deleted, StoreError> {
        check("delete", key)?;
        let request = self
            .client
            .delete_object()
            .bucket(&self.bucket)
            .key(self.name(key));
        let send = || request.clone().customize().interceptor(NoBody).send();
        match self.ask("delete", key, send, Ok).await {
            Ok(answer) if answer.delete_marker() == Some(true) => Ok(Deleted::Hidden),
            Ok(_) | Err(StoreError::NotFound { .. }) => Ok(Deleted::Gone),
            Err(error) => Err(error),
        }
    }

    async fn lacks(&self, key: &str, since: Timestamp) -> Result<Vec<Lack>, StoreError> {
        protection::lacks(self, key, since).await
    }

    async fn upload(&self, key: &str) -> Result<Box<dyn Upload>, StoreError> {
        check("upload", key)?;
        Ok(Box::new(upload::S3Upload::new(self.clone(), key)))
    }

    async fn abort_stale_uploads(
        &self,
        prefix: &str,
        older_than: Timestamp,
    ) -> Result<usize, StoreError> {
        upload::abort_stale(self, prefix, older_than).await
    }
}
