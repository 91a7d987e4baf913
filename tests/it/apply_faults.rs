//! Restores that are stopped, disturbed or deceived: what is refused, what is repeated, what resumes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use drctl::archive::read::Archive;
use drctl::restore::options::{Destination, Permissions, Resources, RestoreOptions, Tuning};
use drctl::restore::report::{Progress, RestoreReport, Silent};
use drctl::restore::state::marker::Pass;
use drctl::util::cancel::Cancel;
use drctl::{Outcome, Result};

use super::apply_archive::{archive_from, archive_of, dump, into, restore};
use super::apply_restore::block_on;
use super::support::{Flavour, Server};
use crate::on_both;

/// 24 MB of rows in one table without a primary key, so that a row too many would show; and an event, for the last
/// pass.
fn big(flavour: Flavour) -> Server {
    let server = Server::start(flavour);
    server.exec(
        "SET NAMES utf8mb4; CREATE DATABASE shop CHARACTER SET utf8mb4; USE shop;
         CREATE TABLE small (id INT PRIMARY KEY); INSERT INTO small VALUES (1);
         CREATE TABLE t (id INT, filler VARCHAR(2000), KEY (id));
         INSERT INTO t WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
           SELECT a.i, REPEAT(CHAR(65 + a.i % 26), 2000) FROM n a;
         INSERT INTO t SELECT id, filler FROM t; INSERT INTO t SELECT id, filler FROM t;
         INSERT INTO t SELECT id, filler FROM t; INSERT INTO t SELECT id + 1, filler FROM t LIMIT 4000;
         CREATE EVENT tidy ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 00:00:00' DO DELETE FROM shop.small WHERE id < 0;",
    );
    server
}

/// Does something at a moment of a restore.
struct At<F> {
    moment: Moment,
    frames: AtomicU64,
    act: F,
}

enum Moment {
    Begin(Pass),
    /// After this many frames of rows.
    Frames(u64),
}

impl<F: Fn() + Send + Sync> Progress for At<F> {
    fn begin(&self, pass: Pass, _: Option<u64>) {
        if matches!(self.moment, Moment::Begin(wanted) if wanted == pass) {
            (self.act)();
        }
    }

    fn advance(&self, _: u64, rows: u64) {
        if rows > 0
            && matches!(self.moment, Moment::Frames(wanted) if wanted == self.frames.fetch_add(1, Ordering::SeqCst) + 1)
        {
            (self.act)();
        }
    }
}

fn at(moment: Moment, act: impl Fn() + Send + Sync + 'static) -> Arc<dyn Progress> {
    Arc::new(At {
        moment,
        frames: AtomicU64::new(0),
        act,
    })
}

async fn restore_with(
    made: &Archive,
    server: &Server,
    options: RestoreOptions,
    progress: Arc<dyn Progress>,
    cancel: &Cancel,
) -> Result<RestoreReport> {
    let (into, mut report) = (into(server), RestoreReport::default());
    drctl::restore::restore(made, &into, options, progress, cancel, &mut report)
        .await
        .map(|()| report)
}

fn one_lane() -> RestoreOptions {
    RestoreOptions {
        resources: Resources {
            lanes: 1,
            ..Resources::default()
        },
        ..RestoreOptions::default()
    }
}

fn permitting(permissions: Permissions) -> RestoreOptions {
    RestoreOptions {
        destination: Destination::Server(permissions),
        ..one_lane()
    }
}

fn has_marker(server: &Server) -> bool {
    server.value(
        "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = 'drctl_restore'",
    ) == "1"
}

on_both!(
    fn an_interrupted_restore_resumes_and_doubles_nothing(flavour) {
        let source = big(flavour);
        for moment in [
            Moment::Begin(Pass::Replace),
            Moment::Begin(Pass::PreData),
            Moment::Frames(1),
            Moment::Begin(Pass::Keys),
            Moment::Begin(Pass::PostData),
            Moment::Begin(Pass::Compare),
            Moment::Begin(Pass::Events),
        ] {
            let target = Server::start(flavour);
            target.exec("CREATE DATABASE shop; CREATE TABLE shop.small (other TEXT); INSERT INTO shop.small VALUES ('x')");
            block_on(async {
                let made = archive_of(&source, &["shop"]).await;
                let cancel = Cancel::default();
                let stop = cancel.clone();
                let progress = at(moment, move || stop.cancel(Outcome::Terminated));
                let replacing = permitting(Permissions { overwrite: true, ..Permissions::default() });
                let options = RestoreOptions { tuning: Tuning::FastUnsafe, ..replacing.clone() };
                let stopped = restore_with(&made, &target, options, progress, &cancel).await;
                assert_eq!(stopped.unwrap_err().outcome(), Outcome::Terminated);
                assert!(has_marker(&target));
                assert_eq!(target.value("SELECT @@innodb_flush_log_at_trx_commit"), "1");
                let again = restore(&made, &target, replacing).await.unwrap();
                assert!(again.comparison.unwrap().is_equal());
                assert!(!has_marker(&target));
            });
            assert_eq!(target.value("SELECT COUNT(*) FROM shop.t"), "12000");
            let event = "SELECT status FROM information_schema.events WHERE event_schema = 'shop'";
            assert_eq!(target.value(event), "ENABLED");
        }
    }
);

