//! Encrypted and signed archives: what is read is what was written, or nothing.

use std::path::Path;

use age::secrecy::ExposeSecret as _;
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{LineEnding, PrivateKey};

use super::*;
use crate::archive::codec::Codec;
use crate::archive::fixture::{self, dump, edit, place, small};
use crate::archive::read::Archive;
use crate::archive::segment_digests::SegmentDigests;
use crate::archive::write::WriteOptions;
use crate::archive::write::commit::{put_manifest, put_signature};
use crate::keys::{Keys, KeysConfig};
use crate::store::keyed::KeyedStore;
use crate::store::memory::MemoryStore;
use crate::util::error::Outcome;

/// The files of all keys.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> (Files, String) {
        let files = Files(tempfile::tempdir().unwrap());
        let identity = age::x25519::Identity::generate();
        let secret = identity.to_string();
        files.put("identity", secret.expose_secret());
        let key = |seed: u8| {
            let pair = Ed25519Keypair::from_seed(&[seed; 32]);
            PrivateKey::new(KeypairData::Ed25519(pair), "").unwrap()
        };
        for seed in [1, 2] {
            let private = key(seed).to_openssh(LineEnding::LF).unwrap();
            files.put(&format!("key{seed}"), &private);
        }
        let public = key(1).public_key().to_openssh().unwrap();
        files.put("signers", &format!("shop {public}\n"));
        (files, identity.to_public().to_string())
    }

    fn put(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        Path::new(self.0.path()).join(name)
    }
}

fn keyed(memory: &MemoryStore, config: KeysConfig) -> Arc<dyn Store> {
    let store = Arc::new(memory.clone());
    Arc::new(KeyedStore::new(store, Keys::new(config).unwrap()))
}

struct Case {
    memory: MemoryStore,
    place: BackupPlace,
    /// The store as a restore has it.
    reader: Arc<dyn Store>,
    files: Files,
    recipient: String,
}

/// A committed backup that is encrypted and signed, written without an identity.
async fn case() -> Case {
    let (memory, place) = place();
    let (files, recipient) = Files::new();
    let writer = keyed(
        &memory,
        KeysConfig {
            recipients: vec![recipient.clone()],
            signing_key_file: Some(files.path("key1")),
            ..KeysConfig::default()
        },
    );
    let sql = [dump("a", 700), dump("b", 400)];
    let sql: Vec<&str> = sql.iter().map(String::as_str).collect();
    // Of several segments the first has several chunks.
    let options = WriteOptions {
        codec: Codec::None,
        ..small(60_000, 80_000)
    };
    let written = fixture::write(&writer, &place, &sql, options, Vec::new());
    let written = written.await.unwrap();
    assert!(written.segments.len() > 1);
    let mut manifest = fixture::manifest_of(&writer, &place, written, 2)
        .await
        .unwrap();
    manifest.codec = Codec::None;
    manifest.encryption = "age".into();
    manifest.signature = "sshsig".into();
    put_signature(&writer, &place, &manifest).await.unwrap();
    put_manifest(&writer, &place, &manifest).await.unwrap();
    let reader = keyed(
        &memory,
        KeysConfig {
            identity_file: Some(files.path("identity")),
            allowed_signers_file: Some(files.path("signers")),
            ..KeysConfig::default()
        },
    );
    Case {
        memory,
        place,
        reader,
        files,
        recipient,
    }
}

