//! A store in a directory whose disk is not mounted, or that was never one.

use std::fs;
use std::path::{Path, PathBuf};

use crate::need;
use crate::support::Drctl;
use crate::support::backup::{listed, shop};

/// drctl with a store in a directory of its home that does not exist yet.
fn at(name: &str) -> (Drctl, PathBuf) {
    let (_, drctl) = shop();
    let dir = drctl.home().join(name);
    let url = format!("file://{}", dir.display());
    let drctl = drctl.env("DRCTL_STORE", &url);
    (drctl.env("DRCTL_RETENTION_DAILY", "7"), dir)
}

fn marked(dir: &Path) -> bool {
    dir.join(".drctl-store").exists()
}

/// The verbs that look at what is there.
const READERS: &[&[&str]] = &[
    &["list"],
    &["show", "--latest"],
    &["cat", "--latest"],
    &["verify", "--latest"],
    &["prune"],
    &["report"],
];

/// The directory of the target.
fn target_dir(drctl: &Drctl) -> PathBuf {
    drctl.store_dir().join(&drctl.variables()["DRCTL_TARGET"])
}

/// A store with two backups, the older one moved to another disk behind links: its directory, or its manifest alone.
fn linked(what: &str) -> (Drctl, PathBuf, String) {
    let (_, drctl) = shop();
    let drctl = drctl.env("DRCTL_RETENTION_LAST", "10");
    drctl.run(["backup"]).ok();
    let id = listed(&drctl)[0]["id"].as_str().expect("an id").to_owned();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    drctl.run(["backup"]).ok();
    let (disk, target) = (drctl.home().join("disk2"), target_dir(&drctl));
    fs::create_dir(&disk).unwrap();
    let linked = target.join(&id).join(what);
    let there = disk.join("moved");
    fs::rename(&linked, &there).unwrap();
    std::os::unix::fs::symlink(&there, linked.components().as_path()).unwrap();
    // Long ago enough to be swept, were it left over.
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3 * 86_400);
    for entry in fs::read_dir(target.join(&id)).unwrap() {
        let path = entry.unwrap().path();
        fs::File::open(path).unwrap().set_modified(old).unwrap();
    }
    (drctl, there, id)
}

#[test]
fn a_backup_behind_links_is_a_backup_and_one_whose_disk_is_not_mounted_is_touched_by_nothing() {
    need!(MariaDb);
    for what in ["", "manifest.json"] {
        let (drctl, there, id) = linked(what);
        assert_eq!(listed(&drctl).len(), 2);
        drctl.run(["prune"]).ok();
        drctl.run(["verify", "--level", "archive", &id]).ok();
        assert_eq!(listed(&drctl).len(), 2);
        let unmounted = there.with_extension("unmounted");
        fs::rename(&there, &unmounted).unwrap();
        for args in READERS.iter().copied().chain([&["backup"][..]]) {
            let words = [
                "a link to ",
                "cannot be followed",
                "mount the disk that the link points to",
            ];
            drctl.run(args).refused(5, &words);
        }
        fs::rename(&unmounted, &there).unwrap();
        drctl.run(["verify", "--level", "archive", &id]).ok();
    }
}

#[test]
fn an_object_that_is_a_pipe_is_not_waited_for() {
    need!(MariaDb);
    let (_, drctl) = shop();
    let drctl = drctl.env("DRCTL_RETENTION_LAST", "10");
    drctl.run(["backup"]).ok();
    let id = listed(&drctl)[0]["id"].as_str().expect("an id").to_owned();
    let dump = target_dir(&drctl).join(&id).join("dump.sql.zst");
    fs::remove_file(&dump).unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, &dump, mode).unwrap();
    for args in READERS {
        let run = drctl.run(args.iter()).fails(5, "dump.sql.zst: a FIFO");
        assert!(run.error_line().contains("remove it"), "{run:#?}");
    }
}

