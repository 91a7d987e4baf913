//! `drctl lease`: two real servers, a real store, and at no instant do both accept a commit.

mod held_up;
mod keeper;
mod partition;
mod verb;

use std::sync::Arc;
use std::time::{Duration, Instant};

use drctl::layout::TargetName;
use drctl::lease::{How, Reason, Side, Taken, take};
use drctl::store::Store;
use drctl::util::cancel::Cancel;

use super::support::drctl::Running;
use super::support::fault_proxy::{Fault, FaultProxy, When};
use super::support::versitygw::{self, Gateway};
use super::support::wait::within;
use super::support::{Drctl, Flavour, Server};

/// Validity of a renewal in these tests: the shortest.
const LEASE: Duration = Duration::from_secs(4);

/// Time after which a side without contact is read-only.
const BOUND: Duration = Duration::from_secs(4 + 5);

/// A server, its keeper, and its way to the store.
struct Site {
    server: Server,
    drctl: Drctl,
    proxy: FaultProxy,
}

impl Site {
    /// A side that has the lease in this bucket. Its server has an account without privileges of an administrator.
    fn new(flavour: Flavour, name: &str, bucket: &str, options: &[&str]) -> Site {
        let server = Server::start_with(flavour, &[&["--log-bin"], options].concat());
        let proxy = FaultProxy::start(Gateway::shared().address());
        let mut drctl = Drctl::new("shop")
            .into(&server)
            .env("DRCTL_STORE", &format!("s3://{bucket}/p"))
            .env("DRCTL_LEASE_SIDE", name)
            .env("DRCTL_LEASE_SECONDS", "4");
        for (name, value) in Gateway::shared().environment() {
            drctl = drctl.env(name, &value);
        }
        Site {
            server,
            drctl: drctl.env("AWS_ENDPOINT_URL", &proxy.url()),
            proxy,
        }
    }

    /// Starts the keeper.
    fn keep(&self, args: &[&str]) -> Running {
        self.drctl.start([&["lease"], args].concat())
    }

    /// Cuts the way to the store: requests hang.
    fn cut_off(&self) {
        for method in ["GET", "PUT", "HEAD"] {
            self.proxy.fault(When::is(method, ""), Fault::Hang);
        }
    }

    fn is_read_only(&self) -> bool {
        is_read_only(&self.server)
    }
}

/// Whether a server is read-only. The question may be one of the clients that are disconnected.
fn is_read_only(server: &Server) -> bool {
    let value = server.try_exec("SELECT @@GLOBAL.read_only");
    value.is_ok_and(|value| !["0", "OFF"].contains(&value.trim()))
}

/// Creates a table, and an account that `read_only` holds on MariaDB, too.
fn prepare(server: &Server) {
    server.exec("CREATE DATABASE shop; CREATE TABLE shop.t (id INT AUTO_INCREMENT PRIMARY KEY)");
    server.account("app", "", &["ALL PRIVILEGES ON shop.*"]);
}

/// Two sides and a bucket: `a` holds the lease, `b` does not.
fn two_sides(flavour: Flavour) -> (Site, Site, String) {
    let bucket = Gateway::shared().bucket();
    let a = Site::new(flavour, "a", &bucket, &[]);
    let b = Site::new(flavour, "b", &bucket, &[]);
    prepare(&a.server);
    prepare(&b.server);
    b.server.exec("SET GLOBAL read_only = ON");
    (a, b, bucket)
}

/// The lease, past the proxies.
fn store(bucket: &str) -> Arc<dyn Store> {
    let config = Gateway::shared().config(&format!("{bucket}/p"));
    Arc::new(block_on(versitygw::open(&config)))
}

fn target() -> TargetName {
    "shop".parse().expect("a target")
}

fn side(name: &str) -> Side {
    name.parse().expect("a side")
}

fn promote(store: &Arc<dyn Store>, name: &str) -> Taken {
    let (target, side) = (target(), side(name));
    block_on(take(store, &target, &side, Reason::Promote)).expect("an epoch")
}

fn fenced(taken: &Taken) -> How {
    block_on(taken.fenced(&Cancel::default())).expect("a fenced epoch")
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    // One for all: a client of S3 belongs to the runtime that it was made in.
    static RUNTIME: std::sync::LazyLock<tokio::runtime::Runtime> =
        std::sync::LazyLock::new(|| tokio::runtime::Runtime::new().expect("a runtime"));
    RUNTIME.block_on(work)
}
