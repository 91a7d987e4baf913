//! A failed S3 request: its outcome by the table in [`super::outcome`], and a one-line message.
//!
//! The SDK's messages are "service error" and "dispatch failure"; the useful ones are the server's code and message,
//! or the innermost cause. Neither contains a secret: bodies and headers, which may repeat signatures, are not
//! quoted.

use std::error::Error as StdError;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

use super::outcome::{self, Again, Last, Outcome};
use crate::store::{CHECK_ACCOUNT, StoreError};

/// A failed request of any type.
#[derive(Debug)]
pub(super) struct Failure {
    /// Its outcome.
    outcome: Outcome,
    /// The message, one line.
    why: String,
    /// Pause requested by the server.
    pub(super) retry_after: Option<Duration>,
    /// Whether invalid settings are the cause.
    misconfigured: bool,
}

impl Failure {
    /// Interprets an SDK error; `endpoint` is shown if the response is not from an S3 server.
    pub(super) fn of<E>(error: &SdkError<E, HttpResponse>, endpoint: &str) -> Self
    where
        E: StdError + ProvideErrorMetadata + 'static,
    {
        match error {
            SdkError::ServiceError(service) => {
                let (inner, response) = (service.err(), service.raw());
                let code = inner.code().unwrap_or_default();
                let said = response.body().bytes().is_some_and(|body| !body.is_empty());
                // For a 404 to HEAD, the SDK sets a code regardless of the sender.
                let page = is_page(response) && (code.is_empty() || !said);
                if page || (code.is_empty() && said) {
                    Self::page(response, endpoint)
                } else {
                    Self::answered(code, inner.message().unwrap_or_default(), response)
                }
            }
            SdkError::ResponseError(response) => Self::page(response.raw(), endpoint),
            _ => Self::silent(error, endpoint),
        }
    }

    /// A response that lacks what a response of S3 has.
    pub(super) fn not_understood(endpoint: &str, what: &str) -> Self {
        Failure {
            outcome: outcome::judge(200, "", true),
            why: format!("{endpoint}: {what}; {}", outcome::NO_SERVER),
            retry_after: None,
            misconfigured: false,
        }
    }

    /// The time limit for all attempts has passed.
    pub(super) fn too_late(endpoint: &str, after: Duration) -> Self {
        Failure {
            why: format!("{endpoint}: no answer within {after:?}"),
            ..Self::not_understood(endpoint, "")
        }
    }

    /// An error response of an S3 server.
    fn answered(code: &str, message: &str, response: &HttpResponse) -> Self {
        let status = response.status().as_u16();
        let header = |name| response.headers().get(name);
        let mut why = match (code, message) {
            ("", _) => format!("HTTP {status} without a message"),
            (code, "") => format!("{code} (HTTP {status})"),
            (code, message) => format!("{code}: {message} (HTTP {status})"),
        };
        // The response for a bucket in another region names that region.
        if let (301 | 307 | 400, Some(region)) = (status, header("x-amz-bucket-region")) {
            why = format!("{why}; the bucket is in region {region}");
        }
        if let ("RequestTimeTooSkewed", Some(time)) = (code, header("date")) {
            why = format!("{why}; the server's time is {time}");
        }
        Failure {
            outcome: outcome::judge(status, code, false),
            why,
            retry_after: retry_after(response),
            misconfigured: false,
        }
    }

    /// A response not from an S3 server, or truncated.
    fn page(response: &HttpResponse, endpoint: &str) -> Self {
        let status = response.status().as_u16();
        let what = if is_page(response) {
            "a web page"
        } else {
            "not a response of an S3 server"
        };
        let outcome = outcome::judge(status, "", true);
        let hint = match outcome.again {
            Again::Never => String::new(),
            _ => format!("; {}", outcome::NO_SERVER),
        };
        Failure {
            outcome,
            why: format!("{endpoint}: {what} (HTTP {status}){hint}"),
            retry_after: retry_after(response),
            misconfigured: false,
        }
    }

