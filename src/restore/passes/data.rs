//! The pass that loads rows: several lanes, each of which keeps to a table while it has frames
//! ([`crate::restore::frames::dispatch`]).
//!
//! A frame is one transaction, which includes its progress row, so that the row shows whether the frame was
//! loaded. This settles a connection lost at COMMIT (query the row), a deadlock (retry) and an interrupted
//! restore (skip the frame).
//!
//! It does not work for tables of non-transactional engines. The start of their frames is recorded, and an
//! interrupted frame ends the restore.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::archive::index::FrameRecord;
use crate::archive::read::Archive;
use crate::mysql::connect::{literals, server_code};
use crate::restore::frames::dispatch::{Group, Sequence};
use crate::restore::frames::frame::Frame;
use crate::restore::frames::read_ahead::FrameSource;
use crate::restore::frames::supply::Supply;
use crate::restore::inspect::survey::Survey;
use crate::restore::passes::load_data::Loaded as Outcome;
use crate::restore::passes::row_loader::{Method, RowLoader, Run};
use crate::restore::report::Progress;
use crate::restore::scope::Scope;
use crate::restore::session::failure::Failure;
use crate::restore::session::lane::{Lane, LaneConfig, Lanes, Tries};
use crate::restore::state::marker;
use crate::restore::state::open_marker::OpenMarker;
use crate::sql::statement::{ObjectId, Section};
use crate::util::error::{Error, Result};

/// A connection keeps a buffer for the longest statement that it sent. After a statement longer than this, in
/// bytes, the connection is replaced.
const KEPT_BYTES: u64 = 16 << 20;

/// Maximum number of rounds in which frames that a server lost are loaded.
const MAX_ROUNDS: u32 = 4;

/// Inputs of the pass.
pub struct Data<'a> {
    pub archive: &'a Archive,
    pub scope: &'a Scope,
    pub survey: &'a Survey,
    pub frames: &'a FrameSource,
    pub lanes: &'a LaneConfig,
    pub lane_count: usize,
    /// Whether to read all frames in the first round, also those without rows to load, and to verify the
    /// segments.
    pub read_all: bool,
    /// How rows may be loaded.
    pub method: Method,
    pub marker: &'a mut OpenMarker,
    pub progress: &'a Arc<dyn Progress>,
}

/// Totals of what was loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loaded {
    pub rows: u64,
    /// Bytes of SQL.
    pub bytes: u64,
}

impl std::iter::Sum for Loaded {
    fn sum<I: Iterator<Item = Loaded>>(all: I) -> Loaded {
        all.fold(Loaded::default(), |sum, one| Loaded {
            rows: sum.rows + one.rows,
            bytes: sum.bytes + one.bytes,
        })
    }
}

/// Selects the frames to load.
type Wanted = Arc<dyn Fn(&FrameRecord) -> bool + Send + Sync>;

