//! The one table of S3 outcomes: what a status and an error code mean for any request.
//!
//! Servers differ in which status they give a code, so the code decides where it is known. A
//! throttling or failing status (429, 5xx) decides whatever the body says.

/// What a failed answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Whether the same request is sent again.
    pub(super) again: Again,
    /// What it is where it is not, or no longer, sent again.
    pub(super) last: Last,
}

/// Whether a request is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// The answer is definitive: the server did nothing.
    Never,
    /// Once, signed anew: with credentials that were read again where they have changed, or by a
    /// clock that was set by the server's.
    Renewed,
    /// As often as configured. Whether the server did something is unknown.
    Often,
}

/// What a failure is in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    /// There is an object where none was to be.
    Exists,
    /// There is no such object.
    Absent,
    /// The multipart upload is not, or no longer, known.
    NoUpload,
    /// The account may not, or there is no such bucket; what to do about it.
    Denied(&'static str),
    /// The request is wrong for this server; what to do about it.
    Refused(&'static str),
    /// The server did not say what became of it.
    Unknown,
}

const ACCOUNT: &str = crate::store::CHECK_ACCOUNT;
const CLOCK: &str = "set this machine's clock by NTP";
const REGION: &str = "set store.s3.region or AWS_REGION to the bucket's region";
const KEY: &str = "check store.s3.kms_key_id, and that the account may use that key";
const SETTINGS: &str = "check the settings below store.s3 (object_lock, kms_key_id, storage_class, tags, checksum) \
     against what the server supports";
const ENDPOINT: &str = "check that store.s3.endpoint_url or AWS_ENDPOINT_URL is an S3 server";
const PROXY: &str = "let the proxy pass requests to the endpoint, or name it in NO_PROXY";
const LIMIT: &str =
    "raise the limit of the proxy before the endpoint, or set store.part_bytes below it";
const SPACE: &str = "give the store more space or quota";
const ARCHIVED: &str = "restore the object to a class that is read at once";

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

/// Signed at another time than the server's.
pub(super) const CLOCK_SKEW: Outcome = renewed(CLOCK);

/// By S3's error code.
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
            // The server has a bad time.
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
            // The body was damaged or cut off on its way.
            "BadDigest",
            "IncompleteBody",
            "RequestTimeout",
            "RequestTimeoutException",
            "XAmzContentChecksumMismatch",
            "XAmzContentSHA256Mismatch",
            // Another request for the same object.
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

/// What an answer means that is no success. `code` is empty where it has none: to HEAD, and from
/// what is no S3 server. `page` says that it is a web page or another text of no S3 server.
pub(super) fn judge(status: u16, code: &str, page: bool) -> Outcome {
    if page {
        return match status {
            407 => never(Last::Denied(PROXY)),
            413 => never(Last::Refused(LIMIT)),
            // An ingress without its server answers 404 for a while; a proxy may do anything.
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
        // HEAD has no body that would say that a token has expired.
        (400, "") => Outcome {
            again: Again::Renewed,
            last: Last::Refused(SETTINGS),
        },
        (401 | 403, "") => renewed(ACCOUNT),
        (404, "") => never(Last::Absent),
        (412, _) => never(Last::Exists),
        (301..=308, _) => never(Last::Denied(REGION)),
        (400, code) if code.starts_with("KMS.") => never(Last::Denied(KEY)),
        (401 | 403, _) => never(Last::Denied(ACCOUNT)),
        (404 | 405, _) => never(Last::Refused(ENDPOINT)),
        (407, _) => never(Last::Denied(PROXY)),
        (409, _) => AGAIN,
        (413, _) => never(Last::Refused(LIMIT)),
        (507, _) => never(Last::Refused(SPACE)),
        (400..=499 | 501 | 505, _) => never(Last::Refused(SETTINGS)),
        // An error inside of a success, or no answer of HTTP's.
        _ => AGAIN,
    }
}

/// What to do where something answers that is no S3 server.
pub(super) const NO_SERVER: &str = ENDPOINT;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_stands_in_the_table_once() {
        let mut codes: Vec<&str> = BY_CODE.iter().flat_map(|row| row.0).copied().collect();
        let all = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), all);
    }

    #[test]
    fn a_failing_status_decides_whatever_the_body_says() {
        for status in [429, 500, 502, 503, 504, 520, 599] {
            for code in ["", "AccessDenied", "NoSuchKey", "Nonsense"] {
                assert_eq!(judge(status, code, false), AGAIN, "{status} {code}");
            }
        }
    }

    #[test]
    fn a_known_code_decides_whatever_the_status() {
        for status in [200, 400, 403, 404, 409] {
            assert_eq!(judge(status, "InternalError", false), AGAIN);
            assert_eq!(judge(status, "ExpiredToken", false).again, Again::Renewed);
            assert_eq!(judge(status, "NoSuchKey", false).last, Last::Absent);
        }
    }

    #[test]
    fn a_web_page_never_says_that_an_object_is_absent() {
        assert_eq!(judge(404, "", true), AGAIN);
        assert_eq!(judge(404, "", false).last, Last::Absent);
        // Nor does a 404 that speaks of something else.
        assert_eq!(
            judge(404, "NoSuchBucket", false).last,
            Last::Denied(ACCOUNT)
        );
        assert_eq!(judge(404, "Strange", false).last, Last::Refused(ENDPOINT));
    }
}
