//! Statements about accounts and the server's own tables are left out, and listed.

use std::sync::Arc;

use drctl::replay::destination::Begin;
use drctl::replay::stop::Stop;

use super::Case;
use crate::on_both;
use crate::support::Flavour;

on_both!(
    fn accounts_and_system_tables_of_the_log_do_not_reach_the_destination(flavour) {
        let case = Case::new(flavour, "");
        case.source.exec(
            "CREATE USER eve IDENTIFIED BY 'secret-of-eve'; GRANT ALL ON *.* TO eve;
             INSERT INTO shop.orders (item, n) VALUES ('a', 1);
             CREATE TABLE mysql.mine (a INT PRIMARY KEY) ENGINE=InnoDB; INSERT INTO mysql.mine VALUES (1), (2);
             START TRANSACTION; INSERT INTO shop.orders (item, n) VALUES ('b', 1);
             INSERT INTO mysql.mine VALUES (3); UPDATE shop.orders SET n = 2 WHERE item = 'b'; COMMIT;
             ALTER USER eve IDENTIFIED BY 'secret-of-eve'; DROP TABLE mysql.mine; DROP USER eve;
             INSERT INTO shop.orders (item, n) VALUES ('c', 1)",
        );
        if flavour == Flavour::MySql {
            case.source.exec(
                "CREATE TABLE mysql.mine (a INT PRIMARY KEY) ENGINE=InnoDB;
                 SET SESSION binlog_transaction_compression = ON; INSERT INTO mysql.mine VALUES (1), (2);
                 INSERT INTO shop.orders (item, n) VALUES ('d', 1)",
            );
        }
        let stretch = case.stretch(Stop::End).unwrap();
        let replayed = case.replay(Arc::new(case.log()), &stretch, Begin::Fresh).unwrap();
        let listed: Vec<&str> = replayed.refused.iter().map(|one| one.what.as_str()).collect();
        println!("{listed:?}");
        // MariaDB logs simple statements as such.
        let change = match flavour {
            Flavour::MySql => "rows of mysql.mine",
            Flavour::MariaDb => "INSERT mysql.mine",
        };
        let mut expected = vec![
            "CREATE USER", "GRANT", "CREATE TABLE mysql.mine", change, change,
            "ALTER USER", "DROP TABLE mysql.mine", "DROP USER",
        ];
        if flavour == Flavour::MySql {
            expected.extend(["CREATE TABLE mysql.mine", change]);
        }
        assert_eq!(listed, expected);
        assert!(!format!("{replayed:?}").contains("secret"));
        case.no_trace();
        assert_eq!(case.into.value("SELECT COUNT(*) FROM mysql.user WHERE user = 'eve'"), "0");
        let gone = "SELECT COUNT(*) FROM information_schema.tables WHERE table_name = 'mine'";
        assert_eq!(case.into.value(gone), "0");
        case.equal();
    }
);
