//! The golden archives of format 1, kept for ever: what one drctl wrote, every later one restores.
//! tests/golden/README.md says what they are.
//!
//! `DRCTL_WRITE_GOLDEN=1 cargo test --test it golden` writes those that are not there, of real dumps
//! of a real server; those that are there are never written again.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use drctl::archive::BackupPlace;
use drctl::archive::codec::Codec;
use drctl::archive::write::WriteOptions;
use drctl::backup::accounts;
use drctl::keys::Keys;
use drctl::mysql::{ServerVersion, connect};
use drctl::store::{self, StoreConfig, StoreUrl};

use crate::apply_archive::{dump, into, write_streams};
use crate::support::{Drctl, Flavour, Server};

/// A golden archive: its directory, its backup id, and which schemas each of its streams holds.
type Golden = (
    &'static str,
    &'static str,
    &'static [&'static [&'static str]],
);

const ARCHIVES: [Golden; 2] = [
    (
        "one-stream",
        "20261121T020000Z-000001",
        &[&["golden_a", "golden_b"]],
    ),
    (
        "two-streams",
        "20261121T020000Z-000002",
        &[&["golden_a"], &["golden_b"]],
    ),
];

/// Two schemas whose dumps carry a bit of everything, and the account that defines some of it.
const CONTENT: &str = "
    SET NAMES utf8mb4 COLLATE utf8mb4_general_ci;
    CREATE USER golden@localhost IDENTIFIED BY 'golden';
    CREATE DATABASE golden_a CHARACTER SET latin1; CREATE DATABASE golden_b CHARACTER SET latin1;
    GRANT ALL ON golden_a.* TO golden@localhost;
    CREATE TABLE golden_a.t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(20), b BLOB, KEY (v));
    INSERT INTO golden_a.t (v, b) VALUES ('one; two', 0x00FF27), ('it''s', NULL), ('é', 'x');
    CREATE TABLE golden_a.u (id INT PRIMARY KEY, t INT, KEY (t), FOREIGN KEY (t) REFERENCES t (id));
    INSERT INTO golden_a.u VALUES (1, 1), (2, 3);
    CREATE DEFINER = golden@localhost VIEW golden_a.w AS SELECT v FROM golden_a.t;
    CREATE TRIGGER golden_a.r BEFORE INSERT ON golden_a.t FOR EACH ROW SET NEW.v = UPPER(NEW.v);
    CREATE TABLE golden_b.`a b` (x DECIMAL(30, 10), d DATETIME(6));
    INSERT INTO golden_b.`a b` VALUES (1.5, '2026-11-21 02:00:00.123456'), (1.5, '2026-11-21 02:00:00.123456');
    CREATE TABLE golden_b.c (c CHAR(200));
    INSERT INTO golden_b.c VALUES (REPEAT('ab', 100)), (REPEAT('cd', 99)), (NULL);
    CREATE PROCEDURE golden_b.p() SELECT 'a;b' /* c */;
    CREATE EVENT golden_b.e ON SCHEDULE EVERY 1 DAY
        STARTS '2026-11-21 00:00:00' DISABLE DO DELETE FROM golden_b.`a b`;";

pub fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// drctl with a copy of the archive: a restore leaves its record and its report in the store.
pub fn drctl(name: &str) -> Drctl {
    let drctl = Drctl::new("golden");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(directory(name).join("golden"))
        .arg(drctl.store_dir())
        .status();
    assert!(copied.unwrap().success());
    drctl
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_golden_archives_are_written_when_asked_for() {
    for (name, id, streams) in ARCHIVES {
        if directory(name).exists() {
            continue;
        }
        assert!(
            std::env::var_os("DRCTL_WRITE_GOLDEN").is_some(),
            "{name} is missing"
        );
        let server = Server::start(Flavour::MariaDb);
        server.exec(CONTENT);
        // What an installation makes for the machine that it is on belongs to no archive.
        server.exec(
            "DELETE FROM mysql.global_priv WHERE host NOT IN ('localhost', ''); FLUSH PRIVILEGES",
        );
        let dumps: Vec<Vec<u8>> = streams
            .iter()
            .map(|schemas| dump(&server, schemas))
            .collect();
        let texts: Vec<&[u8]> = dumps.iter().map(Vec::as_slice).collect();
        let usual = WriteOptions::new(Codec::Zstd);
        let options = match streams.len() {
            1 => usual,
            // Several frames of each stream, and more than one segment.
            _ => WriteOptions {
                frame_bytes: 1 << 10,
                segment_bytes: 3 << 10,
                ..usual
            },
        };
        let mut connection = connect(&into(&server)).await.unwrap();
        let version = ["@@version", "@@version_comment"];
        let version = version.map(|of| server.value(&format!("SELECT {of}")));
        let version = ServerVersion::parse(&version[0], &version[1]).unwrap();
        let accounts = accounts::sql(&mut connection, &version).await.unwrap();
        let url: StoreUrl = format!("file://{}", directory(name).display())
            .parse()
            .unwrap();
        let store = store::open(&StoreConfig::new(url), Keys::default())
            .await
            .unwrap();
        let place = BackupPlace {
            target: "golden".parse().unwrap(),
            id: id.parse().unwrap(),
        };
        let accounts = Some(&accounts[..]);
        write_streams(&server, &store, &place, &texts, 64, options, accounts).await;
    }
}

/// The index's records of one kind.
fn records(name: &str, id: &str, kind: &str) -> Vec<Value> {
    let index = directory(name)
        .join("golden")
        .join(id)
        .join("index.jsonl.zst");
    let text = zstd::decode_all(&std::fs::read(index).unwrap()[..]).unwrap();
    String::from_utf8(text)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()[kind].take())
        .filter(|record| !record.is_null())
        .collect()
}

