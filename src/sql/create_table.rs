//! Which definition lines of a CREATE TABLE can wait until the rows are in.
//!
//! SHOW CREATE TABLE writes one definition a line, so this splits lines (mindful of quotes: a name
//! may hold a newline) and does not parse SQL. Deferred, in the order of the text: secondary keys,
//! in one ALTER; FULLTEXT keys, an ALTER each, since a server builds no two in place; foreign keys,
//! for when all keys of all tables are there. What a foreign key refers to may therefore wait too.
//!
//! Afterwards SHOW CREATE TABLE must give the same text. So these stay: the primary key; without
//! one, the first UNIQUE over NOT NULL columns, which orders the rows; a key that leads with the
//! AUTO_INCREMENT column; and every key before one that stays, since a server lists keys as they
//! were added. Tables that are partitioned, system-versioned, not InnoDB, with a key USING HASH, with a CHECK
//! that MySQL would write otherwise after an ALTER ([`super::check`]) or of a shape not known here keep
//! everything, and so do the tables that the foreign keys of one of those refer to.

use std::collections::BTreeSet;

use super::check;
pub use super::definition::Column;
use super::definition::{Key, column, key};
use super::tokens::{Token, Tokens, quoted_end};

/// A table's definition, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateTable {
    /// Everything before the first definition: `` CREATE TABLE `t` (``.
    head: Vec<u8>,
    /// The definitions, one a line.
    lines: Vec<Line>,
    /// From the closing parenthesis on: options and partitions.
    tail: Vec<u8>,
    /// The columns, in order.
    columns: Vec<Column>,
}

/// One definition.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    /// Its text, as it stands between its indentation and its comma.
    text: Vec<u8>,
    /// What it defines.
    kind: LineKind,
    /// Whether it waits for the rows.
    deferred: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum LineKind {
    Column,
    Primary,
    Key(Key),
    /// A foreign key, by its constraint's name.
    Foreign(String),
    /// CHECK, PERIOD and what is not known here.
    Other,
}

