//! The cluster of the tests: asked by `kubectl`, which shares no code with the product.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, LazyLock};

use serde_json::Value;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::support::{Drctl, lab};

/// Held by every test, and alone by one that does something to the cluster itself.
static CLUSTER: LazyLock<Arc<RwLock<()>>> = LazyLock::new(Arc::default);

/// A namespace of a test's own, gone at its end.
#[derive(Debug)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    kubeconfig: PathBuf,
    /// Takes it away should this process be killed.
    _janitor: Child,
    /// Let go last of all; none where those who share the namespace have one each.
    _turn: Option<Turn>,
}

/// The cluster is one's to use.
#[derive(Debug)]
#[allow(dead_code, reason = "held, not read")]
pub enum Turn {
    /// Beside others.
    Shared(OwnedRwLockReadGuard<()>),
    /// While no other test uses it.
    Alone(OwnedRwLockWriteGuard<()>),
}

impl Turn {
    /// Waits for it.
    pub fn shared() -> Turn {
        Turn::Shared(wait(CLUSTER.clone().read_owned()))
    }

    /// Waits for it.
    pub fn alone() -> Turn {
        Turn::Alone(wait(CLUSTER.clone().write_owned()))
    }
}

fn wait<T>(turn: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(turn)
}

/// A namespace on the cluster; none, and the test is skipped, where there is no cluster.
pub fn namespace(labels: &[&str]) -> Option<Namespace> {
    make(labels, Some(Turn::shared()))
}

/// The same, while no other test uses the cluster.
pub fn namespace_alone() -> Option<Namespace> {
    make(&[], Some(Turn::alone()))
}

/// A namespace with these labels, for somebody with this turn.
pub fn make(labels: &[&str], turn: Option<Turn>) -> Option<Namespace> {
    let named = ["DRCTL_TEST_KUBECONFIG", "KUBECONFIG"];
    let Some(kubeconfig) = named.iter().find_map(std::env::var_os) else {
        lab::skip("no cluster: set KUBECONFIG, as `make cluster` prints it");
        return None;
    };
    let name = format!("drctl-test-{:08x}", rand::random::<u32>());
    let space = Namespace {
        _janitor: janitor(&name, kubeconfig.as_ref()),
        name,
        kubeconfig: kubeconfig.into(),
        _turn: turn,
    };
    space.kubectl_anywhere(&["create", "namespace", &space.name]);
    if !labels.is_empty() {
        let mut all = vec!["label", "namespace", &space.name];
        all.extend(labels);
        space.kubectl_anywhere(&all);
    }
    Some(space)
}

/// Waits for our end of its pipe to close, which happens however this process ends.
fn janitor(name: &str, kubeconfig: &Path) -> Child {
    use std::os::unix::process::CommandExt as _;
    let delete = r#"read -r _; "$0" delete namespace "$1" --ignore-not-found --wait=false"#;
    let mut command = Command::new("/bin/sh");
    command.args(["-c", delete]).arg(tool("kubectl")).arg(name);
    command
        .env("KUBECONFIG", kubeconfig)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.process_group(0).spawn().expect("/bin/sh runs")
}

/// A program of the lab, else of this machine.
pub fn tool(name: &str) -> PathBuf {
    let own = lab::root().join("bin").join(name);
    if own.exists() { own } else { name.into() }
}

impl Namespace {
    /// The file by which the cluster is reached.
    pub fn kubeconfig(&self) -> String {
        self.kubeconfig.display().to_string()
    }

    /// `drctl` that knows this cluster.
    pub fn knows(&self, drctl: Drctl) -> Drctl {
        drctl.env("KUBECONFIG", &self.kubeconfig())
    }

    /// What `kubectl` says here.
    #[track_caller]
    pub fn kubectl(&self, args: &[&str]) -> String {
        let mut all = vec!["--namespace", &self.name];
        all.extend(args);
        self.kubectl_anywhere(&all)
    }

