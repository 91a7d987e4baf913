//! Reading archives that are complete, truncated, edited or unreachable.

use super::*;
use crate::archive::fixture::{self, archive, dump, edit, replace_manifest, small, text};
use crate::archive::manifest::FileFacts;
use crate::store::fault::{Fault, FaultStore, Op};
use crate::store::memory::MemoryStore;

async fn open(store: &Arc<dyn Store>, place: &BackupPlace) -> Result<Archive> {
    Archive::open(store.clone(), place.clone()).await
}

fn code<T>(result: Result<T>) -> u8 {
    match result {
        Ok(_) => 0,
        Err(error) => error.outcome().code(),
    }
}

/// Changes the text of the index, and updates its digest in the manifest.
async fn edit_index(
    store: &Arc<dyn Store>,
    place: &BackupPlace,
    manifest: &Manifest,
    change: impl FnOnce(String) -> String,
) {
    let mut manifest = manifest.clone();
    edit(store, &place.key(&BackupObject::Index), |bytes| {
        let text = String::from_utf8(zstd::decode_all(&bytes[..]).unwrap()).unwrap();
        *bytes = zstd::encode_all(change(text).as_bytes(), 1).unwrap();
        manifest.index.bytes = bytes.len() as u64;
        manifest.index.sha256 = Sha256Digest::of(&bytes);
    })
    .await;
    replace_manifest(store, place, &manifest).await;
}

#[tokio::test]
async fn an_archive_reads_as_the_dump_that_was_written() {
    let sql = dump("d", 50);
    let (store, place, manifest) = archive(&[&sql], small(1000, 500)).await;
    assert!(manifest.totals.frames > 5 && manifest.segments.len() > 1);
    let archive = open(&store, &place).await.unwrap();
    assert_eq!(text(&archive).await.unwrap(), sql);
    assert_eq!(archive.contents().ledger.total_rows(), 50);
    assert_eq!(archive.accounts().await.unwrap(), None);
}

#[tokio::test]
async fn an_archive_without_frames_can_be_read() {
    let (store, place) = fixture::place();
    let store: Arc<dyn Store> = Arc::new(store);
    let options = small(1000, 500);
    let written = fixture::write(&store, &place, &[], options, Vec::new()).await;
    let manifest = fixture::commit(&store, &place, written.unwrap(), 0).await;
    assert_eq!(manifest.unwrap().segments, []);
    let archive = open(&store, &place).await.unwrap();
    assert_eq!(text(&archive).await.unwrap(), "");
    archive.check_documents().await.unwrap();
}

#[tokio::test]
async fn an_index_fetched_by_several_requests_is_read_completely() {
    let (store, place) = fixture::place();
    let store: Arc<dyn Store> = Arc::new(store);
    // 3 MB of incompressible text.
    let noise = |n: u32| Sha256Digest::of(n.to_be_bytes()).to_string();
    let warnings: Vec<String> = (0..3000)
        .map(|n| (0..32).map(|part| noise(n * 32 + part)).collect())
        .collect();
    let records = warnings.iter().cloned().map(Record::Warning).collect();
    let written = fixture::write(&store, &place, &[&dump("d", 1)], small(1000, 500), records)
        .await
        .unwrap();
    assert!(written.index.facts.bytes > 2 << 20);
    fixture::commit(&store, &place, written, 1).await.unwrap();
    let archive = open(&store, &place).await.unwrap();
    assert!(archive.contents().warnings == warnings);
}

#[tokio::test]
async fn a_truncated_index_is_damage() {
    let (store, place, manifest) = archive(&[&dump("d", 3)], small(1000, 500)).await;
    let key = place.key(&BackupObject::Index);
    let whole = store.get(&key, None).await.unwrap();
    for length in [0, 1, 20, whole.len() - 1] {
        store.put(&key, whole.slice(..length)).await.unwrap();
        assert_eq!(code(open(&store, &place).await), 6, "{length} bytes");
    }
    // With a correct digest, the totals differ from the manifest.
    let cut = whole.slice(..whole.len() / 2);
    let mut manifest = manifest.clone();
    manifest.index.bytes = cut.len() as u64;
    manifest.index.sha256 = Sha256Digest::of(&cut);
    store.put(&key, cut).await.unwrap();
    replace_manifest(&store, &place, &manifest).await;
    assert_eq!(code(open(&store, &place).await), 6);
    store.delete(&key).await.unwrap();
    assert_eq!(code(open(&store, &place).await), 6);
}

