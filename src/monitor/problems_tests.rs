//! Tests of the problems and of the status page that shows them.

use std::sync::Arc;

use jiff::SignedDuration;

use crate::binlog::record::Reason;
use crate::copy::glance::CopyGlance;
use crate::layout::DrillVerdict;
use crate::monitor::problems::{overdue_backup, overdue_drill, problems};
use crate::monitor::report::model::Profile;
use crate::monitor::standby::{StandbyGlance, State};
use crate::monitor::status::Status;
use crate::monitor::status_fixture::{
    ago, backup, drill, good, hours, now, runbooks, standby, stood_by, streamed, timeline, with,
};
use crate::monitor::status_page::page;

#[test]
fn a_healthy_target_has_no_problems() {
    assert_eq!(problems(&good()), []);
    assert!(page(&good()).contains("No problems."));
}

#[test]
fn runs_are_overdue_after_two_intervals_and_not_before() {
    let last_at = |h| {
        with(|scan| {
            scan.backups = vec![backup(h)];
            scan.drills = vec![drill(h, Profile::Relaxed, DrillVerdict::Pass, 1.0)];
        })
    };
    // Committed ten minutes after their snapshots.
    assert_eq!(overdue_backup(&last_at(48)), None);
    assert!(overdue_backup(&last_at(49)).is_some());
    assert_eq!(overdue_drill(&last_at(48)), None);
    assert!(overdue_drill(&last_at(49)).is_some());
    let found = runbooks(&last_at(49));
    assert!(found.contains(&"DrctlBackupOverdue") && found.contains(&"DrctlVerifyOverdue"));
    let never = with(|scan| scan.backups.clear());
    assert_eq!(runbooks(&never)[0], "DrctlBackupNeverSucceeded");
    // No backup to verify yet.
    assert_eq!(overdue_drill(&never), None);
    let unscheduled = Status {
        tasks: Vec::new(),
        ..last_at(49)
    };
    assert_eq!(overdue_backup(&unscheduled), None);
}

#[test]
fn a_missed_objective_is_reported_by_its_cause() {
    let mut status = good();
    status.declared.rpo = Some(hours(9));
    assert_eq!(runbooks(&status), ["DrctlRpoBreached"]);
    // The newest backup is recent; the gap before it was too large.
    status.declared.rpo = Some(hours(20));
    assert_eq!(runbooks(&status), ["DrctlRpoGap"]);
    let mut status = good();
    status.declared.rto = Some(SignedDuration::from_secs(199));
    assert_eq!(runbooks(&status), ["DrctlRtoBreached"]);
    let mut status = good();
    status.declared.verified_rpo = Some(hours(9));
    assert_eq!(runbooks(&status), ["DrctlVerifiedRpoBreached"]);
}

#[test]
fn a_copy_that_is_behind_or_unreadable_is_reported() {
    let copied = |hours_ago, objective, failing: Option<&str>| {
        with(|scan| {
            scan.copy = Some(CopyGlance {
                store: "s3://vault".into(),
                snapshot_at: Some(ago(hours_ago)),
                objective: Some(hours(objective)),
                failing: failing.map(str::to_owned),
                ..CopyGlance::default()
            });
        })
    };
    assert_eq!(runbooks(&copied(10, 11, None)), Vec::<&str>::new());
    assert_eq!(runbooks(&copied(10, 9, None)), ["DrctlCopyBehind"]);
    assert_eq!(
        runbooks(&copied(10, 11, Some("no answer"))),
        ["DrctlCopyBehind"]
    );
    assert_eq!(
        runbooks(&copied(10, 9, Some("no answer"))),
        ["DrctlCopyBehind"]
    );
}

