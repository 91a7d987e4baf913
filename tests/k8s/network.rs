//! Who reaches whom, by connections: each row of `tests/chart/traffic`, the stack itself, names and NodePorts, and
//! what becomes of connections while nobody judges them.
//!
//! The cluster of `make cluster` enforces policies. One that does not lets everything through: of the tables
//! nothing is tried there, and the stack's own connections show that much.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::{IpAddr, Ipv6Addr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::{Namespace, namespace, namespace_alone, tool};
use crate::stack::{RELEASE, Stack};
use crate::support::lab;
use crate::support::wait::until;

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
    until(&format!("{name} runs"), || {
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
    assert!(
        enforced || space.number().is_none(),
        "the cluster of make cluster enforces nothing"
    );
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

/// A row of a table.
#[derive(Debug, Clone)]
struct Row {
    from: String,
    to: String,
    port: u16,
    allowed: bool,
}

/// Of two pods of one kind this is the other one.
const TWIN: &str = "'s twin";

impl Row {
    /// Whom it connects to: what a pod says to itself never leaves it, so that the other one is meant.
    fn other_end(&self) -> String {
        match self.from == self.to {
            true => format!("{}{TWIN}", self.to),
            false => self.to.clone(),
        }
    }
}

/// The rows of a table that connections can try: this cluster has no IPv6, so that rows of it are evaluated only.
fn table(name: &str) -> Vec<Row> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chart/traffic");
    let text = std::fs::read_to_string(place.join(format!("{name}.tsv"))).expect("a table");
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or(""));
    let rows = lines.filter_map(|line| {
        let cells: Vec<&str> = line.split_whitespace().collect();
        let [allowed, from, to, port] = cells[..] else {
            return None;
        };
        let v6 = |end: &str| end.parse::<Ipv6Addr>().is_ok();
        (!v6(from) && !v6(to)).then(|| Row {
            from: from.to_owned(),
            to: to.to_owned(),
            port: port.parse().expect("a port"),
            allowed: allowed == "yes",
        })
    });
    let rows: Vec<Row> = rows.collect();
    assert!(rows.len() > 8, "{name}: hardly any rows");
    rows
}

/// Everybody that the tables speak of: a pod for each component and each stranger, and an outside with the addresses.
/// All of them answer at all ports of the tables.
struct Crowd<'a> {
    space: &'a Namespace,
    /// Namespace and name of the pod of an end, and its address.
    pods: BTreeMap<String, (String, String, String)>,
    foreign: BTreeSet<String>,
}

