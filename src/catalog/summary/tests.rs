//! Whatever a summary says, the entries are those of the manifests.

use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{HashAlg, LineEnding, PrivateKey};
use std::collections::BTreeMap;

use std::sync::Arc;

use super::*;
use crate::archive::fixture;
use crate::archive::manifest::{FileFacts, Manifest};
use crate::keys::signers::Signed;
use crate::keys::signing::NAMESPACE;
use crate::keys::{Keys, KeysConfig};
use crate::layout::{BackupObject, DrillLevel, DrillName, DrillVerdict};
use crate::store::Store;
use crate::store::fault::{Fault, FaultStore, Op};
use crate::store::keyed::KeyedStore;
use crate::store::memory::MemoryStore;

/// A backup of a target: one for each number, the odd ones suspect.
fn manifest_of(target: &str, number: i64, label: &str) -> Manifest {
    let (_, mut place) = fixture::place();
    place.target = target.parse().unwrap();
    place.id = id(number);
    let index = FileFacts::of(&BackupObject::Index, b"index");
    let mut manifest = fixture::manifest(&place, Vec::new(), index);
    manifest.labels = BTreeMap::from([("name".into(), label.into())]);
    if number % 2 == 0 {
        manifest.suspect.clear();
    }
    manifest
}

fn id(number: i64) -> BackupId {
    let hour = Timestamp::from_second(1_700_000_000 + number * 3_600).unwrap();
    BackupId::new(hour, 7)
}

fn key(number: i64, object: &BackupObject) -> String {
    fixture::place().1.target.object(id(number), object)
}

async fn put(store: &dyn Store, number: i64, manifest: &Manifest) {
    let bytes = manifest.to_bytes().unwrap();
    let key = key(number, &BackupObject::Manifest);
    store.put(&key, bytes.into()).await.unwrap();
}

/// The backups 0 to 19, and a summary of them.
async fn summarised() -> MemoryStore {
    let store = MemoryStore::new();
    for number in 0..20 {
        put(&store, number, &manifest_of("shop", number, "first")).await;
    }
    assert!(write::merge(&catalog(&store).await).await.unwrap());
    store
}

async fn catalog<S: Store + Clone + 'static>(store: &S) -> Catalog {
    let store: Arc<dyn Store> = Arc::new(store.clone());
    Catalog::read(store, "shop".parse().unwrap()).await.unwrap()
}

/// What a caller sees of each backup, and the messages about damaged ones.
async fn seen(catalog: &Catalog) -> (Vec<String>, Vec<String>) {
    let (entries, damaged) = catalog.entries().await.unwrap();
    let entries = entries.iter().map(|entry| format!("{entry:?}"));
    let mut damaged: Vec<String> = damaged.iter().map(ToString::to_string).collect();
    damaged.sort();
    (entries.collect(), damaged)
}

async fn summaries(store: &MemoryStore) -> Vec<String> {
    let listed = store.list("shop/summaries/").await.unwrap();
    listed.into_iter().map(|object| object.key).collect()
}

/// The same without summaries.
async fn truth(store: &MemoryStore) -> (Vec<String>, Vec<String>) {
    for key in summaries(store).await {
        store.delete(&key).await.unwrap();
    }
    seen(&catalog(store).await).await
}

fn unreadable(store: &MemoryStore) -> FaultStore {
    FaultStore::new(Arc::new(store.clone())).always(Op::Get, "manifest.json", Fault::Fail)
}

#[tokio::test]
async fn a_summary_saves_reading_its_manifests() {
    let store = summarised().await;
    let shown = seen(&catalog(&unreadable(&store)).await).await;
    assert_eq!(shown.0.len(), 20);
    assert_eq!(shown, truth(&store).await);
}

/// Changes one thing after the summary was written.
type Change = fn(MemoryStore) -> futures_util::future::BoxFuture<'static, ()>;

macro_rules! change {
    (|$store:ident| $body:block) => {
        (|$store: MemoryStore| Box::pin(async move { $body })) as Change
    };
}