/// With correct digests: a small object in the store must not take much memory.
#[tokio::test]
async fn an_index_that_expands_without_limit_or_has_impossible_sizes_is_damage() {
    let (store, place, manifest) = archive(&[&dump("d", 20)], small(400, 1)).await;
    let claims = |name: &'static str, value: &'static str| {
        move |text: String| {
            let at = text.rfind(&format!("\"{name}\":")).unwrap() + name.len() + 3;
            let end = at + text[at..].find([',', '}']).unwrap();
            format!("{}{value}{}", &text[..at], &text[end..])
        }
    };
    type Change = Box<dyn FnOnce(String) -> String>;
    let changes: [(&str, Change); 6] = [
        (
            "no end of lines",
            Box::new(|text| text + &"\n".repeat(300 << 20)),
        ),
        (
            "a line without end",
            Box::new(|text| text + &"x".repeat(300 << 20)),
        ),
        ("raw", Box::new(claims("raw", "9223372036854775807"))),
        ("raw of 1 GiB", Box::new(claims("raw", "1073741824"))),
        (
            "longest",
            Box::new(claims("longest", "18446744073709551615")),
        ),
        ("stored", Box::new(claims("stored", "68719476736"))),
    ];
    for (what, change) in changes {
        edit_index(&store, &place, &manifest, change).await;
        assert_eq!(code(open(&store, &place).await), 6, "{what}");
        let (again, _, _) = archive(&[&dump("d", 20)], small(400, 1)).await;
        let index = again.get(&place.key(&BackupObject::Index), None).await;
        store
            .put(&place.key(&BackupObject::Index), index.unwrap())
            .await
            .unwrap();
    }
}

/// Both within the bounds of its size and its expansion.
#[tokio::test]
async fn an_index_with_a_record_or_a_window_beyond_its_maximum_is_damage() {
    let (store, place, manifest) = archive(&[&dump("d", 3)], small(1000, 500)).await;
    // Unknown records are ignored, and this one hardly compresses.
    let unknown = |bytes: u32| {
        let noise = (0..bytes / 64).map(|n| Sha256Digest::of(n.to_be_bytes()).to_string());
        format!("{{\"later\":\"{}\"}}\n", noise.collect::<String>())
    };
    edit_index(&store, &place, &manifest, |text| text + &unknown(3 << 20)).await;
    open(&store, &place).await.unwrap();
    let (store, place, manifest) = archive(&[&dump("d", 3)], small(1000, 500)).await;
    edit_index(&store, &place, &manifest, |text| text + &unknown(5 << 20)).await;
    let error = open(&store, &place).await.map(drop).unwrap_err();
    assert_eq!(error.outcome().code(), 6);
    assert!(error.to_string().contains("too long"), "{error}");

    let (store, place, manifest) = archive(&[&dump("d", 3)], small(1000, 500)).await;
    let key = place.key(&BackupObject::Index);
    let text = zstd::decode_all(&store.get(&key, None).await.unwrap()[..]).unwrap();
    for (window_log, expected) in [(23, 0), (24, 6)] {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(window_log).unwrap();
        std::io::Write::write_all(&mut encoder, &text).unwrap();
        let stored = encoder.finish().unwrap();
        let mut manifest = manifest.clone();
        manifest.index.bytes = stored.len() as u64;
        manifest.index.sha256 = Sha256Digest::of(&stored);
        store.put(&key, stored.into()).await.unwrap();
        replace_manifest(&store, &place, &manifest).await;
        assert_eq!(code(open(&store, &place).await), expected, "{window_log}");
    }
}

#[tokio::test]
async fn an_object_beyond_its_maximum_size_is_not_fetched() {
    const TOO_MANY: u64 = (256 << 20) + 1;
    let (store, place, manifest) = archive(&[&dump("d", 3)], small(1000, 500)).await;
    let mut large = manifest.clone();
    large.index.bytes = TOO_MANY;
    replace_manifest(&store, &place, &large).await;
    let counting = FaultStore::new(store.clone());
    let error = open(&(Arc::new(counting.clone()) as Arc<dyn Store>), &place).await;
    let error = error.unwrap_err();
    assert_eq!(error.outcome().code(), 6);
    assert!(
        error.to_string().contains("more than the maximum"),
        "{error}"
    );
    assert_eq!(counting.count(Op::Get, "index.jsonl.zst"), 0);

    let mut large = manifest.clone();
    large.accounts = Some(FileFacts {
        name: "accounts.sql.zst".into(),
        bytes: TOO_MANY,
        ..manifest.index.clone()
    });
    replace_manifest(&store, &place, &large).await;
    let counting = FaultStore::new(store.clone());
    let archive = open(&(Arc::new(counting.clone()) as Arc<dyn Store>), &place).await;
    let error = archive.unwrap().accounts().await.unwrap_err();
    assert_eq!(error.outcome().code(), 6);
    assert!(
        error.to_string().contains("longer than the maximum"),
        "{error}"
    );
    assert_eq!(counting.count(Op::Get, "accounts.sql.zst"), 0);

    replace_manifest(&store, &place, &manifest).await;
    edit(&store, &place.key(&BackupObject::Manifest), |bytes| {
        bytes.resize(MAX_BYTES + 1, b'\n')
    })
    .await;
    let error = open(&store, &place).await.unwrap_err();
    assert_eq!(error.outcome().code(), 6);
    assert!(
        error.to_string().contains("more than the maximum"),
        "{error}"
    );
}

