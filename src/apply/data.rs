//! The pass of rows: lanes that each take the next frame that is ready.
//!
//! A frame is one transaction, and its progress row is part of it: whatever happens, a frame is in or
//! it is not, and the row says which. So a lost connection at COMMIT is settled by looking, a deadlock
//! by repeating, and an interrupted restore by skipping what is in.
//!
//! Tables whose engine has no transactions cannot be settled so. Their frames are written down before
//! they begin, and one that broke off ends the restore.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::Mutex;

use crate::apply::engine::Engine;
use crate::apply::failure::Failure;
use crate::apply::frame::{Frame, FrameStatement};
use crate::apply::insert::insert;
use crate::apply::lane::{Lane, LaneConfig, Lanes, Tries};
use crate::apply::marker::{self, Pass};
use crate::apply::options::{Check, Scope};
use crate::apply::read_ahead::ReadAhead;
use crate::apply::report::Progress;
use crate::archive::index::FrameRecord;
use crate::error::{Error, Result};
use crate::server::connect::{literal, server_code};
use crate::sql::computed::Needs;
use crate::sql::session::Session;
use crate::sql::statement::{Kind, ObjectId, Section};

/// A connection keeps a buffer as long as the longest statement that it ever sent: behind a longer one
/// than this, bytes, it is given up with its buffer.
const KEPT_BYTES: u64 = 16 << 20;

/// What the lanes loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Rows.
    pub rows: u64,
    /// Bytes of SQL.
    pub bytes: u64,
}

/// Loads all rows in scope that are not in yet, and asks the server at the end whether they are: one that
/// crashed while it did not flush each commit may have lost frames that it had taken.
pub async fn run(engine: &mut Engine) -> Result<Loaded> {
    /// How often frames that are lost are loaded again.
    const MOST: u32 = 4;
    engine
        .progress
        .begin(Pass::Data, Some(engine.archive.manifest().totals.raw_bytes));
    let chosen = engine.chosen_tables();
    let holds_rows = move |record: &FrameRecord| {
        record.has(Section::Data) && record.tables.iter().any(|table| chosen.contains(table))
    };
    // All of it passes by here: then the segments are held against their digests on the way.
    let mut whole = engine.options.check == Check::Loading
        && engine.options.scope.is_everything()
        && !engine.resuming;
    let mut done = engine.marker.frames.clone();
    let mut loaded = Loaded::default();
    for _ in 0..MOST {
        let known = done.clone();
        let holds = holds_rows.clone();
        let wanted: Wanted = Arc::new(move |record| holds(record) && !known.contains(&record.n));
        let more = load(engine, wanted, whole).await?;
        loaded.rows += more.rows;
        loaded.bytes += more.bytes;
        whole = false;
        done = marker::frames_done(&mut engine.control).await?;
        let (mut frames, mut lost) = (engine.archive.frames()?, 0);
        while let Some(record) = frames.read()? {
            lost += u64::from(holds_rows(&record) && !done.contains(&record.n));
        }
        if lost == 0 {
            return Ok(loaded);
        }
        tracing::warn!(
            frames = lost,
            "the server lost rows that it had taken: loading them again"
        );
    }
    Err(Error::server(
        "the server keeps losing rows that it had taken",
    ))
}

/// Which frames are loaded.
type Wanted = Arc<dyn Fn(&FrameRecord) -> bool + Send + Sync>;

/// Loads frames; with `whole` all others pass by, too.
async fn load(engine: &mut Engine, wanted: Wanted, whole: bool) -> Result<Loaded> {
    let fragile = Arc::new(without_transactions(engine).await?);
    let frames = match whole {
        true => engine.read_whole(),
        false => {
            let wanted = wanted.clone();
            engine.read_ahead(move |record| wanted(record))
        }
    };
    let shared = Arc::new(Shared {
        frames: Mutex::new(frames),
        wanted,
        turn: Mutex::new(()),
        scope: engine.options.scope.clone(),
        needs: engine.survey.needs.clone(),
        fragile,
        begun: engine.marker.begun.clone(),
        progress: engine.progress.clone(),
    });
    let mut lanes = Lanes::new(&engine.lane_config);
    for _ in 0..engine.options.lanes.max(1) {
        let shared = shared.clone();
        lanes.begin(|config| async move { shared.work(config).await });
    }
    let mut loaded = Loaded::default();
    for lane in lanes.join().await? {
        loaded.rows += lane.rows;
        loaded.bytes += lane.bytes;
    }
    Ok(loaded)
}

/// Tables in scope whose engine on this server has no transactions.
async fn without_transactions(engine: &mut Engine) -> Result<BTreeSet<ObjectId>> {
    let schemas: Vec<String> = engine
        .placed_schemas()
        .iter()
        .map(|name| literal(name))
        .collect();
    if schemas.is_empty() {
        return Ok(BTreeSet::new());
    }
    let sql = format!(
        "SELECT table_schema, table_name FROM information_schema.tables
         WHERE table_type NOT IN ('VIEW', 'SEQUENCE') AND engine NOT IN
         (SELECT engine FROM information_schema.engines WHERE transactions = 'YES')
         AND table_schema IN ({})",
        schemas.join(", ")
    );
    let tables: Vec<(String, String)> = engine.control.query(&sql).await?;
    Ok(tables
        .into_iter()
        .map(|(schema, name)| ObjectId::table(schema, name))
        .collect())
}

/// What the lanes share.
struct Shared {
    frames: Mutex<ReadAhead>,
    wanted: Wanted,
    /// Held while rows of a table without transactions go in.
    turn: Mutex<()>,
    scope: Scope,
    /// What the expressions of tables need, by their names on the server.
    needs: BTreeMap<ObjectId, Needs>,
    /// Tables without transactions, by their names on the server.
    fragile: Arc<BTreeSet<ObjectId>>,
    /// Frames of such tables that an earlier run began.
    begun: BTreeSet<u64>,
    progress: Arc<dyn Progress>,
}