on_both!(
    fn a_killed_connection_and_a_killed_server_cost_nothing_but_time(flavour) {
        let source = big(flavour);
        let made = block_on(archive_of(&source, &["shop"]));
        let connection = |victim: &Server| {
            let lane = victim.value(
                "SELECT MAX(id) FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND command <> 'Daemon'",
            );
            victim.exec(&format!("KILL {lane}"));
        };
        let server = |victim: &Server| {
            victim.kill();
            victim.start_again();
        };
        type Act = fn(&Server);
        for (moment, strike) in [
            (Moment::Frames(1), connection as Act),
            (Moment::Frames(1), server),
            (Moment::Begin(Pass::PostData), server),
        ] {
            let target = Arc::new(Server::start(flavour));
            let victim = target.clone();
            let progress = at(moment, move || strike(&victim));
            let options = permitting(Permissions { connected_clients: true, ..Permissions::default() });
            let never = Cancel::default();
            let restored = restore_with(&made, &target, options, progress, &never);
            let report = block_on(restored).unwrap();
            assert!(report.comparison.unwrap().is_equal());
            assert_eq!(target.value("SELECT COUNT(*) FROM shop.t"), "12000");
        }
    }
);

on_both!(
    fn a_lane_beside_a_failed_one_is_ended_on_the_server(flavour) {
        let source = Server::start(flavour);
        source.exec(
            "CREATE DATABASE shop; USE shop;
             CREATE TABLE a (id INT PRIMARY KEY, x INT, KEY (x)); CREATE TABLE b (id INT PRIMARY KEY, x INT, UNIQUE KEY (x));
             INSERT INTO a VALUES (1, 1), (2, 2), (3, 3); INSERT INTO b VALUES (1, 1)",
        );
        let target = Arc::new(Server::start(flavour));
        let made = block_on(archive_of(&source, &["shop"]));
        let (other, held) = (target.clone(), Arc::new(std::sync::Mutex::new(None)));
        let holds = held.clone();
        let progress = at(Moment::Begin(Pass::Keys), move || {
            // The key of one table waits for as long as this reads it, that of the other cannot be.
            let mut session = other.session();
            session.run("BEGIN; SELECT COUNT(*) FROM shop.a");
            other.exec("INSERT INTO shop.b VALUES (2, 1)");
            *holds.lock().unwrap() = Some(session);
        });
        let options = RestoreOptions {
            resources: Resources { lanes: 2, ..Resources::default() },
            ..permitting(Permissions { connected_clients: true, ..Permissions::default() })
        };
        let error = block_on(restore_with(&made, &target, options, progress, &Cancel::default())).unwrap_err();
        assert!(error.to_string().contains("keys of table `shop`.`b`"), "{error}");
        let goes_on = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'ALTER TABLE%'";
        let begun = std::time::Instant::now();
        while target.value(goes_on) != "0" {
            assert!(begun.elapsed() < std::time::Duration::from_secs(5), "the server goes on");
        }
        drop(held);
    }
);

on_both!(
    fn settings_that_cannot_be_put_back_are_told(flavour) {
        let source = big(flavour);
        let target = Arc::new(Server::start(flavour));
        let made = block_on(archive_of(&source, &["shop"]));
        let cancel = Cancel::default();
        let (victim, stop) = (target.clone(), cancel.clone());
        let progress = at(Moment::Frames(1), move || {
            victim.kill();
            stop.cancel(Outcome::Terminated);
        });
        let options = RestoreOptions {
            tuning: Tuning::FastUnsafe,
            resources: Resources { lanes: 1, reconnect: std::time::Duration::from_secs(1), ..Resources::default() },
            ..one_lane()
        };
        let error = block_on(restore_with(&made, &target, options, progress, &cancel)).unwrap_err();
        assert_eq!(error.outcome(), Outcome::Terminated);
        let told = error.to_string();
        assert!(told.contains("settings are not reverted") && told.contains("--undo-settings"), "{told}");
    }
);

