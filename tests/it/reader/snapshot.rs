//! Several connections see the same data while others write; and without the coordination they do not.

use drctl::archive::manifest::SnapshotMethod;
use drctl::mysql::wire::RowConnection;
use drctl::mysql::{ServerConfig, connect};
use drctl::reader::snapshot;
use drctl::sql::statement::ObjectId;

use crate::on_both;
use crate::source_server::{block_on, config};
use crate::support::session::Session;
use crate::support::{Drctl, Flavour, Server};

/// Tables that every transaction writes.
const TABLES: usize = 4;

const WRITERS: usize = 3;

/// A server on which each transaction adds one to a row of every table.
struct Busy {
    server: Server,
    writers: Vec<Session>,
}

impl Busy {
    fn start(flavour: Flavour, options: &[&str]) -> Busy {
        let server = Server::start_with(flavour, options);
        let mut sql = "CREATE DATABASE d; CREATE TABLE d.stop (yes INT) ENGINE=InnoDB;".to_owned();
        let mut updates = String::new();
        for n in 1..=TABLES {
            sql += &format!("CREATE TABLE d.t{n} (id INT PRIMARY KEY, n INT);");
            for writer in 1..=WRITERS {
                sql += &format!("INSERT d.t{n} VALUES ({writer}, 0);");
            }
            updates += &format!("UPDATE d.t{n} SET n = n + 1 WHERE id = writer;");
        }
        sql += &format!(
            "\nDELIMITER //\nCREATE PROCEDURE d.w(writer INT) BEGIN \
             WHILE NOT EXISTS (SELECT 1 FROM d.stop) DO START TRANSACTION; {updates} COMMIT; END WHILE; END//\n\
             DELIMITER ;\n"
        );
        server.exec(&sql);
        let begin = |n| {
            let mut writer = server.session();
            writer.send(&format!("CALL d.w({n})"));
            writer
        };
        let writers = (1..=WRITERS).map(begin).collect();
        Busy { server, writers }
    }

    fn tables() -> Vec<ObjectId> {
        let tables = (1..=TABLES).map(|n| ObjectId::table("d", format!("t{n}")));
        tables.collect()
    }

    /// Whether the connections, each of which reads another table, see the same data.
    async fn is_one(readers: &mut [RowConnection]) -> bool {
        let mut seen = Vec::new();
        for (n, reader) in (1..).zip(readers) {
            let sql = format!("SELECT id, n FROM d.t{n} ORDER BY id");
            seen.push(reader.rows(&sql).await.unwrap());
        }
        seen.windows(2).all(|two| two[0] == two[1])
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.server.try_exec("INSERT d.stop VALUES (1)");
        self.writers.clear();
    }
}

/// Options of a server whose log shows what is committed.
fn logged(flavour: Flavour) -> &'static [&'static str] {
    match flavour {
        Flavour::MariaDb => &["--log-bin=b", "--server-id=1"],
        Flavour::MySql => &[
            "--log-bin=b",
            "--server-id=1",
            "--gtid-mode=ON",
            "--enforce-gtid-consistency=ON",
        ],
    }
}

/// Opens snapshots, and checks each.
async fn check(config: &ServerConfig, count: usize, expected: SnapshotMethod, logged: bool) {
    let mut control = connect(config).await.unwrap();
    let version = control.version().await.unwrap();
    control.close().await;
    let (mut held, mut methods) = (Vec::new(), Vec::new());
    for n in 0..count {
        let opened = snapshot::open(config, &version, TABLES, &Busy::tables(), false).await;
        let mut snapshot = opened.unwrap();
        assert!(
            Busy::is_one(&mut snapshot.connections).await,
            "{n}: {expected:?}"
        );
        let has_place = snapshot.coordinates.is_some();
        assert!(logged || !has_place);
        assert!(has_place || snapshot.method != SnapshotMethod::Verified);
        // A busy server may leave no moment without a lock, or give none in time.
        assert!(
            snapshot.method as u8 >= expected as u8,
            "{:?}",
            snapshot.method
        );
        methods.push(snapshot.method);
        held.push(snapshot.held);
    }
    assert!(methods.contains(&expected), "{methods:?}");
    held.sort();
    println!(
        "{expected:?}: held {:?}, at most {:?}",
        held[count / 2],
        held[count - 1]
    );
}

on_both!(
    fn a_snapshot_is_one_on_all_connections_while_others_write(flavour) {
        let busy = Busy::start(flavour, logged(flavour));
        let root = config(&busy.server.url(), None, flavour);
        block_on(check(&root, 100, SnapshotMethod::Verified, true));
        // Without the global read lock's privilege: still without any lock.
        busy.server.account("few", "", &["SELECT, LOCK TABLES ON d.*", "REPLICATION CLIENT ON *.*"]);
        let few = config(&busy.server.url_as("few"), None, flavour);
        block_on(async {
            let version = connect(&few).await.unwrap().version().await.unwrap();
            let mut snapshot = snapshot::open(&few, &version, TABLES, &Busy::tables(), false).await.unwrap();
            assert!(Busy::is_one(&mut snapshot.connections).await);
        });
    }
);