impl Data<'_> {
    /// Loads all rows in scope that are not loaded yet, then verifies that the server still has them: one
    /// that crashed without flushing every commit may have lost frames.
    pub async fn run(mut self) -> Result<Loaded> {
        let tables = self.archive.contents().tables.iter();
        let included: BTreeSet<u32> = tables
            .filter(|table| self.scope.includes_table(&table.schema, &table.name))
            .map(|table| table.n)
            .collect();
        let has_rows = move |record: &FrameRecord| {
            record.has(Section::Data) && record.tables.iter().any(|table| included.contains(table))
        };
        let mut done = self.marker.contents.frames.clone();
        let mut rounds = Vec::new();
        for round in 0..MAX_ROUNDS {
            let (is_done, has) = (done, has_rows.clone());
            let wanted: Wanted =
                Arc::new(move |record| has(record) && !is_done.contains(&record.n));
            rounds.push(self.load(wanted, self.read_all && round == 0).await?);
            done = marker::frames_done(&mut self.marker.control).await?;
            let (mut frames, mut lost) = (self.archive.frames()?, 0);
            while let Some(record) = frames.read()? {
                lost += u64::from(has_rows(&record) && !done.contains(&record.n));
            }
            if lost == 0 {
                return Ok(rounds.into_iter().sum());
            }
            tracing::warn!(
                frames = lost,
                "the server lost committed rows; loading them again"
            );
        }
        Err(Error::server("the server keeps losing committed rows"))
    }

    async fn load(&mut self, wanted: Wanted, read_all: bool) -> Result<Loaded> {
        let non_transactional = self.non_transactional_tables().await?;
        let loader = RowLoader::new(self.scope, self.survey, self.method);
        let sequence = self.sequence(wanted, &non_transactional, read_all)?;
        let shared = Arc::new(Shared {
            frames: Supply::begin(
                self.frames,
                sequence,
                self.exclusive(&loader),
                read_all,
                self.lane_count,
            ),
            loader,
            non_transactional,
            begun: self.marker.contents.begun.clone(),
            progress: self.progress.clone(),
        });
        let mut lanes = Lanes::new(self.lanes);
        for n in 0..self.lane_count {
            let shared = shared.clone();
            lanes.begin(move |config| async move { shared.work(n, config).await });
        }
        Ok(lanes.join().await?.into_iter().sum())
    }

    /// The tables that lanes should not share.
    fn exclusive(&self, loader: &RowLoader) -> BTreeSet<Group> {
        let tables = self.archive.contents().tables.iter();
        let exclusive = tables.filter(|table| {
            let table = ObjectId::table(table.schema.clone(), table.name.clone());
            loader.takes_turns(&self.scope.mapped_name(&table))
        });
        exclusive.map(|table| Group::Table(table.n)).collect()
    }

    /// The frames to read, and the group of each.
    fn sequence(
        &self,
        wanted: Wanted,
        non_transactional: &BTreeSet<ObjectId>,
        read_all: bool,
    ) -> Result<Sequence> {
        let tables = self.archive.contents().tables.iter();
        let in_order = tables.filter(|table| {
            let table = ObjectId::table(table.schema.clone(), table.name.clone());
            non_transactional.contains(&self.scope.mapped_name(&table))
        });
        let in_order: BTreeSet<u32> = in_order.map(|table| table.n).collect();
        let group = move |record: &FrameRecord| match record.tables.first() {
            _ if !wanted(record) => Group::Unwanted,
            _ if record.tables.iter().any(|table| in_order.contains(table)) => Group::InOrder,
            Some(table) => Group::Table(*table),
            None => Group::Unwanted,
        };
        let mut frames = self.archive.frames()?;
        let mut frames = std::iter::from_fn(move || frames.read().transpose())
            .map(move |record| record.map(|record| (group(&record), record)));
        if read_all {
            return Ok(Sequence::ByPosition(Box::new(frames)));
        }
        let mut of_rows = Vec::new();
        for frame in &mut frames {
            let (group, record) = frame?;
            if group != Group::Unwanted {
                of_rows.push((group, record));
            }
        }
        Ok(Sequence::by_group(of_rows))
    }

    /// Tables in the schemas in scope whose engine on this server is not transactional.
    async fn non_transactional_tables(&mut self) -> Result<BTreeSet<ObjectId>> {
        let schemas = self.survey.schema_names();
        if schemas.is_empty() {
            return Ok(BTreeSet::new());
        }
        let sql = format!(
            "SELECT table_schema, table_name FROM information_schema.tables
             WHERE table_type NOT IN ('VIEW', 'SEQUENCE') AND engine NOT IN
             (SELECT engine FROM information_schema.engines WHERE transactions = 'YES')
             AND table_schema IN ({})",
            literals(schemas)
        );
        let tables: Vec<(String, String)> = self.marker.control.query(&sql).await?;
        Ok(tables
            .into_iter()
            .map(|(schema, name)| ObjectId::table(schema, name))
            .collect())
    }
}

/// State shared by the lanes.
struct Shared {
    frames: Supply,
    loader: RowLoader,
    /// By their names on the destination.
    non_transactional: BTreeSet<ObjectId>,
    /// Frames of such tables that an earlier run started.
    begun: BTreeSet<u64>,
    progress: Arc<dyn Progress>,
}

impl Shared {
    /// One lane: loads frames until there are no more.
    async fn work(&self, n: usize, config: LaneConfig) -> Result<Loaded> {
        let done = self.load_frames(n, config).await;
        self.frames.leave(n);
        done
    }