impl<'a> Crowd<'a> {
    #[track_caller]
    fn gather(space: &'a Namespace, rows: &[Row]) -> Crowd<'a> {
        let mut ends: BTreeSet<String> = BTreeSet::new();
        for row in rows {
            ends.extend([row.from.clone(), row.other_end()]);
        }
        let ports: BTreeSet<u16> = rows.iter().map(|row| row.port).collect();
        let mut crowd = Crowd {
            space,
            pods: BTreeMap::new(),
            foreign: BTreeSet::new(),
        };
        let mut yaml = String::new();
        let outside = ends.iter().filter(|end| is_address(end));
        let outside: Vec<&str> = outside.map(String::as_str).collect();
        for (number, end) in ends.iter().filter(|end| !is_address(end)).enumerate() {
            let like = end.trim_end_matches(TWIN);
            let (namespace, labels) = match like.split_once(':') {
                Some((namespace, labels)) => (
                    namespace.to_owned(),
                    labels.replace('=', ": ").replace(',', ", "),
                ),
                None if like == "other" => (space.name.clone(), "app: other".to_owned()),
                None => {
                    let ours = format!(
                        "app.kubernetes.io/name: drctl, app.kubernetes.io/instance: {RELEASE}, \
                         app.kubernetes.io/component: {like}"
                    );
                    (space.name.clone(), ours)
                }
            };
            if namespace != space.name && crowd.foreign.insert(namespace.clone()) {
                yaml += &format!(
                    "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n---\n"
                );
            }
            let name = format!("crowd-{number}");
            yaml += &answering(&namespace, &name, &labels, &ports);
            crowd
                .pods
                .insert(end.clone(), (namespace, name, String::new()));
        }
        let file = lab::ScratchDir::new();
        let path = file.path().join("crowd.yaml");
        std::fs::write(&path, yaml).expect("a scratch file");
        // Not by the namespace of the test: they have their own.
        let apply = ["apply", "--filename", &path.display().to_string()];
        space.kubectl_anywhere(&apply);
        let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
        crowd.world(&["begin", &outside.join(" "), &ports.join(" ")], "");
        for (end, (namespace, name, ip)) in &mut crowd.pods {
            until(&format!("{end} answers"), || {
                let pod = [
                    "get",
                    "pod",
                    name,
                    "--namespace",
                    namespace,
                    "--output",
                    "json",
                ];
                let pod: Value = serde_json::from_str(&space.kubectl_anywhere(&pod)).expect("JSON");
                let status = &pod["status"];
                *ip = status["podIP"].as_str().unwrap_or_default().to_owned();
                status["containerStatuses"][0]["ready"].as_bool() == Some(true)
            });
        }
        crowd
    }

    /// What `world.sh` says.
    #[track_caller]
    fn world(&self, args: &[&str], input: &str) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/world.sh");
        let mut command = Command::new(script);
        command.env(
            "DRCTL_CLUSTER",
            self.space.number().expect("of make cluster"),
        );
        command
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("world.sh runs");
        let mut pipe = child.stdin.take().expect("a pipe");
        pipe.write_all(input.as_bytes()).expect("it reads");
        drop(pipe);
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "world.sh {args:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn address(&self, end: &str) -> String {
        match self.pods.get(end) {
            Some((_, _, ip)) => ip.clone(),
            None => end.to_owned(),
        }
    }

    /// What becomes of each connection: `open`, `silent` or `refused`. All at once.
    #[track_caller]
    fn try_all(&self, rows: &[Row]) -> Vec<String> {
        let mut answers = vec![String::new(); rows.len()];
        let mut by_end: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (number, row) in rows.iter().enumerate() {
            let end = if is_address(&row.from) { "" } else { &row.from };
            by_end.entry(end).or_default().push(number);
        }
        let said: Vec<String> = std::thread::scope(|scope| {
            let asking: Vec<_> = by_end
                .iter()
                .map(|(end, numbers)| scope.spawn(|| self.ask(end, numbers, rows)))
                .collect();
            let said = asking
                .into_iter()
                .map(|thread| thread.join().expect("it asks"));
            said.collect()
        });
        for line in said.iter().flat_map(|text| text.lines()) {
            if let Some((number, answer)) = line.split_once(' ') {
                answers[number.parse::<usize>().expect("a number")] = answer.to_owned();
            }
        }
        answers
    }

    fn ask(&self, end: &str, numbers: &[usize], rows: &[Row]) -> String {
        let lines = numbers.iter().map(|number| {
            let row = &rows[*number];
            let to = self.address(&row.other_end());
            match end {
                "" => format!("{number} {} {to} {}\n", row.from, row.port),
                _ => format!(
                    "(timeout 4 bash -c '</dev/tcp/{to}/{}' 2>/dev/null; case $? in 0) echo {number} open ;; \
                     124) echo {number} silent ;; *) echo {number} refused ;; esac) &\n",
                    row.port
                ),
            }
        });
        let lines: String = lines.collect();
        match self.pods.get(end) {
            None => self.world(&["try"], &lines),
            Some((namespace, name, _)) => {
                let ask = format!("{lines}wait");
                let exec = [
                    "exec",
                    "--namespace",
                    namespace,
                    name,
                    "--",
                    "bash",
                    "-c",
                    &ask,
                ];
                self.space.kubectl_anywhere(&exec)
            }
        }
    }

