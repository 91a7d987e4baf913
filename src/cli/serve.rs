//! `drctl serve`: metrics, health probes and a status page.

use crate::cli::Context;
use crate::copy::ends::of_second;
use crate::monitor::serve::{self, Service};
use crate::store;
use crate::util::error::Result;
use crate::util::times::Seconds;

/// Serves until SIGTERM.
pub async fn run(context: &Context) -> Result<()> {
    let config = &context.config;
    let schedule = &config.schedule;
    let schedules = [
        ("backup", &schedule.backup),
        ("verify", &schedule.verify),
        ("prune", &schedule.prune),
    ];
    // The second store in its own right: with `--store copy` it is the first.
    let copy = config.copy.store.as_ref();
    let copy = copy.filter(|copy| copy.url != config.store.url);
    let second = match copy {
        Some(copy) => {
            let second = store::open(copy, context.keys()?).await;
            Some((second.map_err(of_second)?, config.copy.rpo))
        }
        None => None,
    };
    let service = Service {
        second,
        target: config.target.clone(),
        store: context.store.clone(),
        listen: config.serve.listen,
        interval: config.serve.interval_seconds.duration(),
        reports: config.verify.drill.reports_consulted(),
        objectives: config.objectives,
        cut: config.stream.is_configured().then(|| config.stream.cut()),
        standby_lag: config.standby.lag_seconds.map(Seconds::duration),
        identity_drill: config.identity_drill,
        schedules: schedules
            .into_iter()
            .filter_map(|(task, schedule)| Some((task, schedule.clone()?)))
            .collect(),
        notify: config.notify.clone(),
    };
    serve::run(&service, &context.cancel).await
}
