//! Which statements of a log are not replayed: those that a restore refuses, too.
//!
//! A replica executes whatever it gets, with all privileges. Accounts, plugins and the server's own tables of the
//! destination are its own.

use crate::binlog::statement::{MOST_OBJECTS, Statement};
use crate::mysql::schemas::is_closed_anywhere;
use crate::sql::tokens::{Token, Tokens};

/// What becomes of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is replayed.
    Replay,
    /// It is not, and its transaction is empty; what it is, without data or secrets.
    Refuse(String),
    /// It is not, since the restore does without the tables that it changes; its transaction is empty.
    DoWithout,
    /// Undecidable, or only part of it would have to be refused; what it is.
    Unclear(String),
}

/// Verbs that concern the server or its accounts alone.
const REFUSED_VERBS: &[&str] = &[
    "GRANT",
    "REVOKE",
    "INSTALL",
    "UNINSTALL",
    "SET",
    "RESET",
    "PURGE",
    "CHANGE",
    "START",
    "STOP",
    "SHUTDOWN",
    "KILL",
    "CLONE",
    "RESTART",
    "IMPORT",
];

/// Verbs of statements that change data.
const DATA_VERBS: &[&str] = &[
    "INSERT", "REPLACE", "UPDATE", "DELETE", "LOAD", "CALL", "DO", "WITH", "SELECT", "TABLE",
    "VALUES",
];

/// Verbs that change nothing, or frame a transaction.
const HARMLESS_VERBS: &[&str] = &[
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT",
    "RELEASE",
    "XA",
    "FLUSH",
    "ANALYZE",
    "OPTIMIZE",
    "REPAIR",
    "CHECK",
    "LOCK",
    "UNLOCK",
    "USE",
];

/// Verbs of definitions.
const DEFINITION_VERBS: &[&str] = &["CREATE", "ALTER", "DROP", "RENAME", "TRUNCATE"];

/// Objects that stand behind the verb of a definition and are the server's.
const REFUSED_NOUNS: &[&str] = &["USER", "ROLE", "SERVER", "INSTANCE", "RESOURCE"];

/// Decides about a statement.
pub fn judge(statement: &Statement) -> Verdict {
    let mut words = Tokens::new(&statement.sql);
    let mut first = words.next();
    // MariaDB: SET STATEMENT name = value, … FOR the statement.
    if first.is_some_and(|word| word.is("SET")) && words.eat("STATEMENT") {
        words.by_ref().find(|word| word.is("FOR"));
        first = words.next();
    }
    let Some(first) = first else {
        // Nothing but comments.
        return Verdict::Replay;
    };
    let is = |names: &[&str]| names.iter().any(|name| first.is(name));
    let verb = String::from_utf8_lossy(first.bytes().unwrap_or_default()).to_ascii_uppercase();
    if is(HARMLESS_VERBS) {
        Verdict::Replay
    } else if is(REFUSED_VERBS) {
        Verdict::Refuse(verb)
    } else if is(DATA_VERBS) {
        data(statement, &verb, words)
    } else if is(DEFINITION_VERBS) {
        definition(statement, &verb, words)
    } else {
        Verdict::Unclear(verb)
    }
}

/// Decides about a statement that changes data, whose verb was read. It stands in logs of statement format alone.
fn data(statement: &Statement, verb: &str, words: Tokens<'_>) -> Verdict {
    if !names_closed(statement) {
        return Verdict::Replay;
    }
    let unclear = Verdict::Unclear(format!("{verb} with the server's own tables"));
    let Some((table, rest)) = only_target(verb, words) else {
        return unclear;
    };
    let schema = table.schema.as_deref().unwrap_or(&statement.schema);
    let reads = |words: Tokens<'_>| {
        let reads = ["SELECT", "TABLE", "WITH"];
        words
            .into_iter()
            .any(|token| reads.iter().any(|word| token.is(word)))
    };
    match is_closed(schema) {
        true => Verdict::Refuse(format!("{verb} {schema}.{}", table.name)),
        // Rows that are written out, while the server's own schema is the default one.
        false if ["INSERT", "REPLACE"].contains(&verb) && !reads(rest) => Verdict::Replay,
        false => unclear,
    }
}

/// A table as a statement names it.
struct Target {
    schema: Option<String>,
    name: String,
}

