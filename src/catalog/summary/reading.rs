//! Reads summaries, within limits that hold for anything that was put into the store.
//!
//! At most [`READS_AT_ONCE`] of [`MAX_BYTES`] are in memory at a time, and [`MAX_TEXT_BYTES`] of text are decompressed of all
//! together, in a window of at most 8 MiB. Of this text, one record is kept for each backup that the list confirms.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};

use futures_util::StreamExt;
use jiff::Timestamp;

use super::{MAX_BYTES, Record, levels};
use crate::catalog::Catalog;
use crate::layout::{BackupId, SummaryName};
use crate::util::error::{Error, Result};

/// Most summaries that are read at once.
const READS_AT_ONCE: usize = 4;

/// Most summaries that are read; the backups in the others cost a request each.
const MOST_READ: usize = 32;

/// Maximum size of a record in bytes: twice what a manifest and a signature of their maximum sizes have, escaped.
pub(super) const MAX_LINE_BYTES: u64 = 64 << 10;

/// Maximum size of all summaries together in bytes, decompressed.
pub(super) const MAX_TEXT_BYTES: u64 = 256 << 20;

/// Binary logarithm of the largest window that is decompressed; those of summaries have at most 4 MiB.
const MAX_WINDOW_LOG: u32 = 23;

/// What summaries contain.
pub(super) struct Reading {
    catalog: Catalog,
    /// The records of these backups are kept.
    wanted: BTreeSet<BackupId>,
    /// Whether to stop as soon as there is one for each.
    stops: bool,
    /// Bytes of text that may still be decompressed.
    budget: u64,
    /// The records that the list confirms, each with a summary that contains it.
    pub records: BTreeMap<BackupId, (SummaryName, Record)>,
    /// Of each summary that was read, the number of records that the list confirms; `None` if it could not be read.
    confirmed: BTreeMap<SummaryName, Option<usize>>,
}

impl Reading {
    /// Reads until there is a record of each of these backups.
    pub async fn until_found(
        catalog: &Catalog,
        listed: &[(SummaryName, Timestamp)],
        wanted: BTreeSet<BackupId>,
    ) -> Result<Reading> {
        Reading::new(catalog, wanted, true).read_live(listed).await
    }

    /// Reads all summaries that count.
    pub async fn of_all(catalog: &Catalog, listed: &[(SummaryName, Timestamp)]) -> Result<Reading> {
        let wanted = catalog.committed().map(|(id, _)| id).collect();
        Reading::new(catalog, wanted, false).read_live(listed).await
    }

    fn new(catalog: &Catalog, wanted: BTreeSet<BackupId>, stops: bool) -> Reading {
        Reading {
            catalog: catalog.clone(),
            wanted,
            stops,
            budget: MAX_TEXT_BYTES,
            records: BTreeMap::new(),
            confirmed: BTreeMap::new(),
        }
    }

    /// Whether the list confirms something in a summary.
    pub fn is_useful(&self, name: &SummaryName) -> bool {
        matches!(self.confirmed.get(name), Some(Some(1..)))
    }

    /// Whether a summary was read and the list confirms nothing in it.
    pub fn is_useless(&self, name: &SummaryName) -> bool {
        self.confirmed.get(name) == Some(&Some(0))
    }

    async fn read_live(mut self, listed: &[(SummaryName, Timestamp)]) -> Result<Reading> {
        loop {
            // One that cannot be read, or contains nothing, replaces no other.
            let replaces =
                |name: &SummaryName| !self.confirmed.contains_key(name) || self.is_useful(name);
            let mut names = levels::live(listed.to_vec(), replaces);
            names.retain(|name| !self.confirmed.contains_key(name));
            names.truncate(MOST_READ.saturating_sub(self.confirmed.len()));
            if names.is_empty() || self.is_done() {
                return Ok(self);
            }
            self = self.read(names).await?;
        }
    }

    fn is_done(&self) -> bool {
        self.budget == 0 || (self.stops && self.records.len() == self.wanted.len())
    }

    async fn read(mut self, names: Vec<SummaryName>) -> Result<Reading> {
        let (store, target) = (self.catalog.store.clone(), self.catalog.target.clone());
        let reads = names.into_iter().map(|name| {
            let (store, key) = (store.clone(), target.summary(name));
            async move {
                let read = store.get_at_most(&key, MAX_BYTES).await;
                let read = read.inspect_err(|error| tracing::debug!(key, %error, "not used"));
                (name, read.ok())
            }
        });
        let mut reads = futures_util::stream::iter(reads).buffered(READS_AT_ONCE);
        while let Some((name, read)) = reads.next().await {
            match read {
                None => {
                    self.confirmed.insert(name, None);
                }
                Some(stored) => {
                    let adding = move || {
                        self.add(name, &stored);
                        self
                    };
                    self = tokio::task::spawn_blocking(adding).await.map_err(|e| {
                        Error::unexpected("reading a summary was interrupted").because(e)
                    })?;
                }
            }
            if self.is_done() {
                break;
            }
        }
        Ok(self)
    }

    /// Adds the records of a summary, up to the first one that is malformed, that the list confirms.
    fn add(&mut self, name: SummaryName, stored: &[u8]) {
        let text = zstd::Decoder::with_buffer(stored).and_then(|mut text| {
            text.window_log_max(MAX_WINDOW_LOG)?;
            Ok(text)
        });
        let Ok(text) = text else {
            self.confirmed.insert(name, None);
            return;
        };
        let mut lines = BufReader::new(text.take(self.budget));
        let (mut line, mut confirmed) = (Vec::new(), 0);
        loop {
            line.clear();
            // A longer line is cut, and then malformed.
            let mut one = (&mut lines).take(MAX_LINE_BYTES);
            if !matches!(one.read_until(b'\n', &mut line), Ok(1..)) {
                break;
            }
            let Ok(record) = serde_json::from_slice::<Record>(&line) else {
                break;
            };
            confirmed += usize::from(self.is_confirmed(name, record));
        }
        self.budget = lines.get_ref().limit();
        let is_read = confirmed > 0 || self.budget > 0;
        self.confirmed.insert(name, is_read.then_some(confirmed));
    }

    /// Whether the list confirms a record; keeps it if it is the first one of a wanted backup.
    fn is_confirmed(&mut self, name: SummaryName, record: Record) -> bool {
        if let Some((_, known)) = self.records.get(&record.id) {
            return *known == record;
        }
        let marks = self.catalog.marks.get(&record.id);
        let is_confirmed = marks.is_some_and(|marks| record.is_of(marks));
        if is_confirmed && self.wanted.contains(&record.id) {
            self.records.insert(record.id, (name, record));
        }
        is_confirmed
    }
}

#[cfg(test)]
#[path = "reading_tests.rs"]
mod tests;
