//! What is damaged in the primary store is named and not copied, and the rest is.

use std::process::Command;

use super::*;
use crate::damaged_copy::{Copy, ID};

/// A backup beside the one that is damaged.
const OTHER: &str = "20261121T020000Z-000001";

/// The objects that a backup needs.
const NAMES: [&str; 7] = [
    "dump.sql.zst",
    "dump.sql.zst.001",
    "index.jsonl.zst",
    "accounts.sql.zst",
    "RESTORE.txt",
    "SHA256SUMS",
    "manifest.json",
];

/// A store of two backups, one of which is to be damaged, and an empty second one.
fn two() -> Copy {
    let Copy(drctl) = Copy::new();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/one-stream/golden");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(golden.join(OTHER))
        .arg(drctl.store_dir().join("golden"))
        .status();
    assert!(copied.unwrap().success());
    Copy(copying(drctl))
}

/// The run names the object; the damaged backup is not listed there, and the other one is whole.
#[track_caller]
fn only_the_other(damaged: &Copy, named: &str) {
    let key = format!("golden/{ID}/{named}");
    let run = copy(&damaged.0).refused(6, &["primary store", &key, ";"]);
    let page = run.json();
    assert_eq!(page["failed"].as_array().unwrap().len(), 1, "{page}");
    assert_eq!(listed_there(&damaged.0), [OTHER]);
    let there = |store: PathBuf| store.join("golden").join(OTHER);
    same(&there(damaged.0.store_dir()), &there(second(&damaged.0)));
    assert_eq!(recorded(&damaged.0, "golden"), [6]);
}

#[test]
fn a_flipped_byte_anywhere_is_found_before_the_backup_is_listed() {
    for name in NAMES {
        for place in [0.0, 0.5, 0.999] {
            let damaged = two();
            damaged.edit(name, |bytes| {
                let at = (bytes.len() as f64 * place) as usize;
                bytes[at] ^= 1;
            });
            only_the_other(&damaged, named(name));
        }
    }
}

/// The object that a failure names if this one is wrong: of two documents that disagree, the one that does not fit.
fn named(name: &str) -> &str {
    match name {
        "RESTORE.txt" => "SHA256SUMS",
        name => name,
    }
}

#[test]
fn a_cut_or_longer_object_is_found() {
    for name in NAMES {
        let damaged = two();
        damaged.edit(name, |bytes| bytes.truncate(bytes.len() - 1));
        only_the_other(&damaged, named(name));
        let damaged = two();
        damaged.edit(name, |bytes| bytes.push(b'\n'));
        only_the_other(&damaged, named(name));
    }
}

#[test]
fn a_missing_object_is_found_and_a_backup_without_a_manifest_is_none() {
    for name in &NAMES[..6] {
        let damaged = two();
        fs::remove_file(damaged.path(name)).unwrap();
        only_the_other(&damaged, name);
    }
    let uncommitted = two();
    fs::remove_file(uncommitted.path("manifest.json")).unwrap();
    copy(&uncommitted.0).ok();
    assert_eq!(listed_there(&uncommitted.0), [OTHER]);
}

#[test]
fn an_object_of_another_backup_is_found() {
    // Both have the same accounts.
    for name in NAMES.into_iter().filter(|name| *name != "accounts.sql.zst") {
        let damaged = two();
        let other = damaged.0.store_dir().join("golden").join(OTHER);
        let other = fs::read(other.join(name.trim_end_matches(".001"))).unwrap();
        damaged.edit(name, |bytes| *bytes = other);
        only_the_other(&damaged, named(name));
    }
}

#[test]
fn a_manifest_that_claims_other_digests_is_sealed_again_and_still_does_not_fit() {
    let damaged = two();
    damaged.flip(0);
    damaged.edit_manifest(|manifest| {
        manifest["segments"][0]["sha256"] = "0".repeat(64).into();
    });
    only_the_other(&damaged, "dump.sql.zst");
}

