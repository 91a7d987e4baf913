//! The archived log in the second store: a log at every moment, and restores to a moment from it.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::*;
use crate::on_both;
use crate::replay::command::{backed_up, last_gtid};
use crate::stream::retention::{self, pruning};
use crate::stream::store::to_s3;
use crate::stream::{WRITER, logging, segments, streamer};
use crate::support::compare::{differences, picture};
use crate::support::fault_proxy::{Fault, When};
use crate::support::versitygw::Gateway;
use crate::support::wait::until;
use crate::support::{Flavour, Server};

on_both!(
    fn a_restore_to_a_moment_works_from_the_copy_alone(flavour) {
        let (source, _into, drctl) = backed_up(flavour);
        let drctl = copying(drctl);
        source.exec("CALL shop.fill(2, 30)");
        drctl.run(["stream", "--once"]).ok();
        copy(&drctl).ok();
        source.exec("CALL shop.fill(3, 30); FLUSH BINARY LOGS; CALL shop.fill(4, 10)");
        let last = last_gtid(&source);
        let held = picture(&source);
        drctl.run(["stream", "--once"]).ok();
        let page = copy(&drctl).ok().json();
        assert!(page["segments"].as_u64() > Some(0), "{page}");
        assert_eq!(page["copied"], serde_json::json!([]));
        same(&drctl.store_dir(), &second(&drctl));
        fs::remove_dir_all(drctl.store_dir()).unwrap();
        drctl.run(["--store", "copy", "log", "--check"]).ok();
        drctl.run(["--store", "copy", "restore", "--to-gtid", &last]).ok();
        let all = differences(&held, &picture(&_into), |_| true);
        assert!(all.is_empty(), "{}", all.join("\n"));
    }
);

/// A store with the log of several files and at least eight segments, an empty second one, and the server.
fn archived() -> (Server, Drctl) {
    let server = logging(Flavour::MySql, &[]);
    server.exec(WRITER);
    let drctl = copying(streamer(&server));
    for round in 0..8 {
        server.exec("CALL d.write(5)");
        if round % 3 == 2 {
            server.exec("FLUSH BINARY LOGS; CALL d.write(1)");
        }
        drctl.run(["stream", "--once"]).ok();
    }
    assert!(segments(&drctl).len() >= 8);
    (server, drctl)
}

/// What the second store has of the log is a log without damage.
#[track_caller]
fn checked_there(drctl: &Drctl) {
    drctl.run(["--store", "copy", "log", "--check"]).ok();
}

/// The name of an object in its store.
fn key(drctl: &Drctl, path: &Path) -> String {
    let store = drctl.store_dir();
    path.strip_prefix(&store).unwrap().display().to_string()
}

#[test]
fn a_damaged_segment_ends_the_copy_of_its_timeline_in_front_of_it() {
    crate::need!(MySql);
    let (_server, drctl) = archived();
    let all = segments(&drctl);
    let last = all.len() - 1;
    for at in [0, 2, last] {
        let whole = fs::read(&all[at]).unwrap();
        let next = fs::read(&all[if at == last { 1 } else { at + 1 }]).unwrap();
        let mut damages: Vec<Vec<u8>> = vec![next];
        for end in [0, 5, 100, whole.len() - 1] {
            damages.push(whole[..end].to_vec());
        }
        // What a record says beyond its place is vouched for by the segment behind it.
        let middle = if at == last {
            whole.len() - 40
        } else {
            whole.len() / 2
        };
        for place in [0, 9, 40, middle, whole.len() - 3] {
            let mut flipped = whole.clone();
            flipped[place] ^= 4;
            damages.push(flipped);
        }
        damages.push([whole.clone(), b"x".to_vec()].concat());
        for damage in damages {
            fs::write(&all[at], &damage).unwrap();
            let _ = fs::remove_dir_all(second(&drctl));
            fs::create_dir(second(&drctl)).unwrap();
            copy(&drctl).refused(6, &["primary store", &key(&drctl, &all[at]), ";"]);
            let there = second(&drctl).join(key(&drctl, &all[at]));
            assert!(!there.exists(), "{} bytes at {at}", damage.len());
            checked_there(&drctl);
        }
        fs::write(&all[at], &whole).unwrap();
    }
    copy(&drctl).ok();
    same(&drctl.store_dir(), &second(&drctl));
    checked_there(&drctl);
}

