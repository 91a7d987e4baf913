//! The bound on memory, for the process as it runs: 128 MiB, and three times the longest statement.
//!
//! How much a run took is its peak resident set, read while it runs; `--nocapture` shows the figures.

use std::thread;
use std::time::Duration;

use drctl::util::digest::Sha256Digest;

use crate::on_both;
use crate::support::drctl::Running;
use crate::support::history::hours_ago;
use crate::support::versitygw::Gateway;
use crate::support::{Drctl, Flavour, Server};

const MIB: u64 = 1 << 20;

/// Waits for the end of a run that succeeds; the most memory that was resident, bytes.
#[track_caller]
fn peak(mut running: Running) -> u64 {
    let status = format!("/proc/{}/status", running.pid());
    let mut peak = 0;
    while !running.has_ended() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or_default() * 1024);
        thread::sleep(Duration::from_millis(5));
    }
    running.wait().ok();
    assert!(peak > MIB, "nothing was measured");
    peak
}

/// Backs a schema up that `sql` fills, restores it into another server, and holds both to the bound. Its
/// longest statement has so many bytes at least.
#[track_caller]
fn holds(flavour: Flavour, codec: &str, sql: &str, least: u64) {
    // A value may take a tenth of MySQL's redo log.
    const ROOM: &[&str] = &[
        "--max-allowed-packet=256M",
        "--loose-innodb-redo-log-capacity=512M",
    ];
    let source = Server::start_with(flavour, ROOM);
    let target = Server::start_with(flavour, ROOM);
    source.exec(&format!("CREATE DATABASE big; USE big; {sql}"));
    let drctl = Drctl::new("big")
        .source(&source)
        .into(&target)
        .env("DRCTL_BACKUP_CODEC", codec);
    // How frames, their encoders and their upload fall together differs from run to run: each keeps the bound.
    let backup = (0..3).map(|_| peak(drctl.start(["backup"]))).max();
    let restore = peak(drctl.start(["restore", "--latest"]));
    let peaks = [("backup", backup.unwrap_or_default()), ("restore", restore)];
    // How many rows a client puts into one statement is its own affair.
    let show = drctl
        .run(["show", "--latest", "--output", "json"])
        .ok()
        .json();
    let longest = find(&show, "largest_statement_bytes").expect("in the manifest");
    assert!(longest >= least, "{longest}");
    let bound = 128 * MIB + 3 * longest;
    for (what, peak) in peaks {
        let took = format!(
            "{flavour:?}: {what}, {codec}: {} MiB of {}",
            peak / MIB,
            bound / MIB
        );
        println!("{took}");
        assert!(peak <= bound, "{took}");
    }
}

/// A number in a document, wherever it stands.
fn find(json: &serde_json::Value, name: &str) -> Option<u64> {
    let fields = json.as_object()?;
    let own = fields.get(name).and_then(serde_json::Value::as_u64);
    own.or_else(|| fields.values().find_map(|value| find(value, name)))
}

/// A table of the numbers from 1 on.
fn numbers(count: u64) -> String {
    format!(
        "JSON_TABLE(CONCAT('[', REPEAT('0,', {count} - 1), '0]'), '$[*]' COLUMNS (seq FOR ORDINALITY)) numbers"
    )
}

on_both!(
    fn a_run_takes_no_more_than_128_mib(flavour) {
        let sql = format!(
            "CREATE TABLE t (id INT PRIMARY KEY, a CHAR(60), KEY (a)) AS SELECT seq AS id, SHA2(seq, 224) AS a FROM {}",
            numbers(1_200_000)
        );
        holds(flavour, "zstd", &sql, 0);
    }
);

on_both!(
    fn a_long_statement_is_held_three_times_at_the_most(flavour) {
        let value = 24 * MIB;
        let sql = format!(
            "CREATE TABLE t (id INT PRIMARY KEY, b LONGBLOB); INSERT INTO t SELECT seq, REPEAT(x'00ff27', {value} DIV 3) FROM {}",
            numbers(4)
        );
        // A byte is two digits.
        holds(flavour, "none", &sql, 2 * value);
    }
);

#[test]
fn a_copy_takes_no_more_than_128_mib_whatever_the_size_of_an_object() {
    crate::need!(Gateway);
    const BYTES: usize = 400 << 20;
    let mut drctl = Drctl::new("shop");
    let zeros = vec![0_u8; BYTES];
    let sha256 = Sha256Digest::of(&zeros);
    drop(zeros);
    let id = drctl.had("shop", hours_ago(2), |manifest| {
        manifest.segments[0].bytes = BYTES as u64;
        manifest.segments[0].sha256 = sha256;
    });
    let backup = drctl.store_dir().join(format!("shop/{id}"));
    let segment = std::fs::File::create(backup.join("dump.sql.zst")).unwrap();
    segment.set_len(BYTES as u64).unwrap();
    let sums = std::fs::read_to_string(backup.join("SHA256SUMS")).unwrap();
    let (_, rest) = sums.split_once('\n').unwrap();
    let sums = format!("{sha256}  dump.sql.zst\n{rest}");
    std::fs::write(backup.join("SHA256SUMS"), sums).unwrap();
    let bucket = Gateway::shared().bucket();
    for (name, value) in Gateway::shared().environment() {
        drctl = drctl.env(name, &value);
    }
    let drctl = drctl.env("DRCTL_COPY_TO", &format!("s3://{bucket}/p"));
    let copy = peak(drctl.start(["copy", "--once"]));
    println!("copy: {} MiB", copy / MIB);
    assert!(copy <= 128 * MIB, "{} MiB", copy / MIB);
    drctl.run(["--store", "copy", "list"]).ok();
}
