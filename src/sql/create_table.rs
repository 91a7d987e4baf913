//! Splits a CREATE TABLE into the definitions that are needed to load rows, and those that can be deferred until
//! the rows are loaded.
//!
//! SHOW CREATE TABLE prints one definition per line, so this splits lines (respecting quotes: a name may contain
//! a newline) and does not parse SQL. Deferred, in the order of the text: secondary keys, in one ALTER; FULLTEXT
//! keys, in an ALTER each, since a server cannot build two in place; foreign keys, until all keys of all tables
//! exist. The keys that a foreign key refers to may therefore be deferred, too.
//!
//! Afterwards SHOW CREATE TABLE must print the same text. So these are not deferred: the primary key; without
//! one, the first UNIQUE key over NOT NULL columns, which orders the rows; a key that begins with the
//! AUTO_INCREMENT column; and every key before one of these, since a server lists keys in the order of their
//! creation. Nothing is deferred for a table that is partitioned, system-versioned or not InnoDB, that has a key USING
//! HASH or a CHECK that MySQL would print differently after an ALTER ([`super::check`]), or that has an unknown form;
//! nor for tables that the foreign keys of such a table reference.

use std::collections::BTreeSet;

use super::check;
pub use super::definition::Column;
use super::definition::{Key, column, key};
use super::tokens::{Token, Tokens, quoted_end};

/// A table's definition, split into lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateTable {
    /// Everything before the first definition: `` CREATE TABLE `t` (``.
    head: Vec<u8>,
    /// The definitions, one a line.
    lines: Vec<Line>,
    /// From the closing parenthesis on: options and partitions.
    tail: Vec<u8>,
    /// The deferred partitions, removed from the tail.
    partitions: Vec<u8>,
    /// The columns, in order.
    columns: Vec<Column>,
}

/// One definition.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    /// The text between indentation and comma.
    text: Vec<u8>,
    kind: LineKind,
    deferred: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum LineKind {
    Column,
    Primary,
    Key(Key),
    /// A foreign key, by its constraint's name.
    Foreign(String),
    /// CHECK, PERIOD and everything unknown.
    Other,
}

impl CreateTable {
    /// Splits a CREATE TABLE. Nothing is deferred if its form is unknown.
    pub fn parse(sql: &[u8]) -> CreateTable {
        let Some((head, definitions, tail)) = split(sql) else {
            return CreateTable {
                head: sql.to_vec(),
                lines: Vec::new(),
                tail: Vec::new(),
                partitions: Vec::new(),
                columns: Vec::new(),
            };
        };
        let mut columns = Vec::new();
        let lines = definitions
            .iter()
            .map(|text| Line {
                text: text.to_vec(),
                kind: line_kind(text, &mut columns),
                deferred: false,
            })
            .collect();
        let mut table = CreateTable {
            head: head.to_vec(),
            lines,
            tail: tail.to_vec(),
            partitions: Vec::new(),
            columns,
        };
        table.defer_keys();
        table
    }

    /// The columns in order; empty if the form of the definition is unknown.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The columns of secondary keys.
    pub fn key_columns(&self) -> BTreeSet<String> {
        let keys = self.lines.iter().filter_map(|line| match &line.kind {
            LineKind::Key(key) => Some(key.parts.iter().flatten().cloned()),
            _ => None,
        });
        keys.flatten().collect()
    }

    /// The definition lines, in order.
    pub fn texts(&self) -> impl Iterator<Item = &[u8]> {
        self.lines.iter().map(|line| &line.text[..])
    }

    /// Defers the CHECK constraints, too: rows would violate them in the session that loads them.
    pub fn defer_checks(&mut self) {
        for line in &mut self.lines {
            line.deferred |= is_check(line);
        }
    }

    /// The actions that add the deferred CHECK constraints, like [`CreateTable::key_alters`].
    pub fn check_alters(&self, existing: &BTreeSet<String>) -> Vec<Vec<u8>> {
        self.lines
            .iter()
            .filter(|line| line.deferred && is_check(line))
            .filter(|line| check_name(line).is_none_or(|name| !existing.contains(&name)))
            .map(|line| [b"ADD ", line.text.trim_ascii_end()].concat())
            .collect()
    }

