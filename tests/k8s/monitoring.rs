//! From the cluster to the engineer on call: a real Prometheus discovers the pods by the chart's annotations and
//! evaluates its rules, a real Alertmanager forwards the alert of a failed drill, and the dashboard has data.
//!
//! The rules of the group `drctl-kubernetes` need kube-state-metrics, which is not installed: promtool tests them
//! (`tests/it/alerts.rs`).

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::need;
use crate::stack::{RELEASE, Stack};
use crate::support::backup::walk;
use crate::support::lab::ScratchDir;
use crate::support::monitoring::Daemon;
use crate::support::receiver::Receiver;
use crate::support::wait::PATIENCE;
use crate::support::wait::until;

/// An account that discovers pods and scrapes them through the API server, which works from outside the cluster.
const PROMETHEUS: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: prometheus}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: prometheus}
rules:
- {apiGroups: [''], resources: [pods], verbs: [get, list, watch]}
- {apiGroups: [''], resources: [pods/proxy], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: prometheus}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: prometheus}
subjects: [{kind: ServiceAccount, name: prometheus}]
";

/// The scrape configuration of each.
const SCRAPE: &str = r#"{job_name: pods, honor_labels: true, scheme: https,
  authorization: {credentials_file: DIR/token}, tls_config: {ca_file: DIR/ca}, static_configs: [TARGETS]}"#;

/// The pods annotated for scraping, as Prometheus would discover them: Debian's is built without the discovery
/// of Kubernetes.
#[track_caller]
fn annotated(stack: &Stack, server: &str) -> String {
    let pods = stack.json(&["get", "pods", "--field-selector=status.phase=Running"]);
    let target = |pod: &Value| {
        let (metadata, annotations) = (&pod["metadata"], &pod["metadata"]["annotations"]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (annotations["prometheus.io/scrape"] == "true").then(|| {
            let (space, name) = (text(&metadata["namespace"]), text(&metadata["name"]));
            let port = text(&annotations["prometheus.io/port"]);
            let path = text(&annotations["prometheus.io/path"]);
            format!(
                "{{targets: ['{server}'], labels: {{namespace: {space}, pod: {name}, \
                 __metrics_path__: '/api/v1/namespaces/{space}/pods/{name}:{port}/proxy{path}'}}}}"
            )
        })
    };
    let pods = pods["items"].as_array().expect("a list");
    pods.iter()
        .filter_map(target)
        .collect::<Vec<_>>()
        .join(", ")
}

/// A Prometheus that watches a stack, and its files.
struct Watching {
    prometheus: Daemon,
    _files: ScratchDir,
}

impl Watching {
    #[track_caller]
    fn begin(stack: &Stack, alertmanager: &Daemon) -> Watching {
        stack.space.apply(PROMETHEUS);
        let files = ScratchDir::new();
        let write = |name: &str, bytes: &[u8]| {
            std::fs::write(files.path().join(name), bytes).expect("a file")
        };
        let token = stack.kubectl(&["create", "token", "prometheus", "--duration=1h"]);
        write("token", token.trim().as_bytes());
        let config = stack.json(&["config", "view", "--raw", "--minify"]);
        let cluster = &config["clusters"][0]["cluster"];
        write("ca", &authority(cluster));
        let server = cluster["server"]
            .as_str()
            .expect("a server")
            .replace("https://", "");
        let scrape = SCRAPE
            .replace("DIR", &files.path().display().to_string())
            .replace("TARGETS", &annotated(stack, &server));
        let scrape = format!("[{scrape}]");
        let this = Watching {
            prometheus: Daemon::prometheus_of(&scrape, &rules(stack), alertmanager),
            _files: files,
        };
        let up = format!("sum(up{{namespace=\"{}\"}})", stack.space.name);
        until(
            "serve and the watcher are scraped, and nothing else",
            || this.value(&up) == Some(2.0) && this.query("up").len() == 2,
        );
        this
    }

    /// Result of a query.
    #[track_caller]
    fn query(&self, query: &str) -> Vec<Value> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = self
            .prometheus
            .json(&format!("/api/v1/query?query={encoded}"));
        assert_eq!(answer["status"], "success", "{query}: {answer:#}");
        answer["data"]["result"]
            .as_array()
            .expect("a result")
            .clone()
    }

    #[track_caller]
    fn value(&self, query: &str) -> Option<f64> {
        let text = self.query(query).first()?["value"][1].as_str()?.to_owned();
        text.parse().ok()
    }
}

