//! A real Prometheus with our rules, and a real Alertmanager, made impatient: seconds instead of
//! minutes.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::lab::{self, ScratchDir};

/// How long one may take to answer.
const START: Duration = Duration::from_secs(30);

/// A server of either kind; killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    /// Its process.
    child: Child,
    /// Where it listens.
    address: SocketAddr,
    /// Its files.
    dir: ScratchDir,
}

impl Daemon {
    /// An Alertmanager that passes everything on to a webhook, at once, and its end too.
    pub fn alertmanager(webhook: &str) -> Daemon {
        let config = format!(
            "route: {{receiver: hook, group_by: [alertname, target], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}\n\
             receivers: [{{name: hook, webhook_configs: [{{url: '{webhook}', send_resolved: true}}]}}]\n"
        );
        Daemon::start(
            "prometheus-alertmanager",
            &config,
            "",
            &["--storage.path=data", "--cluster.listen-address="],
        )
    }

    /// A Prometheus that scrapes `/metrics` of an address in the namespace `dr`, and judges by our
    /// rules without waiting.
    pub fn prometheus(scraped: SocketAddr, alertmanager: &Daemon) -> Daemon {
        let scrape = format!(
            "[{{job_name: drctl, static_configs: [{{targets: ['{scraped}'], labels: {{namespace: dr}}}}]}}]"
        );
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/chart/alerts/rules.yaml");
        let rules = fs::read_to_string(file).expect("the rules");
        Daemon::prometheus_of(&scrape, &rules, alertmanager)
    }

    /// A Prometheus with these scrape configurations and these rules.
    pub fn prometheus_of(scrape: &str, rules: &str, alertmanager: &Daemon) -> Daemon {
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: [rules.yaml]\n\
             alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{}']}}]}}]}}\n\
             scrape_configs: {scrape}\n",
            alertmanager.address
        );
        Daemon::start("prometheus", &config, rules, &["--storage.tsdb.path=data"])
    }

    fn start(program: &str, config: &str, rules: &str, options: &[&str]) -> Daemon {
        let dir = ScratchDir::new();
        fs::write(dir.path().join("config.yml"), config).expect("a configuration");
        fs::write(dir.path().join("rules.yaml"), impatient(rules)).expect("the rules");
        // Free now; that another takes it before the daemon does is unlikely, and seen.
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("its address");
        drop(free);
        let log = fs::File::create(dir.path().join("log")).expect("a log");
        let mut command = lab::tied(lab::root().join("prometheus/bin").join(program));
        command
            .arg("--config.file=config.yml")
            .arg(format!("--web.listen-address={address}"))
            .args(options)
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = lab::spawn(command).expect("it is in the lab");
        let mut daemon = Daemon {
            child,
            address,
            dir,
        };
        daemon.wait_until_ready(program);
        daemon
    }

    fn wait_until_ready(&mut self, program: &str) {
        let begun = Instant::now();
        while !self
            .get("/-/ready")
            .is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
        {
            let ended = self.child.try_wait().expect("our own child").is_some();
            if ended || begun.elapsed() > START {
                let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
                panic!("{program} did not start:\n{log}");
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it answers to a GET, head and all.
    pub fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer.replacen("HTTP/1.0", "HTTP/1.1", 1))
    }

    /// The JSON that it answers to a GET.
    #[track_caller]
    pub fn json(&self, path: &str) -> serde_json::Value {
        let answer = self.get(path).expect("it answers");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The rules as they are shipped, but for how long something has to be wrong.
///
/// Not at once: before its first scrape Prometheus misses everything.
fn impatient(rules: &str) -> String {
    let line = |line: &str| match line.split_once("for: ") {
        Some((indent, _)) if indent.trim().is_empty() => format!("{indent}for: 3s\n"),
        _ => format!("{line}\n"),
    };
    rules.lines().map(line).collect()
}
