//! Drills in scratch pods: verified, failures distinguished, and the pods removed in every case.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;

use crate::cluster::{Namespace, namespace};
use crate::need;
use crate::support::backup::in_front_of_dump;
use crate::support::drctl::Running;
use crate::support::wait::until;
use crate::support::{Drctl, Flavour, Server};

const RESTRICTED: &str = "pod-security.kubernetes.io/enforce=restricted";

/// A table, objects that depend on it, and an account.
const SHOP: &str = "
    CREATE DATABASE shop; USE shop;
    CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(20), KEY by_name (name));
    INSERT t (name) VALUES ('a'), ('b'), ('c');
    CREATE VIEW v AS SELECT name FROM t;
    CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.name = UPPER(NEW.name);
    CREATE USER app@localhost IDENTIFIED BY 'hunter2hunter2'; GRANT SELECT ON shop.t TO app@localhost";

/// A backup, its server, and a namespace that admits only restricted pods.
fn shop(flavour: Flavour) -> Option<(Namespace, Server, Drctl)> {
    let space = namespace(&[RESTRICTED])?;
    let source = Server::start(flavour);
    source.exec(SHOP);
    let drctl = space.knows(Drctl::new("shop").source(&source));
    drctl.run(["backup"]).ok();
    let version = source.value("SELECT SUBSTRING_INDEX(VERSION(), '-', 1)");
    let line: Vec<&str> = version.split('.').take(2).collect();
    let (name, line) = (name_of(flavour), line.join("."));
    let image = std::env::var(format!("DRCTL_TEST_{}_IMAGE", name.to_uppercase()));
    let image = image.unwrap_or_else(|_| format!("localhost/{name}:{line}"));
    let drctl = drctl
        .env("DRCTL_VERIFY_SCRATCH", "pod")
        .env("DRCTL_VERIFY_POD_NAMESPACE", &space.name)
        .env("DRCTL_VERIFY_POD_UNSCHEDULABLE_SECONDS", "3")
        .env("DRCTL_VERIFY_POD_IMAGES", &format!("{name}-{line}={image}"));
    Some((space, source, drctl))
}

fn name_of(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::MySql => "mysql",
        Flavour::MariaDb => "mariadb",
    }
}

/// The only MariaDB image is of 11.8; the distribution's version is older.
fn has_image(flavour: Flavour) -> bool {
    let server = Server::shared(flavour);
    flavour == Flavour::MySql || server.value("SELECT VERSION()").starts_with("11.8")
}

#[track_caller]
fn is_verified(drctl: &Drctl) -> bool {
    let list = drctl.run(["list", "--output", "json"]).ok().json();
    !list[0]["verified_at"].is_null()
}

/// A drill that is stopped at its comparison.
fn stopped_at_comparison(drctl: Drctl, flavour: Flavour) -> (Drctl, Running) {
    let there = drctl.home().join("there");
    let script = format!("touch {}; sleep 600", there.display());
    let slow = in_front_of_dump(flavour, drctl, "INTO", "$1", &script);
    let running = slow.start(["verify", "--latest"]);
    until("the drill compares", || there.exists());
    (slow.without("DRCTL_INTO_CLIENT_DIR"), running)
}

fn a_drill_is_verified(flavour: Flavour) {
    let Some((space, _source, drctl)) = shop(flavour) else {
        return;
    };
    for path in ["lanes", "client"] {
        let run = drctl.run(["verify", "--latest", "--path", path]).ok();
        assert!(
            run.stdout.contains("PASS") && run.stdout.contains("(pod, relaxed)"),
            "{run:#?}"
        );
        assert_eq!(space.scratch_pods(), [""; 0]);
    }
    assert!(is_verified(&drctl));
    let run = drctl.run(["verify", "--latest", "--output", "json"]);
    let id = &run.ok().json()["scratch"]["settings"]["image_id"];
    assert!(id.as_str().is_some_and(|id| id.contains("sha256:")), "{id}");
}

