//! Requests: properties of new objects, and retries.

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
use crate::util::times::{instant_in, system_time_in};

/// Maximum pause that a server may request.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// State of the attempts of a request.
pub(super) struct Attempts {
    /// Number of attempts, including the current one.
    made: u32,
    /// Maximum number of attempts.
    most: u32,
    /// No attempt begins after this time.
    until: tokio::time::Instant,
    /// Whether the request was already signed again.
    renewed: bool,
    /// Whether a failed attempt may have had an effect.
    unsure: bool,
}

impl Attempts {
    pub(super) fn new(settings: &S3Config) -> Self {
        Attempts {
            made: 1,
            most: settings.max_attempts,
            until: instant_in(settings.operation_timeout_seconds.duration()),
            renewed: false,
            unsure: false,
        }
    }

    /// Waits before a retry: exponential back-off with full jitter, at least as long as the server requests.
    /// Returns whether to retry.
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

/// A request whose last attempt failed.
#[derive(Debug)]
pub(super) struct Failed {
    /// Failure of the last attempt.
    pub(super) failure: Failure,
    /// Whether an earlier attempt may have had an effect, to which the last response may refer.
    pub(super) unsure: bool,
}

impl Failed {
    /// The error for an object. If the response of an earlier attempt was lost, a refusal does not mean that the
    /// request had no effect.
    pub(super) fn into_error(self, action: &'static str, key: String) -> StoreError {
        match self.failure.into_error(action, key) {
            StoreError::Denied {
                action, key, why, ..
            }
            | StoreError::Refused {
                action, key, why, ..
            } if self.unsure && matches!(action, "put" | "complete") => {
                let why = format!("{why}, after an attempt without a response");
                StoreError::Failed { action, key, why }
            }
            error => error,
        }
    }
}

impl S3Store {
    /// Sends a request with retries. `read` extracts the result from the response, or returns why the response
    /// cannot be that of an S3 server.
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
                Err(_) => Failure::too_late(
                    &self.endpoint,
                    self.settings.operation_timeout_seconds.duration(),
                ),
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
            tracing::debug!(?failure, "retrying a request to the store");
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

/// Checks that a response is that of S3 for an object: it has a modification time and is not a web page. A gateway to
/// a directory may have no ETag for files created by other means.
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

/// Checks that a response to a write is that of S3: it has an ETag, whose value is ignored.
pub(super) fn of_s3<A>(answer: A, etag: impl Fn(&A) -> Option<&str>) -> Result<A, &'static str> {
    if etag(&answer).is_some_and(|etag| !etag.is_empty()) {
        Ok(answer)
    } else {
        Err("a success without an ETag")
    }
}

/// Rejects a successful response with a body to a request whose success has none: the body is an error.
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
        if answer.status().is_success() && length.trim() != "0" {
            Err("a success with a body".into())
        } else {
            Ok(())
        }
    }
}

/// Sets the configured properties of a new object. A macro, since the SDK's builders share no trait.
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

/// Converts a time; an absent or invalid one becomes the epoch.
pub(super) fn timestamp(time: Option<&DateTime>) -> Timestamp {
    time.and_then(|time| Timestamp::new(time.secs(), time.subsec_nanos() as i32).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH)
}
