//! `drctl serve`: its pages follow the contents of the store, survive restarts and an unreachable store, and
//! need few requests.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use jiff::SignedDuration;

use crate::need;
use crate::support::backup::{shop, walk};
use crate::support::fault_proxy::{Fault, FaultProxy, When};
use crate::support::history::{hours_ago, objects, passed};
use crate::support::receiver::Receiver;
use crate::support::serving::{Serving, on_a_free_port};
use crate::support::versitygw::Gateway;
use crate::support::{Drctl, Flavour};

const SUCCESS: &str = "drctl_backup_last_success_timestamp_seconds";
const RESULT: &str = "drctl_verify_last_result";
const EXIT: &str = "drctl_run_last_exit_code";
const SCAN: &str = "drctl_catalog_last_scan_timestamp_seconds";

/// [`shop`], with scratch servers in a short directory of its own.
fn drilled_shop() -> Drctl {
    let (_, drctl) = shop();
    let scratch = drctl.home().join("s");
    fs::create_dir_all(&scratch).unwrap();
    let server = Flavour::MariaDb.server_bin();
    drctl
        .env("DRCTL_VERIFY_SCRATCH_DIR", &scratch.display().to_string())
        .env(
            "DRCTL_VERIFY_SERVER_DIRS",
            &server.parent().unwrap().display().to_string(),
        )
}

