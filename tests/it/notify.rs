//! Notifications of runs, from the real program to a real receiver.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::need;
use crate::support::Drctl;
use crate::support::backup::{dump_by, listed, server, shop, walk};
use crate::support::drctl::Run;
use crate::support::receiver::{Answer, Receiver};
use crate::support::wait::until;

/// A part of a URL that must not be printed anywhere.
const TOKEN: &str = "T0KEN-that-nobody-may-read";

/// A schema, and drctl with these keys of `notify`.
fn notifying(keys: &[(&str, &str)]) -> (String, Drctl) {
    let (schema, mut drctl) = shop();
    for (key, value) in keys {
        drctl = drctl.env(&format!("DRCTL_NOTIFY_{key}"), value);
    }
    (schema, drctl)
}

/// Name and contents of the record of its last run.
#[track_caller]
fn last_record(drctl: &Drctl) -> (String, Value) {
    let mut files = Vec::new();
    walk(&drctl.store_dir(), &mut files);
    files.retain(|file| file.contains("/runs/"));
    files.sort();
    let text = fs::read_to_string(files.last().expect("a record")).unwrap();
    assert!(!text.contains(TOKEN), "{text}");
    (text.clone(), serde_json::from_str(&text).unwrap())
}

#[track_caller]
fn silent_about_the_token(run: Run) -> Run {
    assert!(
        !run.stderr.contains(TOKEN) && !run.stdout.contains(TOKEN),
        "{run:#?}"
    );
    run
}

#[test]
fn a_failure_and_the_recovery_are_notified_and_every_good_backup_sends_a_heartbeat() {
    need!(MariaDb);
    let (hook, slack, beat) = (Receiver::start(), Receiver::start(), Receiver::start());
    let (schema, drctl) = notifying(&[
        ("WEBHOOK_URL", &hook.url("/hook")),
        ("SLACK_URL", &slack.url("/services")),
        ("HEARTBEAT_BACKUP_URL", &beat.url("/ping/1?a=b")),
        ("HEARTBEAT_VERIFY_URL", &beat.url("/ping/2")),
        ("LABELS", "namespace=dr"),
        ("RUNBOOKS_URL", "https://docs.example/runbooks/"),
    ]);
    let drctl = dump_by(drctl, "if [ -e broken ]; then exit 3; fi; real \"$@\"");
    drctl.run(["backup"]).ok();
    assert!(hook.take().is_empty() && slack.take().is_empty());
    let [life] = &beat.take()[..] else {
        panic!("one heartbeat")
    };
    assert_eq!(
        (life.method.as_str(), life.path.as_str()),
        ("POST", "/ping/1?a=b")
    );

    fs::write(drctl.home().join("broken"), "").unwrap();
    let run = drctl.run(["backup"]).refused(4, &["exited with 3"]);
    let [told] = &hook.take()[..] else {
        panic!("one notification")
    };
    let news = told.json();
    assert_eq!(told.path, "/hook");
    for (field, value) in [
        ("kind", "failed"),
        ("alert", "DrctlBackupFailed"),
        ("severity", "warning"),
        ("verb", "backup"),
        ("message", run.error_line()),
        (
            "runbook",
            "https://docs.example/runbooks/DrctlBackupFailed.md",
        ),
        ("target", &schema.replace('_', "-")),
    ] {
        assert_eq!(news[field], value, "{news:#}");
    }
    assert_eq!(
        (&news["exit"], &news["test"], &news["labels"]["namespace"]),
        (&4.into(), &false.into(), &"dr".into())
    );
    let text = slack.take()[0].json()["text"].as_str().unwrap().to_owned();
    assert!(
        text.contains("failed*")
            && text.contains("exited with 3")
            && text.contains("DrctlBackupFailed.md"),
        "{text}"
    );
    assert!(beat.take().is_empty(), "a failure sends no heartbeat");
    let (_, record) = last_record(&drctl);
    assert_eq!(
        record["notify"],
        serde_json::json!([{"notifier": "webhook"}, {"notifier": "slack"}])
    );

    fs::remove_file(drctl.home().join("broken")).unwrap();
    // Names of records have whole seconds.
    std::thread::sleep(Duration::from_millis(1100));
    drctl.run(["backup"]).ok();
    let [told] = &hook.take()[..] else {
        panic!("one notification")
    };
    assert_eq!(told.json()["kind"], "recovered");
    assert!(slack.take()[0].body.contains("recovered"));
    assert_eq!(beat.take().len(), 1);

    drctl.run(["backup"]).ok();
    assert!(
        hook.take().is_empty() && slack.take().is_empty(),
        "nothing new"
    );
    assert_eq!(beat.take().len(), 1);
}

