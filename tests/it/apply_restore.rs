//! Restores of real dumps into real servers: what comes back, and in which order.

use drctl::restore::options::RestoreOptions;
use drctl::restore::scope::Scope;

use super::apply_archive::{archive_of, dump, restore};
use super::support::{Drctl, Flavour, Server};
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
    fn without_the_binary_log_nothing_of_it_is_in_there(flavour) {
        let source = Server::start_with(flavour, &["--event-scheduler=OFF"]);
        source.exec(SHOP);
        let into = Server::start_with(flavour, &["--event-scheduler=OFF", "--log-bin=log", "--server-id=1"]);
        let drctl = Drctl::new("quiet").source(&source).into(&into);
        drctl.run(["backup"]).ok();
        drctl.run(["restore", "--latest", "--no-binlog"]).ok();
        let events = |server: &Server| format!("{:?}", server.query("SHOW BINLOG EVENTS IN 'log.000001'"));
        assert!(!events(&into).contains("shop"), "{}", events(&into));
        into.exec("DROP DATABASE shop");
        drctl.run(["restore", "--latest"]).ok();
        assert!(events(&into).contains("shop"));
    }
);

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
        let comparison = report.comparison.clone().unwrap();
        assert!(comparison.is_equal(), "{}", comparison.summary());
        assert_eq!((comparison.tables, comparison.rows_found), (4, 6));
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

/// What has its own trouble on the way back.
const NASTY: &str = r#"
SET NAMES utf8mb4;
CREATE DATABASE `a.b ``c` CHARACTER SET latin1;
CREATE DATABASE `шоп ю` CHARACTER SET utf8mb4;
CREATE DATABASE nothing_in_it;
USE `a.b ``c`;
CREATE TABLE `t.``x y` (`id;` INT NOT NULL, `na``me` VARCHAR(20) DEFAULT 'a;\'b', g INT AS (`id;` * 2) STORED, UNIQUE KEY u (`id;`), KEY k (`na``me`(3)));
INSERT INTO `t.``x y` (`id;`, `na``me`) VALUES (1, '\\'), (2, '''');
CREATE TABLE a (id INT PRIMARY KEY, b INT, KEY (b));
CREATE TABLE b (id INT PRIMARY KEY, a INT, KEY (a));
ALTER TABLE a ADD CONSTRAINT a_b FOREIGN KEY (b) REFERENCES b (id);
ALTER TABLE b ADD CONSTRAINT b_a FOREIGN KEY (a) REFERENCES a (id);
INSERT INTO a VALUES (1, NULL), (2, NULL); INSERT INTO b VALUES (1, 2); UPDATE a SET b = 1;
CREATE TABLE parent (id INT PRIMARY KEY, code VARCHAR(10) NOT NULL, UNIQUE KEY (code));
CREATE TABLE child (code VARCHAR(10), FOREIGN KEY (code) REFERENCES parent (code) ON DELETE CASCADE);
INSERT INTO parent VALUES (1, 'x'); INSERT INTO child VALUES ('x'), (NULL);
CREATE TABLE auto_second (a INT NOT NULL, b INT NOT NULL AUTO_INCREMENT, PRIMARY KEY (a), KEY (b));
SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO';
INSERT INTO auto_second VALUES (1, 0), (2, 7);
CREATE TABLE dates (d DATE, dt DATETIME(6), ts TIMESTAMP NULL, y YEAR, ti TIME(3));
SET sql_mode = '';
INSERT INTO dates VALUES ('0000-00-00', '0000-00-00 00:00:00', NULL, 0, '-838:59:59.000'), ('2026-02-30', '9999-12-31 23:59:59.999999', '2038-01-19 03:14:07', 2155, '00:00:00.001');
CREATE TABLE bytes (b VARBINARY(300), bi BIT(9), s SET('a','b'), e ENUM('x;','y'''), f DOUBLE, j JSON, p POINT);
INSERT INTO bytes VALUES (UNHEX('00010A0D1A22275C5CFF'), b'101010101', 'a,b', 'y''', 1e300, '{"a": [1, null, "\\""]}', ST_GeomFromText('POINT(1 2)')), (NULL, NULL, NULL, NULL, NULL, NULL, NULL);
CREATE TABLE words (id INT PRIMARY KEY, a TEXT, b TEXT, g GEOMETRY NOT NULL, FULLTEXT fa (a), FULLTEXT fb (b), SPATIAL KEY (g), KEY d (id DESC, a(5)));
INSERT INTO words VALUES (1, 'one two', 'three', ST_GeomFromText('POINT(1 2)'));
CREATE TABLE parts (id INT NOT NULL, y INT, KEY (y)) PARTITION BY HASH (id) PARTITIONS 3;
INSERT INTO parts VALUES (1, 1), (2, 2), (3, 3);
CREATE TABLE fires (id INT); 
DELIMITER //
CREATE TRIGGER z BEFORE INSERT ON fires FOR EACH ROW SET NEW.id = NEW.id + 1//
CREATE TRIGGER m BEFORE INSERT ON fires FOR EACH ROW SET NEW.id = NEW.id * 2//
CREATE TRIGGER a BEFORE INSERT ON fires FOR EACH ROW FOLLOWS z SET NEW.id = NEW.id - 1//
SET sql_mode = 'ANSI_QUOTES'//
CREATE PROCEDURE ansi() BEGIN SELECT "id" FROM "fires"; /* ;; */ -- ;;
 SELECT 'DELIMITER ;;'; END//