#[test]
fn a_backup_of_mysql_is_verified_in_a_pod_that_leaves_nothing() {
    need!(MySql);
    a_drill_is_verified(Flavour::MySql);
}

#[test]
fn a_backup_of_mariadb_is_verified_in_a_pod_that_leaves_nothing() {
    need!(MariaDb);
    if has_image(Flavour::MariaDb) {
        a_drill_is_verified(Flavour::MariaDb);
    }
}

#[test]
fn failures_of_a_pod_are_distinguished_and_reported_quickly() {
    need!(MySql);
    let Some((space, _source, mut drctl)) = shop(Flavour::MySql) else {
        return;
    };
    let images = "DRCTL_VERIFY_POD_IMAGES";
    let resources = "DRCTL_VERIFY_POD_RESOURCES";
    let cases: [(&str, &str, i32, &[&str]); 6] = [
        (
            images,
            "mysql-9.7=localhost:1/no/mysql:9.7",
            10,
            &[
                "cannot pull its image localhost:1/no/mysql:9.7",
                "verify.pod.images",
            ],
        ),
        (
            images,
            "mysql-9.7=BAD//x",
            10,
            &[
                "cannot use its image BAD//x (InvalidImageName)",
                "verify.pod.images",
            ],
        ),
        (
            images,
            "mysql-8.0=localhost/mysql:8.0",
            2,
            &["no image of MySQL 9.7", "mysql-9.7 in verify.pod.images"],
        ),
        (
            resources,
            r#"{"requests": {"memory": "900Gi"}}"#,
            10,
            &[
                "cannot be scheduled (Unschedulable)",
                "memory",
                "verify.pod.resources",
            ],
        ),
        (
            resources,
            r#"{"limits": {"memory": "60Mi"}}"#,
            10,
            &["OOMKilled", "limits.memory"],
        ),
        (
            "DRCTL_VERIFY_POD_STORAGE_CLASS",
            "no-such-class",
            10,
            &[
                "cannot be scheduled",
                "PersistentVolumeClaim",
                "verify.pod.storage_class",
            ],
        ),
    ];
    let usual = drctl_env(&drctl, images);
    for (name, value, code, words) in cases {
        drctl = drctl.env(name, value);
        let run = drctl.run(["verify", "--latest"]);
        assert!(
            run.took < Duration::from_secs(20),
            "{name}={value}: {run:#?}"
        );
        run.refused(code, words);
        assert_eq!(space.scratch_pods(), [""; 0], "{name}={value}");
        drctl = match name == images {
            true => drctl.env(images, &usual),
            false => drctl.without(name),
        };
    }
    assert!(!is_verified(&drctl));
}

/// The image configured for the server of this test.
fn drctl_env(drctl: &Drctl, name: &str) -> String {
    let run = drctl.shell(&format!("printf %s \"${name}\"")).ok();
    run.stdout
}

#[test]
fn a_pod_deleted_during_the_drill_is_reported_as_the_cause() {
    need!(MySql);
    let Some((space, _source, drctl)) = shop(Flavour::MySql) else {
        return;
    };
    let (drctl, running) = stopped_at_comparison(drctl, Flavour::MySql);
    let pods = space.scratch_pods();
    space.delete_by_force(&pods[0]);
    let run = running.wait();
    run.refused(
        10,
        &[
            "the scratch pod",
            &pods[0],
            "deleted",
            "run the drill again",
        ],
    );
    assert_eq!(space.scratch_pods(), [""; 0]);
    assert!(!is_verified(&drctl));
}

#[test]
fn a_stopped_drill_removes_its_pod() {
    need!(MySql);
    let Some((space, _source, drctl)) = shop(Flavour::MySql) else {
        return;
    };
    let (_drctl, running) = stopped_at_comparison(drctl, Flavour::MySql);
    assert_eq!(space.scratch_pods().len(), 1);
    running.signal(Signal::TERM);
    let run = running.wait();
    assert_eq!(run.code, 143, "{run:#?}");
    assert_eq!(space.scratch_pods(), [""; 0]);
}

