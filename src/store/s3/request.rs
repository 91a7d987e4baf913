//! How requests are made: what objects are to be like, and how often one is tried again.

use std::time::Duration;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::ObjectLockMode;
use aws_smithy_types::DateTime;
use jiff::Timestamp;

use super::S3Store;
use super::failure::Failure;
use super::outcome::Again;
use crate::store::StoreError;
use crate::store::config::{LockMode, S3Config};
use crate::times::{instant_in, system_time_in};

/// The longest that a server is left alone because it asks for it.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How often and how long something is tried again.
pub(super) struct Attempts {
    /// How many were made, the present one included.
    made: u32,
    /// How many there may be.
    most: u32,
    /// None is begun after this.
    until: tokio::time::Instant,
    /// Whether a request was signed anew already.
    renewed: bool,
    /// Whether an attempt may have had an effect although it failed.
    unsure: bool,
}

impl Attempts {
    pub(super) fn new(settings: &S3Config) -> Self {
        Attempts {
            made: 1,
            most: settings.max_attempts,
            until: instant_in(settings.operation_timeout()),
            renewed: false,
            unsure: false,
        }
    }

    /// Waits longer each time, at random below a bound, or as long as the server asks, and says
    /// whether to try again.
    pub(super) async fn again(&mut self, asked: Option<Duration>) -> bool {
        self.unsure = true;
        let bound = Duration::from_millis(500 << self.made.min(5));
        let asked = asked.unwrap_or_default().min(LONGEST_PAUSE);
        let pause = bound.mul_f64(rand::random()).max(asked);
        if self.made >= self.most || instant_in(pause) >= self.until {
            return false;
        }
        self.made += 1;
        tokio::time::sleep(pause).await;
        true
    }
}

/// A request that failed for good.
#[derive(Debug)]
pub(super) struct Failed {
    /// Its last answer.
    pub(super) failure: Failure,
    /// Whether an attempt before may have had an effect: then the last answer may speak of that.
    pub(super) unsure: bool,
}

impl Failed {
    /// The store's outcome, at a place. A refusal behind an attempt whose answer was lost does not
    /// say that nothing happened.
    pub(super) fn into_error(self, action: &'static str, key: String) -> StoreError {
        match self.failure.into_error(action, key) {
            StoreError::Denied {
                action, key, why, ..
            }
            | StoreError::Refused {
                action, key, why, ..
            } if self.unsure && matches!(action, "put" | "complete") => {
                let why = format!("{why}, behind an attempt without an answer");
                StoreError::Failed { action, key, why }
            }
            error => error,
        }
    }
}

impl S3Store {
    /// Sends a request until it has succeeded or failed for good. `read` takes what is needed out of
    /// the answer, or says why it cannot be the answer of an S3 server.
    pub(super) async fn send<T, A, E, F>(
        &self,
        send: impl Fn() -> F,
        read: impl Fn(A) -> Result<T, &'static str>,
    ) -> Result<T, Failed>
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
        F: Future<Output = Result<A, SdkError<E, HttpResponse>>>,
    {
        let mut attempts = Attempts::new(&self.settings);
        loop {
            let signed_by = self.credentials.generation();
            let failure = match tokio::time::timeout_at(attempts.until, send()).await {
                Ok(Ok(answer)) => match read(answer) {
                    Ok(wanted) => return Ok(wanted),
                    Err(what) => Failure::not_understood(&self.endpoint, what),
                },
                Ok(Err(error)) => Failure::of(&error, &self.endpoint),
                Err(_) => Failure::too_late(&self.endpoint, self.settings.operation_timeout()),
            };
            let again = match failure.again() {
                Again::Never => false,
                Again::Often => attempts.again(failure.retry_after).await,
                Again::Renewed if attempts.renewed => false,
                Again::Renewed => {
                    attempts.renewed = true;
                    failure.is_clock() || self.credentials.renew(signed_by).await
                }
            };
            if !again {
                let unsure = attempts.unsure;
                return Err(Failed { failure, unsure });
            }
            tracing::debug!(?failure, "a request to the store is sent again");
        }
    }

    /// Like [`S3Store::send`], with the store's outcome at a key.
    pub(super) async fn ask<T, A, E, F>(
        &self,
        action: &'static str,
        key: &str,
        send: impl Fn() -> F,
        read: impl Fn(A) -> Result<T, &'static str>,
    ) -> Result<T, StoreError>
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
        F: Future<Output = Result<A, SdkError<E, HttpResponse>>>,
    {
        let sent = self.send(send, read).await;
        sent.map_err(|failed| failed.into_error(action, self.place(key)))
    }
}

/// An answer of S3's about an object says when it was modified, and is no web page. Not every gateway
/// to a directory has an ETag for a file that was put there by other means.
pub(super) fn of_object<A>(
    answer: A,
    facts: impl Fn(&A) -> (Option<&DateTime>, Option<&str>),
) -> Result<A, &'static str> {
    let (modified, kind) = facts(&answer);
    let page = kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/html"));
    match (modified, page) {
        (Some(_), false) => Ok(answer),
        (_, true) => Err("a web page"),
        (None, false) => Err("an object without a time"),
    }
}

/// An answer of S3's to a write has an ETag. Its value means nothing.
pub(super) fn of_s3<A>(answer: A, etag: impl Fn(&A) -> Option<&str>) -> Result<A, &'static str> {
    match etag(&answer).is_some_and(|etag| !etag.is_empty()) {
        true => Ok(answer),
        false => Err("a success without an ETag"),
    }
}

/// For requests whose success has no body: one that has is an error in the clothes of a success.
#[derive(Debug)]
pub(super) struct NoBody;

impl Intercept for NoBody {
    fn name(&self) -> &'static str {
        "NoBody"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let answer = context.response();
        let length = answer.headers().get("content-length").unwrap_or("0");
        match answer.status().is_success() && length.trim() != "0" {
            true => Err("a success with a body".into()),
            false => Ok(()),
        }
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
