//! Two runs at once, and CronJobs that are suspended.

use crate::cluster::Turn;
use crate::monitoring::rendered;
use crate::serial::serial;

#[test]
fn of_two_backups_at_once_one_gives_way_for_good_and_the_other_commits() {
    let Some(stack) = serial(Turn::shared()) else {
        return;
    };
    let before = stack.ids();
    stack.hold();
    let first = stack.begin("backup");
    stack.running(&first);
    stack.until_busy("FLUSH%");
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
    let Some(stack) = serial(Turn::shared()) else {
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
        "kube_cronjob_spec_suspend{cronjob=~\"(.+-)?drctl-.+\",cronjob!~\"(.+-)?drctl-restore\"}"
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
