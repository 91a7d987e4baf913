//! Restores of real dumps into real servers: what comes back, and in which order.

use drctl::apply::options::{RestoreOptions, Scope};

use super::apply_archive::{archive_of, dump, restore};
use super::support::Server;
use crate::on_both;

/// A schema with a bit of everything that has its own way through a restore.
const SHOP: &str = r#"
SET NAMES utf8mb4;
CREATE DATABASE shop CHARACTER SET utf8mb4;
USE shop;
CREATE TABLE customers (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(80) NOT NULL, note TEXT,
  UNIQUE KEY by_name (name), KEY by_note (note(10)), FULLTEXT KEY words (note), FULLTEXT KEY names (name));
CREATE TABLE orders (id BIGINT PRIMARY KEY, customer INT, total DECIMAL(10,2) DEFAULT '0.00', at TIMESTAMP NULL,
  KEY by_customer (customer), CONSTRAINT to_customer FOREIGN KEY (customer) REFERENCES customers (id));
CREATE TABLE log (text TEXT);
CREATE TABLE nothing (id INT);
INSERT INTO customers VALUES (1, 'O''Brien; \\ "x"', 'likes ; and `'), (2, 'Zoë 🦀', NULL);
INSERT INTO orders VALUES (1, 1, 9.99, '2026-01-01 00:00:00'), (2, 2, 0.10, NULL);
INSERT INTO log VALUES ('same'), ('same');
CREATE VIEW totals AS SELECT c.name, SUM(o.total) AS total FROM customers c JOIN orders o ON o.customer = c.id GROUP BY c.name;
CREATE VIEW big AS SELECT * FROM totals WHERE total > 1;
DELIMITER //
CREATE TRIGGER noted AFTER INSERT ON orders FOR EACH ROW BEGIN INSERT INTO log VALUES (CONCAT('order;', NEW.id)); END//
CREATE PROCEDURE p(IN x INT) BEGIN IF x > 0 THEN SELECT 'a;b'; END IF; END//
CREATE FUNCTION f(x INT) RETURNS INT DETERMINISTIC RETURN x + 1//
DELIMITER ;
CREATE EVENT tick ON SCHEDULE EVERY 1 SECOND DO INSERT INTO shop.log VALUES ('tick');
CREATE EVENT idle ON SCHEDULE EVERY 1 SECOND DISABLE DO INSERT INTO shop.log VALUES ('idle');
"#;

/// Runs async code of the product.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

/// A dump without the lines that differ between two runs.
fn comparable(server: &Server) -> String {
    let text = String::from_utf8_lossy(&dump(server, &["shop"])).into_owned();
    let differs =
        |line: &&str| !line.starts_with("-- Dump completed") && !line.starts_with("-- Host:");
    text.lines().filter(differs).collect::<Vec<_>>().join("\n")
}

on_both!(
    fn everything_comes_back(flavour) {
        let source = Server::start_with(flavour, &["--event-scheduler=OFF"]);
        source.exec(SHOP);
        let into = Server::start_with(flavour, &["--event-scheduler=OFF"]);
        let report = block_on(async {
            let made = archive_of(&source, &["shop"]).await;
            restore(&made, &into, RestoreOptions::default()).await.unwrap()
        });
        assert_eq!(report.rows, 6);
        let proof = report.proof.clone().unwrap();
        assert!(proof.is_equal(), "{}", proof.summary());
        assert_eq!((proof.tables, proof.rows_found), (4, 6));
        assert_eq!(comparable(&into), comparable(&source));
        assert_eq!(into.value("SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = 'drctl_restore'"), "0");
        assert_eq!(report.enabled_events.len(), 1, "{report:?}");
    }
);

on_both!(
    fn chosen_tables_come_back_under_another_schema(flavour) {
        let source = Server::start(flavour);
        source.exec(SHOP);
        let into = Server::start(flavour);
        let options = RestoreOptions {
            scope: Scope {
                tables: [("shop".to_owned(), "orders".to_owned())].into(),
                rename: [("shop".to_owned(), "shop2".to_owned())].into(),
            },
            ..RestoreOptions::default()
        };
        let report = block_on(async {
            let made = archive_of(&source, &["shop"]).await;
            restore(&made, &into, options).await.unwrap()
        });
        assert_eq!(report.rows, 2);
        assert_eq!(
            into.value("SELECT GROUP_CONCAT(table_schema, '.', table_name) FROM information_schema.tables WHERE table_schema LIKE 'shop%'"),
            "shop2.orders"
        );
        assert_eq!(into.value("SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = 'shop2'"), "noted");
    }
);
