//! Section `store` of the configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::MIN_PART_BYTES;
use crate::layout;
use crate::util::times::{MOST_DAYS, Seconds};
use crate::{Error, Result};

/// Default size of a part: with 10,000 parts, an object has at most 78 GiB.
pub const DEFAULT_PART_BYTES: usize = 8 << 20;

/// Maximum size of an S3 part.
pub const MAX_PART_BYTES: usize = 5 << 30;

/// Pattern of a store URL. Behind @, ? or # there may be a secret.
pub const URL_PATTERN: &str = r"^(s3://([A-Za-z0-9._-]+(/[^/@?#\s]+)*/*|\S*[@?#]\S*)|file:///\S*)$";

/// URL of a store: `s3://bucket/prefix` or `file:///dir`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum StoreUrl {
    /// An S3 bucket. Endpoint, region and credentials are not part of the URL.
    S3 {
        /// Name of the bucket.
        bucket: String,
        /// Prefix of all object names, without slashes at either end; may be empty.
        prefix: String,
    },
    /// Absolute path of a directory.
    File(PathBuf),
}

impl FromStr for StoreUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let parsed = match text.strip_prefix("s3://") {
            Some(rest) => parse_s3(rest),
            None => parse_file(text),
        };
        // The URL is not shown: it may contain a password.
        parsed.map_err(|why| {
            Error::usage(format!("invalid store URL: {why}"))
                .hint("write s3://bucket/prefix or file:///absolute/directory")
        })
    }
}

fn parse_s3(rest: &str) -> Result<StoreUrl, &'static str> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if bucket.is_empty() {
        return Err("it has no bucket");
    }
    if bucket.contains('@') {
        return Err("it must not contain credentials; use AWS variables or profiles");
    }
    if !bucket.chars().all(good) {
        return Err("a bucket name contains only letters, digits, hyphens, underscores and dots");
    }
    let prefix = prefix.trim_end_matches('/');
    if !prefix.is_empty() {
        layout::check_key(prefix)?;
    }
    if prefix.contains(['?', '#']) {
        return Err("it must not contain ? or #: options are separate settings");
    }
    Ok(StoreUrl::S3 {
        bucket: bucket.into(),
        prefix: prefix.into(),
    })
}

fn parse_file(text: &str) -> Result<StoreUrl, &'static str> {
    let url = url::Url::parse(text).map_err(|_| "it is not a URL")?;
    if url.scheme() != "file" {
        return Err("its scheme is neither s3 nor file");
    }
    if url.host().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err("a directory has no host, ? or #; an absolute path begins with three slashes");
    }
    // `file:dir` would parse as `/dir`.
    if !text.starts_with("file:///") {
        return Err("an absolute path begins with three slashes");
    }
    let path = url.to_file_path().map_err(|()| "it is not a path")?;
    if path == Path::new("/") {
        return Err("it is the root directory");
    }
    // No system call takes a NUL, and others would be printed.
    if path.to_string_lossy().contains(char::is_control) {
        return Err("its path contains a control character");
    }
    Ok(StoreUrl::File(path))
}

impl TryFrom<String> for StoreUrl {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<StoreUrl> for String {
    fn from(url: StoreUrl) -> String {
        url.to_string()
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreUrl::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            StoreUrl::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
            StoreUrl::File(path) => match url::Url::from_file_path(path) {
                Ok(url) => f.write_str(url.as_str()),
                Err(()) => write!(f, "file://{}", path.display()),
            },
        }
    }
}

/// The store. Memory for uploads is (`parts_in_flight` + 2) × `part_bytes`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// Location of the archives: `s3://bucket/prefix` or `file:///dir`. `store: URL` and `DRCTL_STORE` are short
    /// for it.
    #[schemars(with = "String", regex(pattern = URL_PATTERN))]
    pub url: StoreUrl,
    /// Size of each part of an upload to S3. An object has at most 10,000 parts; memory for uploads is
    /// (`store.parts_in_flight` + 2) times this size.
    #[serde(default = "default_part_bytes")]
    #[schemars(range(min = MIN_PART_BYTES, max = MAX_PART_BYTES))]
    pub part_bytes: usize,
    /// Number of parts uploaded in parallel.
    #[serde(default = "default_parts_in_flight")]
    #[schemars(range(min = 1, max = 64))]
    pub parts_in_flight: usize,
    /// Settings for `s3://`.
    #[serde(default)]
    pub s3: S3Config,
}

fn default_part_bytes() -> usize {
    DEFAULT_PART_BYTES
}

