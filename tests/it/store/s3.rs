//! S3 where it fails: a real server behind a proxy that answers wrongly, late or never.

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_s3::config::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_s3::types::ObjectLockMode;
use bytes::Bytes;
use drctl::layout::{BackupId, BackupObject, Suffix, TargetName};
use drctl::store::config::{Checksum, LockMode, ObjectLock};
use drctl::store::s3::S3Store;
use drctl::store::{Lack, MIN_PART_BYTES, Store, StoreConfig, StoreError};
use drctl::util::times::Seconds;
use drctl::{Error, Outcome};
use jiff::{SignedDuration, Timestamp};

use super::contract::{assert_failed, keys, noise, upload_of};
use crate::need;
use crate::support::fault_proxy::{Fault, FaultProxy, When};
use crate::support::versitygw::{
    ACCESS_KEY, Gateway, SECRET_KEY, account, account_of, config_at, free_address, open,
};

/// A proxy before the shared server, and a store behind it in a bucket of its own.
struct Behind {
    proxy: FaultProxy,
    store: S3Store,
}

impl Behind {
    async fn a_proxy() -> Behind {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut StoreConfig)) -> Behind {
        let proxy = FaultProxy::start(Gateway::shared().address());
        let mut config = config_at(&proxy.url(), &Gateway::shared().bucket());
        change(&mut config);
        let store = open(&config).await;
        Behind { proxy, store }
    }

    async fn nothing_is_left(&self) {
        assert_eq!(keys(&self.store, "").await, [""; 0]);
        let later = Timestamp::now() + SignedDuration::from_hours(1);
        assert_eq!(self.store.abort_stale_uploads("", later).await.unwrap(), 0);
    }
}

fn three_parts() -> [Bytes; 3] {
    [noise(MIN_PART_BYTES), noise(MIN_PART_BYTES), noise(77)]
}

/// The one line that a person sees.
fn line<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    let line = Error::from(result.unwrap_err()).to_string();
    println!("{line}");
    assert!(!line.contains('\n') && !line.contains(SECRET_KEY), "{line}");
    line
}

#[tokio::test]
async fn a_busy_server_is_asked_again() {
    need!(Gateway);
    let Behind { proxy, store } = Behind::a_proxy().await;
    for method in ["PUT", "GET", "HEAD", "DELETE"] {
        proxy.fault(
            When::is(method, "").first(2),
            Fault::Answer(503, "SlowDown"),
        );
    }
    store.put_new("a", "x".into()).await.unwrap();
    assert_eq!(store.get("a", None).await.unwrap(), "x");
    assert_eq!(store.head("a").await.unwrap().size, 1);
    store.delete("a").await.unwrap();
    assert_eq!(proxy.count("DELETE", "/a"), 3);
}

#[tokio::test]
async fn a_server_that_stays_busy_fails_after_the_bounded_attempts() {
    need!(Gateway);
    let Behind { proxy, store } = Behind::with(|config| config.s3.max_attempts = 2).await;
    proxy.fault(When::put("/a"), Fault::Answer(503, "SlowDown"));
    let text = line(store.put_new("a", "x".into()).await);
    assert!(text.contains("SlowDown: injected (HTTP 503)"), "{text}");
    assert_eq!(proxy.count("PUT", "/a"), 2);
}

#[tokio::test]
async fn a_put_whose_answer_is_lost_is_known_to_be_ours() {
    need!(Gateway);
    let Behind { proxy, store } = Behind::a_proxy().await;
    proxy.fault(When::put("lost").first(1), Fault::DropAnswer);
    proxy.fault(
        When::put("broken").first(1),
        Fault::ReplaceAnswer(500, "InternalError"),
    );
    for key in ["lost", "broken"] {
        store.put_new(key, "ours".into()).await.unwrap();
        assert_eq!(
            proxy.count("PUT", key),
            2,
            "the second met the first's work"
        );
    }
}

#[tokio::test]
async fn a_repeated_put_does_not_take_anothers_object_for_ours() {
    need!(Gateway);
    let Behind { proxy, store } = Behind::a_proxy().await;
    store.put_new("a", "theirs".into()).await.unwrap();
    proxy.fault(When::put("/a").nth(1), Fault::Answer(500, "InternalError"));
    let result = store.put_new("a", "ours".into()).await;
    assert!(
        matches!(result, Err(StoreError::AlreadyExists { .. })),
        "{result:?}"
    );
}

