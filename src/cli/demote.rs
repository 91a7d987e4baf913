//! `drctl demote`: makes the server of this side read-only, and switches traffic away from it.

use std::time::Duration;

use jiff::Timestamp;

use crate::catalog::history::{self, RunRecord};
use crate::cli::Context;
use crate::cli::args::DemoteArgs;
use crate::cli::output::text;
use crate::cli::promote::{confirmed, switched};
use crate::cli::standby::lease;
use crate::standby::demote::{Demoted, Demotion, DemotionPlan};
use crate::switch::Direction;
use crate::util::error::Result;
use crate::util::format::Output;

/// Demotes this side, or prints what that would do.
pub async fn run(context: &Context, args: DemoteArgs) -> Result<()> {
    let server = context.config.restore_into(args.into.as_deref())?;
    let demotion = Demotion {
        server: &server,
        store: &context.store,
        target: &context.config.target,
        lease: lease(context).await?,
        drain: Duration::from_secs(args.drain),
        cancel: &context.cancel,
    };
    if args.plan {
        let plan = context.cancel.unless(demotion.plan()).await?;
        return print_plan(context, &plan);
    }
    confirmed(context, args.confirmation.confirm.as_deref())?;
    let started_at = Timestamp::now();
    // Traffic goes first: what it would write is refused from here on.
    let switched = switched(context, Direction::Demote).await;
    let done = Box::pin(demotion.run()).await;
    let record = RunRecord::ends("demote", started_at, None, done.as_ref().err());
    history::record(&context.store, &context.config.target, &record).await;
    print(context, &done?)?;
    switched
}

fn print_plan(context: &Context, plan: &DemotionPlan) -> Result<()> {
    if context.output == Output::Json {
        return text::json(plan);
    }
    let target = &context.config.target;
    let mut page = match &plan.lease {
        Some(lease) => format!("{target}: lease: {lease}\n"),
        None => format!("{target}: nobody holds the lease\n"),
    };
    page.push_str(&match &plan.other_executed {
        Some(executed) => format!("the other side was promoted; it had executed {executed}\n"),
        None => "no other side was promoted\n".to_owned(),
    });
    page.push_str("would make the server read-only; nothing is dropped\n");
    text::print(&page)
}

fn print(context: &Context, demoted: &Demoted) -> Result<()> {
    if context.output == Output::Json {
        return text::json(demoted);
    }
    let target = &context.config.target;
    let mut page = format!(
        "{target}: read-only; it has executed {}\n",
        demoted.executed
    );
    page.push_str(&match demoted.not_archived.as_str() {
        "" => "all of its log is archived\n".to_owned(),
        missing => format!("NOT archived: {missing}; run drctl stream --once\n"),
    });
    match demoted.extra.as_deref() {
        None => {}
        Some("") => page.push_str("the other side has all of it\n"),
        Some(extra) => page.push_str(&format!("the other side lacks {extra}\n")),
    }
    for one in &demoted.listed {
        page.push_str(&format!("  {} {}\n", one.committed_at, one.gtid));
    }
    text::print(&page)
}