impl Shared {
    /// One lane: frame after frame until there is none.
    async fn work(&self, config: LaneConfig) -> Result<Loaded> {
        let cancel = config.cancel.clone();
        let mut lane = Lane::open_patiently(config).await?;
        let mut loaded = Loaded::default();
        loop {
            let mut frames = cancel
                .unless(async { Ok(self.frames.lock().await) })
                .await?;
            let Some(ready) = cancel.unless(frames.next()).await? else {
                break;
            };
            if !(self.wanted)(&ready.frame.record) {
                continue;
            }
            // Rows of tables without transactions come in their order, one frame after the other: ARCHIVE takes no
            // number below the highest, and MyISAM keeps rows as they came.
            let _turn = match self
                .in_scope(&ready.frame)
                .iter()
                .any(|(one, _)| self.is_fragile(&one.kind))
            {
                true => Some(cancel.unless(async { Ok(self.turn.lock().await) }).await?),
                false => None,
            };
            drop(frames);
            let rows = self.load(&mut lane, &ready.frame).await?;
            loaded.rows += rows;
            loaded.bytes += ready.frame.record.raw;
            self.progress.advance(ready.frame.record.raw, rows);
            if ready.frame.record.longest > KEPT_BYTES {
                drop(ready);
                lane.renew().await?;
            }
        }
        lane.close().await;
        Ok(loaded)
    }

    /// Loads one frame, repeating it where that can help; says how many rows it has.
    async fn load(&self, lane: &mut Lane, frame: &Frame) -> Result<u64> {
        let n = frame.record.n;
        let statements = self.in_scope(frame);
        if statements.iter().any(|(one, _)| self.is_fragile(&one.kind)) {
            if self.begun.contains(&n) {
                return Err(broke_off(n));
            }
            let loaded = load_fragile(lane, self, n, &statements).await;
            loaded.map_err(|failure| failure.into_error().context(format!("frame {n}")))?;
        } else {
            let mut tries = Tries::default();
            while let Err(failure) = load_once(lane, self, n, &statements).await {
                let again = tries.again(lane, failure).await;
                again.map_err(|error| error.context(format!("frame {n}")))?;
            }
        }
        Ok(statements.iter().map(|(one, _)| one.rows).sum())
    }

    /// The session that rows are inserted in.
    fn session_of(&self, statement: &FrameStatement) -> Session {
        let session = self.scope.session(&statement.session).with_any_day();
        let needs = match &statement.kind {
            Kind::Insert { table } => self.needs.get(&self.scope.placed(table)),
            _ => None,
        };
        needs.map_or_else(|| session.clone(), |needs| needs.while_loading(&session))
    }

    fn is_fragile(&self, kind: &Kind) -> bool {
        match kind {
            Kind::Insert { table } => self.fragile.contains(&self.scope.placed(table)),
            _ => false,
        }
    }

    /// The INSERTs of a frame into tables in scope.
    fn in_scope<'a>(&self, frame: &'a Frame) -> Vec<(&'a FrameStatement, &'a [u8])> {
        let takes = |kind: &Kind| match kind {
            Kind::Insert { table } => self.scope.takes_table(&table.schema, &table.name),
            _ => false,
        };
        frame
            .of(Section::Data)
            .filter(|(statement, _)| takes(&statement.kind))
            .collect()
    }
}

type Inserts<'a> = [(&'a FrameStatement, &'a [u8])];

/// Loads a frame in one transaction; one that is in already stays as it is.
///
/// The progress row comes first: it waits for an earlier try of which only the connection is gone,
/// and then says whether that took effect.
async fn load_once(
    lane: &mut Lane,
    shared: &Shared,
    n: u64,
    statements: &Inserts<'_>,
) -> Result<(), Failure> {
    const DUPLICATE: u16 = 1062;
    // A lock time-out leaves the transaction of the last try open.
    lane.run(b"ROLLBACK").await?;
    lane.run(b"START TRANSACTION").await?;
    match lane.run(marker::frame_done(n).as_bytes()).await {
        Err(Failure::Fatal(error)) if server_code(&error) == Some(DUPLICATE) => {
            return lane.run(b"ROLLBACK").await.map(|_| ());
        }
        noted => noted?,
    };
    insert_all(lane, shared, statements).await?;
    lane.run(b"COMMIT").await.map(|_| ())
}

/// Loads a frame of a table without transactions, once.
async fn load_fragile(
    lane: &mut Lane,
    shared: &Shared,
    n: u64,
    statements: &Inserts<'_>,
) -> Result<(), Failure> {
    lane.run(marker::frame_begun(n).as_bytes()).await?;
    insert_all(lane, shared, statements).await?;
    lane.run(marker::fragile_frame_done(n).as_bytes())
        .await
        .map(|_| ())
}

async fn insert_all(
    lane: &mut Lane,
    shared: &Shared,
    statements: &Inserts<'_>,
) -> Result<(), Failure> {
    for (statement, sql) in statements {
        lane.enter(&shared.session_of(statement)).await?;
        let inserted = insert(lane, statement, sql).await;
        inserted.map_err(|failure| match &statement.kind {
            // What was taken otherwise than it was dumped says so itself.
            Kind::Insert { table } if !failure.is_verdict() => {
                failure.context(shared.scope.placed(table))
            }
            _ => failure,
        })?;
    }
    Ok(())
}

fn broke_off(n: u64) -> Error {
    Error::server(format!(
        "frame {n} broke off half-way, and its table's engine has no transactions: which of its rows are in is unknown"
    ))
    .hint("begin anew with --discard --confirm <target>")
}
