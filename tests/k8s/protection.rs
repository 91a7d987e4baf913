//! What the stack does by itself, and what it lets nobody do: backups by the clock, drills, tests, events,
//! rights, and secrets that stay where they are.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::stack::{RELEASE, Stack};
use crate::support::wait::{until, within};

/// Verbs and things that are asked for, and who alone has the right.
const RIGHTS: [(&str, &str, &[&str]); 12] = [
    ("create", "pods", &["verify"]),
    ("delete", "pods", &["verify"]),
    ("list", "pods", &["verify", "restore", "watcher"]),
    ("watch", "pods", &["verify", "watcher"]),
    ("get", "pods/log", &["verify"]),
    ("create", "pods/exec", &[]),
    ("list", "events", &["verify"]),
    ("patch", "deployments/drctl-web", &["restore"]),
    ("patch", "deployments/other", &[]),
    ("delete", "statefulsets/drctl-database", &[]),
    ("get", "secrets", &[]),
    ("create", "jobs", &[]),
];

#[test]
fn the_schedule_backs_up_and_a_drill_verifies_it_in_a_pod_that_is_removed() {
    let Some(stack) = Stack::install("backup: {schedule: '* * * * *'}") else {
        return;
    };
    stack.fill();
    until("the clock's own backup", || {
        let rows = |backup: &Value| backup["rows"].as_u64().unwrap_or_default();
        stack
            .backups()
            .first()
            .is_some_and(|one| rows(one) > 26_000)
    });
    let jobs = stack.json(&["get", "jobs"]);
    let owner = &jobs["items"][0]["metadata"]["ownerReferences"][0];
    assert_eq!(
        (owner["kind"].as_str(), owner["name"].as_str()),
        (Some("CronJob"), Some("drctl-backup"))
    );
    let suspend = r#"{"spec": {"suspend": true}}"#;
    stack.kubectl(&["patch", "cronjob", "drctl-backup", "--patch", suspend]);
    until("no backup is under way", || {
        let jobs = stack.json(&["get", "jobs"]);
        let jobs = jobs["items"].as_array().unwrap().clone();
        jobs.iter().all(|job| job["status"]["active"].is_null())
    });

    let newest = stack.backups()[0].clone();
    assert!(
        newest["verified_at"].is_null() && newest["suspect"] == false,
        "{newest}"
    );
    let id = newest["id"].as_str().unwrap();
    let drill = stack.run("verify").ok();
    for words in ["verdict  PASS", "(pod, relaxed)", id] {
        assert!(drill.log.contains(words), "{words}: {drill:#?}");
    }
    assert!(!stack.backups()[0]["verified_at"].is_null());
    let archive = format!("backups/shop/{id}/drills");
    let drills = stack.gateway.object(&stack.bucket, &archive);
    let reports: Vec<_> = std::fs::read_dir(drills).unwrap().flatten().collect();
    assert_eq!(reports.len(), 1, "{reports:?}");
    let report: Value = serde_json::from_slice(&std::fs::read(reports[0].path()).unwrap()).unwrap();
    assert_eq!(report["verdict"], "pass", "{report:#}");
    assert_eq!(stack.space.scratch_pods(), [""; 0]);
}

#[test]
fn the_doctor_of_helm_test_finds_everything_well_and_says_what_is_not() {
    let Some(stack) = Stack::shared() else {
        return;
    };
    let said = stack.try_helm("test", &["--logs"]);
    let said =
        said.unwrap_or_else(|said| panic!("{said}{}", stack.space.says(&["logs", "drctl-doctor"])));
    assert!(said.contains("Phase:          Succeeded"), "{said}");
    let account = "drctl_restore@'%'";
    stack.sql(&format!("ALTER USER {account} ACCOUNT LOCK"));
    let refused = stack.try_helm("test", &[]);
    stack.sql(&format!("ALTER USER {account} ACCOUNT UNLOCK"));
    let said = refused.expect_err("a locked account is no finding");
    assert!(said.contains("drctl-doctor failed"), "{said}");
}

#[test]
fn a_typo_in_the_values_is_refused_before_anything_is_there() {
    let Some(stack) = Stack::prepare(
        "backup: {shedule: '* * * * *'}",
        Some(crate::cluster::Turn::shared()),
    ) else {
        return;
    };
    let said = stack
        .try_helm("install", &[])
        .expect_err("a typo is accepted");
    assert!(said.contains("shedule"), "{said}");
    let there = stack.kubectl(&[
        "get",
        "statefulsets,deployments,cronjobs,secrets",
        "--output",
        "name",
    ]);
    assert_eq!(there.trim(), "secret/store");
}

/// What the chart's watcher has told of a pod: `created`, `updated`, `deleted`.
fn told(stack: &Stack, pod: &str) -> Vec<String> {
    let lines = stack.kubectl(&["logs", "deploy/drctl-watcher"]);
    let events = lines
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let of_pod = events.filter(|event| event["pod"] == pod);
    of_pod
        .map(|event| event["type"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// A pod that no node is asked for, and that the namespace admits.
fn create(name: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{schedulerName: nobody, \
         securityContext: {{runAsNonRoot: true, seccompProfile: {{type: RuntimeDefault}}}}, \
         containers: [{{name: c, image: 'localhost/nginx:test', securityContext: \
         {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}}}]}}}}"
    )
}

#[test]
fn the_watcher_in_the_cluster_tells_of_each_pod_within_two_seconds() {
    let Some(stack) = Stack::shared() else {
        return;
    };
    let soon = Duration::from_secs(2);
    stack.space.apply(&create("seen"));
    within(soon, "its creation", || told(&stack, "seen") == ["created"]);
    stack.space.unready("seen");
    within(soon, "its update", || {
        told(&stack, "seen").contains(&"updated".to_owned())
    });
    stack.space.delete_by_force("seen");
    within(soon, "its end", || {
        told(&stack, "seen")
            .last()
            .is_some_and(|last| last == "deleted")
    });
}

