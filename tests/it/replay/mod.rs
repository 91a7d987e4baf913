//! A binary log served as a replication source, and applied by real servers: raw files of a source, behind a backup
//! of it that drctl made and restored.

mod client;
pub(crate) mod command;
mod drill;
mod faults;
mod refused;
mod some_tables;
mod stops;
mod whole;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use drctl::binlog::gtid::GtidSet;
use drctl::mysql::{Role, ServerConfig};
use drctl::replay::destination::Begin;
use drctl::replay::feed::Log;
use drctl::replay::file::Files;
use drctl::replay::stop::{Finder, Resolved, Stop, resolve};
use drctl::replay::{Options, ReplayPath, Replayed, Then, replay};
use drctl::util::cancel::Cancel;

use super::support::compare::{differences, picture};
use super::support::{Drctl, Flavour, Server};

/// What every source has before its backup.
pub(crate) const BEFORE: &str = "
    CREATE DATABASE shop; USE shop;
    CREATE TABLE orders (id INT AUTO_INCREMENT PRIMARY KEY, item VARCHAR(100), n INT,
        at TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6), KEY (item));
    CREATE TABLE lines_of (order_id INT, n INT, PRIMARY KEY (order_id, n),
        FOREIGN KEY (order_id) REFERENCES orders (id) ON DELETE CASCADE);
    CREATE TABLE audit (id INT AUTO_INCREMENT PRIMARY KEY, what TEXT);
    CREATE TRIGGER noted AFTER INSERT ON orders FOR EACH ROW INSERT INTO audit (what) VALUES (CONCAT('new ', NEW.id));
    CREATE VIEW sums AS SELECT item, SUM(n) AS n FROM orders GROUP BY item;\nDELIMITER //\n
    CREATE PROCEDURE fill(seed INT, times INT)
    BEGIN
        DECLARE i INT DEFAULT 0;
        WHILE i < times DO
            START TRANSACTION;
            INSERT INTO orders (item, n) VALUES (CONCAT('item ', (seed * 7 + i) % 13), i);
            INSERT INTO lines_of VALUES (LAST_INSERT_ID(), seed), (LAST_INSERT_ID(), seed + 1);
            IF i % 10 = 0 THEN
                UPDATE orders SET n = n + 1 WHERE id = CAST(LAST_INSERT_ID() AS SIGNED) - 3;
                DELETE FROM orders WHERE id = CAST(LAST_INSERT_ID() AS SIGNED) - 5;
            END IF;
            COMMIT;
            SET i = i + 1;
        END WHILE;
    END//\nDELIMITER ;\n
    CALL fill(1, 50);";

/// Tables of data and definitions of every kind, in several files.
pub(crate) const MIXED: &str = "
    USE shop;
    SET SESSION binlog_row_image = 'MINIMAL';
    CALL fill(2, 40);
    ALTER TABLE orders ADD COLUMN note VARCHAR(40) DEFAULT 'none', ADD KEY (n);
    UPDATE orders SET note = 'old' WHERE id < 20;
    SET SESSION binlog_row_image = 'FULL';
    FLUSH BINARY LOGS;
    CREATE TABLE later (id INT PRIMARY KEY, v JSON);
    INSERT INTO later VALUES (1, '{\"a\": 1}'), (2, '[]');
    CREATE TABLE copied AS SELECT id, item FROM orders WHERE id % 2 = 0;
    CREATE TRIGGER later_noted BEFORE DELETE ON later FOR EACH ROW INSERT INTO audit (what) VALUES ('gone');
    DELETE FROM later WHERE id = 2;
    START TRANSACTION; INSERT INTO later VALUES (3, '3'); SAVEPOINT s; INSERT INTO later VALUES (4, '4');
    ROLLBACK TO s; INSERT INTO later VALUES (5, '5'); COMMIT;
    CREATE OR REPLACE VIEW sums AS SELECT item, COUNT(*) AS n FROM orders GROUP BY item;
    SET SESSION binlog_format = 'STATEMENT';
    UPDATE orders SET n = n * 2 WHERE item = 'item 3' ORDER BY id;
    SET SESSION binlog_format = 'ROW';
    CREATE DATABASE other; CREATE TABLE other.t (a INT PRIMARY KEY); INSERT INTO other.t VALUES (1), (2);
    RENAME TABLE copied TO other.copied;
    XA START 'x'; INSERT INTO later VALUES (6, '6'); XA END 'x'; XA PREPARE 'x'; XA COMMIT 'x';
    FLUSH BINARY LOGS;
    CREATE TABLE big (id INT PRIMARY KEY, v LONGBLOB);
    INSERT INTO big VALUES (1, REPEAT('x', 40 * 1024 * 1024)), (2, REPEAT('y', 1000));
    INSERT INTO big VALUES (3, REPEAT('z', 16 * 1024 * 1024 - 200));
    TRUNCATE audit;
    CALL fill(3, 30);";

/// A server that logs, with the ids that all of them have.
pub(crate) fn logging(flavour: Flavour) -> Server {
    logging_with(flavour, &[])
}

