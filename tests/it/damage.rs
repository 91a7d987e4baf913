//! Damaged and edited archives, each by `drctl cat` and `drctl restore`: exit 6, a line that tells
//! what is wrong, and nothing executed of what is damaged.
//!
//! Each begins from a copy of a golden archive; what is edited *consistently* with the digests above
//! it is said to be so.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::golden::{directory, drctl};
use crate::need;
use crate::support::{Drctl, Flavour, Server};

const ID: &str = "20261121T020000Z-000002";

/// A copy of the golden archive of two streams, to be damaged.
struct Copy(Drctl);

impl Copy {
    fn new() -> Copy {
        Copy(drctl("two-streams"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.store_dir().join("golden").join(ID).join(name)
    }

    fn edit(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.path(name)).unwrap();
        let before = bytes.clone();
        change(&mut bytes);
        assert_ne!(bytes, before, "nothing was changed");
        fs::write(self.path(name), bytes).unwrap();
    }

    fn edit_manifest(&self, change: impl FnOnce(&mut Value)) {
        self.edit("manifest.json", |bytes| {
            let mut manifest = serde_json::from_slice(bytes).unwrap();
            change(&mut manifest);
            *bytes = serde_json::to_vec(&manifest).unwrap();
        });
    }

    /// Edits the text of the index, and makes the manifest agree with its digest.
    fn edit_index(&self, change: impl FnOnce(String) -> String) {
        self.edit("index.jsonl.zst", |bytes| {
            let text = String::from_utf8(zstd::decode_all(&bytes[..]).unwrap()).unwrap();
            *bytes = zstd::encode_all(change(text).as_bytes(), 1).unwrap();
        });
        let index = fs::read(self.path("index.jsonl.zst")).unwrap();
        self.edit_manifest(|manifest| {
            manifest["index"]["bytes"] = index.len().into();
            manifest["index"]["sha256"] = hex::encode(Sha256::digest(&index)).into();
        });
    }

    /// Edits the n-th frame's record, and makes the manifest agree with the index's digest.
    fn edit_frame(&self, n: u64, change: impl FnOnce(&mut Value)) {
        let mut change = Some(change);
        self.edit_index(|text| {
            let edited = |line: &str| {
                let mut record: Value = serde_json::from_str(line).unwrap();
                if record["frame"]["n"] == n {
                    (change.take().unwrap())(&mut record["frame"]);
                }
                format!("{record}\n")
            };
            text.lines().map(edited).collect()
        });
    }

    /// Where the n-th frame lies in the segment.
    fn frame(&self, n: u64) -> std::ops::Range<usize> {
        let text = zstd::decode_all(&fs::read(self.path("index.jsonl.zst")).unwrap()[..]).unwrap();
        let records = String::from_utf8(text).unwrap();
        let record = records
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .find(|record| record["frame"]["n"] == n)
            .unwrap();
        let number = |name: &str| record["frame"][name].as_u64().unwrap() as usize;
        number("offset")..number("offset") + number("stored")
    }

    /// What `cat` says of it.
    #[track_caller]
    fn refused(&self, words: &str) -> String {
        let run = self.0.run(["cat", ID]).fails(6, words);
        run.stdout
    }
}

#[test]
fn a_flipped_bit_in_any_frame_is_refused_and_no_byte_of_that_frame_or_behind_it_is_given() {
    let whole = Copy::new().0.run(["cat", ID]).ok().stdout;
    for n in 0..5 {
        let copy = Copy::new();
        let frame = copy.frame(n);
        copy.edit("dump.sql.zst", |bytes| {
            bytes[(frame.start + frame.end) / 2] ^= 1;
        });
        let given = copy.refused(&format!("frame {n} does not match its SHA-256"));
        assert!(whole.starts_with(&given) && given.len() < whole.len());
        assert_eq!(n == 0, given.is_empty());
    }
}

#[test]
fn a_segment_that_is_cut_or_gone_is_refused() {
    let cut = Copy::new();
    cut.edit("dump.sql.zst", |bytes| bytes.truncate(bytes.len() - 1));
    cut.refused("is truncated");
    let gone = Copy::new();
    fs::remove_file(gone.path("dump.sql.zst")).unwrap();
    gone.refused("a segment of the backup is missing");
}

#[test]
fn frames_that_are_swapped_doubled_or_of_another_backup_are_refused() {
    let swapped = Copy::new();
    let (a, b) = (swapped.frame(0), swapped.frame(2));
    swapped.edit("dump.sql.zst", |bytes| {
        let between = &bytes[a.end..b.start];
        let parts = [
            &bytes[b.clone()],
            between,
            &bytes[a.clone()],
            &bytes[b.end..],
        ];
        *bytes = parts.concat();
    });
    swapped.refused("frame 0 does not match its SHA-256");

    let doubled = Copy::new();
    let frame = doubled.frame(1);
    doubled.edit("dump.sql.zst", |bytes| {
        let again = bytes[frame.clone()].to_vec();
        bytes.splice(frame.end..frame.end, again);
    });
    doubled.refused("frame 2 does not match its SHA-256");

    let exchanged = Copy::new();
    let frame = exchanged.frame(0);
    let foreign =
        fs::read(directory("one-stream").join("golden/20261121T020000Z-000001/dump.sql.zst"))
            .unwrap();
    exchanged.edit("dump.sql.zst", |bytes| {
        bytes[frame.clone()].copy_from_slice(&foreign[frame]);
    });
    exchanged.refused("frame 0 does not match its SHA-256");
}

#[test]
fn an_edited_index_is_refused() {
    let flipped = Copy::new();
    flipped.edit("index.jsonl.zst", |bytes| bytes[40] ^= 1);
    flipped.refused("the index of");
    let cut = Copy::new();
    cut.edit("index.jsonl.zst", |bytes| bytes.truncate(100));
    cut.refused("the index of the backup is truncated");
    let gone = Copy::new();
    fs::remove_file(gone.path("index.jsonl.zst")).unwrap();
    gone.refused("the index of the backup is missing");
}

#[test]
fn an_index_that_contradicts_itself_or_the_manifest_is_refused_although_its_digest_is_right() {
    type Edit = fn(&mut Value);
    let edits: [(Edit, &str); 9] = [
        (|frame| frame["n"] = 7.into(), "not in order"),
        (|frame| frame["offset"] = 1.into(), "not in order"),
        (|frame| frame["session"] = 99.into(), "not in order"),
        (|frame| frame["tables"] = vec![99].into(), "not in order"),
        (|frame| frame["segment"] = 1.into(), "lies in no segment"),
        (|frame| frame["stored"] = u64::MAX.into(), "no end"),
        (
            |frame| frame["raw"] = 1.into(),
            "does not agree with the manifest",
        ),
        (
            |frame| frame["longest"] = (1u64 << 40).into(),
            "does not agree with the manifest",
        ),
        (
            |frame| frame["sha256"] = Value::Null,
            "a record cannot be read",
        ),
    ];
    for (edit, words) in edits {
        let copy = Copy::new();
        copy.edit_frame(2, edit);
        copy.refused(words);
    }
    let digest = Copy::new();
    digest.edit_frame(2, |frame| frame["xxh3"] = "0".repeat(32).into());
    digest.refused("frame 2 does not match its XXH3-128");
    type TextEdit = fn(String) -> String;
    let lines: [(TextEdit, &str); 5] = [
        (
            |text| text.replacen("\"sections\"", "sections", 1),
            "a record cannot be read",
        ),
        (
            |text| text.trim_end().to_owned(),
            "its last record is cut off",
        ),
        (
            |text| [&*text, text.lines().last().unwrap_or_default(), "\n"].concat(),
            "contradicts itself",
        ),
        (
            |text| text.replace("\"rows\":2,\"digest\"", "\"rows\":1,\"digest\""),
            "does not agree",
        ),
        (
            |text| {
                text.lines()
                    .filter(|line| !line.contains("procedure"))
                    .flat_map(|line| [line, "\n"])
                    .collect()
            },
            "does not agree",
        ),
    ];
    for (edit, words) in lines {
        let copy = Copy::new();
        copy.edit_index(edit);
        copy.refused(words);
    }
}

#[test]
fn an_edited_manifest_is_refused() {
    type Edit = fn(&mut Value);
    let edits: [(Edit, &str); 17] = [
        (|m| m["format"] = 2.into(), "format 2"),
        (|m| m["format"] = Value::Null, "manifest.json is damaged"),
        (
            |m| m["id"] = "20261121T020000Z-00000f".into(),
            "moved or edited",
        ),
        (|m| m["target"] = "other".into(), "moved or edited"),
        (
            |m| m["codec"] = "gzip".into(),
            "dump.sql.zst where dump.sql.gz belongs",
        ),
        (|m| m["encryption"] = "age".into(), "encrypted by age"),
        (
            |m| m["snapshot_at"] = "yesterday".into(),
            "manifest.json is damaged",
        ),
        (
            |m| m["segments"][0]["name"] = "other.sql.zst".into(),
            "other.sql.zst",
        ),
        (
            |m| m["segments"][0]["bytes"] = 1.into(),
            "does not agree with the manifest",
        ),
        (
            |m| m["segments"] = Vec::<Value>::new().into(),
            "lies in no segment",
        ),
        (
            |m| m["index"]["sha256"] = "0".repeat(64).into(),
            "does not match its SHA-256",
        ),
        (
            |m| m["index"]["name"] = "manifest.json".into(),
            "index.jsonl.zst belongs",
        ),
        (
            |m| m["totals"]["rows"] = 4.into(),
            "does not agree with the manifest",
        ),
        (
            |m| m["totals"]["frames"] = 4.into(),
            "does not agree with the manifest",
        ),
        (
            |m| m["totals"]["stored_bytes"] = 1.into(),
            "does not agree with the manifest",
        ),
        (
            |m| m["totals"]["largest_statement_bytes"] = 1.into(),
            "does not agree with the manifest",
        ),
        (
            |m| m["totals"]["objects"]["trigger"] = 0.into(),
            "does not agree with the manifest",
        ),
    ];
    for (edit, words) in edits {
        let copy = Copy::new();
        copy.edit_manifest(edit);
        assert_eq!(copy.refused(words), "");
    }
    let cut = Copy::new();
    cut.edit("manifest.json", |bytes| bytes.truncate(100));
    cut.refused("manifest.json is damaged");
}

#[test]
fn a_signature_that_nobody_checked_authenticates_nothing() {
    let copy = Copy::new();
    copy.edit_manifest(|manifest| manifest["signature"] = "ed25519:0000".into());
    let list = copy.0.run(["list", "--output", "json"]).ok().json();
    assert_eq!(list[0]["authenticated"], false);
}

#[test]
fn a_restore_of_a_damaged_archive_leaves_the_server_as_it_was() {
    need!(MariaDb);
    let server = Server::start(Flavour::MariaDb);
    let schemas = || server.query("SHOW DATABASES");
    let before = schemas();
    for n in [0, 2, 4] {
        let copy = Copy::new();
        let frame = copy.frame(n);
        copy.edit("dump.sql.zst", |bytes| bytes[frame.end - 5] ^= 1);
        let drctl = copy.0.into(&server);
        drctl
            .run(["restore", ID, "--check-first"])
            .fails(6, &format!("frame {n} does not match its SHA-256"));
        assert_eq!(schemas(), before);
    }
    let edited = Copy::new();
    edited.edit_manifest(|manifest| manifest["totals"]["rows"] = 4.into());
    edited
        .0
        .into(&server)
        .run(["restore", ID])
        .fails(6, "does not agree with the manifest");
    assert_eq!(schemas(), before);
}
