//! What is killed, deleted or evicted in the midst: nothing half-done is listed, the Job tries again, and what
//! was left is gone.

use serde_json::{Value, json};

use crate::cluster::Turn;
use crate::serial::{Serial, exit_code, name_of, serial};
use crate::stack::RELEASE;
use crate::support::wait::until;

/// Whether a Job counts failures of its own pods.
#[track_caller]
fn failures(stack: &Serial, job: &str) -> u64 {
    let status = stack.json(&["get", "job", job])["status"].clone();
    status["failed"].as_u64().unwrap_or(0)
}

#[test]
fn a_backup_that_is_killed_half_uploaded_is_not_listed_and_the_next_attempt_commits() {
    let Some(stack) = serial(Turn::shared()) else {
        return;
    };
    let before = stack.ids();
    let job = stack.half_uploaded();
    let pod = stack.running(&job);
    if !stack.kill(&pod) {
        stack.space.delete_by_force(name_of(&pod));
    }
    stack.gateway.resume();
    assert_eq!(stack.ids(), before, "half of a backup is no backup");
    stack.ended(&job).ok();
    let pods = stack.pods_of(&job);
    if pods.len() > 1 {
        assert_eq!(exit_code(&pods[0]), Some(137), "{pods:#?}");
    }
    assert_eq!(failures(&stack, &job), 1, "it is tried again, and counted");
    assert_eq!(stack.ids()[1..], before[..]);
}

#[test]
fn a_backup_whose_pod_is_deleted_by_force_is_not_listed_and_the_next_attempt_commits() {
    let Some(stack) = serial(Turn::shared()) else {
        return;
    };
    let before = stack.ids();
    let job = stack.half_uploaded();
    let pod = stack.running(&job);
    stack.space.delete_by_force(name_of(&pod));
    stack.gateway.resume();
    stack.ended(&job).ok();
    assert_eq!(stack.ids()[1..], before[..], "one more, and that is whole");
}

#[test]
fn a_backup_that_is_evicted_ends_by_itself_and_is_done_again_without_being_a_failure() {
    let Some(stack) = serial(Turn::shared()) else {
        return;
    };
    let (before, records) = (stack.ids(), stack.records("backup", 143));
    let (job, pod) = stack.held(|stack| stack.begin("backup"));
    stack.evict(&pod);
    until("it writes down that it was cancelled", || {
        stack.records("backup", 143) == records + 1
    });
    stack.release();
    stack.ended(&job).ok();
    assert_eq!(failures(&stack, &job), 0, "a drain is nobody's fault");
    assert_eq!(stack.ids()[1..], before[..]);
}

#[test]
fn a_node_short_of_memory_evicts_a_backup_and_the_next_attempt_commits() {
    // It may evict others as well.
    let Some(stack) = serial(Turn::alone()) else {
        return;
    };
    let before = stack.ids();
    // Of what takes more than it asked for the least important goes first.
    let class = format!("{}-last", stack.space.name);
    stack.space.apply(&format!(
        "{{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {{name: {class}}}, value: -1}}"
    ));
    let (job, pod) = stack.held(|stack| {
        stack.begin_as("backup", "pressed", |job| {
            let pod = &mut job["spec"]["template"]["spec"];
            pod["priorityClassName"] = json!(class);
            pod["containers"][0]["resources"]["requests"]["memory"] = json!("1Mi");
        })
    });
    let Some(pressure) = stack.space.pressure() else {
        return;
    };
    let mut evicted = Value::Null;
    until("kubelet evicts it", || {
        evicted = stack.json(&["get", "pod", &pod])["status"].clone();
        evicted["reason"] == "Evicted"
    });
    drop(pressure);
    let why = evicted["message"].as_str().expect("a reason");
    assert!(why.contains("low on resource: memory"), "{evicted:#}");
    // Its kubelet has just begun, and the database may have gone as well.
    let enter = ["exec", &format!("{RELEASE}-database-0"), "--", "echo", "in"];
    until("the database's pod can be entered", || {
        stack.space.says(&enter).trim() == "in"
    });
    stack.database_is_up();
    stack.release();
    stack.ended(&job).ok();
    // One that came while nobody answered for the database is a failure of its own.
    let later = stack.pods_of(&job).into_iter().skip(1);
    let failed = later.filter(|pod| pod["status"]["phase"] == "Failed");
    let failed = failed.count() as u64;
    assert_eq!(failures(&stack, &job), failed, "that is nobody's fault");
    assert_eq!(stack.ids()[1..], before[..]);
    stack.kubectl(&["delete", "priorityclass", &class]);
}

