//! A dump that is not whole, or not of one moment, makes no backup.

use crate::on_both;
use crate::support::backup::{dump_of, half_way, listed, refused, server_of, shop_of};
use crate::support::{Drctl, Flavour, Server};

/// A dump by that script ends the backup so, and leaves nothing.
#[track_caller]
fn refused_by(flavour: Flavour, script: &str, words: &[&str]) {
    let (_, drctl) = shop_of(flavour);
    refused(&dump_of(flavour, drctl, script), 4, words);
}

on_both!(
    fn the_wrapper_alone_changes_nothing(flavour) {
        let (_, drctl) = shop_of(flavour);
        let drctl = dump_of(flavour, drctl, "real \"$@\"");
        drctl.run(["backup"]).ok();
        assert_eq!(listed(&drctl)[0]["rows"], 3);
    }
);

on_both!(
    fn a_dump_that_fails_at_once(flavour) {
        refused_by(flavour, "echo 'mysqldump: oh' >&2; exit 2", &["exited with 2", "oh"]);
    }
);

on_both!(
    fn a_dump_that_fails_late(flavour) {
        refused_by(flavour, "real \"$@\" | head -c 1500; exit 3", &["exited with 3"]);
    }
);

on_both!(
    fn a_dump_that_fails_after_its_trailer(flavour) {
        refused_by(flavour, "real \"$@\"; exit 3", &["exited with 3"]);
    }
);

on_both!(
    fn a_dump_that_is_killed(flavour) {
        refused_by(flavour, "real \"$@\"; kill -KILL $$", &["killed by signal 9"]);
    }
);

on_both!(
    fn a_dump_that_complains_of_something_unknown(flavour) {
        let words = ["exited with 0 but wrote to stderr", "odd thing"];
        refused_by(flavour, "real \"$@\"; echo 'odd thing' >&2", &words);
    }
);

on_both!(
    fn a_dump_without_its_trailer(flavour) {
        let script = "real \"$@\" | grep -v '^-- Dump completed'";
        refused_by(flavour, script, &["the dump is incomplete: it has no trailer"]);
    }
);

on_both!(
    fn a_dump_that_ends_in_a_statement(flavour) {
        let script = "real \"$@\" >whole; sed '/^INSERT/{s/VALUES.*/VALUES (1/;q}' whole";
        refused_by(flavour, script, &["cannot scan the dump", "the dump ends in the middle of a statement"]);
    }
);

on_both!(
    fn a_dump_that_says_nothing_and_ends_well(flavour) {
        refused_by(flavour, "exit 0", &["the dump is incomplete: it has no trailer"]);
    }
);

on_both!(
    fn a_dump_that_leaves_out_a_table(flavour) {
        let (schema, drctl) = shop_of(flavour);
        // Behind the option file, which has to come first.
        let script = format!("file=$1; shift; real \"$file\" --ignore-table={schema}.u \"$@\"");
        let drctl = dump_of(flavour, drctl, &script);
        let lacks = format!("objects are missing from the dump: table `{schema}`.`u`");
        refused(&drctl, 4, &[&lacks, "nothing was committed"]);
    }
);

on_both!(
    fn an_option_file_at_home_cuts_no_rows(flavour) {
        let (_, drctl) = shop_of(flavour);
        let hostile = "[mysqldump]\nwhere=id<2\n[mariadb-dump]\nwhere=id<2\n[client]\nuser=nobody\n";
        for name in [".my.cnf", "my.cnf"] {
            std::fs::write(drctl.home().join(name), hostile).unwrap();
        }
        let home = drctl.home().display().to_string();
        let drctl = drctl.env("MYSQL_HOME", &home).env("MARIADB_HOME", &home);
        drctl.run(["backup"]).ok();
        assert_eq!(listed(&drctl)[0]["rows"], 3);
    }
);

/// How many dumps were begun by a script that counts them.
fn tries(drctl: &Drctl) -> usize {
    let file = drctl.home().join("tries");
    std::fs::read_to_string(file).unwrap().len()
}

