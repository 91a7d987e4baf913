//! `drctl doctor` on real servers and stores: what is well is OK, and what is not names its fix.

use std::fs;

use serde_json::Value;

use crate::on_both;
use crate::support::fault_proxy::{Fault, FaultProxy, When};
use crate::support::versitygw::Gateway;
use crate::support::{Drctl, Flavour, Server};

/// A server with a schema, to be dumped and restored into.
pub fn drctl(server: &Server) -> Drctl {
    server.exec("CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY); INSERT INTO shop.t VALUES (1)");
    Drctl::new("shop").source(server).into(server)
}

/// The checks, after an exit with that code.
#[track_caller]
pub fn checks(drctl: &Drctl, code: i32) -> Vec<Value> {
    let run = drctl.run(["doctor", "--output", "json"]);
    assert_eq!(run.code, code, "{run:#?}");
    run.json().as_array().unwrap().clone()
}

/// There is such a check, which says so and names such a fix.
#[track_caller]
pub fn says(checks: &[Value], status: &str, what: &str, fix: &str) {
    let holds = |check: &Value, field: &str, text: &str| {
        check[field].as_str().unwrap_or_default().contains(text)
    };
    let found = checks.iter().any(|check| {
        check["status"] == status && holds(check, "what", what) && holds(check, "fix", fix)
    });
    assert!(found, "no {status} {what:?} with {fix:?} in {checks:#?}");
}

on_both!(
    fn a_standby_and_a_lease_that_are_missing_are_warnings(flavour) {
        let server = Server::start_with(flavour, &["--log-bin=bin", "--server-id=1", "--net-write-timeout=600"]);
        let drctl = drctl(&server).env("DRCTL_LEASE_SIDE", "eu").env("DRCTL_STANDBY_LAG_SECONDS", "60");
        drctl.run(["backup"]).ok();
        let found = checks(&drctl, 0);
        says(&found, "WARN", "no standby has reported", "drctl standby");
        says(&found, "WARN", "no side ever held the lease; this side is eu", "drctl lease --first");
        let report = |lag: i64| {
            let now = jiff::Timestamp::now();
            let report = serde_json::json!({
                "format": 1, "target": "shop", "server": "standby:3306", "state": "following", "since": now,
                "backup": null, "timeline": null, "applied_until": now - jiff::SignedDuration::from_secs(lag),
                "executed": null, "transactions": 7, "compared": null, "error": null, "written_at": now,
            });
            fs::write(drctl.store_dir().join("shop/standby.json"), report.to_string()).unwrap();
        };
        report(5);
        let found = checks(&drctl, 0);
        let standby = found.iter().find(|check| check["check"] == "standby").expect("a check");
        assert_eq!(standby["status"], "OK", "{standby:#}");
        report(3_600);
        says(&checks(&drctl, 0), "WARN", "standby:3306 following, 1 h behind", "DrctlStandbyLate");
    }
);

on_both!(
    fn what_is_well_is_ok_and_leaves_nothing_in_the_store(flavour) {
        let server = Server::start_with(flavour, &["--log-bin=bin", "--server-id=1", "--net-write-timeout=600"]);
        let drctl = drctl(&server);
        drctl.run(["backup"]).ok();
        let files = |drctl: &Drctl| {
            let mut files = Vec::new();
            crate::support::backup::walk(&drctl.store_dir(), &mut files);
            files.retain(|file| file.contains("probe"));
            files
        };
        let checks = checks(&drctl, 0);
        let unwell: Vec<_> = checks.iter().filter(|check| check["status"] != "OK").collect();
        assert!(unwell.is_empty(), "{unwell:#?}");
        let names: Vec<_> = checks.iter().map(|check| check["check"].as_str().unwrap()).collect();
        assert_eq!(
            names,
            ["store: list", "newest backup", "store: write", "source", "client", "preflight", "reader", "restore destination"]
        );
        assert_eq!(files(&drctl), Vec::<String>::new());
        let page = drctl.run(["doctor"]).ok().stdout;
        assert_eq!(page.lines().filter(|line| line.starts_with("OK ")).count(), names.len(), "{page}");
    }
);