#[tokio::test]
async fn every_part_of_an_upload_may_be_lost_once() {
    need!(Gateway);
    let Behind { proxy, store } = Behind::a_proxy().await;
    let parts = three_parts();
    for (n, fault) in [
        Fault::CutRequest(1000),
        Fault::DropAnswer,
        Fault::Answer(503, "SlowDown"),
    ]
    .into_iter()
    .enumerate()
    {
        let query = format!("partNumber={}&", n + 1);
        proxy.fault(When::put("dump").query(&query).first(1), fault);
    }
    let upload = upload_of(&store, "dump", parts.clone()).await;
    upload.complete().await.unwrap();
    assert_eq!(store.get("dump", None).await.unwrap(), parts.concat());
}

#[tokio::test]
async fn a_part_that_stays_lost_fails_the_upload_and_leaves_nothing() {
    need!(Gateway);
    let behind = Behind::with(|config| config.s3.max_attempts = 2).await;
    let Behind { proxy, store } = &behind;
    proxy.fault(
        When::put("dump").query("partNumber=2&"),
        Fault::Answer(500, "InternalError"),
    );
    let text = line(
        upload_of(store, "dump", three_parts())
            .await
            .complete()
            .await,
    );
    assert!(
        text.contains("/dump: part 2: InternalError: injected (HTTP 500)"),
        "{text}"
    );
    behind.nothing_is_left().await;
}

#[tokio::test]
async fn a_part_that_failed_shows_at_a_later_part() {
    need!(Gateway);
    let behind = Behind::with(|config| {
        config.s3.max_attempts = 1;
        config.parts_in_flight = 1;
    })
    .await;
    behind.proxy.fault(
        When::put("dump").query("partNumber=1&"),
        Fault::Answer(403, "AccessDenied"),
    );
    let mut upload = upload_of(&behind.store, "dump", [noise(MIN_PART_BYTES)]).await;
    let second = upload.part(noise(MIN_PART_BYTES)).await;
    assert!(
        matches!(second, Err(StoreError::Denied { .. })),
        "{second:?}"
    );
    upload.abort().await.unwrap();
    behind.nothing_is_left().await;
}

#[tokio::test]
async fn as_many_parts_are_held_in_memory_as_configured() {
    need!(Gateway);
    for (in_flight, waits) in [(1, true), (2, false)] {
        let behind = Behind::with(|config| config.parts_in_flight = in_flight).await;
        behind
            .proxy
            .fault(When::put("dump").query("partNumber=1&"), Fault::Hang);
        let mut upload = upload_of(&behind.store, "dump", [noise(MIN_PART_BYTES)]).await;
        let second = upload.part(noise(MIN_PART_BYTES));
        let second = tokio::time::timeout(Duration::from_secs(1), second).await;
        assert_eq!(second.is_err(), waits, "{in_flight} in flight");
        // A part that nobody waited for is a gap: the upload is over.
        let third = tokio::time::timeout(Duration::from_secs(1), upload.part(noise(7))).await;
        assert_eq!(matches!(third, Ok(Err(_))), waits, "{third:?}");
        upload.abort().await.unwrap();
        behind.nothing_is_left().await;
    }
}

#[tokio::test]
async fn a_completion_whose_answer_is_lost_is_known_to_be_ours() {
    need!(Gateway);
    let Behind { proxy, store } = Behind::a_proxy().await;
    proxy.fault(When::complete("lost").first(1), Fault::DropAnswer);
    proxy.fault(
        When::complete("broken").first(1),
        Fault::ReplaceAnswer(500, "InternalError"),
    );
    for key in ["lost", "broken"] {
        let parts = three_parts();
        let meta = upload_of(&store, key, parts.clone())
            .await
            .complete()
            .await
            .unwrap();
        assert_eq!(meta.size as usize, parts.concat().len());
        assert_eq!(proxy.count("POST", key), 3, "begun, completed, asked again");
    }
}

#[tokio::test]
async fn a_completion_that_finds_its_upload_gone_looks_whose_the_object_is() {
    need!(Gateway);
    for (status, code) in [(404, "NoSuchUpload"), (412, "PreconditionFailed")] {
        let Behind { proxy, store } = Behind::a_proxy().await;
        proxy.fault(When::complete("ours").nth(1), Fault::DropAnswer);
        proxy.fault(When::complete("ours").nth(1), Fault::Answer(status, code));
        let upload = upload_of(&store, "ours", three_parts()).await;
        upload.complete().await.unwrap();

        // The same answers, where the first completion never arrived.
        store.put_new("theirs", noise(77)).await.unwrap();
        for key in ["theirs", "nobodys"] {
            proxy.fault(
                When::complete(key).nth(1),
                Fault::Answer(500, "InternalError"),
            );
            proxy.fault(When::complete(key).nth(1), Fault::Answer(status, code));
            let upload = upload_of(&store, key, three_parts()).await;
            let result = upload.complete().await;
            match key {
                "theirs" => assert!(
                    matches!(result, Err(StoreError::AlreadyExists { .. })),
                    "{result:?}"
                ),
                _ => assert!(assert_failed(result).contains("there is no object")),
            }
        }
    }
}

