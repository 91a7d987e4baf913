//! A dump that is not whole, or not of one moment, makes no backup.

use crate::support::backup::{dump_by, listed, nothing_left, refused, server, shop};

fn refused_by(script: &str, code: i32, text: &str) {
    let (_, drctl) = shop();
    refused(&dump_by(drctl, script), code, text);
}

#[test]
fn the_wrapper_alone_changes_nothing() {
    let (_, drctl) = shop();
    let drctl = dump_by(drctl, "real \"$@\"");
    drctl.run(["backup"]).ok();
    assert_eq!(listed(&drctl)[0]["rows"], 3);
}

#[test]
fn a_dump_that_fails_at_once() {
    refused_by("echo 'mysqldump: oh' >&2; exit 2", 4, "exited with 2");
}

#[test]
fn a_dump_that_fails_late() {
    refused_by("real \"$@\" | head -c 1500; exit 3", 4, "exited with 3");
}

#[test]
fn a_dump_that_fails_after_its_trailer() {
    refused_by("real \"$@\"; exit 3", 4, "exited with 3");
}

#[test]
fn a_dump_that_is_killed() {
    refused_by("real \"$@\"; kill -KILL $$", 4, "killed by signal 9");
}

#[test]
fn a_dump_that_complains_of_something_unknown() {
    refused_by("real \"$@\"; echo 'odd thing' >&2", 4, "odd thing");
}

#[test]
fn a_dump_without_its_trailer() {
    refused_by(
        "real \"$@\" | grep -v '^-- Dump completed'",
        4,
        "no trailer",
    );
}

#[test]
fn a_dump_that_ends_in_a_statement() {
    refused_by(
        "real \"$@\" >whole; head -c 1500 whole",
        4,
        "the dump has no trailer: it is not whole",
    );
}

#[test]
fn a_dump_that_says_nothing_and_ends_well() {
    refused_by("exit 0", 4, "the dump has no trailer: it is not whole");
}

#[test]
fn a_dump_that_leaves_out_a_table() {
    let (schema, drctl) = shop();
    // Behind the option file, which has to come first.
    let script = format!("file=$1; shift; real \"$file\" --ignore-table={schema}.u \"$@\"");
    refused(&dump_by(drctl, &script), 4, "`u`");
}

#[test]
fn an_option_file_at_home_cuts_no_rows() {
    let (_, drctl) = shop();
    let hostile = "[mysqldump]\nwhere=id<2\n[mariadb-dump]\nwhere=id<2\n[client]\nuser=nobody\n";
    for name in [".my.cnf", "my.cnf"] {
        std::fs::write(drctl.home().join(name), hostile).unwrap();
    }
    let home = drctl.home().display().to_string();
    let drctl = drctl.env("MYSQL_HOME", &home).env("MARIADB_HOME", &home);
    drctl.run(["backup"]).ok();
    assert_eq!(listed(&drctl)[0]["rows"], 3);
}

/// Moves something under every dump, then only under the first.
fn moves(sql: &str, text: &str) {
    let (schema, drctl) = shop();
    let sql = sql.replace('@', &schema);
    let always = format!("real \"$@\"; code=$?; echo >>tries; sql \"{sql}\"; exit $code");
    let drctl = dump_by(drctl.env("DRCTL_BACKUP_ATTEMPTS", "2"), &always);
    refused(&drctl, 4, text);
    let tries = std::fs::read_to_string(drctl.home().join("tries")).unwrap();
    assert_eq!(tries.len(), 2, "it was to be tried again once");
    let once =
        format!("real \"$@\"; code=$?; [ -e once ] || sql \"{sql}\"; echo >once; exit $code");
    let drctl = dump_by(drctl, &once);
    drctl.run(["backup"]).ok();
    assert_eq!(listed(&drctl).len(), 1);
}

#[test]
fn a_table_altered_under_the_dump() {
    moves("ALTER TABLE @.t ADD COLUMN c$$ INT", "was altered");
}

#[test]
fn a_table_truncated_under_the_dump() {
    moves("TRUNCATE @.t", "truncated, rebuilt or exchanged");
}

#[test]
fn two_tables_exchanged_under_the_dump() {
    let swap = "RENAME TABLE @.t TO @.x, @.u TO @.t, @.x TO @.u";
    moves(swap, "exchanged by RENAME");
}

#[test]
fn a_table_created_under_the_dump() {
    moves("CREATE TABLE @.n$$ (a INT)", "was created");
}

#[test]
fn a_table_dropped_under_the_dump() {
    let (schema, drctl) = shop();
    let script = format!("real \"$@\"; sql 'DROP TABLE {schema}.u'");
    let drctl = dump_by(drctl.env("DRCTL_BACKUP_ATTEMPTS", "1"), &script);
    refused(&drctl, 4, "was dropped");
}

#[test]
fn a_table_that_a_snapshot_cannot_hold_still() {
    let (schema, drctl) = shop();
    server().exec(&format!("CREATE TABLE {schema}.m (a INT) ENGINE=MyISAM"));
    refused(&drctl, 9, "MyISAM");
    let drctl = drctl.env("DRCTL_BACKUP_NON_TRANSACTIONAL", "allow");
    drctl.run(["backup"]).ok();
    assert_eq!(listed(&drctl).len(), 1);
}

#[test]
fn a_server_into_which_a_restore_is_not_finished() {
    let server = crate::support::Server::start(crate::support::Flavour::MariaDb);
    server.exec("CREATE DATABASE drctl_restore");
    let drctl = crate::support::Drctl::new("marked").source(&server);
    drctl.run(["backup"]).fails(9, "drctl_restore");
    nothing_left(&drctl);
}

#[test]
fn an_event_on_which_mysqldump_loops_for_ever() {
    let (schema, drctl) = shop();
    server().exec(&format!(
        "CREATE EVENT `{schema}`.e ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 'a;;b'"
    ));
    drctl.run(["backup"]).fails(4, "holds ;;");
    nothing_left(&drctl);
}