    /// What the pod of an end says to a command, and whether it succeeded.
    fn runs(&self, end: &str, command: &str) -> bool {
        let (namespace, name, _) = &self.pods[end];
        let ask = format!("{command} >/dev/null 2>&1 && echo yes || echo no");
        let exec = [
            "exec",
            "--namespace",
            namespace,
            name,
            "--",
            "bash",
            "-c",
            &ask,
        ];
        self.space.kubectl_anywhere(&exec).trim() == "yes"
    }

    /// The policies of these values of the chart, in the namespace of the test, and no others.
    #[track_caller]
    fn policies(&self, values: &str, more: &[&str]) {
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("chart");
        let values = chart.join(format!("ci/{values}-values.yaml"));
        let mut command = Command::new(tool("helm"));
        command.args(["template", RELEASE]).arg(&chart);
        command.args(["--namespace", &self.space.name, "--kube-version", "1.34.4"]);
        command.arg("--values").arg(values).args(more);
        command.args(["--show-only", "templates/network/policies.yaml"]);
        let output = command.output().expect("helm runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        self.space.kubectl(&["delete", "networkpolicy", "--all"]);
        self.space.apply(&String::from_utf8_lossy(&output.stdout));
    }

    /// Tries all rows until they are what they should be; what is new takes a moment to hold.
    #[track_caller]
    fn hold(&self, what: &str, rows: &[Row]) {
        let mut left = rows.to_vec();
        let mut last = Vec::new();
        for _ in 0..4 {
            last = self.try_all(&left);
            let wrong = |(row, answer): (&Row, &String)| {
                let right = if row.allowed { "open" } else { "silent" };
                (answer != right).then(|| (row.clone(), answer.clone()))
            };
            let wrong: Vec<(Row, String)> = left.iter().zip(&last).filter_map(wrong).collect();
            (left, last) = wrong.into_iter().unzip();
            if left.is_empty() {
                return;
            }
        }
        panic!("{what}: not what the table says: {left:#?} {last:?}");
    }
}

impl Drop for Crowd<'_> {
    fn drop(&mut self) {
        self.world(&["end"], "");
        for namespace in self.foreign.iter().filter(|name| *name != "kube-system") {
            let delete = ["delete", "namespace", namespace, "--wait=false"];
            self.space.says(&delete);
        }
        for (namespace, name, _) in self.pods.values().filter(|pod| pod.0 == "kube-system") {
            self.space.says(&[
                "delete",
                "pod",
                name,
                "--wait=false",
                "--namespace",
                namespace,
            ]);
        }
    }
}

fn is_address(end: &str) -> bool {
    end.parse::<IpAddr>().is_ok()
}

/// A pod that answers at all of these ports.
fn answering(namespace: &str, name: &str, labels: &str, ports: &BTreeSet<u16>) -> String {
    let listen: String = ports
        .iter()
        .map(|port| format!("listen {port}; "))
        .collect();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary
        .map(|what| format!("{what}_temp_path /tmp/{what}; "))
        .concat();
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}, labels: {{{labels}}}}}
spec:
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: 0
  securityContext:
    runAsNonRoot: true
    runAsUser: 101
    seccompProfile: {{type: RuntimeDefault}}
    sysctls: [{{name: net.ipv4.ip_unprivileged_port_start, value: '0'}}]
  containers:
    - name: c
      image: localhost/nginx:test
      command: [sh, -c, 'echo \"$CONF\" >/tmp/nginx.conf; exec nginx -c /tmp/nginx.conf -g \"daemon off;\"']
      env:
        - name: CONF
          value: 'worker_processes 1; pid /tmp/pid; events {{}} http {{ access_log off; {temporary}server {{ {listen}return 200; }} }}'
      readinessProbe: {{tcpSocket: {{port: 8080}}, periodSeconds: 1}}
      securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
---
"
    )
}