on_both!(
    fn a_plan_is_made_while_a_restore_runs_and_does_not_stop_one(flavour) {
        let source = big(flavour);
        let target = Arc::new(Server::start(flavour));
        let made = block_on(archive_of(&source, &["shop"]));
        let (second, into) = (made.clone(), into(&target));
        let seen = Arc::new(std::sync::Mutex::new(None));
        let said = seen.clone();
        let progress = at(Moment::Begin(Pass::Keys), move || {
            let (archive, into, said) = (second.clone(), into.clone(), said.clone());
            let planning = std::thread::spawn(move || {
                let progress: Arc<dyn Progress> = Arc::new(Silent);
                let options = RestoreOptions::default();
                let plan = block_on(drctl::restore::plan(&archive, &into, &options, &progress, &Cancel::default()));
                *said.lock().unwrap() = Some(plan.unwrap().blocker().unwrap().outcome().code());
            });
            planning.join().unwrap();
        });
        block_on(restore_with(&made, &target, one_lane(), progress, &Cancel::default())).unwrap();
        assert_eq!(*seen.lock().unwrap(), Some(11));
    }
);

on_both!(
    fn another_backup_drops_what_the_unfinished_restore_made_when_told_to_and_nothing_else(flavour) {
        let source = big(flavour);
        let target = Server::start(flavour);
        target.exec("CREATE DATABASE shop; CREATE DATABASE other; CREATE TABLE other.kept (id INT)");
        block_on(async {
            let first = archive_of(&source, &["shop"]).await;
            let cancel = Cancel::default();
            let stop = cancel.clone();
            let progress = at(Moment::Frames(1), move || stop.cancel(Outcome::Terminated));
            restore_with(&first, &target, one_lane(), progress, &cancel).await.unwrap_err();
            source.exec("DROP TABLE shop.t; CREATE TABLE shop.u (id INT)");
            let second = archive_of(&source, &["shop"]).await;
            let refused = restore(&second, &target, one_lane()).await.unwrap_err();
            assert_eq!(refused.outcome().code(), 9, "{refused}");
            let made = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'shop'";
            assert_eq!(target.value(made), "2");
            let options = permitting(Permissions { discard: true, ..Permissions::default() });
            let report = restore(&second, &target, options).await.unwrap();
            assert!(report.comparison.unwrap().is_equal());
        });
        assert_eq!(
            target.value(
                "SELECT GROUP_CONCAT(table_schema, '.', table_name ORDER BY table_schema, table_name) FROM information_schema.tables
                 WHERE table_schema IN ('shop', 'other')"
            ),
            "other.kept,shop.small,shop.u"
        );
    }
);

on_both!(
    fn a_value_that_the_server_clips_ends_the_restore_before_the_comparison(flavour) {
        let source = Server::start(flavour);
        source.exec("CREATE DATABASE shop; CREATE TABLE shop.t (a VARCHAR(5)); INSERT INTO shop.t VALUES ('12345')");
        let text = String::from_utf8(dump(&source, &["shop"])).unwrap();
        let clipped = text.replace("'12345'", "'1234567'");
        let target = Server::start(flavour);
        let options = RestoreOptions { compare: false, ..one_lane() };
        let error = block_on(async {
            let made = archive_from(&source, clipped.as_bytes()).await;
            restore(&made, &target, options).await.unwrap_err()
        });
        assert_eq!(error.outcome().code(), 7, "{error}");
        assert!(error.to_string().contains("table `shop`.`t`"), "{error}");
        assert_eq!(target.value("SELECT COUNT(*) FROM shop.t"), "0");
    }
);

on_both!(
    fn a_row_added_by_another_client_is_found_by_the_comparison(flavour) {
        let source = big(flavour);
        let target = Arc::new(Server::start(flavour));
        let made = block_on(archive_of(&source, &["shop"]));
        let other = target.clone();
        let progress = at(Moment::Begin(Pass::Compare), move || {
            other.exec("INSERT INTO shop.small VALUES (2)");
        });
        let error =
            block_on(restore_with(&made, &target, one_lane(), progress, &Cancel::default())).unwrap_err();
        assert_eq!(error.outcome().code(), 7, "{error}");
        assert!(error.to_string().contains("`shop`.`small` (backup: 1 row, server: 2 rows)"), "{error}");
        assert!(has_marker(&target));
    }
);

