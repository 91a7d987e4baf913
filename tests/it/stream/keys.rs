//! The log encrypted and signed: the streamer cannot read what it wrote, and goes on exactly.

use std::time::Duration;

use rustix::process::Signal;

use super::*;
use crate::keys::Keys;
use crate::on_both;

/// Checks the log, makes its files again by RESTORE.txt, and compares them with the server's.
#[track_caller]
fn comes_back(server: &Server, drctl: &Drctl, keys: &Keys) {
    let ids = timelines(drctl);
    assert_eq!(ids.len(), 1, "{ids:?}");
    let restores = keys.for_restores(drctl.clone());
    restores.run(["log", "--check"]).ok();
    same_as_the_servers(server, &files_again(drctl, &ids[0]));
}

fn log_files(drctl: &Drctl) -> Vec<PathBuf> {
    let mut files = Vec::new();
    crate::support::backup::walk(&log_dir(drctl), &mut files);
    files
        .into_iter()
        .map(|file| log_dir(drctl).join(file))
        .collect()
}

on_both!(
    fn a_streamer_without_an_identity_encrypts_the_log_and_goes_on_behind_it(flavour) {
        let server = logging(flavour, &[]);
        server.exec(WRITER);
        let drctl = streamer(&server);
        let keys = Keys::new(&drctl);
        let drctl = keys.for_backups(drctl);
        drctl.run(["stream", "--once"]).ok();
        server.exec("CALL d.write(20); CREATE TABLE d.hidden_name (a INT); FLUSH BINARY LOGS; CALL d.write(20)");
        drctl.run(["stream", "--once"]).ok();
        server.exec("CALL d.write(5); DROP TABLE d.hidden_name");
        drctl.run(["stream", "--once"]).ok();

        // It is one timeline, and nothing of it names an object.
        let files = log_files(&drctl);
        assert!(files.iter().filter(|file| file.extension().is_some_and(|end| end == "age")).count() >= 3, "{files:?}");
        for file in &files {
            assert!(!crate::keys::contains(file, &["hidden_name", "INSERT"]), "{}", file.display());
        }
        for signed in ["timeline.json", "closed.json"] {
            let of: Vec<_> = files.iter().filter(|file| file.ends_with(signed)).collect();
            assert!(!of.is_empty(), "{files:?}");
            for file in of {
                assert!(files.contains(&file.with_extension("json.sig")), "{}", file.display());
            }
        }
        comes_back(&server, &drctl, &keys);

        // What is covered can be told without a key, and what was done with one alone.
        assert_eq!(log(&drctl)["timelines"][0]["gaps"].as_array().unwrap().len(), 0);
        drctl.run(["log", "--check"]).refused(2, &["no identity is configured"]);
        let list = ["log", "--statements", "--grep", "hidden_name"];
        drctl.run(list).refused(2, &["no identity is configured"]);
        let restores = keys.for_restores(drctl.clone());
        assert!(restores.run(list).ok().stdout.contains("DROP TABLE"));

        // A record that somebody else wrote is not believed.
        let closed = files.iter().find(|file| file.ends_with("closed.json")).unwrap();
        let text = fs::read_to_string(closed).unwrap();
        fs::write(closed, text.replacen("\"bytes\":", "\"bytes\": ", 1)).unwrap();
        restores.run(["log", "--check"]).refused(6, &["closed.json does not match its signature"]);
        restores.clone().env("DRCTL_TRUST", "off").run(["log", "--check"]).ok();
        fs::write(closed, text).unwrap();
        restores.run(["log", "--check"]).ok();
    }
);

on_both!(
    fn an_encrypted_streamer_that_is_killed_at_any_moment_goes_on_exactly(flavour) {
        let server = logging(flavour, &["--max-binlog-size=65536"]);
        server.exec(WRITER);
        let mut writer = server.session();
        writer.send("CALL d.write_on()");
        let drctl = streamer(&server);
        let keys = Keys::new(&drctl);
        let drctl = keys.for_backups(drctl);
        for round in 0..10_u64 {
            let running = drctl.start(["stream"]);
            std::thread::sleep(Duration::from_millis(50 + round * round * 37 % 2_900));
            running.signal(Signal::KILL);
            drop(running);
        }
        super::breaks::stop_writers(&server);
        drctl.run(["stream", "--once"]).ok();
        comes_back(&server, &drctl, &keys);
    }
);

on_both!(
    fn encryption_that_begins_or_is_killed_within_a_long_transaction_loses_nothing(flavour) {
        let server = logging(flavour, &["--max-allowed-packet=64M"]);
        server.exec("CREATE DATABASE d; CREATE TABLE d.big (id INT AUTO_INCREMENT PRIMARY KEY, v LONGTEXT); INSERT INTO d.big (v) VALUES (REPEAT('x', 1024))");
        let drctl = streamer(&server);
        let keys = Keys::new(&drctl);
        drctl.run(["stream", "--once"]).ok();
        let drctl = keys.for_backups(drctl);
        let blob = "INSERT INTO d.big (v) SELECT REPEAT(v, 1024) FROM d.big WHERE id = 1;".repeat(100);
        server.exec(&format!("BEGIN; {blob} COMMIT; INSERT INTO d.big (v) VALUES ('end')"));
        // Killed while pieces of the transaction are there and its end is not.
        let before = log_files(&drctl).len();
        let mut running = drctl.start(["stream"]);
        until("a piece is archived", || log_files(&drctl).len() > before + 1 || running.has_ended());
        running.signal(Signal::KILL);
        drop(running);
        drctl.run(["stream", "--once"]).ok();
        // The timeline was begun unsigned.
        let restores = keys.for_restores(drctl.clone());
        restores.run(["log", "--check"]).refused(6, &["timeline.json is not signed"]);
        comes_back(&server, &drctl.env("DRCTL_TRUST", "off"), &keys);
    }
);

