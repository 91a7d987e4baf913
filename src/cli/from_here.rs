//! Whether a restore to a later moment can begin with a backup, asked for `backup`, `list` and `show`.
//!
//! None of them fails for it: what is not known is not said.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::sleep;

use crate::archive::manifest::Manifest;
use crate::cli::Context;
use crate::stream::coverage::{self, Stretch};
use crate::stream::from_here::FromHere;
use crate::stream::objects::Objects;
use crate::util::error::Result;
use crate::util::times::{apart, instant_in};

/// How long `backup` waits at most for a streamer that is behind it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(2);

/// Age of the last heartbeat of a streamer that runs.
const ALIVE: SignedDuration = SignedDuration::from_secs(90);

/// The stretches of the archived log; `None`, with a warning, if they cannot be read.
///
/// # Errors
/// Only the cancellation of the run.
pub(super) async fn archived(context: &Context) -> Result<Option<Vec<Stretch>>> {
    let outline = coverage::outline(&context.store, &context.config.target);
    match context.cancel.unless(outline).await {
        Ok(stretches) => Ok(Some(stretches)),
        Err(error) => {
            context.cancel.check()?;
            tracing::warn!(%error, "cannot read what is archived of the binary log");
            Ok(None)
        }
    }
}

/// What is said of a backup that is committed; `None` where no log is archived, or that cannot be read. While a streamer
/// runs that is behind the backup, waits for it, for a short time.
pub(super) async fn after_backup(context: &Context, manifest: &Manifest) -> Option<FromHere> {
    let streams = context.config.stream.is_configured();
    let until = instant_in(PATIENCE);
    let here = loop {
        let stretches = archived(context).await.ok()??;
        if stretches.is_empty() && !streams {
            return None;
        }
        let here = FromHere::of(manifest, &stretches);
        let waits = matches!(here, FromHere::NotYet { .. })
            && instant_in(PAUSE) < until
            && is_alive(context).await;
        if !waits {
            break here;
        }
        let pause = async {
            sleep(PAUSE).await;
            Ok(())
        };
        // The backup is committed; only what is said of it is cut short.
        if context.cancel.unless(pause).await.is_err() {
            break here;
        }
    };
    if let (true, FromHere::No(why)) = (streams, &here) {
        let id = manifest.id;
        tracing::warn!(%id, why, "no restore to a later moment can begin with this backup: see drctl log");
    }
    Some(here)
}

/// Whether a streamer wrote its heartbeat a short time ago.
async fn is_alive(context: &Context) -> bool {
    let target = context.config.target.clone();
    let head = Objects::none(context.store.clone(), target).head().await;
    matches!(head, Ok(Some(head)) if apart(head.written_at, Timestamp::now()) <= ALIVE)
}