#[tokio::test]
async fn a_completion_that_fails_leaves_nothing() {
    need!(Gateway);
    for (status, code) in [
        (500, "InternalError"),
        (403, "AccessDenied"),
        (409, "ConditionalRequestConflict"),
    ] {
        let behind = Behind::with(|config| config.s3.max_attempts = 2).await;
        behind
            .proxy
            .fault(When::complete("dump"), Fault::Answer(status, code));
        let text = line(
            upload_of(&behind.store, "dump", three_parts())
                .await
                .complete()
                .await,
        );
        assert!(text.contains(code), "{text}");
        behind.nothing_is_left().await;
    }
}

#[tokio::test]
async fn a_completion_with_an_error_inside_of_a_200_is_no_success() {
    need!(Gateway);
    let behind = Behind::with(|config| config.s3.max_attempts = 1).await;
    behind
        .proxy
        .fault(When::complete("dump"), Fault::Answer(200, "InternalError"));
    let text = line(
        upload_of(&behind.store, "dump", three_parts())
            .await
            .complete()
            .await,
    );
    assert!(text.contains("InternalError"), "{text}");
    behind.nothing_is_left().await;
}

#[tokio::test]
async fn an_object_that_is_not_what_was_sent_fails_its_completion() {
    need!(Gateway);
    let Behind { store, .. } = Behind::a_proxy().await;
    // Somebody replaces it between its completion and the look at it.
    let proxy = FaultProxy::start(Gateway::shared().address());
    let place = store.location().replace("s3://", "");
    let slow = open(&config_at(&proxy.url(), &place)).await;
    proxy.fault(
        When::is("HEAD", "dump"),
        Fault::Delay(Duration::from_secs(1)),
    );
    let upload = upload_of(&slow, "dump", ["short"]).await;
    let complete = tokio::spawn(upload.complete());
    while store.head("dump").await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    store.put("dump", "other".into()).await.unwrap();
    let why = assert_failed(complete.await.unwrap());
    assert!(why.contains("5 bytes were sent"), "{why}");
}

#[tokio::test]
async fn parts_of_unequal_size_are_refused_before_they_are_sent() {
    need!(Gateway);
    let behind = Behind::a_proxy().await;
    let mut upload = upload_of(&behind.store, "dump", three_parts()).await;
    let why = assert_failed(upload.part(noise(77)).await);
    assert!(why.contains("only the last"), "{why}");
    upload.abort().await.unwrap();
    let mut upload = upload_of(&behind.store, "dump", [noise(10)]).await;
    let why = assert_failed(upload.part(noise(10)).await);
    assert!(why.contains("5 MiB"), "{why}");
    upload.abort().await.unwrap();
    behind.nothing_is_left().await;
}

#[tokio::test]
async fn a_body_that_is_cut_off_is_read_again() {
    need!(Gateway);
    let Behind { proxy, store } = Behind::a_proxy().await;
    let body = noise(300_000);
    store.put_new("a", body.clone()).await.unwrap();
    proxy.fault(When::is("GET", "/a").first(2), Fault::CutAnswer(100_000));
    assert_eq!(store.get("a", None).await.unwrap(), body);
    proxy.fault(When::is("GET", "/a").first(1), Fault::CutAnswer(10));
    assert_eq!(
        store.get("a", Some(1_000..2_000)).await.unwrap(),
        body.slice(1_000..2_000)
    );
}

#[tokio::test]
async fn a_body_that_stays_cut_off_is_an_error() {
    need!(Gateway);
    let Behind { proxy, store } = Behind::with(|config| config.s3.max_attempts = 2).await;
    store.put_new("a", noise(300_000)).await.unwrap();
    proxy.fault(When::is("GET", "/a"), Fault::CutAnswer(100_000));
    line(store.get("a", None).await);
    assert_eq!(proxy.count("GET", "/a"), 2);
}

/// A list without its last object and what is behind that: the answer itself is whole.
fn cut_off(list: &str) -> String {
    let end = list.rfind("<Contents>").expect("an object");
    without(&list[..end], "KeyCount")
}

/// A document without an element.
fn without(document: &str, name: &str) -> String {
    let (begin, end) = (format!("<{name}>"), format!("</{name}>"));
    match (document.find(&begin), document.find(&end)) {
        (Some(from), Some(to)) => format!("{}{}", &document[..from], &document[to + end.len()..]),
        _ => document.to_owned(),
    }
}

