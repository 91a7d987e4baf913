//! Doctor check of the second store, if one is configured. Backups do not need it, so it warns at most.

use jiff::Timestamp;

use crate::cli::Context;
use crate::cli::doctor::Findings;
use crate::cli::output::text;
use crate::copy::ends::of_second;
use crate::copy::glance::CopyWatcher;
use crate::store;
use crate::util::error::Result;

/// Checks that the second store can be read, and how old what is in it is.
pub(super) async fn check(context: &Context, findings: &mut Findings) -> Result<()> {
    const CHECK: &str = "second store";
    let config = &context.config;
    let copy = config.copy.store.as_ref();
    let Some(copy) = copy.filter(|copy| copy.url != config.store.url) else {
        return Ok(());
    };
    let now = Timestamp::now();
    let look = async {
        let keys = context.keys()?;
        let second = store::open(copy, keys).await.map_err(of_second)?;
        let mut watcher = CopyWatcher::new(second, config.target.clone(), config.copy.rpo);
        Ok(watcher.look(now).await)
    };
    let looked = context.cancel.unless(look).await;
    context.cancel.check()?;
    let copy = match looked {
        Ok(copy) => copy,
        Err(error) => {
            findings.warn(CHECK, error.what(), error.next_step());
            return Ok(());
        }
    };
    const FIX: &str = "run drctl copy, and see what stops it";
    match (&copy.failing, copy.recovery_point()) {
        (Some(why), _) => findings.warn(CHECK, why.clone(), None),
        (None, None) => {
            let what = format!("{} has no usable backup", copy.store);
            findings.warn(CHECK, what, Some(FIX));
        }
        (None, Some(point)) => {
            // A snapshot may be a little ahead of this clock.
            let age = text::ago(point.min(now), now);
            let what = format!("{}, {age}", copy.store);
            match copy.behind(None, now) {
                Some(_) => findings.warn(CHECK, what, Some(FIX)),
                None => findings.ok(CHECK, what),
            }
        }
    }
    Ok(())
}
