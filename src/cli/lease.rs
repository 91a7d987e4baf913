//! `drctl lease`: keeps the lease of this side, or shows who holds it.

use std::sync::Arc;

use crate::cli::Context;
use crate::cli::args::LeaseArgs;
use crate::cli::output::text;
use crate::lease::keeper::Keeper;
use crate::lease::{How, State, state};
use crate::store::{self, Store};
use crate::util::error::Result;
use crate::util::format::Output;

/// Runs until SIGTERM, or with `--show` prints who holds the lease.
pub async fn run(context: &Context, args: LeaseArgs) -> Result<()> {
    let config = &context.config;
    let opened = store::open(config.lease_store()?, context.keys()?);
    let store: Arc<dyn Store> = context.cancel.unless(opened).await?;
    if args.show {
        let state = context.cancel.unless(state(&store, &config.target)).await?;
        return show(context, state.as_ref());
    }
    let keeper = Keeper {
        store,
        target: config.target.clone(),
        side: config.lease.side()?.clone(),
        server: config.restore_into(args.into.as_deref())?,
        lease: config.lease.seconds.duration(),
        takes_first: args.first,
    };
    keeper.run(&context.cancel).await
}

fn show(context: &Context, state: Option<&State>) -> Result<()> {
    if context.output == Output::Json {
        return text::json(&state);
    }
    let target = &context.config.target;
    let Some(state) = state else {
        return text::print(&format!("no side ever held the lease of {target}\n"));
    };
    let mut lines = format!("{target}: {state}\n");
    lines.push_str(&match &state.renewed {
        Some(renewed) => format!(
            "renewed at {} for {} s; its server is {}\n",
            renewed.at,
            renewed.lease_seconds,
            match renewed.read_only_since {
                Some(since) => format!("read-only since {since}"),
                None => "writable".to_owned(),
            }
        ),
        None => "never renewed: no keeper of this side has run since\n".to_owned(),
    });
    lines.push_str(&match &state.fenced {
        Some(How::Released { at, .. }) => format!("the holder before released it at {at}\n"),
        Some(How::Expired) => "the lease of the holder before has expired\n".to_owned(),
        Some(How::NeverHeld) => "no other side ever kept a lease\n".to_owned(),
        None => "an earlier holder may be writable\n".to_owned(),
    });
    text::print(&lines)
}
