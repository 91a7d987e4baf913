//! The table of S3 outcomes: the meaning of HTTP statuses and error codes for any request.
//!
//! Servers use different statuses for the same code, so a known code takes precedence. A status for throttling or a
//! server error (429, 5xx) takes precedence over any code.

/// Meaning of a failed response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Whether the request is retried.
    pub(super) again: Again,
    /// The failure if it is not, or no longer, retried.
    pub(super) last: Last,
}

/// Whether a request is retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// The response is definitive: the request had no effect.
    Never,
    /// Once, with a new signature: with reloaded credentials if they have changed, or with the clock corrected by
    /// the server's.
    Renewed,
    /// As often as configured. Whether the request had an effect is unknown.
    Often,
}

/// A final failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    /// The object already exists.
    Exists,
    /// The object does not exist.
    Absent,
    /// The multipart upload does not exist, or no longer.
    NoUpload,
    /// The account has no permission, or the bucket does not exist; with a hint.
    Denied(&'static str),
    /// The request is invalid for this server; with a hint.
    Refused(&'static str),
    /// Whether the request had an effect is unknown.
    Unknown,
}

const ACCOUNT: &str = crate::store::CHECK_ACCOUNT;
const CLOCK: &str = "synchronise the clock of this machine by NTP";
const REGION: &str = "set store.s3.region or AWS_REGION to the bucket's region";
const KEY: &str = "check store.s3.kms_key_id and the permissions of the account for this key";
const SETTINGS: &str = "check the settings below store.s3 (object_lock, kms_key_id, storage_class, tags, checksum) \
     against what the server supports";
const ENDPOINT: &str =
    "check that store.s3.endpoint_url or AWS_ENDPOINT_URL is the URL of an S3 server";
const PROXY: &str = "allow requests to the endpoint in the proxy, or add the endpoint to NO_PROXY";
const LIMIT: &str =
    "raise the size limit of the proxy in front of the endpoint, or set store.part_bytes below it";
const SPACE: &str = "increase the space or quota of the store";
const ARCHIVED: &str = "restore the object to a storage class with immediate access";

const AGAIN: Outcome = Outcome {
    again: Again::Often,
    last: Last::Unknown,
};

const fn never(last: Last) -> Outcome {
    Outcome {
        again: Again::Never,
        last,
    }
}

const fn renewed(hint: &'static str) -> Outcome {
    Outcome {
        again: Again::Renewed,
        last: Last::Denied(hint),
    }
}

/// The clocks of client and server differ too much.
pub(super) const CLOCK_SKEW: Outcome = renewed(CLOCK);

/// Outcomes by error code.
const BY_CODE: &[(&[&str], Outcome)] = &[
    (
        &[
            // Too many requests.
            "BandwidthLimitExceeded",
            "KMS.ThrottlingException",
            "LimitExceededException",
            "PriorRequestNotComplete",
            "RequestLimitExceeded",
            "RequestThrottled",
            "RequestThrottledException",
            "SlowDown",
            "SlowDownRead",
            "SlowDownWrite",
            "ThrottledException",
            "Throttling",
            "ThrottlingException",
            "TooManyRequests",
            "TooManyRequestsException",
            // Server errors.
            "Busy",
            "InternalError",
            "InternalFailure",
            "InternalServerError",
            "KMS.InternalException",
            "KMS.KMSInternalException",
            "OperationTimedOut",
            "ServerBusy",
            "ServiceUnavailable",
            "ServiceUnavailableException",
            // The body was damaged or truncated in transit.
            "BadDigest",
            "IncompleteBody",
            "RequestTimeout",
            "RequestTimeoutException",
            "XAmzContentChecksumMismatch",
            "XAmzContentSHA256Mismatch",
            // A concurrent request for the same object.
            "ConditionalRequestConflict",
            "OperationAborted",
        ],
        AGAIN,
    ),
    (
        &[
            "AuthFailure",
            "ExpiredToken",
            "ExpiredTokenException",
            "InvalidAccessKeyId",
            "InvalidClientTokenId",
            "InvalidToken",
            "RequestExpired",
            "SignatureDoesNotMatch",
            "TokenRefreshRequired",
            "UnrecognizedClientException",
        ],
        renewed(ACCOUNT),
    ),
    (&["RequestInTheFuture", "RequestTimeTooSkewed"], CLOCK_SKEW),
    (&["PreconditionFailed"], never(Last::Exists)),
    (
        &["NoSuchKey", "NoSuchVersion", "NotFound"],
        never(Last::Absent),
    ),
    (&["NoSuchUpload"], never(Last::NoUpload)),
    (&["InvalidRange"], never(Last::Unknown)),
    (
        &[
            "AccessDenied",
            "AccountProblem",
            "AllAccessDisabled",
            "InvalidSecurity",
            "NoSuchBucket",
            "NotSignedUp",
            "UnauthorizedAccess",
        ],
        never(Last::Denied(ACCOUNT)),
    ),
    (
        &[
            "AuthorizationHeaderMalformed",
            "IllegalLocationConstraintException",
            "PermanentRedirect",
            "Redirect",
            "TemporaryRedirect",
        ],
        never(Last::Denied(REGION)),
    ),
    (
        &[
            "KMS.DisabledException",
            "KMS.InvalidKeyUsageException",
            "KMS.InvalidStateException",
            "KMS.KMSInvalidStateException",
            "KMS.NotFoundException",
        ],
        never(Last::Denied(KEY)),
    ),
    (&["InvalidObjectState"], never(Last::Refused(ARCHIVED))),
    (
        &["EntityTooLarge", "MaxMessageLengthExceeded"],
        never(Last::Refused(LIMIT)),
    ),
    (
        &["QuotaExceeded", "XMinioStorageFull"],
        never(Last::Refused(SPACE)),
    ),
];

/// Outcome of an unsuccessful response. `code` is empty if the response has none: to HEAD, or not from an S3 server.
/// `page`: the response is a web page, or otherwise not from an S3 server.
pub(super) fn judge(status: u16, code: &str, page: bool) -> Outcome {
    if page {
        return match status {
            407 => never(Last::Denied(PROXY)),
            413 => never(Last::Refused(LIMIT)),
            // An ingress without a backend temporarily answers 404; a proxy may answer anything.
            _ => AGAIN,
        };
    }
    if matches!(status, 408 | 425 | 429 | 500 | 502..=504 | 506 | 508..=599) {
        return AGAIN;
    }
    let known = BY_CODE.iter().find(|(codes, _)| codes.contains(&code));
    known.map_or_else(|| by_status(status, code), |(_, outcome)| *outcome)
}

fn by_status(status: u16, code: &str) -> Outcome {
    match (status, code) {
        // A response to HEAD has no body with a code such as ExpiredToken.
        (400, "") => Outcome {
            again: Again::Renewed,
            last: Last::Refused(SETTINGS),
        },
        (401 | 403, "") => renewed(ACCOUNT),
        (404, "") => never(Last::Absent),
        (412, _) => never(Last::Exists),
        (301..=303 | 307 | 308, _) => never(Last::Denied(REGION)),
        (400, code) if code.starts_with("KMS.") => never(Last::Denied(KEY)),
        (401 | 403, _) => never(Last::Denied(ACCOUNT)),
        (404 | 405, _) => never(Last::Refused(ENDPOINT)),
        (407, _) => never(Last::Denied(PROXY)),
        (409, _) => AGAIN,
        (413, _) => never(Last::Refused(LIMIT)),
        (507, _) => never(Last::Refused(SPACE)),
        (400..=499 | 501 | 505, _) => never(Last::Refused(SETTINGS)),
        // An error within a success, or a response of a cache (304).
        _ => AGAIN,
    }
}

/// Hint if the response is not from an S3 server.
pub(super) const NO_SERVER: &str = ENDPOINT;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_is_in_the_table_once() {
        let mut codes: Vec<&str> = BY_CODE.iter().flat_map(|row| row.0).copied().collect();
        let all = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), all);
    }

    #[test]
    fn a_failing_status_takes_precedence_over_the_code() {
        for status in [429, 500, 502, 503, 504, 520, 599] {
            for code in ["", "AccessDenied", "NoSuchKey", "Nonsense"] {
                assert_eq!(judge(status, code, false), AGAIN, "{status} {code}");
            }
        }
    }

    #[test]
    fn a_known_code_takes_precedence_over_the_status() {
        for status in [200, 400, 403, 404, 409] {
            assert_eq!(judge(status, "InternalError", false), AGAIN);
            assert_eq!(judge(status, "ExpiredToken", false).again, Again::Renewed);
            assert_eq!(judge(status, "NoSuchKey", false).last, Last::Absent);
        }
    }

    #[test]
    fn only_a_redirect_is_about_the_region() {
        for status in 300..=399 {
            let is_redirect = matches!(status, 301 | 302 | 303 | 307 | 308);
            let last = judge(status, "", false).last;
            assert_eq!(last == Last::Denied(REGION), is_redirect, "{status}");
        }
    }

    #[test]
    fn a_web_page_never_means_that_an_object_is_absent() {
        assert_eq!(judge(404, "", true), AGAIN);
        assert_eq!(judge(404, "", false).last, Last::Absent);
        // Nor does a 404 with another code.
        assert_eq!(
            judge(404, "NoSuchBucket", false).last,
            Last::Denied(ACCOUNT)
        );
        assert_eq!(judge(404, "Strange", false).last, Last::Refused(ENDPOINT));
    }
}