/// Changes one byte in the middle of each segment.
fn damage(drctl: &Drctl) {
    let mut files = Vec::new();
    walk(&drctl.store_dir(), &mut files);
    for file in files.iter().filter(|file| file.contains("/dump.sql")) {
        let mut bytes = fs::read(file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        fs::write(file, bytes).unwrap();
    }
}

#[test]
fn metrics_follow_a_backup_its_drill_a_missed_objective_and_a_failed_drill() {
    need!(MariaDb);
    let (drctl, address) = on_a_free_port(drilled_shop());
    let drctl = drctl
        .env("DRCTL_SCHEDULE_BACKUP", "@daily")
        .env("DRCTL_SCHEDULE_VERIFY", "@daily");
    let serving = Serving::ready(&drctl, address);
    assert_eq!(serving.metric("drctl_backups", &["usable"]), Some(0.0));
    assert_eq!(serving.metric(SUCCESS, &[]), None);
    let interval = serving.metric("drctl_schedule_interval_seconds", &["backup"]);
    assert_eq!(interval, Some(86400.0));
    assert!(serving.get("/").1.contains("There is no backup yet."));

    drctl.run(["backup"]).ok();
    serving.until_metric("drctl_backups", &["usable"], 1.0);
    serving.until_metric(EXIT, &["verb=\"backup\""], 0.0);
    assert!(serving.metric(SUCCESS, &[]).is_some());
    assert_eq!(serving.metric(RESULT, &[]), None);

    drctl.run(["verify", "--latest"]).ok();
    serving.until_metric(RESULT, &["level=\"restore\""], 1.0);
    assert!(
        serving
            .metric("drctl_verified_snapshot_timestamp_seconds", &[])
            .is_some()
    );
    let total = &["stage=\"total\"", "relaxed"];
    assert!(serving.metric("drctl_restore_duration_seconds", total) > Some(0.1));
    assert!(
        serving.get("/").1.contains("No problems."),
        "{}",
        serving.get("/").1
    );

    // The data are right, but the objective is missed.
    serving.stop();
    let drctl = drctl.env("DRCTL_OBJECTIVES_RPO_SECONDS", "1");
    drctl.run(["verify", "--latest"]).fails(8, "RPO of");
    let serving = Serving::ready(&drctl, address);
    serving.until_metric(EXIT, &["verb=\"verify\""], 8.0);
    assert_eq!(serving.metric(RESULT, &[]), Some(1.0));
    assert!(serving.get("/").1.contains("runbooks/DrctlRpoBreached.md"));
    assert!(
        serving
            .get("/")
            .1
            .contains("runbooks/DrctlObjectiveMissed.md")
    );

    // Of runs that end in the same second, the one with the higher exit code counts.
    let second = || jiff::Timestamp::now().as_second();
    let missed = second();
    while second() == missed {
        std::thread::sleep(Duration::from_millis(20));
    }
    damage(&drctl);
    drctl.run(["verify", "--latest"]).fails(6, "does not match");
    // Two objects show it, and a scan may fall between them.
    serving.until_metric(RESULT, &[], 0.0);
    serving.until_metric(EXIT, &["verb=\"verify\""], 6.0);
    let page = serving.get("/").1;
    assert!(page.contains("runbooks/DrctlVerifyFailed.md"), "{page}");
    assert!(page.contains("does not match its SHA-256"), "{page}");

    // A restart loses nothing.
    let lasting = |serving: &Serving| {
        let passing = [SCAN, "drctl_rpo_worst_seconds"];
        let mut lines = serving.metrics();
        lines.retain(|line| passing.iter().all(|name| !line.starts_with(name)));
        lines
    };
    let before = lasting(&serving);
    serving.stop();
    assert_eq!(lasting(&Serving::ready(&drctl, address)), before);
}

#[test]
fn an_unreachable_store_leaves_the_last_results_with_their_age_until_it_is_back() {
    need!(MariaDb);
    let (drctl, address) = on_a_free_port(shop().1);
    drctl.run(["backup"]).ok();
    let serving = Serving::ready(&drctl, address);
    let backup_at = serving.metric(SUCCESS, &[]);
    assert!(backup_at.is_some());

    let away = drctl.home().join("away");
    fs::rename(drctl.store_dir(), &away).unwrap();
    serving.until("the page shows it", |serving| {
        serving.get("/").1.contains("no such directory")
    });
    let scanned_at = serving.metric(SCAN, &[]);
    assert_eq!(serving.metric(SUCCESS, &[]), backup_at);
    assert_eq!(serving.get("/readyz").0, 200, "not at once");
    serving.until("not ready", |serving| serving.get("/readyz").0 == 503);
    assert_eq!(serving.metric(SCAN, &[]), scanned_at);
    assert_eq!(serving.metric(SUCCESS, &[]), backup_at);
    assert_eq!(serving.get("/healthz").0, 200);

    fs::rename(&away, drctl.store_dir()).unwrap();
    serving.until("ready again", |serving| serving.get("/readyz").0 == 200);
    serving.until("healthy again", |serving| {
        !serving.get("/").1.contains("DrctlStoreUnreachable")
    });
    let said = serving.stop().stderr;
    assert_eq!(said.matches("cannot read the store").count(), 1, "{said}");
    assert!(said.contains("the store is readable again"), "{said}");
}

/// drctl on a bucket behind a proxy, with the manifests of backups of these ages in hours.
fn in_a_bucket(hours: impl Iterator<Item = i64>) -> (Drctl, FaultProxy) {
    let (gateway, bucket) = (Gateway::shared(), Gateway::shared().bucket());
    for hours in hours {
        let (_, objects) = objects("shop", hours_ago(hours), |_| {});
        for (key, body) in objects
            .iter()
            .filter(|(key, _)| key.ends_with("manifest.json"))
        {
            let path = gateway.object(&bucket, &format!("p/{key}"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, body).unwrap();
        }
    }
    let proxy = FaultProxy::start(gateway.address());
    let mut drctl = Drctl::new("shop").env("DRCTL_STORE", &format!("s3://{bucket}/p"));
    for (name, value) in gateway.environment() {
        drctl = drctl.env(name, &value);
    }
    let drctl = drctl.env("AWS_ENDPOINT_URL", &proxy.url());
    (drctl, proxy)
}

#[test]
fn a_thousand_backups_are_read_once_and_then_listed() {
    need!(Gateway);
    let (drctl, proxy) = in_a_bucket(1..=1000);
    let (drctl, address) = on_a_free_port(drctl);
    let serving = Serving::ready(&drctl, address);
    assert_eq!(serving.metric("drctl_backups", &["usable"]), Some(1000.0));
    let scanned_at = serving.metric(SCAN, &[]);
    let read = proxy.count("GET", "manifest.json");
    assert_eq!(read, 1000, "each once");
    for _ in 0..2 {
        let before = serving.metric(SCAN, &[]);
        serving.until("another scan", |serving| serving.metric(SCAN, &[]) > before);
    }
    assert!(serving.metric(SCAN, &[]) > scanned_at);
    let requests = proxy.requests();
    let lists = requests
        .iter()
        .filter(|one| one.query.contains("list-type=2"))
        .count();
    // One per scan: whether the target still exists.
    let scans = proxy.count("HEAD", "target.json");
    // And one: whether a log is archived.
    let log = proxy.count("GET", "log/head.json");
    // And one: whether there is a standby.
    let standby = proxy.count("GET", "standby.json");
    assert!(
        log <= scans && standby <= scans,
        "{log}, {standby} of {scans} scans"
    );
    assert_eq!(
        requests.len() - lists - scans - log - standby,
        1000,
        "no other requests afterwards"
    );
    // A page of a thousand names, the empty page of the other millennium, and one for each day of runs.
    assert!(lists <= 4 * scans, "{lists} lists in {scans} scans");
    serving.stop();
}

#[test]
fn the_standby_of_a_second_store_is_a_metric_and_a_problem() {
    let drctl = drilled_shop();
    let second = drctl.home().join("second");
    let target = drctl.variables()["DRCTL_TARGET"].clone();
    fs::create_dir_all(second.join(&target)).unwrap();
    fs::copy(
        drctl.store_dir().join(".drctl-store"),
        second.join(".drctl-store"),
    )
    .unwrap();
    let place = format!("file://{}", second.display());
    let drctl = drctl
        .env("DRCTL_COPY_TO", &place)
        .env("DRCTL_STANDBY_LAG_SECONDS", "60");
    let report = |equal: bool| {
        let now = jiff::Timestamp::now();
        let report = serde_json::json!({
            "format": 1, "target": target, "server": "standby:3306", "state": "following", "since": now,
            "backup": null, "timeline": null, "applied_until": now, "executed": null, "transactions": 7,
            "compared": {"backup": "20261121T020000Z-3f9a1c", "at": now, "equal": equal, "differences": "1 object"},
            "error": null, "written_at": now,
        });
        fs::write(
            second.join(&target).join("standby.json"),
            report.to_string(),
        )
        .unwrap();
    };
    report(true);
    let (drctl, address) = on_a_free_port(drctl);
    let serving = Serving::ready(&drctl, address);
    let store = format!("store=\"{place}\"");
    let following = [store.as_str(), "state=\"following\""];
    serving.until_metric("drctl_standby_state", &following, 1.0);
    serving.until_metric("drctl_standby_lag_objective_seconds", &[], 60.0);
    let lag = || serving.metric("drctl_standby_lag_seconds", &[&store]);
    let before = lag().expect("a lag");
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    assert!(lag() > Some(before), "it grows");
    let page = serving.get("/").1;
    assert!(page.contains("standby:3306 following") && !page.contains("DrctlStandbyBroken"));
    report(false);
    serving.until("it differs", |serving| {
        serving.get("/").1.contains("DrctlStandbyBroken")
    });
    serving.stop();
}

#[test]
fn a_store_unreadable_at_first_is_reported_and_retried() {
    need!(Gateway);
    let (drctl, proxy) = in_a_bucket(1..=1);
    let drctl = drctl.env("DRCTL_STORE_S3_MAX_ATTEMPTS", "1");
    proxy.fault(
        When::is("GET", "").query("list-type=2").first(3),
        Fault::Answer(503, "SlowDown"),
    );
    let (drctl, address) = on_a_free_port(drctl);
    let serving = Serving::start(&drctl, address);
    serving.until("the page shows it", |serving| {
        serving
            .get("/")
            .1
            .contains("runbooks/DrctlStoreUnreachable.md")
    });
    assert_eq!(serving.get("/readyz").0, 503);
    assert_eq!(serving.metric(SCAN, &[]), Some(0.0));
    assert_eq!(serving.metric("drctl_backups", &["usable"]), None);
    assert!(serving.metric("drctl_build_info", &[]).is_some());
    serving.until("ready", |serving| serving.get("/readyz").0 == 200);
    assert_eq!(serving.metric("drctl_backups", &["usable"]), Some(1.0));
    serving.stop();
}

#[test]
fn a_store_that_never_answers_delays_neither_the_pages_nor_the_shutdown() {
    need!(Gateway);
    let (drctl, proxy) = in_a_bucket(1..=1);
    proxy.fault(When::is("GET", "").query("list-type=2"), Fault::Hang);
    let (drctl, address) = on_a_free_port(drctl);
    let serving = Serving::start(&drctl, address);
    serving.until("a LIST hangs", |_| proxy.count("GET", "") > 0);
    assert_eq!(serving.get("/readyz").0, 503);
    assert!(serving.get("/").1.contains("being read for the first time"));
    serving.stop();
}

#[test]
fn text_from_the_store_is_escaped_and_secrets_are_nowhere() {
    let secret = "s3cr3t-T0KEN";
    let (drctl, address) = on_a_free_port(Drctl::new("shop"));
    let drctl = drctl
        .env("DRCTL_SOURCE_URL", "mysql://root@localhost:1")
        .env("DRCTL_SOURCE_PASSWORD", secret)
        .env(
            "DRCTL_NOTIFY_WEBHOOK_URL",
            &format!("http://127.0.0.1:1/{secret}"),
        )
        .env("DRCTL_NOTIFY_TIMEOUT_SECONDS", "1");
    drctl.had("shop", hours_ago(2), |manifest| {
        manifest.suspect = vec!["table `<script>alert(1)</script>` vanished".into()];
    });
    // A failed run without a record.
    drctl.run(["backup"]).fails(4, "refused");
    let run = fs::read_dir(drctl.store_dir().join("shop/runs"))
        .unwrap()
        .next();
    let run = run.unwrap().unwrap().path();
    let text = fs::read_to_string(&run).unwrap();
    fs::write(
        &run,
        text.replacen("\"error\": \"", "\"error\": \"<img src=x onerror=y> ", 1),
    )
    .unwrap();
    let serving = Serving::ready(&drctl, address);
    let (status, page) = serving.get("/");
    assert_eq!(status, 200);
    for raw in ["<script", "<img", secret] {
        assert!(!page.contains(raw), "{raw}: {page}");
    }
    for shown in [
        "&lt;script&gt;",
        "&lt;img src=x",
        "DrctlBackupSuspect",
        "DrctlNotifierFailing",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let metrics = serving.get("/metrics").1;
    assert!(!metrics.contains(secret) && metrics.ends_with("# EOF\n"));
    assert_eq!(
        serving.metric("drctl_notify_last_result", &["webhook"]),
        Some(0.0)
    );
    assert_eq!(serving.get("/shop/target.json").0, 404);
    assert_eq!(serving.request("POST", "/metrics").0, 405);
    serving.stop();
}

#[test]
fn sigterm_ends_it_also_with_an_open_connection() {
    let (drctl, address) = on_a_free_port(Drctl::new("shop"));
    let serving = Serving::ready(&drctl, address);
    let mut held = TcpStream::connect(address).unwrap();
    write!(held, "GET / HTTP/1.1\r\nX-Slow: ").unwrap();
    // Keep-alive and idle.
    let mut idle = TcpStream::connect(address).unwrap();
    write!(idle, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert!(idle.read(&mut [0; 1000]).unwrap() > 0);
    let run = serving.stop();
    assert!(run.stderr.contains("stopped"), "{run:#?}");
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn an_address_in_use_is_reported_in_one_line() {
    let (drctl, address) = on_a_free_port(Drctl::new("shop"));
    let serving = Serving::ready(&drctl, address);
    drctl.run(["serve"]).refused(
        2,
        &[
            &format!("cannot listen on {address}"),
            "in use",
            "serve.listen",
        ],
    );
    serving.stop();
    let drctl = drctl.env("DRCTL_SERVE_LISTEN", "9898");
    drctl
        .run(["serve"])
        .refused(2, &["serve.listen", "127.0.0.1:9898"]);
}

#[test]
fn an_overdue_backup_is_notified_once_and_so_is_its_end() {
    let person = Receiver::start();
    let (drctl, address) = on_a_free_port(Drctl::new("shop"));
    let drctl = drctl
        .env("DRCTL_SCHEDULE_BACKUP", "@hourly")
        .env("DRCTL_SCHEDULE_VERIFY", "@hourly")
        .env("DRCTL_NOTIFY_WEBHOOK_URL", &person.url("/"));
    let old = drctl.had_backup("shop", hours_ago(3));
    drctl.mark("shop", old, &passed(hours_ago(1)));
    let serving = Serving::ready(&drctl, address);
    let late = person.wait_for(|_| true).json();
    assert_eq!(late["kind"], "late");
    assert_eq!(late["alert"], "DrctlBackupOverdue");
    let message = late["message"].as_str().unwrap();
    assert!(message.contains("no backup for 2 h 5"), "{message}");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(person.take().len(), 1, "once, and nothing of drills");

    drctl.had_backup("shop", hours_ago(0));
    let over = person.wait_for(|_| true).json();
    assert_eq!(
        (&over["kind"], &over["verb"]),
        (&"recovered".into(), &"backup".into())
    );
    let begun = Instant::now();
    serving.until("more scans", |_| begun.elapsed() > Duration::from_secs(3));
    assert_eq!(person.take().len(), 1);
    serving.stop();
}

#[test]
fn a_backup_that_becomes_overdue_is_notified_also_while_the_store_is_unreadable() {
    let person = Receiver::start();
    let (drctl, address) = on_a_free_port(Drctl::new("shop"));
    let drctl = drctl
        .env("DRCTL_SCHEDULE_BACKUP", "@hourly")
        .env("DRCTL_NOTIFY_WEBHOOK_URL", &person.url("/"));
    // It took two minutes, and is overdue in 15 seconds.
    let soon = SignedDuration::from_mins(-2) + SignedDuration::from_secs(15);
    drctl.had_backup("shop", hours_ago(2) + soon);
    let bound = r#"{"target": "shop", "identity": "x", "created_at": "2026-11-21T02:00:00Z"}"#;
    fs::write(drctl.store_dir().join("shop/target.json"), bound).unwrap();
    let serving = Serving::ready(&drctl, address);
    fs::rename(drctl.store_dir(), drctl.home().join("away")).unwrap();
    serving.until("the page shows it", |serving| {
        serving.get("/").1.contains("DrctlStoreUnreachable")
    });
    assert!(person.received().is_empty(), "not late yet");
    let late = person.wait_for(|_| true).json();
    assert_eq!(late["alert"], "DrctlBackupOverdue");
    let message = late["message"].as_str().unwrap();
    assert!(
        message.contains("possibly outdated: the store is unreadable"),
        "{message}"
    );
    serving.stop();
}
