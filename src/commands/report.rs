//! `drctl report`: the history of drills: a page for an auditor, or all of it for a program.

use std::path::Path;

use jiff::Timestamp;

use crate::cli::{Output, ReportArgs};
use crate::commands::{Run, text};
use crate::error::{Error, Result};
use crate::report::history;
use crate::report::html::{History, page};
use crate::report::model::DrillReport;
use crate::times::{before, days};
use crate::words::counted;

/// How many reports are read: some years of daily drills.
const MOST: usize = 2000;

/// Writes the page, or prints the reports.
pub async fn run(run: &Run, args: ReportArgs) -> Result<()> {
    let catalog = run.catalog().await?;
    let since = before(Timestamp::now(), days(args.days));
    let read = history::newest(
        &run.store,
        &catalog,
        MOST,
        |name| name.time >= since,
        |_| true,
    );
    let drills: Vec<DrillReport> = run.cancel.unless(read).await?;
    if run.output == Output::Json {
        return text::json(&drills);
    }
    let page = page(&History {
        target: &run.config.target,
        drills: &drills,
        objectives: &run.config.objectives,
        now: Timestamp::now(),
    });
    match &args.file {
        None => text::print(&page),
        Some(file) => {
            write(file, &page)?;
            text::print(&format!(
                "{} of {} in {}\n",
                counted(drills.len() as u64, "drill"),
                run.config.target,
                file.display()
            ))
        }
    }
}

fn write(file: &Path, page: &str) -> Result<()> {
    std::fs::write(file, page).map_err(|e| {
        Error::unexpected(format!("cannot write {}", file.display()))
            .because(e)
            .hint("name a file in a directory that can be written")
    })
}
