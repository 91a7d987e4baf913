//! Statements in the log: those that end a transaction, and those worth listing.

use std::io::Read as _;

use super::event::{Checksum, Event, damaged, kind, u32_at};
use crate::Result;
use crate::sql::tokens::{Token, Tokens};

/// How much of a statement is looked at, bytes.
pub const MOST_LOOKED_AT: usize = 64 << 10;

/// How much of a statement is kept, characters.
const MOST_KEPT: usize = 200;

/// How many objects of one statement are kept.
pub const MOST_OBJECTS: usize = 20;

/// Statement of an event, or its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The default schema; empty without one.
    pub schema: String,
    /// Its text, up to [`MOST_LOOKED_AT`].
    pub sql: Vec<u8>,
}

/// What a statement means for its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Query {
    /// It begins it.
    Begin,
    /// It ends it.
    End,
    /// Neither.
    Other,
}

/// Reads an event with a statement.
pub fn query(event: &Event<'_>, checksum: Checksum) -> Result<Statement> {
    parse(event, checksum).ok_or_else(|| damaged("a statement in the log cannot be read"))
}

fn parse(event: &Event<'_>, checksum: Checksum) -> Option<Statement> {
    let body = event.body(checksum);
    let schema_bytes = usize::from(*body.get(8)?);
    let variables = usize::from(u16::from_le_bytes([*body.get(11)?, *body.get(12)?]));
    let rest = body.get(13 + variables..)?;
    let schema = String::from_utf8_lossy(rest.get(..schema_bytes)?).into_owned();
    let sql = rest.get(schema_bytes + 1..)?;
    let sql = match event.header.kind {
        kind::MARIADB_QUERY_COMPRESSED => inflate(sql)?,
        _ => sql[..sql.len().min(MOST_LOOKED_AT)].to_vec(),
    };
    Some(Statement { schema, sql })
}

/// MariaDB's compression: one byte of algorithm and length of the length, the length, and zlib.
fn inflate(bytes: &[u8]) -> Option<Vec<u8>> {
    let (&head, rest) = bytes.split_first()?;
    let compressed = rest.get(usize::from(head & 0x07)..)?;
    let mut sql = Vec::new();
    let mut zlib = flate2::read::ZlibDecoder::new(compressed).take(MOST_LOOKED_AT as u64);
    zlib.read_to_end(&mut sql).ok()?;
    Some(sql)
}

/// A statement worth listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// `DROP TABLE`; `statement UPDATE` for data that were changed in statement format.
    pub kind: String,
    /// `schema.table`, unquoted.
    pub objects: Vec<String>,
    /// Its beginning, of a definition alone: others may hold passwords and data.
    pub sql: Option<String>,
}

/// Objects that statements define.
const NOUNS: &[&str] = &[
    "TABLE",
    "VIEW",
    "INDEX",
    "DATABASE",
    "SCHEMA",
    "TRIGGER",
    "PROCEDURE",
    "FUNCTION",
    "EVENT",
    "SEQUENCE",
    "PACKAGE",
    "USER",
    "ROLE",
    "SERVER",
    "TABLESPACE",
    "LOGFILE",
    "SPATIAL",
    "TABLES",
    "LIBRARY",
];

impl Statement {
    /// What it means for its transaction.
    pub fn control(&self) -> Query {
        let mut words = Tokens::new(&self.sql);
        let Some(first) = words.next() else {
            return Query::Other;
        };
        let second = words.next();
        let second_is = |word: &str| second.is_some_and(|token| token.is(word));
        let is_to_savepoint = || second_is("TO") || words.clone().any(|token| token.is("TO"));
        if first.is("BEGIN") || (first.is("XA") && (second_is("START") || second_is("BEGIN"))) {
            return Query::Begin;
        }
        let ends = first.is("COMMIT")
            || (first.is("ROLLBACK") && !is_to_savepoint())
            || (first.is("XA") && (second_is("COMMIT") || second_is("ROLLBACK")));
        if ends { Query::End } else { Query::Other }
    }

