//! `drctl agent`: runs backups, drills, retention and copies on schedule in one process, for hosts without
//! Kubernetes, and the [`streamer`] if one is configured.
//!
//! Each run is a separate drctl process, so that its memory and crashes end with it and its exit code is
//! that of the command. A task never overlaps itself: a scheduled time during a run is skipped and logged.
//! Times missed while no agent ran, or while the host was suspended, are caught up with one run at once and
//! reported as overdue. A run that failed for a transient reason is retried with growing pauses until its
//! next scheduled time is near. The run records in the store show when each task last ran, so a restart
//! loses nothing.

mod streamer;

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use tokio::process::{Child, Command};

use crate::catalog::history::{self, RunRecord};
use crate::cli::args::GlobalArgs;
use crate::cli::context::Context;
use crate::cli::ended::ended;
use crate::copy::ends::of_second;
use crate::monitor::notify::{self, Event, Kind, Task};
use crate::objectives::schedule::Schedule;
use crate::store::{self, Store};
use crate::util::error::{Error, Outcome, Result};
use crate::util::pdeathsig;
use crate::util::times::{after, before};

/// Interval at which the wall clock is read: it may be set, and the host may be suspended.
const CLOCK_INTERVAL: Duration = Duration::from_secs(20);

/// Time for a stopped run to end: less than the usual 30 s before SIGKILL.
const GRACE: Duration = Duration::from_secs(25);

/// A run that begins this long after its scheduled time shows that the agent or its host was suspended.
const SUSPENDED_AFTER: SignedDuration = SignedDuration::from_secs(30);

/// Pause before the first retry of a transient failure; doubled for each further one.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(15);

/// Longest pause between retries.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(1800);

/// Maximum number of missed times counted.
const MOST_COUNTED: usize = 1000;

/// One scheduled task.
struct Job<'a> {
    /// The command.
    verb: &'static str,
    /// Further arguments.
    args: &'static [&'static str],
    /// Its schedule.
    schedule: &'a Schedule,
    /// The task in notifications; `None` if it has none.
    task: Option<Task>,
    /// With the store that has its run records.
    context: Context,
}

/// Runs the schedules until stopped by a signal, which is not a failure.
pub async fn run(context: &Context, global: &GlobalArgs) -> Result<()> {
    let schedule = &context.config.schedule;
    let second = match &schedule.copy {
        Some(_) => Some(second_store(context).await?),
        None => None,
    };
    let all = [
        ("backup", &[][..], &schedule.backup, Some(Task::Backup)),
        (
            "verify",
            &["--latest"],
            &schedule.verify,
            Some(Task::Verify),
        ),
        ("prune", &[], &schedule.prune, None),
        ("copy", &["--once"], &schedule.copy, Some(Task::Copy)),
    ];
    let jobs: Vec<Job> = all
        .into_iter()
        .filter_map(|(verb, args, schedule, task)| {
            let schedule = schedule.as_ref()?;
            let store = second.as_ref().filter(|_| task == Some(Task::Copy));
            Some(Job {
                context: Context {
                    config: context.config.clone(),
                    store: store.unwrap_or(&context.store).clone(),
                    output: context.output,
                    cancel: context.cancel.clone(),
                },
                verb,
                args,
                schedule,
                task,
            })
        })
        .collect();
    let streams = context.config.stream.is_configured();
    if jobs.is_empty() && !streams {
        return Err(Error::usage("nothing is scheduled").hint(
            "set schedule.backup, schedule.verify, schedule.prune or schedule.copy, or stream.cut_seconds",
        ));
    }
    let program = std::env::current_exe()
        .map_err(|e| Error::unexpected("cannot determine the path of drctl").because(e))?;
    let scheduled = join_all(
        jobs.iter()
            .map(|job| run_on_schedule(&job.context, global, &program, job)),
    );
    let streaming = async {
        if streams {
            streamer::keep(context, global, &program).await;
        }
    };
    tokio::join!(scheduled, streaming);
    tracing::info!("stopped");
    Ok(())
}

/// The second store, which has the records of `copy`.
async fn second_store(context: &Context) -> Result<Arc<dyn Store>> {
    let Some(second) = &context.config.copy.store else {
        return Err(
            Error::usage("schedule.copy is set, and no second store is configured")
                .hint("set copy.to to s3://bucket/prefix or file:///dir"),
        );
    };
    let opened = store::open(second, context.keys()?);
    context.cancel.unless(opened).await.map_err(of_second)
}

