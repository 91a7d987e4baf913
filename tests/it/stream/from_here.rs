//! Whether a restore to a later moment can begin with a backup, as `backup`, `list` and `show` say it.

use rustix::process::Signal;
use serde_json::Value;

use super::*;
use crate::{need, on_both};

/// What `list` says of each backup, newest first.
#[track_caller]
fn said(drctl: &Drctl) -> Vec<String> {
    let list = drctl.run(["list", "--output", "json"]).ok().json();
    let rows = list.as_array().unwrap().iter();
    rows.map(|row| row["pitr"]["from_here"].as_str().unwrap().to_owned())
        .collect()
}

/// Makes a backup that is not waited for: no streamer runs.
#[track_caller]
fn backup(drctl: &Drctl) -> Value {
    // As if the last run of the streamer was long ago.
    let head = log_dir(drctl).join("head.json");
    if let Ok(text) = fs::read_to_string(&head) {
        let mut json: Value = serde_json::from_str(&text).unwrap();
        json["written_at"] = "2026-01-01T00:00:00Z".into();
        fs::write(&head, json.to_string()).unwrap();
    }
    drctl.run(["backup", "--output", "json"]).ok().json()
}

on_both!(
    fn a_backup_is_in_the_log_not_yet_or_not(flavour) {
        let server = logging(flavour, &[]);
        server.exec(WRITER);
        let drctl = streamer(&server);
        let run = drctl.run(["backup"]).ok();
        assert!(run.stdout.contains("PITR from here: no (no binary log is archived)"), "{}", run.stdout);
        assert!(run.stderr.contains("no restore to a later moment can begin"), "{}", run.stderr);
        // Commits of MariaDB are dated to the second, and what they cover ends a second before.
        let pause = || std::thread::sleep(std::time::Duration::from_millis(2_200));
        let once = || {
            pause();
            server.exec("CALL d.write(5)");
            drctl.run(["stream", "--once"]).ok();
        };
        once();
        assert_eq!(said(&drctl), ["yes"]);

        server.exec("CALL d.write(5)");
        let made = backup(&drctl);
        assert_eq!(made["pitr"]["from_here"], "not yet", "{made}");
        assert_eq!(said(&drctl), ["not yet", "yes"]);
        let page = drctl.run(["list"]).ok().stdout;
        assert!(page.contains("PITR FROM HERE") && page.contains("not yet"), "{page}");
        once();
        assert_eq!(said(&drctl), ["yes", "yes"]);
        let page = drctl.run(["show", "--latest"]).ok().stdout;
        assert!(page.contains("PITR from here  yes, up to 20"), "{page}");

        // Its part of the log is purged before it is archived.
        server.exec("CALL d.write(5); FLUSH BINARY LOGS; CALL d.write(5)");
        backup(&drctl);
        server.exec("FLUSH BINARY LOGS; CALL d.write(5)");
        purge_all_but_newest(&server);
        once();
        assert_eq!(said(&drctl), ["no", "yes", "yes"]);
        let shown = drctl.run(["show", "--latest", "--output", "json"]).ok().json();
        let why = shown["pitr"]["why"].as_str().unwrap();
        assert!(why.contains("is not archived"), "{why}");
        backup(&drctl);
        once();
        assert_eq!(said(&drctl), ["yes", "no", "yes", "yes"]);

        // The same names and the same GTIDs in another life of the server.
        server.exec(reset(flavour));
        server.exec("CALL d.write(5)");
        let made = backup(&drctl);
        assert_ne!(made["pitr"]["from_here"], "yes", "{made}");
        server.exec("CALL d.write(500); FLUSH BINARY LOGS; FLUSH BINARY LOGS; CALL d.write(5)");
        once();
        assert_eq!(said(&drctl), ["yes", "yes", "no", "yes", "yes"]);
    }
);

on_both!(
    fn a_backup_waits_a_moment_for_a_streamer_that_runs(flavour) {
        let server = logging(flavour, &[]);
        server.exec(WRITER);
        let drctl = streamer(&server);
        let running = drctl.archiving();
        let mut writer = server.session();
        writer.send("CALL d.write_on()");
        until("something is archived", || !segments(&drctl).is_empty());
        let made = drctl.run(["backup", "--output", "json"]).ok().json();
        assert_eq!(made["pitr"]["from_here"], "yes", "{made}");
        assert!(made["pitr"]["until"].as_str().unwrap() >= made["snapshot_at"].as_str().unwrap());
        running.signal(Signal::TERM);
        running.wait().ok();
    }
);

