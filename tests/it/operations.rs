//! What an operator meets from day to day: variables with typos, what a backup holds, servers that moved, clocks,
//! runs that fail for a while.

use std::collections::BTreeMap;
use std::time::Duration;

use drctl::layout::{BackupObject, DrillLevel, DrillName, DrillVerdict};
use rustix::process::Signal;
use serde_json::Value;

use crate::need;
use crate::on_both;
use crate::support::backup::{listed, shop_of, walk};
use crate::support::history::hours_ago;
use crate::support::receiver::Receiver;
use crate::support::wait::until;
use crate::support::{Drctl, Flavour, Server};

#[test]
fn a_variable_with_a_typo_is_warned_of_and_those_of_services_are_not() {
    let drctl = Drctl::new("shop")
        .env("DRCTL_LOG_FORMAT", "human")
        .env("DRCTL_BAKCUP_LEVEL", "secret-value")
        .env("DRCTL_PORT", "tcp://10.96.0.7:9898")
        .env("DRCTL_SERVICE_HOST", "10.96.0.7")
        .env("DRCTL_SERVE_PORT_9898_TCP_ADDR", "10.96.0.7");
    let said = drctl.run(["list"]).ok().stderr;
    let words = "unknown variable DRCTL_BAKCUP_LEVEL ignored; did you mean DRCTL_BACKUP_LEVEL?";
    assert!(said.contains(words), "{said}");
    assert_eq!(said.matches("unknown variable").count(), 1, "{said}");
    assert!(!said.contains("secret-value"), "{said}");
    let checks = drctl.run(["doctor", "--output", "json"]).json();
    let of_it: Vec<&Value> = checks
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["check"] == "configuration")
        .collect();
    assert_eq!(of_it.len(), 1, "{checks:#}");
    assert_eq!(of_it[0]["status"], "WARN");
    assert_eq!(
        of_it[0]["fix"],
        "set DRCTL_BACKUP_LEVEL instead, or remove it"
    );
}

