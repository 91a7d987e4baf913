//! The whole stack, installed by `helm` from this repository's chart: a database, the web server, the watcher
//! and drctl around them, with an S3 server on this machine.
//!
//! ```ignore
//! let Some(stack) = Stack::install("backup: {schedule: '* * * * *'}") else { return };
//! stack.sql("CREATE TABLE app.t (id INT PRIMARY KEY)");
//! stack.run("backup").ok();
//! assert_eq!(stack.backups()[0]["suspect"], false);
//! ```
//!
//! Each has a namespace of its own that admits nothing but restricted pods, and is gone at the end, also
//! after a panic or a kill. No CronJob fires by itself unless its schedule is given, and no NodePort is taken.
//! Images are those of `make cluster`; on another cluster `HOST_IP` says where its pods reach this machine, and
//! `NODE_IP` where its NodePorts are.

use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::cluster::{Namespace, Turn, make, tool};
use crate::support::lab::{self, Piece};
use crate::support::versitygw::{Gateway, SECRET_KEY};
use crate::support::wait::until;

/// What everything of the release is named after.
pub const RELEASE: &str = "drctl";
/// The protected server.
pub const TARGET: &str = "shop";
/// A release of the chart in a namespace of its own.
#[derive(Debug)]
pub struct Stack {
    /// Where it is.
    pub space: Namespace,
    /// Where its backups go.
    pub gateway: Gateway,
    /// In that.
    pub bucket: String,
    /// What was asked for, as a file.
    values: lab::ScratchDir,
}

/// The stack that tests share which do it no harm, and a turn at the cluster.
pub struct Shared {
    stack: &'static Stack,
    _turn: Turn,
}

impl std::ops::Deref for Shared {
    type Target = Stack;

    fn deref(&self) -> &Stack {
        self.stack
    }
}

/// A Job that has ended.
#[derive(Debug)]
pub struct Ran {
    /// The exit code of its last pod.
    pub code: i64,
    /// What that pod said.
    pub log: String,
    /// The last words that it left, which `kubectl describe` shows.
    pub message: String,
}

impl Ran {
    /// It did what it was there for.
    #[track_caller]
    pub fn ok(self) -> Ran {
        assert_eq!(self.code, 0, "the Job failed: {self:#?}");
        self
    }
}

impl Stack {
    /// Installs it with these values over those of tests; none, and the test is skipped, where there is no
    /// cluster or no S3 server.
    #[track_caller]
    pub fn install(values: &str) -> Option<Stack> {
        let stack = Stack::prepare(values, Some(Turn::shared()))?;
        stack.helm("install", &["--wait"]);
        Some(stack)
    }

    /// The same, while no other test uses the cluster.
    #[track_caller]
    pub fn install_alone(values: &str) -> Option<Stack> {
        let stack = Stack::prepare(values, Some(Turn::alone()))?;
        stack.helm("install", &["--wait"]);
        Some(stack)
    }

    /// The one that tests share: it holds some data, one verified backup of them. Its database has a
    /// certificate that drctl verifies.
    pub fn shared() -> Option<Shared> {
        static SHARED: LazyLock<Option<Stack>> = LazyLock::new(|| {
            let stack = Stack::prepare("database: {tls: {enabled: true}}", None)?;
            stack.helm("install", &["--wait"]);
            stack.fill();
            stack.run("backup").ok();
            stack.run("verify").ok();
            Some(stack)
        });
        let turn = Turn::shared();
        let stack = SHARED.as_ref()?;
        Some(Shared { stack, _turn: turn })
    }