fn authority(cluster: &Value) -> Vec<u8> {
    use base64::Engine as _;
    match cluster["certificate-authority-data"].as_str() {
        Some(text) => base64::engine::general_purpose::STANDARD
            .decode(text)
            .expect("base64"),
        None => std::fs::read(
            cluster["certificate-authority"]
                .as_str()
                .expect("an authority"),
        )
        .expect("its file"),
    }
}

/// One template of the chart with one value set, for an operator whose kinds this cluster does not have.
#[track_caller]
pub fn rendered(stack: &Stack, set: &str, template: &str) -> String {
    let version = stack.json(&["version"])["serverVersion"]["gitVersion"].clone();
    let version = version.as_str().expect("a version");
    let args = [
        "--kube-version",
        version,
        "--set",
        set,
        "--show-only",
        template,
    ];
    stack.helm("template", &args)
}

/// The rules that the chart renders for an operator.
#[track_caller]
fn rules(stack: &Stack) -> String {
    let template = "templates/monitoring/rules.yaml";
    let rendered = rendered(stack, "monitoring.rules.enabled=true", template);
    let (_, rules) = rendered.split_once("\nspec:\n").expect("a spec");
    assert!(
        rules.contains("DrctlVerifyFailed") && rules.contains("DrctlCronJobSuspended"),
        "{rules}"
    );
    rules.to_owned()
}

/// Changes one byte in the middle of each archive.
fn damage(stack: &Stack) {
    let mut files = Vec::new();
    walk(&stack.gateway.object(&stack.bucket, "backups"), &mut files);
    files.retain(|file| file.contains("/dump.sql"));
    assert!(!files.is_empty());
    for file in files {
        let mut bytes = std::fs::read(&file).expect("an archive");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        std::fs::write(&file, bytes).expect("an archive");
    }
}

#[test]
fn a_failed_drill_in_the_cluster_is_received_as_an_alert_and_nothing_before_it() {
    need!(Prometheus);
    let Some(stack) = Stack::install("config: {serve: {interval_seconds: 1}}") else {
        return;
    };
    stack.fill();
    stack.run("backup").ok();
    stack.run("verify").ok();
    let person = Receiver::start();
    let alertmanager = Daemon::alertmanager(&person.url("/"));
    let watching = Watching::begin(&stack, &alertmanager);
    until("the verified restore is seen", || {
        watching.value("drctl_verify_last_result{level=\"restore\"}") == Some(1.0)
    });
    // DrctlMetricsAbsent may have been about to fire before the first scrape.
    until("nothing is about to fire", || {
        watching.query("ALERTS").is_empty()
    });
    let quiet = Instant::now();
    while quiet.elapsed() < Duration::from_secs(8) {
        assert_eq!(watching.query("ALERTS"), Vec::<Value>::new(), "all is well");
        std::thread::sleep(Duration::from_secs(1));
    }
    let came = person.take();
    assert!(
        !came.iter().any(|one| one.body.contains(&stack.space.name)),
        "{came:#?}"
    );

    damage(&stack);
    let ran = stack.run("verify");
    assert_eq!(ran.code, 6, "{ran:#?}");
    let fits = |alert: &Value| {
        alert["status"] == "firing" && alert["labels"]["alertname"] == "DrctlVerifyFailed"
    };
    let find = |body: &Value| {
        body["alerts"]
            .as_array()
            .and_then(|all| all.iter().find(|one| fits(one)).cloned())
    };
    let came = person.wait_for(|one| find(&one.json()).is_some());
    let alert = find(&came.json()).expect("it was just found");
    assert_eq!(alert["labels"]["namespace"], stack.space.name.as_str());
    assert_eq!(alert["labels"]["target"], "shop");
    assert_eq!(alert["labels"]["level"], "restore");
    assert_eq!(alert["labels"]["severity"], "critical");
}

/// The queries of the dashboard as Grafana would send them for this namespace.
fn dashboard(space: &str) -> Vec<(String, String)> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/chart/files/dashboard.json");
    let text = std::fs::read_to_string(file).expect("the dashboard");
    let tree: Value = serde_json::from_str(&text).expect("JSON");
    let mut all = Vec::new();
    let mut waiting = tree["panels"].as_array().expect("panels").clone();
    while let Some(panel) = waiting.pop() {
        waiting.extend(panel["panels"].as_array().cloned().unwrap_or_default());
        for target in panel["targets"].as_array().cloned().unwrap_or_default() {
            let query = target["expr"].as_str().expect("a query");
            let query = query
                .replace("$__rate_interval", "1m")
                .replace("$namespace", space)
                .replace("$target", ".*")
                .replace("$pods", space);
            assert!(!query.contains('$'), "{query}: another variable");
            all.push((panel["title"].as_str().expect("a title").to_owned(), query));
        }
    }
    all
}

