//! `drctl list`: lists backups, newest first.

use jiff::Timestamp;
use serde::Serialize;

use crate::archive::manifest::MYSQL;
use crate::catalog::Entry;
use crate::cli::output::text;
use crate::cli::{Context, from_here};
use crate::keys::signers::Signed;
use crate::layout::BackupId;
use crate::stream::from_here::{FromHere, Said};
use crate::util::error::Result;
use crate::util::format::Output;

/// One backup, as in `list --output json`.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Id of the backup.
    pub id: BackupId,
    /// Time of its snapshot.
    pub snapshot_at: Timestamp,
    /// Kind of the source.
    pub kind: String,
    /// Bytes of the dump.
    pub raw_bytes: u64,
    /// Bytes in the store.
    pub stored_bytes: u64,
    /// Number of tables.
    pub tables: u64,
    /// Number of rows in all tables, or of lines.
    pub rows: u64,
    /// Number of objects, tables included.
    pub objects: u64,
    /// When a restore of it was last verified.
    pub verified_at: Option<Timestamp>,
    /// When a drill found the backup damaged or wrong, unless it was verified later.
    pub failed_at: Option<Timestamp>,
    /// Whether the backup is suspect and not accepted.
    pub suspect: bool,
    /// Why the backup is suspect.
    pub suspect_reasons: Vec<String>,
    /// Whether retention keeps it forever.
    pub pinned: bool,
    /// Whether an allowed signer signed the backup.
    pub authenticated: bool,
    /// Who signed it, or why that is not known.
    pub signed: Signed,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// Labels of the backup.
    pub labels: std::collections::BTreeMap<String, String>,
    /// Whether a restore to a later moment can begin with the backup; `None` if the archived log cannot be read.
    pub pitr: Option<Said>,
}

impl Row {
    fn of(entry: &Entry, here: Option<&FromHere>) -> Row {
        let manifest = &entry.manifest;
        Row {
            id: entry.id,
            snapshot_at: manifest.snapshot_at,
            kind: manifest.kind().to_owned(),
            raw_bytes: manifest.totals.raw_bytes,
            stored_bytes: manifest.totals.stored_bytes,
            tables: manifest.tables(),
            rows: manifest.totals.rows,
            objects: manifest.totals.objects.values().sum(),
            verified_at: entry.marks.verified_at,
            failed_at: entry.marks.failed_at,
            suspect: !entry.is_usable(),
            suspect_reasons: entry.suspect().to_vec(),
            pinned: entry.marks.pinned,
            authenticated: matches!(entry.signed, Signed::By(_)),
            signed: entry.signed.clone(),
            encrypted: manifest.is_encrypted(),
            labels: manifest.labels.clone(),
            pitr: here.map(FromHere::said),
        }
    }
}

/// Prints all readable backups; a damaged one makes the command fail with exit code 6.
pub async fn run(context: &Context) -> Result<()> {
    let catalog = context.catalog().await?;
    let (entries, damaged) = context.cancel.unless(catalog.entries()).await?;
    let stretches = from_here::archived(context).await?;
    let row = |entry: &Entry| {
        let stretches = stretches.as_ref();
        let here = stretches.map(|stretches| FromHere::of(&entry.manifest, stretches));
        Row::of(entry, here.as_ref())
    };
    let rows: Vec<Row> = entries.iter().map(row).collect();
    let has_log = stretches.is_none_or(|stretches| !stretches.is_empty());
    let printed = match context.output {
        Output::Json => text::json(&rows),
        Output::Text if rows.is_empty() && damaged.is_empty() => text::print(&format!(
            "no backups of {} in {}; create one with drctl backup\n",
            context.config.target,
            context.store.location()
        )),
        Output::Text => text::print(&table(&rows, has_log, Timestamp::now())),
    };
    let others = damaged.len().saturating_sub(1);
    match damaged.into_iter().next() {
        None => printed,
        Some(error) if others == 0 => Err(error),
        Some(error) => Err(error.context(format!("{} damaged backups, the newest", others + 1))),
    }
}

/// The column of the log is there where a log is.
fn table(rows: &[Row], has_log: bool, now: Timestamp) -> String {
    let mut headings = vec![
        "ID", ">AGE", ">SQL", ">STORED", ">TABLES", ">ROWS", "VERIFIED", "NOTES",
    ];
    // A target has backups of one kind.
    let is_sql = rows.iter().any(|row| row.kind == MYSQL);
    if !is_sql {
        (headings[2], headings[4], headings[5]) = (">SIZE", ">OBJECTS", ">LINES");
    }
    if has_log {
        headings.insert(7, "PITR FROM HERE");
    }
    let cells = |row: &Row| {
        let mut cells = vec![
            row.id.to_string(),
            text::age(row.snapshot_at, now),
            text::bytes(row.raw_bytes),
            text::bytes(row.stored_bytes),
            text::count(if is_sql { row.tables } else { row.objects }),
            text::count(row.rows),
            row.verified_at
                .map_or("never".to_owned(), |at| text::ago(at, now)),
            notes(row),
        ];
        if has_log {
            let word = row.pitr.as_ref().map_or("?", Said::word);
            cells.insert(7, word.to_owned());
        }
        cells
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
    match &row.signed {
        Signed::Unverified => {}
        Signed::By(signer) => notes.push(format!("signed by {signer}")),
        Signed::Warned(_) => notes.push("NOT TRUSTED".to_owned()),
        // It is suspect.
        Signed::Refused(_) => {}
    }
    if row.encrypted {
        notes.push("encrypted".to_owned());
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