#[test]
fn the_pod_of_a_killed_drill_is_removed_by_the_next_and_that_of_a_running_one_is_not() {
    need!(MySql);
    let Some((space, _source, drctl)) = shop(Flavour::MySql) else {
        return;
    };
    let (drctl, running) = stopped_at_comparison(drctl, Flavour::MySql);
    let left = space.scratch_pods();
    drctl.run(["verify", "--latest"]).ok();
    assert_eq!(space.scratch_pods(), left, "the drill that owns it lives");
    running.signal(Signal::KILL);
    assert_eq!(running.wait().code, 128 + 9);
    // As two minutes later.
    let beat = "drctl.io/heartbeat=2026-01-01T00:00:00Z";
    space.kubectl(&["annotate", "pod", &left[0], "--overwrite", beat]);
    drctl.run(["verify", "--latest"]).ok();
    assert_eq!(space.scratch_pods(), [""; 0]);
}

#[test]
fn a_pod_has_a_hash_but_no_password_and_no_rights() {
    need!(MySql);
    let Some((space, _source, drctl)) = shop(Flavour::MySql) else {
        return;
    };
    let (_drctl, running) = stopped_at_comparison(drctl, Flavour::MySql);
    let pod =
        space.json(&["get", "pods", "--selector", "drctl.io/role=scratch"])["items"][0].clone();
    let spec = pod["spec"].to_string();
    assert!(
        spec.contains("caching_sha2_password AS 0x24412430303524"),
        "{spec}"
    );
    assert!(!spec.contains("IDENTIFIED BY"), "{spec}");
    assert_eq!(pod["spec"]["automountServiceAccountToken"], false);
    assert_eq!(pod["metadata"]["labels"]["drctl.io/target"], "shop");
    let refused = space.kubectl(&[
        "exec",
        pod["metadata"]["name"].as_str().unwrap(),
        "--",
        "sh",
        "-c",
        "mysql -uroot -h127.0.0.1 2>&1 || true",
    ]);
    assert!(refused.contains("Access denied"), "{refused}");
    running.signal(Signal::TERM);
    running.wait();
}

/// A pod that satisfies `restricted` and is not scheduled.
const DRILL: &str = "
apiVersion: v1
kind: Pod
metadata: {name: verify}
spec:
  schedulerName: nobody
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: c
      image: localhost/nginx:test
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
";

#[test]
fn a_scratch_pod_is_removed_with_the_pod_of_its_drill() {
    need!(MySql);
    let Some((space, _source, drctl)) = shop(Flavour::MySql) else {
        return;
    };
    space.apply(DRILL);
    let uid = space.json(&["get", "pod", "verify"])["metadata"]["uid"].clone();
    let drctl = drctl
        .env("POD_NAMESPACE", &space.name)
        .env("POD_NAME", "verify")
        .env("POD_UID", uid.as_str().unwrap());
    let (_drctl, running) = stopped_at_comparison(drctl, Flavour::MySql);
    assert_eq!(space.scratch_pods().len(), 1);
    running.signal(Signal::KILL);
    running.wait();
    space.delete_by_force("verify");
    until("its owner is gone", || space.scratch_pods().is_empty());
}

#[test]
fn a_missing_right_is_reported() {
    need!(MySql);
    let Some((space, _source, drctl)) = shop(Flavour::MySql) else {
        return;
    };
    let file = drctl.home().join("nobody.json");
    fs::write(&file, space.account("nobody", &[])).unwrap();
    let drctl = drctl.env("KUBECONFIG", &file.display().to_string());
    drctl
        .run(["verify", "--latest"])
        .refused(2, &["cannot list resource \"pods\"", "with a Role"]);
    let none = drctl.env("KUBECONFIG", "/nonexistent");
    none.run(["verify", "--latest"])
        .refused(2, &["no Kubernetes cluster is configured", "KUBECONFIG"]);
}