#[test]
fn a_missing_or_exchanged_segment_is_named() {
    crate::need!(MySql);
    let (_server, drctl) = archived();
    let all = segments(&drctl);
    let whole: Vec<Vec<u8>> = all.iter().map(|path| fs::read(path).unwrap()).collect();
    // The one behind it no longer follows.
    fs::remove_file(&all[1]).unwrap();
    copy(&drctl).refused(6, &["primary store", "is missing"]);
    checked_there(&drctl);
    fs::write(&all[1], &whole[1]).unwrap();
    // The last one: the heartbeat was further.
    let (last, path) = (whole.last().unwrap(), all.last().unwrap());
    fs::remove_file(path).unwrap();
    copy(&drctl).refused(6, &["primary store", "was archived up to"]);
    assert!(!second(&drctl).join("shop/log/head.json").exists());
    fs::write(path, last).unwrap();
    copy(&drctl).ok();
    same(&drctl.store_dir(), &second(&drctl));
}

#[test]
fn records_that_do_not_fit_the_segments_are_named() {
    crate::need!(MySql);
    let (_server, drctl) = archived();
    let log = drctl.store_dir().join("shop/log");
    let mut files = Vec::new();
    walk(&log, &mut files);
    files.sort();
    let of = |name: &str| {
        let found = files.iter().filter(|file| file.ends_with(name));
        found.map(PathBuf::from).collect::<Vec<_>>()
    };
    let (closed, timeline) = (of("closed.json"), of("timeline.json"));
    assert!(closed.len() >= 2);
    let other = fs::read(&closed[1]).unwrap();
    let text = |path: &Path| fs::read_to_string(path).unwrap();
    let without_one = {
        let mut record: Value = serde_json::from_str(&text(&closed[0])).unwrap();
        record["segments"].as_array_mut().unwrap().remove(0);
        record.to_string().into_bytes()
    };
    let longer = {
        let mut record: Value = serde_json::from_str(&text(&closed[0])).unwrap();
        record["bytes"] = (record["bytes"].as_u64().unwrap() + 1).into();
        record.to_string().into_bytes()
    };
    let another_id = text(&timeline[0]).replacen("\"id\":\"2", "\"id\":\"1", 1);
    for (path, damage) in [
        (&closed[0], other),
        (&closed[0], without_one),
        (&closed[0], longer),
        (&closed[0], b"{".to_vec()),
        (&timeline[0], another_id.into_bytes()),
        (&timeline[0], b"{".to_vec()),
        (&log.join("head.json"), b"{".to_vec()),
    ] {
        let whole = fs::read(path).unwrap();
        assert!(whole != damage);
        fs::write(path, &damage).unwrap();
        let _ = fs::remove_dir_all(second(&drctl));
        fs::create_dir(second(&drctl)).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let run = copy(&drctl);
        let shown = if name == "timeline.json" {
            "timeline"
        } else {
            &name
        };
        run.refused(6, &["primary store", shown]);
        assert!(!second(&drctl).join(key(&drctl, path)).exists(), "{name}");
        fs::write(path, &whole).unwrap();
        copy(&drctl).ok();
        same(&drctl.store_dir(), &second(&drctl));
    }
}

#[test]
fn other_bytes_in_the_second_store_are_named_and_left() {
    crate::need!(MySql);
    let (server, drctl) = archived();
    copy(&drctl).ok();
    let path = segments(&drctl).pop().unwrap();
    let there = second(&drctl).join(key(&drctl, &path));
    let whole = fs::read(&there).unwrap();
    let mut flipped = whole.clone();
    let middle = flipped.len() - 8;
    flipped[middle] ^= 1;
    fs::write(&there, &flipped).unwrap();
    server.exec("CALL d.write(5)");
    drctl.run(["stream", "--once"]).ok();
    copy(&drctl).refused(6, &["second store", &key(&drctl, &path), "other bytes"]);
    fs::write(&there, &whole[1..]).unwrap();
    copy(&drctl).refused(6, &["second store", &key(&drctl, &path), "other bytes"]);
    fs::write(&there, &whole).unwrap();
    copy(&drctl).ok();
    // One that is lost is copied again.
    fs::remove_file(&there).unwrap();
    copy(&drctl).ok();
    same(&drctl.store_dir(), &second(&drctl));
}

