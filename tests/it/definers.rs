//! Views whose definers may see just what they need, or nothing: what comes back, and how that is told.

use super::support::backup::in_front_of_dump;
use super::support::{Drctl, Flavour, Server};
use crate::on_both;

/// A view on a view, of an account that holds privileges on single objects alone.
const NESTED: &str = "CREATE DATABASE d; CREATE TABLE d.t (id INT); INSERT INTO d.t VALUES (7);
    CREATE USER app@localhost; GRANT SELECT ON d.t TO app@localhost;
    CREATE DEFINER=app@localhost VIEW d.inner_view AS SELECT * FROM d.t;
    GRANT SELECT ON d.inner_view TO app@localhost;
    CREATE DEFINER=app@localhost VIEW d.outer_view AS SELECT * FROM d.inner_view;
    GRANT SELECT ON d.outer_view TO app@localhost;
    CREATE DEFINER=app@localhost PROCEDURE d.p() SELECT * FROM d.outer_view;
    GRANT EXECUTE ON PROCEDURE d.p TO app@localhost;";

on_both!(
    fn privileges_on_single_tables_are_there_before_the_views_that_need_them(flavour) {
        let (source, into) = (Server::start(flavour), Server::start(flavour));
        source.exec(NESTED);
        let drctl = Drctl::new("nested").source(&source).into(&into);
        drctl.run(["backup"]).ok();
        drctl.run(["restore", "--latest", "--accounts"]).ok();
        assert_eq!(into.exec("CALL d.p()").trim(), "7");
        let grants = "SHOW GRANTS FOR app@localhost";
        assert_eq!(into.exec(grants), source.exec(grants));
    }
);

on_both!(
    fn a_view_that_the_server_does_not_make_for_its_definer_is_told_with_a_way_on(flavour) {
        let (source, into) = (Server::start(flavour), Server::start(flavour));
        source.exec(NESTED);
        into.exec("CREATE USER app@localhost");
        let drctl = Drctl::new("poor").source(&source).into(&into);
        drctl.run(["backup"]).ok();
        drctl.run(["restore", "--latest"]).fails(10, "grant them");
        into.exec("GRANT SELECT ON d.* TO app@localhost");
        drctl.run(["restore", "--latest"]).ok();
        assert_eq!(into.exec("SELECT * FROM d.outer_view").trim(), "7");
    }
);

on_both!(
    fn a_view_whose_definer_may_see_nothing_is_no_difference_of_its_text(flavour) {
        let (source, into) = (Server::start(flavour), Server::start(flavour));
        source.exec(
            "CREATE DATABASE d; CREATE TABLE d.t (id INT); CREATE USER app@localhost;
             GRANT SELECT ON d.* TO app@localhost;
             CREATE DEFINER=app@localhost VIEW d.v AS SELECT * FROM d.t",
        );
        into.exec("CREATE USER app@localhost");
        let drctl = Drctl::new("blind").source(&source).into(&into);
        drctl.run(["backup"]).ok();
        let restored = drctl.run(["restore", "--latest"]).ok();
        // MySQL shows it as it was; MariaDB in other words, which do not verify it.
        let maria = flavour == Flavour::MariaDb;
        let told = restored.stdout.contains("definers that lack privileges");
        assert_eq!(told, maria, "{}", restored.stdout);
        let verified = drctl.run(["list"]).ok().stdout.contains("never");
        assert_eq!(verified, maria);
        assert!(into.try_exec("SELECT * FROM d.v").is_err());
    }
);

/// Objects of every kind that has a definer, most of an account that leaves, one of root.
const LEFT: &str = "CREATE DATABASE d; USE d; CREATE TABLE t (id INT); INSERT INTO t VALUES (7); CREATE USER gone@localhost;
    GRANT ALL ON d.* TO gone@localhost; CREATE DEFINER=gone@localhost VIEW v AS SELECT id FROM t;
    CREATE DEFINER=gone@localhost TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.id = NEW.id + 1;
    CREATE DEFINER=gone@localhost PROCEDURE p() SELECT 'DEFINER=`gone`@`localhost`';
    CREATE DEFINER=gone@localhost FUNCTION f() RETURNS INT DETERMINISTIC RETURN 1;
    CREATE DEFINER=gone@localhost EVENT e ON SCHEDULE EVERY 1 DAY DO SELECT 1;
    CREATE DEFINER=root@localhost VIEW mine AS SELECT id FROM t";