#[test]
fn a_standby_that_could_not_take_over_is_reported() {
    assert_eq!(runbooks(&stood_by(|_| {})), [""; 0]);
    let minutes_ago = |minutes| now() - SignedDuration::from_mins(minutes);
    let failing = |minutes, state| {
        stood_by(|report| {
            report.state = state;
            report.error = Some("no answer".into());
            report.failing_since = Some(minutes_ago(minutes));
        })
    };
    for state in [State::Failed, State::Gap, State::Following] {
        assert_eq!(runbooks(&failing(15, state)), [""; 0], "{state}");
        assert_eq!(runbooks(&failing(16, state)), ["DrctlStandbyBroken"]);
    }
    assert!(page(&failing(16, State::Gap)).contains("fails for 16 min: no answer"));
    assert_eq!(
        runbooks(&failing(16, State::Building)),
        [""; 0],
        "built anew"
    );
    let silent = |minutes| stood_by(|report| report.written_at = minutes_ago(minutes));
    assert_eq!(runbooks(&silent(10)), [""; 0]);
    assert_eq!(runbooks(&silent(11)), ["DrctlStandbyBroken"]);
    let ended = |minutes| {
        stood_by(|report| {
            report.state = State::Ended;
            report.written_at = minutes_ago(minutes);
            report.applied_until = Some(report.written_at);
        })
    };
    assert_eq!(runbooks(&ended(1)), [""; 0], "ended as asked");
    // Its lag goes on: one that should run is missed by it.
    assert_eq!(runbooks(&ended(11)), ["DrctlStandbyLate"]);
    let mut unread = silent(11);
    Arc::make_mut(&mut unread.scan).standbys[0].seen_at = minutes_ago(10);
    assert_eq!(runbooks(&unread), [""; 0], "the store is unreadable since");
    let different = |state| {
        stood_by(|report| {
            report.state = state;
            let compared = report.compared.as_mut().unwrap();
            (compared.equal, compared.differences) = (false, "1 object: shop.<b>t</b>".into());
        })
    };
    assert_eq!(
        runbooks(&different(State::Following)),
        ["DrctlStandbyBroken"]
    );
    assert!(page(&different(State::Following)).contains("shop.&lt;b&gt;t&lt;/b&gt;"));
    assert_eq!(runbooks(&different(State::Promoted)), [""; 0]);
}

#[test]
fn a_standby_that_is_late_or_missing_is_reported() {
    let behind = |seconds, state| {
        stood_by(|report| {
            report.state = state;
            report.applied_until = Some(now() - SignedDuration::from_secs(seconds));
        })
    };
    assert_eq!(runbooks(&behind(60, State::Following)), [""; 0]);
    assert_eq!(
        runbooks(&behind(61, State::Following)),
        ["DrctlStandbyLate"]
    );
    assert_eq!(runbooks(&behind(61, State::Failed)), ["DrctlStandbyLate"]);
    for state in [State::Waiting, State::Comparing, State::Promoted] {
        assert_eq!(runbooks(&behind(61, state)), [""; 0], "{state}");
    }
    let undeclared = Status {
        standby_lag: None,
        ..behind(61, State::Following)
    };
    assert_eq!(runbooks(&undeclared), [""; 0]);
    let mut missing = stood_by(|_| {});
    Arc::make_mut(&mut missing.scan).standbys.clear();
    assert_eq!(runbooks(&missing), ["DrctlStandbyBroken"]);
    missing.standby_lag = None;
    assert_eq!(runbooks(&missing), [""; 0]);
    let damaged = with(|scan| {
        scan.standbys = vec![StandbyGlance {
            report: None,
            damaged: Some("shop/standby.json cannot be read".into()),
            ..standby()
        }];
    });
    assert_eq!(runbooks(&damaged), ["DrctlStandbyBroken"]);
}

#[test]
fn the_page_has_a_line_for_the_standby() {
    let page = page(&stood_by(|_| {}));
    let line =
        "standby:3306 following, 5.0 s behind, equal to backup 20261121T020000Z-000001 9 h ago";
    assert!(page.contains(line), "{page}");
}