#[test]
fn every_query_of_the_dashboard_has_data() {
    need!(Prometheus);
    let Some(stack) = Stack::shared() else {
        return;
    };
    let person = Receiver::start();
    let alertmanager = Daemon::alertmanager(&person.url("/"));
    let watching = Watching::begin(&stack, &alertmanager);
    // Deletions count, too.
    stack.kubectl(&[
        "create",
        "job",
        "seen",
        "--image=localhost/nginx:test",
        "--",
        "true",
    ]);
    let queries = dashboard(&stack.space.name);
    assert!(queries.len() > 15, "{queries:#?}");
    let missing = || -> BTreeSet<String> {
        let empty = |(_, query): &&(String, String)| watching.query(query).is_empty();
        queries
            .iter()
            .filter(empty)
            .map(|(title, query)| format!("{title}: {query}"))
            .collect()
    };
    let begun = Instant::now();
    while !missing().is_empty() {
        assert!(begun.elapsed() < PATIENCE, "no data: {:#?}", missing());
        // A pod that is never started is enough for an event; each Job creates some more.
        stack.kubectl(&[
            "delete",
            "pod",
            "--selector=app.kubernetes.io/component=web",
            "--field-selector=status.phase=Running",
            "--wait=false",
            "--ignore-not-found",
        ]);
        std::thread::sleep(Duration::from_secs(5));
    }
    stack.kubectl(&["delete", "job", "seen", "--wait=false"]);
}

#[test]
fn the_monitors_of_the_operator_select_what_serves_metrics() {
    let Some(stack) = Stack::shared() else {
        return;
    };
    let set = "monitoring.serviceMonitor.enabled=true";
    let rendered = rendered(&stack, set, "templates/monitoring/servicemonitor.yaml");
    let monitors = rendered
        .split("---\n")
        .filter(|text| text.contains("kind:"));
    let mut metrics = BTreeSet::new();
    for text in monitors {
        let monitor: Value = serde_saphyr::from_str(text).expect("YAML");
        let labels = monitor["spec"]["selector"]["matchLabels"]
            .as_object()
            .expect("labels")
            .clone();
        let selector: Vec<String> = labels
            .iter()
            .map(|(key, value)| format!("{key}={}", value.as_str().expect("text")))
            .collect();
        let selector = selector.join(",");
        let (kind, endpoints) = match monitor["kind"].as_str() {
            Some("ServiceMonitor") => ("service", &monitor["spec"]["endpoints"]),
            _ => ("pod", &monitor["spec"]["podMetricsEndpoints"]),
        };
        let found = stack.json(&["get", kind, "--selector", &selector]);
        let found = found["items"].as_array().expect("a list");
        assert_eq!(found.len(), 1, "{kind} {selector}");
        let name = found[0]["metadata"]["name"].as_str().expect("a name");
        let (port, path) = (
            endpoints[0]["port"].as_str().expect("a port"),
            endpoints[0]["path"].as_str().expect("a path"),
        );
        let ports = match kind {
            "service" => &found[0]["spec"]["ports"],
            _ => &found[0]["spec"]["containers"][0]["ports"],
        };
        let of_name = |one: &&Value| one["name"] == port;
        let number = ports
            .as_array()
            .expect("ports")
            .iter()
            .find(of_name)
            .expect("the named port");
        let number = number["port"]
            .as_u64()
            .or(number["containerPort"].as_u64())
            .expect("a number");
        let url = format!(
            "/api/v1/namespaces/{}/{kind}s/{name}:{number}/proxy{path}",
            stack.space.name
        );
        let page = stack.kubectl(&["get", "--raw", &url]);
        metrics.extend(
            ["drctl_build_info", "drctl_pod_watcher_up"]
                .into_iter()
                .filter(|name| page.contains(*name)),
        );
    }
    assert_eq!(
        metrics.into_iter().collect::<Vec<_>>(),
        ["drctl_build_info", "drctl_pod_watcher_up"],
        "of {RELEASE}"
    );
}
