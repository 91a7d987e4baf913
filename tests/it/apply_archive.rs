//! Archives for tests of the restore, made of real dumps by the real writer, without a `drctl backup`.

use std::sync::Arc;

use drctl::archive::BackupPlace;
use drctl::archive::codec::{Codec, Encoder};
use drctl::archive::manifest::{ClientFacts, FileFacts, ServerFacts};
use drctl::archive::read::Archive;
use drctl::archive::restore_txt::Finish;
use drctl::archive::write::commit::{Provenance, manifest, put_documents, put_file, put_manifest};
use drctl::archive::write::encode::Encoders;
use drctl::archive::write::framer::RawFrame;
use drctl::archive::write::sequencer::{Sequencer, Written};
use drctl::archive::write::{ArchiveWriter, WriteOptions};
use drctl::layout::{BackupId, BackupObject};
use drctl::mysql::{Role, ServerConfig};
use drctl::restore::options::RestoreOptions;
use drctl::restore::report::{Progress, RestoreReport, Silent};
use drctl::sql::ledger::Ledger;
use drctl::sql::session::Session;
use drctl::sql::statement::{Kind, ObjectId, Section, Statement};
use drctl::store::Store;
use drctl::store::memory::MemoryStore;
use drctl::util::cancel::Cancel;

use super::support::{Flavour, Server};

/// Options of `mysqldump`, in this test and in the comparison.
pub fn options(flavour: Flavour) -> Vec<String> {
    let mut all = vec![
        "--single-transaction",
        "--hex-blob",
        "--routines",
        "--triggers",
        "--events",
        "--tz-utc",
        "--quick",
        "--skip-add-locks",
        "--skip-disable-keys",
        "--skip-dump-date",
        "--default-character-set=utf8mb4",
    ];
    if flavour == Flavour::MySql {
        all.extend([
            "--set-gtid-purged=OFF",
            "--no-tablespaces",
            "--skip-masking-policies",
        ]);
    }
    all.into_iter().map(str::to_owned).collect()
}

