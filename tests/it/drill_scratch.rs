//! Scratch servers that do not start, end early, or must not be used; drills that are terminated. Nothing of a
//! drill stays, whatever its end.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;

use crate::drill::{is_verified, meddle, nothing_left, report, scratch_dir, server_that, shop};
use crate::support::wait::until;
use crate::support::{Drctl, Flavour, Server};
use crate::{need, on_both};

#[test]
fn a_scratch_server_that_does_not_start_is_reported_with_its_last_error() {
    need!(MariaDb);
    let (_source, drctl) = shop(Flavour::MariaDb);
    let drctl = server_that(drctl, "echo 'x [ERROR] no room for me'; exit 3");
    let words = [
        "the scratch server ended (exit status: 3)",
        "no room for me",
    ];
    drctl.run(["verify", "--latest"]).refused(10, &words);
    nothing_left(&drctl);
    let (name, report) = report(&drctl);
    assert!(name.ends_with("-restore-broken.json"), "{name}");
    assert_eq!(report["exit"], 10);
    assert!(!is_verified(&drctl));
}

#[test]
fn a_scratch_server_that_never_answers_fails_the_drill() {
    need!(MariaDb);
    let (_source, drctl) = shop(Flavour::MariaDb);
    let drctl = server_that(drctl, "exec sleep 600").env("DRCTL_VERIFY_BOOT_SECONDS", "1");
    let words = ["did not answer within 1 s", "verify.boot_seconds"];
    drctl.run(["verify", "--latest"]).refused(10, &words);
    nothing_left(&drctl);
}

on_both!(
    fn a_scratch_server_killed_during_the_drill_is_reported_as_the_cause(flavour) {
        let (_source, drctl) = shop(flavour);
        // The server is the one whose socket is beside its pid file.
        let kill = "kill -9 \"$(cat \"$(sql 'SELECT @@pid_file')\")\"; sleep 0.2";
        let drctl = meddle(drctl, flavour, kill);
        let words = ["the scratch server ended (signal: 9", "memory and the disk"];
        drctl.run(["verify", "--latest"]).refused(10, &words);
        nothing_left(&drctl);
        assert!(!is_verified(&drctl));
    }
);

#[test]
fn a_scratch_server_that_runs_out_of_disk_fails_the_drill() {
    need!(MariaDb);
    let source = Server::start(Flavour::MariaDb);
    source.exec(
        "CREATE DATABASE shop; USE shop; CREATE TABLE big (id INT PRIMARY KEY, v LONGTEXT);
         INSERT big SELECT seq, REPEAT(MD5(seq), 2000) FROM seq_1_to_1500",
    );
    let drctl = crate::drill::of_flavour(Drctl::new("shop").source(&source), Flavour::MariaDb);
    drctl.run(["backup"]).ok();
    // A limit on file sizes, which the tablespace of the table exceeds.
    let drctl = server_that(
        drctl,
        "ulimit -f 40960; trap '' XFSZ; exec /usr/sbin/mariadbd \"$@\"",
    );
    let run = drctl.run(["verify", "--latest"]);
    assert_eq!(run.code, 10, "{run:#?}");
    assert!(
        run.error_line().contains("big") || run.error_line().contains("scratch server"),
        "{run:#?}"
    );
    nothing_left(&drctl);
    assert!(!is_verified(&drctl));
}

#[test]
fn a_backup_that_does_not_fit_on_the_disk_is_refused_at_once() {
    need!(MariaDb);
    let copy = crate::damaged_copy::Copy::new();
    copy.edit_manifest(|manifest| {
        manifest["server"]["bytes"] = (1u64 << 60).into();
        manifest["server"]["version"] = here(Flavour::MariaDb).into();
    });
    let drctl = crate::drill::of_flavour(copy.0, Flavour::MariaDb);
    let words = [
        "free, but a scratch server of this backup needs about",
        "verify.scratch_dir",
    ];
    drctl
        .run(["verify", crate::damaged_copy::ID])
        .refused(10, &words);
    nothing_left(&drctl);
}

#[test]
fn a_missing_release_series_is_not_replaced() {
    need!(MariaDb);
    let (_source, drctl) = shop(Flavour::MariaDb);
    let drctl = server_that(drctl, "exit 1");
    let program = drctl.home().join("servers/mariadbd");
    fs::write(
        &program,
        "#!/bin/sh\necho 'mariadbd  Ver 11.99.1-MariaDB for x'\n",
    )
    .unwrap();
    let words = [
        "no server program of MariaDB 1",
        "is MariaDB 11.99.1",
        "verify.server_dirs",
    ];
    drctl.run(["verify", "--latest"]).refused(2, &words);
    nothing_left(&drctl);
}

