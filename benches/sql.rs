//! How fast a dump is taken apart, in bytes a second of one core: `cargo bench --bench sql`.
//!
//! Rows like sysbench's (two integers, a string of 119 bytes, one of 59), rows of integers only,
//! and binary rows in hexadecimal, in INSERTs of 1 MB; then one statement of 512 MB in chunks of
//! 64 KiB, which must not cost more a byte.

use std::hint::black_box;
use std::time::Instant;

use drctl::sql::ledger::RowSum;
use drctl::sql::rows::{of_insert, values};
use drctl::sql::scan::Scanner;
use drctl::sql::statement::Kind;

const CHUNK_BYTES: usize = 64 << 10;
const TOTAL_BYTES: usize = 256 << 20;

fn main() {
    let sysbench = |i: usize| {
        format!(
            "{i},{},'{}','{}'",
            i * 7,
            "68487932199-96439406143-".repeat(5),
            "67847967377-".repeat(5)
        )
    };
    let integers = |i: usize| format!("{i},{},{},NULL,{},0,1", i * 3, i * 5, i % 7);
    let binary = |i: usize| format!("{i},0x{}", "00FF27225C".repeat(100));
    let rows: [(&str, &dyn Fn(usize) -> String); 3] = [
        ("sysbench", &sysbench),
        ("integers", &integers),
        ("hex", &binary),
    ];
    for (name, row) in rows {
        let insert = insert(1 << 20, row);
        let statement = [&insert[..], b";\n"].concat();
        let dump = statement.repeat(TOTAL_BYTES / statement.len());
        measure(&format!("scan {name}"), dump.len(), || scan(&dump));
        let times = TOTAL_BYTES / insert.len();
        measure(&format!("rows {name}"), times * insert.len(), || {
            (0..times)
                .map(|_| of_insert(&insert).unwrap().count_rows().unwrap())
                .sum()
        });
        measure(&format!("values {name}"), times * insert.len(), || {
            let rows = (0..times).flat_map(|_| of_insert(&insert).unwrap());
            rows.map(|row| values(row.unwrap()).count() as u64).sum()
        });
        measure(&format!("digest {name}"), times * insert.len(), || {
            (0..times)
                .map(|_| RowSum::of_insert(&insert).unwrap().rows)
                .sum()
        });
    }
    let mut long = insert(512 << 20, &sysbench);
    long.extend(b";\n");
    measure("scan one statement of 512 MB", long.len(), || scan(&long));
}

/// An INSERT of about this many bytes.
fn insert(bytes: usize, row: &dyn Fn(usize) -> String) -> Vec<u8> {
    let mut sql = b"INSERT INTO `sbtest1` VALUES ".to_vec();
    let mut i = 1;
    while sql.len() < bytes {
        sql.extend(format!("({}),", row(i)).into_bytes());
        i += 1;
    }
    sql.pop();
    sql
}

fn scan(dump: &[u8]) -> u64 {
    let mut scanner = Scanner::new();
    let mut inserts = 0;
    for chunk in dump.chunks(CHUNK_BYTES) {
        scanner.push(chunk);
        while let Some(statement) = scanner.next().expect("a dump") {
            inserts += u64::from(matches!(statement.kind, Kind::Insert { .. }));
        }
    }
    assert!(inserts > 0);
    inserts
}

/// The best of three: what the code costs, not what the machine does besides.
fn measure(what: &str, bytes: usize, work: impl Fn() -> u64) {
    let best = (0..3)
        .map(|_| {
            let begun = Instant::now();
            black_box(work());
            begun.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    println!("{what:<32} {:5.2} GB/s", bytes as f64 / best / 1e9);
}