on_both!(
    fn what_was_begun_unsigned_goes_on_in_a_signed_timeline_with_the_next_file(flavour) {
        let server = logging(flavour, &[]);
        server.exec(WRITER);
        let drctl = streamer(&server);
        let keys = Keys::new(&drctl);
        drctl.run(["stream", "--once"]).ok();
        let drctl = keys.for_restores(keys.for_backups(drctl));
        server.exec("CALL d.write(20)");
        drctl.run(["stream", "--once"]).ok();
        server.exec("CALL d.write(20); FLUSH BINARY LOGS; CALL d.write(20); FLUSH BINARY LOGS; CALL d.write(5)");
        drctl.run(["stream", "--once"]).ok();
        drctl.run(["stream", "--once"]).ok();
        let off = drctl.clone().env("DRCTL_TRUST", "off");
        let log = log(&off);
        let all = log["timelines"].as_array().unwrap();
        assert_eq!(all.len(), 2, "{log}");
        assert_eq!((&all[1]["reason"], &all[1]["continues"]), (&"signed".into(), &true.into()));
        assert_eq!(all[1]["gaps"].as_array().unwrap().len(), 0, "{log}");
        off.run(["log", "--check"]).ok();
        // What was not signed then is not signed now.
        let first = log_dir(&drctl).join(all[0]["id"].as_str().unwrap());
        assert!(!first.join("timeline.json.sig").exists());
        fs::rename(&first, drctl.home().join("unsigned")).unwrap();
        drctl.run(["log", "--check"]).ok();
        // A file that the server has ended needs the signed word of who archived it.
        let second = log_dir(&drctl).join(all[1]["id"].as_str().unwrap());
        let mut files: Vec<_> = fs::read_dir(&second).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|file| file.is_dir());
        files.sort();
        for name in ["closed.json", "closed.json.sig"] {
            fs::rename(files[0].join(name), drctl.home().join(name)).unwrap();
        }
        drctl.run(["log", "--check"]).refused(6, &["closed.json is missing"]);
        fs::rename(drctl.home().join("closed.json"), files[0].join("closed.json")).unwrap();
        drctl.run(["log", "--check"]).refused(6, &["closed.json is not signed"]);
        fs::rename(drctl.home().join("closed.json.sig"), files[0].join("closed.json.sig")).unwrap();
        drctl.run(["log", "--check"]).ok();
    }
);

on_both!(
    fn a_moment_comes_back_from_an_encrypted_backup_and_log(flavour) {
        let (source, into) = (logging(flavour, &[]), logging(flavour, &[]));
        source.exec(WRITER);
        let drctl = streamer(&source).into(&into);
        let keys = Keys::new(&drctl);
        let drctl = keys.for_backups(drctl);
        drctl.run(["backup"]).ok();
        source.exec("CALL d.write(30)");
        let held = source.value("SELECT COUNT(*) FROM d.t");
        source.exec("DROP TABLE d.t");
        drctl.run(["stream", "--once"]).ok();
        let command = ["restore", "--before-statement", "drop table.*t"];
        drctl.run(command).refused(2, &["identity"]);
        let restores = keys.for_restores(drctl.clone());
        restores.run(command).ok();
        assert_eq!(into.value("SELECT COUNT(*) FROM d.t"), held);
    }
);

on_both!(
    fn a_streamer_signs_with_a_key_that_was_rotated_from_the_next_file_on(flavour) {
        let server = logging(flavour, &[]);
        server.exec(WRITER);
        let drctl = streamer(&server);
        let keys = Keys::new(&drctl);
        let drctl = keys.for_backups(drctl);
        let stream = drctl.start(["stream"]);
        let signatures = || {
            let files = log_files(&drctl).into_iter();
            let mut of: Vec<PathBuf> = files.filter(|file| file.ends_with("closed.json.sig")).collect();
            of.sort();
            of
        };
        let close = |count: usize| {
            server.exec("CALL d.write(3); FLUSH BINARY LOGS; CALL d.write(3)");
            until("the file is closed", || signatures().len() >= count);
        };
        close(1);
        let restores = keys.for_restores(drctl.clone());
        restores.run(["log", "--check"]).ok();
        // As a mounted Secret changes.
        let public = keys.ssh("other");
        fs::rename(keys.path("other"), keys.path("signer")).unwrap();
        close(2);
        close(3);
        stream.signal(Signal::TERM);
        stream.wait();
        restores.run(["log", "--check"]).refused(6, &["is not an allowed signer"]);
        let allowed = fs::read_to_string(keys.path("allowed_signers")).unwrap();
        fs::write(keys.path("allowed_signers"), format!("{allowed}later {public}")).unwrap();
        restores.run(["log", "--check"]).ok();
    }
);
