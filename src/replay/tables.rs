//! Which changes of a log concern the tables that a restore is limited to.
//!
//! Rows name their table. A statement is text: where it is not certain whether it changes a selected table, and
//! only those, it ends the replay.

use std::collections::BTreeSet;

use crate::binlog::statement::{MOST_LOOKED_AT, MOST_OBJECTS, Statement};
use crate::sql::tokens::{Token, Tokens};
use crate::sql::trigger::trigger_table;

/// Tables, by `schema.table`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tables {
    names: BTreeSet<String>,
    /// The same without the schema, in lower case.
    bare: BTreeSet<Vec<u8>>,
    schemas: BTreeSet<String>,
    /// Whether the target compares names without regard to case.
    folds: bool,
}

/// How much of what a statement changes is selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    All,
    /// Nothing.
    None,
    /// Undecidable, or only a part.
    Unclear,
}

impl Tables {
    /// These tables of a target, by schema and name.
    pub fn new<'a>(tables: impl IntoIterator<Item = &'a (String, String)>, folds: bool) -> Tables {
        let mut all = Tables {
            names: BTreeSet::new(),
            bare: BTreeSet::new(),
            schemas: BTreeSet::new(),
            folds,
        };
        for (schema, name) in tables {
            all.names.insert(all.folded(&format!("{schema}.{name}")));
            all.bare.insert(name.to_lowercase().into_bytes());
            all.schemas.insert(all.folded(schema));
        }
        all
    }

    fn folded(&self, name: &str) -> String {
        match self.folds {
            true => name.to_lowercase(),
            false => name.to_owned(),
        }
    }

    /// Whether `schema.table` is one of them.
    pub fn has(&self, table: &str) -> bool {
        self.names.contains(&self.folded(table))
    }

    /// What a statement that a restore does not refuse changes of them.
    pub fn part_of(&self, statement: &Statement) -> Part {
        let Some(listed) = statement.listed() else {
            return Part::All;
        };
        if statement.sql.len() >= MOST_LOOKED_AT || listed.objects.len() >= MOST_OBJECTS {
            return Part::Unclear;
        }
        let (verb, noun) = match listed.kind.split_once(' ') {
            // Which tables a statement changes by routines and triggers, its text does not say.
            Some(("statement", _)) => return Part::Unclear,
            Some(kind) => kind,
            None if HARMLESS.contains(&listed.kind.as_str()) => return Part::None,
            None => return Part::Unclear,
        };
        let first = listed.objects.first().map_or("", String::as_str);
        match noun {
            // ALTER DATABASE may name none.
            "DATABASE" => {
                let named = [first, &statement.schema];
                let named = &named[..if verb == "ALTER" { 2 } else { 1 }];
                match named
                    .iter()
                    .any(|name| self.schemas.contains(&self.folded(name)))
                {
                    true => Part::Unclear,
                    false => Part::None,
                }
            }
            "TRIGGER" => self.part_of_trigger(verb, first, statement),
            "TABLE" | "INDEX" | "SEQUENCE" if !is_legible(statement) => Part::Unclear,
            "TABLE" | "INDEX" | "VIEW" | "SEQUENCE" if listed.objects.is_empty() => Part::Unclear,
            "TABLE" | "INDEX" | "VIEW" | "SEQUENCE" => {
                let selected = listed.objects.iter().filter(|one| self.has(one)).count();
                match selected {
                    all if noun == "VIEW" && all == listed.objects.len() => Part::All,
                    0 if self.takes_a_name(verb, statement) => Part::Unclear,
                    0 => Part::None,
                    all if all == listed.objects.len() && is_about_itself(verb, statement) => {
                        Part::All
                    }
                    _ => Part::Unclear,
                }
            }
            _ => Part::None,
        }
    }

    /// A trigger belongs to a table, which only its definition names.
    fn part_of_trigger(&self, verb: &str, trigger: &str, statement: &Statement) -> Part {
        let Some((schema, name)) = trigger.split_once('.') else {
            return Part::Unclear;
        };
        if name.contains('.') {
            return Part::Unclear;
        }
        if !self.schemas.contains(&self.folded(schema)) {
            return Part::None;
        }
        let table = match verb {
            "CREATE" => trigger_table(&statement.sql),
            _ => None,
        };
        match table {
            Some(table) if self.has(&format!("{schema}.{table}")) => Part::All,
            Some(table) if table.is_ascii() => Part::None,
            _ => Part::Unclear,
        }
    }

    /// Whether a statement about other tables may give one of them the name or the rows of a selected one.
    fn takes_a_name(&self, verb: &str, statement: &Statement) -> bool {
        let names = Tokens::new(&statement.sql).filter_map(|token| token.name().flatten());
        let mut names = names.map(|name| name.to_lowercase().into_bytes());
        let has = |word: &str| Tokens::new(&statement.sql).any(|token| token.is(word));
        names.any(|name| self.bare.contains(&name))
            && (verb == "RENAME" || has("RENAME") || has("EXCHANGE") || has("CONVERT"))
    }
}

/// Whether a statement about selected tables changes and reads nothing else.
fn is_about_itself(verb: &str, statement: &Statement) -> bool {
    let mut words = Tokens::new(&statement.sql);
    if verb == "RENAME" {
        return false;
    }
    while let Some(word) = words.next() {
        let is = |names: &[&str]| names.iter().any(|name| word.is(name));
        if is(&["EXCHANGE", "REFERENCES", "SELECT", "UNION"]) {
            return false;
        }
        // MariaDB makes partitions of tables, and tables of partitions; CONVERT TO CHARACTER SET is another thing.
        let next = words.clone().next();
        if word.is("CONVERT") && !next.is_some_and(|next| next.is("TO")) {
            return false;
        }
        if word.is("RENAME") {
            let inside = ["COLUMN", "INDEX", "KEY"];
            if !next.is_some_and(|next| inside.iter().any(|noun| next.is(noun))) {
                return false;
            }
        }
    }
    verb != "CREATE" || !is_made_like_another(statement)
}

