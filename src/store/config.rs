//! What a person may set about a store. Parsing refuses what cannot be; [`StoreConfig::check`]
//! refuses what cannot go together.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{MIN_PART_BYTES, keys};
use crate::{Error, Result};

/// The size of a part where none is configured: with 10,000 parts, 78 GiB an object.
pub const DEFAULT_PART_BYTES: usize = 8 << 20;

/// The most that S3 accepts as one part.
const MAX_PART_BYTES: usize = 5 << 30;

/// Where archives live: `s3://bucket/prefix` or `file:///dir`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum StoreUrl {
    /// An S3 bucket; its endpoint, region and credentials are not part of the URL.
    S3 {
        /// The bucket's name.
        bucket: String,
        /// What every object's name begins with, without slashes at either end; may be empty.
        prefix: String,
    },
    /// A directory, by its absolute path.
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
        // The URL itself is not repeated: somebody may have put a password into it.
        parsed.map_err(|why| {
            Error::usage(format!("the store URL is not usable: {why}"))
                .hint("write s3://bucket/prefix or file:///absolute/directory")
        })
    }
}

fn parse_s3(rest: &str) -> Result<StoreUrl, &'static str> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if bucket.is_empty() {
        return Err("it names no bucket");
    }
    if bucket.contains('@') {
        return Err("credentials do not belong in it; the AWS variables and profiles give them");
    }
    if !bucket.chars().all(good) {
        return Err("a bucket's name has letters, digits, hyphens and dots only");
    }
    let prefix = prefix.trim_end_matches('/');
    if !prefix.is_empty() {
        keys::check_key(prefix)?;
    }
    if prefix.contains(['?', '#']) {
        return Err("it has no ? or #: options are settings of their own");
    }
    Ok(StoreUrl::S3 {
        bucket: bucket.into(),
        prefix: prefix.into(),
    })
}

fn parse_file(text: &str) -> Result<StoreUrl, &'static str> {
    let url = url::Url::parse(text).map_err(|_| "it is no URL")?;
    if url.scheme() != "file" {
        return Err("its scheme is neither s3 nor file");
    }
    if url.host().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err("a directory has no host, ? or #; three slashes lead an absolute path");
    }
    // `file:dir` would parse as `/dir`.
    if !text.starts_with("file:///") {
        return Err("three slashes lead an absolute path");
    }
    let path = url.to_file_path().map_err(|()| "it is no path")?;
    if path == Path::new("/") {
        return Err("it names the root directory");
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

/// A store and how to use it. Memory for uploads is (`parts_in_flight` + 1) × `part_bytes`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// Where archives live.
    pub url: StoreUrl,
    /// Bytes of each part of an upload; an object has 10,000 parts at most. Default 8 MiB.
    #[serde(default = "default_part_bytes")]
    pub part_bytes: usize,
    /// How many parts are uploaded at once. Default 3.
    #[serde(default = "default_parts_in_flight")]
    pub parts_in_flight: usize,
    /// What matters for `s3://` alone.
    #[serde(default)]
    pub s3: S3Config,
}

fn default_part_bytes() -> usize {
    DEFAULT_PART_BYTES
}

fn default_parts_in_flight() -> usize {
    3
}

/// How to talk to an S3 server, and what objects it is to make.
///
/// Credentials come from the SDK's default chain: variables, profiles, web identity, pod identity,
/// instance metadata.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct S3Config {
    /// The server's URL; else `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL` or the profile's, else AWS.
    #[serde(deserialize_with = "trimmed")]
    pub endpoint_url: Option<String>,
    /// The bucket's region; else `AWS_REGION`, the profile's or the instance's; else, with an
    /// endpoint of one's own, us-east-1.
    #[serde(deserialize_with = "trimmed")]
    pub region: Option<String>,
    /// A file of certificate authorities in PEM that are trusted beside the system's; else
    /// `AWS_CA_BUNDLE` or the profile's `ca_bundle`.
    pub ca_file: Option<PathBuf>,
    /// Whether the bucket is named in the path or in the host. `auto`: in the path where the
    /// endpoint is not AWS's.
    pub path_style: PathStyle,
    /// What the server is told to check each object against.
    pub checksum: Checksum,
    /// The KMS key that the server encrypts objects with; none leaves it to the bucket.
    #[serde(deserialize_with = "trimmed")]
    pub kms_key_id: Option<String>,
    /// The storage class of archive segments; small objects stay in the bucket's default class.
    #[serde(deserialize_with = "trimmed")]
    pub storage_class: Option<String>,
    /// Tags of every object.
    pub tags: BTreeMap<String, String>,
    /// Retention of every object but heartbeats; the bucket must have Object Lock enabled.
    pub object_lock: Option<ObjectLock>,
    /// Seconds until a connection must stand. Default 10.
    pub connect_timeout_seconds: u64,
    /// Seconds that one attempt of a request may take. Default 60.
    pub attempt_timeout_seconds: u64,
    /// Seconds that a request may take with all its attempts. Default 300.
    pub operation_timeout_seconds: u64,
    /// Seconds without a byte after which a transfer counts as stalled. Default 30.
    pub stall_seconds: u64,
    /// How often a request is sent before it counts as failed. Default 5.
    pub max_attempts: u32,
}

