//! Small archives in memory, for tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::archive::BackupPlace;
use crate::archive::codec::Codec;
use crate::archive::index::Record;
use crate::archive::manifest::{ClientFacts, FORMAT, FileFacts, Manifest, ServerFacts, Totals};
use crate::archive::read::Archive;
use crate::archive::write::commit::{put_file, put_manifest, sha256sums};
use crate::archive::write::sequencer::Written;
use crate::archive::write::{ArchiveWriter, WriteOptions};
use crate::layout::{BackupId, BackupObject};
use crate::store::memory::MemoryStore;
use crate::store::{Key, Store};
use crate::util::error::Result;

/// A location in an empty store.
pub fn place() -> (MemoryStore, BackupPlace) {
    let id: BackupId = "20261121T020000Z-000001".parse().unwrap();
    let target = "shop".parse().unwrap();
    (MemoryStore::new(), BackupPlace { target, id })
}

/// A dump of one table with this many rows, each in an INSERT of about 100 bytes.
pub fn dump(schema: &str, rows: usize) -> String {
    let mut dump = format!(
        "-- A dump\nSET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO';\n\
         CREATE DATABASE `{schema}`;\nUSE `{schema}`;\nCREATE TABLE `t` (`a` int);\n"
    );
    for row in 0..rows {
        dump += &format!("INSERT INTO `t` VALUES ({row},'{}');\n", "x".repeat(70));
    }
    dump + "SET SQL_MODE=@OLD_SQL_MODE;\n-- Dump completed\n"
}

/// A manifest of these objects, with an invented server and client.
pub fn manifest(place: &BackupPlace, segments: Vec<FileFacts>, index: FileFacts) -> Manifest {
    let now = place.id.snapshot_at();
    Manifest {
        format: FORMAT,
        kind: None,
        drctl: "1.2.3".into(),
        id: place.id,
        target: place.target.clone(),
        snapshot_at: now,
        started_at: now,
        finished_at: now,
        server: ServerFacts {
            flavour: "mysql".into(),
            version: "9.7.0".into(),
            identity: "a".into(),
            fingerprint: BTreeMap::from([("lower_case_table_names".into(), "0".into())]),
            bytes: 1,
        },
        coordinates: None,
        client: ClientFacts {
            name: "mysqldump".into(),
            version: "9.7.0".into(),
            options: vec!["--events".into()],
        },
        reader: None,
        codec: Codec::Zstd,
        encryption: "none".into(),
        recipients: Vec::new(),
        rekeyed_from: None,
        signature: "none".into(),
        segments,
        index,
        accounts: None,
        documents: Vec::new(),
        totals: Totals::default(),
        lossy: Vec::new(),
        warnings: vec!["w".into()],
        labels: BTreeMap::from([("why".into(), "before }\n the move".into())]),
        suspect: vec!["it shrank".into()],
    }
}

/// Writes several dumps, one per stream, in alternating chunks of 100 bytes.
pub async fn write(
    store: &Arc<dyn Store>,
    place: &BackupPlace,
    dumps: &[&str],
    options: WriteOptions,
    more: Vec<Record>,
) -> Result<Written> {
    let writer = ArchiveWriter::begin(store.clone(), place.clone(), options).await?;
    let mut streams: Vec<_> = (0..)
        .zip(dumps)
        .map(|(n, dump)| (writer.stream(n), dump.as_bytes().chunks(100)))
        .collect();
    let longest = dumps.iter().map(|dump| dump.len()).max();
    for _ in 0..longest.unwrap_or(0).div_ceil(100) {
        for (stream, chunks) in &mut streams {
            if let Some(chunk) = chunks.next() {
                // The cause is returned at the end of the stream.
                let _ = stream.write(Bytes::copy_from_slice(chunk)).await;
            }
        }
    }
    let mut ends = Vec::new();
    for (stream, _) in streams {
        ends.extend(stream.finish().await?.map(|scanned| scanned.end));
    }
    if ends.len() == dumps.len() {
        writer.finish(ends, more).await
    } else {
        Err(writer.abort().await.unwrap())
    }
}

/// Puts beside what was written all that a backup has.
pub async fn commit(
    store: &Arc<dyn Store>,
    place: &BackupPlace,
    written: Written,
    streams: u32,
) -> Result<Manifest> {
    let manifest = manifest_of(store, place, written, streams).await?;
    put_manifest(store, place, &manifest).await?;
    Ok(manifest)
}

/// Puts the documents beside what was written; the manifest that is still missing.
pub async fn manifest_of(
    store: &Arc<dyn Store>,
    place: &BackupPlace,
    written: Written,
    streams: u32,
) -> Result<Manifest> {
    let segments = written.segments.iter().map(|it| it.facts.clone()).collect();
    let mut manifest = manifest(place, segments, written.index.facts.clone());
    manifest.totals = Totals {
        raw_bytes: written.raw_bytes,
        stored_bytes: written.stored_bytes,
        frames: written.frames,
        streams,
        rows: written.ledger.total_rows(),
        largest_statement_bytes: written.longest,
        objects: Totals::objects_of(&written.ledger),
    };
    let readme = put_file(store, place, &BackupObject::Readme, b"Read me").await?;
    let files = manifest.segments.iter().chain([&manifest.index, &readme]);
    let sums = sha256sums(files);
    put_file(store, place, &BackupObject::Sums, sums.as_bytes()).await?;
    Ok(manifest)
}

/// A committed archive of these dumps.
pub async fn archive(
    dumps: &[&str],
    options: WriteOptions,
) -> (Arc<dyn Store>, BackupPlace, Manifest) {
    let (store, place) = place();
    let store: Arc<dyn Store> = Arc::new(store);
    let written = write(&store, &place, dumps, options, Vec::new())
        .await
        .unwrap();
    let streams = dumps.len() as u32;
    let manifest = commit(&store, &place, written, streams).await.unwrap();
    (store, place, manifest)
}

/// Replaces the manifest with a changed one, sealed.
pub async fn replace_manifest(store: &Arc<dyn Store>, place: &BackupPlace, manifest: &Manifest) {
    let key = place.key(&BackupObject::Manifest);
    let bytes = manifest.to_bytes().unwrap();
    store.put(&key, bytes.into()).await.unwrap();
}

/// Changes the bytes of an object.
pub async fn edit(store: &Arc<dyn Store>, key: &Key, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = store.get(key, None).await.unwrap().to_vec();
    change(&mut bytes);
    store.put(key, bytes.into()).await.unwrap();
}

/// Options for frames and segments of about these sizes.
pub fn small(frame_bytes: usize, segment_bytes: u64) -> WriteOptions {
    WriteOptions {
        frame_bytes,
        segment_bytes,
        ..WriteOptions::new(Codec::Zstd)
    }
}

/// The SQL of an archive.
pub async fn text(archive: &Archive) -> Result<String> {
    let mut frames = archive.frames()?;
    let mut text = Vec::new();
    while let Some(frame) = frames.read()? {
        text.extend(archive.fetch(&frame).await?);
    }
    Ok(String::from_utf8(text).unwrap())
}
