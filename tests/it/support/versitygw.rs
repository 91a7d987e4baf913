//! A real S3 server on this machine: versitygw over a directory, with versions and Object Lock.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use drctl::store::StoreConfig;
use drctl::store::s3::S3Store;
use rustix::process::{Pid, Signal};

use super::lab::{self, ScratchDir};

/// The account that may do everything.
pub const ACCESS_KEY: &str = "drctl-test";
/// Its password; a text that must never appear in an error.
pub const SECRET_KEY: &str = "a-secret-for-the-tests-alone";

/// A running server; it ends when dropped, and at the latest with this process.
#[derive(Debug)]
pub struct Gateway {
    /// Its process.
    child: Child,
    /// Where it listens.
    address: SocketAddr,
    /// What it stores: `data`, `versions`, its log.
    directory: ScratchDir,
}

impl Gateway {
    /// The one that tests share, each with a bucket of its own.
    pub fn shared() -> &'static Gateway {
        static SHARED: LazyLock<Gateway> = LazyLock::new(Gateway::start);
        &SHARED
    }

    /// A private one, for a test that ends it.
    pub fn start() -> Gateway {
        Gateway::start_at(Ipv4Addr::LOCALHOST.into())
    }

    /// A private one at an address that others reach.
    pub fn start_at(ip: IpAddr) -> Gateway {
        Gateway::start_with(ip, &[])
    }

    /// A private one that speaks TLS by a certificate and its key.
    pub fn start_tls(certificate: &Path, key: &Path) -> Gateway {
        let pem = |path: &Path| path.display().to_string();
        let tls = ["--cert", &pem(certificate), "--key", &pem(key)];
        Gateway::start_with(Ipv4Addr::LOCALHOST.into(), &tls)
    }

    fn start_with(ip: IpAddr, options: &[&str]) -> Gateway {
        // It keeps what it knows of an object in extended attributes.
        let directory = ScratchDir::on_disk();
        let (data, versions) = (
            directory.path().join("data"),
            directory.path().join("versions"),
        );
        fs::create_dir(&data).expect("a directory for objects");
        fs::create_dir(&versions).expect("a directory for versions");
        let log = directory.path().join("log");
        // Another process may take the port between our letting go of it and the server's start.
        for _ in 0..5 {
            let address = free_address_at(ip);
            let out = fs::File::create(&log).expect("a log");
            let mut command = lab::tied(lab::root().join("bin/versitygw"));
            command
                .env("ROOT_ACCESS_KEY", ACCESS_KEY)
                .env("ROOT_SECRET_KEY", SECRET_KEY)
                .args(["--quiet", "--keep-alive", "--port", &address.to_string()])
                .args(options)
                .arg("posix")
                .arg("--versioning-dir")
                .args([&versions, &data])
                .stdin(Stdio::null())
                .stderr(out.try_clone().expect("a log"))
                .stdout(out);
            let mut child = lab::spawn(command).expect("versitygw starts");
            if answers(address, &mut child) {
                return Gateway {
                    child,
                    address,
                    directory,
                };
            }
            // It ended, or is deaf: either way the next one has a port of its own.
            let _ = child.kill();
            let _ = child.wait();
        }
        let log = fs::read_to_string(log).unwrap_or_default();
        panic!("versitygw does not start: {log}");
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:…`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What the real binary needs in its environment to use this server.
    pub fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("AWS_ENDPOINT_URL", self.url()),
            ("AWS_REGION", "us-east-1".into()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.into()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.into()),
        ]
    }

    /// A new, empty bucket.
    pub fn bucket(&self) -> String {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("bucket-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        // To this server a bucket is a directory.
        fs::create_dir(self.directory.path().join("data").join(&name)).expect("a bucket");
        name
    }

    /// Where an object's bytes are: to this server a key is a path.
    pub fn object(&self, bucket: &str, key: &str) -> PathBuf {
        self.directory.path().join("data").join(bucket).join(key)
    }

    /// The directory behind it all: `data/<bucket>/<key>`, and its log.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A new bucket with Object Lock enabled, and so with versions.
    pub async fn locked_bucket(&self) -> String {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("locked-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let request = self.client().await.create_bucket().bucket(&name);
        let made = request.object_lock_enabled_for_bucket(true).send().await;
        made.expect("a bucket with Object Lock");
        name
    }

    /// It takes connections and says nothing, until [`Gateway::resume`].
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// It goes on where it stood.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// It ends, and all objects are gone.
    pub fn destroy(&self) {
        self.signal(Signal::KILL);
        for part in ["data", "versions"] {
            let _ = fs::remove_dir_all(self.directory.path().join(part));
        }
    }

    fn signal(&self, which: Signal) {
        let pid = Pid::from_child(&self.child);
        rustix::process::kill_process(pid, which).expect("our own child");
    }

    /// A client beside the product's own, to look behind its back.
    pub async fn client(&self) -> Client {
        let shared = aws_config::defaults(BehaviorVersion::latest());
        let shared = shared.credentials_provider(account()).load().await;
        let config = aws_sdk_s3::config::Builder::from(&shared)
            .endpoint_url(self.url())
            .region(Region::from_static("us-east-1"))
            .force_path_style(true);
        Client::from_conf(config.build())
    }

    /// The configuration of a store in a bucket of this server: `bucket` or `bucket/prefix`.
    pub fn config(&self, place: &str) -> StoreConfig {
        config_at(&self.url(), place)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The configuration of a store at any endpoint.
pub fn config_at(endpoint: &str, place: &str) -> StoreConfig {
    let url = format!("s3://{place}").parse().expect("a store URL");
    let mut config = StoreConfig::new(url);
    config.s3.endpoint_url = Some(endpoint.into());
    config.s3.region = Some("us-east-1".into());
    config
}

/// Opens a store with the test account.
pub async fn open(config: &StoreConfig) -> S3Store {
    S3Store::connect(config, Some(account()))
        .await
        .expect("settings of a store")
}

/// The test account.
pub fn account() -> SharedCredentialsProvider {
    account_of(ACCESS_KEY, SECRET_KEY)
}

/// Some account.
pub fn account_of(access_key: &str, secret_key: &str) -> SharedCredentialsProvider {
    let credentials = Credentials::new(access_key, secret_key, None, None, "test");
    SharedCredentialsProvider::new(credentials)
}

/// An address nobody listens on at the moment.
pub fn free_address() -> SocketAddr {
    free_address_at(Ipv4Addr::LOCALHOST.into())
}

fn free_address_at(ip: IpAddr) -> SocketAddr {
    let listener = TcpListener::bind((ip, 0)).expect("an address of this machine");
    listener.local_addr().expect("an address")
}

fn answers(address: SocketAddr, child: &mut Child) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(20) {
        if child.try_wait().expect("a child").is_some() {
            return false;
        }
        if TcpStream::connect(address).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}
