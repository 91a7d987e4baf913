//! What `drctl serve` shows of an archived log, by the store alone; an account that may do nothing else; the agent's
//! streamer.

use rustix::process::{Pid, Signal, kill_process};

use super::*;
use crate::on_both;
use crate::support::receiver::{Received, Receiver};
use crate::support::serving::{Serving, on_a_free_port};
use crate::support::wait::until;

const COVERED: &str = "drctl_log_covered_until_timestamp_seconds";
const POINT: &str = "drctl_recovery_point_timestamp_seconds";
const FROM: &str = "drctl_log_recoverable_from_timestamp_seconds";
const GAPS: &str = "drctl_log_gaps";

/// A streamer in an account with just the privileges that the chart grants.
fn least(server: &Server) -> Drctl {
    let grants: &[&str] = match server.flavour() {
        Flavour::MySql => &["REPLICATION SLAVE, REPLICATION CLIENT ON *.*"],
        Flavour::MariaDb => &[
            "REPLICATION SLAVE, BINLOG MONITOR ON *.*",
            "SHOW VIEW ON mysql.proc",
        ],
    };
    server.account("drctl_stream", "stream-password", grants);
    streamer(server)
}

/// The same store, by the streamer's account.
fn run_stream(server: &Server, drctl: &Drctl) {
    let url = server.tcp_url("drctl_stream");
    let script =
        format!("DRCTL_SOURCE_URL={url} DRCTL_SOURCE_PASSWORD=stream-password drctl stream --once");
    drctl.shell(&script).ok();
}

on_both!(
    fn the_page_and_the_metrics_follow_the_archive_and_not_the_streamer(flavour) {
        let server = logging(flavour, &["--binlog-expire-logs-seconds=172800"]);
        server.exec(WRITER);
        let drctl = least(&server);
        let (drctl, address) = on_a_free_port(drctl);
        drctl.run(["backup"]).ok();
        let serving = Serving::ready(&drctl, address);
        let snapshot = serving.metric(POINT, &[]).expect("a backup");
        assert_eq!(serving.metric(COVERED, &[]), None);
        assert_eq!(serving.metric("drctl_stream_cut_seconds", &[]), Some(1.0));
        // MariaDB dates commits to the second, and what they cover ends a second before.
        let pause = || std::thread::sleep(std::time::Duration::from_millis(2_200));
        pause();
        server.exec("CALL d.write(20)");
        run_stream(&server, &drctl);
        serving.until("the log is covered", |serving| serving.metric(COVERED, &[]) >= Some(snapshot));
        assert_eq!(serving.metric(GAPS, &[]), Some(0.0));
        let covered = serving.metric(COVERED, &[]).expect("an archive");
        assert_eq!(serving.metric(POINT, &[]), Some(covered.max(snapshot)));
        assert_eq!(serving.metric(FROM, &[]), Some(snapshot));
        assert_eq!(serving.metric("drctl_log_expire_seconds", &[]), Some(172_800.0));
        let margin = serving.metric("drctl_stream_purge_margin_seconds", &[]).unwrap();
        assert!((172_000.0..172_801.0).contains(&margin), "{margin}");
        let page = serving.get("/").1;
        assert!(page.contains("Log covered") && page.contains("no gaps"), "{page}");
        assert!(!page.contains("DrctlLogNotCovered"), "{page}");

        // The server forgets its log: what is archived before leads nowhere, and no backup stands in what comes.
        server.exec(&format!("{}; CALL d.write(5)", reset(flavour)));
        run_stream(&server, &drctl);
        serving.until_metric(GAPS, &[], 1.0);
        assert_eq!(serving.metric(FROM, &[]), None);
        assert_eq!(serving.metric(POINT, &[]), Some(snapshot));
        assert!(serving.metric("drctl_log_timeline_timestamp_seconds", &["rewound"]).is_some());
        let page = serving.get("/").1;
        for runbook in ["DrctlLogGap.md", "DrctlTimelineRewound.md"] {
            assert!(page.contains(runbook), "{runbook}: {page}");
        }
        // Ids of timelines have whole seconds, and a backup counts from then on.
        pause();
        drctl.run(["backup"]).ok();
        pause();
        server.exec("CALL d.write(5)");
        run_stream(&server, &drctl);
        serving.until("a backup stands in the log", |serving| serving.metric(FROM, &[]) > Some(snapshot));
        // A damaged heartbeat hides nothing that was known, and ends no streamer.
        let head = log_dir(&drctl).join("head.json");
        fs::write(&head, "{").unwrap();
        let before = serving.metric(COVERED, &[]);
        serving.until("a scan", |serving| serving.metric(COVERED, &[]) == before);
        server.exec("CALL d.write(5)");
        run_stream(&server, &drctl);
        serving.until("the next heartbeat", |serving| serving.metric(COVERED, &[]) > before);
        serving.stop();
    }
);

