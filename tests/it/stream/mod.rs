//! The binary log archived as it is written: what is archived is what the server wrote, whatever breaks.

mod archive;
mod breaks;
mod damage;
mod from_here;
mod keys;
pub(crate) mod retention;
mod servers;
pub(crate) mod store;
mod watched;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::wait::until;
use super::support::{Drctl, Flavour, Server};

/// A server that logs with GTIDs.
pub(crate) fn logging(flavour: Flavour, more: &[&str]) -> Server {
    let options: &[&str] = match flavour {
        Flavour::MySql => &[
            "--gtid-mode=ON",
            "--enforce-gtid-consistency=ON",
            "--server-id=7",
        ],
        Flavour::MariaDb => &["--log-bin=b", "--server-id=7", "--gtid-strict-mode=ON"],
    };
    Server::start_with(flavour, &[options, more].concat())
}

/// A streamer that cuts each second.
pub(crate) fn streamer(server: &Server) -> Drctl {
    Drctl::new("shop")
        .source(server)
        .env("DRCTL_STREAM_CUT_SECONDS", "1")
}

/// Forgets the server's log.
fn reset(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::MariaDb => "RESET MASTER",
        Flavour::MySql => "RESET BINARY LOGS AND GTIDS",
    }
}

/// Deletes all files of the server's log but the one in use.
pub(crate) fn purge_all_but_newest(server: &Server) {
    let newest = server.query("SHOW BINARY LOGS").pop().unwrap().remove(0);
    // MariaDB keeps a file while it believes that a replica reads it.
    until("the log is purged", || {
        server.exec(&format!("PURGE BINARY LOGS TO '{newest}'"));
        server.query("SHOW BINARY LOGS").len() == 1
    });
}

/// The directory of the log in the store.
fn log_dir(drctl: &Drctl) -> PathBuf {
    drctl.store_dir().join("shop/log")
}

/// `drctl log --output json`.
#[track_caller]
fn log(drctl: &Drctl) -> serde_json::Value {
    drctl.run(["log", "--output", "json"]).ok().json()
}

/// The ids of the timelines, oldest first.
#[track_caller]
fn timelines(drctl: &Drctl) -> Vec<String> {
    let log = log(drctl);
    let ids = log["timelines"].as_array().unwrap().iter();
    ids.map(|timeline| timeline["id"].as_str().unwrap().to_owned())
        .collect()
}

/// Every segment, in order.
pub(crate) fn segments(drctl: &Drctl) -> Vec<PathBuf> {
    let mut files = Vec::new();
    super::support::backup::walk(&log_dir(drctl), &mut files);
    let mut segments: Vec<PathBuf> = files
        .into_iter()
        .filter(|file| file.ends_with(".zst"))
        .map(|file| log_dir(drctl).join(file))
        .collect();
    segments.sort();
    segments
}

/// The commands of a step of RESTORE.txt.
fn commands(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("    "))
        .map(str::to_owned)
        .collect()
}

/// Makes the files of a timeline again, by what RESTORE.txt says; returns the directory.
#[track_caller]
fn files_again(drctl: &Drctl, timeline: &str) -> PathBuf {
    let to = drctl.home().join(format!("again-{timeline}"));
    let _ = fs::remove_dir_all(&to);
    fs::create_dir(&to).unwrap();
    let copied = Command::new("cp")
        .arg("-r")
        .arg(log_dir(drctl).join(timeline))
        .arg(&to)
        .status();
    assert!(copied.unwrap().success());
    // Of an encrypted log.
    let identity = drctl.home().join("keys/identity.txt");
    if identity.exists() {
        fs::copy(identity, to.join("identity.txt")).unwrap();
    }
    let text = fs::read_to_string(log_dir(drctl).join("RESTORE.txt")).unwrap();
    let script: Vec<String> = commands(&text)
        .into_iter()
        .take_while(|line| !line.contains("FILE"))
        .collect();
    assert_eq!(script.len(), 3, "{text}");
    let script = script.join("\n").replace("TIMELINE", timeline);
    let done = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script])
        .current_dir(&to)
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    to
}

/// The names of files that were made again, in order.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let mut names: Vec<String> = entries
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| name != "identity.txt")
        .collect();
    names.sort();
    names
}

/// What the server's own program reads out of a file: each event's kind, transaction and rows, without what depends
/// on positions.
#[track_caller]
fn events(flavour: Flavour, file: &Path) -> String {
    let program = match flavour {
        Flavour::MariaDb => "/usr/bin/mariadb-binlog".into(),
        Flavour::MySql => flavour.client_dir().join("mysqlbinlog"),
    };
    let read = Command::new(program)
        .args([
            "--no-defaults",
            "--verify-binlog-checksum",
            "--base64-output=decode-rows",
            "-v",
        ])
        .arg(file)
        .output()
        .unwrap();
    assert!(read.status.success(), "{read:?}");
    let text = String::from_utf8_lossy(&read.stdout).into_owned();
    let kept = text.lines().filter(|line| {
        let positions = line.starts_with("# at ") || line.contains("end_log_pos");
        let annotation = line.starts_with("#Q>") || line.contains("Annotate_rows");
        let in_use = line.contains("this binlog is either in use or was not closed");
        !positions && !annotation && !in_use && !line.contains("Number of rows")
    });
    kept.collect::<Vec<_>>().join("\n")
}

/// Compares the archived files with the server's: byte for byte on MySQL, event by event on MariaDB, which is not asked
/// for its annotations. The file in use differs in the flag that says so.
#[track_caller]
fn same_as_the_servers(server: &Server, again: &Path) {
    let names = names(again);
    assert!(!names.is_empty());
    for name in names {
        let (ours, theirs) = (again.join(&name), server.datadir().join(&name));
        match server.flavour() {
            Flavour::MariaDb => {
                let (ours, theirs) = (
                    events(server.flavour(), &ours),
                    events(server.flavour(), &theirs),
                );
                assert!(ours == theirs, "{name} has other events than the server's");
            }
            Flavour::MySql => {
                let (ours, mut theirs) = (fs::read(&ours).unwrap(), fs::read(&theirs).unwrap());
                const FLAGS: usize = 4 + 17;
                theirs[FLAGS] &= !1;
                assert_eq!(ours.len(), theirs.len(), "{name}");
                assert!(ours == theirs, "{name} has other bytes than the server's");
            }
        }
    }
}

/// Rows, one a transaction, on a connection of their own until the server is stopped.
pub(crate) const WRITER: &str = "CREATE DATABASE d; CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(100));
\nDELIMITER //\n
    CREATE PROCEDURE d.write_on() LOOP INSERT INTO d.t (v) VALUES (UUID()); DO SLEEP(0.002); END LOOP//
    CREATE PROCEDURE d.write(n INT) WHILE n > 0 DO INSERT INTO d.t (v) VALUES (UUID()); SET n = n - 1; END WHILE//
\nDELIMITER ;\n";
