//! `drctl copy`: what the second store lists is what the primary store has, whatever breaks.

mod damage;
mod ended;
mod keys;
mod killed;
mod log;
mod marks;
mod restore;
mod stores;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::support::Drctl;
use super::support::backup::walk;
use super::support::drctl::Run;

/// The directory of the second store, which is beside the primary one.
fn second(drctl: &Drctl) -> PathBuf {
    drctl.home().join("second")
}

/// Gives drctl an empty directory as its second store.
fn copying(drctl: Drctl) -> Drctl {
    fs::create_dir(second(&drctl)).unwrap();
    let to = format!("file://{}", second(&drctl).display());
    drctl.env("DRCTL_COPY_TO", &to)
}

/// `drctl copy --once`.
#[track_caller]
fn copy(drctl: &Drctl) -> Run {
    drctl.run(["copy", "--once", "--output", "json"])
}

/// The ids that the second store lists, newest first.
#[track_caller]
fn listed_there(drctl: &Drctl) -> Vec<String> {
    let list = drctl.run(["--store", "copy", "list", "--output", "json"]);
    let list = list.ok().json();
    let ids = list.as_array().expect("an array").iter();
    ids.map(|backup| backup["id"].as_str().expect("an id").to_owned())
        .collect()
}

/// Each object below a directory with its bytes, but for what belongs to one store.
fn objects(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    walk(dir, &mut files);
    files.sort();
    let own = ["/runs/", "/copying.json", "/reading/", "/running.json"];
    files.retain(|file| !own.iter().any(|own| file.contains(own)));
    let object = |file: String| {
        let bytes = fs::read(&file).unwrap();
        let name = file.strip_prefix(&dir.display().to_string());
        (name.expect("below it").to_owned(), bytes)
    };
    files.into_iter().map(object).collect()
}

/// Both directories hold the same objects.
#[track_caller]
fn same(one: &Path, other: &Path) {
    let (one, other) = (objects(one), objects(other));
    let names = |objects: &[(String, Vec<u8>)]| {
        let names = objects.iter().map(|(name, _)| name.clone());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&one), names(&other));
    assert!(!one.is_empty());
    for ((name, one), (_, other)) in one.iter().zip(&other) {
        assert!(one == other, "{name} has other bytes");
    }
}

/// Exit codes of the runs of `copy` that the second store has a record of, oldest first.
fn recorded(drctl: &Drctl, target: &str) -> Vec<i64> {
    let mut files = Vec::new();
    walk(&second(drctl).join(target).join("runs"), &mut files);
    files.retain(|file| file.contains("-copy-"));
    let record =
        |file: &String| -> Value { serde_json::from_slice(&fs::read(file).unwrap()).unwrap() };
    let mut records: Vec<Value> = files.iter().map(record).collect();
    // Names have whole seconds.
    records.sort_by_key(|record| record["ended_at"].as_str().expect("a time").to_owned());
    let exits = records.iter().map(|record| record["exit"].as_i64());
    exits.map(|exit| exit.expect("an exit code")).collect()
}
