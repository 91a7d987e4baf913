//! The run after one that broke off: what it goes on with, what it may not touch, what it must not
//! believe.

use crate::support::backup::in_front_of_dump;
use crate::support::{Drctl, Flavour, Server};
use crate::{need, on_both};

/// A source, an empty target, and a backup of the schema `shop`: a table of three rows, and an account
/// that may read it.
fn shop() -> (Server, Server, Drctl) {
    let (source, target) = (
        Server::start(Flavour::MariaDb),
        Server::start(Flavour::MariaDb),
    );
    source.exec(
        "CREATE DATABASE shop; USE shop; CREATE TABLE t (id INT PRIMARY KEY); INSERT t VALUES (1), (2), (3);
         CREATE TABLE u (id INT PRIMARY KEY); CREATE USER app@localhost; GRANT SELECT ON shop.t TO app@localhost",
    );
    let drctl = Drctl::new("shop").source(&source).into(&target);
    drctl.run(["backup"]).ok();
    (source, target, drctl)
}

/// Restores everything; the dump for the comparison fails.
#[track_caller]
fn break_off(drctl: Drctl) -> Drctl {
    let broken = in_front_of_dump(Flavour::MariaDb, drctl, "INTO", "", "exit 3");
    broken
        .run(["restore", "--latest"])
        .fails(10, "exited with 3");
    broken.without("DRCTL_INTO_CLIENT_DIR")
}

fn rows(server: &Server) -> String {
    server.value("SELECT COUNT(*) FROM shop.t")
}

#[test]
fn other_options_drop_nothing_of_what_was_restored() {
    need!(MariaDb);
    let (_source, target, drctl) = shop();
    let drctl = break_off(drctl);
    for other in [
        &["--tables", "shop.u"][..],
        &["--no-binlog"],
        &["--rename", "shop=shop2"],
    ] {
        let args = [&["restore", "--latest"], other].concat();
        drctl.run(args).refused(
            9,
            &[
                "an unfinished restore of this backup with other options",
                "the same command",
                "--discard --confirm",
                "restore --keep",
            ],
        );
        assert_eq!(rows(&target), "3");
    }
    drctl.run(["restore", "--latest"]).ok();
    assert_eq!(rows(&target), "3");
}

#[test]
fn accounts_that_are_asked_for_later_get_all_that_they_had() {
    need!(MariaDb);
    let (_source, target, drctl) = shop();
    let drctl = break_off(drctl);
    drctl.run(["restore", "--latest", "--accounts"]).ok();
    let grants = target.exec("SHOW GRANTS FOR app@localhost");
    assert!(grants.contains("GRANT SELECT ON `shop`.`t`"), "{grants}");
}

/// What a restore that was killed while it dropped its marker may leave.
fn leave_remains(server: &Server) {
    server.exec(
        "CREATE DATABASE drctl_restore; USE drctl_restore;
         CREATE TABLE run (one TINYINT PRIMARY KEY, run TEXT NOT NULL);
         CREATE TABLE frames (n BIGINT UNSIGNED PRIMARY KEY, state VARCHAR(16) NOT NULL);
         INSERT INTO frames VALUES (0, 'done'), (1, 'done'), (2, 'done'), (3, 'done');
         CREATE TABLE passes (pass VARCHAR(32) PRIMARY KEY);
         INSERT INTO passes VALUES ('data'), ('post-data')",
    );
}

#[test]
fn the_remains_of_a_marker_are_not_believed() {
    need!(MariaDb);
    let (_source, target, drctl) = shop();
    leave_remains(&target);
    drctl.run(["restore", "--latest", "--no-compare"]).ok();
    assert_eq!(rows(&target), "3");
}

#[test]
fn the_remains_of_a_marker_can_be_discarded() {
    need!(MariaDb);
    let (_source, target, drctl) = shop();
    leave_remains(&target);
    let discard = ["restore", "--discard", "--confirm", "shop"];
    drctl.run(discard).ok();
    assert_eq!(target.exec("SHOW DATABASES LIKE 'drctl%'"), "");
    for nothing in [&discard[..], &["restore", "--keep"]] {
        drctl.run(nothing).refused(3, &["no unfinished restore"]);
    }
}