    /// Everything but the release: the namespace, the bucket, the Secret with its keys, the values.
    #[track_caller]
    pub fn prepare(values: &str, turn: Option<Turn>) -> Option<Stack> {
        if !lab::have(Piece::Gateway) {
            return None;
        }
        let space = make(&["pod-security.kubernetes.io/enforce=restricted"], turn)?;
        let gateway = Gateway::start_at(space.host());
        let bucket = gateway.bucket();
        let directory = lab::ScratchDir::new();
        // Where the cluster of `make cluster` answers names.
        let names = space.number().map(|_| space.node());
        let common = common(&gateway, &bucket, names);
        for (name, text) in [("common.yaml", common.as_str()), ("values.yaml", values)] {
            std::fs::write(directory.path().join(name), text).expect("a scratch file");
        }
        let account = gateway.environment();
        let keys = account.iter().filter(|(name, _)| name.contains("KEY"));
        let keys: Vec<String> = keys
            .map(|(name, value)| format!("--from-literal={name}={value}"))
            .collect();
        let mut all = vec!["create", "secret", "generic", "store"];
        all.extend(keys.iter().map(String::as_str));
        space.kubectl(&all);
        Some(Stack {
            space,
            gateway,
            bucket,
            values: directory,
        })
    }

    /// `helm install`, `upgrade`, … of the release from this repository's chart, with its values and what
    /// is added.
    #[track_caller]
    pub fn helm(&self, verb: &str, more: &[&str]) -> String {
        self.try_helm(verb, more)
            .unwrap_or_else(|said| panic!("helm {verb} {more:?}: {said}"))
    }

    /// The same, where it may be refused.
    pub fn try_helm(&self, verb: &str, more: &[&str]) -> Result<String, String> {
        let takes_values = ["install", "upgrade", "template"].contains(&verb);
        let mut command = Command::new(tool("helm"));
        command
            .env("KUBECONFIG", self.space.kubeconfig())
            .args([verb, RELEASE]);
        if takes_values {
            command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/chart"));
            for file in ["common.yaml", "values.yaml"] {
                command.arg("--values").arg(self.values.path().join(file));
            }
        }
        command.args(["--namespace", &self.space.name]).args(more);
        let output = command.output().expect("helm runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(text(&output.stderr)),
        }
    }

    /// What `kubectl` says in its namespace.
    #[track_caller]
    pub fn kubectl(&self, args: &[&str]) -> String {
        self.space.kubectl(args)
    }