#[test]
fn a_backup_that_takes_more_room_than_it_may_is_evicted_and_tried_again() {
    let Some(stack) = serial(Turn::shared()) else {
        return;
    };
    let before = stack.ids();
    let (job, pod) = stack.held(|stack| stack.begin("backup"));
    // More than its temporary files may take.
    let fill = "head -c 100M /dev/zero >/tmp/fill";
    stack.kubectl(&["exec", &pod, "--", "sh", "-c", fill]);
    let mut evicted = Value::Null;
    until("kubelet evicts it", || {
        evicted = stack.json(&["get", "pod", &pod])["status"].clone();
        evicted["reason"] == "Evicted"
    });
    let why = evicted["message"].as_str().expect("a reason");
    assert!(why.contains("exceeds the limit"), "{evicted:#}");
    stack.release();
    stack.ended(&job).ok();
    // Kubernetes calls no disruption what a pod has done to itself.
    assert_eq!(failures(&stack, &job), 1);
    assert_eq!(stack.ids()[1..], before[..]);
}

/// A drill that stands still for so many seconds once everything is restored; its Job.
#[track_caller]
fn slow_drill(stack: &Serial, name: &str, seconds: u32) -> String {
    stack.begin_as("verify", name, |job| {
        let checks = json!([{"name": "slow", "sql": format!("SELECT SLEEP({seconds})"),
                             "equals": "0", "timeout_seconds": seconds + 30}]);
        let env = &mut job["spec"]["template"]["spec"]["containers"][0]["env"];
        let env = env.as_array_mut().expect("an environment");
        env.push(json!({"name": "DRCTL_VERIFY_CHECKS", "value": checks.to_string()}));
    })
}

/// Waits for the one scratch pod to be ready.
#[track_caller]
fn scratch(stack: &Serial) -> String {
    let mut found = None;
    until("a scratch pod is ready", || {
        let pods = stack.json(&["get", "pods", "--selector", "drctl.io/role=scratch"]);
        let pods = pods["items"].as_array().expect("a list");
        let ready = |pod: &&Value| pod["status"]["containerStatuses"][0]["ready"] == true;
        found = pods.iter().find(ready).map(|pod| name_of(pod).to_owned());
        found.is_some()
    });
    found.expect("it was just found")
}

#[test]
fn a_drill_that_is_killed_is_done_again_and_its_scratch_pod_goes() {
    let Some(stack) = serial(Turn::shared()) else {
        return;
    };
    let job = slow_drill(&stack, "killed", 15);
    let left = scratch(&stack);
    let pod = stack.running(&job);
    if !stack.kill(&pod) {
        stack.space.delete_by_force(name_of(&pod));
    }
    stack.ended(&job).ok();
    assert_eq!(failures(&stack, &job), 1);
    // With the Job go its pods, and with them what they own.
    stack.kubectl(&["delete", "job", &job]);
    until(&format!("{left} is gone"), || {
        stack.space.scratch_pods().is_empty()
    });
    stack.run("verify").ok();
    assert_eq!(stack.space.scratch_pods(), [""; 0]);
}

#[test]
fn a_drill_whose_scratch_pod_is_evicted_says_so_and_is_done_again() {
    let Some(stack) = serial(Turn::shared()) else {
        return;
    };
    let job = slow_drill(&stack, "evicted", 15);
    let pod = scratch(&stack);
    stack.evict(&pod);
    stack.ended(&job).ok();
    let pods = stack.pods_of(&job);
    assert_eq!(exit_code(&pods[0]), Some(10), "{pods:#?}");
    let said = &pods[0]["status"]["containerStatuses"][0]["state"]["terminated"]["message"];
    let said = said.as_str().expect("last words");
    assert!(
        said.contains("scratch pod") && said.contains(&pod),
        "{said}"
    );
    assert_eq!(failures(&stack, &job), 1);
    assert_eq!(stack.space.scratch_pods(), [""; 0]);
}