/// The installation of a MariaDB server: its program, and the directory of its definitions.
fn installed() -> (PathBuf, PathBuf) {
    match std::env::var_os("DRCTL_OTHER") {
        // Where tests/lab/with-mariadb.sh found it.
        Some(home) => {
            let root = PathBuf::from(home).join("root");
            (root.join("bin/mariadbd"), root.join("share"))
        }
        None => ("/usr/sbin/mariadbd".into(), "/usr/share/mysql".into()),
    }
}

#[test]
fn a_server_unpacked_anywhere_uses_its_own_definitions() {
    need!(MariaDb);
    let (_source, drctl) = shop(Flavour::MariaDb);
    let home = drctl.home().join("my server");
    let (program, share) = installed();
    fs::create_dir_all(home.join("bin")).unwrap();
    fs::copy(program, home.join("bin/mariadbd")).unwrap();
    let copied = Command::new("cp")
        .arg("-r")
        .arg(share)
        .arg(home.join("share"))
        .status();
    assert!(copied.unwrap().success());
    // Shows which definitions were used.
    let named = ["mariadb_system_tables.sql", "mysql_system_tables.sql"];
    let mut named = named.iter().map(|name| home.join("share").join(name));
    let definitions = named.find(|path| path.exists()).unwrap();
    let text = fs::read_to_string(&definitions).unwrap();
    fs::write(
        &definitions,
        text + "\nCREATE TABLE made_here (base TEXT);\n",
    )
    .unwrap();
    let base = home.display();
    let check = serde_json::json!([
        {"name": "base", "sql": "SELECT TRIM(TRAILING '/' FROM @@basedir)", "equals": base.to_string()},
        {"name": "own", "sql": "SELECT COUNT(*) FROM mysql.made_here", "equals": 0},
    ]);
    let mut drctl = drctl.env("DRCTL_VERIFY_CHECKS", &check.to_string());
    let linked = drctl.home().join("linked");
    fs::create_dir(&linked).unwrap();
    std::os::unix::fs::symlink(home.join("bin/mariadbd"), linked.join("mariadbd")).unwrap();
    for program in [home.join("bin"), linked] {
        drctl = drctl.env("DRCTL_VERIFY_SERVER_DIRS", &program.display().to_string());
        drctl.run(["verify", "--latest"]).ok();
        nothing_left(&drctl);
    }
}

#[test]
fn a_drill_that_hangs_ends_at_its_deadline() {
    need!(MariaDb);
    let (_source, drctl) = shop(Flavour::MariaDb);
    let drctl =
        meddle(drctl, Flavour::MariaDb, "sleep 600").env("DRCTL_VERIFY_DEADLINE_SECONDS", "5");
    drctl.run(["verify", "--latest"]).refused(12, &["deadline"]);
    nothing_left(&drctl);
    assert_eq!(report(&drctl).1["exit"], 12);
}

/// A drill that is stopped at its comparison, once it got there.
fn stopped_at_comparison(
    flavour: Flavour,
) -> (&'static Server, Drctl, crate::support::drctl::Running) {
    let (source, drctl) = shop(flavour);
    let drctl = meddle(drctl, flavour, "sleep 600");
    let running = drctl.start(["verify", "--latest"]);
    let there = drctl.home().join("meddled");
    until("the drill compares", || there.exists());
    (source, drctl, running)
}

#[test]
fn a_drill_that_is_terminated_leaves_nothing() {
    need!(MariaDb);
    let (_source, drctl, running) = stopped_at_comparison(Flavour::MariaDb);
    running.signal(Signal::TERM);
    running.wait().refused(143, &["SIGTERM"]);
    nothing_left(&drctl);
}

#[test]
fn the_remains_of_a_killed_drill_are_removed_by_the_next() {
    need!(MariaDb);
    let (_source, drctl, running) = stopped_at_comparison(Flavour::MariaDb);
    running.signal(Signal::KILL);
    running.wait();
    let left = || fs::read_dir(scratch_dir(&drctl)).unwrap().count();
    assert_eq!(left(), 1);
    let again = drctl.without("DRCTL_INTO_CLIENT_DIR");
    let run = again.run(["verify", "--latest"]).ok();
    assert!(
        run.stderr
            .contains("removed the directory of a killed drill"),
        "{run:#?}"
    );
    nothing_left(&again);
}

