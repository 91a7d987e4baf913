//! What a keeper does with its server in every other case: restarts, signals, markers, a store that comes back.

use rustix::process::Signal;

use super::*;
use crate::{need, on_both};

on_both! {
    fn a_server_that_restarts_writable_without_the_lease_is_read_only_within_one_loop(flavour) {
        need!(Gateway);
        let (a, b, _bucket) = two_sides(flavour);
        let (mut keeps_a, mut keeps_b) = (a.keep(&["--first"]), b.keep(&[]));
        keeps_a.until_says("this side holds the lease");
        keeps_b.until_says("the side a holds the lease");
        b.server.restart();
        within(Duration::from_secs(3), "the server is read-only", || b.is_read_only());
        // The one with the lease restarts read-only.
        a.server.exec("SET GLOBAL read_only = ON");
        within(Duration::from_secs(3), "the server is writable", || !a.is_read_only());
    }
}

on_both! {
    fn a_server_with_an_unfinished_restore_is_never_made_writable(flavour) {
        need!(Gateway);
        let (a, b, _bucket) = two_sides(flavour);
        a.server.exec("CREATE DATABASE drctl_restore; SET GLOBAL read_only = ON");
        let mut keeps_a = a.keep(&["--first"]);
        keeps_a.until_says("the server has an unfinished restore, and stays read-only");
        std::thread::sleep(LEASE);
        assert!(a.is_read_only());
        // Nor is it made read-only: the restore writes.
        b.server.exec("SET GLOBAL read_only = OFF; CREATE DATABASE drctl_restore");
        let mut keeps_b = b.keep(&[]);
        keeps_b.until_says("the server has an unfinished restore, and stays as it is");
        std::thread::sleep(LEASE);
        assert!(!b.is_read_only());
        for (site, read_only) in [(&a, "OFF"), (&b, "ON")] {
            site.server.exec("SET GLOBAL read_only = OFF; DROP DATABASE drctl_restore");
            site.server.exec(&format!("SET GLOBAL read_only = {}", if read_only == "ON" { "OFF" } else { "ON" }));
        }
        within(BOUND, "each is what its side has to be", || !a.is_read_only() && b.is_read_only());
    }
}

/// The keeper has to run: a server whose keeper is killed stays as it was. The next keeper corrects it.
#[test]
fn a_killed_keeper_leaves_the_server_as_it_was_until_the_next_one_starts() {
    need!(MariaDb);
    need!(Gateway);
    let (a, _b, bucket) = two_sides(Flavour::MariaDb);
    let mut keeper = a.keep(&["--first"]);
    keeper.until_says("this side holds the lease");
    keeper.signal(Signal::KILL);
    keeper.wait();
    let taken = promote(&store(&bucket), "b");
    assert_eq!(fenced(&taken), How::Expired);
    assert!(!a.is_read_only());
    let mut keeper = a.keep(&["--first"]);
    keeper.until_says("the server is read-only: the side b holds the lease");
    assert!(a.is_read_only());
}

#[test]
fn a_keeper_that_is_stopped_makes_the_server_read_only_and_the_next_one_writable() {
    need!(MySql);
    need!(Gateway);
    let (a, _b, _bucket) = two_sides(Flavour::MySql);
    let mut keeper = a.keep(&["--first"]);
    keeper.until_says("this side holds the lease");
    within(BOUND, "the keeper has looked at its server", || {
        let renewed = Gateway::shared().object(&_bucket, "p/shop/leader/00000001.renewed.json");
        let text = std::fs::read_to_string(renewed).unwrap_or_default();
        text.contains("\"count\":2")
    });
    keeper.signal(Signal::TERM);
    keeper.wait().ok();
    assert!(a.is_read_only());
    let mut keeper = a.keep(&[]);
    keeper.until_says("the server is writable: this side holds the lease, epoch 1");
    assert!(!a.is_read_only());
}

#[test]
fn a_keeper_that_starts_without_the_store_makes_the_server_read_only() {
    need!(MariaDb);
    need!(Gateway);
    let (a, _b, _bucket) = two_sides(Flavour::MariaDb);
    a.cut_off();
    let mut keeper = a.keep(&["--first"]);
    keeper.until_says("the server is read-only: the store has not answered");
    assert!(a.is_read_only());
    a.proxy.heal();
    keeper.until_says("the server is writable");
}

#[test]
fn before_the_first_epoch_a_server_is_left_as_it_is() {
    need!(MariaDb);
    need!(Gateway);
    let (a, _b, _bucket) = two_sides(Flavour::MariaDb);
    let mut keeper = a.keep(&[]);
    keeper.until_says("no side holds the lease; run drctl lease --first");
    std::thread::sleep(LEASE);
    assert!(!a.is_read_only());
}

/// Of two keepers of a side only one makes its server writable, so that a late one does not undo the other's decision.
#[test]
fn a_second_keeper_of_a_server_does_not_make_it_writable() {
    need!(MariaDb);
    need!(Gateway);
    let (a, _b, _bucket) = two_sides(Flavour::MariaDb);
    a.server.exec("SET GLOBAL read_only = ON");
    let mut first = a.keep(&["--first"]);
    first.until_says("the server is writable");
    first.signal(Signal::STOP);
    a.server.exec("SET GLOBAL read_only = ON");
    let mut second = a.keep(&["--first"]);
    second.until_says("another drctl lease of shop is running");
    assert!(a.is_read_only());
    first.signal(Signal::KILL);
    first.wait();
    second.until_says("the server is writable");
}

/// The second store has the lease by default, here a directory that is away for a while.
#[test]
fn a_holder_is_writable_again_when_the_store_is_back() {
    need!(MariaDb);
    let server = Server::start(Flavour::MariaDb);
    let drctl = Drctl::new("shop")
        .into(&server)
        .env("DRCTL_LEASE_SIDE", "a")
        .env("DRCTL_LEASE_SECONDS", "4");
    let (second, away) = (drctl.home().join("second"), drctl.home().join("away"));
    std::fs::create_dir(&second).unwrap();
    std::fs::write(second.join(".drctl-store"), "").unwrap();
    let drctl = drctl.env("DRCTL_COPY_TO", &format!("file://{}", second.display()));
    let mut keeper = drctl.start(["lease", "--first"]);
    keeper.until_says("this side holds the lease");
    assert!(second.join("shop/leader/00000001.json").exists());
    std::fs::rename(&second, &away).unwrap();
    let begun = Instant::now();
    within(BOUND, "the server is read-only", || is_read_only(&server));
    assert!(
        begun.elapsed() > Duration::from_secs(1),
        "before the lease ended"
    );
    keeper.until_says("its lease ended: the store was not reached");
    std::fs::rename(&away, &second).unwrap();
    within(BOUND, "the server is writable", || !is_read_only(&server));
}