    /// The same as JSON.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        self.space.json(args)
    }

    /// What these lines of a runbook say, in bash, with kubectl and helm on the PATH and `$namespace` and
    /// `$target` set; they have to succeed.
    #[track_caller]
    pub fn shell(&self, script: &str) -> String {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("bash");
        command
            .args(["-euo", "pipefail", "-c", script])
            .env(
                "PATH",
                format!("{}:{path}", lab::root().join("bin").display()),
            )
            .env("KUBECONFIG", self.space.kubeconfig())
            .env("namespace", &self.space.name)
            .env("target", TARGET)
            .stdin(Stdio::null());
        let output = command.output().expect("bash runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (said, erred) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{script}\n{said}{erred}");
        said
    }

    /// Starts a Job from the CronJob of this task (`backup`, `verify`, `prune`); its name.
    #[track_caller]
    pub fn begin(&self, task: &str) -> String {
        static COUNT: AtomicUsize = AtomicUsize::new(1);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let job = format!("{RELEASE}-{task}-by-hand-{count}");
        let from = format!("--from=cronjob/{RELEASE}-{task}");
        self.kubectl(&["create", "job", &job, &from]);
        job
    }

    /// Runs the task's CronJob now, and waits for its end.
    #[track_caller]
    pub fn run(&self, task: &str) -> Ran {
        let job = self.begin(task);
        self.ended(&job)
    }

    /// Waits until a Job has ended, well or not.
    #[track_caller]
    pub fn ended(&self, job: &str) -> Ran {
        until(&format!("{job} ends"), || {
            let job = self.json(&["get", "job", job]);
            let conditions = job["status"]["conditions"].as_array().cloned();
            conditions.unwrap_or_default().iter().any(|one| {
                one["status"] == "True" && (one["type"] == "Complete" || one["type"] == "Failed")
            })
        });
        self.ran(job)
    }

    /// What the last pod of a Job left.
    #[track_caller]
    pub fn ran(&self, job: &str) -> Ran {
        let selector = format!("job-name={job}");
        let by = ["get", "pods", "--sort-by=.metadata.creationTimestamp"];
        let pods = self.json(&[&by[..], &["--selector", &selector]].concat());
        let pod = pods["items"].as_array().and_then(|all| all.last()).cloned();
        let pod = pod.unwrap_or_else(|| panic!("{job} has no pod"));
        let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
        let name = pod["metadata"]["name"].as_str().expect("a name");
        Ran {
            code: ended["exitCode"].as_i64().unwrap_or(-1),
            log: self.kubectl(&["logs", name]),
            message: ended["message"].as_str().unwrap_or_default().to_owned(),
        }
    }

    /// What the database answers to root, one row a line.
    #[track_caller]
    pub fn sql(&self, statements: &str) -> String {
        let client = "MYSQL_PWD=$(cat /run/secrets/database/root-password) \
                      exec mysql --no-defaults --user=root --batch --skip-column-names --execute \"$0\"";
        let pod = format!("{RELEASE}-database-0");
        let said = self.kubectl(&["exec", &pod, "--", "sh", "-c", client, statements]);
        said.trim_end().to_owned()
    }

    /// Some thousand rows of several kinds, and what stands on them.
    #[track_caller]
    pub fn fill(&self) {
        self.sql(
            "USE app; SET SESSION cte_max_recursion_depth = 100000;
             CREATE TABLE orders (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(40), price DECIMAL(9,2),
               made DATETIME(6), note BLOB, KEY by_name (name));
             INSERT orders (name, price, made, note)
               WITH RECURSIVE n AS (SELECT 1 i UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
               SELECT CONCAT('Ö ', i), i / 7, '2026-01-01' + INTERVAL i SECOND, UNHEX(SHA2(i, 256)) FROM n;
             CREATE TABLE gone (id INT PRIMARY KEY, o INT, FOREIGN KEY (o) REFERENCES orders (id));
             INSERT gone SELECT id, id FROM orders WHERE id % 3 = 0;
             CREATE VIEW dear AS SELECT name, price FROM orders WHERE price > 1000;
             CREATE TRIGGER upper BEFORE INSERT ON orders FOR EACH ROW SET NEW.name = UPPER(NEW.name);",
        );
    }

    /// A digest of everything that [`Stack::fill`] made, by the server alone.
    #[track_caller]
    pub fn digest(&self) -> String {
        self.sql(
            "USE app; SET SESSION group_concat_max_len = 1 << 30;
             SELECT COUNT(*), SHA2(GROUP_CONCAT(CONCAT_WS('|', id, name, price, made, HEX(note)) ORDER BY id), 256)
               FROM orders;
             SELECT COUNT(*), SHA2(GROUP_CONCAT(CONCAT_WS('|', id, o) ORDER BY id), 256) FROM gone;
             SELECT COUNT(*), SUM(price) FROM dear;
             SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = 'app'",
        )
    }

    /// What `drctl` says in the pod of `serve`, which has no password.
    #[track_caller]
    pub fn drctl(&self, args: &[&str]) -> String {
        let deployment = format!("deploy/{RELEASE}");
        let all = ["exec", &deployment, "--", "drctl"];
        self.kubectl(&[&all[..], args].concat())
    }

    /// All backups as `drctl list` has them, newest first.
    #[track_caller]
    pub fn backups(&self) -> Vec<Value> {
        self.json_of(&["list"]).as_array().expect("a list").clone()
    }

    /// What `drctl` says there to programs.
    #[track_caller]
    pub fn json_of(&self, args: &[&str]) -> Value {
        let said = self.drctl(&[args, &["--output", "json"]].concat());
        serde_json::from_str(&said).expect("drctl writes JSON")
    }

    /// The pods of a component (`web`, `database`, …) that are not on their way out.
    #[track_caller]
    pub fn pods(&self, component: &str) -> Vec<Value> {
        let selector = format!("app.kubernetes.io/component={component}");
        let pods = self.json(&["get", "pods", "--selector", &selector]);
        let pods = pods["items"].as_array().expect("a list").clone();
        let stays = |pod: &Value| pod["metadata"]["deletionTimestamp"].is_null();
        pods.into_iter().filter(stays).collect()
    }

    /// Waits until the database answers.
    #[track_caller]
    pub fn database_is_up(&self) {
        until("the database is ready", || {
            let pods = self.pods("database");
            pods.iter()
                .any(|pod| pod["status"]["containerStatuses"][0]["ready"].as_bool() == Some(true))
        });
    }

    /// What may be in nothing that the cluster or the store shows: the passwords, and the store's key.
    #[track_caller]
    pub fn secrets(&self) -> Vec<String> {
        use base64::Engine as _;
        // The streamer's, where there is one.
        let secrets = self.json(&["get", "secrets"]);
        let secrets = secrets["items"].as_array().expect("a list").iter();
        let names = ["drctl-database", "drctl-stream", "shop-database"];
        let ours = secrets.filter(|one| names.iter().any(|name| one["metadata"]["name"] == *name));
        let data: Vec<Value> = ours
            .flat_map(|one| {
                one["data"]
                    .as_object()
                    .expect("passwords")
                    .values()
                    .cloned()
            })
            .collect();
        assert!(data.len() >= 4, "hardly any passwords");
        let decoded = data.iter().map(|value| {
            let bytes =
                base64::engine::general_purpose::STANDARD.decode(value.as_str().expect("text"));
            String::from_utf8(bytes.expect("base64")).expect("text")
        });
        decoded.chain([SECRET_KEY.to_owned()]).collect()
    }
}