#[test]
fn a_suspect_backup_is_an_alert_of_its_own() {
    need!(MariaDb);
    let hook = Receiver::start();
    let (schema, drctl) = notifying(&[("WEBHOOK_URL", &hook.url("/"))]);
    drctl.run(["backup"]).ok();
    server().exec(&format!("DELETE FROM `{schema}`.t WHERE id > 1"));
    drctl.run(["backup"]).refused(9, &["suspect"]);
    let news = hook.take()[0].json();
    assert_eq!(
        (&news["alert"], &news["severity"]),
        (&"DrctlBackupSuspect".into(), &"critical".into())
    );
    assert_eq!(news["backup"], listed(&drctl)[0]["id"]);
    let (_, record) = last_record(&drctl);
    assert!(
        record["error"]
            .as_str()
            .unwrap()
            .contains("is committed but suspect"),
        "{record:#}"
    );
}

#[test]
fn a_busy_notifier_is_retried() {
    need!(MariaDb);
    let busy = [
        Answer::Is(503, String::new()),
        Answer::Is(429, String::new()),
    ];
    let beat = Receiver::start().answer_next(&busy);
    let (_, drctl) = notifying(&[
        ("HEARTBEAT_BACKUP_URL", &beat.url("/")),
        ("HEARTBEAT_METHOD", "get"),
    ]);
    drctl.run(["backup"]).ok();
    let calls = beat.take();
    assert_eq!(calls.len(), 3);
    assert!(
        calls
            .iter()
            .all(|call| call.method == "GET" && call.body.is_empty())
    );
    let (_, record) = last_record(&drctl);
    assert_eq!(
        record["notify"],
        serde_json::json!([{"notifier": "heartbeat-backup"}])
    );
}

/// The backup succeeds, and the failed notification is in the log and in the run record.
#[track_caller]
fn fails_visibly(keys: &[(&str, &str)], why: &str) {
    let (_, drctl) = notifying(keys);
    let drctl = drctl.env("DRCTL_LOG_FORMAT", "human");
    let run = silent_about_the_token(drctl.run(["-vv", "backup"]).ok());
    let warned = |line: &&str| line.contains("cannot send notification") && line.contains(why);
    assert!(
        run.stderr.lines().any(|line| warned(&line)),
        "not a word of {why:?}: {run:#?}"
    );
    assert!(run.took < Duration::from_secs(20), "{run:#?}");
    let (text, record) = last_record(&drctl);
    assert_eq!(record["exit"], 0);
    assert!(
        record["notify"][0]["error"]
            .as_str()
            .is_some_and(|error| error.contains(why)),
        "{text}"
    );
    assert_eq!(listed(&drctl).len(), 1);
}

#[test]
fn a_failing_notifier_changes_no_exit_code_and_is_visible() {
    need!(MariaDb);
    let path = format!("/services/{TOKEN}");
    let gone = Receiver::start().answer_all(Answer::Is(404, TOKEN.into()));
    fails_visibly(
        &[("HEARTBEAT_BACKUP_URL", &gone.url(&path))],
        "answered 404",
    );
    assert_eq!(gone.take().len(), 1, "a definite refusal is not retried");

    let elsewhere = Receiver::start();
    let sent_on = Receiver::start().answer_all(Answer::Redirect(elsewhere.url(&path)));
    fails_visibly(
        &[("HEARTBEAT_BACKUP_URL", &sent_on.url(&path))],
        "answered 302",
    );
    assert!(
        elsewhere.take().is_empty(),
        "the token was sent to another host"
    );

    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("http://{closed}{path}");
    fails_visibly(
        &[("HEARTBEAT_BACKUP_URL", &url), ("TIMEOUT_SECONDS", "2")],
        "is unreachable: ",
    );

    let no_tls = Receiver::start();
    let url = no_tls.url(&path).replace("http:", "https:");
    fails_visibly(
        &[("HEARTBEAT_BACKUP_URL", &url), ("TIMEOUT_SECONDS", "2")],
        "is unreachable: ",
    );
}