on_both!(
    fn show_lists_what_a_backup_holds(flavour) {
        let (schema, drctl) = shop_of(flavour);
        drctl.run(["backup"]).ok();
        let show = |args: &[&str]| {
            let all = ["show", "--latest", "--objects"].iter().chain(args).copied();
            drctl.run(all)
        };
        let all = show(&["--output", "json"]).ok().json();
        let all = all.as_array().unwrap();
        let of = |kind: &str, name: &str| {
            let found = all.iter().find(|one| one["kind"] == kind && one["name"] == name);
            found.unwrap_or_else(|| panic!("no {kind} {name} in {all:#?}")).clone()
        };
        let table = of("table", "t");
        assert_eq!((&table["schema"], &table["rows"]), (&schema.clone().into(), &3.into()));
        assert!(table["bytes"].as_u64().is_some() && table["engine"] == "InnoDB", "{table}");
        let itself = all.iter().find(|one| one["kind"] == "schema").unwrap();
        assert_eq!((&itself["name"], &itself["rows"]), (&Value::Null, &Value::Null));
        // The totals of the manifest are those of the list.
        let manifest = drctl.run(["show", "--latest", "--output", "json"]).ok().json();
        let count: u64 = manifest["totals"]["objects"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
        assert_eq!(all.len() as u64, count);
        let page = show(&["--match", &format!("{schema}.t")]).ok().stdout;
        let lines: Vec<&str> = page.lines().collect();
        assert!(lines[0].starts_with("KIND ") && lines[1].starts_with("table "), "{page}");
        assert!(lines[1].ends_with(&format!("  {schema}.t")), "{page}");
        assert_eq!(lines[2..], ["1 object, 3 rows"]);
        assert_eq!(show(&["--match", &schema]).ok().stdout.lines().count(), all.len() + 2);
        show(&["--match", "nope.*"]).refused(3, &["no object of backup ", "matches nope.*", "--objects lists all"]);
        drctl.run(["show", "--latest", "--match", "x"]).refused_by_the_parser();
    }
);

on_both!(
    fn doctor_and_retention_ask_whose_backups_they_are_as_a_backup_does(flavour) {
        let (first, second) = (Server::start(flavour), Server::start(flavour));
        for server in [&first, &second] {
            server.exec("CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY); INSERT INTO shop.t VALUES (1)");
        }
        // The moment at which the second one's system tables were made is another one.
        if flavour == Flavour::MariaDb {
            second.exec("ALTER TABLE mysql.proc FORCE");
        }
        let drctl = Drctl::new("shop").env("DRCTL_RETENTION_LAST", "1").source(&first);
        drctl.run(["backup"]).ok();
        drctl.run(["prune"]).ok();
        let identity = |drctl: &Drctl| {
            let checks = drctl.run(["doctor", "--output", "json"]).json();
            let checks = checks.as_array().unwrap().clone();
            checks.into_iter().find(|check| check["check"] == "identity")
        };
        assert_eq!(identity(&drctl), None);
        // Another cluster with the same target and store.
        let drctl = drctl.source(&second);
        let warned = identity(&drctl).expect("a warning");
        assert_eq!(warned["status"], "WARN", "{warned}");
        let words = ["no backup was deleted: the backups of shop in file://", "are from server ", "its own target name or store prefix"];
        for args in [&["prune"][..], &["prune", "--force"], &["prune", "--dry-run"]] {
            drctl.run(args).refused(9, &words);
        }
        assert_eq!(listed(&drctl).len(), 1);
        // It moved: a person says so, and then nobody warns.
        std::thread::sleep(Duration::from_millis(1100));
        drctl.run(["backup"]).refused(9, &["is committed but suspect", "the server is "]);
        let page = drctl.run(["prune", "--dry-run"]).refused(9, &words).stdout;
        assert!(page.contains("is suspect and is skipped"), "{page}");
        let id = listed(&drctl)[0]["id"].as_str().unwrap().to_owned();
        drctl.run(["accept", &id]).ok();
        assert_eq!(identity(&drctl), None);
        let page = drctl.run(["prune"]).ok().stdout;
        assert!(!page.contains("suspect"), "{page}");
        // And now the first one is the other one.
        let drctl = drctl.source(&first);
        assert!(identity(&drctl).is_some());
        drctl.run(["prune"]).refused(9, &words);
        // Whose they are is not guessed.
        first.stop();
        drctl.run(["prune"]).refused(4, &["cannot check which server they are from", "remove source.url"]);
        drctl.without("DRCTL_SOURCE_URL").run(["prune"]).ok();
    }
);

#[test]
fn where_no_server_is_asked_the_backups_tell_that_there_are_two() {
    let of = |drctl: &Drctl, hours: i64, identity: &str, suspect: bool| {
        let id = drctl.had("shop", hours_ago(hours), |manifest| {
            manifest.server.identity = identity.into();
            manifest.suspect = if suspect {
                vec!["another server".into()]
            } else {
                Vec::new()
            };
        });
        id.to_string()
    };
    // Hours ago, the server, whether it is suspect; the suspect backup that is named.
    for (backups, named) in [
        (
            &[(60, "a", false), (50, "b", true), (40, "a", false)][..],
            Some(50),
        ),
        // The newest one, as after a disaster: whether the target moved, a person says.
        (&[(60, "a", false), (50, "b", true)], Some(50)),
        (
            &[(60, "a", false), (50, "b", true), (45, "b", true)],
            Some(45),
        ),
        // However old it is.
        (
            &[(900, "a", false), (800, "b", true), (40, "a", false)],
            Some(800),
        ),
        // The target moved to b, and was accepted there.
        (&[(60, "a", false), (50, "b", false)], None),
        // The same, and a still writes.
        (
            &[(60, "a", false), (50, "b", false), (40, "a", true)],
            Some(40),
        ),
        // Before it moved, one backup of the former server was suspect.
        (&[(70, "a", false), (60, "a", true), (50, "b", false)], None),
        (&[(60, "b", false), (50, "b", true), (40, "b", false)], None),
    ] {
        let drctl = Drctl::new("shop").env("DRCTL_RETENTION_LAST", "1");
        let mut ids = BTreeMap::new();
        for (hours, identity, suspect) in backups {
            let moved = *identity == "b" && !suspect && backups[0].1 == "a";
            let id = of(&drctl, *hours, identity, *suspect || moved);
            if moved {
                drctl.run(["accept", &id]).ok();
            }
            ids.insert(*hours, id);
        }
        let Some(named) = named else {
            drctl.run(["prune"]).ok();
            continue;
        };
        let id = &ids[&named];
        let (accept, delete) = (
            format!("run drctl accept {id}"),
            format!("delete {id}/manifest.json"),
        );
        let words = [
            "are from server ",
            " created one at ",
            "which is suspect",
            &accept,
            "its own target name",
            &delete,
        ];
        for args in [
            &["prune"][..],
            &["prune", "--force"],
            &["prune", "--dry-run"],
        ] {
            drctl.run(args).refused(9, &words);
        }
        assert_eq!(listed(&drctl).len(), backups.len());
        // Both ways out lead out.
        if backups.len() == 2 {
            drctl.run(["accept", id]).ok();
        } else {
            for hours in backups.iter().filter(|one| one.2).map(|one| one.0) {
                let place = drctl.store_dir().join("shop").join(&ids[&hours]);
                std::fs::remove_file(place.join("manifest.json")).unwrap();
            }
        }
        drctl.run(["prune"]).ok();
    }
}

#[test]
fn a_dry_run_of_retention_compares_clocks_too() {
    let drctl = Drctl::new("shop").env("DRCTL_RETENTION_LAST", "1");
    drctl.had_backup("shop", hours_ago(30));
    drctl.had_backup("shop", hours_ago(-2));
    let words = ["the newest snapshot is ", "in the future", "NTP"];
    let run = drctl.run(["prune", "--dry-run"]).refused(9, &words);
    assert!(run.stdout.contains("nothing was changed"), "{run:#?}");
    drctl.run(["prune"]).refused(9, &words);
    let mut files = Vec::new();
    walk(&drctl.store_dir(), &mut files);
    assert!(
        !files.iter().any(|file| file.contains("probe")),
        "{files:?}"
    );
}

#[test]
fn retention_and_drills_say_in_one_line_that_the_newest_backup_waits_for_a_decision() {
    let drctl = Drctl::new("shop")
        .env("DRCTL_RETENTION_LAST", "5")
        .env("DRCTL_LOG_FORMAT", "human");
    drctl.had_backup("shop", hours_ago(30));
    let suspect = drctl.had("shop", hours_ago(1), |manifest| {
        manifest.suspect = vec!["it shrank".into()]
    });
    let line = format!(
        "the newest backup {suspect} is suspect and is skipped: it shrank; if its data are correct, run drctl accept {suspect}"
    );
    let pruned = drctl.run(["prune"]).ok().stdout;
    assert_eq!(pruned.matches(&line).count(), 1, "{pruned}");
    let drilled = drctl.run(["verify", "--latest", "--level", "archive"]);
    assert!(
        drilled.stderr.contains(&line) || drilled.stdout.contains(&line),
        "{drilled:#?}"
    );
    drctl.run(["accept", &suspect.to_string()]).ok();
    assert!(!drctl.run(["prune"]).ok().stdout.contains("suspect"));
}

#[test]
fn what_a_drill_of_the_archive_alone_found_ends_no_alert_of_a_restore() {
    need!(MariaDb);
    let person = Receiver::start();
    let (_, drctl) = crate::support::backup::shop();
    let drctl = drctl.env("DRCTL_NOTIFY_WEBHOOK_URL", &person.url("/"));
    drctl.run(["backup"]).ok();
    let id = listed(&drctl)[0]["id"].as_str().unwrap().to_owned();
    // A check that cannot hold.
    let fails = r#"[{"sql": "SELECT 1", "equals": 2}]"#;
    let drctl = drctl.env("DRCTL_VERIFY_CHECKS", fails);
    drctl
        .run(["verify", &id])
        .refused(7, &["check \"", "failed: expected "]);
    assert_eq!(person.take()[0].json()["kind"], "failed");
    let drctl = drctl.without("DRCTL_VERIFY_CHECKS");
    std::thread::sleep(Duration::from_millis(1100));
    drctl.run(["verify", &id, "--level", "archive"]).ok();
    assert!(person.take().is_empty());
    let failed = |drctl: &Drctl| !listed(drctl)[0]["failed_at"].is_null();
    assert!(
        failed(&drctl),
        "the archive is whole, and the data are wrong"
    );
    std::thread::sleep(Duration::from_millis(1100));
    drctl.run(["verify", &id]).ok();
    let told = person.take();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].json()["kind"], "recovered");
    assert!(!failed(&drctl));
}