SET sql_mode = 'NO_BACKSLASH_ESCAPES'//
CREATE FUNCTION slash() RETURNS VARCHAR(9) DETERMINISTIC RETURN '\'//
SET sql_mode = DEFAULT//
SET NAMES latin1//
CREATE PROCEDURE latin() SELECT 'x'//
SET NAMES utf8mb4//
DELIMITER ;
CREATE VIEW v3 AS SELECT 1 AS `x;y`;
CREATE VIEW v2 AS SELECT * FROM v3;
CREATE VIEW v1 AS SELECT v2.*, a.id FROM v2 JOIN a;
CREATE EVENT gone ON SCHEDULE AT CURRENT_TIMESTAMP + INTERVAL 2 SECOND ON COMPLETION NOT PRESERVE DO SET @x = 1;
CREATE EVENT later ON SCHEDULE AT '2037-01-01 00:00:00' ON COMPLETION PRESERVE DO SET @x = 1;
CREATE EVENT spring ON SCHEDULE EVERY 1 DAY STARTS '2026-01-01 00:00:00' ENDS '2036-01-01 00:00:00' COMMENT 'ENABLE;' DO SET @x = ';';
USE `шоп ю`;
CREATE TABLE `таблица` (`имя` VARCHAR(10)); INSERT INTO `таблица` VALUES ('🦀');
CREATE VIEW across AS SELECT * FROM `a.b ``c`.a;
"#;

const NASTY_MARIADB: &str = "
USE nothing_in_it;
CREATE SEQUENCE s START WITH 5 INCREMENT BY 3; SELECT NEXTVAL(s);
CREATE TABLE versioned (id INT) WITH SYSTEM VERSIONING; INSERT INTO versioned VALUES (1); UPDATE versioned SET id = 2;
CREATE TABLE next (id INT DEFAULT NEXTVAL(s), u UUID, i INET6, k INT INVISIBLE, KEY (k) IGNORED);
INSERT INTO next (u, i) VALUES (UUID(), '::1');
CREATE TABLE hashed (t TEXT, UNIQUE (t)); INSERT INTO hashed VALUES ('a');
SET sql_mode = ORACLE;
DELIMITER //
CREATE PACKAGE pk AS FUNCTION f RETURN INT; END//
CREATE PACKAGE BODY pk AS FUNCTION f RETURN INT AS BEGIN RETURN 1; END; END//
";

const NASTY_MYSQL: &str = "
USE nothing_in_it;
CREATE TABLE functional (id INT, n VARCHAR(20), KEY f ((UPPER(n))), KEY i (n) INVISIBLE, KEY m ((CAST(j->'$[*]' AS UNSIGNED ARRAY))), j JSON, c INT CHECK (c > 0), h INT INVISIBLE DEFAULT (id + 1));
INSERT INTO functional (id, n, j, c) VALUES (1, 'a', '[1, 2]', 1);
SET sql_generate_invisible_primary_key = ON; CREATE TABLE hidden (a INT); INSERT INTO hidden VALUES (5); SET sql_generate_invisible_primary_key = OFF;
CREATE TABLE vectors (v VECTOR(3)); INSERT INTO vectors VALUES (TO_VECTOR('[1,2,3]'));
";

on_both!(
    fn what_has_trouble_on_the_way_comes_back_too(flavour) {
        for mode in ["", "ANSI_QUOTES,NO_BACKSLASH_ESCAPES"] {
            let options = ["--event-scheduler=OFF", "--character-set-server=utf8mb4"];
            let source = Server::start_with(flavour, &options);
            source.exec(NASTY);
            source.exec(match flavour {
                Flavour::MariaDb => NASTY_MARIADB,
                Flavour::MySql => NASTY_MYSQL,
            });
            source.exec(&format!("SET GLOBAL sql_mode = '{mode}'"));
            std::thread::sleep(std::time::Duration::from_secs(3));
            let target = Server::start_with(flavour, &options);
            target.exec(&format!("SET GLOBAL sql_mode = '{mode}'"));
            let schemas = ["a.b `c", "nothing_in_it", "шоп ю"];
            let report = block_on(async {
                let archive = archive_of(&source, &schemas).await;
                restore(&archive, &target, RestoreOptions::default()).await.unwrap()
            });
            assert!(report.comparison.unwrap().is_equal());
            assert_eq!(report.expired_events.len(), 1, "{:?}", report.expired_events);
            assert_eq!(report.enabled_events.len(), 2);
            source.exec("DROP EVENT `a.b ``c`.gone");
            let text = |server: &Server| {
                let text = String::from_utf8_lossy(&dump(server, &schemas)).into_owned();
                let same = |line: &&str| !line.starts_with("-- Dump completed");
                text.lines().filter(same).map(str::to_owned).collect::<Vec<_>>()
            };
            let (before, after) = (text(&source), text(&target));
            for (before, after) in before.iter().zip(&after) {
                assert_eq!(before, after);
            }
        }
    }
);
