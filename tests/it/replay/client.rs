//! A replay through `mysqlbinlog | mysql`, for a destination that cannot reach drctl.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use drctl::Outcome;
use drctl::mysql::ServerConfig;
use drctl::replay::ReplayPath;
use drctl::replay::destination::Begin;
use drctl::replay::stop::Stop;
use drctl::util::cancel::Cancel;
use rustix::process::Signal;

use super::command::{backed_up, last_gtid, restore_grants};
use super::faults::{Fault, faulty};
use super::{Case, MIXED, block_on};
use crate::on_both;
use crate::support::Flavour;
use crate::support::compare::{differences, picture};

/// The programs of a directory.
fn through(case: &Case, dir: &Path) -> ReplayPath {
    let config = ServerConfig {
        client_dir: Some(dir.to_owned()),
        ..case.config()
    };
    block_on(async move { ReplayPath::through_client(&config).await }).unwrap()
}

/// The programs of the lab.
fn programs(case: &Case) -> ReplayPath {
    through(case, &case.into.flavour().client_dir())
}

on_both!(
    fn the_log_through_the_programs_makes_the_destination_the_source(flavour) {
        let case = Case::new(flavour, "");
        if flavour == Flavour::MySql {
            case.source.exec("SET SESSION binlog_transaction_compression = ON; CALL shop.fill(9, 20)");
        }
        case.source.exec(MIXED);
        // Statements that return rows, and one that names no schema.
        case.source.exec(
            "ANALYZE TABLE shop.orders; OPTIMIZE TABLE shop.audit; CREATE DATABASE coll; USE coll; CREATE TABLE t (a INT); \
             USE shop; ALTER DATABASE COLLATE utf8mb4_bin; CREATE TABLE coll.u (a VARCHAR(9)); CREATE TABLE binary_names (a VARCHAR(9))",
        );
        let stretch = case.stretch(Stop::End).unwrap();
        assert!(stretch.plan.transactions > 60, "{stretch:?}");
        let log = Arc::new(case.log());
        let path = programs(&case);
        let replayed = case.replay_by(path, log, &stretch, Begin::Fresh, &Cancel::default()).unwrap();
        assert_eq!(replayed.transactions, stretch.plan.transactions);
        case.no_trace();
        case.equal();
    }
);

/// The lab's programs, with one that does something else.
fn with_liar(case: &Case, name: &str, script: &str) -> ReplayPath {
    let flavour = case.into.flavour();
    let dir = case.into.datadir().with_file_name("programs");
    fs::create_dir_all(&dir).unwrap();
    for program in fs::read_dir(flavour.client_dir()).unwrap() {
        let (program, link) = (
            program.as_ref().unwrap().path(),
            dir.join(program.unwrap().file_name()),
        );
        let is_liar = program.file_name().unwrap().to_string_lossy() == name;
        if !is_liar && !link.exists() {
            std::os::unix::fs::symlink(&program, &link).unwrap();
        }
    }
    let real = flavour.client_dir().join(name);
    let text = format!(
        "#!/bin/sh\nreal() {{ {} \"$@\"; }}\n{script}\n",
        real.display()
    );
    let liar = dir.join(name);
    fs::write(&liar, text).unwrap();
    fs::set_permissions(&liar, fs::Permissions::from_mode(0o755)).unwrap();
    through(case, &dir)
}