#[test]
fn the_watcher_in_the_cluster_misses_no_pod_across_a_restart_of_the_api_server() {
    let Some(stack) = Stack::install_alone("") else {
        return;
    };
    let names: Vec<String> = (0..12).map(|n| format!("pod-{n}")).collect();
    let pods: Vec<String> = names.iter().map(|name| create(name)).collect();
    std::thread::scope(|scope| {
        // Somebody creates pods all the while, and tries again where nobody answers.
        let creator = scope.spawn(|| {
            for pod in &pods {
                while !stack.space.try_apply(pod) {
                    std::thread::sleep(Duration::from_millis(200));
                }
                std::thread::sleep(Duration::from_millis(300));
            }
        });
        std::thread::sleep(Duration::from_secs(1));
        stack.space.restart_the_api_server();
        creator.join().unwrap();
    });
    for name in &names[..6] {
        stack.space.delete_by_force(name);
    }
    // kubelet, which shows the log, has been without an API server, too.
    until("each pod is told once", || {
        names.iter().enumerate().all(|(n, name)| {
            let told = told(&stack, name);
            let count = |what: &str| told.iter().filter(|one| *one == what).count();
            assert!(
                count("created") < 2 && count("deleted") < 2,
                "{name}: {told:?}"
            );
            count("created") == 1 && count("deleted") == usize::from(n < 6)
        })
    });
}

#[test]
fn each_account_of_the_release_may_do_its_task_and_nothing_else() {
    let Some(stack) = Stack::shared() else {
        return;
    };
    let accounts = stack.json(&["get", "serviceaccounts"]);
    let accounts = accounts["items"].as_array().unwrap().clone();
    let names = accounts
        .iter()
        .filter_map(|one| one["metadata"]["name"].as_str());
    let tasks: Vec<&str> = names
        .filter_map(|name| name.strip_prefix("drctl-"))
        .collect();
    assert!(tasks.len() > 7 && tasks.contains(&"scratch"), "{tasks:?}");
    let mut wrong = Vec::new();
    for task in &tasks {
        let account = format!(
            "--as=system:serviceaccount:{}:{RELEASE}-{task}",
            stack.space.name
        );
        for (verb, what, whose) in RIGHTS {
            let (kind, sub) = match what.split_once('/') {
                Some((kind, sub @ ("log" | "exec"))) => (kind, format!("--subresource={sub}")),
                _ => (what, String::new()),
            };
            let mut args = vec!["auth", "can-i", verb, kind, &account];
            args.extend(Some(sub.as_str()).filter(|sub| !sub.is_empty()));
            let may = stack.space.says(&args).trim() == "yes";
            if may != whose.contains(task) {
                wrong.push(format!("{task}: {verb} {what} is {may}"));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
    // All of the table, by the accounts of the fullest values.
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/chart/rights.sh");
    let said = stack.shell(script);
    assert!(said.contains(" asked, 0 wrong"), "{said}");
}

/// Everything that the namespace shows to one who may not read Secrets, and all that is in the bucket.
fn everything(stack: &Stack) -> String {
    let kinds = "pods,jobs,cronjobs,deployments,statefulsets,configmaps,events,services,\
                 serviceaccounts,persistentvolumeclaims";
    let mut all = stack.kubectl(&["get", kinds, "--output", "yaml"]);
    all += &stack.kubectl(&["describe", "pods,jobs"]);
    let pods = stack.json(&["get", "pods"]);
    for pod in pods["items"].as_array().unwrap() {
        let name = pod["metadata"]["name"].as_str().unwrap();
        // A pod of another test may be about to start, or gone.
        let log = stack.space.says(&["logs", name, "--all-containers"]);
        let _ = writeln!(all, "{log}");
    }
    objects(&stack.gateway.directory().join("data"), &mut all);
    all
}

fn objects(directory: &Path, all: &mut String) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            objects(&path, all);
            continue;
        }
        let bytes = match std::fs::read(&path) {
            // Another test replaced it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            bytes => bytes.unwrap(),
        };
        let plain = match path.extension().is_some_and(|end| end == "zst") {
            true => zstd::decode_all(&bytes[..]).unwrap(),
            false => bytes,
        };
        let _ = writeln!(
            all,
            "{}: {}",
            path.display(),
            String::from_utf8_lossy(&plain)
        );
    }
}

/// Where one of the secrets is seen, also in base64.
#[track_caller]
pub fn no_secret_is_seen(stack: &Stack) {
    use base64::Engine as _;
    let all = everything(stack);
    for part in [
        "kind: CronJob",
        "ready for connections",
        "accounts.sh: |",
        "restore-pass.json: {",
        "INSERT INTO",
    ] {
        assert!(all.contains(part), "not looked at: {part}");
    }
    let secrets = stack.secrets();
    // The streamer's comes to them where there is one.
    assert!(secrets.len() >= 5, "hardly any secrets");
    for secret in &secrets {
        let coded = base64::engine::general_purpose::STANDARD.encode(secret);
        for form in [secret.as_str(), coded.trim_end_matches('=')] {
            if let Some(at) = all.find(form) {
                let before = all[..at].lines().rev().take(4).collect::<Vec<_>>();
                panic!("a secret is told after {before:#?}");
            }
        }
    }
}

#[test]
fn no_password_and_no_key_is_told_by_anything_but_secrets() {
    let Some(stack) = Stack::shared() else {
        return;
    };
    no_secret_is_seen(&stack);
}
