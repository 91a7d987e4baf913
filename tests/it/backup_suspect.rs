//! A whole backup of the wrong thing is committed, and not usable until an operator accepts it.

use crate::support::backup::{listed, server_of, shop_of};
use crate::support::{Drctl, Flavour, Server};
use crate::{need, on_both};

/// The next backup is suspect for such a reason, is not the latest, and can be accepted.
#[track_caller]
fn suspect(drctl: &Drctl, reason: &str) {
    let first = listed(drctl)[0]["id"].clone();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let words = ["is committed but suspect: ", reason, "drctl accept "];
    drctl.run(["backup"]).refused(9, &words);
    let list = listed(drctl);
    assert_eq!(list.len(), 2);
    assert_eq!(list[0]["suspect"], true, "{list:?}");
    let latest = || {
        drctl
            .run(["show", "--latest", "--output", "json"])
            .ok()
            .stdout
    };
    assert!(latest().contains(first.as_str().unwrap()));
    let id = list[0]["id"].as_str().unwrap();
    drctl.run(["accept", id]).ok();
    assert!(latest().contains(id));
}

on_both!(
    fn half_the_rows_gone(flavour) {
        let (schema, drctl) = shop_of(flavour);
        drctl.run(["backup"]).ok();
        server_of(flavour).exec(&format!("DELETE FROM {schema}.t WHERE id > 1"));
        suspect(&drctl, "1 row, 3 before");
    }
);

on_both!(
    fn a_vanished_table(flavour) {
        let (schema, drctl) = shop_of(flavour);
        drctl.run(["backup"]).ok();
        server_of(flavour).exec(&format!("DROP TABLE {schema}.u"));
        suspect(&drctl, &format!("table `{schema}`.`u` vanished"));
    }
);

on_both!(
    fn a_vanished_schema(flavour) {
        let server = Server::start(flavour);
        server.exec("CREATE DATABASE a; CREATE DATABASE b; CREATE TABLE a.t (id INT)");
        let drctl = Drctl::new("vanished").source(&server);
        drctl.run(["backup"]).ok();
        server.exec("DROP DATABASE b");
        suspect(&drctl, "schema `b` vanished");
    }
);

on_both!(
    fn another_server_under_the_same_name(flavour) {
        let (schema, drctl) = shop_of(flavour);
        drctl.run(["backup"]).ok();
        let other = Server::start(flavour);
        if flavour == Flavour::MariaDb {
            // Servers from one template share the birth of mysql.proc, which tells them apart.
            other.exec("ALTER TABLE mysql.proc FORCE");
        }
        other.exec(&format!(
            "CREATE DATABASE {schema}; CREATE TABLE {schema}.t (id INT PRIMARY KEY);
             INSERT {schema}.t VALUES (1), (2), (3); CREATE TABLE {schema}.u LIKE {schema}.t"
        ));
        suspect(&drctl.source(&other), "the server is");
    }
);

#[test]
fn what_was_accepted_is_what_the_next_is_judged_against_also_after_one_was_verified() {
    need!(MariaDb);
    let (schema, drctl) = shop_of(Flavour::MariaDb);
    let target = Server::start(Flavour::MariaDb);
    let drctl = drctl.into(&target);
    drctl.run(["backup"]).ok();
    drctl.run(["restore", "--latest"]).ok();
    server_of(Flavour::MariaDb).exec(&format!("DROP TABLE {schema}.u"));
    suspect(&drctl, &format!("table `{schema}`.`u` vanished"));
    drctl.run(["backup"]).ok();
}

#[test]
fn a_server_whose_clock_was_ahead() {
    need!(MariaDb);
    let server = Server::start(Flavour::MariaDb);
    server.exec("CREATE DATABASE shop; CREATE TABLE shop.t (id INT); CREATE USER early; GRANT ALL ON *.* TO early");
    let drctl = Drctl::new("shop").source(&server);
    drctl.run(["backup"]).ok();
    // Not for SUPER, which the account must not have.
    server.exec("REVOKE SUPER, CONNECTION ADMIN ON *.* FROM early; SET GLOBAL init_connect = 'SET timestamp = 1890000000'");
    let drctl = drctl.env("DRCTL_SOURCE_URL", &server.tcp_url("early"));
    suspect(&drctl, "its snapshot is in the future: 2029");
    // It is accepted by now, and the newest.
    for args in [&["list"][..], &["show", "--latest"], &["doctor"]] {
        let said = drctl.run(args).stdout;
        assert!(said.contains(" in the future"), "{said}");
        assert!(!said.contains("0.0 s"), "{said}");
    }
}