/// The text of a dump of these schemas.
pub fn dump(server: &Server, schemas: &[&str]) -> Vec<u8> {
    let output = std::process::Command::new(server.flavour().dump_bin())
        .args(["--no-defaults", "--user=root", "--socket"])
        .arg(server.socket())
        .args(options(server.flavour()))
        .arg("--databases")
        .args(schemas)
        .output()
        .expect("the dump program runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// An archive of these schemas.
pub async fn archive_of(server: &Server, schemas: &[&str]) -> Archive {
    archive_from(server, &dump(server, schemas)).await
}

/// An archive of the text of a dump.
pub async fn archive_from(server: &Server, sql: &[u8]) -> Archive {
    let (store, place) = stored(server, sql, None).await;
    Archive::open(store, place).await.unwrap()
}

/// An archive of the text of a dump, to be tampered with.
pub async fn stored(
    server: &Server,
    sql: &[u8],
    accounts: Option<&[u8]>,
) -> (Arc<dyn Store>, BackupPlace) {
    let (store, place) = empty_place();
    write(server, &store, &place, sql, accounts).await;
    (store, place)
}

/// Writes and commits an archive of the text of a dump.
pub async fn write(
    server: &Server,
    store: &Arc<dyn Store>,
    place: &BackupPlace,
    sql: &[u8],
    accounts: Option<&[u8]>,
) {
    let options = WriteOptions::new(Codec::Zstd);
    write_streams(server, store, place, &[sql], 1 << 20, options, accounts).await;
}

/// Writes and commits an archive of the texts of several dumps, one a stream, which arrive by turns
/// in chunks of `chunk_bytes`.
pub async fn write_streams(
    server: &Server,
    store: &Arc<dyn Store>,
    place: &BackupPlace,
    streams: &[&[u8]],
    chunk_bytes: usize,
    options: WriteOptions,
    accounts: Option<&[u8]>,
) {
    let writer = ArchiveWriter::begin(store.clone(), place.clone(), options)
        .await
        .unwrap();
    let mut open: Vec<_> = (0u32..)
        .zip(streams)
        .map(|(n, sql)| (writer.stream(n), sql.chunks(chunk_bytes)))
        .collect();
    loop {
        let mut ended = true;
        for (stream, chunks) in &mut open {
            let Some(chunk) = chunks.next() else { continue };
            let chunk = bytes::Bytes::copy_from_slice(chunk);
            // A stream that stopped says why at its end.
            ended &= stream.write(chunk).await.is_err();
        }
        if ended {
            break;
        }
    }
    let mut ends = Vec::new();
    for (stream, _) in open {
        ends.push(stream.finish().await.unwrap().unwrap().end);
    }
    let written = writer.finish(ends, Vec::new()).await.unwrap();
    let accounts = match accounts {
        Some(sql) => {
            let object = BackupObject::Accounts(Codec::Zstd.suffix());
            let mut body = Vec::new();
            Encoder::new(Codec::Zstd, 1)
                .unwrap()
                .encode(sql, &mut body)
                .unwrap();
            Some(put_file(store, place, &object, &body).await.unwrap())
        }
        None => None,
    };
    commit(server, store, place, written, accounts).await;
}

/// An archive of frames that no `drctl backup` would write, with every digest right. Its ledger has
/// the schema `shop` and the table `shop.t`.
pub async fn forged(server: &Server, frames: &[(Section, &str)]) -> Archive {
    let (store, place) = empty_place();
    let encoders = Encoders::new(Codec::Zstd, 1);
    let mut sequencer = Sequencer::begin(store.clone(), place.clone(), encoders, 1 << 30)
        .await
        .unwrap();
    let mut session = Session::default();
    for (section, sql) in frames {
        let frame = RawFrame {
            stream: 0,
            sql: sql.as_bytes().to_vec(),
            sections: vec![*section],
            before: session.clone(),
            after: session.clone(),
            tables: vec![ObjectId::table("shop", "t")],
            rows: Vec::new(),
            longest: sql.len(),
        };
        sequencer.push_raw(frame).await.unwrap();
        let kind = Kind::Use {
            schema: "shop".into(),
        };
        session.apply(&Statement {
            text: b"",
            sql: b"",
            kind,
        });
    }
    let mut ledger = Ledger::default();
    for kind in [
        Kind::CreateSchema {
            schema: "shop".into(),
        },
        Kind::Create {
            object: ObjectId::table("shop", "t"),
            placeholder: false,
        },
    ] {
        ledger
            .observe(
                &Statement {
                    text: b"",
                    sql: b"",
                    kind,
                },
                &session,
            )
            .unwrap();
    }
    let written = sequencer.finish(ledger, Vec::new()).await.unwrap();
    commit(server, &store, &place, written, None).await;
    Archive::open(store, place).await.unwrap()
}

fn empty_place() -> (Arc<dyn Store>, BackupPlace) {
    let id = BackupId::generate(jiff::Timestamp::now());
    (
        Arc::new(MemoryStore::new()),
        BackupPlace {
            target: "shop".parse().unwrap(),
            id,
        },
    )
}

async fn commit(
    server: &Server,
    store: &Arc<dyn Store>,
    place: &BackupPlace,
    written: Written,
    accounts: Option<FileFacts>,
) {
    let now = place.id.snapshot_at();
    let provenance = Provenance {
        kind: None,
        snapshot_at: now,
        started_at: now,
        server: ServerFacts {
            flavour: match server.flavour() {
                Flavour::MariaDb => "mariadb".into(),
                Flavour::MySql => "mysql".into(),
            },
            version: server.value("SELECT @@version"),
            identity: "test".into(),
            fingerprint: Default::default(),
            bytes: 0,
        },
        coordinates: None,
        client: ClientFacts {
            name: "mysqldump".into(),
            version: "test".into(),
            options: options(server.flavour()),
        },
        reader: None,
        lossy: Vec::new(),
        warnings: Vec::new(),
        labels: Default::default(),
        suspect: Vec::new(),
    };
    let keys = store.keys();
    let manifest = manifest(keys, place, Codec::Zstd, &written, accounts, provenance);
    let mut manifest = manifest.unwrap();
    put_documents(store, place, &mut manifest, &[], &Finish::default())
        .await
        .unwrap();
    put_manifest(store, place, &manifest).await.unwrap();
}

/// How the restore reaches a server.
pub fn into(server: &Server) -> Arc<ServerConfig> {
    Arc::new(ServerConfig {
        url: server.url().parse().unwrap(),
        password: None,
        client_dir: Some(server.flavour().client_dir()),
        role: Role::Into,
    })
}

/// Restores, quietly.
pub async fn restore(
    archive: &Archive,
    server: &Server,
    options: RestoreOptions,
) -> drctl::Result<RestoreReport> {
    let progress: Arc<dyn Progress> = Arc::new(Silent);
    let (cancel, mut report) = (Cancel::default(), RestoreReport::default());
    drctl::restore::restore(
        archive,
        &into(server),
        options,
        progress,
        &cancel,
        &mut report,
    )
    .await
    .map(|()| report)
}