    /// How it is listed; `None` for what only frames a transaction.
    pub fn listed(&self) -> Option<Listed> {
        let mut ahead = Tokens::new(&self.sql);
        let mut first = ahead.next()?;
        // MariaDB: SET STATEMENT name = value, … FOR the statement.
        if first.is("SET") && ahead.eat("STATEMENT") {
            ahead.by_ref().find(|word| word.is("FOR"));
            first = ahead.next()?;
        }
        let is = |names: &[&str]| names.iter().any(|name| first.is(name));
        if is(&["BEGIN", "COMMIT", "ROLLBACK", "XA", "SAVEPOINT", "RELEASE"]) {
            return None;
        }
        let verb = upper(&first);
        if is(&["CREATE", "ALTER", "DROP", "RENAME", "TRUNCATE"]) {
            let (kind, objects) = definition(&verb, ahead, &self.schema);
            let may_hold_secrets = kind.ends_with("USER") || kind.ends_with("SERVER");
            return Some(Listed {
                sql: (!may_hold_secrets).then(|| self.beginning()),
                kind,
                objects,
            });
        }
        let data = [
            "INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "CALL", "DO", "WITH", "SELECT",
        ];
        let kind = match is(&data) {
            true => format!("statement {verb}"),
            false => verb,
        };
        Some(Listed {
            kind,
            objects: Vec::new(),
            sql: None,
        })
    }

    fn beginning(&self) -> String {
        let text = String::from_utf8_lossy(&self.sql);
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        text.chars().take(MOST_KEPT).collect()
    }
}

fn upper(token: &Token<'_>) -> String {
    String::from_utf8_lossy(token.bytes().unwrap_or_default()).to_ascii_uppercase()
}

/// Kind and objects of CREATE, ALTER, DROP, RENAME or TRUNCATE, whose first word was read.
fn definition(verb: &str, mut words: Tokens<'_>, schema: &str) -> (String, Vec<String>) {
    if verb == "TRUNCATE" {
        words.eat("TABLE");
        return ("TRUNCATE TABLE".to_owned(), names(words, schema, false));
    }
    // OR REPLACE, TEMPORARY, DEFINER = a@b, ALGORITHM = MERGE, SQL SECURITY INVOKER, …
    let mut noun = None;
    for _ in 0..30 {
        let Some(word) = words.next() else {
            break;
        };
        if let Some(found) = NOUNS.iter().find(|noun| word.is(noun)) {
            let attribute = *found == "SPATIAL";
            if !attribute {
                noun = Some(*found);
                break;
            }
        }
    }
    let Some(noun) = noun else {
        return (verb.to_owned(), Vec::new());
    };
    let noun = match noun {
        "SCHEMA" => "DATABASE",
        "TABLES" => "TABLE",
        noun => noun,
    };
    if noun == "INDEX" {
        // CREATE INDEX i ON t: the table is what changes.
        for word in words.by_ref() {
            if word.is("ON") {
                break;
            }
        }
    }
    let alone = [
        "DATABASE",
        "USER",
        "ROLE",
        "SERVER",
        "TABLESPACE",
        "LOGFILE",
    ]
    .contains(&noun);
    (format!("{verb} {noun}"), names(words, schema, alone))
}

/// The names that follow: `a`, `s.a`, and more after commas; `alone` for names without a schema.
fn names(mut words: Tokens<'_>, schema: &str, alone: bool) -> Vec<String> {
    words.eat_all(&["IF", "NOT", "EXISTS"]);
    words.eat_all(&["IF", "EXISTS"]);
    let mut names = Vec::new();
    while names.len() < MOST_OBJECTS {
        let Some(Some(mut name)) = words.next().and_then(|token| token.name()) else {
            break;
        };
        let qualified = words.eat_mark(b'.');
        if qualified && let Some(Some(inner)) = words.next().and_then(|token| token.name()) {
            name = format!("{name}.{inner}");
        } else if !alone && !schema.is_empty() {
            name = format!("{schema}.{name}");
        }
        names.push(name);
        if words.eat("TO") {
            // RENAME TABLE a TO b, c TO d.
            words.next();
            if words.eat_mark(b'.') {
                words.next();
            }
        }
        if !words.eat_mark(b',') {
            break;
        }
    }
    names
}

