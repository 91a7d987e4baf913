//! Who reaches whom, by connections. Where the cluster does not enforce policies, as that of `make cluster`, all
//! are let through: there `tests/chart/traffic` is what holds the policies to their table, and this test shows
//! that its connections say something.

use std::time::Duration;

use serde_json::Value;

use crate::cluster::{Namespace, namespace, until};
use crate::stack::Stack;

/// Something that listens, something that asks, and a policy that lets nothing through.
const CANARY: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: nothing}
spec: {podSelector: {matchLabels: {app: listens}}, policyTypes: [Ingress]}
---
";

/// What a pod does that only asks.
const WAIT: &str = "      command: [sleep, '3600']\n";

/// A pod of nginx that satisfies `restricted`, with these labels.
fn pod(name: &str, labels: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{{labels}}}}}
spec:
  automountServiceAccountToken: false
  securityContext: {{runAsNonRoot: true, runAsUser: 101, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
    - name: c
      image: localhost/nginx:test
{WAIT}      securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
---
"
    )
}

/// The address of a pod that runs.
#[track_caller]
fn address(space: &Namespace, name: &str) -> String {
    let mut ip = String::new();
    until(Duration::from_secs(60), &format!("{name} runs"), || {
        let status = space.json(&["get", "pod", name])["status"].clone();
        ip = status["podIP"].as_str().unwrap_or_default().to_owned();
        status["phase"] == "Running" && !ip.is_empty()
    });
    ip
}

/// Whether a connection from a pod comes about.
#[track_caller]
fn connects(space: &Namespace, from: &str, ip: &str, port: u16) -> bool {
    let ask =
        format!("timeout 3 bash -c '</dev/tcp/{ip}/{port}' 2>/dev/null && echo yes || echo no");
    space
        .kubectl(&["exec", from, "--", "bash", "-c", &ask])
        .trim()
        == "yes"
}

/// Whether this cluster does what policies say; a policy takes effect a moment after it was made.
#[track_caller]
fn is_enforced() -> Option<bool> {
    let space = namespace(&[])?;
    // The image's own program is a web server at 8080.
    let listens = pod("listens", "app: listens").replace(WAIT, "");
    space.apply(&format!("{CANARY}{}{listens}", pod("asks", "app: asks")));
    let ip = address(&space, "listens");
    address(&space, "asks");
    let mut tries = (0..5).map(|_| {
        std::thread::sleep(Duration::from_secs(1));
        connects(&space, "asks", &ip, 8080)
    });
    Some(!tries.any(|connected| connected))
}

#[test]
fn connections_are_what_the_table_says_or_the_cluster_enforces_nothing() {
    let Some(stack) = Stack::shared() else {
        return;
    };
    let Some(enforced) = is_enforced() else {
        return;
    };
    let space = &stack.space;
    let component = |name: &str| -> (String, String) {
        let pod: Value = stack.pods(name)[0].clone();
        let name = pod["metadata"]["name"].as_str().expect("a name").to_owned();
        (name.clone(), address(space, &name))
    };
    space.apply(&format!(
        "{}{}",
        pod("stranger", "app: stranger"),
        pod("prometheus", "app.kubernetes.io/name: prometheus")
    ));
    for name in ["stranger", "prometheus"] {
        address(space, name);
    }
    let (web, _) = component("web");
    let (serve, metrics) = component("serve");
    let (watcher, events) = component("watcher");
    let (_, database) = component("database");
    let table: [(&str, &str, u16, bool); 9] = [
        (&web, &database, 3306, true),
        ("stranger", &database, 3306, false),
        ("prometheus", &database, 3306, false),
        (&serve, &database, 3306, false),
        (&watcher, &database, 3306, false),
        ("prometheus", &metrics, 9898, true),
        ("prometheus", &events, 9899, true),
        ("stranger", &metrics, 9898, false),
        (&web, &metrics, 9898, false),
    ];
    for (from, to, port, allowed) in table {
        let connected = connects(space, from, to, port);
        assert_eq!(
            connected,
            allowed || !enforced,
            "{from} to {to}:{port}, policies enforced: {enforced}"
        );
    }
    space.kubectl(&["delete", "pod", "stranger", "prometheus", "--wait=false"]);
    if !enforced {
        // Nothing is left out: what policies say is held to their table elsewhere.
        println!("NetworkPolicies are not enforced here; tests/chart/traffic is evaluated instead");
    }
}
