//! Three kinds of documents are signed with one namespace: a signature says who wrote the bytes, and the bytes which
//! kind they are.

use std::sync::Arc;

use bytes::Bytes;

use crate::archive::fixture;
use crate::archive::manifest::{FileFacts, Manifest};
use crate::binlog::record::{Closed, FORMAT, Timeline};
use crate::layout::{BackupObject, LogObject, TimelineId};
use crate::store::Store;
use crate::store::memory::MemoryStore;
use crate::stream::objects;

fn timeline() -> Timeline {
    let id = "20261129T222310Z-3f9a".parse().unwrap();
    crate::binlog::fixture::timeline(id)
}

/// A document of each kind, as it is signed.
fn documents() -> [(&'static str, Vec<u8>); 3] {
    let timeline = timeline();
    let file = crate::binlog::fixture::file(1);
    let closed = Closed {
        format: FORMAT,
        file: file.clone(),
        bytes: 1000,
        log_pos: 1000,
        server_bytes: Some(1000),
        segments: vec![crate::binlog::fixture::record(timeline.id, file)],
        target: Some("shop".parse().unwrap()),
        timeline: Some(timeline.id),
        closed_at: Some(timeline.id.began()),
        sha256: vec![String::new()],
    };
    let index = FileFacts::of(&BackupObject::Index, b"index");
    let manifest = fixture::manifest(&fixture::place().1, Vec::new(), index);
    [
        ("manifest", manifest.to_bytes().unwrap()),
        ("timeline", serde_json::to_vec(&timeline).unwrap()),
        ("closed", serde_json::to_vec(&closed).unwrap()),
    ]
}

#[test]
fn a_signed_document_of_one_kind_is_none_of_another() {
    for (kind, bytes) in documents() {
        let accepted = [
            ("manifest", Manifest::from_bytes(&bytes).is_ok()),
            (
                "timeline",
                serde_json::from_slice::<Timeline>(&bytes).is_ok(),
            ),
            ("closed", serde_json::from_slice::<Closed>(&bytes).is_ok()),
        ];
        for (as_kind, accepted) in accepted {
            assert_eq!(accepted, kind == as_kind, "{kind} as {as_kind}");
        }
    }
}

#[tokio::test]
async fn a_timeline_of_another_target_is_refused() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let read = async |target: Option<&str>| {
        let timeline = Timeline {
            target: target.map(|target| target.parse().unwrap()),
            ..timeline()
        };
        let id: TimelineId = timeline.id;
        let shop = "shop".parse().unwrap();
        let key = crate::layout::TargetName::log_object(&shop, &LogObject::Timeline(id));
        let body = serde_json::to_vec(&timeline).unwrap();
        store.put(&key, Bytes::from(body)).await.unwrap();
        objects::timeline(&store, &shop, id).await
    };
    assert!(read(Some("shop")).await.is_ok());
    assert!(read(None).await.is_ok(), "of an older version");
    let error = read(Some("crm")).await.unwrap_err();
    assert!(error.to_string().contains("is one of crm"), "{error}");
}
