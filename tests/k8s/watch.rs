//! `drctl watch pods`: events are reported within two seconds, each once, including those during an outage of
//! the API server.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::cluster::{Namespace, namespace, namespace_alone};
use crate::support::Drctl;
use crate::support::drctl::Running;
use crate::support::server::free_port;
use crate::support::wait::until;

/// A watcher whose lines go to a file.
struct Watcher {
    drctl: Drctl,
    running: Running,
    port: u16,
}

impl Watcher {
    fn begin(space: &Namespace, kubeconfig: &str) -> Watcher {
        let drctl = space
            .knows(Drctl::new("shop"))
            .env("KUBECONFIG", kubeconfig)
            .behind("exec >lines");
        let port = free_port();
        let running = drctl.start([
            "watch",
            "pods",
            "--namespace",
            &space.name,
            "--output",
            "json",
            "--listen",
            &format!("127.0.0.1:{port}"),
        ]);
        let this = Watcher {
            drctl,
            running,
            port,
        };
        until("the watcher is ready", || {
            this.get("/readyz").contains("200 OK")
        });
        this
    }

    fn events(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.drctl.home().join("lines")).unwrap();
        let lines = text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'));
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Of one pod: `created`, `deleted`.
    fn types(&self, pod: &str) -> Vec<String> {
        let events = self.events();
        let of_pod = events.iter().filter(|event| event["pod"] == pod);
        let types = of_pod.map(|event| event["type"].as_str().unwrap().to_owned());
        types.filter(|one| one != "updated").collect()
    }

    fn get(&self, path: &str) -> String {
        let mut answer = String::new();
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
            let _ = stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes());
            let _ = stream.read_to_string(&mut answer);
        }
        answer
    }

    fn end(self) {
        self.running.signal(Signal::TERM);
        let run = self.running.wait();
        assert_eq!(run.code, 0, "{run:#?}");
    }
}

/// A pod that is not scheduled: the watcher needs no image.
fn create(space: &Namespace, name: &str) {
    space.apply(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{schedulerName: nobody, \
         containers: [{{name: c, image: 'localhost/nginx:test'}}]}}}}"
    ));
}

fn delete(space: &Namespace, name: &str) {
    space.delete_by_force(name);
}

#[test]
fn events_of_a_pod_are_reported_within_two_seconds() {
    let Some(space) = namespace(&[]) else {
        return;
    };
    create(&space, "old");
    let watcher = Watcher::begin(&space, &space.kubeconfig());
    until("the existing pod", || watcher.types("old") == ["existing"]);
    create(&space, "new");
    until("the new pod", || watcher.types("new") == ["created"]);
    space.unready("new");
    until("its update", || {
        let events = watcher.events();
        let mut updates = events.iter().filter(|event| event["type"] == "updated");
        updates.any(|event| event["changes"]["condition Ready"][1] == "False")
    });
    let told = watcher.events().len();
    space.kubectl(&["annotate", "pod", "new", "a=heartbeat"]);
    delete(&space, "new");
    until("its end", || watcher.types("new") == ["created", "deleted"]);
    let since = watcher.events().split_off(told);
    assert!(
        since
            .iter()
            .all(|event| event["changes"]["condition Ready"].is_null()),
        "{since:?}"
    );
    let page = watcher.get("/metrics");
    let line = format!(
        "drctl_pod_events_total{{namespace=\"{}\",type=\"deleted\",reason=\"Deleted\"}} 1",
        space.name
    );
    assert!(
        page.contains(&line) && page.contains("drctl_pod_watcher_up 1"),
        "{page}"
    );
    watcher.end();
}

/// A connection to the API server that can be interrupted.
struct Link {
    cut: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
    port: u16,
}

impl Link {
    fn to(server: &str) -> Link {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (cut, streams) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(Mutex::new(Vec::new())),
        );
        let (is_cut, kept, server) = (cut.clone(), streams.clone(), server.to_owned());
        std::thread::spawn(move || {
            for here in listener.incoming().flatten() {
                if is_cut.load(Ordering::SeqCst) {
                    continue;
                }
                let there = TcpStream::connect(&server).unwrap();
                let pairs = [(&here, &there), (&there, &here)];
                for (from, to) in pairs {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    std::thread::spawn(move || std::io::copy(&mut from, &mut to));
                }
                kept.lock().unwrap().extend([here, there]);
            }
        });
        Link { cut, streams, port }
    }

    fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn restore(&self) {
        self.cut.store(false, Ordering::SeqCst);
    }
}