#[test]
fn a_streamer_whose_account_does_not_see_who_mariadb_is_archives_the_same_server() {
    need!(MariaDb);
    let server = logging(Flavour::MariaDb, &[]);
    server.exec(WRITER);
    server.account("s", "pw", &["REPLICATION SLAVE, BINLOG MONITOR ON *.*"]);
    let drctl = streamer(&server);
    drctl.run(["backup"]).ok();
    server.exec("CALL d.write(5)");
    std::thread::sleep(std::time::Duration::from_millis(2_200));
    let narrow = drctl
        .env("DRCTL_SOURCE_URL", &server.url_as("s"))
        .env("DRCTL_SOURCE_PASSWORD", "pw");
    narrow.run(["stream", "--once"]).ok();
    assert!(
        log(&narrow)["timelines"][0]["server"]
            .as_str()
            .unwrap()
            .contains('/')
    );
    assert_eq!(said(&narrow), ["yes"]);
}

#[test]
fn a_set_of_gtids_of_any_length_is_recorded_and_replayed_behind() {
    need!(MySql);
    let server = logging(Flavour::MySql, &[]);
    let many: Vec<String> = (0..300)
        .map(|n| format!("3e11fa47-71ca-11e1-9e33-c80aa942{n:04}:1-{}", n + 1))
        .collect();
    server.exec(&format!("SET GLOBAL gtid_purged = '+{}'", many.join(",")));
    server.exec(WRITER);
    server.exec("CALL d.write(5)");
    let executed = |server: &Server| -> String {
        let set = server.exec("SELECT @@global.gtid_executed");
        set.replace("\\n", "").split_whitespace().collect()
    };
    let into = logging(Flavour::MySql, &[]);
    let drctl = streamer(&server).into(&into);
    drctl.run(["backup"]).ok();
    let shown = drctl
        .run(["show", "--latest", "--output", "json"])
        .ok()
        .json();
    let gtid = shown["coordinates"]["gtid"].as_str().unwrap();
    assert!(gtid.len() > 4_096 && gtid == executed(&server), "{gtid}");
    let id = shown["id"].as_str().unwrap();
    let manifest = fs::read_to_string(drctl.store_dir().join(format!("shop/{id}/manifest.json")));
    assert!(manifest.unwrap().contains("\"gtid_in_index\": true"));

    server.exec("CALL d.write(5)");
    let run = drctl.run(["stream", "--once"]).ok();
    assert!(run.stderr.contains("the file of backup"), "{}", run.stderr);
    let last = server.value("SELECT CONCAT(@@server_uuid, ':', COUNT(*) + 4) FROM d.t");
    drctl.run(["restore", "--to-gtid", &last]).ok();
    let rows = "SELECT COUNT(*), MAX(v) FROM d.t";
    assert_eq!(into.exec(rows), server.exec(rows));
    let all = format!(
        "SELECT GTID_SUBSET('{}', @@global.gtid_executed)",
        executed(&server)
    );
    assert_eq!(into.value(&all), "1");
}

on_both!(
    fn where_a_log_is_streamed_a_backup_without_coordinates_is_refused(flavour) {
        let options: &[&str] = match flavour {
            Flavour::MySql => &["--skip-log-bin"],
            Flavour::MariaDb => &[],
        };
        let server = Server::start_with(flavour, options);
        server.exec("CREATE DATABASE d; CREATE TABLE d.t (id INT)");
        let drctl = streamer(&server);
        drctl
            .run(["backup"])
            .refused(9, &["writes no binary log", "backup.coordinates: auto"]);
        drctl.run(["show", "--latest"]).fails(3, "no backup");
        let page = drctl.env("DRCTL_BACKUP_COORDINATES", "auto").run(["backup"]).ok();
        assert!(page.stdout.contains("PITR from here: no (its place"), "{}", page.stdout);
    }
);

#[test]
fn an_account_that_may_not_read_gtids_is_refused_before_the_dump() {
    need!(MySql);
    let server = logging(Flavour::MySql, &[]);
    server.exec("CREATE DATABASE d; CREATE TABLE d.t (id INT)");
    server.account(
        "poor",
        "pw",
        &["SELECT, SHOW VIEW, TRIGGER, EVENT, SHOW_ROUTINE, PROCESS, RELOAD, REPLICATION CLIENT ON *.*"],
    );
    let drctl = streamer(&server)
        .env("DRCTL_SOURCE_URL", &server.url_as("poor"))
        .env("DRCTL_SOURCE_PASSWORD", "pw");
    drctl
        .run(["backup"])
        .refused(9, &["lacks REPLICATION SLAVE", "backup.coordinates: auto"]);
    drctl.run(["show", "--latest"]).fails(3, "no backup");
}
