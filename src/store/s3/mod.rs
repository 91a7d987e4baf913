//! A store in an S3 bucket, or in whatever speaks S3: `s3://bucket/prefix`.
//!
//! - [`connect`]: settings and the AWS variables → a client with time-outs.
//! - [`failure`]: what a failed request means.
//! - [`upload`]: streamed objects, by parts.
//!
//! Bodies are sent from memory, so checksums are headers and every request can be repeated. The
//! SDK repeats what may be repeated blindly; conditional writes are repeated here, since the
//! answer "exists" to a repetition may speak of the first attempt's own work. ETags mean nothing
//! across encryption and multipart, and are never compared.

mod connect;
mod failure;
mod upload;

use std::ops::Range;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_config::ConfigLoader;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Config, http::HttpResponse};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, ObjectLockMode, ServerSideEncryption, StorageClass,
};
use aws_smithy_types::DateTime;
use bytes::{Bytes, BytesMut};
use jiff::Timestamp;

use self::failure::{Failure, chain};
use super::config::{Checksum, LockMode, S3Config, StoreConfig};
use super::{Key, ObjectMeta, Store, StoreError, StoreUrl, Upload, check, check_range};
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

    /// One page of names below `prefix`, and the token of the next.
    async fn page(
        &self,
        prefix: &str,
        delimiter: Option<&str>,
        token: Option<String>,
    ) -> Result<(Page, Option<String>), StoreError> {
        let sent = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(self.name(prefix))
            .set_delimiter(delimiter.map(str::to_owned))
            .set_continuation_token(token)
            .send()
            .await;
        let page =
            sent.map_err(|error| self.failure(&error).into_error("list", self.place(prefix)))?;
        // A list that ends early would make backups vanish.
        let next = match (page.is_truncated(), page.next_continuation_token()) {
            (Some(true), None | Some("")) => {
                return Err(StoreError::Failed {
                    action: "list",
                    key: self.place(prefix),
                    why: format!("{}: the list is cut off without a next page", self.endpoint),
                });
            }
            (Some(true), Some(token)) => Some(token.to_owned()),
            _ => None,
        };
        Ok((page, next))
    }

    /// All pages of names below `prefix`.
    async fn pages(&self, prefix: &str, delimiter: Option<&str>) -> Result<Vec<Page>, StoreError> {
        let mut pages = Vec::new();
        let mut token = None;
        loop {
            let (page, next) = self.page(prefix, delimiter, token).await?;
            pages.push(page);
            if next.is_none() {
                return Ok(pages);
            }
            token = next;
        }
    }

    /// One attempt to read an object's bytes; whether another may do better is said beside.
    async fn read(
        &self,
        key: &str,
        range: Option<&Range<u64>>,
    ) -> Result<Bytes, (StoreError, bool)> {
        let header = range.map(|range| format!("bytes={}-{}", range.start, range.end - 1));
        let sent = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(self.name(key))
            .set_range(header)
            .send()
            .await;
        // The SDK has repeated the request already; it does not repeat the reading of the body.
        let answer = sent.map_err(|error| {
            (
                self.failure(&error).into_error("get", self.place(key)),
                false,
            )
        })?;
        let failed = |why: String| StoreError::Failed {
            action: "get",
            key: self.place(key),
            why: format!("{}: {why}", self.endpoint),
        };
        let length = answer.content_length().and_then(|n| u64::try_from(n).ok());
        let wanted = range.map_or(length, |range| Some(range.end - range.start));
        if length != wanted {
            // The range reaches past the end, or the server does not know ranges.
            let why = format!("{length:?} bytes for the range {range:?}");
            return Err((failed(why), false));
        }
        let patience = self.settings.operation_timeout();
        match tokio::time::timeout(patience, collect(answer, wanted.unwrap_or(0))).await {
            Ok(Ok(body)) if wanted.is_none_or(|wanted| body.len() as u64 == wanted) => Ok(body),
            Ok(Ok(body)) => Err((
                failed(format!("the answer ended after {} bytes", body.len())),
                true,
            )),
            Ok(Err(why)) => Err((failed(why), true)),
            Err(_) => Err((
                failed(format!("not read within {} s", patience.as_secs())),
                false,
            )),
        }
    }
}

type Page = aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;

/// Reads a body into one piece of memory of the size that was announced.
async fn collect(mut answer: GetObjectOutput, size: u64) -> Result<Bytes, String> {
    let mut body = BytesMut::with_capacity(usize::try_from(size).unwrap_or(0));
    while let Some(chunk) = answer.body.next().await {
        body.extend_from_slice(&chunk.map_err(|error| chain(&error))?);
    }
    Ok(body.freeze())
}

