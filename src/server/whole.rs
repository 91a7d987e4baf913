//! How a session is shown all that a server holds, for as long as it takes.
//!
//! A `sql_select_limit` that somebody set for everybody, or by `init_connect`, cuts every table that is
//! read, without a warning: a dump would end well, and a restore of it equal it. Of [`super::limits`],
//! sessions of ours set every one, and those of a dump program do so where it takes a first statement;
//! where not, a server that sets one harmfully is refused.

use crate::error::{Error, Result};
use crate::server::connect::as_any_client;
use crate::server::limits::{Harm, LIMITS, assignments};
use crate::server::{Client, ServerConfig};

/// No limit: `DEFAULT` would be that of the server.
const ALL_ROWS: u64 = u64::MAX;

/// The option by which a dump program takes a first statement.
const FIRST: &str = "init-command";

/// The option that makes the dump program's session see all, with further assignments; none where the
/// program knows none.
pub fn first_statement(knows: impl Fn(&str) -> bool, more: &[String]) -> Option<String> {
    let all = [&[assignments()], more].concat().join(", ");
    knows(FIRST).then(|| format!("--{FIRST}=SET SESSION {all}"))
}

/// Refuses a server that shows the dump program less than there is or ends it early, where the program
/// cannot ask for another session (exit 9), and one that lets the account in no second time. Gives what ends it only where the store is slow, a line each.
pub async fn demand(config: &ServerConfig, client: &Client) -> Result<Vec<String>> {
    // Beside the one that is open, as the dump's will be: an account may have a connection too few.
    let mut plain = as_any_client(config).await?;
    if client.knows(FIRST) {
        plain.close().await;
        return Ok(Vec::new());
    }
    // As mariadb-dump does by itself, so that the questions themselves are answered.
    plain
        .run("SET @drctl = 0 /*M!100101 , SESSION max_statement_time = 0 */")
        .await?;
    // Of a limit of 0 not even this is seen.
    let limit: Option<u64> = plain.row("SELECT @@SESSION.sql_select_limit").await?;
    if limit != Some(ALL_ROWS) {
        return Err(Error::refused(format!(
            "the server shows every client {} rows of a table at most (sql_select_limit), and a dump would lack the rest",
            limit.unwrap_or_default()
        ))
        .hint(format!(
            "SET GLOBAL sql_select_limit = {ALL_ROWS}, and see that init_connect sets no other"
        )));
    }
    let names: Vec<String> = LIMITS.iter().map(|one| format!("'{}'", one.name)).collect();
    let met: Vec<(String, String)> = plain
        .rows(&format!(
            "SHOW SESSION VARIABLES WHERE variable_name IN ({})",
            names.join(", ")
        ))
        .await?;
    plain.close().await;
    let mut hurried = Vec::new();
    for limit in LIMITS {
        let value = met.iter().find(|(name, _)| name == limit.name);
        let Some((_, value)) = value.filter(|(_, value)| limit.harms(value)) else {
            continue;
        };
        if limit.harm == Harm::Hurries {
            hurried.push(format!(
                "a store that stalls for {value} s ends the dump: {}",
                limit.fix()
            ));
            continue;
        }
        return Err(Error::refused(format!(
            "the server {} ({} = {value}), and {} cannot ask for another session",
            limit.does,
            limit.name,
            client.name()
        ))
        .hint(format!("{}, or use a newer client", limit.fix())));
    }
    Ok(hurried)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_program_that_takes_a_first_statement_asks_for_all() {
        let more = ["lock_wait_timeout=60".to_owned()];
        let option = first_statement(|name| name == "init-command", &more).unwrap();
        for part in [
            "--init-command=SET SESSION sql_select_limit = 18446744073709551615 ",
            " /*!50708 , max_execution_time = 0 */",
            " */, lock_wait_timeout=60",
        ] {
            assert!(option.contains(part), "{option}");
        }
        assert_eq!(first_statement(|_| false, &more), None);
    }
}
