//! What is wrong, and what the page says of it.

use jiff::SignedDuration;

use super::model::Profile;
use super::problems::{late_backup, late_drill, problems};
use super::status::Status;
use super::status_fixture::{ago, backup, drill, good, hours, now, runbooks, with};
use super::status_page::page;
use crate::store::keys::DrillVerdict;

#[test]
fn all_that_is_well_is_no_problem() {
    assert_eq!(problems(&good()), []);
    assert!(page(&good()).contains("All is well."));
}

#[test]
fn what_is_late_is_told_after_two_intervals_and_not_before() {
    let last_at = |h| {
        with(|past| {
            past.backups = vec![backup(h)];
            past.drills = vec![drill(h, Profile::Relaxed, DrillVerdict::Pass, 1.0)];
        })
    };
    // Committed ten minutes behind their snapshots.
    assert_eq!(late_backup(&last_at(48)), None);
    assert!(late_backup(&last_at(49)).is_some());
    assert_eq!(late_drill(&last_at(48)), None);
    assert!(late_drill(&last_at(49)).is_some());
    let found = runbooks(&last_at(49));
    assert!(found.contains(&"DrctlBackupOverdue") && found.contains(&"DrctlVerifyOverdue"));
    let never = with(|past| past.backups.clear());
    assert_eq!(runbooks(&never)[0], "DrctlBackupNeverSucceeded");
    // Nothing to prove yet.
    assert_eq!(late_drill(&never), None);
    let unscheduled = Status {
        plans: Vec::new(),
        ..last_at(49)
    };
    assert_eq!(late_backup(&unscheduled), None);
}

#[test]
fn a_missed_objective_is_told_by_what_missed_it() {
    let mut status = good();
    status.declared.rpo = Some(hours(9));
    assert_eq!(runbooks(&status), ["DrctlRpoBreached"]);
    // The newest is fresh; the gap before it was not.
    status.declared.rpo = Some(hours(20));
    assert_eq!(runbooks(&status), ["DrctlRpoGap"]);
    let mut status = good();
    status.declared.rto = Some(SignedDuration::from_secs(199));
    assert_eq!(runbooks(&status), ["DrctlRtoBreached"]);
    let mut status = good();
    status.declared.proven_rpo = Some(hours(9));
    assert_eq!(runbooks(&status), ["DrctlProvenRpoBreached"]);
}

#[test]
fn a_store_that_cannot_be_read_is_told_and_in_the_end_not_ready() {
    let failing = |seconds| Status {
        scanned_at: Some(now() - SignedDuration::from_secs(seconds)),
        failing: Some("list s3://bucket: no answer".into()),
        ..good()
    };
    assert_eq!(runbooks(&failing(60)), ["DrctlStoreUnreachable"]);
    assert!(failing(900).is_ready() && !failing(901).is_ready());
    assert!(page(&failing(60)).contains("no answer"));
}

#[test]
fn runbooks_are_linked_where_they_are_published_and_named_elsewhere() {
    let mut status = with(|past| past.last_runs[0].exit = 4);
    let link = "<a href=\"https://example.com/runbooks/DrctlBackupFailed.md\">";
    assert!(page(&status).contains(link));
    status.runbooks = "runbooks/".into();
    assert!(page(&status).contains("<code>runbooks/DrctlBackupFailed.md</code>"));
    status.runbooks = "javascript:alert(1)".into();
    assert!(!page(&status).contains("href=\"javascript"));
}

#[test]
fn a_prune_that_failed_is_told_until_one_succeeds() {
    let last = |exit| {
        with(|past| {
            let mut runs = past.last_runs.iter_mut();
            runs.find(|run| run.verb == "prune").unwrap().exit = exit;
        })
    };
    assert_eq!(runbooks(&last(9)), ["DrctlPruneFailed"]);
    assert_eq!(runbooks(&last(0)), [""; 0]);
}

#[test]
fn a_backup_that_nothing_has_proven_is_not_called_well() {
    let status = with(|past| {
        past.drills.clear();
        past.backups[0].proven_at = None;
        past.known_since = Some(ago(5));
    });
    assert_eq!(problems(&status), []);
    assert!(page(&status).contains("No backup is proven yet."));
}
