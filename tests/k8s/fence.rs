//! The fence: an application without replicas while its database is restored, and with as many as
//! before once that is verified.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::cluster::{Namespace, namespace, namespace_alone};
use crate::need;
use crate::support::wait::until;
use crate::support::{Drctl, Flavour, Server};

/// Two replicas of something that needs no image and no node.
const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      schedulerName: nobody
      containers: [{name: c, image: 'localhost/nginx:test'}]
";

fn web(space: &Namespace) {
    space.apply(WEB);
    until("the application's pods", || pods(space) == 2);
}

/// A database with a row, and a backup of it.
fn backed_up() -> (Server, Drctl) {
    let source = Server::start(Flavour::MariaDb);
    source.exec(
        "CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY); INSERT shop.t VALUES (1)",
    );
    let drctl = Drctl::new("shop").source(&source);
    drctl.run(["backup"]).ok();
    (source, drctl)
}

/// Another one like it.
fn worker(space: &Namespace) {
    space.apply(&WEB.replace("web", "worker"));
}

fn pods(space: &Namespace) -> usize {
    let listed = space.json(&["get", "pods", "--selector", "app=web"]);
    listed["items"].as_array().expect("a list").len()
}

/// Its replicas, and those that are remembered.
fn replicas(space: &Namespace) -> (u64, Option<String>) {
    replicas_of(space, "web")
}

fn replicas_of(space: &Namespace, name: &str) -> (u64, Option<String>) {
    let web = space.json(&["get", "deployment", name]);
    let remembered = web["metadata"]["annotations"]["drctl.io/replicas"].as_str();
    (
        web["spec"]["replicas"].as_u64().unwrap(),
        remembered.map(str::to_owned),
    )
}

fn fencing(space: &Namespace, drctl: Drctl) -> Drctl {
    space
        .knows(drctl)
        .env("DRCTL_RESTORE_FENCE", "deployment/web")
        .env("DRCTL_RESTORE_FENCE_NAMESPACE", &space.name)
}

#[test]
fn a_fence_that_is_closed_twice_remembers_the_first_number() {
    let Some(space) = namespace(&[]) else {
        return;
    };
    web(&space);
    let drctl = fencing(&space, Drctl::new("shop"));
    let run = drctl.run(["fence"]).ok();
    assert!(
        run.stdout.contains("fenced deployment/web, 2 replicas"),
        "{run:#?}"
    );
    assert_eq!((replicas(&space), pods(&space)), ((0, Some("2".into())), 0));
    drctl.run(["fence"]).ok();
    // Somebody meant well.
    space.kubectl(&["scale", "deployment", "web", "--replicas=1"]);
    drctl.run(["fence"]).ok();
    assert_eq!((replicas(&space), pods(&space)), ((0, Some("2".into())), 0));
    drctl.run(["unfence"]).ok();
    assert_eq!(replicas(&space), (2, None));
    let run = drctl.run(["unfence"]).ok();
    assert!(run.stdout.contains("unchanged, "), "{run:#?}");
    assert_eq!(replicas(&space), (2, None));
}

#[test]
fn one_workload_that_is_not_there_neither_closes_the_others_nor_keeps_them_out() {
    let Some(space) = namespace(&[]) else {
        return;
    };
    web(&space);
    worker(&space);
    let drctl = fencing(&space, Drctl::new("shop"));
    let wrong = drctl.env("DRCTL_RESTORE_FENCE", "deployment/web,deployment/wroker");
    let run = wrong.run(["fence"]);
    assert!(!run.stderr.contains("stays fenced"), "{run:#?}");
    run.refused(2, &["deployment/wroker", "not found"]);
    assert_eq!(replicas(&space), (2, None), "nothing was touched");

    let both = wrong.env("DRCTL_RESTORE_FENCE", "deployment/web,deployment/worker");
    both.run(["fence"]).ok();
    space.kubectl(&["delete", "deployment", "web"]);
    both.run(["unfence"])
        .refused(2, &["\"web\" not found", "deployment/web stays fenced"]);
    assert_eq!(replicas_of(&space, "worker"), (2, None));
}

#[test]
fn who_scales_up_again_what_is_being_fenced_is_the_reason_that_is_told() {
    let Some(space) = namespace(&[]) else {
        return;
    };
    // Pods that stay until their finalizer goes: the fence is never faster than who scales up.
    let labels = "metadata: {labels: {app: web}";
    let held = format!("{labels}, finalizers: [drctl.io/test]");
    space.apply(&WEB.replace(labels, &held));
    until("the application's pods", || pods(&space) == 2);
    let drctl = fencing(&space, Drctl::new("shop")).env("DRCTL_RESTORE_FENCE_SECONDS", "8");
    let ended = AtomicBool::new(false);
    let run = std::thread::scope(|scope| {
        // As controllers of GitOps do; more than one, and from before on, so that the fence is never faster.
        for _ in 0..3 {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    space.kubectl(&["scale", "deployment", "web", "--replicas=2"]);
                }
            });
        }
        let run = drctl.run(["fence"]);
        ended.store(true, Ordering::Relaxed);
        run
    });
    let words = [
        "deployment/web",
        "is scaled up by another client",
        "stays fenced",
    ];
    run.refused(10, &words);
    drctl.run(["unfence"]).ok();
    assert_eq!(replicas(&space), (2, None));
    space.apply(WEB);
    let listed = space.kubectl(&["get", "pods", "--output", "name"]);
    for pod in listed.lines() {
        let none = r#"{"metadata":{"finalizers":null}}"#;
        space.kubectl(&["patch", pod, "--type", "merge", "--patch", none]);
    }
}

