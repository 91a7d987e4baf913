//! `drctl stream`: archives the binary log.

use crate::cli::Context;
use crate::cli::args::StreamArgs;
use crate::stream::{self, Streamer};
use crate::util::error::Result;

/// Runs until SIGTERM, or with `--once` until what the log holds now is archived.
pub async fn run(context: &Context, args: StreamArgs) -> Result<()> {
    let streamer = Streamer {
        server: context.config.source()?,
        store: context.store.clone(),
        target: context.config.target.clone(),
        config: context.config.stream,
        once: args.once,
    };
    stream::run::run(&streamer, &context.cancel).await
}
