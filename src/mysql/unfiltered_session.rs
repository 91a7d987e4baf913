//! Sessions without server settings that hide rows or columns, or end long queries.
//!
//! A global `sql_select_limit`, or one set by `init_connect`, truncates every table that is read, without a
//! warning: the dump would succeed, and so would the comparison after a restore. drctl's own sessions set all
//! variables of [`crate::mysql::limits`], and so do those of a dump program that supports an initial statement.
//! With other programs, a server with a harmful value is refused.

use crate::mysql::connect::as_any_client;
use crate::mysql::limits::{Harm, LIMITS, assignments};
use crate::mysql::{Client, ServerConfig};
use crate::util::error::{Error, Result};

/// No limit; `DEFAULT` would be the server's.
const ALL_ROWS: u64 = u64::MAX;

/// The option for the initial statement of a dump program.
const INIT_COMMAND: &str = "init-command";

/// The option that sets these variables in the session of the dump program, with further assignments; `None` if
/// the program does not support it.
pub fn init_command(knows: impl Fn(&str) -> bool, more: &[String]) -> Option<String> {
    let all = [&[assignments()], more].concat().join(", ");
    knows(INIT_COMMAND).then(|| format!("--{INIT_COMMAND}=SET SESSION {all}"))
}

/// Checks that the session of a dump program will see everything. Returns warnings, a line each, about timeouts
/// that end the dump only if the store is slow.
///
/// # Errors
///
/// A global setting hides data or ends the dump early, and the dump program cannot change it (exit 9), or the
/// account cannot open a second connection.
pub async fn check_client(config: &ServerConfig, client: &Client) -> Result<Vec<String>> {
    // Opened even if not needed: the dump will need a second connection, and the account may be limited to one.
    let mut plain = as_any_client(config).await?;
    if client.knows(INIT_COMMAND) {
        plain.close().await;
        return Ok(Vec::new());
    }
    // mariadb-dump sets this, too; otherwise the following queries could be ended.
    plain
        .run("SET @drctl = 0 /*M!100101 , SESSION max_statement_time = 0 */")
        .await?;
    // With a limit of 0 even this query returns no row.
    let limit: Option<u64> = plain.row("SELECT @@SESSION.sql_select_limit").await?;
    if limit != Some(ALL_ROWS) {
        return Err(Error::refused(format!(
            "the server returns at most {} rows of a table (sql_select_limit), and the dump would lack the others",
            limit.unwrap_or_default()
        ))
        .hint(format!(
            "SET GLOBAL sql_select_limit = {ALL_ROWS}, and remove it from init_connect"
        )));
    }
    let names: Vec<String> = LIMITS.iter().map(|one| format!("'{}'", one.name)).collect();
    let values: Vec<(String, String)> = plain
        .rows(&format!(
            "SHOW SESSION VARIABLES WHERE variable_name IN ({})",
            names.join(", ")
        ))
        .await?;
    plain.close().await;
    let mut timeouts = Vec::new();
    for limit in LIMITS {
        let value = values.iter().find(|(name, _)| name == limit.name);
        let Some((_, value)) = value.filter(|(_, value)| limit.harms(value)) else {
            continue;
        };
        if limit.harm == Harm::EndsSlowDump {
            timeouts.push(format!(
                "the dump aborts if the store stalls for {value} s: {}",
                limit.fix()
            ));
            continue;
        }
        return Err(Error::refused(format!(
            "the server {} ({} = {value}), and {} cannot override that in its session",
            limit.effect,
            limit.name,
            client.name()
        ))
        .hint(format!("{}, or use a newer client", limit.fix())));
    }
    Ok(timeouts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_initial_statement_of_the_dump_program_sets_all_variables() {
        let more = ["lock_wait_timeout=60".to_owned()];
        let option = init_command(|name| name == "init-command", &more).unwrap();
        for part in [
            "--init-command=SET SESSION sql_select_limit = 18446744073709551615 ",
            " /*!50708 , max_execution_time = 0 */",
            " */, lock_wait_timeout=60",
        ] {
            assert!(option.contains(part), "{option}");
        }
        assert_eq!(init_command(|_| false, &more), None);
    }
}