fn default_parts_in_flight() -> usize {
    3
}

/// Pattern of a value that is sent in an HTTP header.
const SENDABLE: &str = r"^[!-~]([ -~]*[!-~])?$";

/// Access to an S3 server, and properties of the objects.
///
/// Credentials come from the SDK's default chain: variables, profiles, web identity, pod identity, instance
/// metadata; or from one profile alone.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct S3Config {
    /// URL of an S3 server other than AWS. Default: `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL` or the profile's.
    #[serde(deserialize_with = "trimmed")]
    #[schemars(regex(
        pattern = concat!(
            r"^https?://(\S*[@?#]\S*|([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:",
            r"([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?",
            r"(/[^@?#\s]*)?)$",
        )
    ))]
    pub endpoint_url: Option<String>,
    /// Region of the bucket. Default: `AWS_REGION`, else the profile's; with an endpoint, else us-east-1.
    #[serde(deserialize_with = "trimmed")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9._-]+$"))]
    pub region: Option<String>,
    /// AWS profile from which alone the credentials come. Default: the SDK's chain, in which variables come first.
    #[serde(deserialize_with = "trimmed")]
    #[schemars(regex(pattern = r"^[^\s\[\]]+$"))]
    pub profile: Option<String>,
    /// File with the profile, in the format of `~/.aws/credentials`: two stores may have different accounts. Default:
    /// the files of the AWS CLI.
    pub credentials_file: Option<PathBuf>,
    /// File of certificate authorities in PEM format, trusted in addition to the system's. Default:
    /// `AWS_CA_BUNDLE`, else `ca_bundle` of the AWS profile. `SSL_CERT_FILE` and `SSL_CERT_DIR` replace the
    /// system's.
    pub ca_file: Option<PathBuf>,
    /// Whether requests name the bucket in the path: `on`, `off`, or `auto`, which is `on` except for AWS.
    pub path_style: PathStyle,
    /// Checksum that the server verifies for each object: `crc64nvme` or `off`.
    pub checksum: Checksum,
    /// KMS key for server-side encryption. Default: the encryption configured for the bucket.
    #[serde(deserialize_with = "trimmed")]
    #[schemars(regex(pattern = SENDABLE))]
    pub kms_key_id: Option<String>,
    /// Storage class of archive segments. All other objects are in the bucket's default class.
    #[serde(deserialize_with = "trimmed")]
    #[schemars(regex(pattern = SENDABLE))]
    pub storage_class: Option<String>,
    /// Tags of every object.
    #[schemars(extend(
        "additionalProperties" = json!({"type": "string", "maxLength": MOST_TAG_VALUE}),
        "propertyNames" = json!({"minLength": 1, "maxLength": MOST_TAG_NAME}),
        "maxProperties" = MOST_TAGS
    ))]
    pub tags: BTreeMap<String, String>,
    /// Retention of every object except heartbeats and leases; the bucket must have Object Lock enabled.
    pub object_lock: Option<ObjectLock>,
    /// Time limit for a connection to be established.
    #[schemars(range(min = 1, max = MOST_TIMEOUT))]
    pub connect_timeout_seconds: Seconds,
    /// Time limit for one attempt of a request.
    #[schemars(range(min = 1, max = MOST_TIMEOUT))]
    pub attempt_timeout_seconds: Seconds,
    /// Time limit for a request with all its attempts.
    #[schemars(range(min = 1, max = MOST_TIMEOUT))]
    pub operation_timeout_seconds: Seconds,
    /// Time without a byte after which a transfer counts as stalled.
    #[schemars(range(min = 1, max = MOST_TIMEOUT))]
    pub stall_seconds: Seconds,
    /// Number of attempts after which a request fails.
    #[schemars(range(min = 1, max = 20))]
    pub max_attempts: u32,
}

/// Maximum for time limits, in seconds: a day.
const MOST_TIMEOUT: u64 = 86_400;

/// Limits of S3 for tags: number per object, characters of a name and of a value.
const MOST_TAGS: usize = 10;
const MOST_TAG_NAME: usize = 128;
const MOST_TAG_VALUE: usize = 256;

/// Removes whitespace around a value, as from a file.
fn trimmed<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    let text = text.map(|text| text.trim().to_owned());
    Ok(text)
}

/// Reason why a text cannot be sent in an HTTP header, as the end of a sentence; `None` if it can.
pub(super) fn unsendable(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("is empty")
    } else if text.contains(char::is_control) {
        Some("contains a newline or another control character")
    } else if !text.is_ascii() {
        Some("contains a non-ASCII character")
    } else if text.trim() != text {
        Some("begins or ends with whitespace")
    } else {
        None
    }
}