/// Without the white space that a shell or a file leaves around a value; nothing is none.
fn trimmed<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    let text = text.map(|text| text.trim().to_owned());
    Ok(text)
}

/// Why an HTTP header cannot carry a text, as the end of a sentence; none where it can.
pub(super) fn unsendable(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("is empty")
    } else if text.contains(char::is_control) {
        Some("has a newline or another control character in it")
    } else if !text.is_ascii() {
        Some("has a character in it that is not ASCII")
    } else if text.trim() != text {
        Some("begins or ends with white space")
    } else {
        None
    }
}

impl Default for S3Config {
    fn default() -> Self {
        S3Config {
            endpoint_url: None,
            region: None,
            ca_file: None,
            path_style: PathStyle::Auto,
            checksum: Checksum::Crc64nvme,
            kms_key_id: None,
            storage_class: None,
            tags: BTreeMap::new(),
            object_lock: None,
            connect_timeout_seconds: 10,
            attempt_timeout_seconds: 60,
            operation_timeout_seconds: 300,
            stall_seconds: 30,
            max_attempts: 5,
        }
    }
}

impl S3Config {
    /// How long until a connection must stand.
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_secs(self.connect_timeout_seconds)
    }

    /// How long one attempt may take.
    pub fn attempt_timeout(&self) -> Duration {
        Duration::from_secs(self.attempt_timeout_seconds)
    }

    /// How long all attempts together may take.
    pub fn operation_timeout(&self) -> Duration {
        Duration::from_secs(self.operation_timeout_seconds)
    }

    /// How long a transfer may stand still.
    pub fn stall(&self) -> Duration {
        Duration::from_secs(self.stall_seconds)
    }
}

/// Where a request names the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PathStyle {
    /// In the path with an endpoint of one's own, in the host on AWS.
    #[default]
    Auto,
    /// In the path.
    On,
    /// In the host.
    Off,
}

/// What the server checks what it received against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Checksum {
    /// CRC-64/NVME of each part and of the whole object; HEAD tells it afterwards.
    #[default]
    Crc64nvme,
    /// Nothing, for servers that do not know it; drctl's own digests remain.
    Off,
}

/// How long objects can neither be deleted nor overwritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectLock {
    /// Who may lift it.
    pub mode: LockMode,
    /// Days from the upload.
    pub days: u32,
}

/// Who may lift a retention before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LockMode {
    /// Accounts with a special permission.
    Governance,
    /// Nobody.
    Compliance,
}

impl StoreConfig {
    /// The defaults for a URL.
    pub fn new(url: StoreUrl) -> Self {
        StoreConfig {
            url,
            part_bytes: default_part_bytes(),
            parts_in_flight: default_parts_in_flight(),
            s3: S3Config::default(),
        }
    }

    /// Refuses settings that no store could work with.
    pub fn check(&self) -> Result<()> {
        if !(MIN_PART_BYTES..=MAX_PART_BYTES).contains(&self.part_bytes) {
            return Err(
                Error::usage("store.part_bytes is not between 5 MiB and 5 GiB")
                    .hint("8 MiB do for archives of any size"),
            );
        }
        if !(1..=64).contains(&self.parts_in_flight) {
            return Err(Error::usage(
                "store.parts_in_flight is not between 1 and 64",
            ));
        }
        match self.url {
            StoreUrl::S3 { .. } => self.s3.check(),
            StoreUrl::File(_) => Ok(()),
        }
    }
}