/// The same with other options.
fn logging_with(flavour: Flavour, more: &[&str]) -> Server {
    let options: &[&str] = match flavour {
        Flavour::MySql => &[
            "--gtid-mode=ON",
            "--enforce-gtid-consistency=ON",
            "--log-bin=binlog",
            "--max-allowed-packet=256M",
        ],
        Flavour::MariaDb => &[
            "--log-bin=binlog",
            "--server-id=1",
            "--max-allowed-packet=256M",
            "--innodb-log-file-size=512M",
        ],
    };
    Server::start_with(flavour, &[options, more].concat())
}

/// A source, and a destination with a backup of it that was restored.
struct Case {
    source: Server,
    into: Server,
    base: GtidSet,
}

impl Case {
    /// Makes both; `before` is added to what every source has.
    fn new(flavour: Flavour, before: &str) -> Case {
        let (source, into) = (logging(flavour), logging(flavour));
        source.exec(&format!("{BEFORE}\n{before}"));
        let drctl = Drctl::new("shop").source(&source).into(&into);
        drctl.run(["backup"]).ok();
        let shown = drctl.run(["show", "--latest", "--output", "json"]).ok();
        let gtid = shown.json()["coordinates"]["gtid"]
            .as_str()
            .map(str::to_owned);
        let mariadb = flavour == Flavour::MariaDb;
        let base = GtidSet::parse(mariadb, &gtid.expect("GTIDs")).expect("a set");
        drctl.run(["restore", "--latest"]).ok();
        Case { source, into, base }
    }

    /// The source's files, up to now.
    fn log(&self) -> Files {
        self.source.exec("FLUSH BINARY LOGS");
        let mut files: Vec<PathBuf> = std::fs::read_dir(self.source.datadir())
            .expect("a directory")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| {
                let name = path.file_name().expect("a name").to_string_lossy();
                name.starts_with("binlog.0")
            })
            .collect();
        files.sort();
        Files(files)
    }

    /// The stretch from the backup to a stop.
    fn stretch(&self, stop: Stop) -> drctl::Result<Resolved> {
        let (log, base) = (self.log(), self.base.clone());
        block_on(async move { resolve(&log, Finder::new(base, stop, "binlog.000001"), None).await })
    }

    /// Replays a stretch of a log.
    fn replay(
        &self,
        log: Arc<dyn Log>,
        stretch: &Resolved,
        begin: Begin,
    ) -> drctl::Result<Replayed> {
        self.replay_until(log, stretch, begin, &Cancel::default())
    }

    fn replay_until(
        &self,
        log: Arc<dyn Log>,
        stretch: &Resolved,
        begin: Begin,
        cancel: &Cancel,
    ) -> drctl::Result<Replayed> {
        let path = ReplayPath::Replica((Ipv4Addr::LOCALHOST, 0).into());
        self.replay_by(path, log, stretch, begin, cancel)
    }

    fn replay_by(
        &self,
        path: ReplayPath,
        log: Arc<dyn Log>,
        stretch: &Resolved,
        begin: Begin,
        cancel: &Cancel,
    ) -> drctl::Result<Replayed> {
        let options = Options {
            path,
            tables: None,
            session: Vec::new(),
            workers: 4,
            begin,
            then: Then::End,
        };
        let (config, plan) = (self.config(), stretch.plan.clone());
        let cancel = cancel.clone();
        block_on(async move {
            let told = |_| {};
            let work = replay(&config, log, &plan, &options, None, told, &cancel);
            let limit = Duration::from_mins(5);
            tokio::time::timeout(limit, work)
                .await
                .expect("not within five minutes")
        })
    }

    fn config(&self) -> ServerConfig {
        ServerConfig {
            url: self.into.url().parse().expect("a URL"),
            password: None,
            client_dir: None,
            role: Role::Into,
        }
    }

    /// Both servers hold the same.
    #[track_caller]
    fn equal(&self) {
        let (source, into) = (picture(&self.source), picture(&self.into));
        let all = differences(&source, &into, |_| true);
        assert!(all.is_empty(), "{}", all.join("\n"));
    }

    /// The destination is a server like any other.
    #[track_caller]
    fn no_trace(&self) {
        let status = match self.into.flavour() {
            Flavour::MySql => "SHOW REPLICA STATUS",
            Flavour::MariaDb => "SHOW ALL SLAVES STATUS",
        };
        assert_eq!(self.into.exec(status), "");
        assert_eq!(self.into.value("SELECT @@GLOBAL.server_id"), "1");
        assert_eq!(self.into.value("SELECT @@GLOBAL.read_only"), "0");
        let relay_logs = std::fs::read_dir(self.into.datadir())
            .expect("a directory")
            .filter(|entry| {
                let name = entry.as_ref().expect("an entry").file_name();
                name.to_string_lossy().contains("drctl_replay")
            });
        assert_eq!(relay_logs.count(), 0);
        self.into.exec("CREATE DATABASE free; DROP DATABASE free");
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(work)
}
