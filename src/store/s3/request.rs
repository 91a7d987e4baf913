//! How requests are made: what objects are to be like, and how often one is tried again.

use std::time::Duration;

use aws_sdk_s3::config::Config;
use aws_sdk_s3::types::ObjectLockMode;
use aws_smithy_types::DateTime;
use jiff::Timestamp;

use crate::store::config::{LockMode, S3Config};
use crate::times::{instant_in, system_time_in};

/// For requests that must not be repeated blindly.
pub(super) fn once() -> aws_sdk_s3::config::Builder {
    Config::builder().retry_config(aws_config::retry::RetryConfig::disabled())
}

/// How often and how long something is tried again.
pub(super) struct Attempts {
    /// How many were made, the present one included.
    pub(super) made: u32,
    /// How many there may be.
    most: u32,
    /// None is begun after this.
    until: tokio::time::Instant,
}

impl Attempts {
    pub(super) fn new(settings: &S3Config) -> Self {
        Attempts {
            made: 1,
            most: settings.max_attempts,
            until: instant_in(settings.operation_timeout()),
        }
    }

    /// Waits longer each time, at random below a bound, and says whether to try again.
    pub(super) async fn again(&mut self) -> bool {
        let bound = Duration::from_millis(500 << self.made.min(5));
        let pause = bound.mul_f64(rand::random());
        if self.made >= self.most || instant_in(pause) >= self.until {
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
            .set_tagging(crate::store::s3::request::tagging(settings))
            .set_object_lock_mode(lock.map(|lock| crate::store::s3::request::lock_mode(lock.mode)))
            .set_object_lock_retain_until_date(
                lock.map(|lock| crate::store::s3::request::days_from_now(lock.days)),
            )
    }};
}
pub(super) use object_options;

pub(super) fn tagging(settings: &S3Config) -> Option<String> {
    let pairs = || url::form_urlencoded::Serializer::new(String::new());
    (!settings.tags.is_empty()).then(|| pairs().extend_pairs(&settings.tags).finish())
}

pub(super) fn lock_mode(mode: LockMode) -> ObjectLockMode {
    match mode {
        LockMode::Governance => ObjectLockMode::Governance,
        LockMode::Compliance => ObjectLockMode::Compliance,
    }
}

pub(super) fn days_from_now(days: u32) -> DateTime {
    DateTime::from(system_time_in(Duration::from_secs(
        u64::from(days) * 86_400,
    )))
}

/// An absent or odd time is the epoch.
pub(super) fn timestamp(time: Option<&DateTime>) -> Timestamp {
    time.and_then(|time| Timestamp::new(time.secs(), time.subsec_nanos() as i32).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH)
}
