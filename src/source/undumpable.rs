//! Objects that exist and that the dump program cannot dump, or only to a text that nobody can read back:
//! found beforehand, by what the dump itself would ask and write.

use crate::server::connect::server_code;
use crate::server::{Connection, ServerVersion};
use crate::source::inventory::Inventory;
use crate::sql::statement::{ObjectId, ObjectKind};
use crate::words::counted;
use crate::{Error, Result};

/// How many objects a message names.
const NAMED: usize = 5;

/// Every reason for which these objects make a dump fail, one for each kind of reason.
pub(super) async fn faults(
    connection: &mut Connection,
    server: &ServerVersion,
    inventory: &Inventory,
) -> Result<Vec<Error>> {
    let mut all = Vec::new();
    all.extend(unreadable(connection, inventory).await?);
    all.extend(endless_programs(&inventory.endless));
    all.extend(endless_events(connection, inventory).await?);
    all.extend(namesakes(server, inventory));
    Ok(all)
}

/// Views that refer to what is gone or denied, and tables that the server cannot open: a discarded
/// tablespace, an engine that is not there. The dump asks these very questions, and ends at an error. The
/// number of the error decides, since its text is in the server's language.
async fn unreadable(connection: &mut Connection, inventory: &Inventory) -> Result<Vec<Error>> {
    /// Seconds that DDL may keep an object from this look. The dump itself waits for it.
    const LOCKED: u32 = 2;
    let set = format!("SET SESSION lock_wait_timeout = {LOCKED}");
    connection.run(&set).await?;
    let (mut views, mut tables) = (Unreadable::default(), Unreadable::default());
    for object in inventory.objects.keys() {
        let (asked, all) = match object.kind {
            ObjectKind::View => (format!("SHOW FIELDS FROM {}", object.quoted()), &mut views),
            // Of no row, a discarded tablespace is not noticed.
            ObjectKind::Table => (
                format!("SELECT 1 FROM {} LIMIT 1", object.quoted()),
                &mut tables,
            ),
            _ => continue,
        };
        match connection.run(&asked).await {
            Ok(()) => {}
            Err(error) => match server_code(&error) {
                None => return Err(error),
                // Locked by DDL, dropped meanwhile, or not for this account, of which its grants tell.
                Some(1049 | 1142 | 1143 | 1146 | 1205) => {}
                Some(_) => all.push(object, error),
            },
        }
    }
    connection
        .run("SET SESSION lock_wait_timeout = DEFAULT")
        .await?;
    let views = views.error(|count, names| {
        let views = counted(count, "view");
        Error::source(format!(
            "{views} cannot be dumped, for a reference to what is gone or denied: {names}"
        ))
        .hint("repair or drop them")
    });
    let tables = tables.error(|count, names| {
        let tables = counted(count, "table");
        Error::source(format!("{tables} cannot be read: {names}"))
            .hint("repair or drop them, or leave their schema out")
    });
    Ok(views.into_iter().chain(tables).collect())
}

/// Objects that the server cannot open.
#[derive(Default)]
struct Unreadable {
    names: Vec<String>,
    /// What it says of the first.
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
        Some(of(self.names.len() as u64, &named(&self.names)).caused_by(why))
    }
}

fn endless_programs(endless: &[ObjectId]) -> Option<Error> {
    if endless.is_empty() {
        return None;
    }
    let list: Vec<String> = endless.iter().map(ObjectId::to_string).collect();
    Some(
        Error::source(format!(
            "no program can read back what the dump program would write of {}: the body holds an open comment or quote, a delimiter, or a backslash outside of quotes",
            named(&list)
        ))
        .hint("create it anew without that"),
    )
}

/// mysqldump looks for a delimiter that an event's body does not hold, and never finds one where
/// the body holds `;;`: it loops, and says nothing.
async fn endless_events(
    connection: &mut Connection,
    inventory: &Inventory,
) -> Result<Option<Error>> {
    let events: Vec<(String, String)> = connection
        .rows(
            "SELECT event_schema, event_name FROM information_schema.events
             WHERE event_definition LIKE '%;;%'",
        )
        .await?;
    let events = events.into_iter();
    let ours = events
        .map(|(schema, name)| ObjectId::new(ObjectKind::Event, schema, name))
        .filter(|event| inventory.objects.contains_key(event));
    let list: Vec<String> = ours.map(|event| event.to_string()).collect();
    if list.is_empty() {
        return Ok(None);
    }
    let what = format!(
        "the body of {} holds ;;, on which mysqldump loops forever",
        named(&list)
    );
    Ok(Some(
        Error::source(what).hint("write it without two semicolons in a row"),
    ))
}

/// Tables of a schema that is called `mysql` but for its case, which dump programs take for the server's
/// own (tried: mysqldump 9.7, mariadb-dump 10.11): of some they write no rows, of some nothing.
const TAKEN_FOR_THE_SERVERS: &[&str] = &[
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

fn namesakes(server: &ServerVersion, inventory: &Inventory) -> Option<Error> {
    let objects = inventory.objects.keys();
    let of_mysql = objects.filter(|object| object.schema.eq_ignore_ascii_case("mysql"));
    // mariadb-dump reads the definition of a general_log that such a schema lacks, and ends there.
    let taken = of_mysql.filter(|object| match object.kind {
        ObjectKind::Schema => server.is_mariadb(),
        ObjectKind::Table | ObjectKind::View => {
            let name = object.name.to_ascii_lowercase();
            TAKEN_FOR_THE_SERVERS.contains(&name.as_str())
        }
        _ => false,
    });
    let list: Vec<String> = taken.map(ObjectId::to_string).collect();
    if list.is_empty() {
        return None;
    }
    Some(
        Error::source(format!(
            "the dump program takes {} for the server's own and cannot dump it whole",
            named(&list)
        ))
        .hint("give it another name, or leave its schema out"),
    )
}

/// The first of a list, and how many more there are.
fn named(list: &[String]) -> String {
    let shown = list[..list.len().min(NAMED)].join(", ");
    match list.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
