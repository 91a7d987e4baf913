//! What `drctl restore` refuses before it touches the server: each through the real program, with
//! its exit code, its line, and the server as it was.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use crate::support::{Drctl, Flavour, Server};
use crate::{need, on_both};

/// The server that all of these are refused by, in turn: it is empty before and after.
fn target(flavour: Flavour) -> (&'static Server, MutexGuard<'static, ()>) {
    static MARIADB: LazyLock<(Server, Mutex<()>)> =
        LazyLock::new(|| (Server::start(Flavour::MariaDb), Mutex::new(())));
    static MYSQL: LazyLock<(Server, Mutex<()>)> =
        LazyLock::new(|| (Server::start(Flavour::MySql), Mutex::new(())));
    let (server, turn) = match flavour {
        Flavour::MariaDb => &*MARIADB,
        Flavour::MySql => &*MYSQL,
    };
    (server, turn.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A backup of a schema that holds what `sql` makes there, and drctl that restores it into a server.
pub(super) fn backup_of(flavour: Flavour, sql: &str, into: &Server) -> (String, Drctl) {
    let source = Server::shared(flavour);
    let schema = source.fresh_schema("back");
    source.exec(&format!("USE `{schema}`; {sql}"));
    let drctl = Drctl::new(&schema.replace('_', "-"))
        .source(source)
        .env("DRCTL_BACKUP_SCHEMAS", &schema);
    drctl.run(["backup"]).ok();
    (schema, drctl.into(into))
}

const ROWS: &str = "CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1), (2)";

/// Everything that a restore could have changed.
fn state(server: &Server) -> String {
    server.exec(
        "SELECT schema_name FROM information_schema.schemata ORDER BY 1;
         SELECT table_schema, table_name FROM information_schema.tables
           WHERE table_schema NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema') ORDER BY 1, 2;
         SELECT user, host FROM mysql.user ORDER BY 1, 2;
         SELECT @@innodb_flush_log_at_trx_commit, @@sync_binlog",
    )
}

/// Refused so, and nothing was done.
#[track_caller]
fn refused(drctl: &Drctl, server: &Server, args: &[&str], code: i32, words: &[&str]) {
    let before = state(server);
    let all = [&["restore", "--latest"], args].concat();
    drctl.run(all).refused(code, words);
    assert_eq!(state(server), before, "something was done");
}

on_both!(
    fn a_target_that_has_the_table_already(flavour) {
        let (server, _turn) = target(flavour);
        let (schema, drctl) = backup_of(flavour, ROWS, server);
        server.exec(&format!("CREATE DATABASE {schema}; CREATE TABLE {schema}.t (mine INT); INSERT {schema}.t VALUES (7)"));
        let there = format!("the destination already contains table `{schema}`.`t`");
        refused(&drctl, server, &[], 9, &[&there, "--overwrite --confirm"]);
        assert_eq!(server.value(&format!("SELECT mine FROM {schema}.t")), "7");
        // Nor is it replaced by somebody who is mistaken about which server it is.
        refused(&drctl, server, &["--overwrite", "--confirm", "else"], 2, &["--confirm else is not the target", "make sure that this is the server"]);
        let confirmed = ["restore", "--latest", "--overwrite", "--confirm", &schema.replace('_', "-")];
        drctl.run(confirmed).ok();
        assert_eq!(server.value(&format!("SELECT COUNT(id) FROM {schema}.t")), "2");
        server.exec(&format!("DROP DATABASE {schema}"));
    }
);

on_both!(
    fn a_target_that_has_another_table_in_the_schema(flavour) {
        let (server, _turn) = target(flavour);
        let (schema, drctl) = backup_of(flavour, ROWS, server);
        server.exec(&format!("CREATE DATABASE {schema}; CREATE TABLE {schema}.mine (id INT)"));
        let there = format!("the destination already contains table `{schema}`.`mine`");
        refused(&drctl, server, &[], 9, &[&there, "--overwrite --confirm"]);
        server.exec(&format!("DROP DATABASE {schema}"));
    }
);

on_both!(
    fn a_target_that_is_a_replica(flavour) {
        let (server, _turn) = target(flavour);
        let (_, drctl) = backup_of(flavour, ROWS, server);
        server.exec(match flavour {
            Flavour::MariaDb => "CHANGE MASTER TO MASTER_HOST = 'db-0'",
            Flavour::MySql => "CHANGE REPLICATION SOURCE TO SOURCE_HOST = 'db-0'",
        });
        refused(&drctl, server, &[], 9, &["the destination is a replica of db-0", "restore into the primary", "--allow-replica"]);
        server.exec(match flavour {
            Flavour::MariaDb => "RESET SLAVE ALL",
            Flavour::MySql => "RESET REPLICA ALL",
        });
    }
);

on_both!(
    fn a_target_that_is_read_only(flavour) {
        let (server, _turn) = target(flavour);
        let (_, drctl) = backup_of(flavour, ROWS, server);
        server.exec("SET GLOBAL read_only = ON");
        refused(&drctl, server, &[], 9, &["the destination is read-only (read_only is on)", "make sure that it is the primary"]);
        server.exec("SET GLOBAL read_only = OFF");
    }
);

#[test]
fn a_target_that_is_super_read_only() {
    need!(MySql);
    let (server, _turn) = target(Flavour::MySql);
    let (_, drctl) = backup_of(Flavour::MySql, ROWS, server);
    server.exec("SET GLOBAL super_read_only = ON");
    let words = [
        "the destination is read-only (super_read_only is on)",
        "turn it off",
    ];
    refused(&drctl, server, &[], 9, &words);
    server.exec("SET GLOBAL super_read_only = OFF, GLOBAL read_only = OFF");
}

on_both!(
    fn a_target_that_was_started_to_write_nothing(flavour) {
        let (schema, drctl) = backup_of(flavour, ROWS, Server::shared(flavour));
        for (option, says) in [
            ("--innodb-force-recovery=1", "innodb_force_recovery is 1: nothing can be written"),
            ("--innodb-read-only=ON", "innodb_read_only is ON: nothing can be written"),
        ] {
            let server = Server::start_with(flavour, &[option]);
            let drctl = Drctl::new(&schema.replace('_', "-"))
                .into(&server)
                .env("DRCTL_STORE", &drctl.variables()["DRCTL_STORE"]);
            refused(&drctl, &server, &[], 9, &[says, "start it with"]);
        }
    }
);

#[test]
fn a_target_that_is_offline() {
    need!(MySql);
    let (server, _turn) = target(Flavour::MySql);
    let (_, drctl) = backup_of(Flavour::MySql, ROWS, server);
    server.exec("SET GLOBAL offline_mode = ON");
    let words = ["offline_mode is ON", "start it with offline_mode=OFF"];
    refused(&drctl, server, &[], 9, &words);
    server.exec("SET GLOBAL offline_mode = OFF");
}

on_both!(
    fn a_target_that_others_are_connected_to(flavour) {
        let (server, _turn) = target(flavour);
        let (schema, drctl) = backup_of(flavour, ROWS, server);
        let session = server.session();
        refused(&drctl, server, &[], 9, &["other clients are connected: root@localhost", "fence the server", "--allow-connections"]);
        drctl.run(["restore", "--latest", "--allow-connections"]).ok();
        drop(session);
        server.exec(&format!("DROP DATABASE {schema}"));
    }
);

on_both!(
    fn a_target_that_lacks_a_definer(flavour) {
        let (server, _turn) = target(flavour);
        let user = match flavour {
            Flavour::MariaDb => "left_a",
            Flavour::MySql => "left_b",
        };
        let sql = format!("CREATE USER {user}@'%'; {ROWS}; CREATE DEFINER = {user}@'%' VIEW v AS SELECT 1 AS one");
        let (schema, drctl) = backup_of(flavour, &sql, server);
        let lacks = format!("the destination lacks the definer `{user}`@`%` (used by view `{schema}`.`v`)");
        refused(&drctl, server, &[], 9, &[&lacks, "create the accounts, or pass --accounts or --definer"]);
        server.exec(&format!("CREATE USER {user}@'%'"));
        drctl.run(["restore", "--latest"]).ok();
        server.exec(&format!("DROP DATABASE {schema}; DROP USER {user}@'%'"));
    }
);

on_both!(
    fn a_target_whose_packets_are_too_small(flavour) {
        let (server, _turn) = target(flavour);
        let (schema, drctl) = backup_of(flavour, "CREATE TABLE t (b LONGBLOB); INSERT INTO t VALUES (REPEAT('x', 1100000))", server);
        let usual = server.value("SELECT @@global.max_allowed_packet");
        server.exec("SET GLOBAL max_allowed_packet = 1048576");
        refused(&drctl, server, &[], 9, &["max_allowed_packet is 1048576, the backup has a statement of 22", "SET GLOBAL max_allowed_packet = 3145728"]);
        // What the line says is what helps.
        server.exec("SET GLOBAL max_allowed_packet = 3145728");
        drctl.run(["restore", "--latest"]).ok();
        server.exec(&format!("SET GLOBAL max_allowed_packet = {usual}; DROP DATABASE {schema}"));
    }
);

on_both!(
    fn a_target_of_another_lower_case_table_names(flavour) {
        let server = Server::initialised(flavour, &["--lower-case-table-names=1"]);
        assert_eq!(server.value("SELECT @@lower_case_table_names"), "1");
        let (_, drctl) = backup_of(flavour, "CREATE TABLE Orders (id INT)", &server);
        refused(&drctl, &server, &[], 9, &["lower_case_table_names is 1, it was 0", "names have capitals", "restore into a server with the same setting"]);
        // Where no name has capitals there is nothing against it.
        let (schema, drctl) = backup_of(flavour, ROWS, &server);
        drctl.run(["restore", "--latest"]).ok();
        assert_eq!(server.value(&format!("SELECT COUNT(*) FROM {schema}.t")), "2");
    }
);

on_both!(
    fn a_target_with_a_marker_that_drctl_did_not_write(flavour) {
        let (server, _turn) = target(flavour);
        let (_, drctl) = backup_of(flavour, ROWS, server);
        server.exec(
            "CREATE DATABASE drctl_restore; CREATE TABLE drctl_restore.run (run TEXT);
             INSERT INTO drctl_restore.run VALUES ('mine')",
        );
        refused(&drctl, server, &[], 9, &["drctl_restore was not written by this version of drctl", "DROP DATABASE drctl_restore"]);
        server.exec("DROP DATABASE drctl_restore");
    }
);

#[test]
fn a_definer_that_only_a_system_account_may_name() {
    need!(MySql);
    let (server, _turn) = target(Flavour::MySql);
    let sql = "CREATE TABLE t (id INT); CREATE SQL SECURITY INVOKER VIEW v AS SELECT * FROM t";
    let (schema, drctl) = backup_of(Flavour::MySql, sql, server);
    server.exec(
        "CREATE USER plain@'%' IDENTIFIED BY 'pass-word'; GRANT ALL ON *.* TO plain@'%';
         REVOKE SYSTEM_USER ON *.* FROM plain@'%'",
    );
    let plain = drctl
        .env("DRCTL_INTO_URL", &server.tcp_url("plain"))
        .env("DRCTL_INTO_PASSWORD", "pass-word");
    let words = [
        "the account plain@% may not define view",
        "as the system account `root`@`localhost`",
        "grant it SYSTEM_USER",
    ];
    refused(&plain, server, &[], 9, &words);
    server.exec("GRANT SYSTEM_USER ON *.* TO plain@'%'");
    plain.run(["restore", "--latest"]).ok();
    server.exec(&format!("DROP DATABASE {schema}; DROP USER plain@'%'"));
}

#[test]
fn super_lets_an_account_define_for_others_only_where_it_holds_that() {
    need!(MariaDb);
    let (server, _turn) = target(Flavour::MariaDb);
    let sql = "CREATE TABLE t (id INT); CREATE SQL SECURITY INVOKER VIEW v AS SELECT * FROM t";
    let (schema, drctl) = backup_of(Flavour::MariaDb, sql, server);
    server.exec(
        "CREATE USER plain@'%' IDENTIFIED BY 'pass-word'; GRANT ALL ON *.* TO plain@'%';
         REVOKE SET USER ON *.* FROM plain@'%'",
    );
    let plain = drctl
        .env("DRCTL_INTO_URL", &server.tcp_url("plain"))
        .env("DRCTL_INTO_PASSWORD", "pass-word");
    // MariaDB 11.0.1 took it out of SUPER.
    let version = server.value("SELECT VERSION()");
    if !version.starts_with("10.") {
        let words = [
            "plain@% may not create objects of other definers",
            "grant it SET USER",
        ];
        refused(&plain, server, &[], 9, &words);
        server.exec("GRANT SET USER ON *.* TO plain@'%'");
    }
    plain.run(["restore", "--latest"]).ok();
    server.exec(&format!("DROP DATABASE {schema}; DROP USER plain@'%'"));
}
