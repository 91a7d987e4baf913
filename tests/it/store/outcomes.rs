//! The whole table of S3 outcomes, by every kind of request: a real server behind a proxy that gives
//! each answer once, or always.

use std::time::{Duration, Instant};

use bytes::Bytes;
use drctl::store::s3::S3Store;
use drctl::store::{MIN_PART_BYTES, Store, StoreError};
use drctl::util::times::Seconds;
use drctl::{Error, Outcome};
use futures_util::stream::{self, StreamExt};
use jiff::{SignedDuration, Timestamp};

use super::contract::{noise, upload_of};
use crate::need;
use crate::support::fault_proxy::{Fault, FaultProxy, When};
use crate::support::versitygw::{Gateway, config_at, open};

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    PutNew,
    Put,
    Create,
    Part,
    Complete,
    Abort,
    Get,
    Range,
    Head,
    List,
    ListUploads,
    Delete,
}

use Kind::*;

/// Those that need no parts of 5 MiB.
const SMALL: &[Kind] = &[PutNew, Put, Get, Range, Head, List, ListUploads, Delete];
const MULTIPART: &[Kind] = &[Create, Part, Complete, Abort];

/// What is to become of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// Asked again.
    Again,
    /// Asked again once, by another time; then the account is to be looked at.
    Clock,
    Exists,
    Absent,
    NoUpload,
    Denied,
    Refused,
}

use Expected::*;

/// Status, code, and what is to become of it.
const TABLE: &[(u16, &str, Expected)] = &[
    // Busy, whatever the code.
    (429, "", Again),
    (429, "AccessDenied", Again),
    (429, "TooManyRequests", Again),
    (503, "SlowDown", Again),
    (503, "ServiceUnavailable", Again),
    (503, "NoSuchKey", Again),
    (400, "Throttling", Again),
    (400, "ThrottlingException", Again),
    (400, "RequestLimitExceeded", Again),
    (403, "RequestThrottledException", Again),
    (400, "KMS.ThrottlingException", Again),
    // A bad time.
    (500, "InternalError", Again),
    (500, "", Again),
    (400, "InternalError", Again),
    (404, "InternalError", Again),
    (502, "", Again),
    (504, "", Again),
    (520, "", Again),
    (408, "", Again),
    (400, "RequestTimeout", Again),
    (400, "IncompleteBody", Again),
    (400, "BadDigest", Again),
    (409, "OperationAborted", Again),
    (409, "ConditionalRequestConflict", Again),
    (409, "", Again),
    // Errors inside of a success.
    (200, "InternalError", Again),
    (200, "SlowDown", Again),
    // The account.
    (400, "ExpiredToken", Denied),
    (403, "ExpiredTokenException", Denied),
    (400, "InvalidToken", Denied),
    (400, "TokenRefreshRequired", Denied),
    (403, "InvalidAccessKeyId", Denied),
    (403, "SignatureDoesNotMatch", Denied),
    (403, "RequestTimeTooSkewed", Clock),
    (403, "AccessDenied", Denied),
    (403, "Strange", Denied),
    (401, "Unauthorized", Denied),
    (404, "NoSuchBucket", Denied),
    // Elsewhere.
    (301, "PermanentRedirect", Denied),
    (307, "TemporaryRedirect", Denied),
    (400, "AuthorizationHeaderMalformed", Denied),
    (400, "IllegalLocationConstraintException", Denied),
    // The key.
    (400, "KMS.DisabledException", Denied),
    (400, "KMS.NotFoundException", Denied),
    (400, "KMS.SomethingNewException", Denied),
    // Conditions and absence.
    (412, "PreconditionFailed", Exists),
    (404, "NoSuchKey", Absent),
    (404, "NoSuchUpload", NoUpload),
    // Wrong for this server.
    (400, "InvalidRequest", Refused),
    (400, "InvalidArgument", Refused),
    (400, "MalformedXML", Refused),
    (400, "EntityTooLarge", Refused),
    (403, "InvalidObjectState", Refused),
    (404, "Strange", Refused),
    (405, "MethodNotAllowed", Refused),
    (411, "MissingContentLength", Refused),
    (413, "", Refused),
    (501, "NotImplemented", Refused),
    (507, "XMinioStorageFull", Refused),
];

