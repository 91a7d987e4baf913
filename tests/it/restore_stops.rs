//! Restores that are stopped half-way, through the real program: what the line says, and that the
//! same command resumes, doubles nothing and puts settings back.

use std::collections::{BTreeMap, BTreeSet};

use rustix::process::Signal;

use super::restore_refusals::backup_of;
use crate::on_both;
use crate::support::fault_proxy::{Fault, FaultProxy, When};
use crate::support::versitygw::Gateway;
use crate::support::wait::until;
use crate::support::wire::{Strike, Wire};
use crate::support::{Drctl, Flavour, Server};

const PASSWORD: &str = "writes-all-of-it";

/// About 12 MB in a table where a row too many would show.
const BIG: &str = "CREATE TABLE small (id INT PRIMARY KEY); INSERT INTO small VALUES (1);
    CREATE TABLE big (id INT, filler VARCHAR(2000), KEY (id));
    INSERT INTO big WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 750)
      SELECT i, REPEAT(CHAR(65 + i % 26), 2000) FROM n;
    INSERT INTO big SELECT * FROM big; INSERT INTO big SELECT * FROM big; INSERT INTO big SELECT * FROM big";

/// When this much of it was sent, one of its two frames is in and the other under way.
const HALF_WAY: u64 = 10 << 20;

/// A target with an account for restores, and a backup to restore there.
fn made(flavour: Flavour, options: &[&str]) -> (Server, String, Drctl) {
    let server = Server::start_with(flavour, options);
    server.account("restorer", PASSWORD, &[]);
    server.exec("GRANT ALL ON *.* TO restorer@'%' WITH GRANT OPTION");
    let (schema, drctl) = backup_of(flavour, BIG, &server);
    let drctl = drctl
        .env("DRCTL_INTO_URL", &server.tcp_url("restorer"))
        .env("DRCTL_INTO_PASSWORD", PASSWORD);
    (server, schema, drctl)
}

/// The same command by a wire that strikes half-way.
fn by_wire(server: &Server, drctl: Drctl, strike: Strike) -> (Wire, Drctl) {
    let wire = Wire::to(server, HALF_WAY, strike);
    let url = wire.url("restorer");
    (wire, drctl.env("DRCTL_INTO_URL", &url))
}

/// Its store in S3 behind a proxy.
fn in_s3(mut drctl: Drctl) -> (FaultProxy, Drctl) {
    let gateway = Gateway::shared();
    let proxy = FaultProxy::start(gateway.address());
    for (name, value) in gateway.environment() {
        drctl = drctl.env(name, &value);
    }
    let drctl = drctl
        .env("DRCTL_STORE", &format!("s3://{}/p", gateway.bucket()))
        .env("AWS_ENDPOINT_URL", &proxy.url());
    (proxy, drctl)
}

fn is_marked(server: &Server) -> bool {
    !server
        .query("SHOW DATABASES LIKE 'drctl\\_restore'")
        .is_empty()
}

/// Everything is there once, verified, and nothing else is left.
#[track_caller]
fn whole(server: &Server, schema: &str, drctl: &Drctl) {
    let count = |table: &str| server.value(&format!("SELECT COUNT(*) FROM {schema}.{table}"));
    assert_eq!(
        (count("small"), count("big")),
        ("1".to_owned(), "6000".to_owned())
    );
    assert!(!is_marked(server));
    assert!(!crate::support::backup::listed(drctl)[0]["verified_at"].is_null());
}

on_both!(
    fn a_connection_that_is_lost_half_way_costs_nothing(flavour) {
        let (server, schema, drctl) = made(flavour, &[]);
        let (wire, drctl) = by_wire(&server, drctl, Strike::Cut);
        let run = drctl.run(["restore", "--latest", "--lanes", "1"]).ok();
        assert!(wire.has_struck());
        assert!(run.stderr.contains("the connection was lost; reconnecting"), "{run:?}");
        whole(&server, &schema, &drctl);
    }
);

#[test]
fn a_store_that_fails_half_way_is_said_and_the_next_run_resumes() {
    let (server, schema, drctl) = made(Flavour::MariaDb, &[]);
    let (proxy, drctl) = in_s3(drctl);
    drctl.run(["backup"]).ok();
    drctl.run(["restore", "--latest"]).ok();
    server.exec(&format!("DROP DATABASE {schema}"));
    // What is verified is not read through first: its last request is for rows.
    let before = proxy.count("GET", "/dump.");
    drctl.run(["restore", "--latest"]).ok();
    let last = proxy.count("GET", "/dump.") - before;
    server.exec(&format!("DROP DATABASE {schema}"));
    let denied = Fault::Answer(403, "AccessDenied");
    proxy.fault(When::is("GET", "/dump.").nth(last), denied);
    drctl
        .run(["restore", "--latest"])
        .refused(5, &["dump.sql", "denied"]);
    assert!(is_marked(&server));
    drctl.run(["restore", "--latest"]).ok();
    whole(&server, &schema, &drctl);
}

