//! The formulas of docs/performance.md ("Scale"): each is measured by the real writer at three sizes, has to be linear, and
//! to have the coefficients that the document names.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::archive::codec::Codec;
use crate::archive::fixture::{manifest_of, place, small, write};
use crate::archive::index::{InventoryRecord, Record};
use crate::archive::manifest::{MAX_BYTES, Manifest};
use crate::archive::write::WriteOptions;
use crate::sql::statement::ObjectId;
use crate::store::fault::{FaultStore, Op};
use crate::store::{Store, config::DEFAULT_PART_BYTES};

/// Stored bytes of the index for each table: its number, its names, its digests in the ledger, its entry in the inventory.
const INDEX_BYTES_A_TABLE: f64 = 66.0;

/// Stored bytes of the index for each frame: two digests, and where it is.
const INDEX_BYTES_A_FRAME: f64 = 65.0;

/// How far a measured coefficient may be from the one in the document.
const DRIFT: f64 = 0.15;

/// A backup of a dump, without its data.
struct Size {
    index: f64,
    frames: f64,
    manifest: Manifest,
    parts: usize,
    stored: u64,
}

async fn of(dump: &str, inventory: Vec<Record>, options: WriteOptions) -> Size {
    let (store, place) = place();
    let counted = FaultStore::new(Arc::new(store));
    let store: Arc<dyn Store> = Arc::new(counted.clone());
    let written = write(&store, &place, &[dump], options, inventory).await;
    let written = written.unwrap();
    Size {
        index: written.index.facts.bytes as f64,
        frames: written.frames as f64,
        parts: counted.count(Op::Part, ""),
        stored: written.stored_bytes,
        manifest: manifest_of(&store, &place, written, 1).await.unwrap(),
    }
}

/// A dump of this number of tables, with definitions of which no two are the same, and one row each.
fn tables(count: usize) -> String {
    let mut dump = "CREATE DATABASE `shop`;\nUSE `shop`;\n".to_owned();
    for n in 0..count {
        write!(
            dump,
            "CREATE TABLE `customer_{n}` (`id` int NOT NULL, `name` varchar({}) DEFAULT NULL, PRIMARY KEY (`id`));\n\
             INSERT INTO `customer_{n}` VALUES ({n},'a');\n",
            n % 200 + 1
        )
        .unwrap();
    }
    dump + "-- Dump completed\n"
}

/// What the server says of them.
fn inventory(count: usize) -> Vec<Record> {
    let one = |n: usize| {
        Record::Inventory(InventoryRecord {
            object: ObjectId::table("shop", format!("customer_{n}")),
            engine: Some("InnoDB".into()),
            bytes: 16_384 * (n as u64 % 90 + 1),
            needs: None,
            spatial: Vec::new(),
        })
    };
    (0..count).map(one).collect()
}

/// A dump of one table with this number of KiB of rows.
fn rows(kib: usize) -> String {
    let mut dump = "CREATE DATABASE `shop`;\nUSE `shop`;\nCREATE TABLE `t` (`a` int);\n".to_owned();
    for n in 0..kib {
        writeln!(dump, "INSERT INTO `t` VALUES ({n},'{}');", "x".repeat(990)).unwrap();
    }
    dump + "-- Dump completed\n"
}

/// The bytes of the index for each unit, between the sizes; they must agree.
fn coefficient(sizes: &[(f64, f64); 3], documented: f64) {
    let slope = |from: usize| {
        let ((n, bytes), (next_n, next_bytes)) = (sizes[from], sizes[from + 1]);
        (next_bytes - bytes) / (next_n - n)
    };
    println!("{:.1} and {:.1} bytes", slope(0), slope(1));
    for slope in [slope(0), slope(1)] {
        let drift = (slope / documented - 1.0).abs();
        assert!(
            drift < DRIFT,
            "{slope} bytes, and {documented} in docs/performance.md"
        );
    }
}

fn is_small(sizes: &[Size]) {
    let bytes = |size: &Size| size.manifest.to_bytes().unwrap().len();
    let manifests: Vec<usize> = sizes.iter().map(bytes).collect();
    println!("manifests of {manifests:?} bytes");
    assert!(manifests.iter().all(|bytes| *bytes < MAX_BYTES / 2));
    assert!(manifests[2] - manifests[0] < 64, "{manifests:?}");
}

#[tokio::test]
async fn the_index_grows_with_the_tables_and_the_manifest_does_not() {
    let (mut sizes, mut measured) = (Vec::new(), [(0.0, 0.0); 3]);
    for (n, count) in [500, 2_000, 8_000].into_iter().enumerate() {
        let size = of(
            &tables(count),
            inventory(count),
            WriteOptions::new(Codec::Zstd),
        )
        .await;
        measured[n] = (count as f64, size.index);
        sizes.push(size);
    }
    coefficient(&measured, INDEX_BYTES_A_TABLE);
    is_small(&sizes);
}

#[tokio::test]
async fn the_index_grows_with_the_frames_and_the_manifest_does_not() {
    let (mut sizes, mut measured) = (Vec::new(), [(0.0, 0.0); 3]);
    for (n, kib) in [1_024, 4_096, 16_384].into_iter().enumerate() {
        let size = of(&rows(kib), Vec::new(), small(8 << 10, u64::MAX)).await;
        measured[n] = (size.frames, size.index);
        sizes.push(size);
    }
    coefficient(&measured, INDEX_BYTES_A_FRAME);
    is_small(&sizes);
}

#[tokio::test]
async fn an_upload_has_a_request_for_each_part_and_one_for_the_index() {
    for kib in [10_000, 20_000, 40_000] {
        let size = of(&rows(kib), Vec::new(), WriteOptions::new(Codec::None)).await;
        let parts = (size.stored as usize).div_ceil(DEFAULT_PART_BYTES);
        assert!(parts > 1);
        assert_eq!(size.parts, parts + 1, "{} bytes", size.stored);
    }
}