on_both!(
    fn every_fault_of_the_source_is_told_at_once_with_its_fix(flavour) {
        let server = Server::start(flavour);
        let drctl = drctl(&server);
        server.exec(
            "CREATE TABLE shop.loose (id INT) ENGINE=MyISAM;
             CREATE TABLE shop.gone (id INT); CREATE VIEW shop.broken AS SELECT id FROM shop.gone; DROP TABLE shop.gone;
             CREATE USER left_us; CREATE DEFINER = left_us PROCEDURE shop.p() SELECT 1; DROP USER left_us;
             CREATE TABLE shop.lossy (price FLOAT); CREATE VIEW shop.seen AS SELECT price FROM shop.lossy",
        );
        let checks = checks(&drctl, 9);
        says(&checks, "FAIL", "not transactional", "convert them to InnoDB");
        says(&checks, "FAIL", "cannot dump", "repair or drop them");
        says(&checks, "WARN", "definer left_us@%", "create the account");
        says(&checks, "WARN", "shop.lossy.price", "docs/proof.md");
        assert!(!format!("{checks:?}").contains("shop.seen.price"), "a view is its query");
        says(&checks, "WARN", "has no backup", "drctl backup");
        says(&checks, "OK", "socket", "");
    }
);

on_both!(
    fn missing_privileges_are_told_as_the_grant_that_gives_them(flavour) {
        let server = Server::start(flavour);
        let drctl = drctl(&server).env("DRCTL_SOURCE_PASSWORD", "x");
        server.account("poor", "x", &["SELECT ON shop.*"]);
        let drctl = drctl.env("DRCTL_SOURCE_URL", &server.url_as("poor"));
        let checks = checks(&drctl, 4);
        says(&checks, "FAIL", "TRIGGER on *.*", "GRANT ");
        says(&checks, "OK", &server.url(), "");
    }
);

#[test]
fn a_server_that_is_not_there_and_an_unknown_client_stop_no_other_check() {
    crate::need!(MariaDb);
    let server = Server::start(Flavour::MariaDb);
    let drctl = drctl(&server).env("DRCTL_SOURCE_URL", "mysql://root@127.0.0.1:1");
    let found = checks(&drctl, 4);
    says(&found, "FAIL", "127.0.0.1:1", "");
    says(&found, "OK", "conditional write work", "");
    says(&found, "OK", &server.url(), "");
    let drctl = drctl.without("DRCTL_SOURCE_URL").without("DRCTL_INTO_URL");
    let found = checks(&drctl, 2);
    says(
        &found,
        "FAIL",
        "source.url is not configured",
        "DRCTL_SOURCE_URL",
    );
    says(
        &found,
        "WARN",
        "no destination is configured",
        "DRCTL_INTO_URL",
    );
}

#[test]
fn a_look_keeps_no_backup_from_running_and_none_keeps_it_from_looking() {
    crate::need!(MariaDb);
    let server = Server::start(Flavour::MariaDb);
    let drctl = drctl(&server);
    let mut session = server.session();
    session.run("SELECT GET_LOCK('drctl.shop', 0)");
    let checks = checks(&drctl, 0);
    says(&checks, "OK", "everything can be dumped", "");
    drctl
        .run(["backup"])
        .refused(11, &["another backup of shop is running", "wait for it"]);
}

#[test]
fn a_store_that_cannot_be_written_is_told() {
    crate::need!(MariaDb);
    let server = Server::start(Flavour::MariaDb);
    let drctl = drctl(&server);
    let file = drctl.home().join("file");
    fs::write(&file, "in the way").unwrap();
    let drctl = drctl.env("DRCTL_STORE", &format!("file://{}/below", file.display()));
    let checks = checks(&drctl, 5);
    says(&checks, "FAIL", "below", "mount its disk");
    says(&checks, "OK", "everything can be dumped", "");
}

#[test]
fn an_empty_directory_is_no_fault_before_the_first_backup() {
    crate::need!(MariaDb);
    let server = Server::start(Flavour::MariaDb);
    let drctl = drctl(&server);
    let empty = drctl.home().join("empty");
    fs::create_dir(&empty).unwrap();
    let drctl = drctl.env("DRCTL_STORE", &format!("file://{}", empty.display()));
    let checks = checks(&drctl, 0);
    says(
        &checks,
        "WARN",
        "no mark",
        "drctl backup creates the first one",
    );
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 0, "nothing is made");
}

