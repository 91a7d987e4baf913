//! The marker of a restore in progress. Whatever the restore creates is recorded before it is created.

use std::collections::{BTreeMap, BTreeSet};

use crate::mysql::connect::literal;
use crate::restore::session::lane::Lane;
use crate::restore::state::marker::{Marker, Pass, PendingEvent, SCHEMA, kind_word};
use crate::sql::definer::Account;
use crate::sql::statement::ObjectId;
use crate::util::error::Result;

/// The marker of a restore in progress.
pub struct OpenMarker {
    /// The connection that maintains the marker and holds the restore's lock; never in a session of the dump.
    pub control: Lane,
    /// Contents of the marker, as recorded on the server.
    pub contents: Marker,
}

impl OpenMarker {
    /// Whether the restore substitutes this definer.
    pub fn substitutes(&self, definer: &Account) -> bool {
        let substituted = &self.contents.request.substituted;
        substituted.contains(&definer.to_string())
    }

    /// Objects with a substituted definer, and their original definers.
    pub fn substituted(
        &self,
        definers: &BTreeMap<Account, BTreeSet<ObjectId>>,
    ) -> BTreeMap<ObjectId, Account> {
        let mut all = BTreeMap::new();
        for (definer, objects) in definers {
            if self.substitutes(definer) {
                all.extend(
                    objects
                        .iter()
                        .map(|object| (object.clone(), definer.clone())),
                );
            }
        }
        all
    }

    /// Records objects before the restore creates any of them.
    pub async fn note_objects(&mut self, objects: BTreeSet<ObjectId>) -> Result<()> {
        /// Rows per INSERT.
        const BATCH: usize = 500;
        let rows: Vec<String> = objects
            .iter()
            .map(|object| {
                format!(
                    "({}, {}, {})",
                    literal(&kind_word(object.kind)),
                    literal(&object.schema),
                    literal(&object.name)
                )
            })
            .collect();
        for rows in rows.chunks(BATCH) {
            let sql = format!("REPLACE INTO {SCHEMA}.objects VALUES {}", rows.join(", "));
            self.control.persist(&sql).await?;
        }
        self.contents.objects.extend(objects);
        Ok(())
    }

    /// Records an account before it is created. The account is kept when the restore is discarded: it may be
    /// in use.
    pub async fn note_account(&mut self, account: &str) -> Result<()> {
        if self.contents.accounts.insert(account.to_owned()) {
            let account = literal(account);
            let sql = format!("REPLACE INTO {SCHEMA}.accounts VALUES ({account})");
            self.control.persist(&sql).await?;
        }
        Ok(())
    }

    /// Records that a pass is complete.
    pub async fn note_pass(&mut self, pass: Pass) -> Result<()> {
        let sql = format!("REPLACE INTO {SCHEMA}.passes VALUES ('{}')", pass.name());
        self.control.persist(&sql).await
    }

    /// Records an event to be enabled later.
    pub async fn note_event(&mut self, event: PendingEvent) -> Result<()> {
        let sql = format!(
            "REPLACE INTO {SCHEMA}.events VALUES ({}, {}, {})",
            literal(&event.schema),
            literal(&event.name),
            literal(&event.definer)
        );
        self.control.persist(&sql).await?;
        self.contents.events.insert(event);
        Ok(())
    }

    /// Records an event if the server dropped it at its creation, because its execution time has passed: the
    /// server issues a note at most.
    pub async fn note_if_expired(&mut self, event: &ObjectId) -> Result<()> {
        let (schema, name) = (literal(&event.schema), literal(&event.name));
        let sql = format!(
            "SELECT 1 FROM information_schema.events WHERE event_schema = {schema} AND event_name = {name}"
        );
        if !self.control.query::<u8>(&sql).await?.is_empty() {
            return Ok(());
        }
        let sql = format!("REPLACE INTO {SCHEMA}.expired VALUES ({schema}, {name})");
        self.control.persist(&sql).await?;
        let sql =
            format!("DELETE FROM {SCHEMA}.events WHERE `schema` = {schema} AND name = {name}");
        self.control.persist(&sql).await?;
        self.contents
            .events
            .retain(|pending| pending.object() != *event);
        self.contents.expired.insert(event.clone());
        Ok(())
    }
}