    async fn load_frames(&self, n: usize, config: LaneConfig) -> Result<Loaded> {
        let cancel = config.cancel.clone();
        let mut lane = Lane::open_patiently(config).await?;
        let mut loaded = Loaded::default();
        while let Some(next) = cancel.unless(self.frames.next(n)).await? {
            let rows = self.load(&mut lane, &next.frame, next.exclusive).await?;
            let record = &next.frame.record;
            loaded.rows += rows;
            loaded.bytes += record.raw;
            self.progress.advance(record.raw, rows);
            if record.longest > KEPT_BYTES {
                drop(next);
                lane.renew().await?;
            }
        }
        lane.close().await;
        Ok(loaded)
    }

    /// Loads one frame, with retries; returns the number of its rows. `exclusive`: whether no other lane loads
    /// frames of its table meanwhile.
    async fn load(&self, lane: &mut Lane, frame: &Frame, exclusive: bool) -> Result<u64> {
        let n = frame.record.n;
        // Small tables share a frame, and mostly have no others; otherwise lanes wait for each other, and no more.
        let exclusive = exclusive || frame.record.tables.len() > 1;
        let runs = self.loader.runs(frame);
        if self.is_non_transactional(&runs) {
            if self.begun.contains(&n) {
                return Err(interrupted(n));
            }
            let loaded = self.load_without_transaction(lane, n, &runs).await;
            loaded.map_err(|failure| failure.into_error().context(format!("frame {n}")))?;
        } else {
            let mut tries = Tries::default();
            while let Err(failure) = self.load_in_transaction(lane, n, &runs, exclusive).await {
                let again = tries.again(lane, failure).await;
                again.map_err(|error| error.context(format!("frame {n}")))?;
            }
        }
        Ok(runs.iter().map(Run::rows).sum())
    }

    /// Loads a frame in one transaction, unless it is already loaded.
    ///
    /// The progress row is inserted first: this waits for an earlier attempt whose connection was lost, and
    /// then shows whether that attempt took effect.
    async fn load_in_transaction(
        &self,
        lane: &mut Lane,
        n: u64,
        runs: &[Run<'_>],
        exclusive: bool,
    ) -> Result<(), Failure> {
        const DUPLICATE: u16 = 1062;
        // Ends: each refusal leaves a table less that is loaded by LOAD DATA.
        loop {
            // A lock timeout leaves the transaction of the last attempt open.
            lane.run(b"ROLLBACK").await?;
            lane.run(b"START TRANSACTION").await?;
            match lane.run(marker::frame_done(n).as_bytes()).await {
                Err(Failure::Fatal(error)) if server_code(&error) == Some(DUPLICATE) => {
                    return lane.run(b"ROLLBACK").await.map(|_| ());
                }
                noted => noted?,
            };
            if self.load_all(lane, runs, exclusive).await? {
                return lane.run(b"COMMIT").await.map(|_| ());
            }
        }
    }

    /// Loads a frame of a non-transactional table, without retries.
    async fn load_without_transaction(
        &self,
        lane: &mut Lane,
        n: u64,
        runs: &[Run<'_>],
    ) -> Result<(), Failure> {
        lane.run(marker::frame_begun(n).as_bytes()).await?;
        for run in runs {
            self.loader.insert(lane, run).await?;
        }
        lane.run(marker::non_transactional_frame_done(n).as_bytes())
            .await
            .map(|_| ())
    }

    /// Returns false if LOAD DATA did not load all rows unchanged.
    async fn load_all(
        &self,
        lane: &mut Lane,
        runs: &[Run<'_>],
        exclusive: bool,
    ) -> Result<bool, Failure> {
        for run in runs {
            if let Outcome::Refused(_) = self.loader.load(lane, run, exclusive).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn is_non_transactional(&self, runs: &[Run<'_>]) -> bool {
        runs.iter()
            .any(|run| self.non_transactional.contains(run.table()))
    }
}

fn interrupted(n: u64) -> Error {
    Error::server(format!(
        "frame {n} was interrupted; its table is not transactional, so it is unknown which of its rows were loaded"
    ))
    .hint("start over with --discard --confirm <target>")
}
