//! What a server shows no ordinary client: it is dumped all the same, or the backup is refused.

use crate::drill::of_flavour;
use crate::need;
use crate::support::{Drctl, Flavour, Server};

const TABLE: &str = "CREATE DATABASE shop; USE shop; CREATE TABLE t (a INT);
    INSERT t VALUES (1), (2), (3), (4), (5), (6)";

#[test]
fn a_limit_for_everybody_and_hidden_keys_leave_nothing_out_of_a_mysql_dump() {
    need!(MySql);
    let source = Server::start(Flavour::MySql);
    source.exec(&format!(
        "SET sql_generate_invisible_primary_key = ON; {TABLE};
         SET GLOBAL sql_select_limit = 1; SET GLOBAL show_gipk_in_create_table_and_information_schema = OFF"
    ));
    let drctl = of_flavour(Drctl::new("shop").source(&source), Flavour::MySql);
    drctl.run(["backup"]).ok();
    let sql = drctl.run(["cat", "--latest"]).ok().stdout;
    assert!(sql.contains("`my_row_id` bigint unsigned"), "{sql}");
    assert!(sql.contains("(6,6)"), "{sql}");
    let run = drctl.run(["verify", "--latest"]).ok();
    assert!(run.stdout.contains("6 rows of 1 table"), "{run:#?}");
}

#[test]
fn a_limit_that_the_dump_program_cannot_lift_is_refused() {
    need!(MariaDb);
    for limit in ["0", "5"] {
        let source = Server::start(Flavour::MariaDb);
        source.exec(&format!("{TABLE}; SET GLOBAL sql_select_limit = {limit}"));
        let drctl = Drctl::new("shop").source(&source);
        let words = [
            &format!("at most {limit} rows of a table (sql_select_limit)"),
            "SET GLOBAL sql_select_limit = 18446744073709551615",
        ];
        drctl.run(["backup"]).refused(9, &words);
        let told = drctl.run(["doctor"]);
        assert!(told.stdout.contains("sql_select_limit"), "{told:#?}");
        assert!(
            drctl
                .run(["list"])
                .stdout
                .lines()
                .all(|line| !line.contains("Z-"))
        );
        source.exec("SET GLOBAL sql_select_limit = 18446744073709551615");
        let run = drctl.run(["backup"]).ok();
        assert!(run.stdout.contains("6 rows"), "{run:#?}");
    }
}

#[test]
fn a_table_of_another_engine_before_one_of_innodb_comes_back_without_a_binary_log() {
    need!(MySql);
    let source = Server::start(Flavour::MySql);
    source.exec(
        "CREATE DATABASE shop; USE shop;
         CREATE TABLE a (id INT NOT NULL) ENGINE = MyISAM; INSERT a VALUES (1), (2);
         CREATE TABLE b (id INT PRIMARY KEY); INSERT b VALUES (1), (2)",
    );
    let drctl = of_flavour(Drctl::new("shop").source(&source), Flavour::MySql)
        .env("DRCTL_BACKUP_NON_TRANSACTIONAL", "allow");
    drctl.run(["backup"]).ok();
    drctl.run(["verify", "--latest"]).ok();
}
