//! The verb itself: what it prints, and what its account needs.

use super::*;
use crate::{need, on_both};

/// A store in a directory: nothing here is about contact.
fn in_directory(server: &Server) -> Drctl {
    let drctl = Drctl::new("shop").into(server).env("DRCTL_LEASE_SIDE", "a");
    drctl.env("DRCTL_LEASE_SECONDS", "4")
}

#[test]
fn the_holder_is_shown() {
    need!(MariaDb);
    let server = Server::start(Flavour::MariaDb);
    let drctl = in_directory(&server);
    let run = drctl.run(["lease", "--show"]).ok();
    assert_eq!(run.stdout, "no side ever held the lease of shop\n");
    let run = drctl.run(["lease", "--show", "--output", "json"]).ok();
    assert!(run.json().is_null());
    let mut keeper = drctl.start(["lease", "--first"]);
    keeper.until_says("this side holds the lease");
    let run = drctl.run(["lease", "--show"]).ok();
    for words in [
        "shop: side a, epoch 1 since 2",
        "for 4 s; its server is",
        "no other side ever kept a lease",
    ] {
        assert!(run.stdout.contains(words), "{}", run.stdout);
    }
    let state = drctl
        .run(["lease", "--show", "--output", "json"])
        .ok()
        .json();
    assert_eq!((&state["side"], &state["epoch"]), (&"a".into(), &1.into()));
    assert_eq!(state["reason"], "first");
    assert_eq!(state["keepers"], serde_json::json!(["a"]));
    assert!(state["renewed"]["read_only_since"].is_null());
}

#[test]
fn what_is_not_configured_is_a_usage_error() {
    let drctl = Drctl::new("shop");
    drctl
        .run(["lease"])
        .refused(2, &["lease.side", "DRCTL_LEASE_SIDE"]);
    let drctl = drctl.env("DRCTL_LEASE_SIDE", "a");
    drctl
        .run(["lease"])
        .refused(2, &["no server", "DRCTL_INTO_URL"]);
    let drctl = drctl.env("DRCTL_LEASE_STORE", "copy");
    drctl
        .run(["lease", "--show"])
        .refused(2, &["no second store", "copy.to"]);
    let drctl = drctl.env("DRCTL_LEASE_SIDE", "Not a name");
    drctl
        .run(["lease"])
        .refused(2, &["lease.side", "lower-case"]);
}

on_both! {
    fn the_documented_privileges_are_enough_and_each_is_needed(flavour) {
        let server = Server::start(flavour);
        let all: &[&str] = match flavour {
            Flavour::MySql => &["SYSTEM_VARIABLES_ADMIN ON *.*", "CONNECTION_ADMIN ON *.*", "SYSTEM_USER ON *.*", "PROCESS ON *.*", "SELECT ON drctl_restore.*"],
            Flavour::MariaDb => &["READ ONLY ADMIN ON *.*", "CONNECTION ADMIN ON *.*", "PROCESS ON *.*", "SELECT ON drctl_restore.*"],
        };
        server.exec("CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY)");
        server.account("keeper", "a-password", all);
        let drctl = in_directory(&server);
        let of = |user: &str| {
            drctl.clone()
                .env("DRCTL_INTO_URL", &server.url_as(user))
                .env("DRCTL_INTO_PASSWORD", "a-password")
        };
        let mut keeper = of("keeper").start(["lease", "--first"]);
        keeper.until_says("this side holds the lease");
        let mut locks = server.session();
        locks.run("LOCK TABLES shop.t WRITE");
        std::fs::rename(drctl.store_dir(), drctl.home().join("away")).unwrap();
        within(BOUND, "the server is read-only", || is_read_only(&server));
        keeper.until_says("disconnected");
        std::fs::rename(drctl.home().join("away"), drctl.store_dir()).unwrap();
        within(BOUND, "the server is writable", || !is_read_only(&server));
        drop(keeper);
        for left in 0..all.len() {
            let user = format!("without_{left}");
            let mut rest = all.to_vec();
            rest.remove(left);
            server.account(&user, "a-password", &rest);
            of(&user).run(["lease"]).refused(9, &["the account", "docs/lease.md"]);
        }
    }
}