impl Default for S3Config {
    fn default() -> Self {
        S3Config {
            endpoint_url: None,
            region: None,
            profile: None,
            credentials_file: None,
            ca_file: None,
            path_style: PathStyle::Auto,
            checksum: Checksum::Crc64nvme,
            kms_key_id: None,
            storage_class: None,
            tags: BTreeMap::new(),
            object_lock: None,
            connect_timeout_seconds: Seconds(10),
            attempt_timeout_seconds: Seconds(60),
            operation_timeout_seconds: Seconds(300),
            stall_seconds: Seconds(30),
            max_attempts: 5,
        }
    }
}

/// Where requests name the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PathStyle {
    /// In the path if an endpoint is configured, in the host on AWS.
    #[default]
    Auto,
    /// In the path.
    On,
    /// In the host.
    Off,
}

/// Checksum that the server verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Checksum {
    /// CRC-64/NVME of each part and of the whole object; HEAD returns it.
    #[default]
    Crc64nvme,
    /// None, for servers that do not support it; drctl's own digests remain.
    Off,
}

/// Object Lock retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectLock {
    /// Retention mode of every object: `governance` or `compliance`.
    pub mode: LockMode,
    /// Retention in days from the upload.
    #[schemars(range(min = 1, max = MOST_DAYS))]
    pub days: u32,
}

/// Who may lift a retention before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LockMode {
    /// Accounts with a special permission.
    Governance,
    /// No account.
    Compliance,
}

impl StoreConfig {
    /// Default settings for a URL.
    pub fn new(url: StoreUrl) -> Self {
        StoreConfig {
            url,
            part_bytes: default_part_bytes(),
            parts_in_flight: default_parts_in_flight(),
            s3: S3Config::default(),
        }
    }

    /// Checks what depends on more than one setting, or is more than a type and a range.
    pub fn check(&self) -> Result<()> {
        match self.url {
            StoreUrl::S3 { .. } => self.s3.check(),
            StoreUrl::File(_) => Ok(()),
        }
    }
}

impl S3Config {
    /// Checks what depends on more than one setting, or is more than a type and a range. Errors name the keys of
    /// section `store`.
    pub fn check(&self) -> Result<()> {
        if self.attempt_timeout_seconds > self.operation_timeout_seconds {
            return Err(Error::usage(
                "store.s3.attempt_timeout_seconds exceeds operation_timeout_seconds",
            ));
        }
        let sent = [
            ("endpoint_url", &self.endpoint_url),
            ("region", &self.region),
            ("profile", &self.profile),
            ("kms_key_id", &self.kms_key_id),
            ("storage_class", &self.storage_class),
        ];
        for (name, value) in sent {
            if let Some(why) = value.as_deref().and_then(unsendable) {
                return Err(Error::usage(format!("store.s3.{name} {why}")));
            }
        }
        super::s3::check_settings(self)?;
        self.check_tags()?;
        if matches!(
            self.storage_class.as_deref(),
            Some("GLACIER" | "DEEP_ARCHIVE")
        ) {
            return Err(
                Error::usage("reading from store.s3.storage_class takes hours")
                    .hint("use a class with immediate access, such as STANDARD_IA or GLACIER_IR"),
            );
        }
        self.check_lock()
    }

    fn check_tags(&self) -> Result<()> {
        let failed = |why: &str| Err(Error::usage(format!("store.s3.tags: {why}")));
        if self.tags.len() > MOST_TAGS {
            return failed("an object has at most 10 tags");
        }
        for (name, value) in &self.tags {
            if !(1..=MOST_TAG_NAME).contains(&name.chars().count())
                || value.chars().count() > MOST_TAG_VALUE
            {
                return failed("a name has 1 to 128 characters, a value at most 256");
            }
            if [name, value]
                .iter()
                .any(|text| text.contains(char::is_control))
            {
                return failed("a name or a value contains a newline or another control character");
            }
        }
        Ok(())
    }