const DEFINERS: &str = "SELECT table_name, definer FROM information_schema.views WHERE table_schema = 'd'
    UNION SELECT trigger_name, definer FROM information_schema.triggers WHERE trigger_schema = 'd'
    UNION SELECT routine_name, definer FROM information_schema.routines WHERE routine_schema = 'd'
    UNION SELECT event_name, definer FROM information_schema.events WHERE event_schema = 'd' ORDER BY 1";

/// Executes `sql` on the server between a restore and its comparison.
fn before_the_comparison(drctl: Drctl, into: &Server, sql: &str) -> Drctl {
    let login = format!("--no-defaults -uroot -S{}", into.socket().display());
    let script = format!("sql \"{sql}\" || exit 9\nreal \"$@\"");
    in_front_of_dump(into.flavour(), drctl, "INTO", &login, &script)
}

on_both!(
    fn a_substitute_is_compared_but_for_itself_and_does_not_verify_the_backup(flavour) {
        let (source, into) = (Server::start(flavour), Server::start(flavour));
        source.exec(LEFT);
        into.exec("CREATE USER stands@localhost; GRANT ALL ON *.* TO stands@localhost");
        let drctl = Drctl::new("left").source(&source).into(&into);
        drctl.run(["backup"]).ok();
        let restored = drctl.run(["restore", "--latest", "--definer", "stands@localhost"]).ok().stdout;
        assert!(restored.contains("other objects are equal"), "{restored}");
        let line = restored.lines().find(|line| line.contains("substituted with `stands`@`localhost`")).unwrap();
        for object in ["view `d`.`v`", "trigger `d`.`tr`", "procedure `d`.`p`", "function `d`.`f`", "event `d`.`e`"] {
            assert!(line.contains(object), "{line}");
        }
        assert!(!line.contains("`mine`"), "{line}");
        assert_eq!(into.exec(DEFINERS), source.exec(DEFINERS).replace("gone@", "stands@"));
        assert_eq!(into.value("SELECT status FROM information_schema.events WHERE event_name = 'e'"), "ENABLED");
        assert!(drctl.run(["list"]).ok().stdout.contains("never"));
    }
);

on_both!(
    fn what_was_changed_beside_a_substitute_is_found(flavour) {
        let (source, into) = (Server::start(flavour), Server::start(flavour));
        source.exec(LEFT);
        into.exec("CREATE USER stands@localhost; GRANT ALL ON *.* TO stands@localhost; CREATE USER other@localhost; GRANT ALL ON *.* TO other@localhost");
        let mut drctl = Drctl::new("left").source(&source).into(&into);
        drctl.run(["backup"]).ok();
        let mut args = vec!["restore", "--latest", "--definer", "stands@localhost"];
        let stands = "DEFINER=stands@localhost";
        // Of a view that cannot be used MySQL shows what it is; MariaDB does not.
        into.exec("CREATE USER poor@localhost");
        let other = match flavour { Flavour::MySql => "poor", Flavour::MariaDb => "other" };
        for (object, change) in [
            ("view `d`.`v`", format!("CREATE OR REPLACE {stands} VIEW d.v AS SELECT id + 1 AS id FROM d.t")),
            ("view `d`.`v`", format!("CREATE OR REPLACE DEFINER={other}@localhost VIEW d.v AS SELECT id FROM d.t")),
            ("view `d`.`mine`", format!("CREATE OR REPLACE {stands} VIEW d.mine AS SELECT id FROM d.t")),
            ("trigger `d`.`tr`", format!("DROP TRIGGER d.tr; USE d; CREATE {stands} TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.id = NEW.id + 2")),
            ("procedure `d`.`p`", "ALTER PROCEDURE d.p COMMENT 'changed'".to_owned()),
            ("event `d`.`e`", format!("ALTER {stands} EVENT d.e DO SELECT 2")),
        ] {
            drctl = before_the_comparison(drctl, &into, &change);
            drctl.run(args.clone()).refused(7, &["1 with a different definition", object]);
            if args.len() == 4 {
                args.extend(["--discard", "--confirm", "left"]);
            }
        }
    }
);

on_both!(
    fn accounts_that_are_created_have_no_substitute(flavour) {
        let (source, into) = (Server::start(flavour), Server::start(flavour));
        source.exec(LEFT);
        let drctl = Drctl::new("left").source(&source).into(&into);
        drctl.run(["backup"]).ok();
        drctl.run(["restore", "--latest", "--definer", "root@localhost", "--accounts"]).ok();
        assert_eq!(into.exec(DEFINERS), source.exec(DEFINERS));
    }
);