/// Everything a drill of the archive reads.
async fn read(store: &Arc<dyn Store>, place: &BackupPlace) -> Result<String> {
    let archive = Archive::open(store.clone(), place.clone()).await?;
    archive.check_documents().await?;
    let mut frames = archive.frames()?;
    let mut digests = SegmentDigests::default();
    let mut text = Vec::new();
    while let Some(frame) = frames.read()? {
        text.extend(archive.fetch_in_turn(&frame, digests.turn()).await?);
    }
    Ok(String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn what_was_encrypted_is_read_and_stored_nowhere_in_the_clear() {
    let case = case().await;
    let sql = read(&case.reader, &case.place).await.unwrap();
    assert!(sql.contains("CREATE DATABASE `a`") && sql.contains("CREATE DATABASE `b`"));
    assert_eq!(sql.matches("INSERT INTO").count(), 1100);
    for object in case.memory.list("").await.unwrap() {
        let bytes = case.memory.get(&object.key, None).await.unwrap();
        for secret in ["CREATE", "`a`", "\"t\"", "INSERT"] {
            let there = bytes
                .windows(secret.len())
                .any(|at| at == secret.as_bytes());
            assert!(!there, "{secret} in {}", object.key);
        }
        let is_data = ["dump", "index"]
            .iter()
            .any(|name| object.key.contains(name));
        assert_eq!(object.key.ends_with(".age"), is_data, "{}", object.key);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_flipped_bit_gives_other_data_or_another_outcome() {
    let case = case().await;
    let sql = read(&case.reader, &case.place).await.unwrap();
    let objects = case.memory.list("").await.unwrap();
    let total: u64 = objects.iter().map(|object| object.size).sum();
    for n in 0..10_000u64 {
        // Spread over all bytes; which bit changes with the position.
        let mut at = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % total;
        let object = objects.iter().find(|object| {
            let here = at < object.size;
            at -= if here { 0 } else { object.size };
            here
        });
        let object = object.unwrap();
        let flip = |bytes: &mut Vec<u8>| bytes[at as usize] ^= 1 << (n % 8);
        let memory: Arc<dyn Store> = Arc::new(case.memory.clone());
        edit(&memory, &object.key, flip).await;
        match read(&case.reader, &case.place).await {
            // White space and case in the signature's armour mean nothing.
            Ok(same) => assert!(
                same == sql && object.key.ends_with(".sig"),
                "{}",
                object.key
            ),
            Err(error) => assert_eq!(
                error.outcome(),
                Outcome::Archive,
                "{} {at}: {error}",
                object.key
            ),
        }
        edit(&memory, &object.key, flip).await;
    }
    assert!(read(&case.reader, &case.place).await.unwrap() == sql);
}

#[tokio::test]
async fn keys_that_are_missing_or_others_are_named() {
    let case = case().await;
    let (others, _) = Files::new();
    for (identity, words) in [
        (None, "no identity is configured"),
        (
            Some(others.path("identity")),
            "not encrypted to any identity",
        ),
        (
            Some(others.path("nothing")),
            "cannot read DRCTL_IDENTITY_FILE",
        ),
        (Some(others.path("signers")), "has no identity in line 1"),
        (Some(others.path("key1")), "not encrypted to any identity"),
    ] {
        let config = KeysConfig {
            identity_file: identity,
            ..KeysConfig::default()
        };
        let error = read(&keyed(&case.memory, config), &case.place)
            .await
            .unwrap_err();
        assert_eq!(error.outcome(), Outcome::Usage, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_range_takes_its_chunks_and_what_opens_the_object_once() {
    let case = case().await;
    let counting = crate::store::fault::FaultStore::new(case.reader.clone());
    let store: Arc<dyn Store> = Arc::new(counting.clone());
    let archive = Archive::open(store, case.place.clone()).await.unwrap();
    let first = archive.frames().unwrap().read().unwrap().unwrap();
    let gets = || counting.count(crate::store::fault::Op::Get, ".age");
    let before = gets();
    archive.fetch(&first).await.unwrap();
    assert_eq!(gets() - before, 3, "header, last chunk, range");
    archive.fetch(&first).await.unwrap();
    assert_eq!(gets() - before, 4);
}

#[tokio::test]
async fn trust_decides_what_becomes_of_a_manifest_that_no_allowed_signer_signed() {
    let case = case().await;
    let config = |trust| KeysConfig {
        identity_file: Some(case.files.path("identity")),
        allowed_signers_file: Some(case.files.path("signers")),
        trust: Some(trust),
        ..KeysConfig::default()
    };
    let sig = case.place.key(&BackupObject::ManifestSignature);
    let good = case.memory.get(&sig, None).await.unwrap();
    let manifest = case
        .memory
        .get(&case.place.key(&BackupObject::Manifest), None)
        .await
        .unwrap();
    let other = Keys::new(KeysConfig {
        signing_key_file: Some(case.files.path("key2")),
        ..KeysConfig::default()
    });
    let other = other.unwrap();
    let other = |document: &[u8]| other.signing().unwrap().unwrap().sign(document).unwrap();
    let ours = Keys::new(KeysConfig {
        signing_key_file: Some(case.files.path("key1")),
        ..KeysConfig::default()
    });
    let ours = ours.unwrap();
    let over_another = ours.signing().unwrap().unwrap().sign(b"another").unwrap();
    for (signature, words) in [
        (
            Some(Bytes::from(other(&manifest))),
            "which is not an allowed signer",
        ),
        (
            Some(Bytes::from(over_another)),
            "does not match its signature",
        ),
        (
            Some(Bytes::from_static(b"-")),
            "a signature that cannot be read",
        ),
        (Some(Bytes::from(vec![b'-'; 1 << 20])), "is not signed"),
        (None, "is not signed"),
    ] {
        match signature {
            Some(signature) => case.memory.put(&sig, signature).await.unwrap(),
            None => drop(case.memory.delete(&sig).await.unwrap()),
        }
        let required = keyed(&case.memory, config(crate::keys::Trust::Require));
        let error = read(&required, &case.place).await.unwrap_err();
        assert_eq!(error.outcome(), Outcome::Archive);
        assert!(error.to_string().contains(words), "{error}");
        for trust in [crate::keys::Trust::Warn, crate::keys::Trust::Off] {
            read(&keyed(&case.memory, config(trust)), &case.place)
                .await
                .unwrap();
        }
    }
    case.memory.put(&sig, good).await.unwrap();
    read(&case.reader, &case.place).await.unwrap();
}

#[tokio::test]
async fn a_malformed_recipient_is_refused_before_anything_is_written() {
    let case = case().await;
    let age = &case.recipient;
    for (given, words) in [
        (
            vec![age.clone(), "age1nothing".into()],
            "recipient 2 in DRCTL_ENCRYPTION_RECIPIENTS is malformed",
        ),
        (vec!["AGE-SECRET-KEY-1HUNTER2".into()], "is a private key"),
        (
            vec!["ssh-ed25519 AAAA".into()],
            "malformed, or of an unsupported type",
        ),
        (vec!["somebody@example.com".into()], "no public key"),
        (vec![String::new()], "no public key"),
    ] {
        let (memory, place) = fixture::place();
        let config = KeysConfig {
            recipients: given,
            ..KeysConfig::default()
        };
        let store = keyed(&memory, config);
        let sql = dump("a", 1);
        let written = fixture::write(&store, &place, &[&sql], small(100, 1000), Vec::new()).await;
        let error = written.unwrap_err();
        assert_eq!(error.outcome(), Outcome::Usage);
        assert!(error.to_string().contains(words), "{error}");
        assert!(!error.to_string().contains("HUNTER2"), "{error}");
        assert!(memory.list("").await.unwrap().is_empty());
    }
}
