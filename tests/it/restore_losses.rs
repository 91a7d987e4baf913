//! Restores that lose their connection, or their server, at a moment of every pass: they go on, and what is
//! restored is what was dumped.
//!
//! The moments are statements: a first restore tells which ones a pass has, and later ones are struck at the
//! first, the middle and the last of each.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use crate::on_both;
use crate::support::compare::{differences, picture};
use crate::support::statements::{Statements, Strike};
use crate::support::{Drctl, Flavour, Server};

/// Something for each pass to do.
const OBJECTS: &str = "SET NAMES utf8mb4;
    CREATE DATABASE shop; CREATE DATABASE other; USE shop;
    CREATE TABLE customer (id INT PRIMARY KEY, name VARCHAR(100), mail VARCHAR(100), KEY (name), UNIQUE KEY (mail));
    CREATE TABLE bill (id INT PRIMARY KEY, customer INT, note TEXT, KEY (customer), FULLTEXT KEY (note),
      CONSTRAINT of_customer FOREIGN KEY (customer) REFERENCES customer (id));
    CREATE TABLE line (bill INT, n INT, amount DECIMAL(10,2), PRIMARY KEY (bill, n), KEY (amount),
      CONSTRAINT of_bill FOREIGN KEY (bill) REFERENCES bill (id));
    INSERT INTO customer VALUES (1, 'Ann', 'ann@x'), (2, 'Bo', 'bo@x'), (3, 'Cy', 'cy@x');
    INSERT INTO bill VALUES (10, 1, 'one two'), (11, 2, 'three'), (12, 2, NULL);
    INSERT INTO line VALUES (10, 1, 5.00), (10, 2, 7.50), (11, 1, 0.10);
    CREATE TABLE other.plain (a INT); INSERT INTO other.plain VALUES (1), (2), (3);
    CREATE TRIGGER line_added BEFORE INSERT ON line FOR EACH ROW SET NEW.amount = NEW.amount;
    CREATE FUNCTION total(of_bill INT) RETURNS DECIMAL(10,2) READS SQL DATA
      RETURN (SELECT SUM(amount) FROM line WHERE bill = of_bill);
    CREATE PROCEDURE tidy() DELETE FROM line WHERE amount < 0;
    CREATE VIEW open_bills AS SELECT b.id, c.name FROM bill b JOIN customer c ON c.id = b.customer;
    CREATE VIEW a_view_of_it AS SELECT id FROM open_bills;
    CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 00:00:00' DO DELETE FROM other.plain WHERE a < 0;
    CREATE USER app@'%' IDENTIFIED BY 'secret'; GRANT SELECT ON shop.* TO app@'%';
    GRANT INSERT ON shop.line TO app@'%'; GRANT EXECUTE ON PROCEDURE shop.tidy TO app@'%';";

/// What is asked of a server, by the pass that asks it.
#[derive(Default)]
struct Moments {
    pass: String,
    all: Vec<(String, String)>,
}

impl Moments {
    /// Notes a statement; which pass it belongs to.
    fn meet(&mut self, text: &str) -> (String, String) {
        for (begins, pass) in [
            ("CREATE DATABASE IF NOT EXISTS drctl_restore", "marker"),
            ("INSERT IGNORE INTO drctl_restore.settings", "settings"),
            ("REPLACE INTO drctl_restore.accounts", "accounts"),
        ] {
            if text.starts_with(begins) && !self.pass.starts_with("behind") {
                self.pass = pass.to_owned();
            }
        }
        // Only these begin after a pass that was noted.
        for (begins, pass) in [
            ("/*!40100 SET @@SQL_MODE", "compare"),
            (
                "SELECT character_set_client, collation_connection, database_collation",
                "events",
            ),
            ("SELECT name, value FROM drctl_restore.settings", "undo"),
        ] {
            // MySQL's clients put the number of attributes before a statement.
            if text.contains(begins) {
                self.pass = pass.to_owned();
            }
        }
        let moment = (self.pass.clone(), text.to_owned());
        self.all.push(moment.clone());
        if let Some(rest) = text.strip_prefix("REPLACE INTO drctl_restore.passes VALUES ('") {
            self.pass = format!("behind {}", rest.trim_end_matches("')"));
        }
        moment
    }

    /// The first, the middle and the last statement of each pass, but for those that are never the same.
    fn chosen(&self) -> Vec<(String, String)> {
        let passes: BTreeSet<&String> = self.all.iter().map(|(pass, _)| pass).collect();
        let mut chosen = Vec::new();
        for pass in passes {
            let mut met = BTreeSet::new();
            let of_it: Vec<&(String, String)> = self
                .all
                .iter()
                .filter(|moment| moment.0 == *pass && !moment.1.contains("started_at"))
                .filter(|moment| met.insert(moment.1.clone()))
                .collect();
            let Some(last) = of_it.len().checked_sub(1) else {
                continue;
            };
            let places = BTreeSet::from([0, last / 2, last]);
            chosen.extend(places.into_iter().map(|place| of_it[place].clone()));
        }
        chosen
    }
}

