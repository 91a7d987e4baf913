//! What an S3 request's failure means: one of the store's outcomes, in one line that says most.
//!
//! The SDK's own texts are "service error" and "dispatch failure"; what helps is the server's code
//! and message, or the innermost cause. Neither holds a secret: bodies and headers, which may
//! repeat signatures, are not quoted.

use std::error::Error as StdError;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::store::StoreError;

/// A failed request, whatever its type was.
#[derive(Debug)]
pub(super) struct Failure {
    /// The HTTP status, if a server answered.
    status: Option<u16>,
    /// S3's error code; a HEAD has none.
    code: String,
    /// What happened, in one line.
    why: String,
    /// Whether the same request may succeed in a moment. What it did is then unknown.
    transient: bool,
    /// Whether it never left, for want of credentials.
    no_credentials: bool,
}

impl Failure {
    /// Reads an SDK error; `endpoint` is named where no server answered.
    pub(super) fn of<E>(error: &SdkError<E, HttpResponse>, endpoint: &str) -> Self
    where
        E: StdError + ProvideErrorMetadata + 'static,
    {
        match error {
            SdkError::ServiceError(service) => Self::answered(service.err(), service.raw()),
            SdkError::ResponseError(response) => Failure {
                status: Some(response.raw().status().as_u16()),
                why: format!("{endpoint}: answer not understood: {}", chain(error)),
                transient: true,
                ..Self::silent(error, endpoint)
            },
            _ => Self::silent(error, endpoint),
        }
    }

    /// A server said no.
    fn answered<E: ProvideErrorMetadata>(error: &E, response: &HttpResponse) -> Self {
        let status = response.status().as_u16();
        let code = error.code().unwrap_or_default().to_owned();
        let message = error.message().unwrap_or_default();
        let mut why = match (code.as_str(), message) {
            ("", _) => format!("HTTP {status} without an explanation"),
            (code, "") => format!("{code} (HTTP {status})"),
            (code, message) => format!("{code}: {message} (HTTP {status})"),
        };
        // A bucket elsewhere answers with its own region.
        if let (301 | 307 | 400, Some(region)) =
            (status, response.headers().get("x-amz-bucket-region"))
        {
            why = format!("{why}; the bucket is in region {region}");
        }
        let conflict = matches!(
            code.as_str(),
            "ConditionalRequestConflict" | "OperationAborted"
        );
        let busy = matches!(code.as_str(), "RequestTimeout" | "SlowDown" | "Throttling");
        // 501 NotImplemented stays what it is.
        let server = matches!(status, 429 | 500 | 502 | 503 | 504);
        Failure {
            status: Some(status),
            transient: server || busy || conflict,
            code,
            why,
            no_credentials: false,
        }
    }

    /// No server answered.
    fn silent<E>(error: &SdkError<E, HttpResponse>, endpoint: &str) -> Self
    where
        E: StdError + 'static,
    {
        let text = chain(error);
        let no_credentials = text.contains("credential") || text.contains("identity resolver");
        let transient = match error {
            SdkError::TimeoutError(_) => true,
            // `other` with a kind: a connection that closed in the middle.
            SdkError::DispatchFailure(failure) => {
                failure.is_io() || failure.is_timeout() || failure.as_other().is_some()
            }
            _ => false,
        };
        // "operation attempt timeout (single attempt) occurred after 60s"
        let why = match (no_credentials, text.split_once(" occurred after ")) {
            (true, _) => format!("no usable credentials: {text}"),
            (false, Some((_, time))) => {
                let time = time.split(':').next().unwrap_or(time);
                format!("{endpoint}: no answer within {time}")
            }
            (false, None) => format!("{endpoint}: {text}"),
        };
        Failure {
            status: None,
            code: String::new(),
            why,
            transient,
            no_credentials,
        }
    }

    /// Whether the same request may succeed in a moment.
    pub(super) fn is_transient(&self) -> bool {
        self.transient
    }

    /// Whether there is an object where none was to be.
    pub(super) fn is_exists(&self) -> bool {
        self.status == Some(412) || self.code == "PreconditionFailed"
    }

    /// Whether the multipart upload is not, or no longer, known.
    pub(super) fn is_no_upload(&self) -> bool {
        self.code == "NoSuchUpload"
    }

    fn is_absent(&self) -> bool {
        match self.code.as_str() {
            // A HEAD's 404 comes without a code, or with the SDK's own word for it.
            "" | "NotFound" | "NoSuchKey" => self.status == Some(404),
            _ => false,
        }
    }

    fn is_denied(&self) -> bool {
        let code = self.code.as_str();
        self.no_credentials
            || matches!(self.status, Some(301 | 307 | 401 | 403))
            || code.starts_with("KMS.")
            || matches!(
                code,
                "AuthorizationHeaderMalformed"
                    | "ExpiredToken"
                    | "InvalidToken"
                    | "NoSuchBucket"
                    | "TokenRefreshRequired"
            )
    }

    /// The store's outcome, at a place.
    pub(super) fn into_error(self, action: &'static str, key: String) -> StoreError {
        if self.is_exists() {
            StoreError::AlreadyExists { key }
        } else if self.is_absent() {
            StoreError::NotFound { key }
        } else if self.is_denied() {
            let why = self.why;
            StoreError::Denied { action, key, why }
        } else {
            let why = self.why;
            StoreError::Failed { action, key, why }
        }
    }
}

/// The causes of an error in one line: from the first that says something, without repetition.
pub(super) fn chain(error: &dyn StdError) -> String {
    /// How the texts of layers begin that only say that there is a layer below.
    const SAYS_NOTHING: [&str; 8] = [
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
        let says_nothing = SAYS_NOTHING.iter().any(|begin| text.starts_with(begin));
        if line.contains(&text) || (says_nothing && cause.is_some()) {
            continue;
        }
        let separator = if line.is_empty() { "" } else { ": " };
        line = format!("{line}{separator}{text}");
    }
    line
}