/// Statements that change no table.
const HARMLESS: &[&str] = &["ANALYZE", "OPTIMIZE", "REPAIR", "CHECK", "FLUSH"];

/// Whether the text says the same whatever the character set and the SQL mode of its session: names are ASCII, and no
/// backslash may or may not be an escape.
fn is_legible(statement: &Statement) -> bool {
    let mut words = Tokens::new(&statement.sql);
    let names_are_ascii = words.by_ref().all(|word| match word {
        Token::Text([b'\'', ..]) => true,
        word => word.bytes().is_none_or(<[u8]>::is_ascii),
    });
    names_are_ascii && words.is_sound() && !statement.sql.contains(&b'\\')
}

/// Whether a CREATE TABLE takes over another one: `a LIKE b`, `a (LIKE b)`.
fn is_made_like_another(statement: &Statement) -> bool {
    let mut words = Tokens::new(&statement.sql);
    if !words.any(|word| word.is("TABLE")) {
        return false;
    }
    words.eat_all(&["IF", "NOT", "EXISTS"]);
    words.next();
    if words.eat_mark(b'.') {
        words.next();
    }
    words.eat_mark(b'(');
    words.eat("LIKE")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(sql: &str) -> Part {
        let tables = ["orders", "sums"].map(|name| ("shop".to_owned(), name.to_owned()));
        let statement = Statement {
            schema: "shop".into(),
            sql: sql.as_bytes().to_vec(),
        };
        Tables::new(&tables, false).part_of(&statement)
    }

    #[test]
    fn a_statement_is_replayed_only_if_it_is_about_selected_tables_alone() {
        for sql in [
            "ALTER TABLE orders ADD COLUMN a INT, RENAME COLUMN b TO c",
            "DROP TABLE `shop`.`orders` /* generated by server */",
            "TRUNCATE orders",
            "SET STATEMENT lock_wait_timeout=5 FOR TRUNCATE orders",
            "ALTER TABLE orders CONVERT TO CHARACTER SET utf8mb4",
            "CREATE INDEX i ON orders (a)",
            "CREATE TABLE orders (a INT, b VARCHAR(9) CHECK (b LIKE 'x%'))",
            "CREATE DEFINER=`r`@`%` TRIGGER t BEFORE INSERT ON orders FOR EACH ROW SET NEW.a = 1",
            "CREATE OR REPLACE VIEW sums AS SELECT * FROM lines",
            "SAVEPOINT s",
        ] {
            assert_eq!(part(sql), Part::All, "{sql}");
        }
        for sql in [
            "ALTER TABLE lines ADD COLUMN a INT",
            "CREATE TABLE lines (id INT, FOREIGN KEY (id) REFERENCES orders (id))",
            "DROP TABLE other.orders",
            "CREATE TABLE Orders (a INT)",
            "CREATE TRIGGER t BEFORE INSERT ON lines FOR EACH ROW INSERT INTO orders VALUES (1)",
            "DROP TRIGGER other.t",
            "CREATE PROCEDURE p() DELETE FROM orders",
            "CREATE VIEW v AS SELECT * FROM orders",
            "DROP DATABASE other",
            "ANALYZE TABLE lines",
        ] {
            assert_eq!(part(sql), Part::None, "{sql}");
        }
        for sql in [
            "RENAME TABLE orders TO old, new TO orders",
            "RENAME TABLE lines TO orders",
            "ALTER TABLE lines RENAME TO orders",
            "ALTER TABLE orders RENAME TO old",
            "ALTER TABLE lines EXCHANGE PARTITION p WITH TABLE orders",
            "ALTER TABLE orders ADD FOREIGN KEY (a) REFERENCES lines (a) ON DELETE CASCADE",
            "DROP TABLE orders, lines",
            "DROP DATABASE shop",
            "DROP TRIGGER t",
            "CREATE TABLE orders LIKE lines",
            "CREATE TABLE IF NOT EXISTS shop.orders (LIKE lines)",
            "CREATE TABLE orders AS SELECT * FROM lines",
            "UPDATE lines SET a = 1",
            "SET STATEMENT lock_wait_timeout=5 FOR UPDATE orders SET a = 1",
            "TRUNCATE k\u{f6}ln",
            "ALTER TABLE lines COMMENT '\\', RENAME TO orders",
            "ALTER TABLE lines CONVERT TABLE orders TO PARTITION p VALUES LESS THAN (9)",
            "ALTER TABLE lines CONVERT PARTITION p TO TABLE orders",
            "ALTER TABLE orders CONVERT PARTITION p TO TABLE lines",
            "ALTER DATABASE COLLATE utf8mb4_bin",
            "DROP TABLE a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,orders",
            "FROBNICATE orders",
        ] {
            assert_eq!(part(sql), Part::Unclear, "{sql}");
        }
    }

    #[test]
    fn names_are_compared_as_the_target_does() {
        let tables = [("Shop".to_owned(), "Orders".to_owned())];
        assert!(Tables::new(&tables, true).has("shop.orders"));
        assert!(!Tables::new(&tables, false).has("shop.orders"));
    }
}
