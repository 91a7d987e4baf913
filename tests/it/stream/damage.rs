//! A log that is not what was archived is refused.

use super::*;
use crate::support::drctl::Run;

/// A store with at least six segments.
fn archived() -> (Server, Drctl) {
    let server = logging(Flavour::MySql, &[]);
    server.exec(WRITER);
    let drctl = streamer(&server);
    for _ in 0..6 {
        server.exec("CALL d.write(5)");
        drctl.run(["stream", "--once"]).ok();
    }
    assert!(segments(&drctl).len() >= 6);
    (server, drctl)
}

#[track_caller]
fn checked(drctl: &Drctl) -> Run {
    drctl.run(["log", "--check"])
}

#[test]
fn a_segment_that_is_missing_doubled_reordered_cut_or_flipped_is_refused() {
    crate::need!(MySql);
    let (_server, drctl) = archived();
    checked(&drctl).ok();
    let segments = segments(&drctl);
    let (one, two) = (&segments[2], &segments[3]);
    let (first, second) = (fs::read(one).unwrap(), fs::read(two).unwrap());
    let mend = || {
        fs::write(one, &first).unwrap();
        fs::write(two, &second).unwrap();
    };
    fs::remove_file(one).unwrap();
    checked(&drctl).refused(6, &["is missing"]);
    mend();
    fs::write(two, &first).unwrap();
    checked(&drctl).refused(6, &["holds another segment"]);
    mend();
    fs::write(one, &second).unwrap();
    fs::write(two, &first).unwrap();
    checked(&drctl).refused(6, &["holds another segment"]);
    mend();
    for end in [0, 5, 100, first.len() - 1] {
        fs::write(one, &first[..end]).unwrap();
        checked(&drctl).refused(6, &[";"]);
    }
    for at in [0, 9, 40, first.len() / 2, first.len() - 3] {
        let mut flipped = first.clone();
        flipped[at] ^= 4;
        fs::write(one, &flipped).unwrap();
        checked(&drctl).refused(6, &[";"]);
    }
    mend();
    checked(&drctl).ok();
    // The last one: nothing follows it, but the heartbeat was further.
    let last = segments.last().unwrap();
    fs::remove_file(last).unwrap();
    checked(&drctl).refused(6, &["was archived up to"]);
}

#[test]
fn a_segment_of_another_timeline_is_refused() {
    crate::need!(MySql);
    let (server, drctl) = archived();
    server.exec("RESET BINARY LOGS AND GTIDS; CALL d.write(5)");
    drctl.run(["stream", "--once"]).ok();
    let ids = timelines(&drctl);
    assert_eq!(ids.len(), 2);
    let of = |id: &str| {
        let found = segments(&drctl).into_iter();
        found
            .filter(|path| path.to_string_lossy().contains(id))
            .collect::<Vec<_>>()
    };
    let (old, new) = (of(&ids[0]), of(&ids[1]));
    fs::copy(&new[0], &old[0]).unwrap();
    checked(&drctl).refused(6, &["holds another segment"]);
}