/// drctl with a store in the bucket of an S3 server.
fn in_s3(server: &Server, gateway: &Gateway) -> Drctl {
    let mut drctl = drctl(server).env("DRCTL_STORE", &format!("s3://{}/p", gateway.bucket()));
    for (name, value) in gateway.environment() {
        drctl = drctl.env(name, &value);
    }
    drctl
}

#[test]
fn an_s3_store_is_looked_at_like_any_other() {
    crate::need!(MariaDb);
    crate::need!(Gateway);
    let server = Server::start(Flavour::MariaDb);
    let gateway = Gateway::shared();
    let drctl = in_s3(&server, gateway);
    says(&checks(&drctl, 0), "OK", "conditional write work", "");
    let drctl = drctl.env("DRCTL_STORE", "s3://no-such-bucket/p");
    says(
        &checks(&drctl, 5),
        "FAIL",
        "no-such-bucket",
        "name of the bucket",
    );
}

#[test]
fn a_store_that_overwrites_or_returns_other_bytes_is_told() {
    crate::need!(MariaDb);
    crate::need!(Gateway);
    let server = Server::start(Flavour::MariaDb);
    let gateway = Gateway::shared();
    let mut drctl = in_s3(&server, gateway);
    let taken = Fault::Say(200, vec![("etag", "\"x\"".to_owned())], String::new());
    let other = Fault::Rewrite(|text| text.replace("was here", "was gone"));
    for (when, fault, what, fix) in [
        (
            When::put("probe").nth(2),
            taken,
            "ignores If-None-Match",
            "two runs could overwrite",
        ),
        (
            When::is("GET", "probe"),
            other,
            "did not return the bytes that were written",
            "",
        ),
    ] {
        let proxy = FaultProxy::start(gateway.address());
        proxy.fault(when, fault);
        // Without a checksum, only the comparison notices other bytes.
        drctl = drctl
            .env("AWS_ENDPOINT_URL", &proxy.url())
            .env("DRCTL_STORE_S3_CHECKSUM", "off");
        says(&checks(&drctl, 5), "FAIL", what, fix);
    }
}

#[test]
fn what_a_killed_restore_left_is_told() {
    crate::need!(MariaDb);
    let (server, into) = (
        Server::start(Flavour::MariaDb),
        Server::start_with(Flavour::MariaDb, &["--max-allowed-packet=1M"]),
    );
    let drctl = drctl(&server).into(&into);
    server.exec(
        "CREATE TABLE shop.big (b LONGBLOB); INSERT INTO shop.big VALUES (REPEAT('x', 2000000))",
    );
    drctl.run(["backup"]).ok();
    into.exec(
        "CREATE DATABASE drctl_restore;
         CREATE TABLE drctl_restore.settings (name VARCHAR(64) PRIMARY KEY, value TEXT NOT NULL);
         INSERT INTO drctl_restore.settings VALUES ('sync_binlog', '1')",
    );
    let checks = checks(&drctl, 0);
    says(&checks, "WARN", "unfinished restore", "restore --keep");
    says(
        &checks,
        "WARN",
        "left settings changed: sync_binlog",
        "--undo-settings",
    );
    says(
        &checks,
        "WARN",
        "max_allowed_packet is 1048576",
        "SET GLOBAL max_allowed_packet",
    );
}

#[test]
fn what_a_streamer_needs_is_checked_where_one_is_configured() {
    crate::need!(MySql);
    let options = [
        "--sync-binlog=0",
        "--binlog-expire-logs-seconds=3600",
        "--net-write-timeout=600",
    ];
    let server = Server::start_with(Flavour::MySql, &options);
    let drctl = drctl(&server);
    drctl.run(["backup"]).ok();
    let of_stream = |checks: &[Value]| {
        checks
            .iter()
            .filter(|check| check["check"] == "stream")
            .count()
    };
    assert_eq!(of_stream(&checks(&drctl, 0)), 0);
    let drctl = drctl.env("DRCTL_STREAM_CUT_SECONDS", "5");
    let found = checks(&drctl, 0);
    says(&found, "OK", "of binary log", "");
    says(&found, "WARN", "sync_binlog is 0", "set sync_binlog = 1");
    says(
        &found,
        "WARN",
        "binlog_expire_logs_seconds is 3600",
        "259200 or more",
    );
}
