//! Restores of a part of a backup, or under another name: what is left out, and what is refused since it
//! would reach back to where the backup came from.

use crate::support::{Drctl, Flavour, Server};
use crate::{need, on_both};

/// A source of the schema `shop` that `sql` fills, a target without it, and a backup.
fn shop(flavour: Flavour, sql: &str) -> (Server, Server, Drctl) {
    let (source, target) = (Server::start(flavour), Server::start(flavour));
    source.exec(&format!("CREATE DATABASE shop; USE shop; {sql}"));
    let drctl = Drctl::new("shop").source(&source).into(&target);
    drctl.run(["backup"]).ok();
    (source, target, drctl)
}

#[test]
fn a_renamed_table_does_not_draw_from_the_sequence_of_the_old_schema() {
    need!(MariaDb);
    let (_source, target, drctl) = shop(
        Flavour::MariaDb,
        "CREATE SEQUENCE s; CREATE TABLE t (id INT PRIMARY KEY DEFAULT (NEXT VALUE FOR s));
         CREATE TABLE u (id INT PRIMARY KEY, note TEXT DEFAULT 'of `shop`.s') COMMENT 'see `shop`.`s`'",
    );
    let rename = ["restore", "--latest", "--rename", "shop=copy"];
    let words = [
        "reference a renamed schema: table `shop`.`t`",
        "without --rename",
    ];
    drctl.run(rename).refused(9, &words);
    assert_eq!(target.exec("SHOW DATABASES LIKE 'copy'"), "");
    // What a table only tells in its texts is no name.
    let tables = [&rename[..], &["--tables", "shop.u,shop.s"]].concat();
    drctl.run(tables).ok();
    assert_eq!(target.value("SELECT COUNT(*) FROM copy.u"), "0");
}

on_both!(
    fn accounts_are_not_given_privileges_by_names_that_change(flavour) {
        let (_source, target, drctl) = shop(flavour, "CREATE TABLE t (id INT); CREATE USER app@localhost; GRANT SELECT ON shop.* TO app@localhost");
        let words = ["--accounts would grant", "--rename changes", "drctl cat --accounts"];
        let args = ["restore", "--latest", "--rename", "shop=copy", "--accounts"];
        drctl.run(args).refused(9, &words);
        assert_eq!(target.value("SELECT COUNT(*) FROM mysql.user WHERE user = 'app'"), "0");
    }
);

on_both!(
    fn accounts_get_what_they_may_do_to_chosen_tables_alone(flavour) {
        let (source, target, drctl) = shop(
            flavour,
            "CREATE TABLE t (id INT, secret INT); CREATE TABLE u (id INT); CREATE PROCEDURE p() DO 1;
             CREATE USER app@localhost; GRANT SELECT ON shop.* TO app@localhost;
             GRANT SELECT (id), INSERT ON shop.t TO app@localhost;
             GRANT UPDATE ON shop.u TO app@localhost; GRANT EXECUTE ON PROCEDURE shop.p TO app@localhost",
        );
        let args = ["restore", "--latest", "--accounts", "--tables", "shop.t"];
        let restored = drctl.run(args).ok().stdout;
        for what in ["`app`@`localhost` was not granted its privileges on `shop`.`u`", "on `shop`.`p`"] {
            assert!(restored.contains(what), "{restored}");
        }
        let grants = |server: &Server| server.exec("SHOW GRANTS FOR app@localhost");
        let all = grants(&source);
        let kept: Vec<&str> = all.lines().filter(|line| !line.contains("`u`") && !line.contains("`p`")).collect();
        assert_eq!(grants(&target).lines().collect::<Vec<_>>(), kept);
        assert_eq!(kept.len(), 3);
    }
);

