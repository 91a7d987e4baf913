//! A store in an S3 bucket, or in whatever speaks S3: `s3://bucket/prefix`.
//!
//! - `connect`: settings and the AWS variables → a client with time-outs.
//! - `request`: what objects are to be like, and how often a request is tried again.
//! - `failure`: what a failed request means.
//! - `list`, `read`: whole lists, whole bodies.
//! - `upload`: streamed objects, by parts.
//!
//! Bodies are sent from memory, so checksums are headers and every request can be repeated. The
//! SDK repeats what may be repeated blindly; conditional writes are repeated here, since the
//! answer "exists" to a repetition may speak of the first attempt's own work. ETags mean nothing
//! across encryption and multipart, and are never compared.

mod connect;
mod failure;
mod list;
mod read;
mod request;
mod upload;

use std::ops::Range;

use async_trait::async_trait;
use aws_config::ConfigLoader;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, ServerSideEncryption, StorageClass};
use bytes::Bytes;
use jiff::Timestamp;

use self::failure::Failure;
use self::request::{Attempts, object_options, once, timestamp};
use super::config::{Checksum, S3Config, StoreConfig};
use super::{Deleted, Key, ObjectMeta, Store, StoreError, StoreUrl, Upload, check};
use crate::{Error, Result};

/// Objects in a bucket, below a prefix.
#[derive(Debug, Clone)]
pub struct S3Store {
    /// The connection pool, credentials and time-outs; cheap to clone.
    client: Client,
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
    /// Opens a bucket with what the environment gives besides the configuration. Asks nothing of
    /// the server yet.
    ///
    /// # Errors
    /// `Usage`: no region, or an endpoint that is no URL.
    pub async fn connect(config: &StoreConfig, aws: ConfigLoader) -> Result<Self> {
        let StoreUrl::S3 { bucket, prefix } = &config.url else {
            return Err(Error::usage(format!("{} is no S3 URL", config.url)));
        };
        let (client, endpoint) = connect::connect(&config.s3, aws).await?;
        Ok(S3Store {
            client,
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

    fn failure<E>(&self, error: &SdkError<E, HttpResponse>) -> Failure
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        Failure::of(error, &self.endpoint)
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
        let mut attempts = Attempts::new(&self.settings);
        loop {
            let request = self
                .client
                .put_object()
                .bucket(&self.bucket)
                .key(self.name(key))
                .if_none_match("*")
                .set_storage_class(class.clone())
                .set_checksum_algorithm(self.algorithm())
                .body(body.clone().into());
            let request = object_options!(request, self.settings);
            let failure = match request.customize().config_override(once()).send().await {
                Ok(_) => return Ok(()),
                Err(error) => self.failure(&error),
            };
            if failure.is_transient() && attempts.again().await {
                continue;
            }
            let repeated = attempts.made > 1;
            if repeated && failure.is_exists() && self.get(key, None).await? == body {
                return Ok(());
            }
            return Err(failure.into_error("put", self.place(key)));
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
        let sent = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(self.name(key))
            .set_server_side_encryption(
                self.settings
                    .kms_key_id
                    .as_ref()
                    .map(|_| ServerSideEncryption::AwsKms),
            )
            .set_ssekms_key_id(self.settings.kms_key_id.clone())
            .set_checksum_algorithm(self.algorithm())
            .body(body.into())
            .send()
            .await;
        sent.map(drop)
            .map_err(|error| self.failure(&error).into_error("put", self.place(key)))
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
        let sent = request.set_checksum_mode(mode).send().await;
        let answer =
            sent.map_err(|error| self.failure(&error).into_error("head", self.place(key)))?;
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

    async fn list_dirs(&self, prefix: &str) -> Result<Vec<Key>, StoreError> {
        list::directories(self, prefix).await
    }

    async fn delete(&self, key: &str) -> Result<Deleted, StoreError> {
        check("delete", key)?;
        let request = self
            .client
            .delete_object()
            .bucket(&self.bucket)
            .key(self.name(key));
        match request
            .send()
            .await
            .map_err(|error| self.failure(&error).into_error("delete", self.place(key)))
        {
            Ok(answer) if answer.delete_marker() == Some(true) => Ok(Deleted::Hidden),
            Ok(_) | Err(StoreError::NotFound { .. }) => Ok(Deleted::Gone),
            Err(error) => Err(error),
        }
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
