//! Accounts that views, triggers, routines and events name as their definer and that are gone:
//! such an object fails when it is used, and a restore asks for a substitute.

use std::collections::BTreeSet;

use crate::Result;
use crate::server::Connection;

/// The definers of objects in these schemas that the server lacks, as `user@host`, sorted. Empty
/// where the account may not read the server's accounts.
pub async fn missing(connection: &mut Connection, schemas: &[String]) -> Result<Vec<String>> {
    let known = "SELECT CONCAT(user, '@', host) FROM mysql.user";
    let Some(known) = connection.rows_if_allowed::<String>(known).await? else {
        return Ok(Vec::new());
    };
    let named: Vec<(String, String)> = connection
        .rows(
            "SELECT table_schema, definer FROM information_schema.views \
             UNION SELECT trigger_schema, definer FROM information_schema.triggers \
             UNION SELECT routine_schema, definer FROM information_schema.routines \
             UNION SELECT event_schema, definer FROM information_schema.events",
        )
        .await?;
    let missing: BTreeSet<String> = named
        .into_iter()
        .filter(|(schema, definer)| schemas.contains(schema) && !known.contains(definer))
        .map(|(_, definer)| definer)
        .collect();
    Ok(missing.into_iter().collect())
}