on_both!(
    fn privileges_on_what_is_gone_do_not_keep_accounts_from_being_restored(flavour) {
        let (_source, target, drctl) = shop(
            flavour,
            "CREATE TABLE t (id INT, gone INT); CREATE TABLE gone (id INT); CREATE USER app@localhost;
             GRANT SELECT (gone), INSERT ON shop.t TO app@localhost; GRANT SELECT ON shop.gone TO app@localhost;
             DROP TABLE gone; CREATE DATABASE other; CREATE TABLE other.o (id INT); GRANT SELECT ON other.o TO app@localhost",
        );
        let drctl = drctl.env("DRCTL_BACKUP_SCHEMAS", "shop");
        drctl.run(["backup"]).refused(9, &["schema `other` vanished"]);
        let id = crate::support::backup::listed(&drctl)[0]["id"].as_str().unwrap().to_owned();
        let restored = drctl.run(["restore", &id, "--accounts"]).ok().stdout;
        for gone in ["`shop`.`gone`", "`other`.`o`"] {
            assert!(restored.contains(&format!("not granted its privileges on {gone}")), "{restored}");
        }
        assert!(target.exec("SHOW GRANTS FOR app@localhost").contains("INSERT"));
    }
);

on_both!(
    fn triggers_are_not_made_in_a_schema_that_would_give_them_another_collation(flavour) {
        // Around `old_tr` the dump alters the schema; of `new_tr` it says nothing.
        let (source, target, drctl) = shop(
            flavour,
            "ALTER DATABASE shop CHARACTER SET latin2; CREATE TABLE old (a TEXT); CREATE TABLE plain (a TEXT);
             CREATE TRIGGER old_tr BEFORE INSERT ON old FOR EACH ROW SET NEW.a = 'x';
             ALTER DATABASE shop CHARACTER SET utf8mb4 COLLATE utf8mb4_bin; CREATE TABLE new (a TEXT);
             CREATE TRIGGER new_tr BEFORE INSERT ON new FOR EACH ROW SET NEW.a = 'y'",
        );
        target.exec("CREATE DATABASE shop CHARACTER SET latin2");
        let tables = |names| drctl.run(["restore", "--latest", "--tables", names]);
        tables("shop.plain").ok();
        let way = "ALTER DATABASE `shop` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";
        for (table, trigger) in [("shop.new", "`shop`.`new_tr`"), ("shop.old", "`shop`.`old_tr`")] {
            tables(table).refused(9, &["the default collation of the schema", "is latin2_general_ci", trigger, way]);
        }
        assert_eq!(target.exec("SHOW TABLES FROM shop").trim(), "plain");
        target.exec(way);
        tables("shop.new,shop.old").ok();
        let told = "SELECT trigger_name, database_collation FROM information_schema.triggers WHERE trigger_schema = 'shop' ORDER BY 1";
        assert_eq!(target.exec(told), source.exec(told));
    }
);

on_both!(
    fn a_collation_that_a_dump_leaves_to_its_character_set_is_the_one_that_its_schema_would_get(flavour) {
        let (source, target, drctl) = shop(
            flavour,
            "ALTER DATABASE shop CHARACTER SET latin1; CREATE TABLE t (a TEXT);
             CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 'x'",
        );
        let restore = || drctl.run(["restore", "--latest", "--tables", "shop.t"]);
        target.exec("CREATE DATABASE shop CHARACTER SET latin1 COLLATE latin1_bin");
        restore().refused(9, &["latin1_bin", "ALTER DATABASE `shop` CHARACTER SET latin1"]);
        target.exec("ALTER DATABASE shop CHARACTER SET latin1");
        restore().ok();
        let told = "SHOW CREATE DATABASE shop";
        assert_eq!(target.exec(told), source.exec(told));
    }
);

#[test]
fn a_name_that_no_server_takes_is_refused_before_anything() {
    need!(MariaDb);
    let (_source, target, drctl) = shop(Flavour::MariaDb, "CREATE TABLE t (id INT PRIMARY KEY)");
    let long = "x".repeat(70);
    for name in [&long, "a ", "😀", "#mysql50#a", ""] {
        let rename = format!("shop={name}");
        for plan in [&["--plan"][..], &[]] {
            let args = [&["restore", "--latest", "--rename", &rename], plan].concat();
            let run = drctl.run(args);
            assert_eq!(run.code, 2, "{run:?}");
        }
    }
    // The server's own, and the hint names the schema of the backup.
    drctl
        .run(["restore", "--latest", "--rename", "shop=mysql"])
        .refused(
            2,
            &["the name is reserved by the server", "--rename shop=<name>"],
        );
    let left = target.exec("SHOW DATABASES");
    assert!(!left.contains("drctl") && !left.contains("xxx"), "{left}");
    drctl
        .run(["restore", "--latest", "--rename", "shop=a b"])
        .ok();
}
