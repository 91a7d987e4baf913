//! A store in a bucket of S3 or a compatible server: `s3://bucket/prefix`.
//!
//! - `connect`: creates the client from settings and AWS variables; `trust`: certificate authorities.
//! - `credentials`: reloads credentials that have expired, and checks them before use.
//! - `outcome`: the meaning of HTTP statuses and error codes; `failure` interprets a response by it.
//! - `request`: properties of new objects, and retries.
//! - `protection`: compares configured properties (retention, encryption) with those of an object.
//! - `list`, `read`: complete lists and bodies; `list_parts`: several parts of a list at once.
//! - `upload`: multipart uploads.
//!
//! Bodies are sent from memory, so checksums are headers and every request can be retried. The SDK's retries are
//! disabled: all are made here, since the response "exists" to a retry may refer to the object of the first attempt.
//! ETags depend on encryption and multipart uploads, and are never compared.

mod connect;
mod credentials;
mod failure;
mod list;
mod list_parts;
mod outcome;
mod protection;
mod read;
mod request;
mod trust;
mod upload;

pub(super) use connect::check_settings;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::SharedCredentialsProvider;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::operation::put_object::PutObjectOutput;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, ServerSideEncryption, StorageClass};
use bytes::Bytes;
use futures_util::future::try_join_all;
use jiff::Timestamp;

use self::credentials::Renewing;
use self::request::{NoBody, object_options, of_object, of_s3, timestamp};
use super::config::{Checksum, S3Config, StoreConfig};
use super::{Deleted, Lack, ObjectMeta, Store, StoreError, StoreUrl, Upload, check};
use crate::layout::TargetName;
use crate::{Error, Result};

/// Objects in a bucket, below a prefix.
#[derive(Debug, Clone)]
pub struct S3Store {
    /// Connection pool, credentials and timeouts; cheap to clone.
    client: Client,
    /// Credentials that sign requests.
    credentials: Arc<Renewing>,
    /// Name of the server, for messages: `minio.example:9000`.
    endpoint: String,
    bucket: String,
    /// Prefix of all names in the bucket: empty, or ending in `/`.
    prefix: String,
    /// Size of a part in bytes.
    part_bytes: usize,
    /// Number of parts uploaded in parallel.
    parts_in_flight: usize,
    /// Properties of objects, timeouts and retries.
    settings: S3Config,
}

impl S3Store {
    /// Opens a bucket, without a request to the server. Settings that are not configured come from the environment.
    /// `given` replaces the credentials of the SDK's default chain.
    ///
    /// # Errors
    /// `Usage`: no region, an invalid endpoint, invalid certificates, an AWS variable that cannot be sent.
    pub async fn connect(
        config: &StoreConfig,
        given: Option<SharedCredentialsProvider>,
    ) -> Result<Self> {
        let StoreUrl::S3 { bucket, prefix } = &config.url else {
            return Err(Error::usage(format!("{} is not an S3 URL", config.url)));
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

    /// Name of an object in the bucket.
    fn name(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// URL of an object, for messages.
    fn place(&self, key: &str) -> String {
        format!("s3://{}/{}", self.bucket, self.name(key))
    }

    /// The key of a listed name.
    fn key<'a>(&self, name: Option<&'a str>) -> Option<&'a str> {
        name?.strip_prefix(&self.prefix)
    }

    fn algorithm(&self) -> Option<ChecksumAlgorithm> {
        match self.settings.checksum {
            Checksum::Crc64nvme => Some(ChecksumAlgorithm::Crc64Nvme),
            Checksum::Off => None,
        }
    }

    /// Storage class of archive segments.
    fn storage_class(&self) -> Option<StorageClass> {
        self.settings
            .storage_class
            .as_deref()
            .map(StorageClass::from)
    }

    /// Creates an object unless one exists. If a retry finds an object, it is compared with the body: the first
    /// attempt may have created it.
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
            // Only if an earlier attempt had no response: an object that exists after a rejected request is not
            // ours.
            Err(failed) if failed.unsure && failed.failure.is_definitive() => {
                let place = self.place(key);
                match self.get_at_most(key, body.len() as u64).await {
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

    fn has_one_clock(&self) -> bool {
        true
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
        // No retention: every version of a heartbeat would be kept.
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
        read::get(self, key, range, None).await
    }

    async fn get_at_most(&self, key: &str, most: u64) -> Result<Bytes, StoreError> {
        check("get", key)?;
        read::get(self, key, None, Some(most)).await
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
                why: format!("{}: a response without a size", self.endpoint),
            })?,
            modified: timestamp(answer.last_modified()),
            crc64nvme: answer.checksum_crc64_nvme().map(str::to_owned),
            etag: None,
        })
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        list::objects(self, prefix, None).await
    }

    async fn list_after(&self, prefix: &str, after: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        list::objects(self, prefix, Some(after)).await
    }

    async fn list_backups(&self, target: &TargetName) -> Result<Vec<ObjectMeta>, StoreError> {
        let prefixes = target.backups();
        let lists = prefixes.each_ref();
        let lists = lists.map(|prefix| list_parts::of_backups(self, target, prefix));
        Ok(try_join_all(lists).await?.concat())
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        list::folders(self, prefix).await
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