#[test]
fn an_accepted_backup_that_a_drill_found_wrong_vouches_for_no_other() {
    let drctl = Drctl::new("shop");
    let id = drctl.had("shop", hours_ago(1), |manifest| {
        manifest.suspect = vec!["it shrank".into()]
    });
    drctl.mark("shop", id, &BackupObject::Accepted);
    let drill = BackupObject::Drill(DrillName {
        time: hours_ago(0),
        level: DrillLevel::Restore,
        verdict: DrillVerdict::Fail,
    });
    drctl.mark("shop", id, &drill);
    let row = &listed(&drctl)[0];
    assert_eq!(row["suspect"], false);
    assert!(
        !row["failed_at"].is_null() && row["verified_at"].is_null(),
        "{row}"
    );
    assert!(drctl.run(["list"]).ok().stdout.contains("DRILL FAILED"));
    drctl
        .run(["show", "--latest-verified"])
        .fails(3, "that is verified");
}

on_both!(
    fn a_backup_waits_for_a_server_that_is_just_restarting(flavour) {
        let server = Server::start(flavour);
        server.exec("CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY)");
        let drctl = Drctl::new("shop")
            .source(&server)
            .env("DRCTL_LOG_FORMAT", "human")
            .env("DRCTL_BACKUP_CONNECT_SECONDS", "60");
        server.stop();
        let mut run = drctl.start(["backup"]);
        run.until_says("server unreachable; retrying");
        assert!(!run.has_ended());
        server.start_again();
        run.wait().ok();
        // What waiting does not change is said at once, and what stays away after its time.
        let denied = drctl.env("DRCTL_SOURCE_URL", &server.url_as("nobody"));
        let run = denied.run(["backup"]);
        assert!(run.code == 4 && run.took < Duration::from_secs(40), "{run:#?}");
        let away = denied
            .env("DRCTL_SOURCE_URL", "mysql://root@127.0.0.1:1")
            .env("DRCTL_BACKUP_CONNECT_SECONDS", "2");
        away.run(["backup"]).refused(4, &["tried for 2 s: 127.0.0.1:1"]);
    }
);