/// The only table that a statement changes, and what follows its name; `None` where there may be several.
fn only_target<'a>(verb: &str, mut words: Tokens<'a>) -> Option<(Target, Tokens<'a>)> {
    const MODIFIERS: &[&str] = &[
        "LOW_PRIORITY",
        "DELAYED",
        "HIGH_PRIORITY",
        "IGNORE",
        "QUICK",
    ];
    while MODIFIERS.iter().any(|modifier| words.eat(modifier)) {}
    let behind = match verb {
        "INSERT" | "REPLACE" => {
            words.eat("INTO");
            None
        }
        "UPDATE" => Some("SET"),
        "DELETE" if words.eat("FROM") => Some("WHERE"),
        _ => return None,
    };
    let mut name = words.next()?.name()??;
    let mut schema = None;
    if words.eat_mark(b'.') {
        schema = Some(std::mem::replace(&mut name, words.next()?.name()??));
    }
    let rest = words.clone();
    let is_only = behind.is_none_or(|word| words.eat(word) || words.next().is_none());
    is_only.then_some((Target { schema, name }, rest))
}

/// Decides about a definition, whose verb was read.
fn definition(statement: &Statement, verb: &str, mut words: Tokens<'_>) -> Verdict {
    words.eat_all(&["OR", "REPLACE"]);
    let ahead = words.clone();
    let noun = REFUSED_NOUNS.iter().find(|noun| words.eat(noun));
    // A table may have such a name: RENAME TABLE and TRUNCATE alone have no noun in front.
    if let Some(noun) = noun
        && verb != "TRUNCATE"
    {
        return Verdict::Refuse(format!("{verb} {noun}"));
    }
    if is_library_function(verb, ahead) {
        return Verdict::Refuse(format!("{verb} FUNCTION … SONAME"));
    }
    // Into the server's own schemas, or out of them.
    if verb == "RENAME" && names_closed(statement) {
        return Verdict::Unclear("RENAME TABLE with the server's own tables".to_owned());
    }
    let listed = statement.listed();
    let (kind, objects) = listed.map(|it| (it.kind, it.objects)).unwrap_or_default();
    let schemas = objects
        .iter()
        .map(|object| object.split('.').next().unwrap_or_default());
    let closed = schemas.filter(|schema| is_closed(schema)).count();
    let one = kind.starts_with("CREATE") || kind.starts_with("ALTER");
    match closed {
        0 if one || !names_closed(statement) => Verdict::Replay,
        // More of them are not listed.
        count if count == objects.len() && (1..MOST_OBJECTS).contains(&count) => {
            Verdict::Refuse(format!("{kind} {}", objects.join(", ")))
        }
        _ => Verdict::Unclear(format!("{kind} {}", objects.join(", "))),
    }
}

/// `CREATE [AGGREGATE] FUNCTION [IF NOT EXISTS] name RETURNS type SONAME 'file'`: loads a library into the server.
fn is_library_function(verb: &str, mut words: Tokens<'_>) -> bool {
    words.eat("AGGREGATE");
    if verb != "CREATE" || !words.eat("FUNCTION") {
        return false;
    }
    words.eat_all(&["IF", "NOT", "EXISTS"]);
    words.next();
    if !words.eat("RETURNS") {
        return false;
    }
    words.next();
    words.eat("SONAME")
}

/// Whether a statement is about the server's own schemas, by its default schema or by a qualified name.
fn names_closed(statement: &Statement) -> bool {
    if is_closed(&statement.schema) {
        return true;
    }
    let mut before: Option<Token<'_>> = None;
    for token in Tokens::new(&statement.sql) {
        if token == Token::Mark(b'.')
            && let Some(Some(Some(name))) = before.map(|token| token.name())
            && is_closed(&name)
        {
            return true;
        }
        before = Some(token);
    }
    false
}