    /// The expressions or column lists of PARTITION BY and SUBPARTITION BY.
    pub fn partitioned_by(&self) -> Vec<&[u8]> {
        let Some(at) = self.partitions_at() else {
            return Vec::new();
        };
        let mut tokens = Tokens::new(&self.tail[at..]);
        let mut all = Vec::new();
        while tokens.find(|token| token.is("BY")).is_some() {
            // Partitions of a system-versioned table.
            if tokens.eat("SYSTEM_TIME")
                || tokens.find(|token| *token == Token::Mark(b'(')).is_none()
            {
                break;
            }
            let inner = tokens.rest();
            let mut depth = 1;
            while depth > 0 {
                match tokens.next() {
                    Some(Token::Mark(b'(')) => depth += 1,
                    Some(Token::Mark(b')')) => depth -= 1,
                    Some(_) => {}
                    None => return all,
                }
            }
            let expression = &inner[..inner.len() - tokens.rest().len() - 1];
            if !expression.trim_ascii().is_empty() {
                all.push(expression);
            }
        }
        all
    }

    /// The clause that follows the options of the table, in its conditional comment.
    pub fn partitions(&self) -> Option<&[u8]> {
        self.partitions_at().map(|at| &self.tail[at..])
    }

    /// Defers the partitions: in the session that loads them, rows would go to other partitions or to none.
    pub fn defer_partitions(&mut self) {
        if let Some(at) = self.partitions_at() {
            self.partitions = self.tail.split_off(at);
            self.tail.truncate(self.tail.trim_ascii_end().len());
        }
    }

    /// The deferred partitions, as the end of an ALTER TABLE.
    pub fn deferred_partitions(&self) -> Option<&[u8]> {
        (!self.partitions.is_empty()).then_some(&self.partitions[..])
    }

    /// Offset in the tail of the line with PARTITION BY.
    fn partitions_at(&self) -> Option<usize> {
        let mut tokens = Tokens::new(&self.tail);
        while tokens.find(|token| token.is("PARTITION")).is_some() {
            if tokens.clone().eat("BY") {
                let end = self.tail.len() - tokens.rest().len();
                let line = self.tail[..end].iter().rposition(|byte| *byte == b'\n');
                return line.map(|at| at + 1);
            }
        }
        None
    }

    /// Whether CHECK constraints are deferred.
    pub fn defers_checks(&self) -> bool {
        self.lines
            .iter()
            .any(|line| line.deferred && is_check(line))
    }

    /// Whether keys or foreign keys are deferred.
    pub fn defers_keys(&self) -> bool {
        self.lines
            .iter()
            .any(|line| line.deferred && !is_check(line))
    }

    /// Whether any definition is deferred.
    pub fn defers(&self) -> bool {
        self.lines.iter().any(|line| line.deferred)
    }

    /// Defers no keys and foreign keys.
    pub fn keep_keys(&mut self) {
        for line in &mut self.lines {
            line.deferred &= is_check(line);
        }
    }

    /// The tables referenced by foreign keys that are not deferred: the schema, if it is given, and the name.
    pub fn parents(&self) -> Vec<(Option<String>, String)> {
        self.referenced(|line| !line.deferred)
    }

    /// The tables whose changes a foreign key applies to this one, too.
    pub fn cascading_parents(&self) -> Vec<(Option<String>, String)> {
        self.referenced(|line| {
            let mut tokens = Tokens::new(&line.text);
            tokens.any(|token| token.is("CASCADE") || token.is("SET"))
        })
    }

    fn referenced(&self, wanted: impl Fn(&Line) -> bool) -> Vec<(Option<String>, String)> {
        self.lines
            .iter()
            .filter(|line| matches!(line.kind, LineKind::Foreign(_)) && wanted(line))
            .filter_map(|line| {
                let mut tokens = Tokens::new(&line.text);
                tokens.find(|token| token.is("REFERENCES"))?;
                let name = tokens.next()?.name()??;
                if tokens.eat_mark(b'.') {
                    Some((Some(name), tokens.next()?.name()??))
                } else {
                    Some((None, name))
                }
            })
            .collect()
    }

