//! Objects in parts, aborted uploads, lost responses.

use super::*;
use crate::archive::fixture::{edit, place};
use crate::store::config::DEFAULT_PART_BYTES as PART_BYTES;
use crate::store::fault::{Fault, FaultStore, Op};
use crate::util::digest::Sha256Digest;

/// A store that counts parts, twice, and a location in it.
fn counting() -> (FaultStore, Arc<dyn Store>, BackupPlace) {
    let (memory, place) = place();
    let counting = FaultStore::new(Arc::new(memory));
    let store: Arc<dyn Store> = Arc::new(counting.clone());
    (counting, store, place)
}

async fn write(
    store: &Arc<dyn Store>,
    place: &BackupPlace,
    pieces: &[usize],
) -> Result<WrittenObject> {
    let mut object = ObjectWriter::begin(store, place, &BackupObject::Readme).await?;
    let mut bytes = 0;
    for (n, piece) in pieces.iter().enumerate() {
        object.write(&vec![n as u8; *piece]).await?;
        bytes += *piece as u64;
        assert_eq!(object.text_bytes(), bytes);
    }
    object.complete(store).await
}

#[tokio::test]
async fn parts_have_the_same_size_for_any_writes_and_none_is_empty() {
    for (pieces, parts) in [
        (&[PART_BYTES][..], 1),
        (&[PART_BYTES - 1, 1], 1),
        (&[PART_BYTES + 1], 2),
        (&[1, 2 * PART_BYTES, 3], 3),
        // An empty object has one part, too.
        (&[], 1),
        (&[0], 1),
    ] {
        let (counting, store, place) = counting();
        let written = write(&store, &place, pieces).await.unwrap();
        assert_eq!(counting.count(Op::Part, ""), parts, "{pieces:?}");
        let stored = store.get(&written.key, None).await.unwrap();
        assert_eq!(written.facts.bytes, stored.len() as u64);
        assert_eq!(written.facts.sha256, Sha256Digest::of(&stored));
        assert_eq!(written.facts.name, "RESTORE.txt");
        written.check(&store).await.unwrap();
    }
}

#[tokio::test]
async fn an_object_that_differs_in_the_store_is_an_error() {
    let (_, store, place) = counting();
    let written = write(&store, &place, &[10]).await.unwrap();
    edit(&store, &written.key, |bytes| bytes.truncate(9)).await;
    let error = written.check(&store).await.unwrap_err();
    assert_eq!(error.outcome().code(), 5);
    store.delete(&written.key).await.unwrap();
    assert_eq!(written.check(&store).await.unwrap_err().outcome().code(), 5);
}

#[tokio::test]
async fn an_aborted_object_leaves_nothing() {
    let (memory, place) = place();
    let store: Arc<dyn Store> = Arc::new(memory.clone());
    let mut object = ObjectWriter::begin(&store, &place, &BackupObject::Readme)
        .await
        .unwrap();
    object.write(&vec![0; PART_BYTES + 1]).await.unwrap();
    object.abort().await;
    assert_eq!(memory.unfinished_uploads(), 0);
    assert!(store.list("").await.unwrap().is_empty());
}

#[tokio::test]
async fn if_the_response_is_lost_the_stored_object_decides() {
    for (fault, code) in [
        (Fault::LoseAnswer, None),
        (Fault::Fail, Some(5)),
        (Fault::Deny, Some(5)),
    ] {
        let (memory, place) = place();
        let failing = FaultStore::new(Arc::new(memory)).always(Op::Complete, "", fault);
        let store: Arc<dyn Store> = Arc::new(failing);
        let done = write(&store, &place, &[10]).await;
        assert_eq!(done.err().map(|e| e.outcome().code()), code, "{fault:?}");
    }
}

#[tokio::test]
async fn an_existing_object_is_not_overwritten() {
    let (_, store, place) = counting();
    write(&store, &place, &[10]).await.unwrap();
    assert!(write(&store, &place, &[10]).await.is_err());
}
