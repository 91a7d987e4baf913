//! `drctl list`: what backups exist, newest first.

use jiff::Timestamp;
use serde::Serialize;

use crate::catalog::Entry;
use crate::cli::Output;
use crate::commands::{Run, text};
use crate::error::Result;
use crate::store::keys::BackupId;

/// One backup as `list --output json` shows it.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Its id.
    pub id: BackupId,
    /// When its data were as they are in it.
    pub snapshot_at: Timestamp,
    /// Bytes of SQL.
    pub raw_bytes: u64,
    /// Bytes in the store.
    pub stored_bytes: u64,
    /// Tables in it.
    pub tables: u64,
    /// Rows in all of them.
    pub rows: u64,
    /// When a restore of it was last verified.
    pub proven_at: Option<Timestamp>,
    /// When a drill found it damaged or wrong; nothing was proven since.
    pub failed_at: Option<Timestamp>,
    /// Whether it must not be trusted by itself.
    pub suspect: bool,
    /// Why.
    pub suspect_reasons: Vec<String>,
    /// Whether it is kept for ever.
    pub pinned: bool,
    /// Whether it is signed; never, in format 1.
    pub authenticated: bool,
    /// Its labels.
    pub labels: std::collections::BTreeMap<String, String>,
}

impl From<&Entry> for Row {
    fn from(entry: &Entry) -> Row {
        let manifest = &entry.manifest;
        Row {
            id: entry.id,
            snapshot_at: manifest.snapshot_at,
            raw_bytes: manifest.totals.raw_bytes,
            stored_bytes: manifest.totals.stored_bytes,
            tables: manifest.tables(),
            rows: manifest.totals.rows,
            proven_at: entry.marks.proven_at,
            failed_at: entry.marks.failed_at,
            suspect: !entry.is_trusted(),
            suspect_reasons: entry.suspect().to_vec(),
            pinned: entry.marks.pinned,
            authenticated: manifest.is_authenticated(),
            labels: manifest.labels.clone(),
        }
    }
}

/// Shows them: all that can be read, also where a damaged one makes the command fail (exit 6).
pub async fn run(run: &Run) -> Result<()> {
    let catalog = run.catalog().await?;
    let (entries, damaged) = run.cancel.unless(catalog.entries()).await?;
    let rows: Vec<Row> = entries.iter().map(Row::from).collect();
    match run.output {
        Output::Json => text::json(&rows)?,
        Output::Text if rows.is_empty() && damaged.is_empty() => text::print(&format!(
            "no backups of {} in {}; make one with drctl backup\n",
            run.config.target,
            run.store.location()
        ))?,
        Output::Text => text::print(&table(&rows, Timestamp::now()))?,
    }
    let others = damaged.len().saturating_sub(1);
    match damaged.into_iter().next() {
        None => Ok(()),
        Some(error) if others == 0 => Err(error),
        Some(error) => Err(error.context(format!("{} damaged backups, the newest", others + 1))),
    }
}

fn table(rows: &[Row], now: Timestamp) -> String {
    let headings = [
        "ID", ">AGE", ">SQL", ">STORED", ">TABLES", ">ROWS", "PROVEN", "NOTES",
    ];
    let cells = |row: &Row| {
        vec![
            row.id.to_string(),
            text::age(row.snapshot_at, now),
            text::bytes(row.raw_bytes),
            text::bytes(row.stored_bytes),
            text::count(row.tables),
            text::count(row.rows),
            row.proven_at
                .map_or("never".to_owned(), |at| text::ago(at, now)),
            notes(row),
        ]
    };
    text::table(&headings, &rows.iter().map(cells).collect::<Vec<_>>())
}

fn notes(row: &Row) -> String {
    let mut notes = Vec::new();
    if row.suspect {
        notes.push("SUSPECT".to_owned());
    }
    if row.failed_at.is_some() {
        notes.push("DRILL FAILED".to_owned());
    }
    if row.pinned {
        notes.push("pinned".to_owned());
    }
    notes.extend(
        row.labels
            .iter()
            .map(|(name, value)| format!("{name}={value}")),
    );
    notes.join(" ")
}
