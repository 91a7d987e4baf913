//! A standby: built from a backup, following the log that a streamer archives.

mod follow;
mod promote;
mod proof;

use serde_json::Value;

use crate::replay::{BEFORE, logging};
use crate::support::compare::{differences, picture};
use crate::support::{Drctl, Flavour, Server};

/// A primary with a backup and its log up to there, and the empty server of a standby.
pub fn sides(flavour: Flavour) -> (Server, Server, Drctl) {
    let source = logging(flavour);
    let standby = match flavour {
        Flavour::MySql => logging(flavour),
        // Servers of one template are the same server to those who ask when it was made.
        Flavour::MariaDb => Server::initialised(
            flavour,
            &[
                "--log-bin=binlog",
                "--server-id=2",
                "--log-slave-updates",
                "--max-allowed-packet=256M",
            ],
        ),
    };
    source.exec(BEFORE);
    let drctl = Drctl::new("shop").source(&source).into(&standby);
    drctl.run(["backup"]).ok();
    drctl.run(["stream", "--once"]).ok();
    (source, standby, drctl)
}

/// Fails unless both hold the same, but for the state of events, which run on the primary alone.
pub fn assert_same(source: &Server, standby: &Server) {
    let of = |server| {
        let mut picture = picture(server);
        picture.retain(|(_, what), _| !what.starts_with("event "));
        picture
    };
    let all = differences(&of(source), &of(standby), |schema| {
        schema != "drctl_restore"
    });
    assert!(all.is_empty(), "{}", all.join("\n"));
}

/// What the standby says of itself.
pub fn status(drctl: &Drctl) -> Value {
    let json = std::fs::read(drctl.store_dir().join("shop/standby.json")).expect("standby.json");
    serde_json::from_slice(&json).expect("JSON")
}

/// Runs SQL as an application, which has no privileges of administrators.
pub fn as_app(server: &Server, sql: &str) -> Result<String, String> {
    let mut command = server.client_command();
    let run = command
        .args(["--user=app", "--execute", sql])
        .env("MYSQL_PWD", "secret")
        .output()
        .expect("a client");
    match run.status.success() {
        true => Ok(String::from_utf8_lossy(&run.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&run.stderr).into_owned()),
    }
}