#[test]
fn events_during_an_outage_of_the_api_server_are_reported_once() {
    let Some(space) = namespace(&[]) else {
        return;
    };
    let mut config = space.json(&["config", "view", "--raw", "--minify"]);
    let cluster = &mut config["clusters"][0]["cluster"];
    let server = cluster["server"]
        .as_str()
        .unwrap()
        .trim_start_matches("https://")
        .to_owned();
    let link = Link::to(&server);
    cluster["server"] = format!("https://127.0.0.1:{}", link.port).into();
    cluster["tls-server-name"] = server.split(':').next().unwrap().into();
    let home = crate::support::lab::ScratchDir::new();
    let file = home.path().join("kubeconfig.json");
    std::fs::write(&file, config.to_string()).unwrap();

    for name in ["stays", "goes"] {
        create(&space, name);
    }
    let watcher = Watcher::begin(&space, &file.display().to_string());
    link.cut();
    until("the watcher is down", || {
        watcher.get("/readyz").contains("503")
    });
    delete(&space, "goes");
    create(&space, "comes");
    create(&space, "flits");
    delete(&space, "flits");
    assert_eq!(watcher.types("comes"), [""; 0]);
    link.restore();
    until("the events of the outage", || {
        watcher.types("comes") == ["created"] && watcher.types("goes") == ["existing", "deleted"]
    });
    create(&space, "later");
    until("the events after it", || {
        watcher.types("later") == ["created"]
    });
    assert_eq!(watcher.types("stays"), ["existing"]);
    // Reported if the history reaches back that far; never only one half of it.
    let flits = watcher.types("flits");
    assert!(
        flits.is_empty() || flits == ["created", "deleted"],
        "{flits:?}"
    );
    watcher.end();
}

#[test]
fn a_restart_of_the_api_server_costs_no_event() {
    let Some(space) = namespace_alone() else {
        return;
    };
    create(&space, "before");
    let watcher = Watcher::begin(&space, &space.kubeconfig());
    if space.restart_the_api_server() {
        delete(&space, "before");
        create(&space, "after");
        until("the events after it", || {
            watcher.types("before") == ["existing", "deleted"]
                && watcher.types("after") == ["created"]
        });
    }
    watcher.end();
}

#[test]
fn a_watcher_ends_when_its_reader_closes_the_pipe() {
    let Some(space) = namespace(&[]) else {
        return;
    };
    create(&space, "first");
    let drctl = space.knows(Drctl::new("shop"));
    let script = format!("drctl watch pods -n {} | head -1", space.name);
    std::thread::scope(|scope| {
        let run = scope.spawn(|| drctl.shell(&script).ok());
        // The next line is the one that cannot be written.
        while !run.is_finished() {
            create(&space, "second");
            delete(&space, "second");
        }
        assert!(run.join().unwrap().stdout.contains("existing"));
    });
}

#[test]
fn a_missing_right_is_reported_at_once() {
    let Some(space) = namespace(&[]) else {
        return;
    };
    space.kubectl(&["create", "serviceaccount", "nobody"]);
    let token = space.kubectl(&["create", "token", "nobody"]);
    let mut config = space.json(&["config", "view", "--raw", "--minify"]);
    config["users"][0]["user"] = serde_json::json!({"token": token.trim()});
    let drctl = Drctl::new("shop");
    let file = drctl.home().join("nobody.json");
    std::fs::write(&file, config.to_string()).unwrap();
    let drctl = drctl.env("KUBECONFIG", &file.display().to_string());
    let run = drctl.run(["watch", "pods", "--namespace", &space.name]);
    run.refused(
        2,
        &["watch pods", "cannot list resource \"pods\"", "with a Role"],
    );
}

