//! A running `drctl serve`, and what it answers.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::Drctl;
use super::drctl::{Run, Running};
use super::versitygw::free_address;
use super::wait::{PATIENCE, until};

/// It, until it is stopped or dropped.
#[derive(Debug)]
pub struct Serving {
    running: Running,
    address: SocketAddr,
}

/// Has drctl serve on a free port, and look at its store each second.
pub fn on_a_free_port(drctl: Drctl) -> (Drctl, SocketAddr) {
    let address = free_address();
    let drctl = drctl
        .env("DRCTL_SERVE_LISTEN", &address.to_string())
        .env("DRCTL_SERVE_INTERVAL_SECONDS", "1")
        .env("DRCTL_LOG_FORMAT", "human");
    (drctl, address)
}

impl Serving {
    /// Starts it, and waits until it answers.
    #[track_caller]
    pub fn start(drctl: &Drctl, address: SocketAddr) -> Serving {
        let mut serving = Serving {
            running: drctl.start(["serve"]),
            address,
        };
        until("it answers", || {
            assert!(!serving.running.has_ended(), "it has ended");
            serving.ask("GET", "/healthz").is_some()
        });
        serving
    }

    /// As [`Serving::start`], and waits until it has read the store.
    #[track_caller]
    pub fn ready(drctl: &Drctl, address: SocketAddr) -> Serving {
        let serving = Serving::start(drctl, address);
        serving.until("ready", |serving| serving.get("/readyz").0 == 200);
        serving
    }

    /// What it answers, head and all.
    fn ask(&self, method: &str, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\n\r\n"
        )
        .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// The status of an answer, and its body.
    #[track_caller]
    pub fn get(&self, path: &str) -> (u16, String) {
        self.request("GET", path)
    }

    /// As [`Serving::get`], by another method.
    #[track_caller]
    pub fn request(&self, method: &str, path: &str) -> (u16, String) {
        let answer = self.ask(method, path).expect("it answers");
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        (status.expect("a status"), body.to_owned())
    }

    /// The metrics, a line each, sorted, without the comments.
    pub fn metrics(&self) -> Vec<String> {
        let page = self.get("/metrics").1;
        let lines = page.lines().filter(|line| !line.starts_with('#'));
        let mut lines: Vec<String> = lines.map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// The value of the one sample of that name with these texts among its labels.
    #[track_caller]
    pub fn metric(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let lines = self.metrics();
        let begin = format!("{name}{{");
        let fits = |line: &&String| {
            line.starts_with(&begin) && labels.iter().all(|label| line.contains(label))
        };
        let found: Vec<&String> = lines.iter().filter(fits).collect();
        match found[..] {
            [] => None,
            [one] => Some(one.rsplit(' ').next()?.parse().expect("a number")),
            _ => panic!("several: {found:?}"),
        }
    }

    /// Waits until something is so.
    #[track_caller]
    pub fn until(&self, what: &str, is_so: impl Fn(&Serving) -> bool) {
        let begun = Instant::now();
        while !is_so(self) {
            let metrics = || self.metrics().join("\n");
            assert!(begun.elapsed() < PATIENCE, "never: {what}\n{}", metrics());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until a metric has a value.
    #[track_caller]
    pub fn until_metric(&self, name: &str, labels: &[&str], value: f64) {
        self.until(&format!("{name} {labels:?} = {value}"), |serving| {
            serving.metric(name, labels) == Some(value)
        });
    }

    /// Tells it to stop; it is done at once, and that is no failure.
    #[track_caller]
    pub fn stop(self) -> Run {
        let begun = Instant::now();
        self.running.signal(Signal::TERM);
        let run = self.running.wait();
        assert!(begun.elapsed() < Duration::from_secs(10), "{run:#?}");
        run.ok()
    }
}