/// Runs one job on schedule until the agent is stopped.
async fn run_on_schedule(context: &Context, global: &GlobalArgs, program: &Path, job: &Job<'_>) {
    let mut due = match count_missed(context, job).await {
        0 => job.schedule.next(Timestamp::now()),
        count => {
            report_missed(context, job, count, "while no agent ran").await;
            Some(Timestamp::now())
        }
    };
    // Number of consecutive transient failures.
    let mut failures = 0;
    while let Some(time) = due {
        tracing::info!(task = job.verb, at = %time, "next");
        if !wait_until(context, time).await {
            return;
        }
        let begun = Timestamp::now();
        if begun.duration_since(time) > SUSPENDED_AFTER {
            let scheduled = usize::from(failures == 0);
            let count = scheduled.saturating_add(passed(job.schedule, time, begun));
            report_missed(
                context,
                job,
                count,
                "while the agent or its host was suspended",
            )
            .await;
        }
        let ended = execute(context, global, program, job).await;
        if context.cancel.is_cancelled() {
            return;
        }
        let is_transient = match ended {
            Ok(status) if status.success() => {
                tracing::info!(task = job.verb, "done");
                false
            }
            Ok(status) => {
                tracing::warn!(task = job.verb, %status, "run failed; see its last line above");
                is_transient(status)
            }
            Err(error) => {
                report_not_started(context, job, begun, error).await;
                true
            }
        };
        let now = Timestamp::now();
        let next = job.schedule.next(now);
        let retry = is_transient.then(|| retry_at(failures, now.duration_since(begun), now, next));
        due = match retry.flatten() {
            Some(at) => {
                failures += 1;
                tracing::warn!(task = job.verb, %at, failures, "retry scheduled");
                Some(at)
            }
            None => {
                failures = 0;
                next
            }
        };
    }
}

/// Whether a later run may succeed: the outcome is transient, or the process was killed.
fn is_transient(status: ExitStatus) -> bool {
    match status.code() {
        Some(code) => Outcome::of_code(code).is_some_and(Outcome::is_transient),
        None => true,
    }
}

/// Time of the retry after `failures` further failures; `None` if the next scheduled run is so near that
/// the retry could still be running then.
fn retry_at(
    failures: u32,
    took: SignedDuration,
    now: Timestamp,
    next: Option<Timestamp>,
) -> Option<Timestamp> {
    let factor = 1_i32.checked_shl(failures).filter(|factor| *factor > 0);
    let pause = FIRST_PAUSE.saturating_mul(factor.unwrap_or(i32::MAX));
    let pause = pause.min(LONGEST_PAUSE);
    let at = after(now, pause);
    let near = next.map(|next| before(next, took.max(pause)));
    near.is_none_or(|near| at < near).then_some(at)
}

/// Number of scheduled times after `from`, up to now.
fn passed(schedule: &Schedule, from: Timestamp, now: Timestamp) -> usize {
    let passed = schedule.runs(from).take_while(|time| *time <= now);
    passed.take(MOST_COUNTED).count()
}

/// Reports a run that could not be started: it sends no notification and leaves no record of its own.
async fn report_not_started(context: &Context, job: &Job<'_>, begun: Timestamp, error: Error) {
    tracing::error!(task = job.verb, %error, "cannot start the run");
    let record = RunRecord::ends(job.verb, begun, None, Some(&error));
    match job.task {
        Some(task) => ended(context, task, error.outcome(), record).await,
        None => history::record(&context.store, &context.config.target, &record).await,
    }
}

/// Number of scheduled times since the last recorded run; 0 if there is no record, as with a new target.
async fn count_missed(context: &Context, job: &Job<'_>) -> usize {
    let last = history::last(&context.store, &context.config.target, job.verb);
    match context.cancel.unless(last).await {
        Ok(Some(last)) => passed(job.schedule, last, Timestamp::now()),
        Ok(None) => 0,
        Err(error) => {
            tracing::warn!(task = job.verb, %error, "cannot determine whether a run was missed");
            0
        }
    }
}

/// Reports missed runs in the log and to the notifiers.
async fn report_missed(context: &Context, job: &Job<'_>, count: usize, why: &str) {
    let (runs, were) = match count {
        0 => return,
        1 => ("run", "was"),
        _ => ("runs", "were"),
    };
    let message = format!(
        "{count} scheduled {runs} of {} {were} missed {why}; running once now",
        job.verb
    );
    tracing::warn!(task = job.verb, message);
    if let Some(task) = job.task {
        let event = Event {
            kind: Kind::Late,
            test: false,
            target: context.config.target.clone(),
            task,
            outcome: Outcome::Done,
            backup: None,
            message,
            at: Timestamp::now(),
        };
        tokio::select! {
            _ = notify::deliver(&context.config.notify, &event) => {}
            () = context.cancel.token().cancelled() => {}
        }
    }
}