#[test]
fn a_repaired_object_is_copied_by_the_next_run() {
    let damaged = two();
    let whole = fs::read(damaged.path("dump.sql.zst.001")).unwrap();
    damaged.edit("dump.sql.zst.001", |bytes| bytes[0] ^= 1);
    copy(&damaged.0).refused(6, &["dump.sql.zst.001"]);
    fs::write(damaged.path("dump.sql.zst.001"), whole).unwrap();
    let page = copy(&damaged.0).ok().json();
    assert_eq!(page["copied"], serde_json::json!([ID]));
    assert_eq!(listed_there(&damaged.0).len(), 2);
    same(&damaged.0.store_dir(), &second(&damaged.0));
}

#[test]
fn damage_behind_a_copy_does_not_reach_it() {
    let pair = two();
    copy(&pair.0).ok();
    let before = objects(&second(&pair.0));
    pair.edit("manifest.json", |bytes| bytes[10] ^= 1);
    pair.edit("dump.sql.zst", |bytes| bytes[10] ^= 1);
    copy(&pair.0).refused(6, &["primary store", "manifest.json"]);
    assert!(objects(&second(&pair.0)) == before);
    fs::remove_dir_all(pair.path("")).unwrap();
    copy(&pair.0).ok();
    assert!(
        objects(&second(&pair.0)) == before,
        "what the primary store deletes stays"
    );
    assert_eq!(listed_there(&pair.0).len(), 2);
}

#[test]
fn an_object_that_the_second_store_has_with_other_bytes_is_named_and_left() {
    for (name, body) in [
        ("dump.sql.zst", Some("short")),
        ("dump.sql.zst", None),
        ("SHA256SUMS", Some("short")),
        ("RESTORE.txt", None),
        ("index.jsonl.zst", None),
    ] {
        let pair = two();
        let there = second(&pair.0).join("golden").join(ID).join(name);
        fs::create_dir_all(there.parent().unwrap()).unwrap();
        fs::write(second(&pair.0).join(".drctl-store"), "").unwrap();
        let mut other = fs::read(pair.path(name)).unwrap();
        other[5] ^= 1;
        let other = body.map_or(other, |body| body.as_bytes().to_vec());
        fs::write(&there, &other).unwrap();
        let key = format!("golden/{ID}/{name}");
        copy(&pair.0).refused(6, &["second store", &key, "other bytes", "not overwritten"]);
        assert_eq!(fs::read(&there).unwrap(), other);
        assert_eq!(listed_there(&pair.0), [OTHER]);
    }
}

#[test]
fn another_manifest_in_the_second_store_is_named_and_left() {
    let pair = two();
    copy(&pair.0).ok();
    let there = second(&pair.0)
        .join("golden")
        .join(ID)
        .join("manifest.json");
    let before = fs::read(&there).unwrap();
    pair.edit_manifest(|manifest| manifest["labels"] = serde_json::json!({"a": "b"}));
    copy(&pair.0).refused(6, &["second store", "manifest.json", "other bytes"]);
    assert_eq!(fs::read(&there).unwrap(), before);
}

#[test]
fn an_object_that_the_second_store_lost_is_copied_again() {
    let pair = two();
    copy(&pair.0).ok();
    for name in &NAMES[..6] {
        fs::remove_file(second(&pair.0).join("golden").join(ID).join(name)).unwrap();
    }
    copy(&pair.0).ok();
    same(&pair.0.store_dir(), &second(&pair.0));
}

#[test]
fn backups_of_another_server_are_not_mixed() {
    let pair = two();
    let file = |server: &str| {
        format!(
            r#"{{"target":"golden","identity":"{server}","created_at":"2026-11-21T02:00:00Z"}}"#
        )
    };
    fs::create_dir(second(&pair.0).join("golden")).unwrap();
    fs::write(second(&pair.0).join("golden/target.json"), file("one")).unwrap();
    fs::write(pair.0.store_dir().join("golden/target.json"), file("two")).unwrap();
    copy(&pair.0).refused(
        6,
        &["golden/target.json", "another server", "another prefix"],
    );
    assert_eq!(listed_there(&pair.0), Vec::<String>::new());
    fs::write(pair.0.store_dir().join("golden/target.json"), "{").unwrap();
    copy(&pair.0).refused(
        6,
        &["primary store", "golden/target.json", "cannot be read"],
    );
    fs::write(pair.0.store_dir().join("golden/target.json"), file("one")).unwrap();
    copy(&pair.0).ok();
    assert_eq!(listed_there(&pair.0).len(), 2);
}