#[test]
fn kept_data_stay_with_instructions() {
    need!(MariaDb);
    let (_source, drctl) = shop(Flavour::MariaDb);
    let run = drctl.run(["verify", "--latest", "--keep"]).ok();
    assert!(run.stdout.contains("--no-defaults --datadir="), "{run:#?}");
    drctl.run(["verify", "--latest"]).ok();
    let dirs: Vec<_> = fs::read_dir(scratch_dir(&drctl))
        .unwrap()
        .flatten()
        .collect();
    assert_eq!(dirs.len(), 1, "the kept one");
    assert!(dirs[0].path().join("data/shop/t.ibd").exists());
}

#[test]
fn a_report_that_cannot_be_written_fails_the_drill() {
    need!(MariaDb);
    let (_source, drctl) = shop(Flavour::MariaDb);
    let list = drctl.run(["list", "--output", "json"]).ok().json();
    let id = list[0]["id"].as_str().unwrap();
    fs::write(
        drctl.store_dir().join("shop").join(id).join("drills"),
        "in the way",
    )
    .unwrap();
    let words = ["cannot write the report of the drill"];
    let run = drctl.run(["verify", "--latest"]).refused(5, &words);
    assert!(
        run.stdout.contains("PASS"),
        "what was found is said all the same: {run:#?}"
    );
    nothing_left(&drctl);
}

/// Version of this machine's server: the golden archives are of one release series only.
fn here(flavour: Flavour) -> String {
    Server::shared(flavour).value("SELECT VERSION()")
}

/// Drills into an external server.
fn external(drctl: Drctl, server: &Server) -> Drctl {
    drctl.env("DRCTL_VERIFY_SCRATCH", &server.url())
}

on_both!(
    fn an_external_server_is_left_as_empty_as_it_was(flavour) {
        let (_source, drctl) = shop(flavour);
        let scratch = Server::start_with(flavour, &["--event-scheduler=OFF"]);
        let everything = || (scratch.query("SHOW DATABASES"), scratch.query("SELECT user, host FROM mysql.user ORDER BY 1, 2"));
        let before = everything();
        let drctl = external(drctl, &scratch);
        for path in ["lanes", "client"] {
            drctl.run(["verify", "--latest", "--path", path]).ok();
            assert_eq!(everything(), before, "{path}");
        }
        let drctl = meddle(drctl, flavour, "sql 'DROP VIEW shop.v'");
        drctl.run(["verify", "--latest"]).refused(7, &["view `shop`.`v`"]);
        assert_eq!(everything(), before, "after a failure");
    }
);

#[test]
fn an_rto_is_measured_only_on_an_external_server_that_is_as_durable_as_the_target() {
    need!(MariaDb);
    let (_source, drctl) = shop(Flavour::MariaDb);
    for (option, basis) in [
        ("--innodb-flush-log-at-trx-commit=0", "at-least"),
        ("--innodb-flush-log-at-trx-commit=1", "measured"),
    ] {
        let scratch = Server::start_with(Flavour::MariaDb, &["--event-scheduler=OFF", option]);
        let url = scratch.url();
        let verify = ["verify", "--latest", "--scratch", &url, "--output", "json"];
        let report = drctl.run(verify).ok().json();
        assert_eq!(report["rto"]["basis"], basis, "{option}");
    }
}

#[test]
fn an_external_server_that_is_not_empty_is_refused() {
    need!(MariaDb);
    let (_source, drctl) = shop(Flavour::MariaDb);
    let scratch = Server::start_with(Flavour::MariaDb, &["--event-scheduler=OFF"]);
    scratch.exec("CREATE DATABASE precious; CREATE TABLE precious.t (i INT)");
    let drctl = external(drctl, &scratch);
    let words = [
        "the scratch server is not empty",
        "`precious`",
        "use an empty server",
    ];
    drctl.run(["verify", "--latest"]).refused(9, &words);
    assert_eq!(scratch.value("SELECT COUNT(*) FROM precious.t"), "0");
}

#[test]
fn an_external_server_with_a_running_event_scheduler_is_refused() {
    need!(MariaDb);
    let (_source, drctl) = shop(Flavour::MariaDb);
    let scratch = Server::start_with(Flavour::MariaDb, &["--event-scheduler=ON"]);
    let words = ["event scheduler is on", "SET GLOBAL event_scheduler = OFF"];
    external(drctl, &scratch)
        .run(["verify", "--latest"])
        .refused(9, &words);
}

#[test]
fn an_external_server_of_another_kind_is_refused() {
    need!(MariaDb);
    need!(MySql);
    let (_source, drctl) = shop(Flavour::MariaDb);
    let scratch = Server::start_with(Flavour::MySql, &["--event-scheduler=OFF"]);
    let words = [
        "the scratch server is MySQL",
        "the backup is of MariaDB",
        "same release series",
    ];
    external(drctl, &scratch)
        .run(["verify", "--latest"])
        .refused(2, &words);
}