#[test]
fn a_copy_of_the_log_that_is_killed_is_a_log_and_goes_on() {
    crate::need!(MySql);
    let (_server, drctl) = archived();
    let begun = Instant::now();
    copy(&drctl).ok();
    let took = begun.elapsed();
    fs::remove_dir_all(second(&drctl)).unwrap();
    fs::create_dir(second(&drctl)).unwrap();
    fs::write(second(&drctl).join(".drctl-store"), "").unwrap();
    let mut unfinished = 0;
    for moment in 0..20 {
        let running = drctl.start(["copy", "--once"]);
        std::thread::sleep(took * moment / 20);
        running.signal(Signal::KILL);
        unfinished += u32::from(running.wait().code == 128 + 9);
        checked_there(&drctl);
    }
    assert!(unfinished > 3, "{unfinished}");
    copy(&drctl).ok();
    let mut left = objects(&second(&drctl));
    left.retain(|(name, _)| !name.contains(".drctl-tmp-") && name != "/.drctl-store");
    assert!(left == objects(&drctl.store_dir()));
}

#[test]
fn a_continuous_copy_follows_the_stream() {
    crate::need!(MySql);
    let server = logging(Flavour::MySql, &[]);
    server.exec(WRITER);
    let drctl = copying(streamer(&server)).env("DRCTL_COPY_INTERVAL_SECONDS", "1");
    let streaming = drctl.archiving();
    let copying = drctl.start(["copy"]);
    for round in 0..6 {
        server.exec("CALL d.write(20)");
        if round % 2 == 1 {
            server.exec("FLUSH BINARY LOGS");
        }
        std::thread::sleep(Duration::from_millis(1_500));
        if second(&drctl).join("shop/log").exists() {
            checked_there(&drctl);
        }
    }
    streaming.signal(Signal::TERM);
    streaming.wait().ok();
    until("everything is copied", || {
        let names = |dir: &Path| {
            let all = objects(dir).into_iter();
            all.filter(|(name, _)| name.contains("/log/"))
                .collect::<Vec<_>>()
        };
        names(&drctl.store_dir()) == names(&second(&drctl))
    });
    copying.signal(Signal::TERM);
    copying.wait().refused(143, &["SIGTERM"]);
    checked_there(&drctl);
}

#[test]
fn a_log_whose_continuation_the_primary_store_deleted_is_not_bridged() {
    crate::need!(MySql);
    let (server, drctl) = archived();
    let all = segments(&drctl);
    // The second store has the first file up to its middle.
    let first = all[0].parent().unwrap().to_owned();
    copy(&drctl).ok();
    let there = second(&drctl).join(key(&drctl, &first));
    for file in fs::read_dir(second(&drctl).join(key(&drctl, first.parent().unwrap()))).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() && path != there {
            fs::remove_dir_all(path).unwrap();
        }
    }
    fs::remove_file(there.join("closed.json")).unwrap();
    let mut left: Vec<PathBuf> = fs::read_dir(&there)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    left.sort();
    assert!(left.len() > 1);
    fs::remove_file(left.pop().unwrap()).unwrap();
    // The primary store deletes that file.
    fs::remove_dir_all(&first).unwrap();
    drctl.run(["log", "--check"]).ok();
    let before = objects(&second(&drctl).join("shop/log"));
    copy(&drctl).refused(
        9,
        &[
            "no longer has what follows",
            "shop/log/",
            "retention.log_days",
        ],
    );
    let after = objects(&second(&drctl).join("shop/log"));
    assert!(before == after, "nothing is bridged");
    // As the hint says.
    fs::remove_dir_all(second(&drctl).join("shop/log")).unwrap();
    copy(&drctl).ok();
    server.exec("CALL d.write(5)");
    drctl.run(["stream", "--once"]).ok();
    copy(&drctl).ok();
    checked_there(&drctl);
}

