//! The holder loses its way to the store, or the other side takes the lease: the old side stops before the new one
//! starts, measured by clients that write to both without a pause.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::*;
use crate::{need, on_both};

/// Commits of one side: when each began and ended.
struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<(Instant, Instant)>>,
}

impl Writer {
    /// Commits one row after another, each on a connection of its own, and counts those that the server accepted.
    fn start(server: &Server) -> Writer {
        let stop = Arc::new(AtomicBool::new(false));
        let mut client = server.client_command();
        client.args(["--user=app", "--execute=INSERT INTO shop.t VALUES ()"]);
        client.stdin(Stdio::null()).stderr(Stdio::null());
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut commits = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let begun = Instant::now();
                if client.status().expect("the client runs").success() {
                    commits.push((begun, Instant::now()));
                }
            }
            commits
        });
        Writer { stop, thread }
    }

    fn end(self) -> Vec<(Instant, Instant)> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("a writer does not panic")
    }
}

/// Ends both writers: the last commit of one side ended before the first of the other began.
#[track_caller]
fn never_both(a: Writer, b: Writer) -> (Instant, Instant) {
    let (a, b) = (a.end(), b.end());
    let last = a.last().expect("the old side was writable").1;
    let first = b.first().expect("the new side is writable").0;
    assert!(
        last <= first,
        "both sides accepted commits for {:?}",
        last - first
    );
    (last, first)
}

on_both! {
    fn a_holder_that_is_cut_off_stops_within_its_bound_and_the_other_side_starts_after_it(flavour) {
        need!(Gateway);
        let (a, b, bucket) = two_sides(flavour);
        let (mut keeps_a, mut keeps_b) = (a.keep(&["--first"]), b.keep(&[]));
        keeps_a.until_says("this side holds the lease, epoch 1");
        keeps_b.until_says("the side a holds the lease");
        let (writes_a, writes_b) = (Writer::start(&a.server), Writer::start(&b.server));
        a.cut_off();
        let cut_off = Instant::now();
        let taken = promote(&store(&bucket), "b");
        assert_eq!(fenced(&taken), How::Expired);
        assert!(cut_off.elapsed() >= BOUND, "{:?}", cut_off.elapsed());
        assert!(a.is_read_only());
        keeps_b.until_says("the server is writable");
        std::thread::sleep(Duration::from_secs(1));
        let (last, _) = never_both(writes_a, writes_b);
        assert!(last - cut_off < BOUND, "{:?}", last - cut_off);
        // It stays so when the way is free again, and says it.
        a.proxy.heal();
        keeps_a.until_says("the side b holds the lease, epoch 2");
        let released = Gateway::shared().object(&bucket, "p/shop/leader/00000001.released.json");
        within(BOUND, "the old side releases its epoch", || released.exists());
        assert!(a.is_read_only() && !b.is_read_only());
    }
}

on_both! {
    fn a_holder_in_contact_gives_up_at_once_with_all_that_it_executed(flavour) {
        need!(Gateway);
        let options = match flavour {
            Flavour::MySql => &["--gtid-mode=ON", "--enforce-gtid-consistency=ON"][..],
            Flavour::MariaDb => &[],
        };
        let bucket = Gateway::shared().bucket();
        let (a, b) = (Site::new(flavour, "a", &bucket, options), Site::new(flavour, "b", &bucket, options));
        prepare(&a.server);
        prepare(&b.server);
        let (mut keeps_a, mut keeps_b) = (a.keep(&["--first"]), b.keep(&[]));
        keeps_a.until_says("this side holds the lease, epoch 1");
        keeps_b.until_says("the server is read-only: the side a holds the lease");
        let (writes_a, writes_b) = (Writer::start(&a.server), Writer::start(&b.server));
        std::thread::sleep(Duration::from_secs(1));
        let begun = Instant::now();
        let taken = promote(&store(&bucket), "b");
        let How::Released { gtids, .. } = fenced(&taken) else {
            panic!("not released");
        };
        assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
        keeps_b.until_says("the server is writable");
        std::thread::sleep(Duration::from_secs(1));
        never_both(writes_a, writes_b);
        let executed = match flavour {
            Flavour::MySql => "SELECT @@GLOBAL.gtid_executed",
            Flavour::MariaDb => "SELECT @@GLOBAL.gtid_binlog_pos",
        };
        assert_eq!(gtids, a.server.value(executed));
        // And back.
        let back = promote(&store(&bucket), "a");
        assert!(matches!(fenced(&back), How::Released { .. }));
        keeps_a.until_says("the server is writable: this side holds the lease, epoch 3");
        assert!(b.is_read_only() && !a.is_read_only());
    }
}

#[test]
fn one_of_two_sides_that_are_promoted_at_once_wins() {
    need!(Gateway);
    let bucket = Gateway::shared().bucket();
    let store = store(&bucket);
    for _ in 0..10 {
        let taken = block_on(async {
            let (target, a, b) = (target(), side("a"), side("b"));
            tokio::join!(
                take(&store, &target, &a, Reason::Promote),
                take(&store, &target, &b, Reason::Promote),
            )
        });
        let epochs: Vec<_> = [taken.0, taken.1]
            .into_iter()
            .flatten()
            .map(|taken| taken.epoch())
            .collect();
        // One was late, or both saw the other's epoch and took the next one.
        assert!(
            !epochs.is_empty() && epochs.windows(2).all(|pair| pair[0] != pair[1]),
            "{epochs:?}"
        );
    }
}