/// Moves something under every dump, then only under the first.
#[track_caller]
fn moves(flavour: Flavour, sql: &str, words: &[&str]) {
    let (schema, drctl) = shop_of(flavour);
    let sql = sql.replace('@', &schema);
    let always = format!("real \"$@\"; code=$?; echo >>tries; sql \"{sql}\"; exit $code");
    let drctl = dump_of(flavour, drctl.env("DRCTL_BACKUP_ATTEMPTS", "2"), &always);
    let all = [
        &["schema changed during the dump: "][..],
        words,
        &["retry when no DDL runs"],
    ];
    refused(&drctl, 4, &all.concat());
    assert_eq!(tries(&drctl), 2, "it was to be tried again once");
    let once =
        format!("real \"$@\"; code=$?; [ -e once ] || sql \"{sql}\"; echo >once; exit $code");
    let drctl = dump_of(flavour, drctl, &once);
    drctl.run(["backup"]).ok();
    assert_eq!(listed(&drctl).len(), 1);
}

/// The same under the native reader, whose rows are read after the definitions.
#[track_caller]
fn moves_under_the_reader(flavour: Flavour, sql: &str) {
    let (schema, drctl) = shop_of(flavour);
    let sql = sql.replace('@', &schema);
    let natively = |drctl: Drctl, script: &str| {
        dump_of(flavour, drctl, script).env("DRCTL_SOURCE_READER", "native")
    };
    let drctl = drctl.env("DRCTL_BACKUP_ATTEMPTS", "2");
    let always = format!("real \"$@\"; code=$?; echo >>tries; sql \"{sql}\"; exit $code");
    let drctl = natively(drctl, &always);
    refused(
        &drctl,
        4,
        &["schema changed during the dump: ", "retry when no DDL runs"],
    );
    assert_eq!(tries(&drctl), 2, "it was to be tried again once");
    let once =
        format!("real \"$@\"; code=$?; [ -e once ] || sql \"{sql}\"; echo >once; exit $code");
    let drctl = natively(drctl, &once);
    drctl.run(["backup"]).ok();
    assert_eq!(listed(&drctl).len(), 1);
}

on_both!(
    fn ddl_between_the_definitions_and_the_rows(flavour) {
        for sql in [
            "ALTER TABLE @.t ADD COLUMN c$$ INT",
            "TRUNCATE @.t",
            "RENAME TABLE @.t TO @.x, @.u TO @.t, @.x TO @.u",
            "CREATE TABLE @.n$$ (a INT)",
        ] {
            moves_under_the_reader(flavour, sql);
        }
    }
);

on_both!(
    fn a_table_altered_under_the_dump(flavour) {
        moves(flavour, "ALTER TABLE @.t ADD COLUMN c$$ INT", &["`t` was altered"]);
    }
);

on_both!(
    fn a_table_truncated_under_the_dump(flavour) {
        moves(flavour, "TRUNCATE @.t", &["`t` was truncated, rebuilt or exchanged"]);
    }
);

on_both!(
    fn two_tables_exchanged_under_the_dump(flavour) {
        let swap = "RENAME TABLE @.t TO @.x, @.u TO @.t, @.x TO @.u";
        moves(flavour, swap, &["`t` was exchanged by RENAME", "`u` was exchanged by RENAME"]);
    }
);

on_both!(
    fn a_table_created_under_the_dump(flavour) {
        moves(flavour, "CREATE TABLE @.n$$ (a INT)", &["was created"]);
    }
);

on_both!(
    fn a_table_dropped_under_the_dump(flavour) {
        let many: String = (0..3).map(|n| format!("CREATE TABLE @.d{n} (a INT);")).collect();
        let (schema, drctl) = shop_of(flavour);
        server_of(flavour).exec(&many.replace('@', &schema));
        // One after another: each dump loses one.
        let each = format!(
            "real \"$@\"; code=$?; echo >>tries; n=$(wc -l <tries)\n\
             [ $n -gt 2 ] || sql \"DROP TABLE {schema}.d$n\"; exit $code"
        );
        let drctl = dump_of(flavour, drctl.env("DRCTL_BACKUP_ATTEMPTS", "2"), &each);
        let dropped = format!("table `{schema}`.`d2` was dropped");
        refused(&drctl, 4, &["schema changed during the dump: ", &dropped]);
        assert_eq!(tries(&drctl), 2, "it was to be tried again once");
        drctl.run(["backup"]).ok();
        assert_eq!(listed(&drctl)[0]["tables"], 3);
    }
);

