//! Encrypted and signed backups and logs: copied without an identity, judged by their signatures, and restored from the
//! copy with the keys.

use rustix::process::Signal;

use super::*;
use crate::fidelity::backup_in;
use crate::keys::{Keys, begin, forge};
use crate::replay::command::last_gtid;
use crate::stream::{WRITER, logging, streamer};
use crate::support::backup::{listed, server_of};
use crate::support::wait::until;
use crate::support::{Flavour, Server};
use crate::{need, on_both};

on_both!(
    fn an_encrypted_backup_and_log_are_copied_without_an_identity_and_come_back_from_the_copy(flavour) {
        let (source, into) = (logging(flavour, &[]), logging(flavour, &[]));
        source.exec(WRITER);
        let drctl = copying(streamer(&source));
        let keys = Keys::new(&drctl);
        let writes = keys.for_backups(drctl.clone());
        let copies = keys.for_copies(drctl.clone());
        writes.run(["backup"]).ok();
        source.exec("CALL d.write(30)");
        writes.run(["stream", "--once"]).ok();
        copy(&copies).ok();
        source.exec("CALL d.write(5); FLUSH BINARY LOGS; CALL d.write(5)");
        let (last, held) = (last_gtid(&source), source.value("SELECT COUNT(*) FROM d.t"));
        source.exec("DROP TABLE d.t");
        writes.run(["stream", "--once"]).ok();
        let page = copy(&copies).ok().json();
        assert!(page["segments"].as_u64() > Some(0) && page["copied"] == serde_json::json!([]), "{page}");
        same(&drctl.store_dir(), &second(&drctl));
        fs::remove_dir_all(drctl.store_dir()).unwrap();

        // Who made the copy cannot read it, and who has the keys can.
        let restore = ["--store", "copy", "restore", "--to-gtid", last.as_str()];
        copies.clone().into(&into).run(restore).refused(2, &["no identity is configured"]);
        let reads = keys.for_restores(drctl);
        reads.run(["--store", "copy", "log", "--check"]).ok();
        reads.run(["--store", "copy", "verify", "--latest"]).ok();
        let list = reads.run(["--store", "copy", "list", "--output", "json"]).ok().json();
        assert_eq!(list[0]["signed"], "by ops");
        let plain = Server::start(flavour);
        reads.clone().into(&plain).run(["--store", "copy", "restore", "--latest"]).ok();
        assert!(plain.query("SHOW TABLES FROM d").len() == 1);
        reads.into(&into).run(restore).ok();
        assert_eq!(into.value("SELECT COUNT(*) FROM d.t"), held);
    }
);

/// drctl with a second store and two encrypted and signed backups, of which the newer is returned: where it is, and the id
/// of the older.
fn two() -> (Drctl, Keys, PathBuf, String) {
    let (schema, drctl, keys) = begin(Flavour::MariaDb);
    // Computed in another time zone: the instructions name it, and are encrypted.
    server_of(Flavour::MariaDb).exec(&format!(
        "CREATE TABLE {schema}.hidden_name (at TIMESTAMP, day DATE AS (DATE(at)) STORED);
         SET time_zone = '+05:00'; INSERT INTO {schema}.hidden_name (at) VALUES ('2026-01-01 00:00:00')"
    ));
    let drctl = copying(drctl);
    let writes = keys.for_backups(drctl.clone());
    writes.run(["backup"]).ok();
    let older = backup_in(&drctl.store_dir());
    std::thread::sleep(std::time::Duration::from_millis(1100));
    writes.run(["backup"]).ok();
    let ids = listed(&drctl);
    let id = |n: usize| ids[n]["id"].as_str().unwrap().to_owned();
    let newer = older.parent().unwrap().join(id(0));
    (drctl, keys, newer, id(1))
}

/// The second store, empty again.
fn emptied(drctl: &Drctl) {
    let _ = fs::remove_dir_all(second(drctl));
    fs::create_dir(second(drctl)).unwrap();
}

