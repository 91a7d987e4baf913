//! Two runs at once, a CronJob that is suspended, and times that were missed.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::{Value, json};

use crate::cluster::Turn;
use crate::monitoring::rendered;
use crate::serial::{Serial, serial};
use crate::stack::{RELEASE, Stack};
use crate::support::wait::until;

#[test]
fn of_two_backups_at_once_one_gives_way_for_good_and_the_other_commits() {
    let Some(stack) = serial(Turn::shared()) else {
        return;
    };
    let before = stack.ids();
    let (first, _) = stack.held(|stack| stack.begin("backup"));
    let second = stack.begin("backup");
    let ran = stack.ended(&second);
    assert_eq!(ran.code, 11, "{ran:#?}");
    assert!(
        ran.message.contains("another backup of shop is running"),
        "{ran:#?}"
    );
    let job = stack.json(&["get", "job", &second]);
    let conditions = job["status"]["conditions"].as_array().expect("conditions");
    assert!(
        conditions
            .iter()
            .any(|one| one["type"] == "Failed" && one["reason"] == "PodFailurePolicy"),
        "{job:#}"
    );
    assert_eq!(stack.pods_of(&second).len(), 1, "it is not tried again");
    stack.release();
    stack.ended(&first).ok();
    assert_eq!(stack.ids()[1..], before[..]);
}

#[test]
fn a_rule_watches_for_the_names_of_this_release() {
    let Some(stack) = Stack::shared() else {
        return;
    };
    let rendered = rendered(
        &stack,
        "monitoring.rules.enabled=true",
        "templates/monitoring/rules.yaml",
    );
    let rule = rendered
        .split("alert: DrctlCronJobSuspended")
        .nth(1)
        .expect("the rule");
    assert!(rule.contains(
        "kube_cronjob_spec_suspend{cronjob=~\"(.+-)?drctl-.+\",cronjob!~\"(.+-)?drctl-(restore|promote|demote)\"}"
    ));
    let names = stack.json(&["get", "cronjobs"]);
    let suspended = names["items"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|one| one["spec"]["suspend"] == true);
    let names: Vec<&str> = suspended
        .filter_map(|one| one["metadata"]["name"].as_str())
        .collect();
    assert_eq!(
        names,
        ["drctl-restore"],
        "of those that may be suspended there is the button alone"
    );
}

/// The backup's CronJob as it is in these tests, whatever becomes of the test.
struct Usual<'a>(&'a Serial);

impl Drop for Usual<'_> {
    fn drop(&mut self) {
        schedule(self.0, "0 0 1 1 *", false);
    }
}

fn schedule(stack: &Serial, schedule: &str, suspend: bool) {
    let name = format!("{RELEASE}-backup");
    let patch = json!({"spec": {"schedule": schedule, "suspend": suspend}});
    stack.kubectl(&["patch", "cronjob", &name, "--patch", &patch.to_string()]);
}

/// As after hours without a controller: an hourly schedule, whose last time was so many minutes ago, and no
/// run in the last three hours.
fn missed(stack: &Serial, minutes_ago: i64, suspend: bool) {
    let last = Timestamp::now() - SignedDuration::from_mins(minutes_ago);
    let minute = last.to_zoned(TimeZone::UTC).minute();
    schedule(stack, &format!("{minute} * * * *"), suspend);
    let ran = last - SignedDuration::from_hours(3);
    let patch = json!({"status": {"lastScheduleTime": format!("{ran:.0}")}});
    let name = format!("{RELEASE}-backup");
    stack.kubectl(&[
        "patch",
        "cronjob",
        &name,
        "--subresource=status",
        "--type=merge",
        "--patch",
        &patch.to_string(),
    ]);
}

/// The Jobs that a schedule made.
fn made(stack: &Serial) -> Vec<String> {
    let jobs = stack.json(&["get", "jobs"]);
    let by_schedule = |job: &&Value| {
        let annotations = &job["metadata"]["annotations"];
        !annotations["batch.kubernetes.io/cronjob-scheduled-timestamp"].is_null()
    };
    let name = |job: &Value| job["metadata"]["name"].as_str().map(str::to_owned);
    let jobs = jobs["items"].as_array().expect("a list").iter();
    jobs.filter(by_schedule).filter_map(name).collect()
}

/// The controllers are at work again when a Job that is made now has run.
fn controllers_are_back(stack: &Serial) {
    assert!(stack.space.program("start", "kube-controller-manager"));
    let canary = stack.begin("prune");
    stack.ended(&canary).ok();
    std::thread::sleep(Duration::from_secs(5));
}

#[test]
fn times_that_were_missed_are_made_up_for_once_and_a_suspended_cronjob_does_nothing() {
    // Nobody else's CronJobs are to be stopped.
    let Some(stack) = serial(Turn::alone()) else {
        return;
    };
    let _usual = Usual(&stack);
    let before = stack.ids();
    if !stack.space.program("stop", "kube-controller-manager") {
        return;
    }
    missed(&stack, 2, true);
    controllers_are_back(&stack);
    assert_eq!(made(&stack), [""; 0], "it is suspended");

    assert!(stack.space.program("stop", "kube-controller-manager"));
    missed(&stack, 2, false);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(made(&stack), [""; 0], "there is nobody who could");
    assert!(stack.space.program("start", "kube-controller-manager"));
    until("a Job is made", || !made(&stack).is_empty());
    let job = made(&stack)[0].clone();
    stack.ended(&job).ok();
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(made(&stack), [job], "one, for the three that were missed");
    assert_eq!(stack.ids()[1..], before[..]);

    // Later than `startingDeadlineSeconds` is too late.
    stack.kubectl(&["delete", "jobs", "--all"]);
    assert!(stack.space.program("stop", "kube-controller-manager"));
    missed(&stack, 12, false);
    controllers_are_back(&stack);
    assert_eq!(
        made(&stack),
        [""; 0],
        "a backup is not made up for any later"
    );
}
