//! Copies of the golden archive of two streams, to be damaged: by themselves, or with all digests
//! above the damage made right again.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::golden::drctl;
use crate::support::Drctl;

/// The backup's id.
pub const ID: &str = "20261121T020000Z-000002";

/// A copy of the archive in a store of its own.
pub struct Copy(pub Drctl);

impl Copy {
    pub fn new() -> Copy {
        Copy(drctl("two-streams"))
    }

    /// The file of one of its objects.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.store_dir().join("golden").join(ID).join(name)
    }

    /// Changes an object and nothing else.
    pub fn edit(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.path(name)).unwrap();
        let before = bytes.clone();
        change(&mut bytes);
        assert_ne!(bytes, before, "nothing was changed");
        fs::write(self.path(name), bytes).unwrap();
    }

    /// Changes a text in an object and nothing else.
    pub fn edit_text(&self, name: &str, from: &str, to: &str) {
        self.edit(name, |bytes| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            *bytes = text.replacen(from, to, 1).into_bytes();
        });
    }

    /// Edits the manifest, seals it anew, and makes SHA256SUMS agree with it.
    pub fn edit_manifest(&self, change: impl FnOnce(&mut Value)) {
        self.edit("manifest.json", |bytes| {
            let mut manifest: Value = serde_json::from_slice(bytes).unwrap();
            change(&mut manifest);
            manifest.as_object_mut().unwrap().remove("sha256");
            let pretty = serde_json::to_string_pretty(&manifest).unwrap();
            let body = pretty.strip_suffix("\n}").unwrap();
            let seal = sha256(body.as_bytes());
            *bytes = format!("{body},\n  \"sha256\": \"{seal}\"\n}}\n").into_bytes();
        });
        self.sum_up();
    }

    fn sum_up(&self) {
        let manifest: Value =
            serde_json::from_slice(&fs::read(self.path("manifest.json")).unwrap()).unwrap();
        let segments = manifest["segments"].as_array().cloned();
        let mut files = segments.unwrap_or_default();
        files.extend([manifest["accounts"].clone(), manifest["index"].clone()]);
        let mut sums: String = files
            .iter()
            .filter_map(|file| Some((file["sha256"].as_str()?, file["name"].as_str()?)))
            .map(|(sha256, name)| format!("{sha256}  {name}\n"))
            .collect();
        let readme = sha256(&fs::read(self.path("RESTORE.txt")).unwrap());
        sums += &format!("{readme}  RESTORE.txt\n");
        fs::write(self.path("SHA256SUMS"), sums).unwrap();
    }

    /// Edits the text of the index, and makes all that stands above it agree.
    pub fn edit_index(&self, change: impl FnOnce(String) -> String) {
        self.edit("index.jsonl.zst", |bytes| {
            let text = String::from_utf8(zstd::decode_all(&bytes[..]).unwrap()).unwrap();
            *bytes = zstd::encode_all(change(text).as_bytes(), 1).unwrap();
        });
        let index = fs::read(self.path("index.jsonl.zst")).unwrap();
        self.edit_manifest(|manifest| {
            manifest["index"]["bytes"] = index.len().into();
            manifest["index"]["sha256"] = sha256(&index).into();
        });
    }

    /// Edits the frames' records, and makes all that stands above them agree.
    fn edit_frames(&self, mut change: impl FnMut(&mut Value)) {
        self.edit_index(|text| {
            let edited = |line: &str| {
                let mut record: Value = serde_json::from_str(line).unwrap();
                if record["frame"].is_object() {
                    change(&mut record["frame"]);
                }
                format!("{record}\n")
            };
            text.lines().map(edited).collect()
        });
    }

    /// Edits the n-th frame's record, and makes all that stands above it agree.
    pub fn edit_frame(&self, n: u64, change: impl Fn(&mut Value)) {
        self.edit_frames(|frame| {
            if frame["n"] == n {
                change(frame);
            }
        });
    }

    /// Puts another SQL in the place of a frame's, and makes every digest, size and total right: what
    /// somebody could do who can write the store.
    pub fn forge(&self, n: u64, change: impl FnOnce(String) -> String) {
        let (segment, place) = self.frame(n);
        let mut bytes = fs::read(self.path(&segment)).unwrap();
        let raw = zstd::decode_all(&bytes[place.clone()]).unwrap();
        let sql = change(String::from_utf8(raw).unwrap());
        let stored = zstd::encode_all(sql.as_bytes(), 1).unwrap();
        let moved = stored.len() as i64 - place.len() as i64;
        bytes.splice(place, stored.iter().copied());
        fs::write(self.path(&segment), &bytes).unwrap();
        let number = self.record(n)["segment"].as_u64().unwrap();
        let (mut raw_bytes, mut stored_bytes) = (0, 0);
        self.edit_frames(|frame| {
            if frame["n"] == n {
                frame["stored"] = stored.len().into();
                frame["raw"] = sql.len().into();
                frame["sha256"] = sha256(&stored).into();
                let xxh3 = xxhash_rust::xxh3::xxh3_128(sql.as_bytes());
                frame["xxh3"] = format!("{xxh3:032x}").into();
            } else if frame["segment"] == number && frame["n"].as_u64() > Some(n) {
                frame["offset"] = (frame["offset"].as_i64().unwrap() + moved).into();
            }
            raw_bytes += frame["raw"].as_u64().unwrap();
            stored_bytes += frame["stored"].as_u64().unwrap();
        });
        self.edit_manifest(|manifest| {
            let facts = &mut manifest["segments"][number as usize];
            facts["bytes"] = bytes.len().into();
            facts["sha256"] = sha256(&bytes).into();
            manifest["totals"]["raw_bytes"] = raw_bytes.into();
            manifest["totals"]["stored_bytes"] = stored_bytes.into();
        });
    }

    /// The index's records of the frames.
    pub fn records(&self) -> Vec<Value> {
        let index = fs::read(self.path("index.jsonl.zst")).unwrap();
        let text = String::from_utf8(zstd::decode_all(&index[..]).unwrap()).unwrap();
        text.lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["frame"].take())
            .filter(Value::is_object)
            .collect()
    }

    fn record(&self, n: u64) -> Value {
        let found = self.records().into_iter().find(|frame| frame["n"] == n);
        found.unwrap()
    }

    /// The number of the first frame that has these sections and no other.
    pub fn first_of(&self, sections: &[&str]) -> u64 {
        let records = self.records();
        let found = records
            .iter()
            .find(|frame| frame["sections"] == Value::from(sections));
        found.unwrap()["n"].as_u64().unwrap()
    }

    /// The segment of the n-th frame, and where in it the frame lies.
    pub fn frame(&self, n: u64) -> (String, Range<usize>) {
        let record = self.record(n);
        let number = |name: &str| record[name].as_u64().unwrap() as usize;
        let segment = match number("segment") {
            0 => "dump.sql.zst".to_owned(),
            more => format!("dump.sql.zst.{more:03}"),
        };
        (
            segment,
            number("offset")..number("offset") + number("stored"),
        )
    }

    /// Flips a bit in the middle of the n-th frame.
    pub fn flip(&self, n: u64) {
        let (segment, place) = self.frame(n);
        self.edit(&segment, |bytes| {
            bytes[(place.start + place.end) / 2] ^= 1;
        });
    }

    /// Marks the backup as verified: a restore then reads only the frames that it executes.
    pub fn mark_verified(&self) {
        fs::create_dir_all(self.path("drills")).unwrap();
        let drill = self
            .path("drills")
            .join("20261121T030000Z-restore-pass.json");
        fs::write(drill, "{}").unwrap();
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