/// The table of a TABLE_MAP: `schema.table`, and the number that row events name it by.
pub fn mapped(event: &Event<'_>, checksum: Checksum) -> Option<(u64, String)> {
    let body = event.body(checksum);
    let id = table_id(body)?;
    let (schema, rest) = counted(body.get(8..)?)?;
    let (table, _) = counted(rest)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some((id, format!("{}.{}", text(schema), text(table))))
}

/// The same, of an event that has to have it.
pub fn table(event: &Event<'_>, checksum: Checksum) -> Result<(u64, String)> {
    mapped(event, checksum).ok_or_else(|| damaged("a table in the log cannot be read"))
}

/// The number by which a row event names its table.
pub fn table_id(body: &[u8]) -> Option<u64> {
    let low = u32_at(body, 0)?;
    let high = u16::from_le_bytes([*body.get(4)?, *body.get(5)?]);
    Some(u64::from(low) | u64::from(high) << 32)
}

/// A text with its length in front and a zero behind.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    let text = rest.get(..usize::from(length))?;
    Some((text, rest.get(usize::from(length) + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sql: &str) -> Statement {
        Statement {
            schema: "shop".into(),
            sql: sql.as_bytes().to_vec(),
        }
    }

    #[test]
    fn definitions_are_listed_with_what_they_change() {
        for (sql, kind, objects) in [
            (
                "DROP TABLE `orders` /* generated by server */",
                "DROP TABLE",
                "shop.orders",
            ),
            (
                "drop table if exists a, `x y`.`b`",
                "DROP TABLE",
                "shop.a x y.b",
            ),
            (
                "CREATE TABLE IF NOT EXISTS t (a int)",
                "CREATE TABLE",
                "shop.t",
            ),
            (
                "ALTER TABLE other.t ADD COLUMN b int",
                "ALTER TABLE",
                "other.t",
            ),
            ("TRUNCATE t", "TRUNCATE TABLE", "shop.t"),
            ("TRUNCATE TABLE t", "TRUNCATE TABLE", "shop.t"),
            (
                "RENAME TABLE a TO b, x.c TO d",
                "RENAME TABLE",
                "shop.a x.c",
            ),
            ("CREATE UNIQUE INDEX i ON t (a)", "CREATE INDEX", "shop.t"),
            (
                "CREATE DEFINER=`r`@`%` TRIGGER tr BEFORE INSERT ON t FOR EACH ROW DO 1",
                "CREATE TRIGGER",
                "shop.tr",
            ),
            (
                "CREATE OR REPLACE ALGORITHM=MERGE SQL SECURITY DEFINER VIEW v AS SELECT 1",
                "CREATE VIEW",
                "shop.v",
            ),
            ("DROP SCHEMA z", "DROP DATABASE", "z"),
            (
                "SET STATEMENT lock_wait_timeout=5 FOR DROP TABLE t",
                "DROP TABLE",
                "shop.t",
            ),
            ("/* hello */ -- there\nDROP VIEW v", "DROP VIEW", "shop.v"),
            ("GRANT SELECT ON *.* TO u", "GRANT", ""),
            ("UPDATE t SET a = 1", "statement UPDATE", ""),
        ] {
            let listed = of(sql).listed().unwrap();
            assert_eq!(
                (listed.kind.as_str(), listed.objects.join(" ").as_str()),
                (kind, objects),
                "{sql}"
            );
        }
        assert_eq!(of("COMMIT").listed(), None);
        let account = of("CREATE USER u IDENTIFIED BY 'secret'").listed().unwrap();
        assert_eq!(account.sql, None);
    }

    #[test]
    fn the_frame_of_a_transaction_is_told_from_what_is_in_it() {
        for (sql, means) in [
            ("BEGIN", Query::Begin),
            ("XA START X'31',X'',1", Query::Begin),
            ("COMMIT", Query::End),
            ("ROLLBACK", Query::End),
            ("ROLLBACK /* generated by server */", Query::End),
            ("ROLLBACK TO `s`", Query::Other),
            ("SAVEPOINT `s`", Query::Other),
            ("XA END X'31',X'',1", Query::Other),
            ("XA COMMIT X'31',X'',1", Query::End),
            ("DROP TABLE t", Query::Other),
        ] {
            assert_eq!(of(sql).control(), means, "{sql}");
        }
    }
}