#[test]
fn nothing_that_was_restored_is_dropped_before_its_target_is_named() {
    need!(MariaDb);
    let (_source, target, drctl) = shop();
    let drctl = break_off(drctl);
    let named = |name: &'static str| ["restore", "--discard", "--confirm", name];
    let unconfirmed = drctl.run(["restore", "--discard"]);
    assert_eq!(unconfirmed.code, 2);
    assert!(unconfirmed.stderr.contains("--confirm"), "{unconfirmed:?}");
    drctl.run(named("else")).refused(
        2,
        &[
            "--confirm else is not the target",
            "make sure that this is the server",
        ],
    );
    // Nor where the unfinished restore is that of another target.
    let other = drctl.env("DRCTL_TARGET", "other");
    other
        .run(named("other"))
        .refused(9, &["belongs to another target, shop", "--confirm shop"]);
    let drctl = other.env("DRCTL_TARGET", "shop");
    // A plan touches nothing, whatever it is a plan of.
    for planned in [&named("shop")[..], &["restore", "--keep"]] {
        assert_eq!(drctl.run([planned, &["--plan"]].concat()).code, 2);
    }
    assert_eq!(rows(&target), "3");
    drctl.run(named("shop")).ok();
    assert_eq!(target.exec("SHOW DATABASES LIKE 'shop'"), "");
}

#[test]
fn another_backup_drops_nothing_of_what_was_restored_unless_that_is_confirmed() {
    need!(MariaDb);
    let (source, target, drctl) = shop();
    let drctl = break_off(drctl);
    let first = drctl.run(["list", "--output", "json"]).json()[0]["id"].clone();
    source.exec("INSERT shop.t VALUES (4)");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    drctl.run(["backup"]).ok();
    let words = [
        "an unfinished restore of backup",
        first.as_str().unwrap(),
        "--discard --confirm",
        "restore --keep",
    ];
    drctl.run(["restore", "--latest"]).refused(9, &words);
    let plan = ["restore", "--latest", "--plan"];
    assert_eq!(drctl.run(plan).code, 9);
    assert_eq!(rows(&target), "3");
    let confirmed = ["restore", "--latest", "--discard", "--confirm", "shop"];
    drctl.run(confirmed).ok();
    assert_eq!(rows(&target), "4");
}

#[test]
fn what_was_restored_can_be_kept_and_what_was_not_done_is_said() {
    need!(MariaDb);
    let (source, target, drctl) = shop();
    source.exec(
        "CREATE EVENT shop.tick ON SCHEDULE EVERY 1 DAY DO SELECT 1;
         CREATE PROCEDURE shop.pay() DO 1; GRANT EXECUTE ON PROCEDURE shop.pay TO app@localhost",
    );
    std::thread::sleep(std::time::Duration::from_millis(1100));
    drctl.run(["backup"]).ok();
    let drctl = break_off(drctl);
    assert_eq!(drctl.run(["restore", "--keep", "--latest"]).code, 2);
    let said = drctl.run(["restore", "--keep"]).ok().stdout;
    let enable =
        "undone  an event is disabled: ALTER DEFINER=`root`@`localhost` EVENT `shop`.`tick` ENABLE";
    for what in [
        "its objects are kept",
        "undone  the data are not verified",
        enable,
    ] {
        assert!(said.contains(what), "{said}");
    }
    assert!(!said.contains("missing"), "{said}");
    assert_eq!(rows(&target), "3");
    assert_eq!(target.exec("SHOW DATABASES LIKE 'drctl%'"), "");
}

#[test]
fn somebody_who_reads_the_marker_is_not_waited_for_without_end() {
    need!(MariaDb);
    let (_source, target, drctl) = shop();
    let drctl = break_off(drctl);
    let mut session = target.session();
    session.run("BEGIN; SELECT COUNT(*) FROM drctl_restore.frames");
    let run = drctl.run(["restore", "--latest"]);
    run.refused(
        10,
        &["the work is complete, but schema drctl_restore", "--keep"],
    );
    drop(session);
    drctl.run(["restore", "--keep"]).ok();
    assert_eq!(rows(&target), "3");
}

on_both!(
    fn routines_that_are_replaced_may_be_called_by_who_could_before(flavour) {
        let server = Server::start(flavour);
        server.exec(
            "CREATE DATABASE shop; CREATE PROCEDURE shop.pay() DO 1; CREATE FUNCTION shop.f() RETURNS INT DETERMINISTIC RETURN 1;
             CREATE USER app@localhost; GRANT EXECUTE ON PROCEDURE shop.pay TO app@localhost WITH GRANT OPTION;
             GRANT EXECUTE, ALTER ROUTINE ON FUNCTION shop.f TO app@localhost",
        );
        let grants = || server.exec("SHOW GRANTS FOR app@localhost");
        let before = grants();
        assert!(before.contains("PROCEDURE"), "{before}");
        let drctl = Drctl::new("shop").source(&server).into(&server);
        drctl.run(["backup"]).ok();
        drctl.run(["restore", "--latest", "--overwrite", "--confirm", "shop"]).ok();
        assert_eq!(grants(), before);
    }
);
