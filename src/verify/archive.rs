//! The part of a drill that needs no server: fetches every byte of the archive, checks its digests, decodes
//! and scans it, recomputes its ledger, and compares that with the index.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::archive::accounts;
use crate::archive::read::Archive;
use crate::comparison::compare::{Comparison, compare};
use crate::restore::frames::read_ahead::{FrameSource, ReadyFrame};
use crate::restore::report::Progress;
use crate::sql::ledger::{Ledger, RowSum};
use crate::sql::statement::{Kind, ObjectId, Statement};
use crate::util::cancel::Cancel;
use crate::util::error::{Error, Result};

/// Row sums of one frame, by table.
type Sums = BTreeMap<ObjectId, RowSum>;

/// Reads the whole archive and compares the sums of its SQL with its ledger.
pub async fn verify(
    archive: &Archive,
    progress: &Arc<dyn Progress>,
    cancel: &Cancel,
) -> Result<Comparison> {
    archive.check_documents().await?;
    accounts::read(archive).await?;
    let mut frames = FrameSource::of(archive, cancel)?.read_all();
    // Definitions in their order, since that of triggers counts; rows in any order.
    let (mut ledger, mut sums) = (Ledger::default(), JoinSet::new());
    while let Some(ready) = cancel.unless(frames.next()).await? {
        progress.advance(ready.frame.record.raw, ready.frame.record.rows);
        define(&mut ledger, &ready)?;
        sums.spawn_blocking(move || rows_of(&ready));
        while let Some(done) = sums.try_join_next() {
            add(&mut ledger, done)?;
        }
    }
    while let Some(done) = sums.join_next().await {
        add(&mut ledger, done)?;
    }
    let expected = &archive.contents().ledger;
    Ok(compare(expected.entries(), ledger.entries()))
}

/// Fails with exit 6 if the archive's SQL differs from its own ledger: it is damaged, or forged.
pub fn refuse_differences(found: &Comparison) -> Result<()> {
    if found.is_equal() {
        Ok(())
    } else {
        Err(Error::archive(format!(
            "the SQL of the archive differs from its ledger: {}",
            found.summary()
        )))
    }
}

fn define(ledger: &mut Ledger, ready: &ReadyFrame) -> Result<()> {
    let statements = ready.frame.statements();
    for (statement, sql) in statements.filter(|(one, _)| !matches!(one.kind, Kind::Insert { .. })) {
        let observed = Statement {
            text: sql,
            sql,
            kind: statement.kind.clone(),
        };
        ledger
            .observe(&observed, &statement.session)
            .map_err(|e| Error::archive("the archive is inconsistent").because(e))?;
    }
    Ok(())
}

fn rows_of(ready: &ReadyFrame) -> Result<Sums> {
    let mut sums = Sums::new();
    for (statement, sql) in ready.frame.statements() {
        if let Kind::Insert { table } = &statement.kind {
            let sum = RowSum::of_insert(sql).map_err(|e| {
                Error::archive(format!("cannot read the rows of {table}")).because(e)
            })?;
            match sums.get_mut(table) {
                Some(all) => all.add(sum),
                None => drop(sums.insert(table.clone(), sum)),
            }
        }
    }
    Ok(sums)
}

fn add(
    ledger: &mut Ledger,
    done: std::result::Result<Result<Sums>, tokio::task::JoinError>,
) -> Result<()> {
    let sums =
        done.map_err(|e| Error::unexpected("digesting a frame was interrupted").because(e))??;
    for (table, sum) in sums {
        ledger.add_rows(&table, sum);
    }
    Ok(())
}