/// The copy names the object, and lists the older backup alone.
#[track_caller]
fn only_the_older(drctl: &Drctl, older: &str, words: &[&str]) {
    emptied(drctl);
    let run = copy(drctl).refused(6, &["primary store"]);
    for word in words {
        assert!(run.stderr.contains(word), "{word}: {run:#?}");
    }
    assert_eq!(listed_there(drctl), [older]);
}

#[test]
fn an_encrypted_backup_with_a_changed_or_missing_object_is_not_listed() {
    need!(MariaDb);
    let (drctl, keys, newer, older) = two();
    let copies = keys.for_copies(drctl.clone());
    let names = fs::read_dir(&newer).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: Vec<String> = names.filter(|name| name != "running.json").collect();
    let are_encrypted = names.iter().filter(|name| name.ends_with(".age")).count();
    assert_eq!((are_encrypted, names.len()), (4, 8), "{names:?}");
    for name in &names {
        let path = newer.join(name);
        let whole = fs::read(&path).unwrap();
        // What is signed is named, not the signature.
        let named = name.trim_end_matches(".sig");
        for place in [0.0, 0.5, 0.999] {
            let mut flipped = whole.clone();
            flipped[(whole.len() as f64 * place) as usize] ^= 1;
            fs::write(&path, flipped).unwrap();
            only_the_older(&copies, &older, &[named]);
            if name != "manifest.json.sig" {
                only_the_older(&drctl, &older, &[named]);
            }
        }
        if name != "manifest.json" {
            fs::remove_file(&path).unwrap();
            only_the_older(&copies, &older, &[name, "is missing"]);
            only_the_older(&drctl, &older, &[name, "is missing"]);
        }
        fs::write(&path, whole).unwrap();
    }
    // A manifest that names what no backup has.
    let whole = fs::read(newer.join("manifest.json")).unwrap();
    forge(&newer, "\"name\": \"RESTORE.txt\"", "\"name\": \"../pin\"");
    only_the_older(&drctl, &older, &["manifest.json names other documents"]);
    fs::write(newer.join("manifest.json"), whole).unwrap();

    emptied(&drctl);
    copy(&drctl).ok();
    same(&drctl.store_dir(), &second(&drctl));
    // What the second store lost is copied again.
    for name in ["manifest.json.sig", "dump.sql.zst.age", "RESTORE.txt"] {
        let there = newer.strip_prefix(drctl.store_dir()).unwrap();
        fs::remove_file(second(&drctl).join(there).join(name)).unwrap();
        copy(&copies).ok();
        same(&drctl.store_dir(), &second(&drctl));
    }
}

#[test]
fn a_backup_without_a_signature_that_counts_is_copied_only_if_none_is_required() {
    need!(MariaDb);
    let (drctl, keys, newer, older) = two();
    let copies = keys.for_copies(drctl.clone());
    let warned = copies.clone().env("DRCTL_TRUST", "warn");
    let off = copies.clone().env("DRCTL_TRUST", "off");
    let judged = |words: &[&str]| {
        only_the_older(&copies, &older, words);
        for (drctl, says) in [(&warned, true), (&off, false)] {
            emptied(drctl);
            let run = copy(drctl).ok();
            for word in words {
                assert_eq!(run.stderr.contains(word), says, "{word}: {run:#?}");
            }
            same(&drctl.store_dir(), &second(drctl));
        }
        // What was copied without being judged is judged by who restores it.
        let reads = keys.for_restores(drctl.clone());
        let newer = newer.file_name().unwrap().to_str().unwrap();
        reads
            .run(["--store", "copy", "verify", newer])
            .fails(6, words[1]);
    };
    let (manifest, signature) = (newer.join("manifest.json"), newer.join("manifest.json.sig"));
    let whole = (fs::read(&manifest).unwrap(), fs::read(&signature).unwrap());
    // The signature of another backup.
    fs::copy(
        newer.with_file_name(&older).join("manifest.json.sig"),
        &signature,
    )
    .unwrap();
    judged(&["manifest.json", "does not match its signature"]);
    fs::write(&signature, &whole.1).unwrap();
    // Another manifest, consistent in itself.
    let name = format!("\"target\": \"{}\"", drctl.variables()["DRCTL_TARGET"]);
    forge(
        &newer,
        &name,
        &format!("{name},\n  \"labels\": {{\"forged\": \"yes\"}}"),
    );
    judged(&["manifest.json", "does not match its signature"]);
    // Who forges it says that it is not signed.
    forge(
        &newer,
        "\"signature\": \"sshsig\"",
        "\"signature\": \"none\"",
    );
    fs::remove_file(&signature).unwrap();
    judged(&["manifest.json", "is not signed"]);

    // A forgery in place of a backup that was copied before does not reach the copy.
    fs::write(&manifest, &whole.0).unwrap();
    fs::write(&signature, &whole.1).unwrap();
    emptied(&drctl);
    copy(&copies).ok();
    let before = objects(&second(&drctl));
    forge(
        &newer,
        &name,
        &format!("{name},\n  \"labels\": {{\"forged\": \"yes\"}}"),
    );
    copy(&copies).refused(6, &["does not match its signature", "it was not copied"]);
    copy(&off).refused(6, &["second store", "other bytes"]);
    assert!(objects(&second(&drctl)) == before);
}