#[test]
fn the_agent_tries_again_what_failed_for_a_reason_that_passes() {
    let drctl = Drctl::new("shop")
        .env("DRCTL_SCHEDULE_BACKUP", "@daily")
        .env("DRCTL_SOURCE_URL", "mysql://root@127.0.0.1:1")
        .env("DRCTL_LOG_FORMAT", "human");
    let runs = drctl.store_dir().join("shop/runs");
    std::fs::create_dir_all(&runs).unwrap();
    let last = hours_ago(49).strftime("%Y%m%dT%H%M%SZ").to_string();
    std::fs::write(runs.join(format!("{last}-backup-0.json")), "{}").unwrap();
    let agent = drctl.start(["agent"]);
    let failed = || {
        let names = std::fs::read_dir(&runs).unwrap().flatten();
        let names = names.map(|one| one.file_name().to_string_lossy().into_owned());
        names
            .filter(|name| name.ends_with("-backup-4.json"))
            .count()
    };
    until("it is tried again", || failed() >= 2);
    agent.signal(Signal::TERM);
    let said = agent.wait().ok().stderr;
    assert!(said.contains("retry scheduled"), "{said}");
}

#[test]
fn the_agent_says_what_it_missed_while_it_stood_still() {
    let person = Receiver::start();
    let drctl = Drctl::new("shop")
        .env("DRCTL_SCHEDULE_BACKUP", "@every 10s")
        .env("DRCTL_SOURCE_URL", "mysql://root@127.0.0.1:1")
        .env("DRCTL_NOTIFY_WEBHOOK_URL", &person.url("/"))
        .env("DRCTL_LOG_FORMAT", "human");
    let agent = drctl.start(["agent"]);
    std::thread::sleep(Duration::from_secs(3));
    agent.signal(Signal::STOP);
    std::thread::sleep(Duration::from_secs(50));
    agent.signal(Signal::CONT);
    let late = person.wait_for(|told| told.body.contains("\"late\""));
    assert!(
        late.body
            .contains("were missed while the agent or its host was suspended"),
        "{late:?}"
    );
    agent.signal(Signal::TERM);
    let said = agent.wait().ok().stderr;
    assert!(
        said.contains("scheduled runs of backup were missed"),
        "{said}"
    );
}