    /// The CREATE TABLE without the deferred definitions; exactly the parsed text if nothing is deferred.
    pub fn kept(&self) -> Vec<u8> {
        if self.lines.is_empty() {
            return self.head.clone();
        }
        let kept: Vec<&[u8]> = self
            .lines
            .iter()
            .filter(|line| !line.deferred)
            .map(|line| &line.text[..])
            .collect();
        [
            &self.head[..],
            INDENT,
            &kept.join(&[b",", INDENT].concat()[..]),
            b"\n",
            &self.tail,
        ]
        .concat()
    }

    /// The actions that add the deferred keys, each to follow `ALTER TABLE name `, in order. `existing` keys are
    /// left out, so that an interrupted build can be resumed.
    pub fn key_alters(&self, existing: &BTreeSet<String>) -> Vec<Vec<u8>> {
        let mut alters = Vec::new();
        for fulltext in [false, true] {
            let added: Vec<Vec<u8>> = self
                .added(
                    |kind| match kind {
                        LineKind::Key(key) if key.fulltext == fulltext => Some(&key.name),
                        _ => None,
                    },
                    existing,
                )
                .collect();
            if fulltext {
                alters.extend(added);
            } else if !added.is_empty() {
                alters.push(added.join(&b", "[..]));
            }
        }
        alters
    }

    /// The actions that add the deferred foreign keys once all keys of all tables exist; like
    /// [`CreateTable::key_alters`].
    pub fn foreign_key_alters(&self, existing: &BTreeSet<String>) -> Vec<Vec<u8>> {
        let added: Vec<Vec<u8>> = self
            .added(
                |kind| match kind {
                    LineKind::Foreign(name) => Some(name),
                    _ => None,
                },
                existing,
            )
            .collect();
        if added.is_empty() {
            Vec::new()
        } else {
            vec![added.join(&b", "[..])]
        }
    }

    fn added<'a>(
        &'a self,
        name: impl Fn(&'a LineKind) -> Option<&'a String>,
        existing: &BTreeSet<String>,
    ) -> impl Iterator<Item = Vec<u8>> {
        self.lines
            .iter()
            .filter(move |line| {
                line.deferred && name(&line.kind).is_some_and(|name| !existing.contains(name))
            })
            .map(|line| [b"ADD ", line.text.trim_ascii_end()].concat())
    }

    /// Marks the keys and foreign keys that can be deferred.
    fn defer_keys(&mut self) {
        if !self.is_plain_innodb() || self.has_reprinted_check() {
            return;
        }
        let has_primary = self.lines.iter().any(|line| line.kind == LineKind::Primary);
        let mut needs_clustering = !has_primary;
        let mut last_kept = None;
        for (at, line) in self.lines.iter().enumerate() {
            let LineKind::Key(key) = &line.kind else {
                continue;
            };
            let clusters = needs_clustering && key.unique && self.is_not_null(key);
            if clusters {
                needs_clustering = false;
            }
            if clusters || !key.movable || self.leads_with_auto_increment(key) {
                last_kept = Some(at);
            }
        }
        for (at, line) in self.lines.iter_mut().enumerate() {
            line.deferred = match &line.kind {
                LineKind::Key(_) => last_kept.is_none_or(|kept| at > kept),
                LineKind::Foreign(_) => true,
                _ => false,
            };
        }
    }

    /// Whether the server would print a CHECK differently after an ALTER.
    fn has_reprinted_check(&self) -> bool {
        let of_kind = |kind: LineKind| self.lines.iter().filter(move |line| line.kind == kind);
        let columns: Vec<&[u8]> = of_kind(LineKind::Column)
            .map(|line| &line.text[..])
            .collect();
        of_kind(LineKind::Other)
            .any(|line| check::is_reprinted_by_alter(&line.text, &columns, &self.tail))
    }

    /// The value of an option of the table, such as `ENGINE`, in lower case; `None` if it has none.
    pub fn option(&self, name: &str) -> Option<String> {
        let mut tokens = Tokens::new(&self.tail);
        while tokens.find(|token| token.is(name)).is_some() {
            if tokens.eat_mark(b'=') {
                return match tokens.next()? {
                    Token::Word(word) => Some(String::from_utf8_lossy(word).to_ascii_lowercase()),
                    _ => None,
                };
            }
        }
        None
    }

