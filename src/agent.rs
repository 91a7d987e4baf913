//! `drctl agent`: backups, drills and retention at their times, in one process, where there is no
//! Kubernetes to do it.
//!
//! Each run is a drctl of its own, so that a run's memory and its misfortunes end with it, and its exit code
//! is what a script would see. A task never overlaps itself: a time that comes while its last run is still
//! at work is skipped, and said. Times that passed while no agent ran, or while it stood still with its machine,
//! are made good by one run at once, and told as late. A run that failed for a reason that passes is tried again,
//! later and later, until its next time is near. The records of runs in the store say when each task last ran, so
//! a restart forgets nothing.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use tokio::process::Command;

use crate::cli::GlobalArgs;
use crate::commands::ended::ended;
use crate::commands::run::Run;
use crate::error::{Error, Outcome, Result};
use crate::notify::{self, Event, Kind, Task};
use crate::objectives::schedule::Schedule;
use crate::runs::{self, RunRecord};
use crate::server::tie;
use crate::times::{after, before};

/// How often the wall clock is looked at: it may be set, and a machine may sleep.
const LOOK: Duration = Duration::from_secs(20);

/// How long a run that was told to stop may take: less than the half minute that is usual before SIGKILL.
const GRACE: Duration = Duration::from_secs(25);

/// How far the wall clock may be past a time when its run begins, before the agent counts as having stood still.
const STOOD_STILL: SignedDuration = SignedDuration::from_secs(30);

/// How long after a failure that passes the run is made again; twice as long after each further one.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(15);

/// The longest of those pauses.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(1800);

/// How many missed times are counted.
const MOST_COUNTED: usize = 1000;

/// Something that happens again and again.
struct Job<'a> {
    /// The command.
    verb: &'static str,
    /// What else it is told.
    args: &'static [&'static str],
    /// When.
    schedule: &'a Schedule,
    /// What notifiers call it, where they care.
    task: Option<Task>,
}

/// Runs what is scheduled until it is told to stop, which is no failure.
pub async fn run(run: &Run, global: &GlobalArgs) -> Result<()> {
    let schedule = &run.config.schedule;
    let all = [
        ("backup", &[][..], &schedule.backup, Some(Task::Backup)),
        (
            "verify",
            &["--latest"],
            &schedule.verify,
            Some(Task::Verify),
        ),
        ("prune", &[], &schedule.prune, None),
    ];
    let jobs: Vec<Job> = all
        .into_iter()
        .filter_map(|(verb, args, schedule, task)| {
            let schedule = schedule.as_ref()?;
            Some(Job {
                verb,
                args,
                schedule,
                task,
            })
        })
        .collect();
    if jobs.is_empty() {
        return Err(Error::usage("nothing is scheduled")
            .hint("set schedule.backup, schedule.verify or schedule.prune"));
    }
    let program = std::env::current_exe()
        .map_err(|e| Error::unexpected("cannot tell where drctl is").because(e))?;
    join_all(jobs.iter().map(|job| keep_time(run, global, &program, job))).await;
    tracing::info!("stopped");
    Ok(())
}

/// Runs one job at each of its times, until the agent is to stop.
async fn keep_time(run: &Run, global: &GlobalArgs, program: &Path, job: &Job<'_>) {
    let mut due = match missed(run, job).await {
        0 => job.schedule.next(Timestamp::now()),
        count => {
            late(run, job, count, "while no agent ran").await;
            Some(Timestamp::now())
        }
    };
    // How often in a row it failed for reasons that pass.
    let mut failures = 0;
    while let Some(time) = due {
        tracing::info!(task = job.verb, at = %time, "next");
        if !wait_until(run, time).await {
            return;
        }
        let begun = Timestamp::now();
        if begun.duration_since(time) > STOOD_STILL {
            let its_own = usize::from(failures == 0);
            let count = its_own.saturating_add(passed(job.schedule, time, begun));
            late(
                run,
                job,
                count,
                "while the agent or its machine stood still",
            )
            .await;
        }
        let ended = at_work(run, global, program, job).await;
        if run.cancel.is_cancelled() {
            return;
        }
        let may_pass = match ended {
            Ok(status) if status.success() => {
                tracing::info!(task = job.verb, "done");
                false
            }
            Ok(status) => {
                tracing::warn!(task = job.verb, %status, "failed; see its own last line above");
                may_pass(status)
            }
            Err(error) => {
                never_ran(run, job, begun, error).await;
                true
            }
        };
        let now = Timestamp::now();
        let next = job.schedule.next(now);
        let again = may_pass.then(|| again(failures, now.duration_since(begun), now, next));
        due = match again.flatten() {
            Some(at) => {
                failures += 1;
                tracing::warn!(task = job.verb, %at, failures, "it is tried again");
                Some(at)
            }
            None => {
                failures = 0;
                next
            }
        };
    }
}

/// Whether a run that ended so may succeed in a while: the outcomes that pass, and a process that was killed.
fn may_pass(status: ExitStatus) -> bool {
    let outcome = |code| Outcome::TABLE.iter().find(|row| i32::from(row.1) == code);
    match status.code() {
        Some(code) => outcome(code).is_some_and(|row| row.0.may_pass()),
        None => true,
    }
}