#[tokio::test]
async fn a_list_that_is_cut_off_between_two_objects_is_asked_for_again_and_never_believed() {
    need!(Gateway);
    let Behind { proxy, store } = Behind::with(|config| config.s3.max_attempts = 3).await;
    for key in ["a", "b", "c"] {
        store.put_new(key, "x".into()).await.unwrap();
    }
    let list = When::is("GET", "/").query("list-type=2");
    proxy.fault(list.clone().first(2), Fault::Rewrite(cut_off));
    assert_eq!(keys(&store, "").await, ["a", "b", "c"]);
    assert_eq!(proxy.count_of(&list), 3);
    proxy.fault(list, Fault::Rewrite(cut_off));
    let text = line(store.list("").await);
    assert!(text.contains("a truncated list"), "{text}");
}

/// 1,500 backups, an hour apart, of four objects each: six pages.
async fn with_backups() -> (Behind, TargetName, Vec<String>) {
    let gateway = Gateway::shared();
    let bucket = gateway.bucket();
    let proxy = FaultProxy::start(gateway.address());
    let store = open(&config_at(&proxy.url(), &bucket)).await;
    let target: TargetName = "shop".parse().unwrap();
    let newest = Timestamp::now();
    let mut written = Vec::new();
    for hours in 0..1_500 {
        let id = BackupId::new(newest - SignedDuration::from_hours(hours), 7);
        fs::create_dir_all(gateway.object(&bucket, &target.backup(id))).unwrap();
        for n in 1..=4 {
            let key = target.object(
                id,
                &BackupObject::Segment {
                    suffix: Suffix::Zstd,
                    number: n,
                },
            );
            fs::write(gateway.object(&bucket, &key), "x").unwrap();
            written.push(key);
        }
    }
    written.sort();
    (Behind { proxy, store }, target, written)
}

async fn backups(store: &S3Store, target: &TargetName) -> Vec<String> {
    let listed = store.list_backups(target).await.unwrap();
    listed.into_iter().map(|object| object.key).collect()
}

#[tokio::test]
async fn a_long_list_of_backups_is_read_in_several_places_at_once() {
    need!(Gateway);
    let (Behind { proxy, store }, target, written) = with_backups().await;
    let list = When::is("GET", "/").query("list-type=2");
    // Nothing is read faster than it is cut.
    proxy.fault(list.clone(), Fault::Delay(Duration::from_millis(50)));
    assert!(backups(&store, &target).await == written);
    let places = proxy.count_of(&list.clone().and("start-after="));
    assert!((4..=15).contains(&places), "{places} parts");
    let requests = proxy.count_of(&list);
    assert!(requests <= 6 + 15 + 1, "{requests} requests");
}

/// A page with its objects in the opposite order.
fn backwards(list: &str) -> String {
    let Some((head, objects)) = list.split_once("<Contents>") else {
        return list.to_owned();
    };
    let (objects, tail) = objects.rsplit_once("</Contents>").expect("an object");
    let mut objects: Vec<&str> = objects.split("</Contents><Contents>").collect();
    assert!(objects.len() > 1);
    objects.reverse();
    let objects = objects.join("</Contents><Contents>");
    format!("{head}<Contents>{objects}</Contents>{tail}")
}

/// The page with which the list begins, whatever it is to begin behind.
fn from_the_start(list: &str) -> String {
    static FIRST: Mutex<String> = Mutex::new(String::new());
    let mut first = FIRST.lock().unwrap();
    if first.is_empty() {
        list.clone_into(&mut first);
    }
    first.clone()
}

/// Checks that a list is whole although parts of it cannot be read, and that it was begun twice.
async fn is_read_page_by_page(behind: &Behind, target: &TargetName, written: &[String]) {
    assert!(backups(&behind.store, target).await == written);
    let begun = behind.proxy.requests().into_iter().filter(|request| {
        let query = &request.query;
        query.contains(OF_BACKUPS) && !query.contains("start-after") && !query.contains("token")
    });
    assert_eq!(begun.count(), 2);
}

/// The backups of this millennium.
const OF_BACKUPS: &str = "prefix=shop%2F2";

#[tokio::test]
async fn a_server_that_lists_in_an_order_of_its_own_is_read_page_by_page() {
    need!(Gateway);
    let (behind, target, written) = with_backups().await;
    let list = When::is("GET", "/").query("start-after=");
    behind.proxy.fault(list.nth(1), Fault::Rewrite(backwards));
    is_read_page_by_page(&behind, &target, &written).await;
}