#[test]
fn a_note_that_somebody_took_away_or_spoiled_is_told() {
    let Some(space) = namespace(&[]) else {
        return;
    };
    web(&space);
    let drctl = fencing(&space, Drctl::new("shop"));
    drctl.run(["fence"]).ok();
    let spoiled = [
        "annotate",
        "deployment",
        "web",
        "--overwrite",
        "drctl.io/replicas=two",
    ];
    space.kubectl(&spoiled);
    let words = [
        "deployment/web",
        "\"two\"",
        "annotate --overwrite deployment/web drctl.io/replicas=N",
    ];
    drctl.run(["unfence"]).refused(10, &words);
    space.kubectl(&["annotate", "deployment", "web", "drctl.io/replicas-"]);
    let run = drctl.run(["unfence"]).ok();
    assert!(
        run.stdout
            .contains("no record of its previous replica count"),
        "{run:#?}"
    );
}

#[test]
fn a_fence_and_its_end_outlive_a_restart_of_the_api_server() {
    let Some(space) = namespace_alone() else {
        return;
    };
    web(&space);
    let drctl = fencing(&space, Drctl::new("shop"));
    for verb in ["fence", "unfence"] {
        if !space.program("stop", "kube-apiserver") {
            return;
        }
        let running = drctl.start([verb]);
        std::thread::sleep(Duration::from_secs(2));
        space.program("start", "kube-apiserver");
        running.wait().ok();
    }
    assert_eq!(replicas(&space), (2, None));
}

#[test]
fn a_fence_is_not_closed_before_the_controller_knows_of_it() {
    let Some(space) = namespace_alone() else {
        return;
    };
    if !space.program("stop", "kube-controller-manager") {
        return;
    }
    // It has no pods yet, and nobody but its controller knows whether it is about to make some.
    space.apply(WEB);
    let drctl = fencing(&space, Drctl::new("shop")).env("DRCTL_RESTORE_FENCE_SECONDS", "2");
    let run = drctl.run(["fence"]);
    space.program("start", "kube-controller-manager");
    run.refused(
        10,
        &[
            "the controller of deployment/web did not observe",
            "stays fenced",
        ],
    );
    drctl
        .env("DRCTL_RESTORE_FENCE_SECONDS", "60")
        .run(["fence"])
        .ok();
}

#[test]
fn a_restore_that_is_refused_leaves_the_application_alone() {
    need!(MariaDb);
    let Some(space) = namespace(&[]) else {
        return;
    };
    web(&space);
    let (source, drctl) = backed_up();
    let drctl = fencing(&space, drctl.into(&source));
    let run = drctl.run(["restore", "--latest"]);
    assert!(!run.stderr.contains("fenced"), "{run:#?}");
    run.refused(9, &["shop"]);
    assert_eq!(replicas(&space), (2, None));
}

#[test]
fn a_report_that_nobody_can_read_keeps_no_application_out() {
    need!(MariaDb);
    let Some(space) = namespace(&[]) else {
        return;
    };
    web(&space);
    let (_source, drctl) = backed_up();
    let server = Server::start(Flavour::MariaDb);
    let drctl = fencing(&space, drctl.into(&server)).behind("exec >/dev/full");
    drctl
        .run(["restore", "--latest"])
        .refused(1, &["cannot write to standard output"]);
    assert_eq!(replicas(&space), (2, None));
}

#[test]
fn a_restore_opens_the_fence_only_once_verified() {
    need!(MariaDb);
    let Some(space) = namespace(&[]) else {
        return;
    };
    web(&space);
    let (_source, drctl) = backed_up();
    let server = Server::start(Flavour::MariaDb);
    let drctl = fencing(&space, drctl.into(&server));

    let run = drctl.run(["restore", "--latest", "--no-compare"]).ok();
    assert!(run.stderr.contains("the workloads stay fenced"), "{run:#?}");
    assert_eq!(replicas(&space), (0, Some("2".into())));
    // What is there already is refused, and the application stays out.
    let words = ["shop", "deployment/web stays fenced until drctl unfence"];
    drctl.run(["restore", "--latest"]).refused(9, &words);
    assert_eq!(replicas(&space), (0, Some("2".into())));
    // The emergency button: a Job without arguments.
    let button = drctl
        .env("DRCTL_RESTORE", "latest")
        .env("DRCTL_CONFIRM", "shop");
    button.run(["restore", "--overwrite"]).ok();
    assert_eq!(server.value("SELECT COUNT(*) FROM shop.t"), "1");
    assert_eq!(replicas(&space), (2, None));
    let wrong = button.env("DRCTL_CONFIRM", "other");
    wrong
        .run(["restore", "--overwrite"])
        .refused(2, &["other", "shop"]);
    let unnamed = wrong.without("DRCTL_RESTORE");
    unnamed
        .run(["restore"])
        .refused(2, &["no backup selected", "DRCTL_RESTORE"]);
}
