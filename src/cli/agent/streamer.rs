//! The streamer of an agent: a process of its own that is started again whenever it ends, until the agent is stopped.
//!
//! A streamer waits for a store or a server that is away by itself. It ends where a person has to decide, so that the
//! pauses between its starts grow. Its failures are recorded and notified as those of the scheduled tasks are; that it
//! recovered is only said once the store shows that more was archived.

use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::process::Child;

use super::{FIRST_PAUSE, GRACE, LONGEST_PAUSE, spawn, wait_until};
use crate::catalog::history::RunRecord;
use crate::cli::args::GlobalArgs;
use crate::cli::context::Context;
use crate::cli::ended::ended;
use crate::monitor::notify::Task;
use crate::stream::objects;
use crate::util::error::{Error, Outcome, Result};
use crate::util::pdeathsig;
use crate::util::times::after;

/// The verb.
const VERB: &str = "stream";

/// How often the store is asked whether a streamer that had failed archives again.
const LOOK: Duration = Duration::from_secs(20);

/// Runs the streamer until the agent is stopped.
pub(super) async fn keep(context: &Context, global: &GlobalArgs, program: &Path) {
    let mut pause = FIRST_PAUSE;
    let mut failed_at = None;
    loop {
        let begun = Timestamp::now();
        let run = async {
            let mut child = spawn(global, program, VERB, &[])?;
            tracing::info!(task = VERB, "started");
            wait(context, &mut child, &mut failed_at).await
        };
        let outcome = run.await;
        if context.cancel.is_cancelled() {
            return;
        }
        let error = match outcome {
            Ok(status) => ended_with(status),
            Err(error) => error,
        };
        let now = Timestamp::now();
        // One that ran for long failed for another reason than the one before.
        if now.duration_since(begun) > LONGEST_PAUSE {
            pause = FIRST_PAUSE;
        }
        let at = after(now, pause);
        tracing::warn!(task = VERB, %error, %at, "the streamer ended; it is started again");
        let record = RunRecord::ends(VERB, begun, None, Some(&error));
        ended(context, Task::Stream, error.outcome(), record).await;
        failed_at.get_or_insert(now);
        if !wait_until(context, at).await {
            return;
        }
        pause = next_pause(pause);
    }
}

fn next_pause(pause: SignedDuration) -> SignedDuration {
    pause.saturating_mul(2).min(LONGEST_PAUSE)
}

/// Waits for the end of the process, and reports that a failure before it is over.
async fn wait(
    context: &Context,
    child: &mut Child,
    failed_at: &mut Option<Timestamp>,
) -> Result<ExitStatus> {
    let lost = |e| Error::unexpected("cannot wait for drctl stream").because(e);
    let begun = Timestamp::now();
    loop {
        tokio::select! {
            status = child.wait() => return status.map_err(lost),
            () = context.cancel.token().cancelled() => {
                return pdeathsig::end(child, GRACE).await.map_err(lost);
            }
            () = tokio::time::sleep(LOOK), if failed_at.is_some() => {}
        }
        let head = objects::head(&context.store, &context.config.target);
        let covered = match context.cancel.unless(head).await {
            Ok(head) => head.and_then(|head| head.covered_until),
            // The streamer meets the same, and says so.
            Err(_) => None,
        };
        if covered > *failed_at {
            let record = RunRecord::ends(VERB, begun, None, None);
            ended(context, Task::Stream, Outcome::Done, record).await;
            *failed_at = None;
        }
    }
}

/// A streamer never ends by itself without a reason.
fn ended_with(status: ExitStatus) -> Error {
    let known = status.code().and_then(Outcome::of_code);
    let why = known.map_or("it was killed", Outcome::meaning);
    let outcome = match known {
        None | Some(Outcome::Done) => Outcome::Unexpected,
        Some(other) => other,
    };
    Error::new(outcome, format!("drctl stream ended ({status}): {why}"))
        .hint("see its last line in the log of the agent; the binary log is not archived meanwhile")
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn the_end_of_a_streamer_is_a_failure_with_the_outcome_of_its_exit_code() {
        let of = |raw: i32| ended_with(ExitStatus::from_raw(raw)).outcome();
        assert_eq!(of(4 << 8), Outcome::Source);
        assert_eq!(of(11 << 8), Outcome::Locked);
        assert_eq!((of(0), of(9)), (Outcome::Unexpected, Outcome::Unexpected));
    }

    #[test]
    fn pauses_grow_to_half_an_hour() {
        let mut pause = FIRST_PAUSE;
        for _ in 0..20 {
            pause = next_pause(pause);
        }
        assert_eq!(pause, LONGEST_PAUSE);
    }
}
