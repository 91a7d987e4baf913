//! Prometheus metrics, as in docs/metrics.md; names and labels are a contract with the alert rules.

use std::sync::atomic::AtomicU64;

use jiff::{SignedDuration, Timestamp};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::binlog::record::Reason;
use crate::copy::glance::CopyGlance;
use crate::layout::DrillLevel;
use crate::monitor::standby::State;
use crate::monitor::status::{Scan, Status};
use crate::stream::glance::Glance;

/// The media type of the page.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Verbs whose last runs are exported.
const VERBS: [&str; 4] = ["backup", "verify", "restore", "prune"];

/// Notifiers whose delivery is exported.
const NOTIFIERS: [&str; 5] = [
    "webhook",
    "alertmanager",
    "slack",
    "heartbeat-backup",
    "heartbeat-verify",
];

/// Maximum number of stages exported per report: a report in the store may have been written by another
/// party.
const MAX_STAGES: usize = 32;

/// Labels and a value.
type Sample = (Vec<(&'static str, String)>, f64);

/// Renders the metrics in the OpenMetrics text format.
pub fn text(status: &Status) -> String {
    let mut page = Page {
        registry: Registry::default(),
        target: status.target.to_string(),
    };
    let build = Family::<Vec<(&'static str, String)>, Value>::default();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    build.get_or_create(&vec![("version", version)]).set(1.0);
    page.registry
        .register("drctl_build_info", "drctl serve is alive", build);
    schedules(status, &mut page);
    objectives(status, &mut page);
    page.one(
        "drctl_stream_cut_seconds",
        "Maximum time for which a commit waits until it is archived, if a streamer is configured",
        status.cut.map(seconds),
    );
    page.one(
        "drctl_standby_lag_objective_seconds",
        "Maximum lag of a standby, if one is configured",
        status.standby_lag.map(seconds),
    );
    page.one(
        "drctl_identity_drill_objective_seconds",
        "Maximum time without a drill with the identity of each recipient, if one is configured",
        status.identity_drill.map(seconds),
    );
    page.one(
        "drctl_catalog_last_scan_timestamp_seconds",
        "Last successful scan of the store; 0 before the first",
        Some(status.scanned_at.map_or(0.0, time)),
    );
    if status.scanned_at.is_some() {
        let scan = &status.scan;
        backups(scan, &mut page);
        drills(scan, &mut page);
        runs(scan, &mut page);
        page.one(
            "drctl_recovery_point_timestamp_seconds",
            "Up to when the data can be restored: the newest usable snapshot, or the end of the log behind a backup",
            status.recovery_point().map(time),
        );
        page.one(
            "drctl_rpo_worst_seconds",
            "Worst gap of the last 30 days: from a snapshot to the commit of the next usable backup, or to now, without what the log covered",
            status.rpo().worst.map(|gap| seconds(gap.length())),
        );
        if let Some(archived) = &scan.log {
            log(archived, status.now, &mut page);
        }
        if let Some(second) = &scan.copy {
            copy(second, &mut page);
        }
        standbys(status, &mut page);
        page.put(
            "drctl_identity_drilled_timestamp_seconds",
            "When a drill last used the identity of a recipient of the newest backup; of one that never was, when backups \
             were first encrypted to it",
            scan.identities()
                .into_iter()
                .map(|one| (vec![("recipient", one.recipient)], time(one.since))),
        );
    }
    page.text()
}

fn schedules(status: &Status, page: &mut Page) {
    // No alert depends on retention's schedule.
    let tasks = || status.tasks.iter().filter(|one| one.task != "prune");
    let of = |task: &str, value: f64| (vec![("task", task.to_owned())], value);
    page.put(
        "drctl_schedule_interval_seconds",
        "Largest gap between two runs of a schedule",
        tasks().filter_map(|one| Some(of(one.task, seconds(one.interval?)))),
    );
    page.put(
        "drctl_schedule_next_timestamp_seconds",
        "Next run of a schedule",
        tasks().filter_map(|one| Some(of(one.task, time(one.next?)))),
    );
}

fn objectives(status: &Status, page: &mut Page) {
    let objectives = status.objectives();
    for (name, help, declared) in [
        (
            "drctl_rpo_objective_seconds",
            "Declared recovery point objective",
            objectives.rpo,
        ),
        (
            "drctl_verified_rpo_objective_seconds",
            "Objective for the age of verified data",
            objectives.verified_rpo,
        ),
        (
            "drctl_rto_objective_seconds",
            "Declared recovery time objective",
            objectives.rto,
        ),
    ] {
        page.one(name, help, declared.map(seconds));
    }
}

fn log(log: &Glance, now: Timestamp, page: &mut Page) {
    let head = &log.head;
    page.one(
        "drctl_log_covered_until_timestamp_seconds",
        "Up to when every commit is in the archived log, by its heartbeat",
        head.covered_until.map(time),
    );
    page.one(
        "drctl_log_archived_commit_timestamp_seconds",
        "The latest commit in the archived log",
        head.commit_last.map(time),
    );
    page.one(
        "drctl_log_recoverable_from_timestamp_seconds",
        "Snapshot of the oldest usable backup behind which every moment can be restored",
        log.recoverable_from.map(time),
    );
    page.one(
        "drctl_log_gaps",
        "Gaps of the archived log in the last 30 days",
        Some(log.gaps(now).count() as f64),
    );
    let reasons = [
        Reason::First,
        Reason::Gap,
        Reason::Rewound,
        Reason::Failover,
        Reason::Signed,
    ];
    page.put(
        "drctl_log_timeline_timestamp_seconds",
        "When the newest timeline of the last 30 days began that has this reason",
        reasons.into_iter().filter_map(|reason| {
            let began = log.newest(reason, now)?.timeline.id.began();
            Some((vec![("reason", reason.to_string())], time(began)))
        }),
    );
    page.one(
        "drctl_log_expire_seconds",
        "For how long the server keeps its log",
        head.expire_seconds.map(|kept| kept as f64),
    );
    page.one(
        "drctl_stream_purge_margin_seconds",
        "Time until the server deletes log that is not archived",
        log.purge_margin(now).map(seconds),
    );
    page.one(
        "drctl_stream_lag_bytes",
        "Log that was not archived at the last heartbeat",
        Some(head.lag_bytes as f64),
    );
}

fn copy(copy: &CopyGlance, page: &mut Page) {
    let mut of_store = |name, help, value: Option<f64>| {
        let store = vec![("store", copy.store.clone())];
        page.put(name, help, value.map(|value| (store, value)));
    };
    of_store(
        "drctl_copy_readable",
        "Whether the second store was read by the last scan",
        Some(f64::from(u8::from(copy.failing.is_none()))),
    );
    of_store(
        "drctl_copy_snapshot_timestamp_seconds",
        "Snapshot of the newest usable backup in the second store",
        copy.snapshot_at.map(time),
    );
    of_store(
        "drctl_copy_covered_until_timestamp_seconds",
        "Up to when every commit can be restored from the log in the second store",
        copy.restorable_until.map(time),
    );
    of_store(
        "drctl_copy_recovery_point_timestamp_seconds",
        "Up to when the data can be restored from the second store alone",
        copy.recovery_point().map(time),
    );
    of_store(
        "drctl_copy_rpo_objective_seconds",
        "Maximum age of what can be restored from the second store",
        copy.objective.map(seconds),
    );
}

fn standbys(status: &Status, page: &mut Page) {
    let reports = || {
        let standbys = status.scan.standbys.iter();
        standbys.filter_map(|one| {
            let store = ("store", one.store.clone());
            Some((store, one.report.as_ref()?))
        })
    };
    let active = || reports().filter(|(_, report)| !report.is_promoted());
    page.put(
        "drctl_standby_state",
        "What the standby does: 1 for its state",
        reports().flat_map(|(store, report)| {
            State::ALL.map(|state| {
                let labels = vec![store.clone(), ("state", state.to_string())];
                (labels, f64::from(u8::from(report.state == state)))
            })
        }),
    );
    page.put(
        "drctl_standby_lag_seconds",
        "How far the standby is behind the commits of the primary",
        active()
            .filter_map(|(store, report)| Some((vec![store], seconds(report.lag(status.now)?)))),
    );
    page.put(
        "drctl_standby_report_timestamp_seconds",
        "When the standby last reported its state",
        reports().map(|(store, report)| (vec![store], time(report.written_at))),
    );
    page.put(
        "drctl_standby_failing_since_timestamp_seconds",
        "Since when the standby fails, or has a gap",
        active().filter_map(|(store, report)| Some((vec![store], time(report.failing_since()?)))),
    );
    page.put(
        "drctl_standby_compared_timestamp_seconds",
        "The last comparison of the standby with a backup",
        reports().filter_map(|(store, report)| {
            let compared = report.compared.as_ref()?;
            let result = if compared.equal { "equal" } else { "different" };
            Some((
                vec![store, ("result", result.to_owned())],
                time(compared.at),
            ))
        }),
    );
}

fn backups(scan: &Scan, page: &mut Page) {
    page.one(
        "drctl_target_created_timestamp_seconds",
        "When the target became known",
        scan.known_since.map(time),
    );
    let (usable, suspect) = scan.counts();
    let states = [
        ("usable", usable),
        ("suspect", suspect),
        ("damaged", scan.damaged.len()),
    ];
    page.put(
        "drctl_backups",
        "Committed backups",
        states.map(|(state, count)| (vec![("state", state.to_owned())], count as f64)),
    );
    let newest = scan.newest_usable();
    page.one(
        "drctl_backup_last_success_timestamp_seconds",
        "Commit of the newest usable backup",
        newest.map(|backup| time(backup.committed_at)),
    );
    page.one(
        "drctl_backup_snapshot_timestamp_seconds",
        "Snapshot of the newest usable backup",
        newest.map(|backup| time(backup.snapshot_at)),
    );
    page.one(
        "drctl_backup_suspect",
        "Suspect backups committed after the newest usable one",
        Some(scan.suspects().count() as f64),
    );
    let last = scan.last_committed();
    let sizes = last.map(|backup| [("raw", backup.raw_bytes), ("stored", backup.stored_bytes)]);
    page.put(
        "drctl_backup_last_size_bytes",
        "Size of the newest committed backup",
        sizes
            .into_iter()
            .flatten()
            .map(|(kind, bytes)| (vec![("kind", kind.to_owned())], bytes as f64)),
    );
    page.one(
        "drctl_backup_last_duration_seconds",
        "Duration of the newest committed backup",
        last.map(|backup| seconds(backup.committed_at.duration_since(backup.started_at))),
    );
    page.one(
        "drctl_verified_snapshot_timestamp_seconds",
        "Snapshot of the newest verified backup",
        scan.newest_verified()
            .map(|backup| time(backup.snapshot_at)),
    );
}

fn drills(scan: &Scan, page: &mut Page) {
    let each = |value: &dyn Fn(DrillLevel) -> Option<f64>| -> Vec<Sample> {
        let levels = DrillLevel::ALL.into_iter();
        let of = |level: DrillLevel| vec![("level", level.as_str().to_owned())];
        levels
            .filter_map(|level| Some((of(level), value(level)?)))
            .collect()
    };
    page.put(
        "drctl_verify_last_result",
        "Result of the last drill: 1 if the data were right",
        each(&|level| {
            let drill = scan.last_drill(level)?;
            Some(f64::from(u8::from(drill.is_good())))
        }),
    );
    page.put(
        "drctl_verify_last_timestamp_seconds",
        "End of the last drill",
        each(&|level| Some(time(scan.last_drill(level)?.name.time))),
    );
    page.put(
        "drctl_verify_last_success_timestamp_seconds",
        "End of the last drill with result 1",
        each(&|level| Some(time(scan.last_good_drill(level)?.name.time))),
    );
    page.one(
        "drctl_pitr_proven_until_timestamp_seconds",
        "Snapshot of the newest backup that an earlier one and the binary log behind it were found equal to",
        scan.log_verified_until().map(time),
    );
    let mut samples: Vec<Sample> = Vec::new();
    for durations in scan.durations() {
        let of = |stage: &str| {
            let profile = durations.profile.to_owned();
            vec![("stage", stage.to_owned()), ("profile", profile)]
        };
        let stages = durations.stages.iter().filter(|stage| is_word(&stage.name));
        samples.extend(
            stages
                .take(MAX_STAGES)
                .map(|stage| (of(&stage.name), stage.seconds)),
        );
        samples.push((of("total"), durations.total));
    }
    page.put(
        "drctl_restore_duration_seconds",
        "Duration of a restore, by stage",
        samples,
    );
}

fn runs(scan: &Scan, page: &mut Page) {
    let last = || VERBS.iter().filter_map(|verb| scan.last_run(verb));
    let of = |verb: &str| vec![("verb", verb.to_owned())];
    page.put(
        "drctl_run_last_exit_code",
        "Exit code of the last run that was neither cancelled nor locked out",
        last().map(|run| (of(&run.verb), f64::from(run.exit))),
    );
    page.put(
        "drctl_run_last_timestamp_seconds",
        "End of that run",
        last().map(|run| (of(&run.verb), time(run.time))),
    );
    let notifiers = scan.notifiers().into_iter();
    let known = notifiers.filter(|(name, _)| NOTIFIERS.contains(name));
    page.put(
        "drctl_notify_last_result",
        "Whether the last notification was delivered",
        known.map(|(name, delivered)| {
            let labels = vec![("notifier", name.to_owned())];
            (labels, f64::from(u8::from(delivered)))
        }),
    );
}

/// Whether a stage's name is a valid label.
fn is_word(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c == '-';
    (1..=32).contains(&name.len()) && name.chars().all(fits) && name != "total"
}

fn time(time: Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1e3
}

fn seconds(span: SignedDuration) -> f64 {
    span.as_secs_f64()
}

/// A gauge of fractions.
type Value = Gauge<f64, AtomicU64>;

/// The page being rendered.
struct Page {
    /// Metrics of the page.
    registry: Registry,
    /// The target label, common to all metrics.
    target: String,
}

impl Page {
    /// Adds a metric with one value for the target; none if the value is `None`.
    fn one(&mut self, name: &'static str, help: &str, value: Option<f64>) {
        self.put(name, help, value.map(|value| (Vec::new(), value)));
    }

    /// Adds a metric with a number of samples; none if there are no samples.
    fn put(&mut self, name: &'static str, help: &str, samples: impl IntoIterator<Item = Sample>) {
        let family = Family::<Vec<(&'static str, String)>, Value>::default();
        for (labels, value) in samples {
            let mut all = vec![("target", self.target.clone())];
            all.extend(labels);
            family.get_or_create(&all).set(value);
        }
        self.registry.register(name, help, family);
    }

    fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
