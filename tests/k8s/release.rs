//! A release over its life: upgraded, rolled back, uninstalled, installed again.

use std::path::Path;
use std::process::Command;

use crate::cluster::{Turn, namespace, tool};
use crate::stack::{RELEASE, Stack};
use crate::support::lab;
use crate::support::wait::until;

#[test]
fn data_and_passwords_outlive_upgrade_rollback_uninstall_and_installation() {
    let Some(stack) = Stack::prepare("", Some(Turn::shared())) else {
        return;
    };
    // Begun with an image that there is not, and mended by the next upgrade.
    stack.helm(
        "install",
        &["--set", "database.image.tag=9.7-there-is-none"],
    );
    until("the image is missed", || {
        let pods = stack.pods("database");
        pods.iter().any(|pod| {
            let waits = &pod["status"]["initContainerStatuses"][0]["state"]["waiting"]["reason"];
            waits.as_str().is_some_and(|why| why.contains("Image"))
        })
    });
    stack.helm("upgrade", &["--wait"]);
    stack.fill();
    let (data, passwords) = (stack.digest(), stack.secrets());
    stack.run("backup").ok();
    let is_whole = |stack: &Stack, when: &str| {
        assert_eq!(stack.digest(), data, "{when}");
        assert_eq!(stack.secrets(), passwords, "{when}");
        assert_eq!(stack.pods("web").len(), 3, "{when}");
        // The account's password is that of the Secret.
        let run = stack.run("backup").ok();
        let newest = stack.backups()[0].clone();
        assert_eq!(newest["suspect"], false, "{when}: {run:#?} {newest:#}");
    };

    let limit = |stack: &Stack| stack.sql("SELECT @@max_connections");
    let usual = limit(&stack);
    stack.helm(
        "upgrade",
        &[
            "--wait",
            "--set-string",
            "database.options=max_connections=77",
        ],
    );
    stack.database_is_up();
    assert_eq!(
        limit(&stack),
        "77",
        "the server has started with the new options"
    );
    is_whole(&stack, "after the upgrade");
    let typo = stack.try_helm("upgrade", &["--set", "database.optoins=x"]);
    assert!(typo.is_err_and(|said| said.contains("optoins")));
    stack.helm("rollback", &["2", "--wait"]);
    stack.database_is_up();
    assert_eq!(limit(&stack), usual);
    is_whole(&stack, "after the rollback");

    stack.helm("uninstall", &["--wait"]);
    let left = stack.kubectl(&[
        "get",
        "deployments,statefulsets,cronjobs,pvc,secrets",
        "--output",
        "name",
    ]);
    let mut left: Vec<&str> = left.lines().collect();
    left.sort_unstable();
    assert_eq!(
        left,
        [
            "persistentvolumeclaim/data-drctl-database-0",
            "secret/drctl-database",
            "secret/store"
        ]
    );
    stack.helm("install", &["--wait"]);
    assert_eq!(stack.backups().len(), 3, "the backups of before");
    is_whole(&stack, "after another installation");
    stack.run("verify").ok();
}

#[test]
fn a_secret_that_lacks_a_password_is_named_by_the_database_and_by_helm_test() {
    let Some(stack) = Stack::prepare("", Some(Turn::shared())) else {
        return;
    };
    let keys = ["root-password", "app-password", "restore-password"];
    let keys = keys.map(|key| format!("--from-literal={key}=x"));
    let mut create = vec!["create", "secret", "generic", "mine"];
    create.extend(keys.iter().map(String::as_str));
    stack.kubectl(&create);
    stack.helm(
        "install",
        &["--set", "database.credentials.existingSecret=mine"],
    );
    until("the database says what is missing", || {
        let pods = stack.pods("database");
        pods.iter().any(|pod| {
            let status = &pod["status"]["initContainerStatuses"][0];
            let ended = ["state", "lastState"].map(|state| &status[state]["terminated"]["message"]);
            let says = |text: &&serde_json::Value| {
                let text = text.as_str().unwrap_or_default();
                text.contains("the Secret mine: backup-password is missing")
            };
            ended.iter().any(says)
        })
    });
    let tested = stack.try_helm("test", &["--logs", "--timeout", "2m"]);
    assert!(tested.is_err(), "{tested:?}");
    let said = stack.kubectl(&["logs", "drctl-doctor"]);
    assert!(
        said.contains("/run/secrets/database/backup-password"),
        "{said}"
    );
}

/// What only clusters have that have its definition.
const CUSTOM: [&str; 6] = [
    "monitoring.coreos.com/",
    "external-secrets.io/",
    "keda.sh/",
    "k8s.cni.cncf.io/",
    "cert-manager.io/",
    "secrets-store.csi.x-k8s.io/",
];

#[test]
fn what_is_rendered_is_what_the_api_server_keeps() {
    let Some(space) = namespace(&[]) else {
        return;
    };
    // No pod has to run for it.
    space.kubectl(&["create", "quota", "none", "--hard=pods=0"]);
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("chart");
    let file = lab::ScratchDir::new();
    let path = file.path().join("rendered.yaml");
    for values in [
        "manifests",
        "existing-database",
        "standby",
        "drills",
        "full",
        "openshift",
        "extended",
    ] {
        let mut command = Command::new(tool("helm"));
        command
            .args(["template", RELEASE])
            .arg(&chart)
            .args(["--skip-tests", "--namespace"]);
        command.args([&space.name, "--kube-version", "1.34.4", "--values"]);
        command.arg(chart.join(format!("ci/{values}-values.yaml")));
        command.args([
            "--set",
            "database.credentials.existingSecret=mine,web.service.nodePort=0",
        ]);
        command.args(["--set-json", "watcher.namespaces=[]"]);
        let output = command.output().expect("helm runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{values}: {said}");
        let rendered = String::from_utf8_lossy(&output.stdout);
        let known = |text: &&str| {
            let custom = |kind: &&str| text.contains(&format!("apiVersion: {kind}"));
            !CUSTOM.iter().any(custom)
        };
        let known: Vec<&str> = rendered.split("\n---\n").filter(known).collect();
        assert!(known.len() > 20, "{values}");
        std::fs::write(&path, known.join("\n---\n")).expect("a scratch file");

        let name = path.display().to_string();
        let with = ["--server-side", "--filename", &name];
        space.kubectl(&[&["apply"], &with[..]].concat());
        let mut diff = Command::new(tool("kubectl"));
        diff.env("KUBECONFIG", space.kubeconfig());
        diff.args(["--namespace", &space.name, "diff"]).args(with);
        let output = diff.output().expect("kubectl runs");
        let differs = String::from_utf8_lossy(&output.stdout);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{values}: {differs}{said}");
        space.kubectl(&[
            "delete",
            "--wait=false",
            "--ignore-not-found",
            "--filename",
            &name,
        ]);
        // The next one's are not changes of these.
        until("nothing is left", || {
            let left = "statefulsets,deployments,cronjobs,services,networkpolicies,roles,pods";
            let left = space.kubectl(&["get", left, "--output", "name"]);
            left.trim().is_empty()
        });
    }
}
