//! A whole backup of the wrong thing is committed, and not trusted until a person accepts it.

use crate::support::backup::{listed, server, shop};
use crate::support::{Drctl, Flavour, Server};

/// The last backup is suspect for such a reason, is not the latest, and can be accepted.
fn suspect(drctl: &Drctl, text: &str) {
    let first = listed(drctl)[0]["id"].clone();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    drctl.run(["backup"]).fails(9, text);
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

#[test]
fn half_the_rows_gone() {
    let (schema, drctl) = shop();
    drctl.run(["backup"]).ok();
    server().exec(&format!("DELETE FROM {schema}.t WHERE id > 1"));
    suspect(&drctl, "1 rows, 3 before");
}

#[test]
fn a_vanished_table() {
    let (schema, drctl) = shop();
    drctl.run(["backup"]).ok();
    server().exec(&format!("DROP TABLE {schema}.u"));
    suspect(&drctl, "vanished");
}

#[test]
fn a_vanished_schema() {
    let server = Server::start(Flavour::MariaDb);
    server.exec("CREATE DATABASE a; CREATE DATABASE b; CREATE TABLE a.t (id INT)");
    let drctl = Drctl::new("vanished").source(&server);
    drctl.run(["backup"]).ok();
    server.exec("DROP DATABASE b");
    suspect(&drctl, "schema `b` vanished");
}

#[test]
fn another_server_under_the_same_name() {
    let (schema, drctl) = shop();
    drctl.run(["backup"]).ok();
    let other = Server::start(Flavour::MariaDb);
    // Servers from one template share the birth of mysql.proc, which tells them apart.
    other.exec("ALTER TABLE mysql.proc FORCE");
    other.exec(&format!(
        "CREATE DATABASE {schema}; CREATE TABLE {schema}.t (id INT PRIMARY KEY);
         INSERT {schema}.t VALUES (1), (2), (3); CREATE TABLE {schema}.u LIKE {schema}.t"
    ));
    let drctl = drctl.source(&other);
    suspect(&drctl, "the server is");
}