/// Waits until a wall-clock time; false if the agent is stopped.
async fn wait_until(context: &Context, time: Timestamp) -> bool {
    loop {
        let left = time.duration_since(Timestamp::now());
        let Ok(left) = Duration::try_from(left) else {
            return !context.cancel.is_cancelled();
        };
        if left.is_zero() {
            return !context.cancel.is_cancelled();
        }
        tokio::select! {
            () = tokio::time::sleep(left.min(CLOCK_INTERVAL)) => {}
            () = context.cancel.token().cancelled() => return false,
        }
    }
}

/// Starts a process of drctl.
fn spawn(global: &GlobalArgs, program: &Path, verb: &str, args: &[&str]) -> Result<Child> {
    let mut command = Command::new(program);
    command.args(passed_on(global)).arg(verb).args(args);
    // Ctrl-C must reach only the agent: a second signal would end the run without its cleanup.
    command.process_group(0);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command.spawn().map_err(|e| cannot_run(program, verb, e))
}

fn cannot_run(program: &Path, verb: &str, error: std::io::Error) -> Error {
    let what = format!("cannot run drctl {verb} from {}", program.display());
    Error::unexpected(what)
        .because(error)
        .hint("check that the file exists, and the limit of processes")
}

/// Executes one run.
async fn execute(
    context: &Context,
    global: &GlobalArgs,
    program: &Path,
    job: &Job<'_>,
) -> Result<ExitStatus> {
    let failed = |e| cannot_run(program, job.verb, e);
    let mut child = spawn(global, program, job.verb, job.args)?;
    let mut next = job.schedule.next(Timestamp::now());
    loop {
        let overtaken = async {
            match next {
                Some(time) => wait_until(context, time).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = child.wait() => return ended.map_err(failed),
            true = overtaken => {
                let now = Timestamp::now();
                let times = next.map_or(0, |next| passed(job.schedule, next, now)).saturating_add(1);
                tracing::warn!(task = job.verb, times, "previous run still in progress; skipping this one");
                next = job.schedule.next(now);
            }
            () = context.cancel.token().cancelled() => return pdeathsig::end(&mut child, GRACE).await.map_err(failed),
        }
    }
}

/// Global flags of the agent that its runs need, too; they inherit the environment.
fn passed_on(global: &GlobalArgs) -> Vec<std::ffi::OsString> {
    // Destructured, so that a new flag is not forgotten.
    let GlobalArgs {
        config,
        target,
        store,
        output: _,
        verbose,
    } = global;
    let mut args: Vec<std::ffi::OsString> = Vec::new();
    if let Some(config) = config {
        args.extend(["--config".into(), config.into()]);
    }
    for (flag, value) in [("--target", target), ("--store", store)] {
        if let Some(value) = value {
            args.extend([flag.into(), value.into()]);
        }
    }
    args.extend((0..*verbose).map(|_| "--verbose".into()));
    args
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn retries_back_off_until_the_next_scheduled_time_is_near() {
        let now: Timestamp = "2026-11-21T02:00:00Z".parse().unwrap();
        let in_seconds = |seconds| after(now, SignedDuration::from_secs(seconds));
        let took = SignedDuration::from_secs;
        let day = Some(in_seconds(86_400));
        let pauses: Vec<i64> = [0, 1, 2, 6, 7, 31, 32, u32::MAX]
            .map(|failures| {
                retry_at(failures, took(1), now, day)
                    .unwrap()
                    .duration_since(now)
                    .as_secs()
            })
            .to_vec();
        assert_eq!(pauses, [15, 30, 60, 960, 1800, 1800, 1800, 1800]);
        for (took_seconds, next, is) in [
            (1, 31, true),
            (1, 30, false),
            (1, 1, false),
            (600, 616, true),
            (600, 615, false),
        ] {
            let at = retry_at(0, took(took_seconds), now, Some(in_seconds(next)));
            assert_eq!(at.is_some(), is, "{took_seconds} {next}");
        }
        assert_eq!(retry_at(0, took(1), now, None), Some(in_seconds(15)));
        assert_eq!(retry_at(0, SignedDuration::MAX, now, day), None);
    }

    #[test]
    fn the_exit_code_decides_whether_a_failure_is_transient() {
        let ended = |code: i32| is_transient(ExitStatus::from_raw(code << 8));
        let pass: Vec<i32> = (0..=143).filter(|code| ended(*code)).collect();
        assert_eq!(pass, [4, 5, 10, 12]);
        assert!(is_transient(ExitStatus::from_raw(9)), "killed");
    }
}