async fn rewrite(store: &MemoryStore, edit: impl Fn(Vec<u8>) -> Vec<u8>) {
    for key in summaries(store).await {
        let bytes = store.get(&key, None).await.unwrap();
        store.put(&key, edit(bytes.to_vec()).into()).await.unwrap();
    }
}

/// Edits the records of the summaries, with valid seals.
async fn forge(store: &MemoryStore, edit: fn(&mut Record)) {
    rewrite(store, |bytes| {
        let text = zstd::decode_all(&bytes[..]).unwrap();
        let lines = text.split(|byte| *byte == b'\n');
        let lines = lines.filter(|line| !line.is_empty());
        let forged = lines.map(|line| {
            let mut record: Record = serde_json::from_slice(line).unwrap();
            edit(&mut record);
            serde_json::to_string(&record).unwrap() + "\n"
        });
        let forged: String = forged.collect();
        zstd::encode_all(forged.as_bytes(), 1).unwrap()
    })
    .await;
}

#[tokio::test]
async fn what_happened_since_to_backups_and_summaries_does_not_show_in_the_list() {
    let changes: [(&str, Change); 17] = [
        (
            "a manifest was deleted",
            change!(|store| {
                store
                    .delete(&key(3, &BackupObject::Manifest))
                    .await
                    .unwrap();
            }),
        ),
        (
            "one was replaced by another one",
            change!(|store| {
                put(&store, 2, &manifest_of("shop", 2, "second, longer")).await;
            }),
        ),
        (
            "one was replaced by another one of the same size",
            change!(|store| {
                put(&store, 2, &manifest_of("shop", 2, "fi5st")).await;
            }),
        ),
        (
            "one was replaced by damage",
            change!(|store| {
                let key = key(2, &BackupObject::Manifest);
                let mut bytes = store.get(&key, None).await.unwrap().to_vec();
                bytes[100] ^= 1;
                store.put(&key, bytes.into()).await.unwrap();
            }),
        ),
        (
            "one was replaced by that of another backup",
            change!(|store| {
                put(&store, 2, &manifest_of("shop", 4, "first")).await;
            }),
        ),
        (
            "one was added",
            change!(|store| {
                put(&store, 20, &manifest_of("shop", 20, "new")).await;
            }),
        ),
        (
            "a suspect one was accepted",
            change!(|store| {
                store
                    .put(&key(3, &BackupObject::Accepted), Bytes::new())
                    .await
                    .unwrap();
            }),
        ),
        (
            "one was pinned",
            change!(|store| {
                store
                    .put(&key(3, &BackupObject::Pin), Bytes::new())
                    .await
                    .unwrap();
            }),
        ),
        (
            "a drill failed",
            change!(|store| {
                let drill = DrillName {
                    time: Timestamp::UNIX_EPOCH,
                    level: DrillLevel::Restore,
                    verdict: DrillVerdict::Fail,
                };
                store
                    .put(&key(2, &BackupObject::Drill(drill)), Bytes::new())
                    .await
                    .unwrap();
            }),
        ),
        (
            "the summary was cut",
            change!(|store| {
                rewrite(&store, |bytes| bytes[..bytes.len() / 2].to_vec()).await;
            }),
        ),
        (
            "the summary is empty",
            change!(|store| {
                rewrite(&store, |_| Vec::new()).await;
            }),
        ),
        (
            "the summary was damaged",
            change!(|store| {
                rewrite(&store, |mut bytes| {
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 1;
                    bytes
                })
                .await;
            }),
        ),
        (
            "a forged summary calls suspect backups good",
            change!(|store| {
                forge(&store, |record| {
                    let mut manifest = Manifest::from_bytes(record.manifest.as_bytes()).unwrap();
                    manifest.suspect.clear();
                    record.manifest = String::from_utf8(manifest.to_bytes().unwrap()).unwrap();
                })
                .await;
            }),
        ),
        (
            "a forged summary has the manifests of other backups",
            change!(|store| {
                forge(&store, |record| record.id = id(5)).await;
            }),
        ),
        (
            "a forged summary invents a backup",
            change!(|store| {
                forge(&store, |record| {
                    if record.id == id(0) {
                        let manifest = manifest_of("shop", 99, "never").to_bytes().unwrap();
                        (record.id, record.manifest) =
                            (id(99), String::from_utf8(manifest).unwrap());
                    }
                })
                .await;
            }),
        ),
        (
            "a summary of another target was put there",
            change!(|store| {
                forge(&store, |record| {
                    record.manifest = record.manifest.replace("\"shop\"", "\"blog\"");
                })
                .await;
            }),
        ),
        (
            "a forged summary replaces the true one",
            change!(|store| {
                let name = SummaryName {
                    written: id(0),
                    level: 30,
                };
                let forged = Bytes::from(zstd::encode_all(&b"{}\n"[..], 1).unwrap());
                store
                    .put(&fixture::place().1.target.summary(name), forged)
                    .await
                    .unwrap();
            }),
        ),
    ];
    for (what, change) in changes {
        let store = summarised().await;
        change(store.clone()).await;
        let shown = seen(&catalog(&store).await).await;
        assert_eq!(shown, truth(&store).await, "{what}");
    }
}