    /// The same as JSON.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        let mut all = args.to_vec();
        all.extend(["--output", "json"]);
        serde_json::from_str(&self.kubectl(&all)).expect("kubectl writes JSON")
    }

    /// Creates what this YAML says.
    #[track_caller]
    pub fn apply(&self, yaml: &str) {
        let file = lab::ScratchDir::new();
        let path = file.path().join("all.yaml");
        std::fs::write(&path, yaml).expect("a scratch file");
        self.kubectl(&["apply", "--filename", &path.display().to_string()]);
    }

    /// What `kubectl` says here, whatever it thinks of it.
    pub fn says(&self, args: &[&str]) -> String {
        let mut all = vec!["--namespace", &self.name];
        all.extend(args);
        String::from_utf8_lossy(&self.ask(&all).stdout).into_owned()
    }

    /// Takes a pod away at once, whatever becomes of its containers, and waits until the cluster knows it no
    /// more.
    #[track_caller]
    pub fn delete_by_force(&self, pod: &str) {
        self.kubectl(&["delete", "pod", pod, "--grace-period=0", "--force"]);
    }

    /// Writes into a pod's status that it is not ready.
    #[track_caller]
    pub fn unready(&self, pod: &str) {
        const STATUS: [&str; 4] = [
            "--subresource=status",
            "--type=merge",
            "--patch",
            r#"{"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "Tried"}]}}"#,
        ];
        self.kubectl(&[&["patch", "pod", pod], &STATUS[..]].concat());
    }

    /// Creates what this YAML says, unless it is there or nobody answers; whether it is there.
    pub fn try_apply(&self, yaml: &str) -> bool {
        let file = lab::ScratchDir::new();
        let path = file.path().join("all.yaml");
        std::fs::write(&path, yaml).expect("a scratch file");
        let path = path.display().to_string();
        let args = ["--namespace", &self.name, "apply", "--filename", &path];
        self.ask(&args).status.success()
    }

    /// What `kubectl` says, in whatever namespace the arguments name.
    #[track_caller]
    pub fn kubectl_anywhere(&self, args: &[&str]) -> String {
        let output = self.ask(args);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "kubectl {args:?}: {}",
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    fn ask(&self, args: &[&str]) -> Output {
        let mut command = Command::new(tool("kubectl"));
        command.env("KUBECONFIG", &self.kubeconfig).args(args);
        command.output().expect("kubectl runs")
    }

    /// Kills the API server and waits until it answers again; false, and the test is skipped, where the
    /// cluster is not that of `make cluster`.
    pub fn restart_the_api_server(&self) -> bool {
        self.program("restart", "kube-apiserver")
    }

    /// Stops, starts or restarts a program of the cluster, by `tests/cluster/ctl.sh`; false, and the test is
    /// skipped, where the cluster is not that of `make cluster`.
    pub fn program(&self, verb: &str, name: &str) -> bool {
        self.hand(&[verb, name])
    }

    /// Lets the node's kubelet think that it is short of memory, until what is given back is dropped; none,
    /// and the test is skipped, where the cluster is not that of `make cluster`.
    pub fn pressure(&self) -> Option<Pressure<'_>> {
        self.hand(&["pressure", "on"]).then_some(Pressure(self))
    }

    /// Kills each container of the namespace at once, as a power failure does; nothing where the cluster is not that of
    /// `make cluster`.
    pub fn kill_containers(&self) {
        let pods = self.json(&["get", "pods"]);
        let ids = pods["items"].as_array().into_iter().flatten();
        let ids = ids.flat_map(|pod| pod["status"]["containerStatuses"].as_array().cloned());
        let ids = ids.flatten();
        let ids: Vec<String> = ids
            .filter_map(|one| Some(one["containerID"].as_str()?.rsplit_once('/')?.1.to_owned()))
            .collect();
        let kill =
            "for id; do ctr --namespace k8s.io tasks kill --signal SIGKILL \"$id\" & done; wait";
        let mut all = vec!["in", "sh", "-c", kill, "sh"];
        all.extend(ids.iter().map(String::as_str));
        self.hand(&all);
    }

    fn hand(&self, args: &[&str]) -> bool {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/ctl.sh");
        let (Some(number), true) = (self.number(), script.exists()) else {
            lab::skip(&format!(
                "to {} takes a cluster that is that of make cluster",
                args.join(" ")
            ));
            return false;
        };
        let mut command = Command::new(script);
        command.env("DRCTL_CLUSTER", number);
        let done = command.args(args).status();
        assert!(done.expect("ctl.sh runs").success());
        true
    }

    /// Which of `make cluster`'s this cluster is, if it is one.
    pub fn number(&self) -> Option<String> {
        let of_lab = self.kubeconfig.strip_prefix(lab::root().join("cluster"));
        let number = of_lab.ok()?.iter().next()?;
        Some(number.to_string_lossy().into_owned())
    }

    /// The address that this machine has for the cluster's pods: `HOST_IP`, or what it is in that of
    /// `make cluster`.
    #[track_caller]
    pub fn host(&self) -> IpAddr {
        self.address("HOST_IP", "254")
    }

    /// The address where NodePorts are: `NODE_IP`, or what it is in the cluster of `make cluster`.
    #[track_caller]
    pub fn node(&self) -> IpAddr {
        self.address("NODE_IP", "1")
    }

    #[track_caller]
    fn address(&self, variable: &str, last: &str) -> IpAddr {
        let named = std::env::var(variable).ok();
        let of_lab = || Some(format!("10.101.{}.{last}", self.number()?));
        let Some(address) = named.or_else(of_lab) else {
            panic!("the cluster is not that of make cluster: {variable} has to be set");
        };
        address.parse().expect("an address")
    }

    /// A kubeconfig for a new account with these rights in this namespace and none elsewhere: verbs and
    /// resources, as `kubectl create role` takes them.
    #[track_caller]
    pub fn account(&self, name: &str, rights: &[(&str, &str)]) -> String {
        self.kubectl(&["create", "serviceaccount", name]);
        let whose = format!("--serviceaccount={}:{name}", self.name);
        for (number, (verbs, resource)) in rights.iter().enumerate() {
            let role = format!("{name}-{number}");
            let (verbs, resource) = (format!("--verb={verbs}"), format!("--resource={resource}"));
            self.kubectl(&["create", "role", &role, &verbs, &resource]);
            let of_role = format!("--role={role}");
            self.kubectl(&["create", "rolebinding", &role, &of_role, &whose]);
        }
        let token = self.kubectl(&["create", "token", name]);
        let mut config = self.json(&["config", "view", "--raw", "--minify"]);
        config["users"][0]["user"] = serde_json::json!({"token": token.trim()});
        config.to_string()
    }

    /// Names of the scratch pods that are there.
    #[track_caller]
    pub fn scratch_pods(&self) -> Vec<String> {
        let listed = self.json(&["get", "pods", "--selector", "drctl.io/role=scratch"]);
        let items = listed["items"].as_array().expect("a list").clone();
        let name = |item: &Value| item["metadata"]["name"].as_str().map(str::to_owned);
        items.iter().filter_map(name).collect()
    }
}

/// A node that is short of memory.
#[derive(Debug)]
pub struct Pressure<'a>(&'a Namespace);

impl Drop for Pressure<'_> {
    fn drop(&mut self) {
        self.0.hand(&["pressure", "off"]);
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for args in [
                &["get", "pods", "-o", "wide", "-n", &self.name][..],
                &["get", "events", "-n", &self.name],
            ] {
                let told = self.ask(args);
                eprintln!("{}", String::from_utf8_lossy(&told.stdout));
            }
        }
        self.ask(&["delete", "namespace", &self.name, "--wait=false"]);
    }
}