on_both!(
    fn rows_that_the_server_lost_after_it_had_taken_them_are_loaded_again(flavour) {
        let source = big(flavour);
        let target = Arc::new(Server::start(flavour));
        let made = block_on(archive_of(&source, &["shop"]));
        // As after a crash of a server that does not flush each commit: rows and progress are gone together.
        let crashed = target.clone();
        let progress = at(Moment::Frames(2), move || {
            crashed.exec(
                "START TRANSACTION; DELETE FROM drctl_restore.frames; DELETE FROM shop.t; DELETE FROM shop.small; COMMIT",
            );
        });
        // Nothing else would notice.
        let options = RestoreOptions { compare: false, ..one_lane() };
        block_on(restore_with(&made, &target, options, progress, &Cancel::default())).unwrap();
        let count = "SELECT CONCAT((SELECT COUNT(*) FROM shop.t), ' ', (SELECT COUNT(*) FROM shop.small))";
        assert_eq!(target.value(count), source.value(count));
    }
);

on_both!(
    fn a_second_statement_behind_a_routine_is_not_executed(flavour) {
        let source = Server::start(flavour);
        source.exec("CREATE DATABASE shop; CREATE PROCEDURE shop.p() SELECT 1; CREATE TABLE shop.t (id INT)");
        let text = String::from_utf8(dump(&source, &["shop"])).unwrap();
        let forged = text
            .replace("SELECT 1 ;;", "SELECT 1; CREATE USER intruder ;;")
            .replace("SELECT 1\n;;", "SELECT 1; CREATE USER intruder\n;;");
        assert_ne!(text, forged);
        let target = Server::start(flavour);
        let error = block_on(async {
            let made = archive_from(&source, forged.as_bytes()).await;
            restore(&made, &target, one_lane()).await.unwrap_err()
        });
        assert_eq!(error.outcome().code(), 6, "{error}");
        assert_eq!(target.value("SELECT COUNT(*) FROM mysql.user WHERE user = 'intruder'"), "0");
        assert_eq!(target.value("SELECT COUNT(*) FROM information_schema.routines WHERE routine_schema = 'shop'"), "0");
    }
);

on_both!(
    fn what_is_there_is_refused_unless_it_is_to_be_replaced(flavour) {
        let source = big(flavour);
        let target = Server::start(flavour);
        target.exec(
            "CREATE DATABASE shop; CREATE TABLE shop.small (other TEXT); CREATE VIEW shop.t AS SELECT 1 AS x;
             CREATE TABLE shop.mine (id INT)",
        );
        block_on(async {
            let made = archive_of(&source, &["shop"]).await;
            let error = restore(&made, &target, one_lane()).await.unwrap_err();
            assert_eq!(error.outcome().code(), 9, "{error}");
            assert!(!has_marker(&target));
            assert_eq!(target.value("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'shop'"), "3");
            let options = permitting(Permissions { overwrite: true, ..Permissions::default() });
            let report = restore(&made, &target, options).await.unwrap();
            assert!(report.comparison.unwrap().is_equal());
            assert_eq!(report.replaced.len(), 2);
        });
        assert_eq!(target.value("SELECT COUNT(*) FROM shop.mine"), "0");
    }
);

on_both!(
    fn two_restores_into_one_server_exclude_each_other(flavour) {
        let source = big(flavour);
        let target = Arc::new(Server::start(flavour));
        let made = block_on(archive_of(&source, &["shop"]));
        let second = made.clone();
        let (into, seen) = (into(&target), Arc::new(std::sync::Mutex::new(None)));
        let outcome = seen.clone();
        let progress = at(Moment::Begin(Pass::Keys), move || {
            let (archive, into, outcome) = (second.clone(), into.clone(), outcome.clone());
            std::thread::spawn(move || {
                let progress: Arc<dyn Progress> = Arc::new(Silent);
                let other = block_on(drctl::restore::restore(
                    &archive,
                    &into,
                    RestoreOptions::default(),
                    progress,
                    &Cancel::default(),
                    &mut RestoreReport::default(),
                ));
                *outcome.lock().unwrap() = Some(other.unwrap_err().outcome().code());
            })
            .join()
            .unwrap();
        });
        block_on(restore_with(&made, &target, one_lane(), progress, &Cancel::default())).unwrap();
        assert_eq!(*seen.lock().unwrap(), Some(11));
    }
);
