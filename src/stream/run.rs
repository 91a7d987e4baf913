//! Sessions, one after the other, until the streamer is stopped.

use std::time::Duration;

use crate::binlog::record::Reason;
use crate::mysql::connect::server_code;
use crate::stream::Streamer;
use crate::stream::session::{self, Before, Broken, Ended};
use crate::util::cancel::Cancel;
use crate::{Error, Outcome, Result};

/// Pauses between sessions that broke.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How many new timelines in a row may begin without an event archived between them.
const MOST_BROKEN: u32 = 3;

/// Archives the log until the streamer is stopped, or with `once` what there is now.
///
/// # Errors
/// `Locked`: another streamer runs. `Archive`: the log that came, or what is archived, is damaged. `Source`: what
/// waiting does not change, such as a missing privilege. With `once` also what might pass.
pub async fn run(streamer: &Streamer, cancel: &Cancel) -> Result<()> {
    let mut before = Before::default();
    let (mut pause, mut broken, mut conflicts) = (FIRST_PAUSE, 0, 0);
    loop {
        before.progress = false;
        let ended = session::run(streamer, &mut before, cancel).await;
        if before.progress {
            (pause, broken, conflicts) = (FIRST_PAUSE, 0, 0);
        }
        let error = match ended {
            Ok(Ended::Done) => return Ok(()),
            Ok(Ended::Shutdown) => {
                Error::source("the server ended the stream; it is shutting down").lost()
            }
            Ok(Ended::Broken(found)) => {
                broken += 1;
                if broken > MOST_BROKEN {
                    return Err(gives_up(&found));
                }
                before.broken = Some(found);
                continue;
            }
            // What was cut is stored: a signal is how a streamer ends.
            Err(error) if error.outcome().is_cancelled() => return Ok(()),
            Err(error) if cancel.is_cancelled() => return Err(error),
            Err(error) => error,
        };
        let conflict = error.outcome() == Outcome::Locked && before.lock.is_some();
        conflicts += u32::from(conflict);
        let again = match error.outcome() {
            // An object that this process sent before its connection broke; the next session sees it.
            Outcome::Locked => conflict && conflicts < 2,
            Outcome::Store => true,
            Outcome::Source => error.is_lost() || server_code(&error).is_none(),
            _ => false,
        };
        let in_time = !streamer.once || (conflict && conflicts < 2);
        if !again || !in_time {
            return Err(error);
        }
        before.breaks = before.breaks.saturating_add(1);
        tracing::warn!(%error, seconds = pause.as_secs(), "the stream broke; connecting again");
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = cancel.token().cancelled() => return Ok(()),
        }
        pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
    }
}

fn gives_up(found: &Broken) -> Error {
    let what = match found.reason {
        Reason::Rewound => "the server's log is not the one that is archived",
        _ => "the server's log does not continue what is archived",
    };
    Error::archive(format!("{what}, again and again: {}", found.missing))
        .hint("look at the server's log files and its error log")
}
