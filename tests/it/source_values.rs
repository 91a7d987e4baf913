//! Values that a dump cannot carry: the target computes digests of them, and a restore names the columns that differ.

use crate::on_both;
use crate::support::{Drctl, Flavour, Server};

/// Rows with values that a dump loses, beside rows of the same types that it carries.
const VALUES: &str = "CREATE DATABASE d; USE d;
    CREATE TABLE lost (id INT PRIMARY KEY, f FLOAT, x DOUBLE, j VARCHAR(10) CHARACTER SET cp932,
      u VARCHAR(10) CHARACTER SET utf8mb4, g INT AS (id * 2) STORED);
    INSERT INTO lost (id, f, x, j, u) VALUES (1, 16777215, 0.1, X'ED40', 'ü'), (2, NULL, -1e-300, 'abc', '');
    CREATE TABLE kept LIKE lost;
    INSERT INTO kept (id, f, x, j, u) VALUES (1, 1.5, 0.1, 'abc', 'ü'), (2, 0.1, NULL, NULL, NULL), (3, -3e8, 5e-324, '', 'x');
    CREATE TABLE no_rows LIKE lost;
    CREATE TABLE many (id INT PRIMARY KEY, f FLOAT);
    INSERT INTO many WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 900) SELECT i, i / 8 FROM n;";

on_both!(fn a_restore_names_the_columns_whose_values_the_dump_lost(flavour) {
    let (source, into) = (Server::start(flavour), Server::start(flavour));
    source.exec(VALUES);
    let drctl = Drctl::new("d").source(&source).into(&into);
    drctl.run(["backup"]).ok();
    let page = drctl.run(["restore", "--latest"]).ok().stdout;
    let warning = page.lines().find(|line| line.contains("could not carry")).expect(&page);
    let named = warning.split_once("the target: ").expect(warning).1;
    assert_eq!(
        named, "d.lost.f (FLOAT or DOUBLE), d.lost.j (characters that changed in utf8mb4)",
        "and no other column"
    );
});

on_both!(fn without_digests_the_loss_is_not_noticed(flavour) {
    let (source, into) = (Server::start(flavour), Server::start(flavour));
    source.exec(VALUES);
    let drctl = Drctl::new("d").source(&source).into(&into).env("DRCTL_BACKUP_AGAINST_SOURCE", "off");
    drctl.run(["backup"]).ok();
    let page = drctl.run(["restore", "--latest"]).ok().stdout;
    assert!(!page.contains("could not carry"), "{page}");
});

on_both!(fn the_dump_program_cannot_be_held_against_the_source(flavour) {
    let source = Server::shared(flavour);
    let drctl = Drctl::new("d").source(source).env("DRCTL_SOURCE_READER", "mysqldump");
    drctl.run(["backup", "--against-source"]).fails(9, "source.reader is mysqldump");
});

/// A restore of MySQL computes these values, and its dump does not contain them.
#[test]
fn generated_values_of_several_settings_are_named() {
    crate::need!(MySql);
    let (source, into) = (Server::start(Flavour::MySql), Server::start(Flavour::MySql));
    source.exec(
        "CREATE DATABASE d; USE d;
         CREATE TABLE t (id INT PRIMARY KEY, day DATE, name VARCHAR(20) AS (MONTHNAME(day)) STORED);
         SET lc_time_names = 'de_DE'; INSERT INTO t (id, day) VALUES (1, '2026-03-01');
         FLUSH TABLES; SET lc_time_names = 'fr_FR'; INSERT INTO t (id, day) VALUES (2, '2026-03-01');",
    );
    let drctl = Drctl::new("d").source(&source).into(&into);
    drctl.run(["backup", "--against-source"]).ok();
    let page = drctl.run(["restore", "--latest"]).ok().stdout;
    let named = "d.t.name (values computed under several settings)";
    assert!(page.contains(named), "{page}");
}

/// A value computed from one that the dump lost. MariaDB's dump contains both.
#[test]
fn a_generated_column_of_a_lost_value_is_named() {
    crate::need!(MySql);
    let (source, into) = (Server::start(Flavour::MySql), Server::start(Flavour::MySql));
    source.exec(
        "CREATE DATABASE d; USE d;
         CREATE TABLE t (id INT PRIMARY KEY, f FLOAT, g DOUBLE AS (f * 2) STORED);
         INSERT INTO t (id, f) VALUES (1, 16777215);",
    );
    let drctl = Drctl::new("d").source(&source).into(&into);
    drctl.run(["backup"]).ok();
    let page = drctl.run(["restore", "--latest"]).ok().stdout;
    let named =
        "d.t.f (FLOAT or DOUBLE), d.t.g (generated, from values that changed or by another server)";
    assert!(page.contains(named), "{page}");
}

/// A virtual column is added without evaluating it, and no dump of MySQL evaluates it.
#[test]
fn a_virtual_column_that_cannot_be_evaluated_does_not_fail_a_backup() {
    crate::need!(MySql);
    let source = Server::start(Flavour::MySql);
    source.exec(
        "CREATE DATABASE d; USE d;
         CREATE TABLE t (id INT PRIMARY KEY, x INT); INSERT INTO t VALUES (1, 1), (2, 1000);
         ALTER TABLE t ADD v DOUBLE AS (EXP(x)) VIRTUAL;",
    );
    let drctl = Drctl::new("d").source(&source);
    drctl.run(["backup", "--against-source"]).ok();
}
