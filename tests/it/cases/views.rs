//! Views on views: each comes back as it was, whatever their names sort by, and can be updated as it could.

use drctl::mysql::connect;
use drctl::sql::statement::{ObjectId, ObjectKind};
use drctl::verify::checks::updatable;

use super::{Case, drilled};
use crate::apply_archive::into;
use crate::apply_restore::block_on;
use crate::fidelity::{backup_in, follow_restore_txt};
use crate::support::{Flavour, Server};
use crate::{need, on_both};

/// A chain from `z1` up to `c`, each behind the one that it is on or before it, and views that nobody can update.
const CHAIN: &str = "CREATE DATABASE o; CREATE DATABASE o2; USE o; CREATE TABLE t (id INT PRIMARY KEY, a INT); INSERT INTO t VALUES (1, 2);
    CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 3;
    CREATE VIEW z1 AS SELECT * FROM t WHERE a > 0; CREATE VIEW a1 AS SELECT * FROM z1 WHERE f() > 1;
    CREATE VIEW o2.b AS SELECT * FROM o.a1; CREATE VIEW c AS SELECT * FROM o2.b;
    CREATE VIEW joined AS SELECT t.id, t.a, z1.a AS b FROM t JOIN z1 ON t.id = z1.id;
    CREATE VIEW left_joined AS SELECT t.id, t.a, z1.a AS b FROM t LEFT JOIN z1 ON t.id = z1.id;
    CREATE VIEW counted AS SELECT COUNT(*) AS n FROM z1; CREATE VIEW both_of AS SELECT * FROM t UNION SELECT * FROM z1;";

/// Writes through all that can be updated; what the table holds then.
#[track_caller]
fn write_through(server: &Server) -> String {
    server.exec(
        "UPDATE o.a1 SET a = a + 10; UPDATE o2.b SET a = a + 100; UPDATE o.c SET a = a + 1000;
         UPDATE o.joined SET a = a + 10000; INSERT INTO o.c VALUES (2, 5)",
    );
    for not in ["o.counted SET n = 1", "o.both_of SET a = 1"] {
        assert!(server.try_exec(&format!("UPDATE {not}")).is_err(), "{not}");
    }
    server.value("SELECT GROUP_CONCAT(a ORDER BY id) FROM o.t")
}

on_both!(
    fn a_view_on_a_view_that_sorts_behind_it_can_be_updated_as_it_could(flavour) {
        let case = Case::empty(flavour, &[]);
        case.source.exec(CHAIN);
        case.comes_back();
        if flavour == Flavour::MariaDb {
            let said = drilled(&case.drctl, "client");
            assert!(said.contains("views depend on later views"), "{said}");
        }
        let plain = Server::start(flavour);
        follow_restore_txt(&backup_in(&case.drctl.store_dir()), &plain);
        for server in [&case.source, &case.into, &plain] {
            assert_eq!(write_through(server), "11112,5");
        }
    }
);

on_both!(
    fn a_view_with_a_check_option_on_a_chain_of_views_comes_back(flavour) {
        let case = Case::empty(flavour, &[]);
        case.source.exec(CHAIN);
        case.source.exec(
            "CREATE OR REPLACE VIEW o.c AS SELECT * FROM o2.b WITH LOCAL CHECK OPTION;
             CREATE VIEW o.a0 AS SELECT * FROM o.c WHERE a < 100000 WITH CASCADED CHECK OPTION",
        );
        case.comes_back();
        assert_eq!(write_through(&case.into), "11112,5");
        assert!(case.into.try_exec("INSERT INTO o.a0 VALUES (3, 100000)").is_err());
    }
);

#[test]
fn a_view_that_was_created_before_the_one_it_is_on_is_found_by_a_drill() {
    need!(MariaDb);
    let server = Server::start(Flavour::MariaDb);
    server.exec(CHAIN);
    let found = || {
        let views = [
            "a1",
            "c",
            "counted",
            "joined",
            "left_joined",
            "z1",
            "both_of",
        ]
        .map(|name| ObjectId::new(ObjectKind::View, "o", name));
        let config = into(&server);
        let found = block_on(async {
            let mut connection = connect(&config).await.unwrap();
            updatable::check(&mut connection, views.iter())
                .await
                .unwrap()
        });
        found
            .into_iter()
            .map(|check| check.name)
            .collect::<Vec<_>>()
            .join(", ")
    };
    assert_eq!(found(), "");
    // As the plain client does it.
    server.exec(
        "USE o; DROP VIEW z1; CREATE VIEW z1 AS SELECT 1 AS id, 1 AS a; DROP VIEW a1; CREATE VIEW a1 AS SELECT * FROM z1 WHERE f() > 1;
         DROP VIEW joined; CREATE VIEW joined AS SELECT t.id, t.a, z1.a AS b FROM t JOIN z1 ON t.id = z1.id;
         DROP VIEW z1; CREATE VIEW z1 AS SELECT * FROM t WHERE a > 0",
    );
    assert_eq!(
        found(),
        "view `o`.`a1` can be updated, view `o`.`joined` can be updated"
    );
    assert_eq!(
        server.exec("SHOW TABLES FROM o LIKE 'drctl%'").trim(),
        "",
        "nothing stays"
    );
}