#[tokio::test]
async fn a_server_that_always_lists_from_the_start_is_read_page_by_page() {
    need!(Gateway);
    let (behind, target, written) = with_backups().await;
    let list = When::is("GET", "/").query(OF_BACKUPS);
    behind
        .proxy
        .fault(list.first(1), Fault::Rewrite(from_the_start));
    let part = When::is("GET", "/").query("start-after=");
    behind.proxy.fault(part, Fault::Rewrite(from_the_start));
    is_read_page_by_page(&behind, &target, &written).await;
}

/// A page that has another one behind it, which is asked for by that.
fn page_before(list: &str, token: &str) -> String {
    let list = without(list, "IsTruncated");
    let more = format!(
        "<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>\
         </ListBucketResult>"
    );
    list.replace("</ListBucketResult>", &more)
}

/// A page of one object, with another one behind it.
fn page_of(key: &str, token: &str) -> Fault {
    let page = format!(
        "<ListBucketResult><Contents><Key>{key}</Key><Size>1</Size></Contents></ListBucketResult>"
    );
    let headers = vec![("content-type", "application/xml".to_owned())];
    Fault::Say(200, headers, page_before(&page, token))
}

#[tokio::test]
async fn a_list_whose_pages_lead_in_circles_ends() {
    need!(Gateway);
    let list = When::is("GET", "/").query("list-type=2");

    // From one page to the other and back.
    let Behind { proxy, store } = Behind::a_proxy().await;
    let behind = |token: &str| list.clone().and(&format!("continuation-token={token}"));
    proxy.fault(behind("one"), page_of("b", "two"));
    proxy.fault(behind("two"), page_of("a", "one"));
    proxy.fault(list.clone(), page_of("a", "one"));
    let text = line(store.list("").await);
    assert!(text.contains("the list does not end"), "{text}");
    assert!(proxy.count_of(&list) <= 3);

    // The same objects by one token after the other.
    let Behind { proxy, store } = Behind::a_proxy().await;
    for n in 1..10 {
        proxy.fault(list.clone().nth(1), page_of("a", &n.to_string()));
    }
    let text = line(store.list("").await);
    assert!(text.contains("the list does not end"), "{text}");
    assert_eq!(proxy.count_of(&list), 2);

    // Nothing at all by one token after the other.
    static PAGES: AtomicUsize = AtomicUsize::new(0);
    let empty = |list: &str| page_before(list, &PAGES.fetch_add(1, Ordering::Relaxed).to_string());
    let Behind { proxy, store } = Behind::with(|config| {
        (
            config.s3.attempt_timeout_seconds,
            config.s3.operation_timeout_seconds,
        ) = (Seconds(1), Seconds(1));
    })
    .await;
    proxy.fault(list, Fault::Rewrite(empty));
    let begun = Instant::now();
    let text = line(store.list("").await);
    assert!(text.contains("nothing new within 1s"), "{text}");
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_in_time() {
    need!(Gateway);
    let behind = Behind::with(|config| {
        config.s3.attempt_timeout_seconds = Seconds(1);
        config.s3.operation_timeout_seconds = Seconds(2);
    })
    .await;
    let Behind { proxy, store } = &behind;
    store.put_new("there", "x".into()).await.unwrap();
    for method in ["PUT", "GET", "HEAD", "DELETE"] {
        proxy.fault(When::is(method, ""), Fault::Hang);
    }
    let begun = Instant::now();
    let (put, get, head, delete, list) = tokio::join!(
        store.put_new("a", "x".into()),
        store.get("there", None),
        store.head("there"),
        store.delete("there"),
        store.list(""),
    );
    let texts = [line(put), line(get), line(head), line(delete), line(list)];
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
    for text in texts {
        assert!(text.contains("no answer within"), "{text}");
    }
}

#[tokio::test]
async fn an_upload_to_a_server_that_hangs_is_given_up_in_time() {
    need!(Gateway);
    let behind = Behind::with(|config| {
        config.s3.attempt_timeout_seconds = Seconds(4);
        config.s3.operation_timeout_seconds = Seconds(8);
        config.s3.max_attempts = 1;
    })
    .await;
    behind
        .proxy
        .fault(When::put("dump").query("partNumber=2&"), Fault::Hang);
    let parts = three_parts();
    let begun = Instant::now();
    let text = line(
        upload_of(&behind.store, "dump", parts)
            .await
            .complete()
            .await,
    );
    assert!(
        text.contains("part 2: ") && text.contains("no answer within 4s"),
        "{text}"
    );
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    behind.nothing_is_left().await;
}

#[tokio::test]
async fn wrong_credentials_are_denied_without_being_shown() {
    need!(Gateway);
    let gateway = Gateway::shared();
    let config = gateway.config(&gateway.bucket());
    let forged = account_of("drctl-test", "not-the-secret");
    let wrong = S3Store::connect(&config, Some(forged)).await.unwrap();
    let text = line(wrong.put_new("a", "x".into()).await);
    assert!(
        text.contains("denied: SignatureDoesNotMatch") && text.contains("check the credentials"),
        "{text}"
    );
    assert!(!text.contains("not-the-secret"), "{text}");
    line(wrong.head("a").await);
}

#[tokio::test]
async fn what_the_server_denies_is_told_in_its_own_words() {
    need!(Gateway);
    for (status, code) in [
        (403, "InvalidAccessKeyId"),
        (403, "AccessDenied"),
        (400, "ExpiredToken"),
        (301, "PermanentRedirect"),
        (400, "AuthorizationHeaderMalformed"),
        (400, "KMS.DisabledException"),
    ] {
        let Behind { proxy, store } = Behind::a_proxy().await;
        proxy.fault(When::put("/a"), Fault::Answer(status, code));
        let text = line(store.put_new("a", "x".into()).await);
        let words = format!("denied: {code}: injected (HTTP {status})");
        assert!(text.contains(&words), "{text}");
        assert_eq!(proxy.count("PUT", "/a"), 1, "asking again does not help");
    }
}

#[tokio::test]
async fn no_credentials_at_all_are_denied() {
    need!(Gateway);
    let config = Gateway::shared().config("bucket");
    let anonymous = SharedCredentialsProvider::new(
        aws_config::environment::EnvironmentVariableCredentialsProvider::new(),
    );
    let store = S3Store::connect(&config, Some(anonymous)).await.unwrap();
    let text = line(store.list("").await);
    assert!(text.contains("denied: no usable credentials"), "{text}");
}

#[tokio::test]
async fn a_missing_bucket_is_named_as_such() {
    need!(Gateway);
    let store = open(&Gateway::shared().config("no-such-bucket/x")).await;
    // Many parts: a server that answers before it has read all of a long body cuts it off.
    let mut upload = upload_of(&store, "a", [noise(MIN_PART_BYTES)]).await;
    for result in [
        store.list("").await.map(drop),
        store.put_new("a", "x".into()).await,
        store.get("a", None).await.map(drop),
        store.delete("a").await.map(drop),
        upload.part(noise(MIN_PART_BYTES)).await,
    ] {
        let text = line(result);
        assert!(text.contains("denied: NoSuchBucket"), "{text}");
    }
}

#[tokio::test]
async fn an_unreachable_server_is_named_with_its_port() {
    let address = free_address();
    let mut config = config_at(&format!("http://{address}"), "bucket");
    config.s3.max_attempts = 2;
    let store = open(&config).await;
    let error = Error::from(store.list("").await.unwrap_err());
    assert_eq!(error.outcome(), Outcome::Store);
    let text = error.to_string();
    println!("{text}");
    assert!(
        text.contains(&address.to_string()) && text.contains("Connection refused"),
        "{text}"
    );
    config.s3.endpoint_url = Some("http://no-such-host.invalid:9000".into());
    let text = line(open(&config).await.list("").await);
    assert!(text.contains("no-such-host.invalid:9000"), "{text}");
}

#[tokio::test]
async fn plain_http_where_tls_is_spoken_is_an_error_that_says_so() {
    need!(Gateway);
    let address = Gateway::shared().address();
    let mut config = config_at(&format!("https://{address}"), "bucket");
    config.s3.max_attempts = 1;
    let text = line(open(&config).await.list("").await);
    assert!(text.contains(&address.to_string()), "{text}");
}

#[tokio::test]
async fn an_endpoint_that_is_no_url_is_a_usage_error() {
    for endpoint in [
        "localhost:9000",
        "minio",
        "ftp://x",
        "",
        "http://a\nb",
        "http://u:p@a",
        "http://a?b",
    ] {
        let config = config_at(endpoint, "bucket");
        let error = S3Store::connect(&config, Some(account()))
            .await
            .unwrap_err();
        assert_eq!(error.outcome(), Outcome::Usage, "{error}");
    }
}

#[tokio::test]
async fn objects_carry_what_was_configured() {
    need!(Gateway);
    let Behind { proxy, store } = Behind::with(|config| {
        config.s3.kms_key_id = Some("key-1".into());
        config.s3.storage_class = Some("STANDARD_IA".into());
        config.s3.tags = [("team".into(), "a b&c".into()), ("x".into(), "y".into())].into();
    })
    .await;
    // What the server makes of it is its own affair; this is about what is asked.
    let _ = store.put_new("small", "x".into()).await;
    let _ = store.put("heartbeat", "x".into()).await;
    let mut upload = store.upload("dump").await.unwrap();
    for part in three_parts() {
        let _ = upload.part(part).await;
    }
    let _ = upload.abort().await;
    let mut seen = 0;
    for request in proxy.requests() {
        let begins = request.method == "POST" && request.query.contains("uploads");
        let object = request.method == "PUT" && !request.query.contains("partNumber");
        if !begins && !object {
            continue;
        }
        seen += 1;
        let header = |name| request.header(name);
        assert_eq!(
            header("x-amz-server-side-encryption"),
            Some("aws:kms"),
            "{request:?}"
        );
        assert_eq!(
            header("x-amz-server-side-encryption-aws-kms-key-id"),
            Some("key-1")
        );
        if request.path.contains("heartbeat") {
            continue;
        }
        assert_eq!(header("x-amz-tagging"), Some("team=a+b%26c&x=y"));
        assert_eq!(
            header("x-amz-storage-class").is_some(),
            begins,
            "segments alone"
        );
    }
    assert_eq!(seen, 3);
}

#[tokio::test]
async fn checksums_travel_as_headers_and_the_server_keeps_them() {
    need!(Gateway);
    let Behind { proxy, store } = Behind::a_proxy().await;
    store.put_new("small", "x".into()).await.unwrap();
    let meta = upload_of(&store, "dump", three_parts())
        .await
        .complete()
        .await
        .unwrap();
    assert!(meta.crc64nvme.is_some());
    assert!(store.head("small").await.unwrap().crc64nvme.is_some());
    for request in proxy
        .requests()
        .iter()
        .filter(|request| request.method == "PUT")
    {
        assert!(
            request.header("x-amz-checksum-crc64nvme").is_some(),
            "{request:?}"
        );
        assert_eq!(request.header("x-amz-trailer"), None);
    }
}

#[tokio::test]
async fn checksums_can_be_left_out() {
    need!(Gateway);
    let Behind { proxy, store } = Behind::with(|config| config.s3.checksum = Checksum::Off).await;
    store.put_new("small", "x".into()).await.unwrap();
    let parts = three_parts();
    upload_of(&store, "dump", parts.clone())
        .await
        .complete()
        .await
        .unwrap();
    assert_eq!(store.get("dump", None).await.unwrap(), parts.concat());
    for request in proxy.requests() {
        let sent = request
            .headers
            .iter()
            .find(|(name, _)| name.contains("x-amz-checksum"));
        assert_eq!(sent, None, "{request:?}");
    }
}

#[tokio::test]
async fn a_part_that_changes_on_the_way_is_refused_by_the_server() {
    need!(Gateway);
    let behind = Behind::with(|config| config.s3.max_attempts = 1).await;
    behind
        .proxy
        .fault(When::put("dump").query("partNumber=2&"), Fault::FlipBit);
    assert!(
        upload_of(&behind.store, "dump", three_parts())
            .await
            .complete()
            .await
            .is_err()
    );
    behind.nothing_is_left().await;
}

#[tokio::test]
async fn locked_objects_cannot_be_deleted_for_good() {
    need!(Gateway);
    let gateway = Gateway::shared();
    let bucket = gateway.locked_bucket().await;
    let mut config = gateway.config(&bucket);
    config.s3.object_lock = Some(ObjectLock {
        mode: LockMode::Governance,
        days: 3,
    });
    let store = open(&config).await;
    store.put_new("small", "x".into()).await.unwrap();
    store.put("running.json", "x".into()).await.unwrap();
    upload_of(&store, "dump", three_parts())
        .await
        .complete()
        .await
        .unwrap();
    let client = gateway.client().await;
    for key in ["small", "dump"] {
        let head = client.head_object().bucket(&bucket).key(key).send();
        let head = head.await.unwrap();
        assert_eq!(head.object_lock_mode(), Some(&ObjectLockMode::Governance));
        let until = head.object_lock_retain_until_date().unwrap().secs();
        let left = until - Timestamp::now().as_second();
        assert!((left - 3 * 86_400).abs() < 600, "{left} s");
    }
    let heartbeat = client.head_object().bucket(&bucket).key("running.json");
    assert_eq!(heartbeat.send().await.unwrap().object_lock_mode(), None);
    // A delete hides it; its version stays, and cannot be deleted.
    store.delete("small").await.unwrap();
    assert!(matches!(
        store.head("small").await,
        Err(StoreError::NotFound { .. })
    ));
    let versions = client
        .list_object_versions()
        .bucket(&bucket)
        .prefix("small")
        .send()
        .await
        .unwrap();
    let version = versions.versions()[0].version_id().unwrap();
    let gone = client
        .delete_object()
        .bucket(&bucket)
        .key("small")
        .version_id(version)
        .send()
        .await;
    assert!(gone.is_err(), "{gone:?}");
}

/// Gives the wrong secret first, and the right one when it is asked again.
#[derive(Debug, Default)]
struct Rotated(std::sync::atomic::AtomicUsize);

impl ProvideCredentials for Rotated {
    fn provide_credentials<'a>(
        &'a self,
    ) -> aws_credential_types::provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let first = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
        let secret = if first { "rotated away" } else { SECRET_KEY };
        let read = aws_sdk_s3::config::Credentials::new(ACCESS_KEY, secret, None, None, "test");
        aws_credential_types::provider::future::ProvideCredentials::ready(Ok(read))
    }
}

