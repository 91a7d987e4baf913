//! A replay stops exactly where it was told to.

use std::sync::Arc;

use drctl::binlog::gtid::GtidSet;
use drctl::replay::destination::Begin;
use drctl::replay::stop::Stop;

use super::{Case, MIXED};
use crate::on_both;
use crate::support::Flavour;
use crate::support::compare::{differences, picture};

fn executed(case: &Case) -> GtidSet {
    let mariadb = case.source.flavour() == Flavour::MariaDb;
    let sql = match mariadb {
        false => "SELECT @@GLOBAL.gtid_executed",
        true => "SELECT @@GLOBAL.gtid_binlog_pos",
    };
    GtidSet::parse(mariadb, &case.source.exec(sql)).unwrap()
}

on_both!(
    fn the_moment_before_a_drop_is_brought_back(flavour) {
        let case = Case::new(flavour, "");
        case.source.exec(MIXED);
        let (then, held) = (executed(&case), picture(&case.source));
        case.source.exec("DROP DATABASE other; SET FOREIGN_KEY_CHECKS = 0; DROP TABLE shop.orders; CREATE DATABASE later");
        let all = case.stretch(Stop::End).unwrap();
        // The first transaction behind the moment, out of what the server itself says.
        let after = all.plan.expected.minus(&then);
        let left_out = case.stretch(Stop::Before(first_of(&after, &then))).unwrap();
        assert_eq!(left_out.plan.expected, then);
        assert_eq!(all.plan.transactions, left_out.plan.transactions + 3);
        // By the last one that is in, it is the same.
        let last = left_out.last.clone().unwrap();
        assert_eq!(case.stretch(Stop::Through(last.gtid.clone())).unwrap(), left_out);
        case.replay(Arc::new(case.log()), &left_out, Begin::Fresh).unwrap();
        case.no_trace();
        let differences = differences(&held, &picture(&case.into), |schema| schema != "later");
        assert!(differences.is_empty(), "{}", differences.join("\n"));
        // And on from there, to the end.
        case.replay(Arc::new(case.log()), &all, Begin::Resumed).unwrap();
        case.equal();
    }
);

on_both!(
    fn a_time_is_that_of_commits(flavour) {
        let case = Case::new(flavour, "");
        case.source.exec("INSERT INTO shop.orders (item, n) VALUES ('in', 1); DO SLEEP(2.1)");
        // Begun before the time, committed behind it.
        case.source.exec("START TRANSACTION; INSERT INTO shop.orders (item, n) VALUES ('out', 1); DO SLEEP(2.1); COMMIT");
        case.source.exec("INSERT INTO shop.orders (item, n) VALUES ('out', 2)");
        let all = case.stretch(Stop::End).unwrap();
        let last = case.stretch(Stop::Before(all.last.unwrap().gtid)).unwrap();
        let middle = last.last.unwrap();
        let stretch = case.stretch(Stop::Time(middle.committed_at)).unwrap();
        assert_eq!(stretch.left_out.as_ref(), Some(&middle), "the commit of that very moment is out");
        case.replay(Arc::new(case.log()), &stretch, Begin::Fresh).unwrap();
        assert_eq!(case.into.value("SELECT COUNT(*) FROM shop.orders WHERE item = 'in'"), "1");
        assert_eq!(case.into.value("SELECT COUNT(*) FROM shop.orders WHERE item = 'out'"), "0");
        // Nothing is known of what is behind the log.
        let late = jiff::Timestamp::now() + std::time::Duration::from_secs(3600);
        let refused = case.stretch(Stop::Time(late)).unwrap_err();
        assert_eq!(refused.outcome().code(), 9);
        assert!(refused.to_string().contains("does not reach the stop"), "{refused}");
        // Nor of what is before the backup.
        let early = jiff::Timestamp::UNIX_EPOCH;
        let refused = case.stretch(Stop::Time(early)).unwrap_err();
        assert!(refused.to_string().contains("later than the stop"), "{refused}");
    }
);

on_both!(
    fn a_position_is_that_of_a_transactions_beginning(flavour) {
        let case = Case::new(flavour, "");
        case.source.exec("INSERT INTO shop.orders (item, n) VALUES ('in', 1)");
        let status = match flavour {
            Flavour::MySql => "SHOW BINARY LOG STATUS",
            Flavour::MariaDb => "SHOW MASTER STATUS",
        };
        let row = case.source.query(status).remove(0);
        let (file, position) = (row[0].clone(), row[1].parse::<u64>().unwrap());
        case.source.exec("INSERT INTO shop.orders (item, n) VALUES ('out', 1); DROP TABLE shop.lines_of");
        let at = |position| Stop::Position { file: file.clone(), position };
        let stretch = case.stretch(at(position)).unwrap();
        assert_eq!(stretch.plan.transactions, 1, "{stretch:?}");
        // A position inside of a transaction leaves out the next one.
        assert_eq!(case.stretch(at(position + 1)).unwrap().plan.transactions, 2);
        case.replay(Arc::new(case.log()), &stretch, Begin::Fresh).unwrap();
        assert_eq!(case.into.value("SELECT COUNT(*) FROM shop.orders WHERE item IN ('in', 'out')"), "1");
    }
);

/// The first transaction of a set behind `then`.
fn first_of(after: &GtidSet, then: &GtidSet) -> drctl::binlog::gtid::Gtid {
    use drctl::binlog::gtid::Gtid;
    match (after, then) {
        (GtidSet::MySql(origins), _) => {
            let (origin, intervals) = origins.iter().next().unwrap();
            Gtid::MySql(origin.clone(), intervals[0].0)
        }
        (GtidSet::MariaDb(_), GtidSet::MariaDb(domains)) => {
            let (&domain, &(server, sequence)) = domains.iter().next().unwrap();
            Gtid::MariaDb {
                domain,
                server,
                sequence: sequence + 1,
            }
        }
        _ => unreachable!("one flavour"),
    }
}