#[test]
fn an_unreadable_store_is_reported_and_finally_not_ready() {
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
fn published_runbooks_are_linked_and_others_named() {
    let mut status = with(|scan| scan.last_runs[0].exit = 4);
    let link = "<a href=\"https://example.com/runbooks/DrctlBackupFailed.md\">";
    assert!(page(&status).contains(link));
    status.runbooks = "runbooks/".into();
    assert!(page(&status).contains("<code>runbooks/DrctlBackupFailed.md</code>"));
    status.runbooks = "javascript:alert(1)".into();
    assert!(!page(&status).contains("href=\"javascript"));
}

#[test]
fn a_failed_prune_is_reported_until_one_succeeds() {
    let last = |exit| {
        with(|scan| {
            let mut runs = scan.last_runs.iter_mut();
            runs.find(|run| run.verb == "prune").unwrap().exit = exit;
        })
    };
    assert_eq!(runbooks(&last(9)), ["DrctlPruneFailed"]);
    assert_eq!(runbooks(&last(0)), [""; 0]);
}

#[test]
fn an_unverified_backup_is_not_reported_as_healthy() {
    let status = with(|scan| {
        scan.drills.clear();
        scan.backups[0].verified_at = None;
        scan.known_since = Some(ago(5));
    });
    assert_eq!(problems(&status), []);
    assert!(page(&status).contains("No backup is verified yet."));
}

#[test]
fn a_log_that_is_archived_has_no_problems_and_one_that_is_not_has() {
    assert_eq!(runbooks(&streamed(|_| {})), [""; 0]);
    // 26 hours and a minute.
    let behind = |minutes| {
        let status = streamed(|log| {
            log.head.covered_until = Some(now() - SignedDuration::from_mins(minutes));
            log.head.expire_seconds = None;
        });
        runbooks(&status)
    };
    assert_eq!(behind(26 * 60 + 1), [""; 0]);
    assert_eq!(behind(26 * 60 + 2), ["DrctlLogNotCovered"]);
    let never = Status {
        cut: Some(SignedDuration::from_secs(10)),
        ..good()
    };
    assert_eq!(runbooks(&never), ["DrctlLogNotCovered"]);
    let unread = Status {
        scanned_at: None,
        ..never
    };
    assert_eq!(runbooks(&unread), [""; 0], "not known yet");
    let mut no_objective = streamed(|log| log.head.covered_until = Some(ago(2)));
    no_objective.declared.rpo = None;
    assert_eq!(runbooks(&no_objective), ["DrctlLogNotCovered"]);
}

#[test]
fn a_gap_is_reported_until_a_backup_was_made_since_and_for_an_hour() {
    let gap = |h, reason| streamed(|log| log.timelines.push(timeline(h, reason)));
    // The newest backup is ten hours old.
    assert_eq!(runbooks(&gap(9, Reason::Gap)), ["DrctlLogGap"]);
    assert_eq!(runbooks(&gap(11, Reason::Gap)), [""; 0]);
    assert_eq!(runbooks(&gap(9, Reason::Failover)), [""; 0]);
    assert_eq!(
        runbooks(&gap(9, Reason::Rewound)),
        ["DrctlLogGap", "DrctlTimelineRewound"]
    );
    assert_eq!(
        runbooks(&gap(71, Reason::Rewound)),
        ["DrctlTimelineRewound"]
    );
    assert_eq!(runbooks(&gap(73, Reason::Rewound)), [""; 0]);
    let page = page(&gap(9, Reason::Gap));
    assert!(page.contains("1 gap in 30 days"), "{page}");
    assert!(page.contains("&lt;b&gt;was&lt;/b&gt; purged"), "{page}");
    let damaged = with(|scan| scan.log_damaged = Some("shop/log/head.json: no JSON".into()));
    assert_eq!(runbooks(&damaged), ["DrctlLogGap"]);
}

#[test]
fn log_near_its_deletion_is_a_warning_at_half_of_the_time_and_critical_in_the_end() {
    let kept = |seconds, hours| {
        let mut status = streamed(|log| {
            log.head.covered_until = Some(ago(hours));
            log.head.expire_seconds = Some(seconds);
        });
        status.declared.rpo = Some(crate::util::times::days(30));
        let found = problems(&status).into_iter();
        found
            .filter(|one| one.runbook == "DrctlLogPurgeNear")
            .map(|one| one.is_critical)
            .collect::<Vec<bool>>()
    };
    assert_eq!(kept(172_800, 24), [true; 0]);
    assert_eq!(kept(172_800, 25), [false]);
    assert_eq!(kept(172_800, 43), [true]);
    assert_eq!(kept(172_800, 50), [true]);
    assert_eq!(
        kept(21_600, 0),
        [true; 0],
        "a server that keeps its log for six hours only"
    );
}

#[test]
fn an_identity_that_no_drill_has_used_is_unproven() {
    let drilled = |hours_ago: Option<i64>| Status {
        identity_drill: Some(hours(3)),
        ..with(|scan| {
            for backup in &mut scan.backups {
                backup.recipients = vec!["age1safe".into()];
            }
            let mut reports = scan.drills.iter_mut().filter_map(|one| one.report.as_mut());
            let known = hours_ago.map(|hours_ago| ("age1safe".to_owned(), ago(hours_ago)));
            reports.next().unwrap().evidence.identities = known.into_iter().collect();
        })
    };
    assert_eq!(runbooks(&drilled(None)), ["DrctlIdentityUnproven"]);
    assert!(page(&drilled(None)).contains("has ever used the identity of age1safe"));
    assert_eq!(runbooks(&drilled(Some(4))), ["DrctlIdentityUnproven"]);
    assert_eq!(runbooks(&drilled(Some(2))), [""; 0]);
    let unchecked = Status {
        identity_drill: None,
        ..drilled(None)
    };
    assert_eq!(runbooks(&unchecked), [""; 0]);
}