impl CreateTable {
    /// Takes a CREATE TABLE apart. One of a shape that is not known here defers nothing.
    pub fn parse(sql: &[u8]) -> CreateTable {
        let Some((head, definitions, tail)) = split(sql) else {
            return CreateTable {
                head: sql.to_vec(),
                lines: Vec::new(),
                tail: Vec::new(),
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
            columns,
        };
        table.choose();
        table
    }

    /// The columns in order; none if the definition's shape is not known.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The columns that keys hold.
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

    /// Lets the CHECK constraints wait too, which their rows would not pass in the session that they come in.
    pub fn defer_checks(&mut self) {
        for line in &mut self.lines {
            line.deferred |= is_check(line);
        }
    }

    /// What brings the CHECK constraints that wait, as [`CreateTable::key_alters`].
    pub fn check_additions(&self, there: &BTreeSet<String>) -> Vec<Vec<u8>> {
        let waiting = self
            .lines
            .iter()
            .filter(|line| line.deferred && is_check(line));
        waiting
            .filter(|line| check_name(line).is_none_or(|name| !there.contains(&name)))
            .map(|line| [b"ADD ", line.text.trim_ascii_end()].concat())
            .collect()
    }

    /// Whether CHECK constraints wait.
    pub fn defers_checks(&self) -> bool {
        self.lines
            .iter()
            .any(|line| line.deferred && is_check(line))
    }

    /// Whether keys wait, or foreign keys.
    pub fn defers_keys(&self) -> bool {
        self.lines
            .iter()
            .any(|line| line.deferred && !is_check(line))
    }

    /// Whether anything waits.
    pub fn defers(&self) -> bool {
        self.lines.iter().any(|line| line.deferred)
    }

    /// Lets no key wait.
    pub fn keep_all(&mut self) {
        for line in &mut self.lines {
            line.deferred &= is_check(line);
        }
    }

    /// The tables that foreign keys which do not wait refer to: schema, where it is named, and name.
    pub fn parents(&self) -> Vec<(Option<String>, String)> {
        let kept = self.lines.iter();
        let kept = kept.filter(|line| matches!(line.kind, LineKind::Foreign(_)) && !line.deferred);
        kept.filter_map(|line| {
            let mut tokens = Tokens::new(&line.text);
            tokens.find(|token| token.is("REFERENCES"))?;
            let name = tokens.next()?.name()??;
            match tokens.eat_mark(b'.') {
                true => Some((Some(name), tokens.next()?.name()??)),
                false => Some((None, name)),
            }
        })
        .collect()
    }

    /// The CREATE TABLE without what waits: byte for byte what was parsed, where nothing does.
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

    /// What brings the keys, each to follow `ALTER TABLE name `, to be executed in order. Keys
    /// that are `there` (by name) are left out, so that an interrupted build goes on.
    pub fn key_alters(&self, there: &BTreeSet<String>) -> Vec<Vec<u8>> {
        let mut alters = Vec::new();
        for fulltext in [false, true] {
            let added: Vec<Vec<u8>> = self
                .added(
                    |kind| match kind {
                        LineKind::Key(key) if key.fulltext == fulltext => Some(&key.name),
                        _ => None,
                    },
                    there,
                )
                .collect();
            match fulltext {
                true => alters.extend(added),
                false if added.is_empty() => {}
                false => alters.push(added.join(&b", "[..])),
            }
        }
        alters
    }

    /// What brings the foreign keys, when all keys of all tables are there; as
    /// [`CreateTable::key_alters`].
    pub fn foreign_key_alters(&self, there: &BTreeSet<String>) -> Vec<Vec<u8>> {
        let added: Vec<Vec<u8>> = self
            .added(
                |kind| match kind {
                    LineKind::Foreign(name) => Some(name),
                    _ => None,
                },
                there,
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
        there: &BTreeSet<String>,
    ) -> impl Iterator<Item = Vec<u8>> {
        self.lines
            .iter()
            .filter(move |line| {
                line.deferred && name(&line.kind).is_some_and(|name| !there.contains(name))
            })
            .map(|line| [b"ADD ", line.text.trim_ascii_end()].concat())
    }

    /// Marks what waits.
    fn choose(&mut self) {
        if !self.is_plain_innodb() || self.rewords_a_check() {
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

    /// Whether the server would write a CHECK in other words after an ALTER.
    fn rewords_a_check(&self) -> bool {
        let of_kind = |kind: LineKind| self.lines.iter().filter(move |line| line.kind == kind);
        let columns: Vec<&[u8]> = of_kind(LineKind::Column)
            .map(|line| &line.text[..])
            .collect();
        of_kind(LineKind::Other).any(|line| check::is_reworded(&line.text, &columns, &self.tail))
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

/// Whether a line is a CHECK constraint of the table, as MySQL writes all of them.
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

/// What a server writes before every definition.
const INDENT: &[u8] = b"\n  ";

/// `None` if the text is not one definition a line, indented as a server does: what is put together
/// again must be what was there.
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
    fn secondary_and_foreign_keys_wait_and_all_else_stays() {
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
    fn keys_that_are_there_are_not_added_again() {
        let table = CreateTable::parse(TABLE.as_bytes());
        let there: BTreeSet<String> = ["u", "k", "f", "ft1", "fk"].map(String::from).into();
        assert_eq!(
            texts(table.key_alters(&there)),
            ["ADD FULLTEXT KEY `ft2` (`e`) /*!50100 WITH PARSER `ngram` */"]
        );
        assert!(table.foreign_key_alters(&there).is_empty());
    }

    #[test]
    fn columns_tell_their_type_and_flags() {
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
    fn what_orders_or_numbers_the_rows_stays_with_all_keys_before_it() {
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
    fn special_tables_and_shapes_not_known_keep_everything_byte_for_byte() {
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
