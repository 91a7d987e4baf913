//! Objects in parts, given up, or lost on the way.

use super::*;
use crate::archive::fixture::{edit, place};
use crate::store::config::DEFAULT_PART_BYTES as PART_BYTES;
use crate::store::fault::{Fault, FaultStore, Op};

/// A store that counts parts, and what is behind it.
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
        assert_eq!(object.bytes(), bytes);
    }
    object.complete(store).await
}

#[tokio::test]
async fn parts_are_of_one_size_however_the_bytes_arrive_and_none_is_empty() {
    for (pieces, parts) in [
        (&[PART_BYTES][..], 1),
        (&[PART_BYTES - 1, 1], 1),
        (&[PART_BYTES + 1], 2),
        (&[1, 2 * PART_BYTES, 3], 3),
        // An object of no bytes exists all the same.
        (&[], 1),
        (&[0], 1),
    ] {
        let (counting, store, place) = counting();
        let written = write(&store, &place, pieces).await.unwrap();
        assert_eq!(counting.count(Op::Part, ""), parts, "{pieces:?}");
        let stored = store.get(&written.key, None).await.unwrap();
        assert_eq!(written.facts.bytes, stored.len() as u64);
        assert_eq!(written.facts.sha256, hex::encode(Sha256::digest(&stored)));
        assert_eq!(written.facts.name, "RESTORE.txt");
        written.check(&store).await.unwrap();
    }
}

#[tokio::test]
async fn what_the_store_has_otherwise_is_noticed() {
    let (_, store, place) = counting();
    let written = write(&store, &place, &[10]).await.unwrap();
    edit(&store, &written.key, |bytes| bytes.truncate(9)).await;
    let error = written.check(&store).await.unwrap_err();
    assert_eq!(error.outcome().code(), 5);
    store.delete(&written.key).await.unwrap();
    assert_eq!(written.check(&store).await.unwrap_err().outcome().code(), 5);
}

#[tokio::test]
async fn an_object_that_is_given_up_leaves_nothing() {
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
async fn where_the_answer_is_lost_what_the_store_has_decides() {
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
async fn a_name_that_is_taken_is_refused() {
    let (_, store, place) = counting();
    write(&store, &place, &[10]).await.unwrap();
    assert!(write(&store, &place, &[10]).await.is_err());
}
