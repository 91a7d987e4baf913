//! `drctl serve`: metrics, health probes and a status page.

use crate::cli::Context;
use crate::monitor::serve::{self, Service};
use crate::util::error::Result;

/// Serves until SIGTERM.
pub async fn run(context: &Context) -> Result<()> {
    let config = &context.config;
    let schedule = &config.schedule;
    let schedules = [
        ("backup", &schedule.backup),
        ("verify", &schedule.verify),
        ("prune", &schedule.prune),
    ];
    let service = Service {
        target: config.target.clone(),
        store: context.store.clone(),
        listen: config.serve.listen,
        interval: config.serve.interval_seconds.duration(),
        reports: config.verify.drill.reports_consulted(),
        objectives: config.objectives,
        cut: config.stream.is_configured().then(|| config.stream.cut()),
        schedules: schedules
            .into_iter()
            .filter_map(|(task, schedule)| Some((task, schedule.clone()?)))
            .collect(),
        notify: config.notify.clone(),
    };
    serve::run(&service, &context.cancel).await
}