on_both!(
    fn a_server_without_a_binary_log_is_locked_for_a_moment(flavour) {
        let busy = Busy::start(flavour, &["--skip-log-bin"]);
        let root = config(&busy.server.url(), None, flavour);
        let logged = false;
        block_on(check(&root, 30, SnapshotMethod::GlobalLock, logged));
        busy.server.account("few", "", &["SELECT, LOCK TABLES ON d.*"]);
        let few = config(&busy.server.url_as("few"), None, flavour);
        block_on(check(&few, 30, SnapshotMethod::TableLocks, logged));
        busy.server.account("least", "", &["SELECT ON d.*"]);
        let least = config(&busy.server.url_as("least"), None, flavour);
        block_on(async {
            let version = connect(&least).await.unwrap().version().await.unwrap();
            let snapshot = snapshot::open(&least, &version, TABLES, &Busy::tables(), false).await.unwrap();
            assert_eq!(snapshot.method, SnapshotMethod::OneConnection);
            assert_eq!(snapshot.connections.len(), 1);
        });
    }
);

/// How a snapshot of an idle server is taken.
fn method(server: &Server) -> SnapshotMethod {
    let config = config(&server.url(), None, server.flavour());
    block_on(async {
        let version = connect(&config).await.unwrap().version().await.unwrap();
        let opened = snapshot::open(&config, &version, 2, &[], false).await;
        opened.unwrap().method
    })
}

on_both!(
    fn a_server_whose_log_does_not_show_all_transactions_is_locked(flavour) {
        let (proved, locked) = (SnapshotMethod::Verified, SnapshotMethod::GlobalLock);
        let server = Server::start_with(flavour, logged(flavour));
        assert_eq!(method(&server), proved);
        // MariaDB logs the end of such a transaction before it is visible.
        server.exec(
            "CREATE DATABASE d; CREATE TABLE d.t (id INT); XA START 'a'; INSERT d.t VALUES (1); XA END 'a'; \
             XA PREPARE 'a'; XA COMMIT 'a'",
        );
        let is_mariadb = flavour == Flavour::MariaDb;
        assert_eq!(method(&server), if is_mariadb { locked } else { proved });

        let filtered = [logged(flavour), &["--binlog-ignore-db=x"]].concat();
        assert_eq!(method(&Server::start_with(flavour, &filtered)), locked);

        // What a replica applies, it need not log.
        let (off, begin) = match flavour {
            Flavour::MariaDb => ("--log-slave-updates=OFF", "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = 1; START SLAVE SQL_THREAD"),
            Flavour::MySql => ("--log-replica-updates=OFF", "DO 0"),
        };
        let replica = Server::start_with(flavour, &[logged(flavour), &[off]].concat());
        replica.exec(begin);
        assert_eq!(method(&replica), locked);
    }
);

on_both!(
    fn without_coordination_connections_see_different_data(flavour) {
        let busy = Busy::start(flavour, logged(flavour));
        let root = config(&busy.server.url(), None, flavour);
        let differs = block_on(async {
            let mut readers = Vec::new();
            for _ in 0..TABLES {
                readers.push(RowConnection::open(&root).await.unwrap());
            }
            for _ in 0..2000 {
                for reader in &mut readers {
                    reader.run("START TRANSACTION WITH CONSISTENT SNAPSHOT").await.unwrap();
                }
                if !Busy::is_one(&mut readers).await {
                    return true;
                }
            }
            false
        });
        assert!(differs, "the load is too low to show a difference");
    }
);

/// Backups that run at the same time, each with a target and a store of its own.
const BACKUPS: usize = 20;

on_both!(
    fn twenty_backups_at_once_of_a_busy_server_restore_to_one_moment_each(flavour) {
        let room = ["--max-connections=500"];
        let busy = Busy::start(flavour, &[logged(flavour), &room].concat());
        let into = Server::start(flavour);
        let backup = |n: usize| {
            let drctl = Drctl::new(&format!("busy{n}")).source(&busy.server).into(&into);
            let running = drctl.start(["backup", "--jobs", &(2 + n % 3).to_string()]);
            (drctl, running)
        };
        let backups: Vec<_> = (0..BACKUPS).map(backup).collect();
        let backups: Vec<Drctl> = backups
            .into_iter()
            .map(|(drctl, running)| {
                running.wait().ok();
                drctl
            })
            .collect();
        let mut moments = Vec::new();
        for drctl in &backups {
            let shown = drctl.run(["show", "--latest", "--output", "json"]).ok().json();
            assert!(shown["reader"]["jobs"].as_u64() > Some(1), "{}", shown["reader"]);
            drctl.run(["restore", "--latest"]).ok();
            let seen = |n| into.query(&format!("SELECT id, n FROM d.t{n} ORDER BY id"));
            assert!((2..=TABLES).all(|n| seen(n) == seen(1)), "{:?}", (1..=TABLES).map(seen).collect::<Vec<_>>());
            moments.push(seen(1));
            into.exec("DROP DATABASE d");
        }
        moments.sort();
        moments.dedup();
        println!("{} moments", moments.len());
        assert!(moments.len() > 1, "the load is too low to show a difference");
    }
);