/// What is to become of an answer to a kind of request.
fn expected(kind: Kind, status: u16, code: &str, row: Expected) -> Expected {
    // HEAD has no body, so no code: the status alone decides.
    if kind == Head {
        return match status {
            301..=308 | 401 | 403 => Denied,
            404 => Absent,
            412 => Exists,
            400 | 405 | 411 | 413 | 501 | 507 => Refused,
            _ => Again,
        };
    }
    match (kind, row) {
        // Only what reads or deletes an object can miss it.
        (Get | Range | Delete, Absent) => Absent,
        (_, Absent) => Refused,
        // The body of a 200 is the object.
        (Get | Range, _) if status == 200 => Again,
        _ if code.is_empty() && status == 413 => Refused,
        (_, row) => row,
    }
}

struct Case {
    kind: Kind,
    key: String,
}

impl Case {
    fn new(kind: Kind, n: usize) -> Case {
        Case {
            kind,
            key: format!("{kind:?}-{n:03}").to_lowercase(),
        }
    }

    /// The requests that are answered wrongly.
    fn when(&self) -> When {
        let (key, prefix) = (&*self.key, format!("prefix={}", self.key));
        match self.kind {
            PutNew | Put => When::put(key),
            Create => When::is("POST", key).query("uploads"),
            Part => When::put(key).query("partNumber=1&"),
            Complete => When::complete(key),
            Abort => When::is("DELETE", key).query("uploadId="),
            Get | Range => When::is("GET", key),
            Head => When::is("HEAD", key),
            List => When::is("GET", "").query(&prefix),
            ListUploads => When::is("GET", "").query("uploads&").and(&prefix),
            Delete => When::is("DELETE", key),
        }
    }

    /// What has to be there before.
    async fn prepare(&self, store: &S3Store) {
        if matches!(self.kind, Get | Range | Head | Delete | List) {
            store.put_new(&self.key, "0123456789".into()).await.unwrap();
        }
    }

    async fn ask(&self, store: &S3Store, part: &Bytes) -> Result<(), StoreError> {
        let key = &*self.key;
        match self.kind {
            PutNew => store.put_new(key, "x".into()).await,
            Put => store.put(key, "x".into()).await,
            Get => store
                .get(key, None)
                .await
                .map(|body| assert_eq!(body, "0123456789")),
            Range => store
                .get(key, Some(2..5))
                .await
                .map(|body| assert_eq!(body, "234")),
            Head => store.head(key).await.map(|meta| assert_eq!(meta.size, 10)),
            List => store.list(key).await.map(|list| assert_eq!(list.len(), 1)),
            ListUploads => store
                .abort_stale_uploads(key, Timestamp::now())
                .await
                .map(drop),
            Delete => store.delete(key).await.map(drop),
            Create | Part | Complete => {
                let mut upload = store.upload(key).await?;
                upload.part(part.clone()).await?;
                if let Err(error) = upload.part("end".into()).await {
                    upload.abort().await.unwrap();
                    return Err(error);
                }
                let meta = upload.complete().await?;
                assert_eq!(meta.size as usize, part.len() + 3);
                Ok(())
            }
            Abort => {
                let upload = upload_of(store, key, [part.clone(), "end".into()]).await;
                upload.abort().await
            }
        }
    }
}

/// Asks by each kind for each row, eight at once.
async fn drive(kinds: &[Kind]) {
    let proxy = FaultProxy::start(Gateway::shared().address());
    let config = config_at(&proxy.url(), &Gateway::shared().bucket());
    let store = open(&config).await;
    let part = noise(MIN_PART_BYTES);
    let cases = kinds.iter().flat_map(|kind| {
        TABLE
            .iter()
            .enumerate()
            .map(move |(n, row)| (*kind, n, row))
    });
    let asked = cases.map(|(kind, n, (status, code, row))| {
        let (store, proxy, part) = (&store, &proxy, &part);
        async move {
            let case = Case::new(kind, n);
            let expected = expected(kind, *status, code, *row);
            case.prepare(store).await;
            let times = if expected == Again { 1 } else { usize::MAX };
            let answer = match code.is_empty() {
                true => Fault::Say(*status, Vec::new(), String::new()),
                false => Fault::Answer(*status, code),
            };
            proxy.fault(case.when().first(times), answer);
            let result = case.ask(store, part).await;
            let count = proxy.count_of(&case.when());
            check(&case, (*status, code), expected, &result, count);
        }
    });
    let asked: Vec<_> = asked.collect();
    stream::iter(asked)
        .buffer_unordered(8)
        .collect::<Vec<()>>()
        .await;
}

