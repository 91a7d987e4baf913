//! Definers of existing objects that do not exist as accounts: such an object fails when used, and a restore needs a
//! substitute.

use std::collections::BTreeMap;

use crate::Result;
use crate::mysql::Connection;
use crate::sql::statement::{ObjectId, ObjectKind};

/// Missing definers of objects in all schemas, as `user@host`, each with these objects. Empty if the account may not
/// read accounts.
pub async fn missing(connection: &mut Connection) -> Result<BTreeMap<String, Vec<ObjectId>>> {
    let known = "SELECT CONCAT(user, '@', host) FROM mysql.user";
    let Some(known) = connection.rows_if_allowed::<String>(known).await? else {
        return Ok(BTreeMap::new());
    };
    let named: Vec<(String, String, String, String)> = connection
        .rows(
            "SELECT 'VIEW', table_schema, table_name, definer FROM information_schema.views \
             UNION SELECT 'TRIGGER', trigger_schema, trigger_name, definer FROM information_schema.triggers \
             UNION SELECT routine_type, routine_schema, routine_name, definer FROM information_schema.routines \
             UNION SELECT 'EVENT', event_schema, event_name, definer FROM information_schema.events",
        )
        .await?;
    let mut missing: BTreeMap<String, Vec<ObjectId>> = BTreeMap::new();
    for (kind, schema, name, definer) in named {
        if !known.contains(&definer) {
            let object = ObjectId::new(ObjectKind::of_information_schema(&kind), schema, name);
            missing.entry(definer).or_default().push(object);
        }
    }
    Ok(missing)
}
