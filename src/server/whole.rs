//! How a session is shown all that a server holds.
//!
//! A `sql_select_limit` that somebody set for everybody, or by `init_connect`, cuts every table that is
//! read, without a warning: a dump would end well, and a restore of it equal it. MySQL can hide
//! generated primary keys in the same silence. Sessions of ours say that they want all, and those of a
//! dump program do so where it takes a first statement; where not, such a server is refused.

use crate::error::{Error, Result};
use crate::server::connect::{ALL_SHOWN, as_any_client};
use crate::server::{Client, ServerConfig};

/// No limit: `DEFAULT` would be that of the server.
const ALL_ROWS: u64 = u64::MAX;

/// The option by which a dump program takes a first statement.
const FIRST: &str = "init-command";

/// The option that makes the dump program's session see all, with further assignments; none where the
/// program knows none.
pub fn first_statement(knows: impl Fn(&str) -> bool, more: &[String]) -> Option<String> {
    let all = [&[ALL_SHOWN.to_owned()], more].concat().join(", ");
    knows(FIRST).then(|| format!("--{FIRST}=SET SESSION {all}"))
}

/// Refuses a server that shows the dump program less than there is, where the program cannot ask for
/// all (exit 9).
pub async fn demand(config: &ServerConfig, client: &Client) -> Result<()> {
    if client.knows(FIRST) {
        return Ok(());
    }
    let mut plain = as_any_client(config).await?;
    // Of a limit of 0 not even this is seen.
    let limit: Option<u64> = plain.row("SELECT @@SESSION.sql_select_limit").await?;
    const HIDING: &str = "show_gipk_in_create_table_and_information_schema";
    let hiding: Option<(String, String)> = plain
        .row(&format!("SHOW SESSION VARIABLES LIKE '{HIDING}'"))
        .await?;
    plain.close().await;
    let refuse = |what: String, fix: String| Err(Error::refused(what).hint(fix));
    match (limit, hiding) {
        (Some(ALL_ROWS), Some((_, value))) if value == "OFF" => refuse(
            format!(
                "the server hides generated primary keys from {}",
                client.banner
            ),
            format!("SET GLOBAL {HIDING} = ON, or use a newer client"),
        ),
        (Some(ALL_ROWS), _) => Ok(()),
        (limit, _) => refuse(
            format!(
                "the server shows every client {} rows of a table at most (sql_select_limit), and a dump would lack the rest",
                limit.unwrap_or_default()
            ),
            format!(
                "SET GLOBAL sql_select_limit = {ALL_ROWS}, and see that init_connect sets no other"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_program_that_takes_a_first_statement_asks_for_all() {
        let more = ["net_write_timeout=3600".to_owned()];
        let option = first_statement(|name| name == "init-command", &more).unwrap();
        for part in [
            "--init-command=SET SESSION sql_select_limit = 18446744073709551615 ",
            "= ON */, net_write_timeout=3600",
        ] {
            assert!(option.contains(part), "{option}");
        }
        assert_eq!(first_statement(|_| false, &more), None);
    }
}