/// When a run is made again that failed after `failures` others; none where its next time is near, so near that
/// it could still be at work by then.
fn again(
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

/// How many times of a schedule have passed after one, up to now.
fn passed(schedule: &Schedule, from: Timestamp, now: Timestamp) -> usize {
    let passed = schedule.runs(from).take_while(|time| *time <= now);
    passed.take(MOST_COUNTED).count()
}

/// A run that could not be made tells nobody itself, and leaves no record.
async fn never_ran(run: &Run, job: &Job<'_>, begun: Timestamp, error: Error) {
    tracing::error!(task = job.verb, %error, "not run");
    let record = RunRecord::ends(job.verb, begun, None, Some(&error));
    match job.task {
        Some(task) => ended(run, task, error.outcome(), record).await,
        None => runs::record(&run.store, &run.config.target, &record).await,
    }
}

/// How many times have passed since the last run that the store knows of; none where there is none, as
/// with a new target.
async fn missed(run: &Run, job: &Job<'_>) -> usize {
    let last = runs::last(&run.store, &run.config.target, job.verb);
    match run.cancel.unless(last).await {
        Ok(Some(last)) => passed(job.schedule, last, Timestamp::now()),
        Ok(None) => 0,
        Err(error) => {
            tracing::warn!(task = job.verb, %error, "cannot tell whether a run was missed");
            0
        }
    }
}

/// Says that runs were missed, in the log and to whoever is told of late ones.
async fn late(run: &Run, job: &Job<'_>, count: usize, why: &str) {
    let (runs, were) = match count {
        0 => return,
        1 => ("run", "was"),
        _ => ("runs", "were"),
    };
    let message = format!(
        "{count} scheduled {runs} of {} {were} missed {why}; one is made now",
        job.verb
    );
    tracing::warn!(task = job.verb, message);
    if let Some(task) = job.task {
        let event = Event {
            kind: Kind::Late,
            test: false,
            target: run.config.target.clone(),
            task,
            outcome: Outcome::Done,
            backup: None,
            message,
            at: Timestamp::now(),
        };
        tokio::select! {
            _ = notify::tell(&run.config.notify, &event) => {}
            () = run.cancel.token().cancelled() => {}
        }
    }
}

/// Waits for a time of the wall clock; false where the agent is to stop.
async fn wait_until(run: &Run, time: Timestamp) -> bool {
    loop {
        let left = time.duration_since(Timestamp::now());
        let Ok(left) = Duration::try_from(left) else {
            return !run.cancel.is_cancelled();
        };
        if left.is_zero() {
            return !run.cancel.is_cancelled();
        }
        tokio::select! {
            () = tokio::time::sleep(left.min(LOOK)) => {}
            () = run.cancel.token().cancelled() => return false,
        }
    }
}

/// One run, from its start to its end.
async fn at_work(
    run: &Run,
    global: &GlobalArgs,
    program: &Path,
    job: &Job<'_>,
) -> Result<ExitStatus> {
    let mut command = Command::new(program);
    command.args(passed_on(global)).arg(job.verb).args(job.args);
    // A Ctrl-C is the agent's alone: a run that hears of it twice ends without tidying up.
    command.process_group(0);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let failed = |e| {
        let what = format!("cannot run drctl {} by {}", job.verb, program.display());
        Error::unexpected(what)
            .because(e)
            .hint("see whether it is still there, and how many processes there may be")
    };
    let mut child = command.spawn().map_err(failed)?;
    let mut next = job.schedule.next(Timestamp::now());
    loop {
        let overtaken = async {
            match next {
                Some(time) => wait_until(run, time).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = child.wait() => return ended.map_err(failed),
            true = overtaken => {
                let now = Timestamp::now();
                let times = next.map_or(0, |next| passed(job.schedule, next, now)).saturating_add(1);
                tracing::warn!(task = job.verb, times, "its time has come, and its last run is still at work: skipped");
                next = job.schedule.next(now);
            }
            () = run.cancel.token().cancelled() => return tie::end(&mut child, GRACE).await.map_err(failed),
        }
    }
}

/// The flags of the agent that its runs need, too; the environment is theirs anyway.
fn passed_on(global: &GlobalArgs) -> Vec<std::ffi::OsString> {
    // Taken apart, so that a new one is not forgotten.
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
    fn what_failed_is_tried_again_later_and_later_until_its_next_time_is_near() {
        let now: Timestamp = "2026-11-21T02:00:00Z".parse().unwrap();
        let in_seconds = |seconds| after(now, SignedDuration::from_secs(seconds));
        let took = SignedDuration::from_secs;
        let day = Some(in_seconds(86_400));
        let pauses: Vec<i64> = [0, 1, 2, 6, 7, 31, 32, u32::MAX]
            .map(|failures| {
                again(failures, took(1), now, day)
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
            let at = again(0, took(took_seconds), now, Some(in_seconds(next)));
            assert_eq!(at.is_some(), is, "{took_seconds} {next}");
        }
        assert_eq!(again(0, took(1), now, None), Some(in_seconds(15)));
        assert_eq!(again(0, SignedDuration::MAX, now, day), None);
    }

    #[test]
    fn what_passes_is_said_by_the_exit_code() {
        let ended = |code: i32| may_pass(ExitStatus::from_raw(code << 8));
        let pass: Vec<i32> = (0..=143).filter(|code| ended(*code)).collect();
        assert_eq!(pass, [4, 5, 10, 12]);
        assert!(may_pass(ExitStatus::from_raw(9)), "killed");
    }
}
