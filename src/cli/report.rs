//! `drctl report`: the drill history as an HTML page for auditors, or as JSON.

use std::path::Path;

use jiff::Timestamp;

use crate::cli::Context;
use crate::cli::args::ReportArgs;
use crate::cli::output::text;
use crate::monitor::report::drill_history;
use crate::monitor::report::html::{History, page};
use crate::monitor::report::model::DrillReport;
use crate::util::error::{Error, Result};
use crate::util::format::Output;
use crate::util::format::counted;
use crate::util::times::{before, days};

/// Maximum number of reports: several years of daily drills.
const MOST: usize = 2000;

/// Writes the page, or prints the reports.
pub async fn run(context: &Context, args: ReportArgs) -> Result<()> {
    let catalog = context.catalog().await?;
    let since = before(Timestamp::now(), days(args.days));
    let read = drill_history::newest(
        &context.store,
        &catalog,
        MOST,
        |name| name.time >= since,
        |_| true,
    );
    let drills: Vec<DrillReport> = context.cancel.unless(read).await?;
    if context.output == Output::Json {
        return text::json(&drills);
    }
    let page = page(&History {
        target: &context.config.target,
        drills: &drills,
        objectives: &context.config.objectives,
        now: Timestamp::now(),
    });
    match &args.file {
        None => text::print(&page),
        Some(file) => {
            write(file, &page)?;
            text::print(&format!(
                "{} of {} in {}\n",
                counted(drills.len() as u64, "drill"),
                context.config.target,
                file.display()
            ))
        }
    }
}

fn write(file: &Path, page: &str) -> Result<()> {
    std::fs::write(file, page).map_err(|e| {
        Error::unexpected(format!("cannot write {}", file.display()))
            .because(e)
            .hint("choose a file in a writable directory")
    })
}