#[test]
fn each_row_of_the_tables_of_traffic_is_what_a_connection_says() {
    let Some(space) = namespace(&[]) else {
        return;
    };
    if space.number().is_none() {
        lab::skip("the tables of traffic are tried in the cluster of make cluster");
        return;
    }
    let tables =
        ["full", "minimal", "existing-database", "standby"].map(|name| (name, table(name)));
    let mut all: Vec<Row> = tables.iter().flat_map(|(_, rows)| rows.clone()).collect();
    let crowd = Crowd::gather(&space, &all);

    // With no policy everything is open, so that what is silent later is so by a policy.
    all.iter_mut().for_each(|row| row.allowed = true);
    crowd.hold("without policies", &all);
    for (name, rows) in &tables {
        crowd.policies(name, &[]);
        crowd.hold(name, rows);
    }

    // Names and NodePorts, from inside and from outside.
    let node = space.node();
    let dns = format!("networkPolicy.dns.to[0].ipBlock.cidr={node}/32");
    crowd.policies("minimal", &["--set", &dns]);
    space.apply(&format!(
        "apiVersion: v1
kind: Service
metadata: {{name: pages}}
spec:
  type: NodePort
  selector: {{app.kubernetes.io/component: web, app.kubernetes.io/instance: {RELEASE}}}
  ports: [{{port: 80, targetPort: 8080}}]
"
    ));
    let port = space.json(&["get", "service", "pages"])["spec"]["ports"][0]["nodePort"].clone();
    let port = u16::try_from(port.as_u64().expect("a port")).expect("a port");
    let row = |from: &str, allowed| Row {
        from: from.to_owned(),
        to: node.to_string(),
        port,
        allowed,
    };
    let rows = ["203.0.113.9", "other", "other:app=x"].map(|from| row(from, true));
    crowd.hold("a NodePort", &rows);
    crowd.hold(
        "a NodePort, for who may not",
        &["serve", "scratch"].map(|from| row(from, false)),
    );
    assert!(
        TcpStream::connect((node, port)).is_ok(),
        "a NodePort from this machine"
    );
    assert!(
        TcpStream::connect((node, 53)).is_ok(),
        "names from this machine"
    );
    let name = "timeout 8 getent hosts kubernetes.default.svc.cluster.local";
    for (end, answered) in [
        ("web", true),
        ("backup", true),
        ("scratch", false),
        ("database", false),
    ] {
        assert_eq!(crowd.runs(end, name), answered, "names for {end}");
    }
}

#[test]
fn while_nobody_judges_no_connection_comes_about_and_those_that_stand_stay() {
    let Some(space) = namespace_alone() else {
        return;
    };
    if space.number().is_none() {
        lab::skip("the engine of policies is stopped in the cluster of make cluster");
        return;
    }
    let listens = answering(
        &space.name,
        "listens",
        "app: listens",
        &BTreeSet::from([8080]),
    );
    space.apply(&format!("{listens}{}", pod("asks", "app: asks")));
    let ip = address(&space, "listens");
    address(&space, "asks");
    until("it connects", || connects(&space, "asks", &ip, 8080));

    // A connection that says something once a second, also while the engine is away.
    let talk = format!(
        "exec 3<>/dev/tcp/{ip}/8080; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do \
         printf 'GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' >&3; read -t 3 -r line <&3 || exit 1; \
         while read -t 3 -r rest <&3; do [ \"$rest\" != $'\\r' ] || break; done; sleep 1; done; echo \"$line\""
    );
    let said = std::thread::scope(|scope| {
        let talks = scope.spawn(|| space.says(&["exec", "asks", "--", "bash", "-c", &talk]));
        std::thread::sleep(Duration::from_secs(2));
        assert!(space.program("stop", "policies"));
        let begun = Instant::now();
        let refused = !connects(&space, "asks", &ip, 8080);
        let silent = begun.elapsed() >= Duration::from_secs(3);
        assert!(space.program("start", "policies"));
        assert!(refused && silent, "a connection that nobody has judged");
        talks.join().expect("it talks")
    });
    assert!(
        said.starts_with("HTTP/1.1 200"),
        "the connection that stood: {said:?}"
    );
    until("it connects again", || connects(&space, "asks", &ip, 8080));
}