#[tokio::test]
async fn a_key_that_was_rotated_is_read_again_whatever_is_asked() {
    need!(Gateway);
    for case in 0..6 {
        let proxy = FaultProxy::start(Gateway::shared().address());
        let config = config_at(&proxy.url(), &Gateway::shared().bucket());
        let known = open(&config).await;
        known.put_new("there", "x".into()).await.unwrap();
        let before = proxy.requests().len();
        let rotated = SharedCredentialsProvider::new(Rotated::default());
        let store = S3Store::connect(&config, Some(rotated)).await.unwrap();
        match case {
            0 => store.put_new("a", "x".into()).await.unwrap(),
            1 => store.put("a", "x".into()).await.unwrap(),
            2 => assert_eq!(store.get("there", None).await.unwrap(), "x"),
            3 => assert_eq!(store.head("there").await.unwrap().size, 1),
            4 => assert_eq!(store.list("").await.unwrap().len(), 1),
            _ => drop(store.delete("there").await.unwrap()),
        }
        assert_eq!(proxy.requests().len() - before, 2, "case {case}");
    }
}

#[tokio::test]
async fn a_token_that_expires_under_an_upload_is_read_again() {
    need!(Gateway);
    let Behind { proxy, store } = Behind::a_proxy().await;
    let rotated = Rotated::default();
    let config = config_at(&proxy.url(), &store.location().replace("s3://", ""));
    let rotated = S3Store::connect(&config, Some(SharedCredentialsProvider::new(rotated)))
        .await
        .unwrap();
    // All parts at once are signed by what has expired.
    let parts = three_parts();
    let upload = upload_of(&rotated, "dump", parts.clone()).await;
    upload.complete().await.unwrap();
    assert_eq!(store.get("dump", None).await.unwrap(), parts.concat());
}