    /// Whether the table is system-versioned.
    pub fn is_versioned(&self) -> bool {
        Tokens::new(&self.tail).any(|token| token.is("VERSIONING"))
    }

    fn is_plain_innodb(&self) -> bool {
        let options: Vec<Token<'_>> = Tokens::new(&self.tail).collect();
        let engine = options.windows(3).any(|option| {
            option[0].is("ENGINE") && option[1] == Token::Mark(b'=') && option[2].is("InnoDB")
        });
        let special = ["PARTITION", "VERSIONING"];
        let keeps_all = options
            .iter()
            .any(|token| special.iter().any(|word| token.is(word)))
            || self.lines.iter().any(|line| match &line.kind {
                LineKind::Key(key) => key.hashed,
                LineKind::Other => Tokens::new(&line.text).eat("PERIOD"),
                _ => false,
            });
        engine && !keeps_all
    }

    fn column(&self, name: &str) -> Option<&Column> {
        self.columns
            .iter()
            .find(|column| column.name.eq_ignore_ascii_case(name))
    }

    fn is_not_null(&self, key: &Key) -> bool {
        key.parts.iter().all(|part| {
            part.as_deref()
                .and_then(|name| self.column(name))
                .is_some_and(|column| column.not_null)
        })
    }

    fn leads_with_auto_increment(&self, key: &Key) -> bool {
        let first = key.parts.first().and_then(|part| part.as_deref());
        first
            .and_then(|name| self.column(name))
            .is_some_and(|column| column.auto_increment)
    }
}

/// A CREATE TABLE without its partitions.
pub fn without_partitions(sql: &[u8]) -> Vec<u8> {
    let mut table = CreateTable::parse(sql);
    for line in &mut table.lines {
        line.deferred = false;
    }
    table.defer_partitions();
    table.kept()
}

/// Whether a line is a CHECK constraint of the table; MySQL prints those of columns like that, too.
fn is_check(line: &Line) -> bool {
    check_name(line).is_some()
}

fn check_name(line: &Line) -> Option<String> {
    let mut tokens = Tokens::new(&line.text);
    if line.kind != LineKind::Other || !tokens.eat("CONSTRAINT") {
        return None;
    }
    let name = tokens.next()?.name()??;
    tokens.eat("CHECK").then_some(name)
}

/// Head, definitions and tail of a CREATE TABLE.
type Parts<'a> = (&'a [u8], Vec<&'a [u8]>, &'a [u8]);

/// Precedes every definition.
const INDENT: &[u8] = b"\n  ";

/// `None` if the text is not one definition per line with the indentation of a server: joining the parts must
/// result in the same text.
fn split(sql: &[u8]) -> Option<Parts<'_>> {
    let mut tokens = Tokens::new(sql);
    if !tokens.eat_all(&["CREATE", "TABLE"]) {
        return None;
    }
    tokens.eat_all(&["IF", "NOT", "EXISTS"]);
    tokens.next()?;
    if !tokens.eat_mark(b'(') {
        return None;
    }
    let head = sql.len() - tokens.rest().len();
    let mut definitions = Vec::new();
    let mut from = head;
    let mut at = head;
    let mut depth = 0;
    let line = |from: usize, end: usize| sql[from..end].strip_prefix(INDENT);
    loop {
        match sql.get(at)? {
            b'`' | b'\'' | b'"' => at += quoted_end(&sql[at..])? - 1,
            b'(' => depth += 1,
            b')' if depth > 0 => depth -= 1,
            b',' if depth == 0 && sql.get(at + 1) == Some(&b'\n') => {
                definitions.push(line(from, at)?);
                from = at + 1;
            }
            b',' if depth == 0 => return None,
            b')' => {
                definitions.push(line(from, at)?.strip_suffix(b"\n")?);
                return Some((&sql[..head], definitions, &sql[at..]));
            }
            _ => {}
        }
        at += 1;
    }
}