    /// No response.
    fn silent<E>(error: &SdkError<E, HttpResponse>, endpoint: &str) -> Self
    where
        E: StdError + 'static,
    {
        let text = chain(error);
        if let Some(credentials) = find::<CredentialsError>(error) {
            return Self::no_credentials(credentials, &text);
        }
        let again = match error {
            SdkError::TimeoutError(_) => true,
            // `other` with a kind: the connection was closed during the request.
            SdkError::DispatchFailure(failure) => {
                failure.is_io() || failure.is_timeout() || failure.as_other().is_some()
            }
            _ => false,
        };
        // "operation attempt timeout (single attempt) occurred after 60s"
        let why = match text.split_once(" occurred after ") {
            Some((_, time)) => {
                let time = time.split(':').next().unwrap_or(time);
                format!("{endpoint}: no answer within {time}")
            }
            None => format!("{endpoint}: {text}"),
        };
        let again = if again { Again::Often } else { Again::Never };
        Failure {
            outcome: Outcome {
                again,
                last: Last::Unknown,
            },
            why,
            retry_after: None,
            misconfigured: false,
        }
    }

    /// No credentials: the request was not sent.
    fn no_credentials(error: &CredentialsError, text: &str) -> Self {
        let again = match error {
            CredentialsError::ProviderTimedOut(_) | CredentialsError::ProviderError(_) => {
                Again::Often
            }
            _ => Again::Never,
        };
        Failure {
            outcome: Outcome {
                again,
                last: Last::Denied(CHECK_ACCOUNT),
            },
            why: format!("no usable credentials: {text}"),
            retry_after: None,
            misconfigured: matches!(error, CredentialsError::InvalidConfiguration(_)),
        }
    }

    /// Whether the request is retried.
    pub(super) fn again(&self) -> Again {
        self.outcome.again
    }

    /// Whether the clocks differ too much; the SDK has corrected its clock from the response.
    pub(super) fn is_clock(&self) -> bool {
        self.outcome == outcome::CLOCK_SKEW
    }

    /// Whether the object already exists.
    pub(super) fn is_exists(&self) -> bool {
        self.outcome.last == Last::Exists
    }

    /// Whether the request certainly had no effect.
    pub(super) fn is_definitive(&self) -> bool {
        self.outcome.last != Last::Unknown
    }

    /// Whether the multipart upload does not exist, or no longer.
    pub(super) fn is_no_upload(&self) -> bool {
        self.outcome.last == Last::NoUpload
    }

    /// The error for an object.
    pub(super) fn into_error(self, action: &'static str, key: String) -> StoreError {
        let why = self.why;
        if self.misconfigured {
            return StoreError::Misconfigured { why };
        }
        match self.outcome.last {
            Last::Exists => StoreError::AlreadyExists { key },
            Last::Absent if matches!(action, "get" | "head" | "delete") => {
                StoreError::NotFound { key }
            }
            Last::Absent => StoreError::Refused {
                action,
                key,
                why,
                hint: outcome::NO_SERVER,
            },
            Last::Denied(hint) => StoreError::Denied {
                action,
                key,
                why,
                hint,
            },
            Last::Refused(hint) => StoreError::Refused {
                action,
                key,
                why,
                hint,
            },
            Last::NoUpload | Last::Unknown => StoreError::Failed { action, key, why },
        }
    }
}

fn is_page(response: &HttpResponse) -> bool {
    let kind = response.headers().get("content-type").unwrap_or_default();
    kind.trim_start()
        .to_ascii_lowercase()
        .starts_with("text/html")
}

/// The pause in `Retry-After`: seconds, or a date.
fn retry_after(response: &HttpResponse) -> Option<Duration> {
    let text = response.headers().get("retry-after")?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::from_str(text, Format::HttpDate).ok()?;
    let left = date.secs() - jiff::Timestamp::now().as_second();
    Some(Duration::from_secs(u64::try_from(left).unwrap_or(0)))
}

/// The first error of a type in a chain of causes.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// The causes of an error in one line, without repetitions and generic texts.
pub(super) fn chain(error: &dyn StdError) -> String {
    /// Generic texts of outer layers, by their beginning.
    const GENERIC: [&str; 8] = [
        "client error",
        "dispatch failure",
        "error reading a body",
        "io error",
        "other",
        "request has timed out",
        "streaming error",
        "tcp connect error",
    ];
    let mut line = String::new();
    let mut cause = Some(error);
    while let Some(error) = cause {
        let text = error.to_string();
        cause = error.source();
        let is_generic = GENERIC.iter().any(|begin| text.starts_with(begin));
        if line.contains(&text) || (is_generic && cause.is_some()) {
            continue;
        }
        let separator = if line.is_empty() { "" } else { ": " };
        line = format!("{line}{separator}{text}");
    }
    line
}
