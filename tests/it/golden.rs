//! The golden archives of format 1, kept for ever: what one drctl wrote, every later one restores.
//!
//! `DRCTL_WRITE_GOLDEN=1 cargo test --test it golden` writes those that are not there, of real dumps
//! of a real server; those that are there are never written again.

use std::path::{Path, PathBuf};
use std::process::Command;

use drctl::archive::BackupPlace;
use drctl::store::{self, StoreConfig, StoreUrl};

use crate::apply_archive::{dump, write};
use crate::support::{Drctl, Flavour, Server};

/// Directory, backup id, streams.
const ARCHIVES: [(&str, &str, usize); 2] = [
    ("one-stream", "20261121T020000Z-000001", 1),
    ("two-streams", "20261121T020000Z-000002", 2),
];

/// Two schemas whose dumps carry a bit of everything, each in a stream of its own where there are
/// two.
const CONTENT: &str = "
    CREATE DATABASE golden_a; CREATE DATABASE golden_b CHARACTER SET latin1;
    CREATE TABLE golden_a.t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(20), b BLOB, KEY (v));
    INSERT INTO golden_a.t (v, b) VALUES ('one; two', 0x00FF27), ('it''s', NULL), ('é', 'x');
    CREATE VIEW golden_a.w AS SELECT v FROM golden_a.t;
    CREATE TRIGGER golden_a.r BEFORE INSERT ON golden_a.t FOR EACH ROW SET NEW.v = UPPER(NEW.v);
    CREATE TABLE golden_b.`a b` (x DECIMAL(30, 10), d DATETIME(6));
    INSERT INTO golden_b.`a b` VALUES (1.5, '2026-11-21 02:00:00.123456'), (1.5, '2026-11-21 02:00:00.123456');
    CREATE PROCEDURE golden_b.p() SELECT 'a;b' /* c */;
    CREATE EVENT golden_b.e ON SCHEDULE EVERY 1 DAY
        STARTS '2026-11-21 00:00:00' DISABLE DO DELETE FROM golden_b.`a b`;";

pub fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// drctl with a copy of the archive: a restore leaves its record and its proof in the store.
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
        let dumps: Vec<Vec<u8>> = match streams {
            1 => vec![dump(&server, &["golden_a", "golden_b"])],
            _ => vec![dump(&server, &["golden_a"]), dump(&server, &["golden_b"])],
        };
        let url: StoreUrl = format!("file://{}", directory(name).display())
            .parse()
            .unwrap();
        let store = store::open(&StoreConfig::new(url)).await.unwrap();
        let place = BackupPlace {
            target: "golden".parse().unwrap(),
            id: id.parse().unwrap(),
        };
        let texts: Vec<&[u8]> = dumps.iter().map(Vec::as_slice).collect();
        write(&server, &store, &place, &texts, None).await;
    }
}

#[test]
fn golden_archives_are_listed_and_their_sums_are_right() {
    for (name, id, _) in ARCHIVES {
        let list = drctl(name).run(["list", "--output", "json"]).json();
        assert_eq!(list[0]["id"], id);
        assert_eq!(
            (&list[0]["tables"], &list[0]["rows"]),
            (&2.into(), &5.into())
        );
        let sums = Command::new("sha256sum")
            .args(["--check", "--strict", "--quiet", "SHA256SUMS"])
            .current_dir(directory(name).join("golden").join(id))
            .status();
        assert!(sums.unwrap().success(), "{name}");
    }
}

#[test]
fn the_two_streams_are_one_text_with_one_header_and_one_trailer() {
    let text = drctl("two-streams").run(["cat", "--latest"]).ok().stdout;
    let count = |what: &str| text.matches(what).count();
    assert_eq!(count("-- Dump completed"), 1);
    assert!(text.trim_end().ends_with("-- Dump completed"), "{text}");
    assert_eq!(count("@OLD_TIME_ZONE=@@TIME_ZONE"), 1);
    assert!(count("-- drctl: stream 1") >= 1, "{text}");
}

#[test]
fn golden_archives_restore_by_drctl_and_by_the_plain_client() {
    let definitions = |server: &Server| {
        let shown = [
            "SHOW CREATE TABLE golden_a.t",
            "SHOW CREATE VIEW golden_a.w",
            "SHOW CREATE TRIGGER golden_a.r",
            "SHOW CREATE DATABASE golden_b",
            "SHOW CREATE PROCEDURE golden_b.p",
            "SHOW CREATE EVENT golden_b.e",
            "CHECKSUM TABLE golden_a.t, golden_b.`a b`",
            "SELECT *, HEX(b) FROM golden_a.t ORDER BY id",
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
            .run(["restore", "--latest", "--check-first"])
            .ok();
        assert_eq!(
            definitions(&lanes),
            definitions(&original),
            "{name} by drctl"
        );
        let plain = Server::start(Flavour::MariaDb);
        let segment = directory(name).join("golden").join(id).join("dump.sql.zst");
        let sql = Command::new("zstd")
            .arg("-dc")
            .arg(segment)
            .output()
            .unwrap()
            .stdout;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), sql).unwrap();
        let client = plain
            .client_command()
            .args(["--binary-mode", "--comments"])
            .stdin(std::fs::File::open(file.path()).unwrap())
            .output();
        let client = client.unwrap();
        assert!(
            client.status.success(),
            "{}",
            String::from_utf8_lossy(&client.stderr)
        );
        assert_eq!(
            definitions(&plain),
            definitions(&original),
            "{name} by the client"
        );
    }
}