struct Restores {
    source: Server,
    into: Arc<Server>,
    drctl: Drctl,
}

impl Restores {
    fn new(flavour: Flavour) -> Restores {
        // The least that MariaDB's full-text keys and MySQL's functions ask for.
        let options = &[
            "--log-bin-trust-function-creators=1",
            "--event-scheduler=OFF",
        ];
        let source = Server::start_with(flavour, options);
        let into = Server::start_with(flavour, options);
        for server in [&source, &into] {
            server.exec(OBJECTS);
        }
        let drctl = Drctl::new("loss").source(&source);
        drctl.run(["backup"]).ok();
        Restores {
            source,
            into: Arc::new(into),
            drctl,
        }
    }

    /// A restore over what is there, by a front that strikes as it is told; what was restored is equal.
    #[track_caller]
    fn restore(self, decide: impl FnMut(&str) -> Strike + Send + 'static) -> Restores {
        let front = Statements::to(&self.into, decide);
        let drctl = self
            .drctl
            .clients_of(&self.into)
            .env("DRCTL_INTO_URL", &front.url());
        // So that accounts have something to do each time.
        self.into.exec("DROP USER app@'%'");
        drctl
            .run([
                "restore",
                "--latest",
                "--accounts",
                "--overwrite",
                "--confirm",
                "loss",
                "--lanes",
                "1",
                "--fast-unsafe",
                "--allow-connections",
            ])
            .ok();
        let (source, into) = (picture(&self.source), picture(&self.into));
        let differ = differences(&source, &into, |_| true);
        assert!(differ.is_empty(), "{differ:#?}");
        let marked =
            "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = 'drctl_restore'";
        assert_eq!(self.into.value(marked), "0");
        let grants = |server: &Server| server.exec("SHOW GRANTS FOR app@'%'");
        let sorted = |text: String| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
        assert_eq!(sorted(grants(&self.into)), sorted(grants(&self.source)));
        assert_eq!(
            self.into.value("SELECT @@innodb_flush_log_at_trx_commit"),
            "1"
        );
        Restores { drctl, ..self }
    }

    /// A restore that meets nothing; which moments it has.
    #[track_caller]
    fn moments(self) -> (Restores, Vec<(String, String)>) {
        let moments = Arc::new(Mutex::new(Moments::default()));
        let met = moments.clone();
        let this = self.restore(move |text| {
            met.lock().unwrap().meet(text);
            Strike::Pass
        });
        let chosen = moments.lock().unwrap().chosen();
        let passes: BTreeSet<&String> = chosen.iter().map(|(pass, _)| pass).collect();
        for pass in [
            "",
            "marker",
            "settings",
            "accounts",
            "behind replace",
            "behind pre-data",
            "behind data",
            "behind keys",
            "behind foreign-keys",
            "behind post-data",
            "compare",
            "events",
            "undo",
        ] {
            assert!(passes.contains(&pass.to_owned()), "{pass}: {passes:?}");
        }
        (this, chosen)
    }

    /// A restore that is struck at each of these moments, once; `act` says how.
    #[track_caller]
    fn struck(
        self,
        moments: &[(String, String)],
        mut act: impl FnMut(usize) -> Strike + Send + 'static,
    ) -> Restores {
        let left = Arc::new(Mutex::new(moments.to_vec()));
        let (mut met, mut begun) = (Moments::default(), false);
        let waiting = left.clone();
        let this = self.restore(move |text| {
            let moment = met.meet(text);
            // A server that is not there when a restore begins is a failure.
            begun |= text.contains("GET_LOCK");
            let mut waiting = waiting.lock().unwrap();
            match waiting.iter().position(|one| *one == moment) {
                Some(at) if begun => {
                    let moment = waiting.remove(at);
                    eprintln!("strikes in {:?} at {}", moment.0, moment.1);
                    act(waiting.len())
                }
                _ => Strike::Pass,
            }
        });
        // The first statement of all comes before the restore has begun.
        let left = left.lock().unwrap();
        assert!(
            left.iter().all(|(pass, _)| pass.is_empty()),
            "not met: {left:#?}"
        );
        drop(left);
        this
    }
}

on_both!(
    fn a_connection_that_is_cut_in_any_pass_costs_nothing_but_time(flavour) {
        let (restores, moments) = Restores::new(flavour).moments();
        let restores = restores.struck(&moments, |n| match n % 2 {
            0 => Strike::Before,
            _ => Strike::After,
        });
        restores.struck(&moments, |n| match n % 2 {
            0 => Strike::After,
            _ => Strike::Before,
        });
    }
);

on_both!(
    fn a_server_that_is_killed_in_any_pass_costs_nothing_but_time(flavour) {
        let (restores, moments) = Restores::new(flavour).moments();
        let server = restores.into.clone();
        restores.struck(&moments, move |_| {
            server.kill();
            server.start_again();
            Strike::Before
        });
    }
);