/// A server whose log is archived encrypted and signed, in at least three files.
fn archived() -> (Server, Drctl, Keys) {
    let server = logging(Flavour::MySql, &[]);
    server.exec(WRITER);
    let drctl = copying(streamer(&server));
    let keys = Keys::new(&drctl);
    let writes = keys.for_backups(drctl.clone());
    for round in 0..6 {
        server.exec("CALL d.write(5)");
        if round % 2 == 1 {
            server.exec("FLUSH BINARY LOGS; CALL d.write(1)");
        }
        writes.run(["stream", "--once"]).ok();
    }
    (server, drctl, keys)
}

/// The objects of the log whose names end in this, in order.
fn of(drctl: &Drctl, end: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    walk(&drctl.store_dir().join("shop/log"), &mut files);
    files.retain(|file| file.ends_with(end));
    files.sort();
    files.into_iter().map(PathBuf::from).collect()
}

/// Writes an object of the log, or removes it. The copy names `named`, and has neither it nor anything behind it.
#[track_caller]
fn ends_in_front(
    drctl: &Drctl,
    keys: &Keys,
    path: &Path,
    damage: Option<&[u8]>,
    named: &Path,
    why: &str,
) {
    let whole = fs::read(path).unwrap();
    match damage {
        Some(damage) => fs::write(path, damage).unwrap(),
        None => fs::remove_file(path).unwrap(),
    }
    emptied(drctl);
    let key = |path: &Path| path.strip_prefix(drctl.store_dir()).unwrap().to_owned();
    let run = copy(drctl).refused(6, &["primary store", key(named).to_str().unwrap(), why]);
    assert!(!second(drctl).join(key(named)).exists(), "{run:#?}");
    let reads = keys.for_restores(drctl.clone());
    reads.run(["--store", "copy", "log", "--check"]).ok();
    fs::write(path, whole).unwrap();
}