impl S3Config {
    fn check(&self) -> Result<()> {
        let times = [
            ("connect_timeout_seconds", self.connect_timeout_seconds),
            ("attempt_timeout_seconds", self.attempt_timeout_seconds),
            ("operation_timeout_seconds", self.operation_timeout_seconds),
            ("stall_seconds", self.stall_seconds),
        ];
        for (name, seconds) in times {
            if !(1..=86_400).contains(&seconds) {
                return Err(Error::usage(format!(
                    "store.s3.{name} is not between 1 and 86400"
                )));
            }
        }
        if self.attempt_timeout_seconds > self.operation_timeout_seconds {
            return Err(Error::usage(
                "store.s3.attempt_timeout_seconds is more than operation_timeout_seconds",
            ));
        }
        if !(1..=20).contains(&self.max_attempts) {
            return Err(Error::usage(
                "store.s3.max_attempts is not between 1 and 20",
            ));
        }
        let sent = [
            ("endpoint_url", &self.endpoint_url),
            ("region", &self.region),
            ("kms_key_id", &self.kms_key_id),
            ("storage_class", &self.storage_class),
        ];
        for (name, value) in sent {
            if let Some(why) = value.as_deref().and_then(unsendable) {
                return Err(Error::usage(format!("store.s3.{name} {why}")));
            }
        }
        self.check_tags()?;
        if matches!(
            self.storage_class.as_deref(),
            Some("GLACIER" | "DEEP_ARCHIVE")
        ) {
            return Err(Error::usage(
                "store.s3.storage_class keeps archives out of reach for hours",
            )
            .hint("use a class that is read at once, such as STANDARD_IA or GLACIER_IR"));
        }
        self.check_lock()
    }

    fn check_tags(&self) -> Result<()> {
        let failed = |why: &str| Err(Error::usage(format!("store.s3.tags: {why}")));
        if self.tags.len() > 10 {
            return failed("an object has 10 tags at most");
        }
        for (name, value) in &self.tags {
            if !(1..=128).contains(&name.chars().count()) || value.chars().count() > 256 {
                return failed("a name has 1 to 128 characters, a value 256 at most");
            }
            if [name, value]
                .iter()
                .any(|text| text.contains(char::is_control))
            {
                return failed(
                    "a name or a value has a newline or another control character in it",
                );
            }
        }
        Ok(())
    }

    fn check_lock(&self) -> Result<()> {
        let Some(lock) = self.object_lock else {
            return Ok(());
        };
        if !(1..=36_500).contains(&lock.days) {
            return Err(Error::usage(
                "store.s3.object_lock.days is not between 1 and 36500",
            ));
        }
        if self.checksum == Checksum::Off {
            return Err(
                Error::usage("store.s3.object_lock needs a checksum with every object")
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
    fn a_bad_url_names_the_right_forms_and_never_itself() {
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
    fn settings_that_cannot_be_are_refused() {
        let broken: [fn(&mut StoreConfig); 17] = [
            |c| c.s3.endpoint_url = Some("http://a\nb".into()),
            |c| c.s3.region = Some("".into()),
            |c| c.s3.kms_key_id = Some("schlüssel".into()),
            |c| c.s3.storage_class = Some("A\r\nB: c".into()),
            |c| c.s3.tags = [("a".into(), "b\nc".into())].into(),
            |c| c.s3.tags = [("".into(), "b".into())].into(),
            |c| c.s3.tags = (0..11).map(|n| (n.to_string(), "b".into())).collect(),
            |c| c.part_bytes = MIN_PART_BYTES - 1,
            |c| c.part_bytes = MAX_PART_BYTES + 1,
            |c| c.parts_in_flight = 0,
            |c| c.s3.connect_timeout_seconds = 0,
            |c| c.s3.attempt_timeout_seconds = 301,
            |c| c.s3.operation_timeout_seconds = 86_401,
            |c| c.s3.max_attempts = 0,
            |c| c.s3.storage_class = Some("DEEP_ARCHIVE".into()),
            |c| c.s3.object_lock = lock(0),
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
    fn white_space_around_a_value_is_an_accident() {
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
