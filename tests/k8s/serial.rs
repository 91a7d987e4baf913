//! Two stacks that tests of faults use one after another, and what they do to it: a backup that stands still, a
//! Job that differs from its CronJob's, a process killed from outside.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::cluster::Turn;
use crate::stack::{RELEASE, Stack, TARGET};
use crate::support::backup::walk;
use crate::support::wait::until;

/// The stack, and a turn at it. It holds data and a backup of them.
#[derive(Debug)]
pub struct Serial {
    stack: MutexGuard<'static, Stack>,
    _turn: Turn,
}

impl Deref for Serial {
    type Target = Stack;

    fn deref(&self) -> &Stack {
        &self.stack
    }
}

/// As the test before left it, less its Jobs and locks; none, and the test is skipped, where there is no cluster.
pub fn serial(turn: Turn) -> Option<Serial> {
    type One = LazyLock<Option<Mutex<Stack>>>;
    static STACKS: [One; 2] = [LazyLock::new(install), LazyLock::new(install)];
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    fn install() -> Option<Mutex<Stack>> {
        let stack = Stack::prepare("", None)?;
        stack.helm("install", &["--wait"]);
        stack.fill();
        // Several parts of an upload, and a table for locks.
        stack.sql(
            "USE app; SET SESSION cte_max_recursion_depth = 100000;
             CREATE TABLE noise (id INT PRIMARY KEY, b BLOB);
             INSERT noise WITH RECURSIVE n AS (SELECT 1 i UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
               SELECT i, RANDOM_BYTES(1000) FROM n;
             CREATE TABLE held (id INT PRIMARY KEY)",
        );
        stack.run("backup").ok();
        Some(Mutex::new(stack))
    }
    let stack = STACKS[NEXT.fetch_add(1, Ordering::Relaxed) % STACKS.len()].as_ref()?;
    let serial = Serial {
        stack: stack.lock().unwrap_or_else(PoisonError::into_inner),
        _turn: turn,
    };
    serial.gateway.resume();
    serial.release();
    serial.kubectl(&["delete", "jobs", "--all"]);
    Some(serial)
}

/// How the process list shows who holds a lock.
const SLEEPS: &str = "INFO LIKE 'SELECT SLEEP%'";

impl Serial {
    /// Ids of all backups, newest first.
    #[track_caller]
    pub fn ids(&self) -> Vec<String> {
        let id = |one: Value| one["id"].as_str().expect("an id").to_owned();
        self.backups().into_iter().map(id).collect()
    }

    /// The pods of a Job, oldest first.
    #[track_caller]
    pub fn pods_of(&self, job: &str) -> Vec<Value> {
        let selector = format!("job-name={job}");
        let by = "--sort-by=.metadata.creationTimestamp";
        let pods = self.json(&["get", "pods", by, "--selector", &selector]);
        pods["items"].as_array().expect("a list").clone()
    }

    /// The newest pod of a Job, once its container runs.
    #[track_caller]
    pub fn running(&self, job: &str) -> Value {
        let runs =
            |pod: &Value| !pod["status"]["containerStatuses"][0]["state"]["running"].is_null();
        let mut last = Value::Null;
        until(&format!("{job} runs"), || {
            last = self.pods_of(job).pop().unwrap_or_default();
            runs(&last)
        });
        last
    }

    /// Creates a Job from the CronJob of a task, changed so; its name.
    #[track_caller]
    pub fn begin_as(&self, task: &str, name: &str, change: impl FnOnce(&mut Value)) -> String {
        let job = format!("{RELEASE}-{task}-{name}");
        let from = format!("--from=cronjob/{RELEASE}-{task}");
        let mut tree = self.json(&["create", "job", &job, &from, "--dry-run=client"]);
        change(&mut tree);
        self.space.apply(&tree.to_string());
        job
    }

    /// From now on a backup stands still before its first row, holding what a running backup holds.
    #[track_caller]
    pub fn hold(&self) {
        let client = "MYSQL_PWD=$(cat /run/secrets/database/root-password) nohup mysql --no-defaults --user=root \
                      --execute 'LOCK TABLES app.held WRITE; SELECT SLEEP(900)' >/dev/null 2>&1 </dev/null &";
        let pod = format!("{RELEASE}-database-0");
        self.kubectl(&["exec", &pod, "--", "sh", "-c", client]);
        self.until_busy(SLEEPS);
    }

    /// Begins a backup that stands still like that; its Job and its pod.
    #[track_caller]
    pub fn held(&self, begin: impl FnOnce(&Self) -> String) -> (String, String) {
        self.hold();
        let job = begin(self);
        let pod = name_of(&self.running(&job)).to_owned();
        // Whether the snapshot needs a lock or its reader comes to that table: both wait for it.
        self.until_busy("STATE LIKE 'Waiting for table%'");
        (job, pod)
    }

    /// Waits until a connection of the database is seen so in its process list.
    #[track_caller]
    pub fn until_busy(&self, condition: &str) {
        until(&format!("of a connection {condition}"), || {
            !self.busy(condition).is_empty()
        });
    }

    fn busy(&self, condition: &str) -> String {
        self.sql(&format!(
            "SELECT ID FROM information_schema.PROCESSLIST WHERE {condition}"
        ))
    }

    /// Backups go on.
    #[track_caller]
    pub fn release(&self) {
        for id in self.busy(SLEEPS).lines() {
            self.sql(&format!("KILL {id}"));
        }
    }

    /// Begins a backup, and stops the store while parts of its upload are there and its manifest is not.
    #[track_caller]
    pub fn half_uploaded(&self) -> String {
        let place = self.gateway.object(&self.bucket, "");
        let files = || {
            let mut files = Vec::new();
            walk(&place, &mut files);
            files
        };
        let manifests = || {
            files()
                .iter()
                .filter(|file| file.ends_with("manifest.json"))
                .count()
        };
        let before = manifests();
        let job = self.begin("backup");
        until("a part is uploaded", || {
            files()
                .iter()
                .any(|file| file.contains(".sgwtmp/multipart"))
        });
        self.gateway.pause();
        assert_eq!(manifests(), before, "it was too quick for this test");
        job
    }

    /// The records of runs of a verb with this exit code.
    pub fn records(&self, verb: &str, code: i32) -> usize {
        let place = format!("backups/{TARGET}/runs");
        let mut files = Vec::new();
        walk(&self.gateway.object(&self.bucket, &place), &mut files);
        let end = format!("-{verb}-{code}.json");
        files.iter().filter(|file| file.ends_with(&end)).count()
    }

    /// Kills the drctl in a pod by SIGKILL, from outside; false where the node is not this machine.
    #[track_caller]
    pub fn kill(&self, pod: &Value) -> bool {
        let uid = pod["metadata"]["uid"].as_str().expect("a uid");
        let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
        let of_pod = |place: &PathBuf| {
            let text = |name| std::fs::read(place.join(name)).unwrap_or_default();
            let within = String::from_utf8_lossy(&text("cgroup")).contains(uid);
            within && text("cmdline").starts_with(b"drctl\0")
        };
        let mut killed = false;
        for place in processes.map(|entry| entry.path()).filter(of_pod) {
            let id = place
                .file_name()
                .and_then(|name| name.to_str()?.parse().ok());
            let pid = Pid::from_raw(id.expect("a number")).expect("not zero");
            rustix::process::kill_process(pid, Signal::KILL).expect("root may");
            killed = true;
        }
        killed
    }

    /// Evicts a pod, as a drain of its node does.
    #[track_caller]
    pub fn evict(&self, pod: &str) {
        let eviction = serde_json::json!({
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": pod, "namespace": self.space.name},
        });
        let path = format!("/api/v1/namespaces/{}/pods/{pod}/eviction", self.space.name);
        self.shell(&format!(
            "echo '{eviction}' | kubectl create --raw {path} -f -"
        ));
    }
}

/// The name of a pod.
#[track_caller]
pub fn name_of(pod: &Value) -> &str {
    pod["metadata"]["name"].as_str().expect("a name")
}

/// How its container ended.
pub fn exit_code(pod: &Value) -> Option<i64> {
    pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"].as_i64()
}