on_both!(
    fn an_account_of_the_streamer_reads_the_log_and_no_table(flavour) {
        let server = logging(flavour, &[]);
        server.exec(WRITER);
        server.exec("CALL d.write(3)");
        let drctl = least(&server);
        run_stream(&server, &drctl);
        // Both accounts see the same server, so that a backup by the other stands in this log.
        drctl.run(["backup"]).ok();
        let shown = drctl.run(["show", "--latest", "--output", "json"]).ok().json();
        assert_eq!(log(&drctl)["timelines"][0]["server"], shown["server"]["identity"]);
        for sql in [
            "SELECT * FROM d.t",
            "SELECT * FROM mysql.user",
            "SELECT * FROM mysql.proc",
            "SHOW CREATE TABLE d.t",
            "INSERT INTO d.t (v) VALUES (1)",
            "FLUSH BINARY LOGS",
            "CREATE DATABASE e",
        ] {
            let mut client = server.client_command();
            client.args(["--user=drctl_stream", "--password=stream-password", "--execute", sql]);
            let output = client.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let absent = sql.contains("mysql.proc") && flavour == Flavour::MySql;
            assert!(!output.status.success(), "{sql}");
            assert!(said.contains("denied") || absent, "{sql}: {said}");
        }
    }
);

/// Processes of drctl that this one has started.
fn children(pid: u32) -> Vec<Pid> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let text = text.unwrap_or_default();
    let pids = text.split_whitespace().filter_map(|pid| pid.parse().ok());
    pids.filter_map(Pid::from_raw).collect()
}

#[test]
fn the_agent_keeps_a_streamer_and_tells_when_it_ends_and_when_it_archives_again() {
    crate::need!(MariaDb);
    let server = logging(Flavour::MariaDb, &[]);
    server.exec(WRITER);
    let person = Receiver::start();
    let drctl = streamer(&server)
        .env("DRCTL_NOTIFY_WEBHOOK_URL", &person.url("/"))
        .env("DRCTL_LOG_FORMAT", "human");
    let mut agent = drctl.start(["agent"]);
    agent.until_says("archiving from");
    until("it archives", || !segments(&drctl).is_empty());
    let streamers = children(agent.pid());
    assert_eq!(streamers.len(), 1, "{streamers:?}");
    kill_process(streamers[0], Signal::KILL).unwrap();
    let of = |kind: &'static str| {
        move |told: &Received| told.body.contains(&format!("\"kind\":\"{kind}\""))
    };
    let told = person.wait_for(of("failed")).json();
    assert_eq!(
        (&told["alert"], &told["verb"]),
        (&"DrctlLogNotCovered".into(), &"stream".into()),
        "{told}"
    );
    let said = told["message"].as_str().unwrap();
    assert!(
        said.contains("drctl stream ended") && said.contains("killed"),
        "{said}"
    );
    server.exec("CALL d.write(5)");
    let told = person.wait_for(of("recovered")).json();
    assert_eq!(told["message"], "the binary log is archived");
    agent.signal(Signal::TERM);
    let run = agent.wait();
    assert_eq!(run.code, 0, "{run:#?}");
    drctl.run(["log", "--check"]).ok();
    assert_eq!(timelines(&drctl).len(), 1);
}