    fn check_lock(&self) -> Result<()> {
        if self.object_lock.is_some() && self.checksum == Checksum::Off {
            return Err(
                Error::usage("store.s3.object_lock requires a checksum of every object")
                    .hint("set store.s3.checksum to crc64nvme"),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;

    fn url(text: &str) -> StoreUrl {
        text.parse().unwrap()
    }

    #[test]
    fn a_store_url_is_a_bucket_or_an_absolute_directory() {
        let s3 = |bucket: &str, prefix: &str| StoreUrl::S3 {
            bucket: bucket.into(),
            prefix: prefix.into(),
        };
        assert_eq!(url("s3://b"), s3("b", ""));
        assert_eq!(url("s3://b/"), s3("b", ""));
        assert_eq!(url("s3://b.c/x/y/"), s3("b.c", "x/y"));
        assert_eq!(url("file:///a/b/"), StoreUrl::File("/a/b/".into()));
        assert_eq!(url("file:///a%20b"), StoreUrl::File("/a b".into()));
        assert_eq!(url("file:///a b").to_string(), "file:///a%20b");
        assert_eq!(url("s3://b/x").to_string(), "s3://b/x");
    }

    #[test]
    fn an_invalid_url_is_refused_without_being_shown() {
        for bad in [
            "",
            "b/x",
            "s3:/b",
            "s3://",
            "s3:///x",
            "s3://key:secret@b/x",
            "s3://b/x//y",
            "s3://b/../y",
            "s3://b/x?region=secret",
            "file://dir",
            "file:dir",
            "file:///",
            "file:///a?secret",
            "gs://b",
        ] {
            let error = bad.parse::<StoreUrl>().unwrap_err();
            assert_eq!(error.outcome(), Outcome::Usage, "{bad}");
            let line = error.to_string();
            assert!(line.contains("s3://bucket/prefix or file:///"), "{line}");
            assert!(!line.contains("secret"), "{line}");
        }
    }

    #[test]
    fn invalid_settings_are_refused() {
        let broken: [fn(&mut StoreConfig); 13] = [
            |c| c.s3.endpoint_url = Some("http://a\nb".into()),
            |c| c.s3.endpoint_url = Some("http://user:password@minio:9000".into()),
            |c| c.s3.endpoint_url = Some("http://minio:99999".into()),
            |c| c.s3.region = Some("eu west".into()),
            |c| c.s3.region = Some("".into()),
            |c| c.s3.kms_key_id = Some("schlüssel".into()),
            |c| c.s3.storage_class = Some("A\r\nB: c".into()),
            |c| c.s3.tags = [("a".into(), "b\nc".into())].into(),
            |c| c.s3.tags = [("".into(), "b".into())].into(),
            |c| c.s3.tags = (0..11).map(|n| (n.to_string(), "b".into())).collect(),
            |c| c.s3.attempt_timeout_seconds = Seconds(301),
            |c| c.s3.storage_class = Some("DEEP_ARCHIVE".into()),
            |c| (c.s3.object_lock, c.s3.checksum) = (lock(1), Checksum::Off),
        ];
        for (case, breaks) in broken.into_iter().enumerate() {
            let mut config = StoreConfig::new(url("s3://b"));
            assert!(config.check().is_ok());
            breaks(&mut config);
            let error = config.check().expect_err(&case.to_string());
            assert_eq!(error.outcome(), Outcome::Usage);
        }
    }

    #[test]
    fn whitespace_around_a_value_is_removed() {
        let config: StoreConfig = serde_json::from_str(
            r#"{"url":" s3://b/x\n","s3":{"region":"eu-west-1\n","kms_key_id":" k ","endpoint_url":"http://a\r\n"}}"#,
        )
        .unwrap();
        assert_eq!(config.url, url("s3://b/x"));
        assert_eq!(config.s3.region.as_deref(), Some("eu-west-1"));
        assert_eq!(config.s3.kms_key_id.as_deref(), Some("k"));
        assert!(config.check().is_ok());
    }

    #[test]
    fn a_misspelt_setting_is_refused() {
        let good = r#"{"url":"s3://b","s3":{"tags":{"a":"b"},"object_lock":{"mode":"governance","days":1}}}"#;
        let config: StoreConfig = serde_json::from_str(good).unwrap();
        assert_eq!(config.s3.object_lock, lock(1));
        assert_eq!(config.part_bytes, DEFAULT_PART_BYTES);
        for bad in [
            r#"{"url":"b"}"#,
            r#"{"url":"s3://b","parts":1}"#,
            r#"{"url":"s3://b","s3":{"patstyle":"on"}}"#,
            r#"{"url":"s3://b","s3":{"object_lock":{"mode":"maybe","days":1}}}"#,
        ] {
            assert!(serde_json::from_str::<StoreConfig>(bad).is_err(), "{bad}");
        }
    }

    fn lock(days: u32) -> Option<ObjectLock> {
        Some(ObjectLock {
            mode: LockMode::Governance,
            days,
        })
    }
}
