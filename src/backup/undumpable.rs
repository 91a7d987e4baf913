//! Objects that the dump program cannot dump, or dumps as SQL that no client can parse, found before the dump.

use crate::mysql::connect::{literals, server_code};
use crate::mysql::inventory::Inventory;
use crate::mysql::{Connection, ServerVersion};
use crate::sql::statement::{ObjectId, ObjectKind};
use crate::util::format::{counted, some_of};
use crate::{Error, Result};

/// The reasons why objects cannot be dumped; one error per reason.
pub(super) async fn check(
    connection: &mut Connection,
    server: &ServerVersion,
    inventory: &Inventory,
) -> Result<Vec<Error>> {
    let mut all = Vec::new();
    all.extend(unreadable(connection, inventory).await?);
    all.extend(unterminated(&inventory.unterminated));
    all.extend(events_with_delimiters(connection, inventory).await?);
    all.extend(taken_for_system_tables(server, inventory));
    if server.is_mariadb() {
        all.extend(transaction_precise(connection, inventory).await?);
    }
    Ok(all)
}

/// Views whose references are invalid or whose text the server cannot print, and tables that it cannot open (discarded
/// tablespace, missing engine). These are the statements on which a dump fails. The number of the error decides, since its text is
/// in the language of the server.
async fn unreadable(connection: &mut Connection, inventory: &Inventory) -> Result<Vec<Error>> {
    /// Seconds to wait for DDL on an object. The dump itself waits longer.
    const LOCK_WAIT: u32 = 2;
    let set = format!("SET SESSION lock_wait_timeout = {LOCK_WAIT}");
    connection.run(&set).await?;
    let (mut views, mut tables) = (Unreadable::default(), Unreadable::default());
    for object in inventory.objects.keys() {
        let (read, all) = match object.kind {
            ObjectKind::View => ("SHOW FIELDS FROM", &mut views),
            // LIMIT 0 does not detect a discarded tablespace.
            ObjectKind::Table => ("SELECT 1 FROM", &mut tables),
            _ => continue,
        };
        let limit = match object.kind {
            ObjectKind::Table => " LIMIT 1",
            _ => "",
        };
        let name = object.quoted();
        for sql in [
            format!("{read} {name}{limit}"),
            format!("SHOW CREATE TABLE {name}"),
        ] {
            let Err(error) = connection.run(&sql).await else {
                continue;
            };
            match server_code(&error) {
                None => return Err(error),
                // Locked by DDL, dropped in the meantime, or denied, which the check of grants reports.
                Some(1049 | 1142 | 1143 | 1146 | 1205) => {}
                Some(_) => all.push(object, error),
            }
            break;
        }
    }
    connection
        .run("SET SESSION lock_wait_timeout = DEFAULT")
        .await?;
    let views = views.error(|count, names| {
        let views = counted(count, "view");
        Error::source(format!(
            "cannot dump {views} with invalid or denied references, or a text that the server cannot print: {names}"
        ))
        .hint("repair or drop them, or exclude their schema")
    });
    let tables = tables.error(|count, names| {
        let tables = counted(count, "table");
        Error::source(format!("cannot read {tables}: {names}"))
            .hint("repair or drop them, or exclude their schema")
    });
    Ok(views.into_iter().chain(tables).collect())
}

/// Objects that the server cannot open.
#[derive(Default)]
struct Unreadable {
    names: Vec<String>,
    /// The server's error for the first object.
    why: Option<Error>,
}

impl Unreadable {
    fn push(&mut self, object: &ObjectId, why: Error) {
        self.names.push(object.to_string());
        self.why.get_or_insert(why);
    }

    /// One error for all of them.
    fn error(self, of: impl Fn(u64, &str) -> Error) -> Option<Error> {
        let why = self.why?;
        Some(of(self.names.len() as u64, &some_of(&self.names)).caused_by(why))
    }
}