/// What is done to `u` while the rows of another table are read is noticed, and tried again.
#[track_caller]
fn moves_half_way(flavour: Flavour, sql: &str, words: &[&str]) {
    let (schema, drctl) = shop_of(flavour);
    let act = format!("echo >>tries; sql \"{}\"", sql.replace('@', &schema));
    let script = half_way(flavour, &schema, &act);
    let drctl = dump_of(flavour, drctl.env("DRCTL_BACKUP_ATTEMPTS", "2"), &script);
    refused(&drctl, 4, &[words, &["retry when no DDL runs"]].concat());
    assert_eq!(tries(&drctl), 2, "it was to be tried again once");
}

on_both!(
    fn a_table_truncated_before_the_dump_reaches_it(flavour) {
        moves_half_way(flavour, "TRUNCATE @.u", &["exited with ", "1412"]);
    }
);

on_both!(
    fn a_table_altered_before_the_dump_reaches_it(flavour) {
        let words: &[&str] = match flavour {
            Flavour::MariaDb => &["`u` was altered"],
            // Its snapshot shows the rows as they were, and the definition as it is.
            Flavour::MySql => &["exited with ", "Error in field count for table: `u`"],
        };
        moves_half_way(flavour, "ALTER TABLE @.u ADD COLUMN c$$ INT", words);
    }
);

on_both!(
    fn a_table_dropped_before_the_dump_reaches_it(flavour) {
        let (schema, drctl) = shop_of(flavour);
        let act = format!("[ -e once ] || sql 'DROP TABLE {schema}.u'; echo >once");
        let script = half_way(flavour, &schema, &act);
        let drctl = dump_of(flavour, drctl.env("DRCTL_BACKUP_ATTEMPTS", "1"), &script);
        refused(&drctl, 4, &["exited with ", "1146"]);
        // Tried again, there is nothing against it.
        server_of(flavour).exec(&format!("CREATE TABLE {schema}.u (a INT)"));
        std::fs::remove_file(drctl.home().join("once")).unwrap();
        let run = drctl.env("DRCTL_BACKUP_ATTEMPTS", "2").run(["backup"]).ok();
        assert!(run.stderr.contains("schema changed during the dump; retrying"), "{run:?}");
    }
);

on_both!(
    fn a_table_that_a_snapshot_cannot_hold_still(flavour) {
        let (schema, drctl) = shop_of(flavour);
        server_of(flavour).exec(&format!("CREATE TABLE {schema}.m (a INT) ENGINE=MyISAM"));
        let like = format!("such as table `{schema}`.`m` (MyISAM)");
        refused(&drctl, 9, &["not transactional", &like, "backup.non_transactional: allow"]);
        let drctl = drctl.env("DRCTL_BACKUP_NON_TRANSACTIONAL", "allow");
        drctl.run(["backup"]).ok();
        assert_eq!(listed(&drctl).len(), 1);
    }
);

on_both!(
    fn a_server_into_which_a_restore_is_not_finished(flavour) {
        let server = Server::start(flavour);
        server.exec("CREATE DATABASE drctl_restore");
        let drctl = Drctl::new("marked").source(&server);
        let words = ["the server holds the schema drctl_restore", "drctl restore --keep", "--discard --confirm"];
        refused(&drctl, 9, &words);
    }
);

on_both!(
    fn a_view_that_cannot_be_dumped(flavour) {
        let (schema, drctl) = shop_of(flavour);
        server_of(flavour).exec(&format!(
            "USE {schema}; CREATE TABLE gone (a INT); CREATE VIEW v AS SELECT a FROM gone; DROP TABLE gone"
        ));
        let like = format!(
            "cannot dump 1 view with invalid or denied references, or a text that the server cannot print: \
             view `{schema}`.`v`"
        );
        refused(&drctl, 4, &[&like, "repair or drop them"]);
    }
);

on_both!(
    fn an_event_on_which_mysqldump_loops_for_ever(flavour) {
        let (schema, drctl) = shop_of(flavour);
        server_of(flavour).exec(&format!(
            "CREATE EVENT `{schema}`.e ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 'a;;b'"
        ));
        refused(&drctl, 4, &["`e` contains ;;", "without two consecutive semicolons"]);
    }
);
