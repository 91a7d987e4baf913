//! The cluster of the tests: asked by `kubectl`, which shares no code with the product.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Drctl, lab};

/// Held by every test, and alone by one that does something to the cluster itself.
static CLUSTER: RwLock<()> = RwLock::new(());

/// A namespace of a test's own, gone at its end.
#[derive(Debug)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    kubeconfig: PathBuf,
    /// Let go last of all.
    _turn: Turn,
}

#[derive(Debug)]
#[allow(dead_code, reason = "held, not read")]
enum Turn {
    Shared(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

/// A namespace on the cluster; none, and the test is skipped, where there is no cluster.
pub fn namespace(labels: &[&str]) -> Option<Namespace> {
    let turn = CLUSTER.read().unwrap_or_else(PoisonError::into_inner);
    make(labels, Turn::Shared(turn))
}

/// The same, while no other test uses the cluster.
pub fn namespace_alone() -> Option<Namespace> {
    let turn = CLUSTER.write().unwrap_or_else(PoisonError::into_inner);
    make(&[], Turn::Alone(turn))
}

fn make(labels: &[&str], turn: Turn) -> Option<Namespace> {
    let named = ["DRCTL_TEST_KUBECONFIG", "KUBECONFIG"];
    let Some(kubeconfig) = named.iter().find_map(std::env::var_os) else {
        lab::skip("no cluster: set KUBECONFIG, as `make cluster` prints it");
        return None;
    };
    let space = Namespace {
        name: format!("drctl-test-{:08x}", rand::random::<u32>()),
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

    #[track_caller]
    fn kubectl_anywhere(&self, args: &[&str]) -> String {
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
        let own = lab::root().join("bin/kubectl");
        let program = if own.exists() { own } else { "kubectl".into() };
        let mut command = Command::new(program);
        command.env("KUBECONFIG", &self.kubeconfig).args(args);
        command.output().expect("kubectl runs")
    }

    /// Kills the API server and waits until it answers again; false, and the test is skipped, where the
    /// cluster is not that of `make cluster`.
    pub fn restart_the_api_server(&self) -> bool {
        let of_lab = self.kubeconfig.strip_prefix(lab::root().join("cluster"));
        let number = of_lab.ok().and_then(|path| path.iter().next());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/ctl.sh");
        let (Some(number), true) = (number, script.exists()) else {
            lab::skip("the API server is restarted only where the cluster is that of make cluster");
            return false;
        };
        let mut command = Command::new(script);
        command.env("DRCTL_CLUSTER", number);
        let done = command.args(["restart", "kube-apiserver"]).status();
        assert!(done.expect("ctl.sh runs").success());
        true
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

/// Waits until something is so.
#[track_caller]
pub fn until(limit: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