/// System-versioned tables of MariaDB that record transaction numbers instead of times. mariadb-dump rejects their
/// history (exit 6), and without it a server gives the rows other numbers.
async fn transaction_precise(
    connection: &mut Connection,
    inventory: &Inventory,
) -> Result<Option<Error>> {
    let tables: Vec<(String, String)> = connection
        .rows(&format!(
            "SELECT DISTINCT table_schema, table_name FROM information_schema.columns \
             WHERE table_schema IN ({}) AND generation_expression = 'ROW START' \
             AND data_type = 'bigint' ORDER BY 1, 2",
            literals(inventory.schema_names())
        ))
        .await?;
    let list: Vec<String> = tables
        .into_iter()
        .map(|(schema, name)| ObjectId::table(schema, name))
        .filter(|table| inventory.objects.contains_key(table))
        .map(|table| table.to_string())
        .collect();
    if list.is_empty() {
        return Ok(None);
    }
    let what = format!(
        "cannot dump the transaction-precise history (ROW START of type BIGINT) of {}",
        some_of(&list)
    );
    Ok(Some(Error::source(what).hint(
        "recreate the tables with TIMESTAMP(6) columns, or exclude their schemas (backup.exclude_schemas)",
    )))
}

fn unterminated(programs: &[ObjectId]) -> Option<Error> {
    if programs.is_empty() {
        return None;
    }
    let list: Vec<String> = programs.iter().map(ObjectId::to_string).collect();
    Some(
        Error::source(format!(
            "no client could parse the dump of {}: the body contains an unterminated comment or quote, a delimiter, or a backslash outside quotes; in sjis, cp932, gbk, big5 and gb18030, characters contain backslashes and quotes",
            some_of(&list)
        ))
        .hint("recreate it without that, or by a client with utf8mb4"),
    )
}

/// mysqldump searches for a delimiter that the body of an event does not contain, and never terminates if the body
/// contains `;;`.
async fn events_with_delimiters(
    connection: &mut Connection,
    inventory: &Inventory,
) -> Result<Option<Error>> {
    let events: Vec<(String, String)> = connection
        .rows(
            "SELECT event_schema, event_name FROM information_schema.events
             WHERE event_definition LIKE '%;;%'",
        )
        .await?;
    let list: Vec<String> = events
        .into_iter()
        .map(|(schema, name)| ObjectId::new(ObjectKind::Event, schema, name))
        .filter(|event| inventory.objects.contains_key(event))
        .map(|event| event.to_string())
        .collect();
    if list.is_empty() {
        return Ok(None);
    }
    let what = format!(
        "the body of {} contains ;;, on which mysqldump never terminates",
        some_of(&list)
    );
    Ok(Some(
        Error::source(what).hint("recreate it without two consecutive semicolons"),
    ))
}

/// Tables that dump programs take for system tables if the schema's name differs from `mysql` only in case
/// (tested: mysqldump 9.7, mariadb-dump 10.11): they omit the rows of some, and others altogether.
const SYSTEM_TABLES: &[&str] = &[
    "apply_status",
    "general_log",
    "gtid_executed",
    "innodb_ddl_log",
    "innodb_dynamic_metadata",
    "innodb_index_stats",
    "innodb_table_stats",
    "schema",
    "slave_master_info",
    "slave_relay_log_info",
    "slow_log",
    "transaction_registry",
];

fn taken_for_system_tables(server: &ServerVersion, inventory: &Inventory) -> Option<Error> {
    let is_taken = |object: &&ObjectId| match object.kind {
        // mariadb-dump fails on a general_log that such a schema does not have.
        ObjectKind::Schema => server.is_mariadb(),
        ObjectKind::Table | ObjectKind::View => {
            let name = object.name.to_ascii_lowercase();
            SYSTEM_TABLES.contains(&name.as_str())
        }
        _ => false,
    };
    let list: Vec<String> = inventory
        .objects
        .keys()
        .filter(|object| object.schema.eq_ignore_ascii_case("mysql"))
        .filter(is_taken)
        .map(ObjectId::to_string)
        .collect();
    if list.is_empty() {
        return None;
    }
    Some(
        Error::source(format!(
            "the dump program takes {} for a system object and does not dump it completely",
            some_of(&list)
        ))
        .hint("rename it, or exclude its schema"),
    )
}
