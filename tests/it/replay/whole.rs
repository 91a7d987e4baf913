//! A replay of everything makes the destination equal to the source.

use std::sync::Arc;

use drctl::replay::destination::Begin;
use drctl::replay::stop::Stop;

use super::{Case, MIXED};
use crate::on_both;
use crate::support::Flavour;

on_both!(
    fn a_restored_backup_and_the_log_behind_it_are_the_source(flavour) {
        let case = Case::new(flavour, "");
        if flavour == Flavour::MySql {
            case.source.exec("SET SESSION binlog_transaction_compression = ON; CALL shop.fill(9, 20)");
        }
        case.source.exec(MIXED);
        // Several writers, for appliers that work at a time.
        let mut writers: Vec<_> = (0..4).map(|_| case.source.session()).collect();
        for (n, writer) in writers.iter_mut().enumerate() {
            writer.send(&format!("CALL shop.fill({n}, 100)"));
        }
        for writer in &mut writers {
            writer.answer();
        }
        let stretch = case.stretch(Stop::End).unwrap();
        assert!(stretch.plan.transactions > 400, "{stretch:?}");
        let replayed = case.replay(Arc::new(case.log()), &stretch, Begin::Fresh).unwrap();
        assert_eq!(replayed.transactions, stretch.plan.transactions);
        assert_eq!(replayed.refused, []);
        case.no_trace();
        case.equal();
    }
);
