//! The half of a drill that needs no server: every byte of the archive is fetched, held against its
//! digests, decoded and scanned, and its ledger computed anew and held against the index.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::apply::guard::Guard;
use crate::apply::offered;
use crate::apply::options::RestoreOptions;
use crate::apply::read_ahead::{ReadAhead, ReadyFrame};
use crate::apply::report::Progress;
use crate::archive::read::Archive;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::proof::compare::{Comparison, compare};
use crate::sql::ledger::{Ledger, RowSum};
use crate::sql::statement::{Kind, ObjectId, Statement};

/// Rows of one frame, by table.
type Sums = BTreeMap<ObjectId, RowSum>;

/// Reads the whole archive; what its SQL adds up to, held against its ledger.
pub async fn verify(
    archive: &Archive,
    progress: &Arc<dyn Progress>,
    cancel: &Cancel,
) -> Result<Comparison> {
    archive.check_documents().await?;
    offered::read(archive).await?;
    let guard = Arc::new(guard(archive)?);
    let memory_bytes = RestoreOptions::default().memory_bytes;
    let mut frames = ReadAhead::whole(archive, &guard, memory_bytes, cancel);
    // The definitions in their order, since that of triggers counts; rows in any.
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

/// Admits what is about the schemas of the backup.
pub fn guard(archive: &Archive) -> Result<Guard> {
    let objects = archive.contents().ledger.iter();
    Guard::new(objects.map(|(object, _)| object.schema.clone()))
}

/// An archive whose SQL is not what its own ledger says is damaged, or forged (exit 6).
pub fn refuse_differences(found: &Comparison) -> Result<()> {
    match found.is_equal() {
        true => Ok(()),
        false => Err(Error::archive(format!(
            "the SQL of the archive is not what its ledger says: {}",
            found.summary()
        ))),
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
            .map_err(|e| Error::archive("the archive contradicts itself").because(e))?;
    }
    Ok(())
}

fn rows_of(ready: &ReadyFrame) -> Result<Sums> {
    let mut sums = Sums::new();
    for (statement, sql) in ready.frame.statements() {
        if let Kind::Insert { table } = &statement.kind {
            let sum = RowSum::of_insert(sql)
                .map_err(|e| Error::archive(format!("{table}: rows cannot be read")).because(e))?;
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
    let sums = done.map_err(|e| Error::unexpected("digesting a frame broke off").because(e))??;
    for (table, sum) in sums {
        ledger.add_rows(&table, sum);
    }
    Ok(())
}