/// What all tests ask for: little, as several stacks stand beside each other on two processors.
fn common(gateway: &Gateway, bucket: &str, names: Option<IpAddr>) -> String {
    let (url, port) = (gateway.url(), gateway.address().port());
    let image = |name: &str, usual: &str| {
        let named = std::env::var(format!("DRCTL_TEST_{name}_IMAGE"));
        let image = named.unwrap_or_else(|_| usual.to_owned());
        let (repository, tag) = image.rsplit_once(':').expect("an image with a tag");
        format!("{{repository: '{repository}', tag: '{tag}'}}")
    };
    let [drctl, mysql, nginx] = [
        image("DRCTL", "localhost/drctl:dev"),
        image("MYSQL", "localhost/mysql:9.7"),
        image("NGINX", "localhost/nginx:test"),
    ];
    let little = "{requests: {cpu: 20m, memory: 64Mi, ephemeral-storage: 16Mi}, \
                  limits: {memory: 512Mi, ephemeral-storage: 128Mi}}";
    let server = "{requests: {cpu: 50m, memory: 512Mi, ephemeral-storage: 64Mi}, \
                   limits: {memory: 1Gi, ephemeral-storage: 1Gi}}";
    // Room for what is restored is found by drctl itself.
    let scratch = "{requests: {cpu: 50m, memory: 512Mi}, limits: {memory: 1Gi}}";
    let dns = names.map(|node| format!("dns: {{to: [{{ipBlock: {{cidr: {node}/32}}}}]}}, "));
    let dns = dns.unwrap_or_default();
    // Once a year; the objective is one that this can meet.
    let never = "'0 0 1 1 *'";
    format!(
        "target: {TARGET}
image: {drctl}
config:
  store: {{url: 's3://{bucket}/backups', s3: {{endpoint_url: '{url}', region: us-east-1}}}}
  objectives: {{rpo_seconds: 32000000}}
storeCredentials: {{existingSecret: store}}
database: {{image: {mysql}, storage: {{size: 1Gi}}, resources: {server}}}
web: {{image: {nginx}, service: {{type: ClusterIP}}}}
backup: {{schedule: {never}, resources: {little}}}
verify: {{schedule: {never}, resources: {little}, scratch: {{resources: {scratch}}}}}
prune: {{schedule: {never}, resources: {little}}}
restore: {{resources: {little}}}
networkPolicy: {{{dns}store: {{ports: [{port}]}}}}
"
    )
}