#[tokio::test]
async fn what_was_asked_for_and_not_given_is_noticed() {
    need!(Gateway);
    let gateway = Gateway::shared();
    let bucket = gateway.locked_bucket().await;
    let proxy = FaultProxy::start(gateway.address());
    let mut config = config_at(&proxy.url(), &bucket);
    config.s3.object_lock = Some(ObjectLock {
        mode: LockMode::Governance,
        days: 3,
    });
    let store = open(&config).await;
    let begun = Timestamp::now();
    store.put_new("locked", "x".into()).await.unwrap();
    assert_eq!(store.lacks("locked", begun).await.unwrap(), []);
    // A heartbeat has none.
    store.put("loose", "x".into()).await.unwrap();
    let lacks = store.lacks("loose", begun).await.unwrap();
    assert!(matches!(&lacks[..], [Lack::Retention(what)] if what.contains("no retention")));
    // Written when less was asked for.
    let later = begun + SignedDuration::from_hours(1);
    let lacks = store.lacks("locked", later).await.unwrap();
    assert!(
        matches!(&lacks[..], [Lack::Retention(what)] if what.contains("ends at")),
        "{lacks:?}"
    );
    let until = "x-amz-object-lock-retain-until-date";
    proxy.fault(
        When::is("HEAD", "/locked").first(1),
        Fault::Header("x-amz-object-lock-mode", "COMPLIANCE".into()),
    );
    proxy.fault(
        When::is("HEAD", "/locked").first(1),
        Fault::WithoutHeader(until),
    );
    for _ in 0..2 {
        let lacks = store.lacks("locked", begun).await.unwrap();
        assert!(matches!(&lacks[..], [Lack::Retention(_)]), "{lacks:?}");
    }

    config.s3.object_lock = None;
    config.s3.kms_key_id = Some("key-1".into());
    config.s3.storage_class = Some("STANDARD_IA".into());
    let lacks = open(&config).await.lacks("loose", begun).await.unwrap();
    assert!(
        matches!(&lacks[..], [Lack::Encryption(_), Lack::StorageClass(_)]),
        "{lacks:?}"
    );
    assert_eq!(lacks.iter().filter(|lack| lack.is_protection()).count(), 1);
}