#[test]
fn golden_archives_are_listed_and_shown_and_their_sums_are_right() {
    for (name, id, streams) in ARCHIVES {
        let drctl = drctl(name);
        let list = drctl.run(["list", "--output", "json"]).json();
        assert_eq!(list[0]["id"], id);
        assert_eq!(
            (&list[0]["tables"], &list[0]["rows"]),
            (&4.into(), &10.into())
        );
        let shown = drctl.run(["show", id, "--output", "json"]).ok().json();
        assert_eq!(shown["totals"]["objects"]["view"], 1);
        let sums = Command::new("sha256sum")
            .args(["--check", "--strict", "--quiet", "SHA256SUMS"])
            .current_dir(directory(name).join("golden").join(id))
            .status();
        assert!(sums.unwrap().success(), "{name}");
        let of = |stream: usize| {
            let frames = records(name, id, "frame").into_iter();
            frames.filter(|frame| frame["stream"] == stream).count()
        };
        for stream in 0..streams.len() {
            assert!(of(stream) >= 2, "{name}: stream {stream}");
        }
    }
}

#[test]
fn the_two_streams_take_turns_over_more_than_one_segment() {
    let (name, id, _) = ARCHIVES[1];
    // The trailer is a stream's own too; prologues, which have no section, are of none.
    let frames = records(name, id, "frame");
    let streams: Vec<&Value> = frames
        .iter()
        .filter(|frame| frame["sections"] != Value::Array(Vec::new()))
        .map(|frame| &frame["stream"])
        .collect();
    let turns = streams.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(turns >= 4, "{streams:?}");
    assert!(frames.iter().any(|frame| frame["segment"] == 1));
}

#[test]
fn the_two_streams_are_one_text_with_one_header_and_one_trailer() {
    let text = drctl("two-streams").run(["cat", "--latest"]).ok().stdout;
    let count = |what: &str| text.matches(what).count();
    assert_eq!(count("-- Dump completed"), 1);
    assert!(text.trim_end().ends_with("-- Dump completed"), "{text}");
    assert_eq!(count("@OLD_TIME_ZONE=@@TIME_ZONE"), 1);
    assert!(count("-- drctl: stream 1") >= 2, "{text}");
}

#[test]
fn golden_archives_restore_by_drctl_and_by_the_plain_client() {
    let definitions = |server: &Server| {
        let shown = [
            "SHOW CREATE TABLE golden_a.t",
            "SHOW CREATE TABLE golden_a.u",
            "SHOW CREATE VIEW golden_a.w",
            "SHOW CREATE TRIGGER golden_a.r",
            "SHOW CREATE DATABASE golden_b",
            "SHOW CREATE PROCEDURE golden_b.p",
            "SHOW CREATE EVENT golden_b.e",
            "SHOW GRANTS FOR golden@localhost",
            "CHECKSUM TABLE golden_a.t, golden_a.u, golden_b.`a b`, golden_b.c",
            "SELECT *, HEX(b) FROM golden_a.t ORDER BY id",
            "SELECT * FROM golden_a.w ORDER BY v",
        ];
        let rows = shown.iter().flat_map(|sql| server.query(sql));
        // When a trigger was made is not part of it.
        let words = rows.map(|row| {
            row.into_iter()
                .filter(|cell| !cell.starts_with("202"))
                .collect()
        });
        words.collect::<Vec<Vec<String>>>()
    };
    let original = Server::start(Flavour::MariaDb);
    original.exec(CONTENT);
    for (name, id, _) in ARCHIVES {
        let lanes = Server::start(Flavour::MariaDb);
        drctl(name)
            .into(&lanes)
            .run(["restore", "--latest", "--check-first", "--accounts"])
            .ok();
        assert_eq!(
            definitions(&lanes),
            definitions(&original),
            "{name} by drctl"
        );
        let plain = Server::start(Flavour::MariaDb);
        for objects in ["accounts.sql.zst", "dump.sql.zst*"] {
            pipe(&plain, &directory(name).join("golden").join(id), objects);
        }
        assert_eq!(
            definitions(&plain),
            definitions(&original),
            "{name} by the client"
        );
    }
}

/// What RESTORE.txt says: these objects, decompressed, into the plain client.
fn pipe(server: &Server, directory: &Path, objects: &str) {
    let mut zstd = Command::new("sh")
        .args(["-c", &format!("exec zstd -dc {objects}")])
        .current_dir(directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let client = server
        .client_command()
        .args(["--binary-mode", "--comments"])
        .stdin(zstd.stdout.take().unwrap())
        .output();
    let client = client.unwrap();
    assert!(
        client.status.success(),
        "{objects}: {}",
        String::from_utf8_lossy(&client.stderr)
    );
    assert!(zstd.wait().unwrap().success(), "{objects}");
}