#[test]
fn a_target_that_is_a_file_is_not_a_target_without_backups() {
    need!(MariaDb);
    let (_, drctl) = shop();
    drctl.run(["backup"]).ok();
    let target = target_dir(&drctl);
    fs::rename(&target, drctl.home().join("shop")).unwrap();
    fs::write(&target, "x").unwrap();
    for args in [&["list"][..], &["show", "--latest"], &["backup"]] {
        drctl
            .run(args)
            .refused(5, &["not a directory", "move it out of the store"]);
    }
}

#[test]
fn output_that_cannot_be_written_hides_neither_the_backup_nor_what_failed() {
    need!(MariaDb);
    let (_, drctl) = shop();
    let full = |verb: &str| drctl.shell(&format!("exec drctl {verb} >/dev/full"));
    full("backup").refused(
        1,
        &[
            "backup 2",
            "is committed, but its summary could not be printed",
            "No space left",
            "free space",
        ],
    );
    assert_eq!(listed(&drctl).len(), 1);
    full("list").refused(
        1,
        &[
            "cannot write to standard output",
            "free space for the output",
        ],
    );
    let doctor = drctl.run(["doctor"]);
    assert_eq!(
        full("doctor").code,
        if doctor.code == 0 { 1 } else { doctor.code }
    );
}

#[test]
fn a_directory_that_is_missing_is_not_made() {
    need!(MariaDb);
    let (drctl, dir) = at("mnt/backups");
    for args in READERS.iter().copied().chain([&["backup"][..]]) {
        drctl
            .run(args)
            .refused(5, &["mnt/backups: no such directory", "mount its disk"]);
        assert!(!dir.exists(), "{args:?}");
    }
    drctl.run(["backup", "--init-store"]).ok();
    assert!(marked(&dir));
    assert_eq!(listed(&drctl).len(), 1);
}

#[test]
fn an_empty_directory_is_begun_by_a_backup_and_by_nothing_else() {
    need!(MariaDb);
    let (drctl, dir) = at("empty");
    fs::create_dir(&dir).unwrap();
    // A file system of its own.
    fs::create_dir(dir.join("lost+found")).unwrap();
    for args in READERS {
        drctl
            .run(args.iter())
            .refused(5, &["has no marker of drctl", "mount its disk"]);
        assert!(!marked(&dir), "{args:?}");
    }
    drctl.run(["backup"]).ok();
    assert!(marked(&dir));
    assert_eq!(listed(&drctl).len(), 1);
}

#[test]
fn a_directory_that_holds_something_else_is_refused_until_it_is_said_to_be_the_one() {
    need!(MariaDb);
    let (drctl, dir) = at("home");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("somebody's"), "x").unwrap();
    for args in READERS.iter().copied().chain([&["backup"][..]]) {
        drctl
            .run(args)
            .refused(5, &["contains other files", "--init-store"]);
    }
    drctl.run(["backup", "--init-store"]).ok();
    assert_eq!(listed(&drctl).len(), 1);
    assert!(dir.join("somebody's").exists());
}

#[test]
fn a_store_from_before_the_mark_is_read_and_marked_by_the_next_backup() {
    need!(MariaDb);
    let (drctl, dir) = at("old");
    drctl.run(["backup", "--init-store"]).ok();
    fs::remove_file(dir.join(".drctl-store")).unwrap();
    drctl.run(["show", "--latest"]).ok();
    assert_eq!(listed(&drctl).len(), 1);
    assert!(!marked(&dir), "a verb that reads makes nothing");
    drctl.run(["backup"]).ok();
    assert!(marked(&dir));
    assert_eq!(listed(&drctl).len(), 2);
}

#[test]
fn a_disk_that_goes_away_is_noticed_and_nothing_is_written_below_it() {
    need!(MariaDb);
    let (drctl, dir) = at("disk");
    drctl.run(["backup", "--init-store"]).ok();
    let away = drctl.home().join("away");
    fs::rename(&dir, &away).unwrap();
    drctl.run(["backup"]).fails(5, "no such directory");
    // The mount point is left: a first backup would look the same, reading does not.
    fs::create_dir(&dir).unwrap();
    drctl.run(["list"]).fails(5, "no mark");
    fs::remove_dir(&dir).unwrap();
    fs::rename(&away, &dir).unwrap();
    assert_eq!(listed(&drctl).len(), 1);
}
