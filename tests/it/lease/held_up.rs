//! Clients that hold up read-only: locks, open transactions, long statements.

use super::*;
use crate::{need, on_both};

on_both! {
    fn clients_that_hold_up_read_only_are_disconnected(flavour) {
        need!(Gateway);
        let (a, _b, _bucket) = two_sides(flavour);
        a.server.exec("CREATE TABLE shop.locked (id INT PRIMARY KEY); CREATE TABLE shop.long_one (id INT PRIMARY KEY)");
        let mut keeper = a.keep(&["--first"]);
        keeper.until_says("this side holds the lease");
        let (mut locks, mut open, mut long) = (a.server.session(), a.server.session(), a.server.session());
        locks.run("LOCK TABLES shop.locked WRITE");
        open.run("BEGIN; INSERT INTO shop.t VALUES ()");
        long.send("INSERT INTO shop.long_one SELECT SLEEP(3600)");
        a.cut_off();
        let cut_off = Instant::now();
        within(BOUND, "the server is read-only", || a.is_read_only());
        assert!(cut_off.elapsed() > Duration::from_secs(1), "before the lease ended");
        keeper.until_says("disconnected");
        // What was open is not committed.
        assert_eq!(a.server.value("SELECT COUNT(*) FROM shop.t"), "0");
    }
}

on_both! {
    fn a_transaction_that_is_open_when_the_lease_ends_cannot_commit(flavour) {
        need!(Gateway);
        let (a, _b, _bucket) = two_sides(flavour);
        let mut keeper = a.keep(&["--first"]);
        keeper.until_says("this side holds the lease");
        let mut command = a.server.client_command();
        command.args(["--user=app", "--execute=BEGIN; INSERT INTO shop.t VALUES (); DO SLEEP(12); COMMIT"]);
        let writing = std::thread::spawn(move || command.output().expect("the client runs"));
        // Not by innodb_trx: what InnoDB shows there is not renewed while it is asked ten times a second.
        within(BOUND, "the transaction is open", || {
            let sleeps = "SELECT COUNT(*) FROM information_schema.processlist WHERE info = 'DO SLEEP(12)'";
            a.server.value(sleeps) != "0"
        });
        a.cut_off();
        let output = writing.join().expect("no panic");
        assert!(!output.status.success(), "{output:?}");
        assert_eq!(a.server.value("SELECT COUNT(*) FROM shop.t"), "0");
    }
}