#[test]
fn files_that_the_second_store_pruned_are_not_copied_again() {
    crate::need!(MySql);
    let (_server, drctl) = archived();
    copy(&drctl).ok();
    let first = segments(&drctl)[0].parent().unwrap().to_owned();
    let there = second(&drctl).join(key(&drctl, &first));
    // As prune does: the record first, then the first segment, from when on the file counts as deleted.
    fs::remove_file(there.join("closed.json")).unwrap();
    fs::remove_file(there.join("000000000000.zst")).unwrap();
    assert_eq!(copy(&drctl).ok().json()["segments"], 0);
    checked_there(&drctl);
    fs::remove_dir_all(&there).unwrap();
    assert_eq!(copy(&drctl).ok().json()["segments"], 0);
    assert!(!there.exists());
    checked_there(&drctl);
}

#[test]
fn each_store_prunes_its_log_by_its_own_rules() {
    crate::need!(MySql);
    let server = logging(Flavour::MySql, &[]);
    let drctl = pruning(copying(streamer(&server)));
    retention::archived(&server, &drctl);
    copy(&drctl).ok();
    same(&drctl.store_dir(), &second(&drctl));
    let before = objects(&drctl.store_dir());
    drctl.run(["--store", "copy", "prune", "--force"]).ok();
    assert!(
        objects(&drctl.store_dir()) == before,
        "the primary store is as it was"
    );
    let left = objects(&second(&drctl));
    let segments = |all: &[(String, Vec<u8>)]| {
        let all = all.iter().filter(|(name, _)| name.contains("/log/"));
        all.count()
    };
    assert!(segments(&left) < segments(&before));
    checked_there(&drctl);
    let page = copy(&drctl).ok().json();
    assert_eq!((&page["segments"], &page["pruned"]), (&0.into(), &1.into()));
    assert!(
        objects(&second(&drctl)) == left,
        "nothing of it is copied again"
    );
    // What comes later is.
    server.exec("CALL d.write(5)");
    drctl.run(["stream", "--once"]).ok();
    assert!(copy(&drctl).ok().json()["segments"].as_u64() > Some(0));
    checked_there(&drctl);
}

#[test]
fn a_segment_that_vanishes_meanwhile_is_damage_unless_its_file_was_deleted() {
    crate::need!(MySql);
    crate::need!(Gateway);
    for pruned in [false, true] {
        let server = logging(Flavour::MySql, &[]);
        server.exec(WRITER);
        let (drctl, proxy) = to_s3(&server);
        let drctl = copying(drctl);
        for _ in 0..2 {
            server.exec("CALL d.write(5); FLUSH BINARY LOGS; CALL d.write(5)");
            drctl.run(["stream", "--once"]).ok();
        }
        let place = drctl.variables()["DRCTL_STORE"].replace("s3://", "");
        let (bucket, prefix) = place.split_once('/').unwrap();
        let log = Gateway::shared().object(bucket, &format!("{prefix}/shop/log"));
        let mut files = Vec::new();
        walk(&log, &mut files);
        files.retain(|file| file.ends_with(".zst"));
        files.sort();
        // Retention deletes from the beginning; what is missing elsewhere is damage.
        let beginning = Path::new(&files[0]).parent().unwrap();
        let first = match pruned {
            true => Path::new(&files[0]),
            false => {
                let mut files = files.iter().map(Path::new);
                files.find(|file| !file.starts_with(beginning)).unwrap()
            }
        };
        let name = first.strip_prefix(beginning.parent().unwrap()).unwrap();
        let name = name.display().to_string();
        let read = When::is("GET", &name);
        let before = proxy.count_of(&read);
        proxy.fault(read.clone().first(1), Fault::Delay(Duration::from_secs(2)));
        let running = drctl.start(["copy", "--once"]);
        until("it is read", || proxy.count_of(&read) > before);
        match pruned {
            true => fs::remove_dir_all(first.parent().unwrap()).unwrap(),
            false => fs::remove_file(first).unwrap(),
        }
        let run = running.wait();
        if !pruned {
            run.refused(6, &["primary store", &name, "is missing"]);
            checked_there(&drctl);
            continue;
        }
        run.ok();
        copy(&drctl).ok();
        checked_there(&drctl);
    }
}