/// Whether a schema is the server's own, in whatever case: on some servers case means nothing.
pub fn is_closed(schema: &str) -> bool {
    is_closed_anywhere(&schema.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(schema: &str, sql: &str) -> Verdict {
        judge(&Statement {
            schema: schema.into(),
            sql: sql.as_bytes().to_vec(),
        })
    }

    #[test]
    fn what_concerns_the_server_is_refused() {
        for (sql, what) in [
            ("GRANT ALL ON *.* TO x", "GRANT"),
            ("/*!50003 GRANT*/ ALL ON *.* TO x", "GRANT"),
            (
                "SET STATEMENT max_statement_time=1 FOR GRANT ALL ON *.* TO x",
                "GRANT",
            ),
            ("SET PASSWORD FOR x = 'secret'", "SET"),
            ("CREATE USER x IDENTIFIED BY 'secret'", "CREATE USER"),
            ("create or replace role x", "CREATE ROLE"),
            ("ALTER USER x ACCOUNT LOCK", "ALTER USER"),
            ("DROP USER IF EXISTS x", "DROP USER"),
            ("RENAME USER a TO b", "RENAME USER"),
            (
                "CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (USER 'u')",
                "CREATE SERVER",
            ),
            ("INSTALL PLUGIN p SONAME 'p.so'", "INSTALL"),
            (
                "CREATE AGGREGATE FUNCTION f RETURNS INT SONAME 'f.so'",
                "CREATE FUNCTION … SONAME",
            ),
            (
                "CREATE FUNCTION IF NOT EXISTS f RETURNS STRING SONAME 'f.so'",
                "CREATE FUNCTION … SONAME",
            ),
            ("DROP TABLE mysql.user", "DROP TABLE mysql.user"),
            ("DROP TABLE `MySQL`.`user`", "DROP TABLE MySQL.user"),
            (
                "ALTER TABLE mysql.user ENGINE=InnoDB",
                "ALTER TABLE mysql.user",
            ),
            ("DROP DATABASE sys", "DROP DATABASE sys"),
            (
                "CREATE TABLE drctl_restore.x (a INT)",
                "CREATE TABLE drctl_restore.x",
            ),
        ] {
            assert_eq!(judged("shop", sql), Verdict::Refuse(what.into()), "{sql}");
        }
        assert!(matches!(
            judged("mysql", "DROP TABLE t"),
            Verdict::Refuse(_)
        ));
    }

    #[test]
    fn what_is_data_is_replayed() {
        for sql in [
            "BEGIN",
            "DROP TABLE `orders` /* generated by server */",
            "CREATE TABLE user (a INT)",
            "CREATE TABLE t (user INT, `mysql.x` INT)",
            "TRUNCATE user",
            "RENAME TABLE a TO b",
            "CREATE ALGORITHM=UNDEFINED DEFINER=`user`@`%` SQL SECURITY DEFINER VIEW `v` AS SELECT * FROM mysql.user",
            "CREATE DEFINER=`r`@`%` PROCEDURE p() BEGIN GRANT ALL ON *.* TO x; DELETE FROM mysql.user; END",
            "CREATE FUNCTION f() RETURNS INT RETURN 1",
            "DROP FUNCTION f",
            "CREATE DATABASE other",
            "INSERT INTO t VALUES ('mysql.user')",
            "XA COMMIT X'31',X'',1",
            "ANALYZE TABLE t",
            "# Dumm",
        ] {
            assert_eq!(judged("shop", sql), Verdict::Replay, "{sql}");
        }
    }

    #[test]
    fn what_is_both_or_unknown_is_neither_replayed_nor_left_out() {
        for sql in [
            "DROP TABLE t, mysql.x",
            "RENAME TABLE mysql.x TO shop.x",
            "RENAME TABLE shop.x TO mysql.x",
            "INSERT INTO t SELECT * FROM mysql.user",
            "UPDATE t, mysql.user SET a = 1",
            "UPDATE mysql.x, t SET a = 1",
            "DELETE mysql.x FROM mysql.x JOIN t",
            "FROBNICATE t",
            "DROP TABLE mysql.a,mysql.b,mysql.c,mysql.d,mysql.e,mysql.f,mysql.g,mysql.h,mysql.i,mysql.j,mysql.k,mysql.l,\
             mysql.m,mysql.n,mysql.o,mysql.p,mysql.q,mysql.r,mysql.s,mysql.t,shop.orders",
        ] {
            assert!(matches!(judged("shop", sql), Verdict::Unclear(_)), "{sql}");
        }
        let deletes = "DELETE FROM shop.t WHERE a = 1";
        assert!(matches!(judged("mysql", deletes), Verdict::Unclear(_)));
        let inserts = "INSERT INTO shop.t VALUES (1)";
        assert_eq!(judged("mysql", inserts), Verdict::Replay);
    }
}