/// A restore that checks a backup while it loads it costs no second reading of the rows, as `--check-first` does.
#[test]
fn rows_are_read_once_unless_they_are_to_be_checked_first() {
    let (server, schema, drctl) = made(Flavour::MariaDb, &[]);
    // Frames of rows are the long ones then.
    let (proxy, drctl) = in_s3(drctl.env("DRCTL_BACKUP_CODEC", "none"));
    drctl.run(["backup"]).ok();
    let restored = |more: &[&str]| {
        let before = proxy.requests().len();
        drctl.run([&["restore", "--latest"], more].concat()).ok();
        whole(&server, &schema, &drctl);
        server.exec(&format!("DROP DATABASE {schema}"));
        let mut reads = BTreeMap::new();
        for request in proxy.requests().split_off(before) {
            let range = request.header("range").unwrap_or_default().to_owned();
            let bounds = range.trim_start_matches("bytes=").split_once('-');
            let bytes = bounds
                .and_then(|(from, to)| Some(to.parse::<u64>().ok()? - from.parse::<u64>().ok()?));
            if request.path.contains("/dump.") && bytes > Some(1 << 20) {
                *reads.entry((request.path, range)).or_insert(0) += 1;
            }
        }
        assert!(reads.len() > 1, "no frames of rows: {:?}", proxy.requests());
        reads.into_values().collect::<BTreeSet<u32>>()
    };
    // It is verified by the first one.
    for (more, times) in [(&[][..], 1), (&[], 1), (&["--check-first"], 2)] {
        assert_eq!(restored(more), [times].into(), "{more:?}");
    }
}

on_both!(
    fn a_second_restore_at_once_is_turned_away_and_the_first_goes_on(flavour) {
        let (server, schema, drctl) = made(flavour, &[]);
        let direct = server.tcp_url("restorer");
        let (wire, drctl) = by_wire(&server, drctl, Strike::Hold);
        let first = drctl.start(["restore", "--latest"]);
        wire.wait_until_struck();
        let second = drctl.run(["restore", "--latest", "--into", &direct]);
        second.refused(11, &["another restore into this server is running", "wait for it to end"]);
        wire.mend();
        first.wait().ok();
        whole(&server, &schema, &drctl);
    }
);

on_both!(
    fn a_killed_restore_resumes_and_its_settings_are_put_back(flavour) {
        let (server, schema, drctl) = made(flavour, &["--log-bin=bin", "--server-id=1"]);
        let settings = || server.exec("SELECT @@innodb_flush_log_at_trx_commit, @@sync_binlog");
        let before = settings();
        let (wire, drctl) = by_wire(&server, drctl, Strike::Hold);
        let running = drctl.start(["restore", "--latest", "--fast-unsafe"]);
        wire.wait_until_struck();
        running.signal(Signal::KILL);
        assert_eq!(running.wait().code, 137);
        wire.mend();
        assert!(is_marked(&server));
        assert_ne!(settings(), before, "nothing was there to put back");
        // Until it is finished, nobody takes the half of it for the whole.
        let half = Drctl::new("half").source(&server);
        half.run(["backup"]).refused(9, &["drctl_restore", "resume it with the same drctl restore"]);
        drctl.run(["restore", "--latest"]).ok();
        assert_eq!(settings(), before);
        whole(&server, &schema, &drctl);
    }
);

on_both!(
    fn a_terminated_restore_puts_its_settings_back_and_resumes(flavour) {
        let (server, schema, drctl) = made(flavour, &[]);
        let flush = || server.value("SELECT @@innodb_flush_log_at_trx_commit");
        let (wire, drctl) = by_wire(&server, drctl, Strike::Cut);
        let running = drctl.start(["restore", "--latest", "--fast-unsafe", "--lanes", "1"]);
        wire.wait_until_struck();
        running.signal(Signal::TERM);
        running.wait().refused(143, &["stopped by SIGTERM"]);
        assert_eq!(flush(), "1");
        assert!(is_marked(&server));
        drctl.run(["restore", "--latest"]).ok();
        whole(&server, &schema, &drctl);
    }
);

on_both!(
    fn a_server_that_is_killed_half_way_and_comes_back(flavour) {
        let (server, schema, drctl) = made(flavour, &[]);
        let (wire, drctl) = by_wire(&server, drctl, Strike::Hold);
        let running = drctl.start(["restore", "--latest", "--lanes", "1"]);
        wire.wait_until_struck();
        server.kill();
        wire.mend();
        server.start_again();
        running.wait().ok();
        whole(&server, &schema, &drctl);
    }
);

on_both!(
    fn a_server_that_is_gone_for_good_is_said_and_the_next_run_resumes(flavour) {
        let (server, schema, drctl) = made(flavour, &[]);
        let (wire, drctl) = by_wire(&server, drctl, Strike::Sever);
        let drctl = drctl.env("DRCTL_RESTORE_RECONNECT_SECONDS", "2");
        let run = drctl.run(["restore", "--latest", "--lanes", "1"]);
        run.refused(10, &["the connection was lost, and cannot reconnect", "resume with the same command"]);
        assert!(is_marked(&server));
        wire.mend();
        drctl.run(["restore", "--latest"]).ok();
        whole(&server, &schema, &drctl);
    }
);

on_both!(
    fn a_disk_that_is_full_there_is_said_and_the_same_command_resumes(flavour) {
        // One file of data that may not grow further: the server says what it says of a full disk.
        let file = "--innodb-data-file-path=ibdata1:12M:autoextend:max:40M";
        let (server, schema, drctl) = made(flavour, &["--innodb-file-per-table=0", file]);
        server.exec(
            "CREATE DATABASE fill; CREATE TABLE fill.er (v VARCHAR(2000));
             INSERT INTO fill.er WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
               SELECT REPEAT('x', 2000) FROM n; INSERT INTO fill.er SELECT * FROM fill.er;
             INSERT INTO fill.er SELECT * FROM fill.er; INSERT INTO fill.er SELECT * FROM fill.er",
        );
        drctl.run(["restore", "--latest"]).refused(10, &["INSERT INTO `big`", "is full (1114)", "free disk space, then resume with the same command"]);
        assert!(is_marked(&server));
        server.exec("DROP DATABASE fill");
        // The pages of a dropped table are free a little later.
        until("it resumes", || drctl.run(["restore", "--latest"]).code == 0);
        whole(&server, &schema, &drctl);
    }
);