#[tokio::test]
async fn an_index_that_changes_after_its_verification_has_no_effect() {
    let sql = dump("d", 50);
    let (store, place, _) = archive(&[&sql], small(1000, 500)).await;
    let archive = open(&store, &place).await.unwrap();
    store
        .delete(&place.key(&BackupObject::Index))
        .await
        .unwrap();
    assert_eq!(text(&archive).await.unwrap(), sql);
}

#[tokio::test]
async fn frames_that_go_back_to_an_earlier_segment_are_damage() {
    // With one frame per segment, two swapped frames are each at a valid offset.
    let (store, place, manifest) = archive(&[&dump("d", 20)], small(400, 1)).await;
    assert_eq!(manifest.segments.len() as u64, manifest.totals.frames);
    open(&store, &place).await.unwrap();
    edit_index(&store, &place, &manifest, |text| {
        let frame = |n: usize| {
            let mark = format!("{{\"frame\":{{\"n\":{n},");
            let line = text.lines().find(|line| line.starts_with(&mark)).unwrap();
            (line, &line[mark.len()..], mark)
        };
        let ((third, third_rest, third_mark), (fourth, fourth_rest, fourth_mark)) =
            (frame(3), frame(4));
        text.replacen(third, &(third_mark + fourth_rest), 1)
            .replacen(fourth, &(fourth_mark + third_rest), 1)
    })
    .await;
    let error = open(&store, &place).await.unwrap_err();
    assert!(
        error.to_string().contains("frames are not in order"),
        "{error}"
    );
}

#[tokio::test]
async fn a_missing_object_is_damage_and_an_unreadable_one_is_a_failure_of_the_store() {
    let (store, place, _) = archive(&[&dump("d", 3)], small(1000, 500)).await;
    for (suffix, fault) in [
        ("manifest.json", Fault::Fail),
        ("index.jsonl.zst", Fault::Fail),
        ("index.jsonl.zst", Fault::Deny),
    ] {
        let failing: Arc<dyn Store> =
            Arc::new(FaultStore::new(store.clone()).always(Op::Get, suffix, fault));
        assert_eq!(code(open(&failing, &place).await), 5, "{suffix}");
    }
    let failing = FaultStore::new(store.clone()).always(Op::Get, "dump.sql.zst", Fault::Fail);
    let failing: Arc<dyn Store> = Arc::new(failing);
    let archive = open(&failing, &place).await.unwrap();
    assert_eq!(code(text(&archive).await), 5);
    store.delete(&place.key(&manifest_segment())).await.unwrap();
    let archive = open(&store, &place).await.unwrap();
    assert_eq!(code(text(&archive).await), 6);
    let empty: Arc<dyn Store> = Arc::new(MemoryStore::new());
    assert_eq!(code(open(&empty, &place).await), 3);
}

fn manifest_segment() -> BackupObject {
    BackupObject::parse("dump.sql.zst").unwrap()
}

#[tokio::test]
async fn bytes_corrupted_in_transit_are_never_returned() {
    let (store, place, _) = archive(&[&dump("d", 3)], small(1000, 500)).await;
    for fault in [Fault::CutShort, Fault::FlipBit] {
        for suffix in ["manifest.json", "index.jsonl.zst"] {
            let failing = FaultStore::new(store.clone()).always(Op::Get, suffix, fault);
            let failing: Arc<dyn Store> = Arc::new(failing);
            assert_eq!(code(open(&failing, &place).await), 6, "{suffix} {fault:?}");
        }
        let failing = FaultStore::new(store.clone()).always(Op::Get, "dump.sql.zst", fault);
        let archive = open(&(Arc::new(failing) as Arc<dyn Store>), &place).await;
        assert_eq!(code(text(&archive.unwrap()).await), 6, "{fault:?}");
    }
}
