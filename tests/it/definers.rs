//! Views whose definers may see just what they need, or nothing: what comes back, and how that is told.

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
        drctl.run(["restore", "--latest"]).fails(10, "grant it that");
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
        // MySQL shows it as it was; MariaDB in other words, which are no proof.
        let maria = flavour == Flavour::MariaDb;
        let told = restored.stdout.contains("definers that lack privileges");
        assert_eq!(told, maria, "{}", restored.stdout);
        let proven = drctl.run(["list"]).ok().stdout.contains("never");
        assert_eq!(proven, maria);
        assert!(into.try_exec("SELECT * FROM d.v").is_err());
    }
);