fn check(
    case: &Case,
    answer: (u16, &str),
    expected: Expected,
    result: &Result<(), StoreError>,
    count: usize,
) {
    let (kind, said) = (
        case.kind,
        format!("{:?} {answer:?}: {count} {result:?}", case.kind),
    );
    let good = match expected {
        Again => result.is_ok() && count >= 2,
        Clock => matches!(result, Err(StoreError::Denied { .. })) && count == 2,
        Exists => matches!(result, Err(StoreError::AlreadyExists { .. })) && count == 1,
        Absent if kind == Delete => result.is_ok() && count == 1,
        Absent => matches!(result, Err(StoreError::NotFound { .. })) && count == 1,
        NoUpload if kind == Abort => result.is_ok() && count == 1,
        NoUpload => matches!(result, Err(StoreError::Failed { .. })) && count == 1,
        Denied => matches!(result, Err(StoreError::Denied { .. })) && count == 1,
        Refused => matches!(result, Err(StoreError::Refused { .. })) && count == 1,
    };
    assert!(good, "{said}, not {expected:?}");
}

#[tokio::test]
async fn every_answer_to_every_small_request() {
    need!(Gateway);
    drive(SMALL).await;
}

#[tokio::test]
async fn every_answer_to_every_request_of_an_upload() {
    need!(Gateway);
    drive(MULTIPART).await;
}

const HTML: &str = "<!doctype html><html><body>nginx</body></html>";

/// What is no S3 server's answer: status, type, body.
const NO_ANSWERS: &[(u16, &str, &str)] = &[
    (200, "text/html", HTML),
    (200, "application/xml", ""),
    (
        200,
        "application/xml",
        "<ListBucketResult><Contents><Key>x</Key>",
    ),
    (
        200,
        "application/xml",
        "<ListBucketResult><KeyCount>1</KeyCount><IsTruncated>false</IsTruncated><Cont",
    ),
    (200, "application/xml", "<?xml vers"),
    (200, "application/json", "{\"ok\":true}"),
    (400, "text/html; charset=utf-8", HTML),
    (403, "text/html", HTML),
    (404, "text/html", HTML),
    (404, "text/plain", "404 page not found\n"),
    (429, "application/json", "{\"error\":\"slow down\"}"),
    (429, "text/html", HTML),
    (502, "text/html", HTML),
    (503, "text/html", HTML),
    (503, "application/xml", "<Error><Code>Slow"),
];

#[tokio::test]
async fn what_no_s3_server_says_is_asked_again_and_never_believed() {
    need!(Gateway);
    let proxy = FaultProxy::start(Gateway::shared().address());
    let config = config_at(&proxy.url(), &Gateway::shared().bucket());
    let store = open(&config).await;
    let mut patient = config.clone();
    patient.s3.max_attempts = 1;
    let hasty = open(&patient).await;
    let part = noise(MIN_PART_BYTES);
    let cases = SMALL.iter().chain(&[Create, Complete]);
    let cases = cases.flat_map(|kind| (0..NO_ANSWERS.len()).map(move |n| (*kind, n)));
    let asked = cases.map(|(kind, n)| {
        let (store, hasty, proxy, part) = (&store, &hasty, &proxy, &part);
        let (status, content_type, body) = NO_ANSWERS[n];
        async move {
            // A HEAD has no body by which to tell them apart.
            let bare = kind == Head && content_type != "text/html" && status != 200;
            if bare || (kind == Delete && status == 200 && body.is_empty()) {
                return;
            }
            let said = || {
                let headers = vec![("content-type", content_type.to_owned())];
                Fault::Say(status, headers, body.to_owned())
            };
            let case = Case::new(kind, n);
            case.prepare(store).await;
            proxy.fault(case.when().first(1), said());
            let result = case.ask(store, part).await;
            assert!(
                result.is_ok(),
                "{kind:?} {status} {content_type} {body}: {result:?}"
            );

            let case = Case::new(kind, 100 + n);
            case.prepare(store).await;
            proxy.fault(case.when(), said());
            let result = case.ask(hasty, part).await;
            let failed = matches!(result, Err(StoreError::Failed { .. }));
            assert!(
                failed,
                "{kind:?} {status} {content_type} {body}: {result:?}"
            );
        }
    });
    let asked: Vec<_> = asked.collect();
    stream::iter(asked)
        .buffer_unordered(8)
        .collect::<Vec<()>>()
        .await;
}

