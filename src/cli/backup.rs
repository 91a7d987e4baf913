//! `drctl backup`: creates a backup.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use crate::archive::manifest::Manifest;
use crate::backup::{self, Committed, Job, Meter};
use crate::catalog::history::RunRecord;
use crate::catalog::summary;
use crate::cli::args::BackupArgs;
use crate::cli::ended::ended;
use crate::cli::output::progress::Progress;
use crate::cli::output::text;
use crate::cli::{Context, from_here};
use crate::monitor::notify::Task;
use crate::reader::source_columns::AgainstSource;
use crate::stream::from_here::{FromHere, Said};
use crate::util::error::{Error, Outcome, Result};
use crate::util::format::Output;

/// Creates a backup.
pub async fn run(context: &Context, args: BackupArgs) -> Result<()> {
    context.cancel.on_deadline(context.config.backup.deadline);
    let started_at = Timestamp::now();
    let mut labels = context.config.backup.labels.clone();
    labels.extend(args.labels);
    let kind = context.config.kind()?;
    if kind.is_some() {
        let of_mysql = [
            ("--jobs", args.jobs.is_some()),
            ("--against-source", args.against_source),
        ];
        if let Some((option, _)) = of_mysql.iter().find(|(_, given)| *given) {
            context.config.require_mysql(option)?;
        }
    }
    let mut config = context.config.backup.clone();
    if let Some(jobs) = args.jobs {
        config.source.jobs = jobs;
    }
    if args.against_source {
        config.source.against_source = AgainstSource::All;
    }
    let created = async {
        // Before the target is contacted: an unmounted disk must not take a dump of hours.
        let init = async { Ok(context.store.init(args.init_store).await?) };
        context.cancel.unless(init).await?;
        let job = Job {
            target: &context.config.target,
            store: context.store.clone(),
            config: &config,
            labels: &labels,
            started_at,
            cancel: &context.cancel,
            progress: &|expected| Arc::new(Progress::begin("backup", expected)),
        };
        match &kind {
            Some(kind) => backup::of_kind::create(&job, kind.as_ref()).await,
            None => backup::create(&job, &context.config.source()?).await,
        }
    };
    let (manifest, earlier, error) = match created.await {
        Ok(Committed {
            manifest,
            unprotected,
            earlier,
        }) => {
            let error = match (suspicion(&manifest), unprotected) {
                (Some(suspicion), Some(unprotected)) => Some(suspicion.most_severe(unprotected)),
                (suspicion, unprotected) => suspicion.or(unprotected),
            };
            (Some(manifest), Some(earlier), error)
        }
        Err(error) => (None, None, Some(error)),
    };
    let id = manifest.as_ref().map(|manifest| manifest.id);
    let outcome = Outcome::of(error.as_ref());
    let record = RunRecord::ends("backup", started_at, id, error.as_ref());
    ended(context, Task::Backup, outcome, record).await;
    // After the record: it changes no outcome, and may wait for the streamer.
    let here = match &manifest {
        Some(manifest) => from_here::after_backup(context, manifest).await,
        None => None,
    };
    let printed = manifest.as_ref().map_or(Ok(()), |manifest| {
        let committed = format!(
            "backup {} is committed, but its summary could not be printed",
            manifest.id
        );
        print(context, manifest, here.as_ref()).map_err(|error| error.context(committed))
    });
    // Last: nothing depends on it, and it may take a minute.
    if let Some(earlier) = &earlier {
        let summarising = async {
            summary::write::after_backup(earlier).await;
            Ok(())
        };
        let _ = context.cancel.unless(summarising).await;
    }
    error.map_or(Ok(()), Err).and(printed)
}

/// The error of a backup that is committed but suspect.
fn suspicion(manifest: &Manifest) -> Option<Error> {
    if manifest.suspect.is_empty() {
        return None;
    }
    let (id, reasons) = (manifest.id, manifest.suspect.join("; "));
    let error = Error::refused(format!("backup {id} is committed but suspect: {reasons}"));
    Some(error.hint(format!(
        "check the server; if the change is intended, run drctl accept {id}"
    )))
}

/// `backup --output json`.
#[derive(Serialize)]
struct Created<'a> {
    #[serde(flatten)]
    manifest: &'a Manifest,
    /// Whether a restore to a later moment can begin with it; `None` if that is unknown.
    pitr: Option<Said>,
}

fn print(context: &Context, manifest: &Manifest, here: Option<&FromHere>) -> Result<()> {
    let line = here.map_or(String::new(), |here| format!("PITR from here: {here}\n"));
    match context.output {
        Output::Json => text::json(&Created {
            manifest,
            pitr: here.map(FromHere::said),
        }),
        Output::Text => text::print(&format!(
            "{}  {}, {} dumped, {} stored, in {}\n{line}",
            manifest.id,
            manifest.contents(),
            text::bytes(manifest.totals.raw_bytes),
            text::bytes(manifest.totals.stored_bytes),
            text::span(manifest.took()),
        )),
    }
}

impl Meter for Progress {
    fn add(&self, bytes: u64) {
        Progress::add(self, bytes);
    }
}
