//! `drctl promote`: makes the standby the primary, and switches traffic to it.

use std::time::Duration;

use jiff::Timestamp;

use crate::catalog::history::{self, RunRecord};
use crate::cli::Context;
use crate::cli::args::PromoteArgs;
use crate::cli::output::text;
use crate::cli::standby::{follower, lease};
use crate::standby::promote::{Loss, Promoted, Promotion, PromotionPlan};
use crate::switch::{Direction, switch};
use crate::util::error::{Error, Result};
use crate::util::format::{Output, counted};

/// Promotes the standby, or prints what that would do.
pub async fn run(context: &Context, args: PromoteArgs) -> Result<()> {
    let lease = lease(context).await?;
    let follower = follower(context, args.into.as_deref(), lease.clone())?;
    let promotion = Promotion {
        follower: &follower,
        lease,
        unfenced: args.unfenced,
        drain: Duration::from_secs(args.drain),
    };
    if args.plan {
        return print_plan(context, &context.cancel.unless(promotion.plan()).await?);
    }
    confirmed(context, args.confirmation.confirm.as_deref())?;
    let started_at = Timestamp::now();
    let done = Box::pin(promotion.run()).await;
    let record = RunRecord::ends("promote", started_at, None, done.as_ref().err());
    history::record(&context.store, &context.config.target, &record).await;
    let promoted = done?;
    print(context, &promoted)?;
    switched(context, Direction::Promote).await
}

/// Requires the name of the target.
pub(super) fn confirmed(context: &Context, confirm: Option<&str>) -> Result<()> {
    let target = &context.config.target;
    match confirm {
        Some(name) if name == target.as_str() => Ok(()),
        Some(name) => Err(
            Error::usage(format!("--confirm {name} is not the target, {target}"))
                .hint("make sure that this is the side that you mean"),
        ),
        None => Err(Error::usage("not confirmed")
            .hint(format!("look with --plan, then add --confirm {target}"))),
    }
}

/// Switches traffic, where anything is configured.
pub(super) async fn switched(context: &Context, direction: Direction) -> Result<()> {
    let config = &context.config;
    if !config.switch.is_configured() {
        return Ok(());
    }
    let target = config.target.as_str();
    let side = config.lease.side.as_ref().map(ToString::to_string);
    let side = side.unwrap_or_default();
    let switch = switch(&config.switch, direction, target, &side, &context.cancel);
    for line in switch.await? {
        tracing::info!("{line}");
    }
    Ok(())
}

fn print_plan(context: &Context, plan: &PromotionPlan) -> Result<()> {
    if context.output == Output::Json {
        return text::json(plan);
    }
    let target = &context.config.target;
    let mut page = String::new();
    match &plan.standby {
        None => page.push_str(&format!("{target}: no standby\n")),
        Some(standby) => {
            page.push_str(&format!("{target}: standby {}\n", standby.server));
            if let Some(until) = standby.applied_until {
                let lost = match plan.lag_seconds {
                    Some(seconds) => format!("at most {seconds} s"),
                    None => "the commits since (the clocks were not compared)".to_owned(),
                };
                page.push_str(&format!(
                    "applied until {until}: {lost} would be lost if nothing more came\n"
                ));
            }
            if let Some(compared) = &standby.compared {
                let found = if compared.equal {
                    "equal to"
                } else {
                    "NOT equal to"
                };
                page.push_str(&format!("{found} backup {}\n", compared.backup));
            }
        }
    }
    match &plan.lease {
        Some(lease) => page.push_str(&format!("lease: {lease}\n")),
        None => page.push_str("lease: nobody holds it\n"),
    }
    for refusal in &plan.refusals {
        page.push_str(&format!("refused: {refusal}\n"));
    }
    text::print(&page)
}

fn print(context: &Context, promoted: &Promoted) -> Result<()> {
    if context.output == Output::Json {
        return text::json(promoted);
    }
    let target = &context.config.target;
    if promoted.was_promoted {
        return text::print(&format!("{target}: this side was promoted before\n"));
    }
    let mut page = format!(
        "{target}: promoted in {:.1} s, {} applied\n",
        promoted.seconds,
        counted(promoted.transactions, "transaction"),
    );
    page.push_str(&match &promoted.loss {
        Loss::None => "lost: nothing; all that the other side had executed is here\n".to_owned(),
        Loss::Missing { gtids } => format!("lost: {gtids}\n"),
        Loss::Unknown {
            applied_until: Some(until),
            seconds: Some(seconds),
        } => format!("lost: commits after {until}, at most {seconds} s of them\n"),
        Loss::Unknown {
            applied_until: Some(until),
            seconds: None,
        } => format!(
            "lost: commits after {until} by the clock of the other side, which was not compared with the store's\n"
        ),
        Loss::Unknown { .. } => "lost: not known\n".to_owned(),
    });
    for event in &promoted.events {
        page.push_str(&format!("enabled: {event}\n"));
    }
    for one in &promoted.not_replayed {
        page.push_str(&format!("not replayed: {} ({})\n", one.what, one.gtid));
    }
    for warning in &promoted.warnings {
        page.push_str(&format!("warning: {warning}\n"));
    }
    page.push_str("next: archive its log with drctl stream, and make a backup\n");
    text::print(&page)
}
