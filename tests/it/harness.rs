//! The harness itself: that servers come up empty, go down, and leave nothing behind.

use crate::support::{Flavour, Server};
use crate::{need, on_both};

on_both!(
    fn a_private_server_starts_empty_and_keeps_its_data_over_a_crash(flavour) {
        let server = Server::start(flavour);
        assert_eq!(server.query("SELECT 1, 'a b', NULL"), [["1", "a b", "NULL"]]);
        let schemas = server.query(
            "SELECT schema_name FROM information_schema.schemata WHERE schema_name NOT IN \
             ('mysql', 'sys', 'information_schema', 'performance_schema')",
        );
        assert!(schemas.is_empty(), "{schemas:?}");
        server.exec("CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY); INSERT shop.t VALUES (7)");
        server.kill();
        server.try_exec("DO 0").unwrap_err();
        server.start_again();
        assert_eq!(server.value("SELECT id FROM shop.t"), "7");
        server.restart();
        assert_eq!(server.value("SELECT id FROM shop.t"), "7");
    }
);

on_both!(
    fn a_server_takes_the_options_of_its_test(flavour) {
        let server = Server::start_with(flavour, &["--lower-case-table-names=0", "--sql-mode=ANSI_QUOTES"]);
        assert_eq!(server.value("SELECT @@global.sql_mode"), "ANSI_QUOTES");
    }
);

on_both!(
    fn an_account_reaches_the_server_by_tcp_with_its_password(flavour) {
        let server = Server::shared(flavour);
        let schema = server.fresh_schema("tcp");
        server.account("by_tcp", "a secret", &[&format!("SELECT ON `{schema}`.*")]);
        let seen = std::process::Command::new(flavour.client())
            .args(["--no-defaults", "-Nse", "SHOW DATABASES LIKE 'tcp%'", "-uby_tcp", "-h127.0.0.1"])
            .arg(format!("-P{}", server.port()))
            .env("MYSQL_PWD", "a secret")
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&seen.stdout).trim(), schema, "{seen:?}");
    }
);

on_both!(
    fn a_session_keeps_its_transaction_while_others_look_on(flavour) {
        let server = Server::shared(flavour);
        let schema = server.fresh_schema("session");
        server.exec(&format!("CREATE TABLE `{schema}`.t (id INT PRIMARY KEY)"));
        let mut writer = server.session();
        writer.run(&format!("START TRANSACTION; INSERT `{schema}`.t VALUES (1)"));
        let count = format!("SELECT COUNT(*) FROM `{schema}`.t");
        assert_eq!(server.value(&count), "0");
        writer.run("COMMIT");
        assert_eq!(server.value(&count), "1");
        assert_eq!(writer.run("SELECT 'a'; SELECT 'b'"), "a\nb\n");
    }
);

/// Two servers made from one template must not be taken for one another.
#[test]
fn each_mysql_server_has_an_identity_of_its_own() {
    need!(MySql);
    let [one, other] = [Server::start(Flavour::MySql), Server::start(Flavour::MySql)];
    let id = "SELECT @@server_uuid";
    assert_ne!(one.value(id), other.value(id));
}

on_both!(
    fn a_dropped_server_is_gone(flavour) {
        let server = Server::start(flavour);
        let (dir, port) = (server.datadir(), server.port());
        drop(server);
        assert!(!dir.exists());
        std::net::TcpStream::connect(("127.0.0.1", port)).unwrap_err();
    }
);