#[test]
fn a_right_to_list_without_watch_is_reported_at_once() {
    let Some(space) = namespace(&[]) else {
        return;
    };
    create(&space, "one");
    let drctl = Drctl::new("shop");
    let file = drctl.home().join("lister.json");
    std::fs::write(&file, space.account("lister", &[("list", "pods")])).unwrap();
    let drctl = drctl.env("KUBECONFIG", &file.display().to_string());
    drctl
        .run(["watch", "pods", "--namespace", &space.name])
        .refused(2, &["cannot watch resource \"pods\"", "with a Role"]);
}

#[test]
fn a_namespace_named_twice_is_watched_once() {
    let Some(space) = namespace(&[]) else {
        return;
    };
    create(&space, "one");
    let drctl = space.knows(Drctl::new("shop")).behind("exec >lines");
    let twice = ["--namespace", &space.name, "--namespace", &space.name];
    let running = drctl.start([&["watch", "pods"][..], &twice[..]].concat());
    let told = || std::fs::read_to_string(drctl.home().join("lines")).unwrap_or_default();
    until("the pod is reported", || !told().is_empty());
    create(&space, "two");
    until("the new pod is reported", || told().contains("/two "));
    running.signal(Signal::TERM);
    running.wait().ok();
    assert_eq!(told().matches("existing").count(), 1, "{}", told());
    assert_eq!(told().matches("created").count(), 1, "{}", told());
}

#[test]
fn a_failed_login_prints_no_secret_and_a_hanging_one_can_be_stopped() {
    use std::os::unix::fs::PermissionsExt as _;
    let Some(space) = namespace(&[]) else {
        return;
    };
    let drctl = Drctl::new("shop");
    let plugin = drctl.home().join("plugin");
    let mut config = space.json(&["config", "view", "--raw", "--minify"]);
    config["users"][0]["user"] = serde_json::json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never",
        "command": plugin, "env": [{"name": "KEY", "value": "of-the-cloud"}],
    }});
    let file = drctl.home().join("exec.json");
    std::fs::write(&file, config.to_string()).unwrap();
    let drctl = drctl.env("KUBECONFIG", &file.display().to_string());
    let says = |script: &str| {
        std::fs::write(&plugin, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&plugin, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    says("echo '{\"token\": \"of-the-account\"}'; echo 'the session has expired' >&2; exit 1");
    let run = drctl.run(["watch", "pods"]);
    assert!(!format!("{run:?}").contains("of-the"), "{run:#?}");
    run.refused(2, &["the session has expired", "kubectl"]);

    says("touch \"$HOME/asked\"; sleep 40");
    let running = drctl.start(["watch", "pods"]);
    let asked = drctl.home().join("asked");
    until("the login", || asked.exists());
    running.signal(Signal::TERM);
    let run = running.wait().ok();
    assert!(run.took < Duration::from_secs(20), "{run:#?}");
}

#[test]
fn a_stalled_reader_delays_neither_the_probes_nor_the_shutdown() {
    let Some(space) = namespace(&[]) else {
        return;
    };
    let replicas = "{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: many}, spec: {replicas: 200, \
         selector: {matchLabels: {app: many}}, template: {metadata: {labels: {app: many}}, spec: \
         {schedulerName: nobody, containers: [{name: c, image: 'localhost/nginx:test'}]}}}}";
    space.apply(replicas);
    let pods = ["get", "pods", "--no-headers"];
    until("all pods", || space.says(&pods).lines().count() == 200);
    // Their lines exceed the buffer of an unread pipe.
    let drctl = space
        .knows(Drctl::new("shop"))
        .behind("mkfifo pipe; exec 3<>pipe >pipe");
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let args = [
        "--namespace",
        &space.name,
        "--output",
        "json",
        "--listen",
        &address,
    ];
    let running = drctl.start([&["watch", "pods"][..], &args[..]].concat());
    let watcher = Watcher {
        drctl,
        running,
        port,
    };
    std::thread::sleep(Duration::from_secs(5));
    assert!(watcher.get("/healthz").contains("200 OK"));
    watcher.running.signal(Signal::TERM);
    let run = watcher.running.wait().ok();
    assert!(run.took < Duration::from_secs(15), "{run:#?}");
}
