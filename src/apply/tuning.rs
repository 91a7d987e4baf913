//! Settings of the server that are changed while it is restored, and put back.
//!
//! Old values are in the marker before anything is changed, so that the next run, or
//! `restore --undo-settings`, puts them back after a SIGKILL. Nothing global is touched unless it was
//! asked for.

use crate::apply::facts::TargetFacts;
use crate::apply::lane::Lane;
use crate::apply::marker::SCHEMA;
use crate::apply::options::{RestoreOptions, Tuning};
use crate::error::Result;
use crate::server::connect::literal;

/// What builds a key sorts in this much of the server's memory, bytes a lane.
const KEY_SORT_BYTES: u64 = 64 << 20;

/// The name under which the state of the redo log is written down: it is no variable.
const REDO_LOG: &str = "INNODB REDO_LOG";

/// The settings of every connection of this restore, beside those of all
/// ([`super::lane_session`]); none that a session of a dump changes.
pub fn lane_settings(facts: &TargetFacts, options: &RestoreOptions) -> Vec<String> {
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
    all
}

/// Changes what was asked for; says what it changed, as `name = value`.
pub async fn apply(control: &mut Lane, facts: &TargetFacts, tuning: Tuning) -> Result<Vec<String>> {
    let mut changes: Vec<(&str, &str)> = Vec::new();
    if tuning != Tuning::Keep {
        changes.extend([
            // Not 0: what is committed would not outlive a crash of the server alone.
            ("innodb_flush_log_at_trx_commit", "2"),
            ("sync_binlog", "0"),
        ]);
    }
    changes.retain(|(name, value)| {
        facts
            .variables
            .get(*name)
            .is_some_and(|current| current != value)
    });
    let mut done = Vec::new();
    for (name, value) in changes {
        // An unfinished run's old value is the true one.
        let old = literal(facts.variable(name));
        let note = format!("INSERT IGNORE INTO {SCHEMA}.settings VALUES ('{name}', {old})");
        control.persist(&note).await?;
        control
            .persist(&format!("SET GLOBAL {name} = {value}"))
            .await?;
        done.push(format!("{name} = {value}"));
    }
    if tuning == Tuning::Scratch && facts.has_redo_log_switch {
        let note = format!("INSERT IGNORE INTO {SCHEMA}.settings VALUES ('{REDO_LOG}', 'ENABLE')");
        control.persist(&note).await?;
        control
            .persist("ALTER INSTANCE DISABLE INNODB REDO_LOG")
            .await?;
        done.push(format!("{REDO_LOG} = DISABLE"));
    }
    Ok(done)
}

/// Puts back what this or an unfinished restore changed; says what.
pub async fn undo(control: &mut Lane) -> Result<Vec<String>> {
    let old: Vec<(String, String)> = control
        .query(&format!("SELECT name, value FROM {SCHEMA}.settings"))
        .await?;
    let mut done = Vec::new();
    for (name, value) in old {
        let sql = undo_statement(&name, &value);
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

fn undo_statement(name: &str, value: &str) -> String {
    if name == REDO_LOG {
        return "ALTER INSTANCE ENABLE INNODB REDO_LOG".to_owned();
    }
    let number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    match number {
        true => format!("SET GLOBAL {name} = {value}"),
        false => format!("SET GLOBAL {name} = {}", literal(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_values_are_put_back_as_what_they_were() {
        assert_eq!(
            undo_statement("sync_binlog", "1"),
            "SET GLOBAL sync_binlog = 1"
        );
        assert_eq!(undo_statement("x", "O'N"), "SET GLOBAL x = 'O''N'");
        assert_eq!(
            undo_statement(REDO_LOG, "ENABLE"),
            "ALTER INSTANCE ENABLE INNODB REDO_LOG"
        );
    }
}