fn line_kind(text: &[u8], columns: &mut Vec<Column>) -> LineKind {
    let mut tokens = Tokens::new(text);
    if let Some(Token::Name(_)) = tokens.clone().next() {
        match column(text) {
            Some(column) => columns.push(column),
            None => return LineKind::Other,
        }
        return LineKind::Column;
    }
    if tokens.eat_all(&["PRIMARY", "KEY"]) {
        return LineKind::Primary;
    }
    if tokens.eat("CONSTRAINT") {
        let name = tokens.next().and_then(|token| token.name()).flatten();
        return match name {
            Some(name) if tokens.eat_all(&["FOREIGN", "KEY"]) => LineKind::Foreign(name),
            _ => LineKind::Other,
        };
    }
    key(tokens).map_or(LineKind::Other, LineKind::Key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "CREATE TABLE `t``(` (\n  \
        `id` int NOT NULL AUTO_INCREMENT,\n  \
        `a\n,` varchar(50) COLLATE utf8mb4_bin DEFAULT 'it''s; -- x' COMMENT 'c,\\n `KEY`),',\n  \
        `e` enum('a,)','b''c') NOT NULL,\n  \
        `g` bigint unsigned GENERATED ALWAYS AS ((`id` + 1)) STORED,\n  \
        `i` decimal(10,3) DEFAULT '5' /*!80023 INVISIBLE */,\n  \
        PRIMARY KEY (`id`),\n  \
        UNIQUE KEY `u` (`e`),\n  \
        KEY `k` (`a\n,`(10) DESC) /*!80000 INVISIBLE */ COMMENT 'a, b',\n  \
        KEY `f` ((lower(`e`))),\n  \
        FULLTEXT KEY `ft1` (`a\n,`),\n  \
        FULLTEXT KEY `ft2` (`e`) /*!50100 WITH PARSER `ngram` */ ,\n  \
        CONSTRAINT `fk` FOREIGN KEY (`e`) REFERENCES `p` (`e`) ON DELETE CASCADE,\n  \
        CONSTRAINT `c` CHECK ((`id` > 0))\n\
        ) ENGINE=InnoDB AUTO_INCREMENT=4 DEFAULT CHARSET=utf8mb4";

    fn kept(sql: &str) -> String {
        String::from_utf8(CreateTable::parse(sql.as_bytes()).kept()).unwrap()
    }

    fn texts(alters: Vec<Vec<u8>>) -> Vec<String> {
        alters
            .into_iter()
            .map(|it| String::from_utf8(it).unwrap())
            .collect()
    }

    #[test]
    fn secondary_and_foreign_keys_are_deferred_and_nothing_else() {
        let table = CreateTable::parse(TABLE.as_bytes());
        let none = BTreeSet::new();
        assert_eq!(
            texts(table.key_alters(&none)),
            [
                "ADD UNIQUE KEY `u` (`e`), \
                 ADD KEY `k` (`a\n,`(10) DESC) /*!80000 INVISIBLE */ COMMENT 'a, b', \
                 ADD KEY `f` ((lower(`e`)))",
                "ADD FULLTEXT KEY `ft1` (`a\n,`)",
                "ADD FULLTEXT KEY `ft2` (`e`) /*!50100 WITH PARSER `ngram` */",
            ]
        );
        assert_eq!(
            texts(table.foreign_key_alters(&none)),
            ["ADD CONSTRAINT `fk` FOREIGN KEY (`e`) REFERENCES `p` (`e`) ON DELETE CASCADE"]
        );
        let kept = kept(TABLE);
        assert!(
            kept.contains("PRIMARY KEY (`id`),\n  CONSTRAINT `c` CHECK ((`id` > 0))\n) ENGINE")
        );
        assert!(CreateTable::parse(kept.as_bytes()).columns() == table.columns());
    }

    #[test]
    fn existing_keys_are_not_added_again() {
        let table = CreateTable::parse(TABLE.as_bytes());
        let there: BTreeSet<String> = ["u", "k", "f", "ft1", "fk"].map(String::from).into();
        assert_eq!(
            texts(table.key_alters(&there)),
            ["ADD FULLTEXT KEY `ft2` (`e`) /*!50100 WITH PARSER `ngram` */"]
        );
        assert!(table.foreign_key_alters(&there).is_empty());
    }

    #[test]
    fn columns_have_their_types_and_flags() {
        let table = CreateTable::parse(TABLE.as_bytes());
        let of: Vec<_> = table
            .columns()
            .iter()
            .map(|it| {
                (
                    &it.name[..],
                    &it.type_text[..],
                    [it.not_null, it.auto_increment, it.generated, it.invisible].map(u8::from),
                )
            })
            .collect();
        assert_eq!(
            of,
            [
                ("id", "int", [1, 1, 0, 0]),
                ("a\n,", "varchar(50)", [0, 0, 0, 0]),
                ("e", "enum('a,)','b''c')", [1, 0, 0, 0]),
                ("g", "bigint unsigned", [0, 0, 1, 0]),
                ("i", "decimal(10,3)", [0, 0, 0, 1]),
            ]
        );
    }

    #[test]
    fn a_key_that_orders_or_numbers_the_rows_and_all_keys_before_it_are_not_deferred() {
        let table = |keys: &str| {
            format!(
                "CREATE TABLE `t` (\n  `a` int NOT NULL AUTO_INCREMENT,\n  `b` int NOT NULL,\n  \
                 `c` int DEFAULT NULL,\n  {keys}\n) ENGINE=InnoDB"
            )
        };
        for (keys, waits) in [
            (
                "PRIMARY KEY (`a`),\n  UNIQUE KEY `b` (`b`)",
                "ADD UNIQUE KEY `b` (`b`)",
            ),
            (
                "UNIQUE KEY `b` (`b`),\n  UNIQUE KEY `c` (`c`),\n  KEY `a` (`a`)",
                "",
            ),
            (
                "UNIQUE KEY `b` (`b`),\n  KEY `a` (`a`),\n  KEY `c` (`c`)",
                "ADD KEY `c` (`c`)",
            ),
            (
                "PRIMARY KEY (`b`),\n  KEY `c` (`c`),\n  KEY `a` (`a`,`b`)",
                "",
            ),
            ("PRIMARY KEY (`a`),\n  UNIQUE KEY `c` (`c`) USING HASH", ""),
        ] {
            let alters = CreateTable::parse(table(keys).as_bytes()).key_alters(&BTreeSet::new());
            assert_eq!(texts(alters).concat(), waits, "{keys}");
        }
    }

    #[test]
    fn special_tables_and_unknown_forms_are_kept_byte_for_byte() {
        let key = "CREATE TABLE `t` (\n  `a` int,\n  KEY `a` (`a`)\n) ENGINE=InnoDB";
        assert!(CreateTable::parse(key.as_bytes()).defers());
        for sql in [
            key.replace("InnoDB", "MyISAM"),
            format!("{key}\n/*!50100 PARTITION BY HASH (`a`)\nPARTITIONS 2 */"),
            format!("{key} WITH SYSTEM VERSIONING"),
            key.replace("KEY `a`", "PERIOD FOR SYSTEM_TIME (`a`, `a`),\n  KEY `a`"),
            key.replace("\n", ""),
            key.replace(") ENGINE=InnoDB", ""),
            key.replace("`t`", "`t"),
            key.replace("  `a` int", " `a` int"),
            key.replace("\n)", " \n )"),
            format!("{key} WITH SYSTEM VERSIONING").replace("int,", "int ,"),
            "CREATE TABLE `t` LIKE `u`".to_owned(),
            String::new(),
        ] {
            assert!(!CreateTable::parse(sql.as_bytes()).defers(), "{sql}");
            assert_eq!(kept(&sql), sql);
        }
    }

    #[test]
    fn a_word_in_a_comment_or_a_name_is_not_a_property() {
        for words in [
            "AUTO_INCREMENT",
            "NOT NULL",
            "WITH SYSTEM VERSIONING",
            "PARTITION BY",
        ] {
            let sql = format!(
                "CREATE TABLE `t` (\n  `{words}` int DEFAULT NULL COMMENT '{words}',\n  \
                 `b` int NOT NULL,\n  PRIMARY KEY (`b`),\n  UNIQUE KEY `c` (`{words}`)\n\
                 ) ENGINE=InnoDB COMMENT='{words}'"
            );
            assert!(CreateTable::parse(sql.as_bytes()).defers(), "{words}");
        }
    }
}