/// For requests that must not be repeated blindly.
fn once() -> aws_sdk_s3::config::Builder {
    Config::builder().retry_config(aws_config::retry::RetryConfig::disabled())
}

/// How often and how long something is tried again.
struct Attempts {
    /// How many were made, the present one included.
    made: u32,
    /// How many there may be.
    most: u32,
    /// None is begun after this.
    until: tokio::time::Instant,
}

impl Attempts {
    fn new(settings: &S3Config) -> Self {
        Attempts {
            made: 1,
            most: settings.max_attempts,
            until: tokio::time::Instant::now() + settings.operation_timeout(),
        }
    }

    /// Waits longer each time, at random below a bound, and says whether to try again.
    async fn again(&mut self) -> bool {
        let bound = Duration::from_millis(500 << self.made.min(5));
        let pause = bound.mul_f64(rand::random());
        if self.made >= self.most || tokio::time::Instant::now() + pause >= self.until {
            return false;
        }
        self.made += 1;
        tokio::time::sleep(pause).await;
        true
    }
}

/// Sets what every durable object is to be like. A macro, since the SDK's builders share no trait.
macro_rules! object_options {
    ($request:expr, $settings:expr) => {{
        let settings = &$settings;
        let encryption = settings.kms_key_id.as_ref();
        let lock = settings.object_lock.as_ref();
        $request
            .set_server_side_encryption(encryption.map(|_| ServerSideEncryption::AwsKms))
            .set_ssekms_key_id(encryption.cloned())
            .set_tagging(crate::store::s3::tagging(settings))
            .set_object_lock_mode(lock.map(|lock| crate::store::s3::lock_mode(lock.mode)))
            .set_object_lock_retain_until_date(
                lock.map(|lock| crate::store::s3::days_from_now(lock.days)),
            )
    }};
}
use object_options;

fn tagging(settings: &S3Config) -> Option<String> {
    let pairs = || url::form_urlencoded::Serializer::new(String::new());
    (!settings.tags.is_empty()).then(|| pairs().extend_pairs(&settings.tags).finish())
}

fn lock_mode(mode: LockMode) -> ObjectLockMode {
    match mode {
        LockMode::Governance => ObjectLockMode::Governance,
        LockMode::Compliance => ObjectLockMode::Compliance,
    }
}

fn days_from_now(days: u32) -> DateTime {
    DateTime::from(SystemTime::now() + Duration::from_secs(u64::from(days) * 86_400))
}

/// An absent or odd time is the epoch.
fn timestamp(time: Option<&DateTime>) -> Timestamp {
    time.and_then(|time| Timestamp::new(time.secs(), time.subsec_nanos() as i32).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH)
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
        if let Some(range) = range.as_ref().filter(|range| range.start >= range.end) {
            // HTTP has no words for an empty range.
            check_range(key, range, self.head(key).await?.size)?;
            return Ok(Bytes::new());
        }
        let mut attempts = Attempts::new(&self.settings);
        loop {
            match self.read(key, range.as_ref()).await {
                Ok(body) => return Ok(body),
                Err((_, true)) if attempts.again().await => {}
                Err((error, _)) => return Err(error),
            }
        }
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
        let mut objects = Vec::new();
        for page in self.pages(prefix, None).await? {
            for object in page.contents() {
                // Consoles make empty objects called `dir/`, which are no objects of ours.
                let Some(key) = self.key(object.key()).filter(|key| !key.ends_with('/')) else {
                    continue;
                };
                objects.push(ObjectMeta {
                    key: key.into(),
                    size: object
                        .size()
                        .and_then(|size| u64::try_from(size).ok())
                        .unwrap_or(0),
                    modified: timestamp(object.last_modified()),
                    crc64nvme: None,
                });
            }
        }
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(objects)
    }

    async fn list_dirs(&self, prefix: &str) -> Result<Vec<Key>, StoreError> {
        let pages = self.pages(prefix, Some("/")).await?;
        let common = pages.iter().flat_map(|page| page.common_prefixes());
        let mut dirs: Vec<Key> = common
            .filter_map(|common| self.key(common.prefix()))
            .map(str::to_owned)
            .collect();
        dirs.sort();
        Ok(dirs)
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
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
            Ok(_) | Err(StoreError::NotFound { .. }) => Ok(()),
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