/// The store with keys under which only the signatures of one key count.
fn requiring(store: &MemoryStore, dir: &std::path::Path, signer: &PrivateKey) -> Arc<dyn Store> {
    let file = dir.join("allowed_signers");
    let line = format!("ops {}", signer.public_key().to_openssh().unwrap());
    std::fs::write(&file, line).unwrap();
    let keys = Keys::new(KeysConfig {
        allowed_signers_file: Some(file),
        ..KeysConfig::default()
    });
    Arc::new(KeyedStore::new(Arc::new(store.clone()), keys.unwrap()))
}

#[tokio::test]
async fn a_signature_is_judged_from_a_summary_as_from_the_store() {
    let signer = PrivateKey::new(
        KeypairData::Ed25519(Ed25519Keypair::from_seed(&[1; 32])),
        "",
    );
    let signer = signer.unwrap();
    let signature = |document: &[u8]| {
        let signature = signer.sign(NAMESPACE, HashAlg::Sha512, document).unwrap();
        Bytes::from(signature.to_pem(LineEnding::LF).unwrap())
    };
    let store = MemoryStore::new();
    for number in 0..20 {
        let manifest = manifest_of("shop", number, "first");
        put(&store, number, &manifest).await;
        let signed = key(number, &BackupObject::ManifestSignature);
        let mut bytes = manifest.to_bytes().unwrap();
        match number {
            // One is not signed, the signature of another one is of something else.
            18 => continue,
            17 => bytes.push(0),
            _ => {}
        }
        store.put(&signed, signature(&bytes)).await.unwrap();
    }
    assert!(write::merge(&catalog(&store).await).await.unwrap());
    // Since then one lost its signature, and one has another.
    store
        .delete(&key(15, &BackupObject::ManifestSignature))
        .await
        .unwrap();
    let other = key(14, &BackupObject::ManifestSignature);
    store
        .put(&other, Bytes::from_static(b"nothing"))
        .await
        .unwrap();

    let dir = tempfile::tempdir().unwrap();
    let trusting = requiring(&store, dir.path(), &signer);
    let catalog = async || {
        let target = fixture::place().1.target;
        Catalog::read(trusting.clone(), target).await.unwrap()
    };
    let from_summary = catalog().await;
    let (entries, _) = from_summary.entries().await.unwrap();
    let refused = entries
        .iter()
        .filter(|entry| matches!(entry.signed, Signed::Refused(_)));
    let refused: Vec<BackupId> = refused.map(|entry| entry.id).collect();
    assert_eq!(refused, [18, 17, 15, 14].map(id));
    let shown = seen(&from_summary).await;
    for key in summaries(&store).await {
        store.delete(&key).await.unwrap();
    }
    assert_eq!(shown, seen(&catalog().await).await);
}

