//! Doctor checks of a standby and of the lease. Backups need neither, so both warn at most.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::cli::Context;
use crate::cli::doctor::Findings;
use crate::cli::output::text;
use crate::copy::ends::of_second;
use crate::lease::{self, Side, State};
use crate::monitor::standby::{self, Report};
use crate::store::{self, Store};
use crate::util::error::Result;
use crate::util::times::Seconds;

/// What the clocks of a keeper's store and of this host may differ by, and a slow renewal take.
const GRACE: SignedDuration = SignedDuration::from_secs(60);

/// Checks the reports of a standby in the store and the second one, and the lease, where `lease.side` is configured.
pub(super) async fn check(context: &Context, findings: &mut Findings) -> Result<()> {
    reports(context, findings).await?;
    if let Some(side) = &context.config.lease.side {
        leases(context, side, findings).await?;
    }
    Ok(())
}

async fn reports(context: &Context, findings: &mut Findings) -> Result<()> {
    const CHECK: &str = "standby";
    let config = &context.config;
    let mut stores = vec![context.store.clone()];
    let second = config.copy.store.as_ref();
    if let Some(second) = second.filter(|second| second.url != config.store.url) {
        let open = async {
            let keys = context.keys()?;
            store::open(second, keys).await.map_err(of_second)
        };
        // One that cannot be opened is a finding of `second store`.
        stores.extend(context.cancel.unless(open).await.ok());
        context.cancel.check()?;
    }
    let mut none = true;
    for store in stores {
        let read = standby::read(&store, &config.target);
        let read = context.cancel.unless(read).await;
        context.cancel.check()?;
        match read {
            Ok(None) => continue,
            Ok(Some(report)) => judge(&store, &report, config.standby.lag_seconds, findings),
            Err(error) => findings.warn(CHECK, error.what(), error.next_step()),
        }
        none = false;
    }
    if none && (config.lease.side.is_some() || config.standby.lag_seconds.is_some()) {
        let what = "no standby has reported in a store that is configured here";
        let fix = "run drctl standby on the side that is read-only";
        findings.warn(CHECK, what, Some(fix));
    }
    Ok(())
}

fn judge(store: &Arc<dyn Store>, report: &Report, most: Option<Seconds>, findings: &mut Findings) {
    const CHECK: &str = "standby";
    let now = Timestamp::now();
    let what = format!("{}: {}", store.location(), report.line(now));
    let most = most.and_then(|most| SignedDuration::try_from(most.duration()).ok());
    let broken = report.broken(now, now);
    if !broken.is_empty() {
        let what = format!("{what}; it {}", broken.join("; it "));
        findings.warn(CHECK, what, Some("see runbooks/DrctlStandbyBroken.md"));
    } else if most.is_some_and(|most| report.late(most, now).is_some()) {
        findings.warn(CHECK, what, Some("see runbooks/DrctlStandbyLate.md"));
    } else {
        findings.ok(CHECK, what);
    }
}

async fn leases(context: &Context, side: &Side, findings: &mut Findings) -> Result<()> {
    const CHECK: &str = "lease";
    let config = &context.config;
    let look = async {
        let store = store::open(config.lease_store()?, context.keys()?).await?;
        lease::state(&store, &config.target).await
    };
    let looked = context.cancel.unless(look).await;
    context.cancel.check()?;
    match looked {
        Ok(Some(state)) => match held(&state, Timestamp::now()) {
            (what, None) => findings.ok(CHECK, what),
            (what, Some(fix)) => findings.warn(CHECK, what, Some(&fix)),
        },
        Ok(None) => {
            let what = format!("no side ever held the lease; this side is {side}");
            let fix = "run drctl lease --first on the side that is writable";
            findings.warn(CHECK, what, Some(fix));
        }
        Err(error) => findings.warn(CHECK, error.what(), error.next_step()),
    }
    Ok(())
}

/// Who holds the lease, and what to do if no keeper renews it.
fn held(state: &State, now: Timestamp) -> (String, Option<String>) {
    let (side, epoch) = (&state.side, state.epoch);
    let fix = || Some(format!("start drctl lease on the side {side}"));
    let Some(renewed) = &state.renewed else {
        let what = format!("side {side}, epoch {epoch}: no keeper has renewed it");
        return (what, fix());
    };
    // Of the store's clock, which is no keeper's.
    let age = text::ago(renewed.stored_at.min(now), now);
    let server = match renewed.read_only_since {
        Some(_) => "read-only",
        None => "writable",
    };
    let what = format!("side {side}, epoch {epoch}: renewed {age}, its server was {server}");
    let valid = SignedDuration::from_secs(i64::try_from(renewed.lease_seconds).unwrap_or(i64::MAX));
    let expired = now.duration_since(renewed.stored_at) > valid.saturating_add(GRACE);
    (what, expired.then(fix).flatten())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Epoch;
    use crate::lease::state::Renewed;

    #[test]
    fn a_lease_that_no_keeper_renews_is_found() {
        let now: Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
        let renewed = |age: i64, read_only_since| Renewed {
            at: now,
            stored_at: now - SignedDuration::from_secs(age),
            lease_seconds: 20,
            read_only_since,
        };
        let state = |renewed| State {
            epoch: Epoch::FIRST,
            side: "eu".parse().unwrap(),
            taken_at: now,
            reason: lease::Reason::Promote,
            renewed,
            fenced: None,
            keepers: Default::default(),
        };
        let (what, fix) = held(&state(Some(renewed(5, None))), now);
        assert_eq!(
            what,
            "side eu, epoch 1: renewed 5.0 s ago, its server was writable"
        );
        assert_eq!(fix, None);
        let (what, fix) = held(&state(Some(renewed(81, Some(now)))), now);
        assert!(what.ends_with("its server was read-only"), "{what}");
        assert_eq!(fix.as_deref(), Some("start drctl lease on the side eu"));
        let (what, fix) = held(&state(None), now);
        assert!(what.contains("no keeper has renewed it") && fix.is_some());
    }
}
