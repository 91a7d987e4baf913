//! What Prometheus is told: the metrics of docs/metrics.md, whose names and labels are a contract with the
//! alert rules.

use std::sync::atomic::AtomicU64;

use jiff::{SignedDuration, Timestamp};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::report::status::{Past, Status};
use crate::store::keys::DrillLevel;

/// The media type of the page.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The verbs whose runs are told.
const VERBS: [&str; 4] = ["backup", "verify", "restore", "prune"];

/// The notifiers that are told of.
const NOTIFIERS: [&str; 5] = [
    "webhook",
    "alertmanager",
    "slack",
    "heartbeat-backup",
    "heartbeat-verify",
];

/// The most stages of a report that are told: reports come from the store, where others can write.
const MAX_STAGES: usize = 32;

/// Labels and a value.
type Sample = (Vec<(&'static str, String)>, f64);

/// The page in the text format of OpenMetrics.
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
        "drctl_catalog_last_scan_timestamp_seconds",
        "When the store was last read without a failure; 0 until it was",
        Some(status.scanned_at.map_or(0.0, time)),
    );
    if status.scanned_at.is_some() {
        let past = &status.past;
        backups(past, &mut page);
        drills(past, &mut page);
        runs(past, &mut page);
        page.one(
            "drctl_rpo_worst_seconds",
            "The worst gap of the last 30 days, from a snapshot to the commit of the next backup or to now",
            status.rpo().worst.map(|gap| seconds(gap.length())),
        );
    }
    page.text()
}

fn schedules(status: &Status, page: &mut Page) {
    // Retention has no alert that would need its schedule.
    let plans = || status.plans.iter().filter(|plan| plan.task != "prune");
    let of = |task: &str, value: f64| (vec![("task", task.to_owned())], value);
    page.put(
        "drctl_schedule_interval_seconds",
        "The largest gap between two runs of a schedule",
        plans().filter_map(|plan| Some(of(plan.task, seconds(plan.interval?)))),
    );
    page.put(
        "drctl_schedule_next_timestamp_seconds",
        "The next run of a schedule",
        plans().filter_map(|plan| Some(of(plan.task, time(plan.next?)))),
    );
}

fn objectives(status: &Status, page: &mut Page) {
    let objectives = status.objectives();
    for (name, help, declared) in [
        (
            "drctl_rpo_objective_seconds",
            "The declared recovery point objective",
            objectives.rpo,
        ),
        (
            "drctl_proven_rpo_objective_seconds",
            "The objective for the age of proven data",
            objectives.proven_rpo,
        ),
        (
            "drctl_rto_objective_seconds",
            "The declared recovery time objective",
            objectives.rto,
        ),
    ] {
        page.one(name, help, declared.map(seconds));
    }
}

fn backups(past: &Past, page: &mut Page) {
    page.one(
        "drctl_target_created_timestamp_seconds",
        "Since when the target is known",
        past.known_since.map(time),
    );
    let (trusted, suspect) = past.counts();
    let states = [
        ("trusted", trusted),
        ("suspect", suspect),
        ("damaged", past.damaged.len()),
    ];
    page.put(
        "drctl_backups",
        "Committed backups",
        states.map(|(state, count)| (vec![("state", state.to_owned())], count as f64)),
    );
    let newest = past.newest_trusted();
    page.one(
        "drctl_backup_last_success_timestamp_seconds",
        "When the newest trusted backup was committed",
        newest.map(|backup| time(backup.committed_at)),
    );
    page.one(
        "drctl_backup_snapshot_timestamp_seconds",
        "The snapshot of the newest trusted backup",
        newest.map(|backup| time(backup.snapshot_at)),
    );
    page.one(
        "drctl_backup_suspect",
        "Suspect backups that are newer than the newest trusted one",
        Some(past.suspects().count() as f64),
    );
    let last = past.last_committed();
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
        "From the start of the newest committed backup to its commit",
        last.map(|backup| seconds(backup.committed_at.duration_since(backup.started_at))),
    );
    page.one(
        "drctl_proven_snapshot_timestamp_seconds",
        "The snapshot of the newest backup that a restore has proven",
        past.newest_proven().map(|backup| time(backup.snapshot_at)),
    );
}

fn drills(past: &Past, page: &mut Page) {
    let each = |value: &dyn Fn(DrillLevel) -> Option<f64>| -> Vec<Sample> {
        let levels = [DrillLevel::Restore, DrillLevel::Archive].into_iter();
        let of = |level: DrillLevel| vec![("level", level.as_str().to_owned())];
        levels
            .filter_map(|level| Some((of(level), value(level)?)))
            .collect()
    };
    page.put(
        "drctl_verify_last_result",
        "The last drill: 1 where the data were right",
        each(&|level| {
            let drill = past.last_drill(level)?;
            Some(f64::from(u8::from(drill.is_good())))
        }),
    );
    page.put(
        "drctl_verify_last_timestamp_seconds",
        "When the last drill ended",
        each(&|level| Some(time(past.last_drill(level)?.name.time))),
    );
    page.put(
        "drctl_verify_last_success_timestamp_seconds",
        "When the last drill ended in which the data were right",
        each(&|level| Some(time(past.last_good_drill(level)?.name.time))),
    );
    let mut samples: Vec<Sample> = Vec::new();
    for durations in past.durations() {
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
        "How long a restore takes, by stage",
        samples,
    );
}

fn runs(past: &Past, page: &mut Page) {
    let last = || VERBS.iter().filter_map(|verb| past.last_run(verb));
    let of = |verb: &str| vec![("verb", verb.to_owned())];
    page.put(
        "drctl_run_last_exit_code",
        "The exit code of the last run that was neither cancelled nor gave way",
        last().map(|run| (of(&run.verb), f64::from(run.exit))),
    );
    page.put(
        "drctl_run_last_timestamp_seconds",
        "When that run ended",
        last().map(|run| (of(&run.verb), time(run.time))),
    );
    let notifiers = past.notifiers().into_iter();
    let known = notifiers.filter(|(name, _)| NOTIFIERS.contains(name));
    page.put(
        "drctl_notify_last_result",
        "Whether the last run that had to tell a notifier something could",
        known.map(|(name, told)| {
            let labels = vec![("notifier", name.to_owned())];
            (labels, f64::from(u8::from(told)))
        }),
    );
}

/// Whether a stage is called as stages are.
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

/// The page in the making.
struct Page {
    /// What is on it.
    registry: Registry,
    /// The label of everything.
    target: String,
}

impl Page {
    /// One value for the target, where there is one.
    fn one(&mut self, name: &'static str, help: &str, value: Option<f64>) {
        self.put(name, help, value.map(|value| (Vec::new(), value)));
    }

    /// As many as there are; none leave the metric out.
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
        // Writing to a text does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