on_both!(
    fn what_breaks_off_or_is_lost_on_the_way_is_never_success(flavour) {
        let (printer, client) = match flavour {
            Flavour::MySql => ("mysqlbinlog", "mysql"),
            Flavour::MariaDb => ("mariadb-binlog", "mariadb"),
        };
        // Ends behind a whole transaction, without an error.
        let some = r#"awk '{ print } /^COMMIT/ && ++n == 20 { exit }'"#;
        let prints_some = format!(r#"real "$@" | {some}"#);
        let reads_some = format!(r#"{some} | real "$@""#);
        type Way<'a> = (Option<Fault>, Option<(&'a str, &'a str)>, Outcome, &'a [&'a str]);
        let ways: [Way<'_>; 6] = [
            (Some(Fault::Fail), None, Outcome::Store, &["the store is away"]),
            (Some(Fault::Drop), None, Outcome::Archive, &["the log holds 59", "the log lacks"]),
            (None, Some((printer, &prints_some)), Outcome::Verification, &["ended before the last transaction"]),
            (None, Some((client, &reads_some)), Outcome::Server, &["without printing an error"]),
            (None, Some((printer, "cat >/dev/null; exit 1")), Outcome::Server, &["cannot read the log"]),
            (None, Some((client, "cat >/dev/null; exit 1")), Outcome::Server, &["without printing an error"]),
        ];
        for (fault, liar, outcome, words) in ways {
            let case = Case::new(flavour, "");
            case.source.exec("CALL shop.fill(5, 60)");
            let stretch = case.stretch(Stop::End).unwrap();
            let path = match liar {
                Some((name, script)) => with_liar(&case, name, script),
                None => programs(&case),
            };
            let log: Arc<dyn drctl::replay::feed::Log> = match fault {
                Some(fault) => faulty(&case, fault, 30),
                None => Arc::new(case.log()),
            };
            let failed = case.replay_by(path, log, &stretch, Begin::Fresh, &Cancel::default()).unwrap_err();
            println!("{liar:?}: {failed}");
            assert_eq!(failed.outcome(), outcome, "{failed}");
            assert!(words.iter().any(|words| failed.to_string().contains(words)), "{failed}");
            case.no_trace();
        }
    }
);

/// What a source has besides, before its backup.
const EVENTS: &str = "
    CREATE EVENT shop.stays ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 00:00:00' DO DELETE FROM shop.audit;
    CREATE EVENT shop.turned_off ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 00:00:00' DO DELETE FROM shop.audit;
    CREATE EVENT shop.goes ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 00:00:00' DO DELETE FROM shop.audit";

on_both!(
    fn a_restore_through_the_programs_ends_at_the_moment_with_its_events(flavour) {
        let (source, into, drctl) = backed_up(flavour);
        source.exec(EVENTS);
        drctl.run(["backup"]).ok();
        if flavour == Flavour::MySql {
            source.exec("CREATE TABLE shop.keyless (a INT); ALTER EVENT shop.stays RENAME TO shop.renamed");
            into.exec("SET GLOBAL sql_generate_invisible_primary_key = ON");
        }
        // One that would delete what is replayed, if it ran meanwhile.
        source.exec(
            "ALTER EVENT shop.turned_off DISABLE; DROP EVENT shop.goes; \
             CREATE EVENT shop.comes ON SCHEDULE EVERY 1 SECOND STARTS '2020-01-01 00:00:00' DO DELETE FROM shop.lines_of; \
             CALL shop.fill(2, 300); ALTER EVENT shop.comes DISABLE",
        );
        let held = picture(&source);
        source.exec("DROP TABLE shop.lines_of");
        drctl.run(["stream", "--once"]).ok();
        into.exec("SET GLOBAL event_scheduler = ON");
        let command = ["restore", "--before-statement", "drop table", "--path", "client"];
        drctl.run(["restore", "--latest", "--path", "client"]).refused(2, &["--path", "no point in time"]);
        let report = drctl.run([&command[..], &["--output", "json"]].concat()).ok().json();
        assert!(report["replayed"]["transactions"].as_u64().unwrap() > 300, "{report}");
        assert_eq!(into.value("SELECT @@GLOBAL.event_scheduler"), "ON");
        if flavour == Flavour::MySql {
            // A renamed one is still marked, and is named.
            let warnings = report["warnings"].to_string();
            assert!(warnings.contains("are disabled") && warnings.contains("renamed"), "{report}");
            into.exec("ALTER EVENT shop.renamed ENABLE");
        }
        let all = differences(&held, &picture(&into), |_| true);
        assert!(all.is_empty(), "{}", all.join("\n"));
        let states = "SELECT GROUP_CONCAT(event_name, ' ', status ORDER BY event_name) FROM information_schema.events \
            WHERE event_schema = 'shop'";
        let states = into.value(states);
        let stays = if flavour == Flavour::MySql { "renamed ENABLED" } else { "stays ENABLED" };
        assert_eq!(states, format!("comes DISABLED,{stays},turned_off DISABLED"));
    }
);

on_both!(
    fn what_the_programs_cannot_do_is_refused_before_anything_is_changed(flavour) {
        let (source, into, drctl) = backed_up(flavour);
        source.exec("CALL shop.fill(2, 5)");
        let held = picture(&source);
        let last = last_gtid(&source);
        drctl.run(["stream", "--once"]).ok();
        let command = ["restore", "--to-gtid", last.as_str(), "--path", "client"];
        // Into the server that wrote the log: its own transactions would take GTIDs of the log.
        if flavour == Flavour::MySql {
            let url = source.url();
            let itself = [&command[..], &["--into", url.as_str(), "--overwrite", "--confirm", "shop"]].concat();
            drctl.run(itself).refused(9, &["wrote the log itself", "--path client"]);
        }
        into.account("restorer", "pass-word", restore_grants(flavour));
        into.exec("SET GLOBAL log_bin_trust_function_creators = ON; SET GLOBAL event_scheduler = ON");
        let restorer = drctl.env("DRCTL_INTO_URL", &into.tcp_url("restorer")).env("DRCTL_INTO_PASSWORD", "pass-word");
        let privileges = match flavour {
            Flavour::MySql => ["REPLICATION_APPLIER", "SYSTEM_VARIABLES_ADMIN"],
            Flavour::MariaDb => ["BINLOG REPLAY", "SUPER"],
        };
        for (at, privilege) in privileges.iter().enumerate() {
            restorer.run(command).refused(9, &["lacks privileges to replay", &privileges[at..].join(", "), "GRANT"]);
            into.exec(&format!("GRANT {privilege} ON *.* TO restorer"));
        }
        if flavour == Flavour::MariaDb {
            into.exec("SET GLOBAL gtid_strict_mode = ON");
            restorer.run(command).refused(9, &["gtid_strict_mode = ON", "OFF"]);
            into.exec("SET GLOBAL gtid_strict_mode = OFF; SET GLOBAL slave_run_triggers_for_rbr = ENFORCE");
            restorer.run(command).refused(9, &["slave_run_triggers_for_rbr = ENFORCE", "run again", "SET GLOBAL"]);
            into.exec("SET GLOBAL slave_run_triggers_for_rbr = NO");
        }
        restorer.run(command).ok();
        let all = differences(&held, &picture(&into), |_| true);
        assert!(all.is_empty(), "{}", all.join("\n"));
    }
);

on_both!(
    fn a_killed_replay_through_the_programs_is_begun_anew(flavour) {
        let (source, into, drctl) = backed_up(flavour);
        source.exec("CALL shop.fill(2, 3000)");
        drctl.run(["stream", "--once"]).ok();
        let last = last_gtid(&source);
        let command = ["restore", "--to-gtid", last.as_str(), "--path", "client"];
        let running = drctl.start([&command[..], &["--allow-connections"]].concat());
        let rows = || into.value("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'shop'");
        while rows() != "4" || into.value("SELECT COUNT(*) FROM shop.orders").parse::<u64>().unwrap() < 60 {
            std::thread::sleep(Duration::from_millis(20));
        }
        running.signal(Signal::KILL);
        assert_eq!(running.wait().code, 128 + 9);
        let resumed = drctl.run(command);
        resumed.refused(9, &["cannot be resumed", "discard"]);
        // Nor by the other path: nothing tells how far it came.
        let other = drctl.run(["restore", "--to-gtid", last.as_str()]);
        other.refused(9, &["unfinished restore"]);
        let anew = [&command[..], &["--discard", "--confirm", "shop"]].concat();
        let run = drctl.run(&anew);
        if flavour == Flavour::MySql {
            // The GTIDs that it has executed remain.
            run.refused(9, &["has executed transactions of the log", "--overwrite"]);
            drctl.run([&anew[..], &["--overwrite"]].concat()).ok();
        } else {
            run.ok();
        }
        let all = differences(&picture(&source), &picture(&into), |_| true);
        assert!(all.is_empty(), "{}", all.join("\n"));
    }
);

on_both!(
    fn a_statement_that_the_client_would_take_for_several_is_refused_by_name(flavour) {
        // The rest of each would be a statement of its own, whatever it is.
        let hostile = "CREATE TABLE shop.`x\nDELETE FROM shop.audit/*!*/;\n#` (id INT PRIMARY KEY)";
        let texts = [
            "SET SESSION binlog_format = 'ROW'; INSERT INTO shop.`x\nDELETE FROM shop.audit/*!*/;\n#` VALUES (1)",
            "CREATE TABLE shop.hostile (a INT) COMMENT '/*!*/; CREATE USER eve; --'",
            "CREATE VIEW shop.hostile AS SELECT 1 AS\n  delimiter , 2 AS b",
            "SET SESSION binlog_format = 'STATEMENT'; INSERT INTO shop.audit (what) VALUES ('\nDELIMITER \n')",
        ];
        let compressed = format!("SET SESSION binlog_transaction_compression = ON; {}", texts[0]);
        let more = (flavour == Flavour::MySql).then_some(compressed.as_str());
        for text in texts.into_iter().chain(more) {
            let case = Case::new(flavour, hostile);
            case.source.exec(text);
            let stretch = case.stretch(Stop::End).unwrap();
            let log = Arc::new(case.log());
            let cancel = Cancel::default();
            let path = programs(&case);
            let failed = case.replay_by(path, log.clone(), &stretch, Begin::Fresh, &cancel).unwrap_err();
            println!("{failed}");
            assert_eq!(failed.outcome(), Outcome::Refused);
            assert!(failed.to_string().contains("would end a statement for the client"), "{failed}");
            assert_eq!(case.into.value("SELECT COUNT(*) FROM mysql.user WHERE user = 'eve'"), "0");
            // A replica reads no text.
            case.replay(log, &stretch, Begin::Fresh).unwrap();
            case.equal();
        }
    }
);