#[test]
fn a_notifier_that_never_answers_costs_its_timeout_only() {
    need!(MariaDb);
    let (hung, well) = (
        Receiver::start().answer_all(Answer::Hang),
        Receiver::start(),
    );
    let (_, drctl) = notifying(&[
        ("HEARTBEAT_BACKUP_URL", &hung.url("/")),
        ("ALERTMANAGER_URL", &well.url("/am/")),
        ("TIMEOUT_SECONDS", "3"),
    ]);
    let begun = Instant::now();
    drctl.run(["backup"]).ok();
    assert!(begun.elapsed() > Duration::from_secs(3) && begun.elapsed() < Duration::from_secs(10));
    let (_, record) = last_record(&drctl);
    let told = record["notify"].as_array().unwrap();
    assert_eq!(
        told[0],
        serde_json::json!({"notifier": "alertmanager"}),
        "notifiers must not wait for each other"
    );
    assert!(
        told[1]["error"].as_str().unwrap().ends_with("timed out"),
        "{told:?}"
    );
    assert_eq!(well.take()[0].path, "/am/api/v2/alerts");
}

#[test]
fn an_invalid_url_does_not_prevent_a_backup() {
    need!(MariaDb);
    fails_visibly(
        &[("HEARTBEAT_BACKUP_URL_FILE", "/nowhere/url")],
        "cannot read notify.heartbeat.backup_url_file /nowhere/url",
    );
    fails_visibly(
        &[("HEARTBEAT_BACKUP_URL", &format!("hooks.example/{TOKEN}"))],
        "notify.heartbeat.backup_url is not an http:// or https:// URL",
    );
}

#[test]
fn a_url_may_be_in_a_file() {
    need!(MariaDb);
    let beat = Receiver::start();
    let (_, drctl) = notifying(&[("HEARTBEAT_BACKUP_URL_FILE", "url")]);
    fs::write(
        drctl.home().join("url"),
        format!("{}\n", beat.url("/from/file")),
    )
    .unwrap();
    drctl.run(["backup"]).ok();
    assert_eq!(beat.take()[0].path, "/from/file");
}

#[test]
fn settings_that_contradict_each_other_are_refused_without_their_values() {
    let url = format!("http://127.0.0.1/{TOKEN}");
    let (_, drctl) = notifying(&[("SLACK_URL", &url), ("SLACK_URL_FILE", "/x")]);
    let words = [
        "both notify.slack.url and notify.slack.url_file are set",
        "keep the file",
    ];
    silent_about_the_token(drctl.run(["backup"])).refused(2, &words);
    let (_, drctl) = notifying(&[("LABELS", "severity=none")]);
    drctl
        .run(["backup"])
        .refused(2, &["notify.labels sets severity"]);
}

#[test]
fn a_store_that_cannot_be_opened_is_notified() {
    let hook = Receiver::start();
    let drctl = Drctl::new("shop")
        .env("DRCTL_NOTIFY_WEBHOOK_URL", &hook.url("/"))
        .env("DRCTL_STORE", "file:///proc/nowhere");
    for (verb, alert) in [
        ("backup", "DrctlBackupFailed"),
        ("verify", "DrctlVerifyFailed"),
    ] {
        let args = if verb == "verify" {
            vec![verb, "--latest"]
        } else {
            vec![verb]
        };
        let run = drctl.run(args);
        assert_ne!(run.code, 0);
        let news = hook.take()[0].json();
        assert_eq!(
            (&news["alert"], &news["message"]),
            (&alert.into(), &run.error_line().into())
        );
    }
    drctl.run(["list"]);
    assert!(
        hook.take().is_empty(),
        "a look at the store is nobody else's news"
    );
}

#[test]
fn a_cancelled_run_and_a_locked_out_one_are_not_notified() {
    need!(MariaDb);
    let hook = Receiver::start();
    let (_, drctl) = notifying(&[("WEBHOOK_URL", &hook.url("/"))]);
    let script = "real \"$@\" >whole; head -c 900 whole; echo >paused\n\
                  while [ ! -e go ]; do sleep 0.05; done; tail -c +901 whole";
    let drctl = dump_by(drctl, script);
    let running = drctl.start(["backup"]);
    until("a dump begins", || drctl.home().join("paused").exists());
    drctl.run(["backup"]).fails(11, "another backup");
    running.signal(Signal::TERM);
    running.wait().fails(143, "SIGTERM");
    fs::write(drctl.home().join("go"), "").unwrap();
    drctl.run(["backup"]).ok();
    assert!(
        hook.take().is_empty(),
        "neither failed, so nothing recovered"
    );
}

