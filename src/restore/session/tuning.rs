//! Server settings that are changed during a restore, and reverted.
//!
//! Old values are recorded in the marker before a change, so that the next run, or `restore
//! --undo-settings`, reverts them after a SIGKILL. Global settings are changed only on request.

use crate::archive::read::Archive;
use crate::mysql::connect::{literal, set_global};
use crate::replay::destination::Destination;
use crate::restore::inspect::destination::DestinationFacts;
use crate::restore::options::{Loader, RestoreOptions, Tuning};
use crate::restore::session::lane::Lane;
use crate::restore::state::marker::SCHEMA;
use crate::util::error::Result;

/// Sort buffer in bytes per lane for building keys.
const KEY_SORT_BYTES: u64 = 64 << 20;

/// Name under which the state of the redo log is recorded; it is not a variable.
const REDO_LOG: &str = "INNODB REDO_LOG";

/// Whether a client may send rows for LOAD DATA; off by default in MySQL.
pub const LOCAL_INFILE: &str = "local_infile";

/// A setting that every replay changes, and nothing else.
const OF_A_REPLAY: &str = "server_id";

/// Session settings of this restore, besides those of all restores
/// ([`crate::restore::session::lane_session`]); none of them is changed by a session of a dump.
pub fn lane_settings(
    facts: &DestinationFacts,
    options: &RestoreOptions,
    archive: &Archive,
) -> Vec<String> {
    let has = |name: &str| facts.variables.contains_key(name);
    let mut all = Vec::new();
    if !options.binlog && facts.is_on("log_bin") {
        all.push("SET SESSION sql_log_bin = 0".to_owned());
    }
    if has("innodb_ddl_buffer_size") {
        all.push(format!(
            "SET SESSION innodb_ddl_buffer_size = {KEY_SORT_BYTES}"
        ));
    }
    all.extend(heap_setting(facts, archive));
    all
}

/// Raises the maximum size of MEMORY tables, which each table keeps from its creation until the server is restarted:
/// to the target's value, or more if a table was larger.
fn heap_setting(facts: &DestinationFacts, archive: &Archive) -> Option<String> {
    const VARIABLE: &str = "max_heap_table_size";
    let tables = archive.contents().inventory.iter().filter(|entry| {
        let engine = entry.engine.as_deref();
        engine.is_some_and(|engine| engine.eq_ignore_ascii_case("MEMORY"))
    });
    // Doubled, since another version may need more memory for rows and hashes.
    let largest = tables.map(|table| table.bytes.saturating_mul(2)).max()?;
    let theirs = archive.manifest().server.fingerprint.get(VARIABLE);
    let theirs = theirs.and_then(|value| value.parse().ok()).unwrap_or(0);
    let bytes = largest.max(theirs);
    let fits = facts.number(VARIABLE).is_none_or(|ours| ours >= bytes);
    (!fits).then(|| format!("SET SESSION {VARIABLE} = {bytes}"))
}

/// Whether the changes of [`apply`] permit LOCAL INFILE.
pub fn set_local_infile(changes: &[String]) -> bool {
    changes
        .iter()
        .any(|change| change.starts_with(LOCAL_INFILE))
}

/// Applies the requested settings; returns the changes, as `name = value`.
pub async fn apply(
    control: &mut Lane,
    facts: &DestinationFacts,
    tuning: Tuning,
    loader: Loader,
) -> Result<Vec<String>> {
    let mut changes: Vec<(&str, &str)> = Vec::new();
    if tuning != Tuning::Keep {
        changes.extend([
            // Not 0: committed data would not survive a crash of the server process.
            ("innodb_flush_log_at_trx_commit", "2"),
            ("sync_binlog", "0"),
        ]);
        if loader == Loader::Auto && !facts.is_on(LOCAL_INFILE) {
            changes.push((LOCAL_INFILE, "1"));
        }
    }
    changes.retain(|(name, value)| {
        facts
            .variables
            .get(*name)
            .is_some_and(|current| current != value)
    });
    let mut done = Vec::new();
    for (name, value) in changes {
        note(control, name, facts.variable(name)).await?;
        control
            .persist(&format!("SET GLOBAL {name} = {value}"))
            .await?;
        done.push(format!("{name} = {value}"));
    }
    if tuning == Tuning::Scratch && facts.has_redo_log_switch {
        note(control, REDO_LOG, "ENABLE").await?;
        control
            .persist("ALTER INSTANCE DISABLE INNODB REDO_LOG")
            .await?;
        done.push(format!("{REDO_LOG} = DISABLE"));
    }
    Ok(done)
}

/// Records the value of a setting before it is changed; one recorded by an unfinished run is the original.
pub async fn note(control: &mut Lane, name: &str, value: &str) -> Result<()> {
    let (name, value) = (literal(name), literal(value));
    let note = format!("INSERT IGNORE INTO {SCHEMA}.settings VALUES ({name}, {value})");
    control.persist(&note).await
}

/// Reverts the settings changed by this or an unfinished restore, and ends the channel of an interrupted replay, without
/// which some cannot be; returns them.
pub async fn revert(control: &mut Lane) -> Result<Vec<String>> {
    let old: Vec<(String, String)> = control
        // While the server is read-only, nothing of this can be recorded.
        .query(&format!(
            "SELECT name, value FROM {SCHEMA}.settings ORDER BY name <> 'read_only', name"
        ))
        .await?;
    if old.iter().any(|(name, _)| name == OF_A_REPLAY) {
        let server = control.config().server.clone();
        Destination::end_interrupted(&server).await?;
    }
    let mut done = Vec::new();
    for (name, value) in old {
        let sql = revert_statement(&name, &value);
        control.persist(&sql).await?;
        let forget = format!(
            "DELETE FROM {SCHEMA}.settings WHERE name = {}",
            literal(&name)
        );
        control.persist(&forget).await?;
        done.push(format!("{name} = {value}"));
    }
    Ok(done)
}

fn revert_statement(name: &str, value: &str) -> String {
    if name == REDO_LOG {
        return "ALTER INSTANCE ENABLE INNODB REDO_LOG".to_owned();
    }
    set_global(name, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_reverted_with_the_type_of_their_value() {
        assert_eq!(
            revert_statement("sync_binlog", "1"),
            "SET GLOBAL sync_binlog = 1"
        );
        assert_eq!(revert_statement("x", "O'N"), "SET GLOBAL x = 'O''N'");
        assert_eq!(
            revert_statement(REDO_LOG, "ENABLE"),
            "ALTER INSTANCE ENABLE INNODB REDO_LOG"
        );
    }
}
