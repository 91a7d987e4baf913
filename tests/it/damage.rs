//! Damaged and edited archives, by `drctl cat`, by `drctl restore --check-first`, by a plain `restore`, which
//! checks the whole archive while it loads it, and by the `restore` of a backup that was verified before, which
//! does not read it all: exit 6 and a line that tells what is wrong; nothing executed of what is damaged;
//! nothing half done that looks whole.
//!
//! docs/format.md says which check notices what. What is edited *consistently* with the digests above
//! it is said to be so.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::damaged_copy::{Copy, ID};
use crate::golden::directory;
use crate::need;
use crate::support::{Flavour, Server};

/// What a command makes of a damaged archive. Where it refuses or stops: exit 6, with these words.
#[derive(Clone, Copy)]
enum Sees {
    /// It refuses it, and has done nothing.
    Refuses(&'static str),
    /// It stops at the damage. A restore leaves its marker, and resumes where the archive is whole.
    Stops(&'static str),
    /// It does not look at what is damaged.
    Nothing,
}

use Sees::{Nothing, Refuses, Stops};

/// What `cat`, `restore --check-first`, `restore`, and the `restore` of a verified backup make of it.
type Outcome = [Sees; 4];

/// Noticed whenever an archive is opened.
const fn opened(words: &'static str) -> Outcome {
    [Refuses(words); 4]
}

/// Noticed when the frame is read, which holds definitions: before anything is executed.
const fn in_definitions(words: &'static str) -> Outcome {
    [Stops(words), Refuses(words), Refuses(words), Refuses(words)]
}

/// Noticed when the frame is read, which holds rows.
const fn in_rows(words: &'static str) -> Outcome {
    [Stops(words), Refuses(words), Stops(words), Stops(words)]
}

/// Noticed in its place by whoever reads all of the archive.
const fn in_between(words: &'static str) -> Outcome {
    [Stops(words), Refuses(words), Stops(words), Nothing]
}

/// Noticed before all else by whoever is about to read all of the archive.
const fn in_documents(words: &'static str) -> Outcome {
    [Refuses(words), Refuses(words), Refuses(words), Nothing]
}

/// Noticed by whoever checks all of the archive, or needs the accounts.
const fn in_accounts(words: &'static str) -> Outcome {
    [Nothing, Refuses(words), Refuses(words), Nothing]
}

/// Noticed when statements are looked at, all digests being right.
const fn smuggled_into_rows(words: &'static str) -> Outcome {
    [Nothing, Refuses(words), Stops(words), Stops(words)]
}

/// Noticed when statements are looked at, all digests being right.
const fn smuggled_into_definitions(words: &'static str) -> Outcome {
    [Nothing, Refuses(words), Refuses(words), Refuses(words)]
}

#[track_caller]
fn try_all(damage: fn(&Copy), [by_cat, checked, loading, verified]: Outcome) {
    let whole = Copy::new().0.run(["cat", ID]).ok().stdout;
    let copy = Copy::new();
    damage(&copy);
    let cat = copy.0.run(["cat", ID]);
    match by_cat {
        Refuses(words) | Stops(words) => {
            let given = cat.fails(6, words).stdout;
            assert!(whole.starts_with(&given) && given.len() < whole.len());
            assert!(given.is_empty() || matches!(by_cat, Stops(_)));
        }
        Nothing => drop(cat.ok()),
    }
    // A drill of the archive reads all of it, as `--check-first` does. What it finds it notes, so it has
    // a copy of its own.
    if let Refuses(words) | Stops(words) = checked {
        let drilled = Copy::new();
        damage(&drilled);
        let drill = drilled.0.run(["verify", ID, "--level", "archive"]);
        drill.fails(6, words);
    }
    need!(MariaDb);
    let server = Server::start(Flavour::MariaDb);
    server.exec("CREATE USER golden@localhost; GRANT ALL ON golden_a.* TO golden@localhost");
    let schemas = || server.query("SHOW DATABASES");
    let before = schemas();
    let mut copy = Copy(copy.0.into(&server));
    let restore = |copy: &Copy, more: &[&str], sees: Sees| {
        let run = copy.0.run([&["restore", ID][..], more].concat());
        match sees {
            Refuses(words) => {
                run.fails(6, words);
                assert_eq!(schemas(), before, "something was done");
            }
            Stops(words) => {
                run.fails(6, words);
                assert!(schemas().contains(&vec!["drctl_restore".to_owned()]));
            }
            Nothing => drop(run.ok()),
        }
    };
    restore(&copy, &["--check-first"], checked);
    restore(&copy, &[], loading);
    if matches!(loading, Stops(_)) {
        // Resuming, it has not become whole.
        restore(&copy, &[], loading);
        let discard = ["restore", "--discard", "--confirm", "golden"];
        copy.0.run(discard).ok();
        assert_eq!(schemas(), before);
    }
    copy.mark_verified();
    restore(&copy, &[], verified);
    if matches!(verified, Stops(_)) {
        copy = Copy(Copy::new().0.into(&server));
        restore(&copy, &[], Nothing);
        assert_eq!(server.value("SELECT COUNT(*) FROM golden_b.c"), "3");
        assert!(!schemas().contains(&vec!["drctl_restore".to_owned()]));
    }
}

/// One test each: what is done to the archive, and what becomes of it.
macro_rules! damages {
    ($($name:ident: $outcome:expr, $damage:expr;)*) => {
        $(#[test] fn $name() { try_all($damage, $outcome) })*
    };
}

damages! {
    a_flipped_bit_in_definitions: in_definitions("does not match its SHA-256"), |copy| {
        copy.flip(copy.first_of(&["pre-data"]));
    };
    a_flipped_bit_in_rows: in_rows("does not match its SHA-256"), |copy| {
        copy.flip(copy.first_of(&["data"]));
    };
    a_flipped_bit_in_a_prologue: in_between("does not match its SHA-256"), |copy| {
        copy.flip(copy.first_of(&[]));
    };
    a_segment_that_is_cut: in_definitions("a segment of the backup is truncated"), |copy| {
        copy.edit("dump.sql.zst", |bytes| bytes.truncate(600));
    };
    a_last_segment_that_is_cut: in_between("a segment of the backup is truncated"), |copy| {
        copy.edit("dump.sql.zst.001", |bytes| bytes.truncate(bytes.len() - 1));
    };
    a_segment_that_is_gone: in_definitions("a segment of the backup is missing"), |copy| {
        fs::remove_file(copy.path("dump.sql.zst.001")).unwrap();
    };
    segments_that_are_swapped: in_definitions("does not match its SHA-256"), |copy| {
        let (a, b) = (copy.path("dump.sql.zst"), copy.path("dump.sql.zst.001"));
        let (first, second) = (fs::read(&a).unwrap(), fs::read(&b).unwrap());
        let pad = vec![0; first.len() - second.len()];
        fs::write(a, [&second[..], &pad].concat()).unwrap();
        fs::write(b, first).unwrap();
    };
    frames_that_are_swapped: in_definitions("does not match its SHA-256"), |copy| {
        let (_, a) = copy.frame(0);
        let (segment, b) = copy.frame(copy.first_of(&["pre-data"]));
        copy.edit(&segment, |bytes| {
            *bytes = [&bytes[b.clone()], &bytes[a.end..b.start], &bytes[a], &bytes[b.end..]].concat();
        });
    };
    a_frame_that_is_doubled: in_definitions("does not match its SHA-256"), |copy| {
        let (segment, frame) = copy.frame(1);
        copy.edit(&segment, |bytes| {
            let again = bytes[frame.clone()].to_vec();
            bytes.splice(frame.end..frame.end, again);
        });
    };
    a_frame_of_another_backup: in_definitions("does not match its SHA-256"), |copy| {
        let other = directory("one-stream").join("golden/20261121T020000Z-000001/dump.sql.zst");
        let (segment, frame) = copy.frame(copy.first_of(&["pre-data"]));
        copy.edit(&segment, |bytes| {
            bytes[frame.clone()].copy_from_slice(&fs::read(other).unwrap()[frame]);
        });
    };
    a_flipped_bit_in_the_index: opened("the index does not match its SHA-256"), |copy| {
        copy.edit("index.jsonl.zst", |bytes| bytes[40] ^= 1);
    };
    an_index_that_is_cut: opened("the index of the backup is truncated"), |copy| {
        copy.edit("index.jsonl.zst", |bytes| bytes.truncate(100));
    };
    an_index_that_is_gone: opened("the index of the backup is missing"), |copy| {
        fs::remove_file(copy.path("index.jsonl.zst")).unwrap();
    };
    an_index_that_is_edited_under_a_right_digest: opened("does not agree with the manifest"), |copy| {
        copy.edit_frame(2, |frame| frame["raw"] = 1.into());
    };
    rows_that_the_index_denies: smuggled_into_rows("has 2 rows, but 1 in the index"), |copy| {
        copy.edit_frame(copy.first_of(&["data"]), |frame| frame["rows"] = 1.into());
    };
    an_edited_manifest: opened("manifest.json was edited"), |copy| {
        copy.edit_text("manifest.json", "\"rows\": 10", "\"rows\": 11");
    };
    a_manifest_that_is_cut: opened("manifest.json is damaged"), |copy| {
        copy.edit("manifest.json", |bytes| bytes.truncate(100));
    };
    a_manifest_of_another_backup: opened("moved or edited"), |copy| {
        let other = directory("one-stream").join("golden/20261121T020000Z-000001/manifest.json");
        fs::copy(other, copy.path("manifest.json")).unwrap();
    };
    an_unknown_format_number: opened("the archive is of format 3"), |copy| {
        copy.edit_manifest(|manifest| manifest["format"] = 3.into());
    };
    a_segment_digest_that_is_edited_under_a_right_seal:
        in_between("dump.sql.zst does not match its SHA-256 in the manifest"), |copy| {
        copy.edit_manifest(|manifest| manifest["segments"][0]["sha256"] = "0".repeat(64).into());
    };
    edited_sums: in_documents("SHA256SUMS was edited"), |copy| {
        copy.edit("SHA256SUMS", |bytes| bytes[0] ^= 1);
    };
    sums_that_are_gone: in_documents("SHA256SUMS of the backup is missing"), |copy| {
        fs::remove_file(copy.path("SHA256SUMS")).unwrap();
    };
    edited_instructions: in_documents("or RESTORE.txt was"), |copy| {
        copy.edit_text("RESTORE.txt", "--binary-mode", "--no-binary-mode");
    };
    edited_accounts: in_accounts("accounts.sql does not match its SHA-256"), |copy| {
        copy.edit("accounts.sql.zst", |bytes| bytes[40] ^= 1);
    };
    accounts_that_are_gone: in_accounts("accounts.sql of the backup is missing"), |copy| {
        fs::remove_file(copy.path("accounts.sql.zst")).unwrap();
    };
    grant_smuggled_into_definitions: smuggled_into_definitions("frame 1 contains an unsupported statement"), |copy| {
        copy.forge(1, |sql| sql + "GRANT ALL ON *.* TO golden@localhost;\n");
    };
    a_global_variable_smuggled_into_rows: smuggled_into_rows("contains an unsupported statement"), |copy| {
        copy.forge(copy.first_of(&["data"]), |sql| sql + "SET GLOBAL general_log = 1;\n");
    };
    a_plugin_smuggled_into_rows: smuggled_into_rows("contains an unsupported statement"), |copy| {
        copy.forge(copy.first_of(&["data"]), |sql| "INSTALL PLUGIN x SONAME 'x.so';\n".to_owned() + &sql);
    };
    a_file_smuggled_into_rows: smuggled_into_rows("contains an unsupported statement"), |copy| {
        copy.forge(copy.first_of(&["data"]), |sql| sql + "SELECT 1 INTO OUTFILE '/tmp/drctl-x';\n");
    };
    a_shared_library_smuggled_into_definitions: smuggled_into_definitions("contains an unsupported statement"), |copy| {
        let n = copy.first_of(&["post-data"]);
        copy.forge(n, |sql| sql + "CREATE FUNCTION x RETURNS STRING SONAME 'x.so';\n");
    };
    rows_of_the_servers_own_smuggled_into_rows: smuggled_into_rows("statement for schema \"mysql\", which is not part of the backup"), |copy| {
        copy.forge(copy.first_of(&["data"]), |sql| sql + "INSERT INTO `mysql`.`db` VALUES (1);\n");
    };
    an_account_smuggled_into_rows: smuggled_into_rows("contains an unsupported statement"), |copy| {
        copy.forge(copy.first_of(&["data"]), |sql| sql + "CREATE USER intruder;\n");
    };
}

/// Somebody who makes every digest right but the ledger's.
#[test]
fn rows_and_definitions_that_are_not_those_of_the_ledger_are_found_by_a_drill() {
    type Change = (&'static str, fn(String) -> String, &'static str);
    let changes: [Change; 2] = [
        (
            "data",
            |sql| sql.replacen("(1.5", "(2.5", 1),
            "1 with different rows",
        ),
        (
            "pre-data",
            |sql| sql.replacen("decimal(30,10)", "decimal(30,9)", 1),
            "with a different definition",
        ),
    ];
    for (section, change, words) in changes {
        let copy = Copy::new();
        copy.forge(copy.first_of(&[section]), |sql| {
            let changed = change(sql.clone());
            assert_ne!(changed, sql);
            changed
        });
        copy.0.run(["cat", ID]).ok();
        copy.0
            .run(["verify", ID, "--level", "archive"])
            .refused(6, &["differs from its ledger", words]);
    }
}

#[test]
fn no_byte_of_a_damaged_frame_or_behind_it_is_given() {
    let whole = Copy::new().0.run(["cat", ID]).ok().stdout;
    let records = Copy::new().records();
    let mut before = 0;
    for record in records {
        let n = record["n"].as_u64().unwrap();
        let copy = Copy::new();
        copy.flip(n);
        let words = format!("frame {n} does not match its SHA-256");
        let given = copy.0.run(["cat", ID]).fails(6, &words).stdout;
        assert_eq!(given, whole[..before]);
        before += record["raw"].as_u64().unwrap() as usize;
    }
    assert_eq!(before, whole.len());
}

#[test]
fn damaged_accounts_are_not_given() {
    let copy = Copy::new();
    copy.edit("accounts.sql.zst", |bytes| bytes[40] ^= 1);
    let run = copy.0.run(["cat", ID, "--accounts"]);
    assert_eq!(
        run.fails(6, "accounts.sql does not match its SHA-256")
            .stdout,
        ""
    );
}

#[test]
fn an_index_that_contradicts_itself_or_the_manifest_is_refused_although_its_digest_is_right() {
    type Edit = fn(&mut Value);
    let edits: [(u64, Edit, &str); 12] = [
        (2, |frame| frame["n"] = 7.into(), "not in order"),
        (2, |frame| frame["offset"] = 1.into(), "not in order"),
        (2, |frame| frame["session"] = 99.into(), "not in order"),
        (2, |frame| frame["tables"] = vec![99].into(), "not in order"),
        (2, |frame| frame["segment"] = 2.into(), "is in no segment"),
        (
            2,
            |frame| frame["stored"] = u64::MAX.into(),
            "more stored bytes than possible",
        ),
        (
            2,
            |frame| frame["raw"] = 1.into(),
            "agree with the manifest",
        ),
        (
            2,
            |frame| frame["longest"] = (1u64 << 20).into(),
            "agree with the manifest",
        ),
        (
            2,
            |frame| frame["longest"] = (1u64 << 40).into(),
            "longer than possible",
        ),
        (
            2,
            |frame| frame["sha256"] = Value::Null,
            "a record cannot be read",
        ),
        (
            2,
            |frame| frame["xxh3"] = "0".repeat(32).into(),
            "frame 2 does not match its XXH3-128",
        ),
        (
            2,
            |frame| frame["sha256"] = "0".repeat(64).into(),
            "frame 2 does not match its SHA-256",
        ),
    ];
    for (n, edit, words) in edits {
        let copy = Copy::new();
        copy.edit_frame(n, edit);
        copy.0.run(["cat", ID]).fails(6, words);
    }
    type TextEdit = fn(String) -> String;
    let lines: [(TextEdit, &str); 5] = [
        (
            |text| text.replacen("\"sections\"", "sections", 1),
            "a record cannot be read",
        ),
        (
            |text| text.trim_end().to_owned(),
            "its last record is truncated",
        ),
        (
            |text| [&*text, text.lines().last().unwrap_or_default(), "\n"].concat(),
            "is inconsistent",
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
        copy.0.run(["cat", ID]).fails(6, words);
    }
}

#[test]
fn every_field_of_the_manifest_is_sealed() {
    let manifest = fs::read(Copy::new().path("manifest.json")).unwrap();
    let text = String::from_utf8(manifest).unwrap();
    let mut fields = 0;
    for (at, line) in text.lines().enumerate() {
        // A later digit, letter or bracket in each line: of a value where it has one.
        let Some(byte) = line.rfind(|c: char| c.is_ascii_alphanumeric()) else {
            continue;
        };
        let mut edited = line.as_bytes().to_vec();
        edited[byte] = if edited[byte] == b'1' { b'2' } else { b'1' };
        let edited = String::from_utf8(edited).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let all = [&lines[..at], &[&edited], &lines[at + 1..]].concat();
        let copy = Copy::new();
        fs::write(copy.path("manifest.json"), all.join("\n") + "\n").unwrap();
        for command in [&["list"][..], &["show", ID], &["cat", ID]] {
            copy.0.run(command).fails(6, "manifest.json: ");
        }
        fields += 1;
    }
    assert!(fields > 50, "{fields}");
}

#[test]
fn an_edited_manifest_is_refused_although_its_seal_is_right() {
    type Edit = fn(&mut Value);
    let edits: [(Edit, &str); 17] = [
        (|m| m["format"] = 3.into(), "format 3"),
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
        (|m| m["encryption"] = "gpg".into(), "encrypted with gpg"),
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
            "is in no segment",
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
        assert_eq!(copy.0.run(["cat", ID]).fails(6, words).stdout, "");
    }
}

#[test]
fn a_damaged_manifest_hides_no_other_backup() {
    let copy = Copy::new();
    let other = directory("one-stream").join("golden");
    let target = copy.0.store_dir().join("golden");
    let copied = Command::new("cp")
        .args(["-r", "-T"])
        .args([&other, &target])
        .status();
    assert!(copied.unwrap().success());
    let ids = |json: &Value| {
        let rows = json.as_array().unwrap().iter();
        rows.map(|row| row["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let all = ids(&copy.0.run(["list", "--output", "json"]).ok().json());
    assert_eq!(all.len(), 2);
    copy.edit_text("manifest.json", "golden", "g0lden");
    let list = copy
        .0
        .run(["list", "--output", "json"])
        .fails(6, &format!("{ID}/manifest.json"));
    let [readable] = &ids(&list.json())[..] else {
        panic!("not the other one alone: {list:?}");
    };
    assert!(all.contains(readable) && readable != ID);
    copy.0.run(["show", readable]).ok();
    // The newest is damaged: nothing older is restored in its place.
    copy.0
        .run(["show", "--latest"])
        .fails(6, &format!("{ID}/manifest.json"));
}

#[test]
fn a_signature_that_nobody_checked_authenticates_nothing() {
    let copy = Copy::new();
    copy.edit_manifest(|manifest| manifest["signature"] = "ed25519:0000".into());
    let list = copy.0.run(["list", "--output", "json"]).ok().json();
    assert_eq!(list[0]["authenticated"], false);
}