#[tokio::test]
async fn a_server_that_asks_to_be_left_alone_is_left_alone_for_so_long() {
    need!(Gateway);
    let proxy = FaultProxy::start(Gateway::shared().address());
    let mut config = config_at(&proxy.url(), &Gateway::shared().bucket());
    let store = open(&config).await;
    // A date has no fractions of a second: at least two of the three seconds are left.
    let date = || {
        let at = Timestamp::now() + SignedDuration::from_secs(3);
        at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    };
    let after: [(&str, &dyn Fn() -> String, u64); 2] =
        [("a", &|| "2".to_owned(), 2), ("b", &date, 1)];
    for (key, after, least) in after {
        let headers = vec![("retry-after", after())];
        proxy.fault(
            When::put(key).first(1),
            Fault::Say(503, headers, String::new()),
        );
        let begun = Instant::now();
        store.put_new(key, "x".into()).await.unwrap();
        assert!(begun.elapsed() >= Duration::from_secs(least), "{key}");
    }
    // Not for longer than a request may take.
    config.s3.attempt_timeout_seconds = Seconds(3);
    config.s3.operation_timeout_seconds = Seconds(3);
    let headers = vec![("retry-after", "86400".to_owned())];
    proxy.fault(When::put("/c"), Fault::Say(503, headers, String::new()));
    let begun = Instant::now();
    assert!(open(&config).await.put_new("c", "x".into()).await.is_err());
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn an_object_that_the_server_keeps_although_it_refused_it_is_not_ours() {
    need!(Gateway);
    let proxy = FaultProxy::start(Gateway::shared().address());
    let store = open(&config_at(&proxy.url(), &Gateway::shared().bucket())).await;
    let refuse = |status, code| Fault::ReplaceAnswer(status, code);
    proxy.fault(When::put("small"), refuse(400, "InvalidRequest"));
    let small = store.put_new("small", "x".into()).await;
    assert!(
        matches!(small, Err(StoreError::Refused { .. })),
        "{small:?}"
    );
    proxy.fault(When::complete("dump"), refuse(400, "InvalidRequest"));
    let upload = upload_of(&store, "dump", [noise(MIN_PART_BYTES), noise(7)]).await;
    let dump = upload.complete().await;
    assert!(matches!(dump, Err(StoreError::Refused { .. })), "{dump:?}");
    // It is there: the server is what it is.
    assert_eq!(store.list("").await.unwrap().len(), 2);
    for error in [small.unwrap_err(), dump.unwrap_err()] {
        let error = Error::from(error);
        assert_eq!(error.outcome(), Outcome::Store);
        assert!(error.to_string().contains("object_lock"), "{error}");
    }
}

#[tokio::test]
async fn a_refusal_behind_a_lost_answer_does_not_say_that_nothing_happened() {
    need!(Gateway);
    let proxy = FaultProxy::start(Gateway::shared().address());
    let store = open(&config_at(&proxy.url(), &Gateway::shared().bucket())).await;
    // Done, and its answer lost: the refusal of the second attempt is of no matter.
    proxy.fault(When::put("done").nth(1), Fault::DropAnswer);
    proxy.fault(When::put("done").nth(1), Fault::Answer(403, "AccessDenied"));
    store.put_new("done", "x".into()).await.unwrap();
    // Not done.
    proxy.fault(
        When::put("undone").nth(1),
        Fault::Answer(500, "InternalError"),
    );
    proxy.fault(
        When::put("undone").nth(1),
        Fault::Answer(403, "AccessDenied"),
    );
    let undone = store.put_new("undone", "x".into()).await;
    assert!(
        matches!(undone, Err(StoreError::Denied { .. })),
        "{undone:?}"
    );
    // Whether it was done cannot be asked.
    proxy.fault(When::put("unknown").nth(1), Fault::DropAnswer);
    proxy.fault(
        When::put("unknown").nth(1),
        Fault::Answer(403, "AccessDenied"),
    );
    proxy.fault(
        When::is("GET", "unknown"),
        Fault::Answer(403, "AccessDenied"),
    );
    let unknown = store.put_new("unknown", "x".into()).await;
    assert!(
        matches!(unknown, Err(StoreError::Failed { .. })),
        "{unknown:?}"
    );
}
