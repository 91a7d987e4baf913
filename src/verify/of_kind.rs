//! A drill of a source other than MySQL: restored into a scratch directory, streamed again, and compared.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Instant;

use jiff::Timestamp;

use crate::catalog::{Catalog, Entry};
use crate::kind::Kind;
use crate::layout::{DrillLevel, DrillVerdict};
use crate::monitor::report::model::{Check, DrillReport, Profile, ScratchFacts, Stage};
use crate::restore::of_kind::{self, Compared, Restored};
use crate::restore::report::Progress;
use crate::util::cancel::Cancel;
use crate::util::error::{Error, Result};
use crate::util::format::counted;
use crate::verify::scratch::orphans::{PrivateDir, reap};
use crate::verify::{add_stage, set_verdict};

/// Maximum number of differences listed in a report.
const MAX_DIFFERENCES: usize = 200;

/// Directory of the restored data within the scratch directory.
const RESTORED: &str = "restored";

/// One drill.
pub struct KindDrill<'a> {
    /// The target's backups.
    pub catalog: &'a Catalog,
    /// The backup to verify.
    pub entry: &'a Entry,
    /// The configured kind.
    pub kind: &'a dyn Kind,
    /// `Archive`, or `Restore`.
    pub level: DrillLevel,
    /// Parent directory for the restored data.
    pub scratch_dir: &'a Path,
    /// Whether to keep the restored data for inspection.
    pub keep: bool,
    /// Receives the progress.
    pub progress: &'a dyn Progress,
    /// Cancellation of the drill.
    pub cancel: &'a Cancel,
}

impl KindDrill<'_> {
    /// Runs the drill and always returns a report. The caller checks objectives.
    pub async fn run(&self) -> (DrillReport, Result<()>) {
        let began = Instant::now();
        let mut report = DrillReport::begin(&self.entry.manifest, self.level, Timestamp::now());
        let done = self.verify(&mut report).await;
        report.drill_seconds = began.elapsed().as_secs_f64();
        report.ended_at = Timestamp::now();
        set_verdict(&mut report, &done);
        (report, done)
    }

    async fn verify(&self, report: &mut DrillReport) -> Result<()> {
        let since = Instant::now();
        let open = self.catalog.open(self.entry.id);
        let archive = self.cancel.unless(open).await;
        add_stage(report, "locate", since);
        let archive = archive?;
        let mut restored = Restored::default();
        if self.level == DrillLevel::Archive {
            let checked = of_kind::check(&archive, self.progress, self.cancel, &mut restored).await;
            add(report, &restored);
            return checked;
        }
        self.kind.check_drill()?;
        for dir in reap(self.scratch_dir) {
            tracing::info!(dir = %dir.display(), "removed the scratch directory of a killed drill");
        }
        let mut scratch = PrivateDir::new(self.scratch_dir)?;
        let into = scratch.path().join(RESTORED);
        std::fs::create_dir(&into)
            .map_err(|e| Error::server("cannot create the scratch directory").because(e))?;
        report.scratch = Some(ScratchFacts {
            kind: "directory".to_owned(),
            version: self.kind.name().to_owned(),
            profile: Profile::AsIs,
            settings: BTreeMap::new(),
        });
        let place = into.to_string_lossy();
        let (kind, progress) = (self.kind, self.progress);
        let restore =
            of_kind::restore(&archive, kind, &place, progress, self.cancel, &mut restored);
        let done = restore.await;
        add(report, &restored);
        let (since, is_kept) = (Instant::now(), self.keep);
        if self.keep {
            let kept = scratch.keep()?;
            report.warn(format!("the restored data were kept: {}", kept.display()));
        }
        let remove = move || {
            if !is_kept {
                make_removable(scratch.path());
            }
            drop(scratch);
        };
        let removed = tokio::task::spawn_blocking(remove).await;
        removed.map_err(|e| {
            Error::unexpected("removing the scratch data was interrupted").because(e)
        })?;
        add_stage(report, "teardown", since);
        done?;
        // Never a drill that passes without a comparison, whatever was configured meanwhile.
        if restored.compared == Compared::Not {
            return Err(Error::usage("nothing was compared"));
        }
        report.verdict = DrillVerdict::Pass;
        Ok(())
    }
}

/// Lets the owner remove everything below a directory: a restored directory may deny that. What fails here fails again,
/// with a warning, when the directory is removed.
fn make_removable(dir: &Path) {
    let _ = std::fs::set_permissions(dir, Permissions::from_mode(0o700));
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|of_type| of_type.is_dir()) {
            make_removable(&entry.path());
        }
    }
}

/// Copies the results of a restore into the report.
fn add(report: &mut DrillReport, restored: &Restored) {
    let stages = restored.stages.iter().map(|stage| Stage {
        name: stage.name.to_owned(),
        seconds: stage.seconds,
    });
    report.stages.extend(stages);
    // What a program alone found right was not compared.
    if !matches!(restored.compared, Compared::Program(_)) {
        report.verified.rows = restored.counts.lines;
        report.verified.objects = restored.counts.entries();
    }
    let counts = counted(restored.counts.entries(), "object");
    match &restored.compared {
        Compared::Not => {}
        Compared::Program(name) => report.checks.push(Check {
            name: name.clone(),
            passed: true,
            expected: "exit status 0".to_owned(),
            found: "exit status 0".to_owned(),
        }),
        Compared::Ledger(differences) => {
            let found = match differences.len() {
                0 => format!("{counts} equal"),
                count => format!("{} different", counted(count as u64, "object")),
            };
            report.checks.push(Check {
                name: "ledger".to_owned(),
                passed: differences.is_empty(),
                expected: format!("{counts} equal"),
                found,
            });
            report.differences_total = differences.len() as u64;
            let listed = differences.iter().take(MAX_DIFFERENCES).map(|one| Check {
                name: one.name.clone(),
                passed: false,
                expected: one.expected.clone(),
                found: one.found.clone(),
            });
            report.checks.extend(listed);
        }
    }
}