#[tokio::test]
async fn backups_add_small_summaries_and_prune_merges_them() {
    let store = MemoryStore::new();
    for number in 0..40 {
        put(&store, number, &manifest_of("shop", number, "first")).await;
        write::add(&catalog(&store).await).await.unwrap();
    }
    let listed = summaries(&store).await;
    assert_eq!(listed.len(), 5, "one for each eight backups");
    assert!(listed.iter().all(|key| key.ends_with("-0.jsonl.zst")));

    let readable = catalog(&unreadable(&store)).await;
    assert_eq!(readable.entries().await.unwrap().0.len(), 40);
    assert!(write::merge(&readable).await.unwrap());
    assert_eq!(write::sweep(&readable).await.unwrap(), 5);
    assert_eq!(readable.entries().await.unwrap().0.len(), 40);
    assert!(!write::merge(&readable).await.unwrap(), "nothing is left");
}

#[tokio::test]
async fn prune_removes_a_summary_that_nothing_confirms() {
    let store = summarised().await;
    forge(&store, |record| record.manifest.push(' ')).await;
    assert_eq!(write::sweep(&catalog(&store).await).await.unwrap(), 1);
    assert!(write::merge(&catalog(&store).await).await.unwrap());
}

#[test]
fn what_is_too_large_to_be_read_singly_is_no_record() {
    let is_of = |manifest: usize, signature: usize| {
        let record = Record {
            id: id(1),
            modified: Timestamp::UNIX_EPOCH,
            manifest: " ".repeat(manifest),
            signature: Some(" ".repeat(signature)),
        };
        let marks = Marks {
            committed: true,
            manifest_bytes: manifest as u64,
            manifest_at: Some(record.modified),
            manifest_etag: Some(digest::md5(&record.manifest)),
            signature_etag: record.signature.as_ref().map(digest::md5),
            ..Marks::default()
        };
        record.is_of(&marks)
    };
    let (most, most_signature) = (manifest::MAX_BYTES, MOST_SIGNATURE_BYTES as usize);
    assert!(is_of(most, most_signature));
    assert!(!is_of(most + 1, most_signature));
    assert!(!is_of(most, most_signature + 1));
}

/// A summary of a high level without contents, later than all others.
async fn put_forged(store: &MemoryStore) {
    let name = SummaryName {
        written: id(0),
        level: 30,
    };
    let forged = Bytes::from(zstd::encode_all(&b"{}\n"[..], 1).unwrap());
    let key = fixture::place().1.target.summary(name);
    store.put(&key, forged).await.unwrap();
}

#[tokio::test]
async fn a_forged_summary_of_a_high_level_hides_no_other() {
    let store = summarised().await;
    put_forged(&store).await;
    let readable = catalog(&unreadable(&store)).await;
    assert_eq!(readable.entries().await.unwrap().0.len(), 20);
    assert_eq!(write::sweep(&readable).await.unwrap(), 1, "it alone");
    assert_eq!(readable.entries().await.unwrap().0.len(), 20);
}

#[tokio::test]
async fn a_summary_that_cannot_be_read_now_is_kept() {
    let store = summarised().await;
    put_forged(&store).await;
    let failing = FaultStore::new(Arc::new(store.clone())).always(Op::Get, ".zst", Fault::Fail);
    assert_eq!(write::sweep(&catalog(&failing).await).await.unwrap(), 0);
}

#[tokio::test]
async fn backups_of_one_moment_have_one_order_whatever_they_are_read_from() {
    let store = MemoryStore::new();
    let same = async |number: i64| {
        let mut manifest = manifest_of("shop", number, "first");
        manifest.snapshot_at = Timestamp::UNIX_EPOCH;
        put(&store, number, &manifest).await;
    };
    for number in (0..40).step_by(2) {
        same(number).await;
    }
    assert!(write::merge(&catalog(&store).await).await.unwrap());
    for number in [1, 21, 41] {
        same(number).await;
    }
    let (entries, _) = catalog(&store).await.entries().await.unwrap();
    assert_eq!(entries.len(), 23);
    assert!(entries.is_sorted_by_key(|entry| std::cmp::Reverse(entry.id)));
}
