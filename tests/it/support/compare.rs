//! What a server holds, as text: every definition and a checksum of every table, asked through its
//! own client. Two servers hold the same when these texts are equal.

use std::collections::BTreeMap;

use super::{Flavour, Server};

/// An object (`schema`, kind and name) and what the server says of it.
pub type Picture = BTreeMap<(String, String), String>;

/// Stands before the answers about an object; nothing that a corpus holds.
const ABOUT: &str = "@@about@@";

/// Everything that a server holds outside of its system schemas.
#[track_caller]
pub fn picture(server: &Server) -> Picture {
    let questions = questions(server);
    let mut script = String::from("SET SESSION sql_mode = '', time_zone = '+00:00';\n");
    for (i, (_, sql)) in questions.iter().enumerate() {
        script.push_str(&format!("SELECT '{ABOUT}{i}';\n{sql};\n"));
    }
    let answers = server.exec(&script);
    let questions: Vec<_> = questions.into_iter().collect();
    let mut picture = Picture::new();
    for part in answers.split(ABOUT).skip(1) {
        let (number, answer) = part.split_once('\n').expect("a number in a line");
        let (object, _) = &questions[number.parse::<usize>().expect("the number of a question")];
        picture.insert(object.clone(), without_implied_character_sets(answer));
    }
    assert_eq!(picture.len(), questions.len(), "each has its answer");
    picture
}

/// How two pictures differ in objects of the schemas that `of` accepts: one line each.
pub fn differences(source: &Picture, restored: &Picture, of: impl Fn(&str) -> bool) -> Vec<String> {
    let objects = source.keys().chain(restored.keys());
    let mut all: Vec<String> = objects
        .filter(|(schema, _)| of(schema))
        .filter(|object| source.get(*object) != restored.get(*object))
        .map(|object| {
            let (schema, name) = object;
            format!(
                "{schema}: {name}:\n  source   {:?}\n  restored {:?}",
                source.get(object),
                restored.get(object)
            )
        })
        .collect();
    all.dedup();
    all
}

/// Every object with the statements that tell what it is.
#[track_caller]
fn questions(server: &Server) -> BTreeMap<(String, String), String> {
    let maria = server.flavour() == Flavour::MariaDb;
    let mut all = BTreeMap::new();
    let mut ask = |schema: &str, what: String, sql: String| {
        all.insert((schema.to_owned(), what), sql);
    };
    let not_system = |column: &str| {
        // As bytes: MYSQL is not mysql.
        format!(
            "CAST({column} AS BINARY) NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema')"
        )
    };
    let list = |columns: &str, from: &str, schema: &str| {
        // Names may hold whatever they like: hexadecimal keeps a row a row.
        let columns: Vec<String> = columns
            .split(' ')
            .map(|column| format!("HEX(CONVERT({column} USING utf8mb4))"))
            .collect();
        let columns = columns.join(", ");
        let sql = format!(
            "SELECT {columns} FROM information_schema.{from} WHERE {}",
            not_system(schema)
        );
        server
            .query(&sql)
            .iter()
            .map(|row| row.iter().map(|field| unhex(field)).collect::<Vec<_>>())
            .collect::<Vec<_>>()
    };
    for row in list("schema_name", "schemata", "schema_name") {
        let schema = &row[0];
        let sql = format!("SHOW CREATE DATABASE {}", quote(schema));
        ask(schema, "schema".into(), sql);
    }
    // CHECKSUM TABLE takes in the hidden column of a multi-valued key, and differs each time.
    let multi_valued = match maria {
        true => Vec::new(),
        false => server.query(
            "SELECT table_schema, table_name FROM information_schema.statistics \
             WHERE expression LIKE '% array)'",
        ),
    };
    let tables = list(
        "table_schema table_name table_type",
        "tables",
        "table_schema",
    );
    for row in tables {
        let (schema, name) = (&row[0], &row[1]);
        let full = format!("{}.{}", quote(schema), quote(name));
        let sql = match row[2].as_str() {
            "VIEW" => format!("SHOW CREATE VIEW {full}"),
            _ if multi_valued.iter().any(|one| one[..] == row[..2]) => {
                format!("SHOW CREATE TABLE {full}; SELECT * FROM {full} ORDER BY 1")
            }
            "SEQUENCE" => format!("SHOW CREATE SEQUENCE {full}; SELECT * FROM {full}"),
            _ => format!(
                "SHOW CREATE TABLE {full}; CHECKSUM TABLE {full} EXTENDED; SELECT COUNT(*) FROM {full}"
            ),
        };
        ask(schema, format!("{} {name}", row[2]), sql);
    }
    for row in list("trigger_schema trigger_name", "triggers", "trigger_schema") {
        let sql = format!(
            "SELECT event_manipulation, event_object_table, action_order, action_timing, \
             action_statement, sql_mode, definer, character_set_client, collation_connection, \
             database_collation FROM information_schema.triggers \
             WHERE trigger_schema = {} AND trigger_name = {}",
            text(&row[0]),
            text(&row[1])
        );
        ask(&row[0], format!("trigger {}", row[1]), sql);
    }
    let routines = list(
        "routine_schema routine_name routine_type",
        "routines",
        "routine_schema",
    );
    for row in routines {
        let full = format!("{}.{}", quote(&row[0]), quote(&row[1]));
        let sql = format!("SHOW CREATE {} {full}", row[2]);
        ask(&row[0], format!("{} {}", row[2], row[1]), sql);
    }
    for row in list("event_schema event_name", "events", "event_schema") {
        let full = format!("{}.{}", quote(&row[0]), quote(&row[1]));
        let sql = format!(
            "SHOW CREATE EVENT {full}; SELECT status, time_zone, execute_at, interval_value, \
             interval_field, starts, ends, on_completion, definer, event_comment, \
             database_collation FROM information_schema.events \
             WHERE event_schema = {} AND event_name = {}",
            text(&row[0]),
            text(&row[1])
        );
        ask(&row[0], format!("event {}", row[1]), sql);
    }
    for row in server
        // PAD_CHAR_TO_FULL_LENGTH would fill the names up.
        .query("SET sql_mode = ''; SELECT user, host FROM mysql.user WHERE user IN ('app;', 'definer', 'reader')")
    {
        let account = match (maria, row[1].as_str()) {
            (true, "") => text(&row[0]),
            (_, host) => format!("{}@{}", text(&row[0]), text(host)),
        };
        let sql = format!("SHOW GRANTS FOR {account}");
        ask("accounts", format!("account {account}"), sql);
    }
    all
}

/// MySQL writes `CHARACTER SET x COLLATE x_y` for what it was told, and `COLLATE x_y` for what a
/// column inherited: the same column.
fn without_implied_character_sets(answer: &str) -> String {
    const WORDS: &str = " CHARACTER SET ";
    let mut parts = answer.split(WORDS);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let implied = part.split_once(" COLLATE ").filter(|(charset, rest)| {
            let collation = rest.strip_prefix(charset);
            !charset.contains(' ') && collation.is_some_and(|rest| rest.starts_with('_'))
        });
        match implied {
            Some((_, rest)) => text.extend([" COLLATE ", rest]),
            None => text.extend([WORDS, part]),
        }
    }
    text
}

fn quote(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

fn text(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}

fn unhex(hex: &str) -> String {
    let bytes = (0..hex.len() / 2)
        .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hexadecimal"))
        .collect();
    String::from_utf8(bytes).expect("names are UTF-8")
}
