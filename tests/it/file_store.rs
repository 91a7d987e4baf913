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

#[test]
fn a_directory_that_is_missing_is_not_made() {
    need!(MariaDb);
    let (drctl, dir) = at("mnt/backups");
    for args in READERS.iter().copied().chain([&["backup"][..]]) {
        drctl.run(args).refused(
            5,
            &["mnt/backups: there is no such directory", "mount its disk"],
        );
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
            .refused(5, &["has no mark of drctl's", "mount its disk"]);
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
            .refused(5, &["holds something else", "--init-store"]);
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
    drctl.run(["backup"]).fails(5, "there is no such directory");
    // The mount point is left: a first backup would look the same, reading does not.
    fs::create_dir(&dir).unwrap();
    drctl.run(["list"]).fails(5, "no mark");
    fs::remove_dir(&dir).unwrap();
    fs::rename(&away, &dir).unwrap();
    assert_eq!(listed(&drctl).len(), 1);
}