#[test]
fn objects_of_others_on_an_external_server_are_never_dropped() {
    need!(MariaDb);
    let (_source, drctl) = shop(Flavour::MariaDb);
    let scratch = Server::start_with(Flavour::MariaDb, &["--event-scheduler=OFF"]);
    // Another client creates objects between the inspection of the server and the load: while drctl asks
    // the client programs for their version, which both paths do first.
    let dir = drctl.home().join("slow");
    fs::create_dir_all(&dir).unwrap();
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--version*) /usr/bin/mariadb --no-defaults -uroot -S{} -e 'CREATE DATABASE IF NOT EXISTS shop; \
         CREATE TABLE IF NOT EXISTS shop.precious (i INT); INSERT shop.precious VALUES (42)';; esac\nexec /usr/bin/mariadb-dump \"$@\"\n",
        scratch.socket().display()
    );
    let program = dir.join("mariadb-dump");
    fs::write(&program, script).unwrap();
    fs::set_permissions(
        &program,
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    std::os::unix::fs::symlink("/usr/bin/mariadb", dir.join("mariadb")).unwrap();
    let drctl = external(drctl, &scratch).env("DRCTL_INTO_CLIENT_DIR", &dir.display().to_string());
    for path in ["client", "lanes"] {
        let run = drctl.run(["verify", "--latest", "--path", path]);
        assert_eq!(run.code, 9, "{path}: {run:#?}");
        assert_eq!(
            scratch.value("SELECT MIN(i) FROM shop.precious"),
            "42",
            "{path}"
        );
    }
}

#[test]
fn a_forged_ledger_makes_no_drill_drop_system_schemas() {
    need!(MariaDb);
    let copy = crate::damaged_copy::Copy::new();
    copy.edit_index(|text| {
        let mut lines: Vec<&str> = text.lines().collect();
        let forged = r#"{"ledger":{"schema":"mysql","kind":"table","name":"user","ddl":"0000000000000000000000000000000000000000000000000000000000000000","rows":1,"digest":"00000000000000000000000000000000"}}"#;
        lines.push(forged);
        lines.join("\n") + "\n"
    });
    copy.edit_manifest(|manifest| {
        let rows = manifest["totals"]["rows"].as_u64().unwrap() + 1;
        manifest["totals"]["rows"] = rows.into();
        let tables = manifest["totals"]["objects"]["table"].as_u64().unwrap() + 1;
        manifest["totals"]["objects"]["table"] = tables.into();
        manifest["server"]["version"] = here(Flavour::MariaDb).into();
    });
    let scratch = Server::start_with(Flavour::MariaDb, &["--event-scheduler=OFF"]);
    for path in ["lanes", "client"] {
        let verify = [
            "verify",
            crate::damaged_copy::ID,
            "--scratch",
            &scratch.url(),
            "--path",
            path,
        ];
        copy.0
            .run(verify)
            .refused(6, &["the server's own schema mysql"]);
        assert!(
            scratch
                .value("SELECT COUNT(*) FROM mysql.user")
                .parse::<u32>()
                .unwrap()
                > 0
        );
    }
}

on_both!(
    fn roles_and_accounts_of_the_backup_are_removed_from_an_external_server(flavour) {
        let source = Server::start(flavour);
        source.exec(crate::drill::SHOP);
        source.exec("CREATE ROLE boss; GRANT SELECT ON shop.* TO boss; GRANT boss TO app@localhost");
        let drctl = Drctl::new("shop").source(&source);
        drctl.run(["backup"]).ok();
        let scratch = Server::start_with(flavour, &["--event-scheduler=OFF"]);
        let drctl = external(drctl, &scratch);
        for path in ["lanes", "client"] {
            drctl.run(["verify", "--latest", "--path", path]).ok();
            let left = "SELECT COUNT(*) FROM mysql.user WHERE user IN ('boss', 'app')";
            assert_eq!(scratch.value(left), "0", "{path}");
        }
        scratch.exec("CREATE USER app@localhost");
        drctl.run(["verify", "--latest", "--path", "lanes"]).ok();
        let words = ["the account `app`@`localhost` of the backup exists", "--path lanes"];
        drctl.run(["verify", "--latest", "--path", "client"]).refused(9, &words);
    }
);