#[test]
fn a_failed_drill_is_notified_and_only_a_verified_restore_sends_a_heartbeat() {
    need!(MariaDb);
    let (hook, beat) = (Receiver::start(), Receiver::start());
    let (_, drctl) = notifying(&[
        ("WEBHOOK_URL", &hook.url("/")),
        ("HEARTBEAT_VERIFY_URL", &beat.url("/")),
    ]);
    drctl.run(["verify", "--latest"]).refused(3, &["no backup"]);
    let news = hook.take()[0].json();
    assert_eq!(
        (&news["alert"], &news["verb"]),
        (&"DrctlVerifyFailed".into(), &"verify".into())
    );
    drctl.run(["backup"]).ok();
    drctl.run(["verify", "--latest", "--level", "archive"]).ok();
    assert!(
        hook.take().is_empty() && beat.take().is_empty(),
        "an archive-only drill resolves nothing"
    );
    drctl.run(["verify", "--latest"]).ok();
    assert_eq!(beat.take().len(), 1);
}

#[test]
fn alert_test_prints_for_each_notifier_whether_it_accepted_the_marked_alert() {
    let [hook, am, slack, beat] = std::array::from_fn(|_| Receiver::start());
    let drctl = Drctl::new("shop")
        .env("DRCTL_STORE", "file:///proc/nowhere")
        .env("DRCTL_NOTIFY_WEBHOOK_URL", &hook.url("/hook"))
        .env("DRCTL_NOTIFY_ALERTMANAGER_URL", &am.url("/"))
        .env("DRCTL_NOTIFY_SLACK_URL", &slack.url("/slack"))
        .env("DRCTL_NOTIFY_HEARTBEAT_BACKUP_URL", &beat.url("/b"))
        .env("DRCTL_NOTIFY_HEARTBEAT_VERIFY_URL", &beat.url("/v"));
    let run = drctl.run(["alert-test"]).ok();
    for name in [
        "webhook",
        "alertmanager",
        "slack",
        "heartbeat-backup",
        "heartbeat-verify",
    ] {
        let delivered = |line: &str| line.split_whitespace().eq([name, "delivered"]);
        assert!(run.stdout.lines().any(delivered), "{run:#?}");
    }
    let news = hook.take()[0].json();
    assert_eq!(
        (&news["alert"], &news["kind"], &news["test"]),
        (&"DrctlTest".into(), &"test".into(), &true.into())
    );
    let alert = &am.take()[0].json()[0];
    assert_eq!(
        (&alert["labels"]["alertname"], &alert["labels"]["test"]),
        (&"DrctlTest".into(), &"true".into())
    );
    assert!(
        slack.take()[0]
            .body
            .contains("*[test] drctl alert-test for shop*")
    );
    assert_eq!(beat.take().len(), 2);

    let broken = Receiver::start().answer_all(Answer::Is(403, String::new()));
    let drctl = drctl.env("DRCTL_NOTIFY_SLACK_URL", &broken.url(&format!("/{TOKEN}")));
    let run = silent_about_the_token(drctl.run(["alert-test"]));
    let run = run.refused(
        10,
        &["1 of 5 notifiers failed: slack", "see the causes above"],
    );
    assert!(run.stdout.contains("answered 403"), "{run:#?}");
}

#[test]
fn alert_test_simulates_each_kind_of_event_and_stays_marked() {
    let [hook, am, beat] = std::array::from_fn(|_| Receiver::start());
    let drctl = Drctl::new("shop")
        .env("DRCTL_NOTIFY_WEBHOOK_URL", &hook.url("/"))
        .env("DRCTL_NOTIFY_ALERTMANAGER_URL", &am.url("/"))
        .env("DRCTL_NOTIFY_HEARTBEAT_BACKUP_URL", &beat.url("/"));
    for (kind, task, alert, severity) in [
        ("failed", "backup", "DrctlBackupFailed", "warning"),
        ("late", "backup", "DrctlBackupOverdue", "critical"),
        ("late", "verify", "DrctlVerifyOverdue", "critical"),
        ("recovered", "verify", "DrctlVerifyFailed", "critical"),
    ] {
        drctl.run(["alert-test", "--as", kind, "--task", task]).ok();
        let news = hook.take()[0].json();
        assert_eq!(
            (&news["kind"], &news["alert"]),
            (&kind.into(), &alert.into())
        );
        assert_eq!(
            (&news["severity"], &news["test"]),
            (&severity.into(), &true.into())
        );
        assert!(
            news["summary"].as_str().unwrap().starts_with("[test] "),
            "{news:#}"
        );
        for alert in am.take()[0].json().as_array().unwrap() {
            assert_eq!(
                alert["labels"]["test"], "true",
                "a test must resolve no real alert"
            );
        }
    }
    assert!(
        beat.take().is_empty(),
        "what went wrong, or only seems to be well, is no sign of life"
    );
}

#[test]
fn alert_test_without_notifiers_names_the_key() {
    let words = ["no notifier is configured", "set notify.webhook.url"];
    Drctl::new("shop").run(["alert-test"]).refused(2, &words);
}