const PODS: &str = "create,get,list,delete,patch";

#[test]
fn a_right_missing_later_is_reported_before_the_timeout() {
    need!(MySql);
    let Some((space, _source, drctl)) = shop(Flavour::MySql) else {
        return;
    };
    let watching = format!("{PODS},watch");
    let cases = [
        ("blind", PODS, "cannot watch resource \"pods\""),
        (
            "outsider",
            &watching,
            "cannot get resource \"pods/portforward\"",
        ),
    ];
    let mut drctl = drctl;
    for (name, verbs, word) in cases {
        let file = drctl.home().join(name);
        fs::write(&file, space.account(name, &[(verbs, "pods")])).unwrap();
        // Also in a pod of another cluster: there the address belongs to another pod.
        drctl = drctl
            .env("KUBECONFIG", &file.display().to_string())
            .env("KUBERNETES_SERVICE_HOST", "192.0.2.1")
            .env("KUBERNETES_SERVICE_PORT", "443");
        let run = drctl.run(["verify", "--latest"]);
        assert!(run.took < Duration::from_secs(40), "{run:#?}");
        run.refused(2, &[word, "with a Role"]);
        assert_eq!(space.scratch_pods(), [""; 0], "{name}");
    }
}

#[test]
fn doctor_lists_the_missing_rights() {
    need!(MySql);
    let Some((space, _source, drctl)) = shop(Flavour::MySql) else {
        return;
    };
    let drctl = drctl
        .env("DRCTL_RESTORE_FENCE", "deployment/web")
        .env("DRCTL_RESTORE_FENCE_NAMESPACE", &space.name);
    let run = drctl.run(["doctor"]).ok();
    for whose in ["drills in pods", "the fence"] {
        let line = format!("{whose}: all permissions granted");
        assert!(run.stdout.contains(&line), "{run:#?}");
    }
    let rights = [
        ("create,get,list,watch,delete,patch", "pods"),
        ("get", "deployments.apps"),
    ];
    let file = drctl.home().join("some.json");
    fs::write(&file, space.account("some", &rights)).unwrap();
    let run = drctl
        .env("KUBECONFIG", &file.display().to_string())
        .run(["doctor"])
        .ok();
    let lacks: Vec<&str> = run
        .stdout
        .lines()
        .filter_map(|line| line.split_once("no permission to ")?.1.split_once(" in "))
        .map(|(what, _)| what)
        .collect();
    assert_eq!(
        lacks,
        [
            "get pods/log",
            "list events",
            "get pods/portforward",
            "create pods/portforward",
            "patch deployments web"
        ],
        "{run:#?}"
    );
}

#[test]
fn a_running_drill_keeps_its_pod_whatever_the_clock_difference() {
    need!(MySql);
    let Some((space, _source, drctl)) = shop(Flavour::MySql) else {
        return;
    };
    let (drctl, running) = stopped_at_comparison(drctl, Flavour::MySql);
    let alive = space.scratch_pods();
    // As by a clock that is behind.
    let beat = "drctl.io/heartbeat=2026-01-01T00:00:00Z";
    space.kubectl(&["annotate", "pod", &alive[0], "--overwrite", beat]);
    drctl.run(["verify", "--latest"]).ok();
    assert_eq!(space.scratch_pods(), alive);
    running.signal(Signal::TERM);
    running.wait();
}

#[test]
fn the_result_of_a_drill_is_not_hidden_by_a_closed_output() {
    need!(MySql);
    let Some((_space, _source, drctl)) = shop(Flavour::MySql) else {
        return;
    };
    let checks = r#"[{"sql": "SELECT COUNT(*) FROM shop.t", "at_least": 1000}]"#;
    let run = drctl
        .env("DRCTL_VERIFY_CHECKS", checks)
        .behind("exec >/dev/full")
        .run(["verify", "--latest"]);
    run.refused(7, &["check \"", "failed: expected "]);
}