#[test]
fn functions_of_an_archive_cannot_access_files_of_the_machine() {
    need!(MariaDb);
    let source = Server::start(Flavour::MariaDb);
    source.exec(crate::drill::SHOP);
    let drctl = Drctl::new("shop").source(&source);
    let file = drctl.home().join("pwned.txt");
    source.exec(&format!(
        "USE shop; EXECUTE IMMEDIATE 'CREATE FUNCTION w() RETURNS INT DETERMINISTIC BEGIN \
         SELECT ''pwned'' INTO OUTFILE ''{}''; RETURN 1; END'; CREATE VIEW pwn AS SELECT w() AS x",
        file.display()
    ));
    drctl.run(["backup"]).ok();
    let drctl = crate::drill::of_flavour(drctl, Flavour::MariaDb).env(
        "DRCTL_VERIFY_CHECKS",
        r#"[{"name": "w", "sql": "SELECT shop.w()", "equals": 1}]"#,
    );
    drctl
        .run(["verify", "--latest"])
        .refused(7, &["--secure-file-priv"]);
    assert!(!file.exists());
}

#[test]
fn a_client_that_prints_many_errors_does_not_block() {
    need!(MariaDb);
    let source = Server::start(Flavour::MariaDb);
    source.exec(crate::drill::SHOP);
    let grants: String = (0..700)
        .map(|n| format!("CREATE USER u{n}@localhost; GRANT SELECT ON shop.t TO u{n}@localhost;\n"))
        .collect();
    source.exec(&grants);
    let drctl = crate::drill::of_flavour(Drctl::new("shop").source(&source), Flavour::MariaDb);
    drctl.run(["backup"]).ok();
    drctl.run(["verify", "--latest", "--path", "client"]).ok();
}

#[test]
fn expired_events_fail_a_drill_on_neither_path() {
    need!(MariaDb);
    let source = Server::start(Flavour::MariaDb);
    source.exec(crate::drill::SHOP);
    source.exec(
        "SET time_zone = '+00:00'; USE shop;
         CREATE EVENT rec ON SCHEDULE EVERY 1 SECOND STARTS NOW() ENDS NOW() + INTERVAL 1 SECOND DO SELECT 1;
         CREATE EVENT one ON SCHEDULE AT NOW() + INTERVAL 1 SECOND DO SELECT 1; DO SLEEP(2)",
    );
    let drctl = crate::drill::of_flavour(Drctl::new("shop").source(&source), Flavour::MariaDb);
    drctl.run(["backup"]).ok();
    for path in ["lanes", "client"] {
        let run = drctl.run(["verify", "--latest", "--path", path]).ok();
        for event in ["rec", "one"] {
            let said = format!("the execution time of event `shop`.`{event}` has passed");
            assert!(run.stdout.contains(&said), "{path} {event}: {run:#?}");
        }
    }
}

/// The entries of a cache of initialised data directories.
fn entries(cache: &std::path::Path) -> Vec<PathBuf> {
    let all = fs::read_dir(cache.join("scratch")).into_iter().flatten();
    all.flatten().map(|entry| entry.path()).collect()
}

on_both!(
    fn a_later_drill_copies_the_cached_data_unless_they_are_damaged(flavour) {
        let (_source, drctl) = shop(flavour);
        // The default directory.
        let drctl = drctl.without("DRCTL_VERIFY_CACHE_DIR");
        let cache = drctl.home().join(".cache/drctl");
        drctl.run(["verify", "--latest"]).ok();
        let [entry] = &entries(&cache)[..] else {
            panic!("not one entry");
        };
        let mut files = Vec::new();
        crate::support::backup::walk(entry, &mut files);
        let private = |file: &String| file.ends_with(".pem") || file.ends_with("auto.cnf");
        assert!(files.len() > 10 && !files.iter().any(private), "{files:?}");
        let used = || fs::metadata(entry.join("files.json")).unwrap().modified().unwrap();
        let made = used();
        drctl.run(["verify", "--latest"]).ok();
        assert!(used() > made, "the second drill used it");
        assert_eq!(entries(&cache), std::slice::from_ref(entry));

        let file = entry.join("data/ibdata1");
        let mut bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&file, &bytes).unwrap();
        let run = drctl.run(["verify", "--latest"]).ok();
        assert!(run.stderr.contains("ibdata1 is damaged"), "{run:#?}");
        assert_ne!(fs::read(&file).unwrap(), bytes, "it was initialised again");
        nothing_left(&drctl);
    }
);

#[test]
fn no_data_are_cached_if_that_is_off_or_impossible() {
    need!(MariaDb);
    let (_source, mut drctl) = shop(Flavour::MariaDb);
    for dir in ["off", "/proc/nowhere"] {
        drctl = drctl.env("DRCTL_VERIFY_CACHE_DIR", dir);
        drctl.run(["verify", "--latest"]).ok();
        assert!(!drctl.home().join(".cache").exists());
        nothing_left(&drctl);
    }
}