#[test]
fn an_encrypted_log_is_copied_up_to_what_is_damaged_or_not_signed_by_who_counts() {
    need!(MySql);
    let (_server, drctl, keys) = archived();
    let copies = keys.for_copies(drctl.clone());
    let (all, closed) = (of(&drctl, ".zst.age"), of(&drctl, "closed.json"));
    let timeline = of(&drctl, "timeline.json").remove(0);
    assert!(all.len() >= 6 && closed.len() >= 2, "{all:?}");
    let read = |path: &PathBuf| fs::read(path).unwrap();
    let signature = |path: &PathBuf| path.with_extension("json.sig");

    // Segments, by the chain in their headers.
    let (last, next) = (all.len() - 1, read(&all[2]));
    ends_in_front(
        &copies,
        &keys,
        &all[1],
        Some(&next),
        &all[1],
        "holds another segment",
    );
    for at in [0, 1, 3] {
        let whole = read(&all[at]);
        for place in [0.0, 0.6, 0.999] {
            let mut flipped = whole.clone();
            flipped[(whole.len() as f64 * place) as usize] ^= 1;
            ends_in_front(&copies, &keys, &all[at], Some(&flipped), &all[at], ";");
        }
        ends_in_front(
            &copies,
            &keys,
            &all[at],
            Some(&whole[..whole.len() - 1]),
            &all[at],
            ";",
        );
        ends_in_front(&copies, &keys, &all[at], Some(&whole[..100]), &all[at], ";");
    }
    let mut header = read(&all[last]);
    header[3] ^= 1;
    ends_in_front(
        &copies,
        &keys,
        &all[last],
        Some(&header),
        &all[last],
        "header",
    );

    // Records, by their signatures.
    let other = read(&signature(&closed[1]));
    let changed = "does not match its signature";
    ends_in_front(
        &copies,
        &keys,
        &signature(&closed[0]),
        Some(&other),
        &closed[0],
        changed,
    );
    ends_in_front(
        &copies,
        &keys,
        &signature(&closed[0]),
        None,
        &closed[0],
        "is not signed",
    );
    ends_in_front(
        &copies,
        &keys,
        &signature(&timeline),
        Some(&other),
        &timeline,
        changed,
    );
    ends_in_front(
        &copies,
        &keys,
        &signature(&timeline),
        None,
        &timeline,
        "is not signed",
    );
    let text = String::from_utf8(read(&closed[0])).unwrap();
    let forged = text.replacen("\"bytes\":", "\"bytes\": ", 1);
    ends_in_front(
        &copies,
        &keys,
        &closed[0],
        Some(forged.as_bytes()),
        &closed[0],
        changed,
    );

    // Where none is required, they are copied as they are.
    fs::write(signature(&closed[0]), &other).unwrap();
    for (trust, says) in [("warn", true), ("off", false)] {
        emptied(&drctl);
        let run = copy(&copies.clone().env("DRCTL_TRUST", trust)).ok();
        assert_eq!(run.stderr.contains(changed), says, "{run:#?}");
        same(&drctl.store_dir(), &second(&drctl));
    }
}

#[test]
fn a_continuous_copy_follows_a_log_that_is_encrypted_and_signed_later() {
    need!(MySql);
    let server = logging(Flavour::MySql, &[]);
    server.exec(WRITER);
    let drctl = copying(streamer(&server)).env("DRCTL_COPY_INTERVAL_SECONDS", "1");
    let keys = Keys::new(&drctl);
    let is_copied = || {
        let of_log = |dir: &Path| {
            let mut all = objects(dir);
            all.retain(|(name, _)| name.contains("/log/"));
            all
        };
        of_log(&drctl.store_dir()) == of_log(&second(&drctl))
    };
    drctl.run(["stream", "--once"]).ok();
    let copying = drctl.start(["copy"]);
    until("what is not encrypted is copied", is_copied);
    let writes = keys.for_backups(drctl.clone());
    for _ in 0..3 {
        server.exec("CALL d.write(10); FLUSH BINARY LOGS; CALL d.write(10)");
        writes.run(["stream", "--once"]).ok();
        until("what is encrypted is copied", is_copied);
    }
    assert_eq!(of(&drctl, "timeline.json.sig").len(), 1);
    assert!(of(&drctl, "closed.json.sig").len() >= 2);
    copying.signal(Signal::TERM);
    copying.wait().refused(143, &["SIGTERM"]);
    let page = copy(&drctl).ok().json();
    assert_eq!(page["segments"], 0, "{page}");
    // The first timeline was begun unsigned.
    let reads = keys.for_restores(drctl.clone()).env("DRCTL_TRUST", "warn");
    reads.run(["--store", "copy", "log", "--check"]).ok();
}
