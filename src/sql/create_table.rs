//! Which definition lines of a CREATE TABLE can wait until the rows are in.
//!
//! A server writes one definition a line, so lines are sorted, not SQL parsed. Whatever does not
//! look exactly like what servers write keeps all its keys: slower, never wrong.
//!
//! These stay in the CREATE: PRIMARY KEY; without one, the first UNIQUE over NOT NULL columns,
//! which is then the clustered key; a key that leads with the AUTO_INCREMENT column; keys that a
//! server cannot add in place; and all keys before one that stays, since SHOW CREATE must come out
//! in the same order. Partitioned and system-versioned tables, and those of other engines than
//! InnoDB, keep everything. Foreign keys of the others come last, after all keys of all tables.

use std::collections::BTreeSet;

/// A CREATE TABLE, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateTable {
    /// `CREATE TABLE t (`.
    head: Vec<u8>,
    /// The definitions, in order.
    lines: Vec<Line>,
    /// `) ENGINE=…` and what follows.
    tail: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    /// Without its comma.
    text: Vec<u8>,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    /// A column, a primary key, a check, or a key that stays.
    Stays,
    /// A key of this name that waits.
    Key(String),
    /// A FULLTEXT key of this name that waits: a server builds no two in place.
    FullText(String),
    /// A foreign key of this name.
    ForeignKey(String),
}

impl CreateTable {
    /// Takes a statement apart, as the server wrote it.
    pub fn parse(sql: &[u8]) -> CreateTable {
        split(sql).unwrap_or_else(|| CreateTable {
            head: sql.to_vec(),
            lines: Vec::new(),
            tail: Vec::new(),
        })
    }

    /// Whether anything waits.
    pub fn defers(&self) -> bool {
        self.lines.iter().any(|line| line.what != What::Stays)
    }

    /// The CREATE TABLE without what waits.
    pub fn kept(&self) -> Vec<u8> {
        if self.lines.is_empty() {
            return self.head.clone();
        }
        let kept = self.lines.iter().filter(|line| line.what == What::Stays);
        let kept: Vec<&[u8]> = kept.map(|line| line.text.as_slice()).collect();
        [
            &self.head,
            b"\n".as_slice(),
            &kept.join(&b",\n"[..]),
            b"\n",
            &self.tail,
        ]
        .concat()
    }

    /// What to alter so that the keys that waited are there, but for those named in `there`: the
    /// words behind `ALTER TABLE t`.
    pub fn key_alters(&self, there: &BTreeSet<String>) -> Vec<Vec<u8>> {
        let plain = |what: &What| matches!(what, What::Key(name) if !there.contains(name));
        let full = |what: &What| matches!(what, What::FullText(name) if !there.contains(name));
        self.additions(plain)
            .into_iter()
            .chain(self.one_by_one(full))
            .collect()
    }

    /// What to alter so that the foreign keys are there, but for those named in `there`.
    pub fn foreign_key_alters(&self, there: &BTreeSet<String>) -> Vec<Vec<u8>> {
        let foreign = |what: &What| matches!(what, What::ForeignKey(name) if !there.contains(name));
        self.additions(foreign).into_iter().collect()
    }

    fn additions(&self, which: impl Fn(&What) -> bool) -> Option<Vec<u8>> {
        let all: Vec<Vec<u8>> = self.one_by_one(which).collect();
        (!all.is_empty()).then(|| all.join(&b", "[..]))
    }

    fn one_by_one(&self, which: impl Fn(&What) -> bool) -> impl Iterator<Item = Vec<u8>> {
        let lines = self.lines.iter().filter(move |line| which(&line.what));
        lines.map(|line| [b"ADD ", line.text.trim_ascii()].concat())
    }
}

/// `None` where the statement does not look like a server's, or keeps everything.
fn split(sql: &[u8]) -> Option<CreateTable> {
    let mut all = sql.split(|byte| *byte == b'\n');
    let head = all.next()?;
    if !head.starts_with(b"CREATE TABLE `") || !head.ends_with(b" (") {
        return None;
    }
    let mut lines: Vec<&[u8]> = Vec::new();
    let mut tail: Vec<&[u8]> = Vec::new();
    for line in all {
        match line {
            [b' ', b' ', ..] if tail.is_empty() => lines.push(line),
            [b')', ..] | [b'/', b'*', b'!', ..] | [b' ', ..] if !lines.is_empty() => {
                tail.push(line)
            }
            _ => return None,
        }
    }
    let tail = tail.join(&b'\n');
    let options = tail.strip_prefix(b") ")?;
    let has = |words: &[u8]| memchr::memmem::find(options, words).is_some();
    if !options.starts_with(b"ENGINE=InnoDB")
        || has(b"PARTITION BY")
        || has(b"WITH SYSTEM VERSIONING")
        || !lines.iter().all(|line| quotes_are_closed(line))
    {
        return None;
    }
    let (last, others) = lines.split_last()?;
    let mut texts: Vec<&[u8]> = Vec::with_capacity(lines.len());
    for line in others {
        texts.push(line.strip_suffix(b",")?.trim_ascii_end());
    }
    texts.push(last.trim_ascii_end());
    let versioned = |text: &&[u8]| text.starts_with(b"  PERIOD FOR SYSTEM_TIME");
    if texts.iter().any(versioned) {
        return None;
    }
    Some(CreateTable {
        head: head.to_vec(),
        lines: sort(&texts)?,
        tail,
    })
}

/// What becomes of each definition.
fn sort(texts: &[&[u8]]) -> Option<Vec<Line>> {
    let mut lines = Vec::with_capacity(texts.len());
    for text in texts {
        lines.push(Line {
            text: text.to_vec(),
            what: what_is(text)?,
        });
    }
    let columns: Vec<&[u8]> = texts
        .iter()
        .filter(|text| text.starts_with(b"  `"))
        .copied()
        .collect();
    let has_primary = texts.iter().any(|text| text.starts_with(b"  PRIMARY KEY"));
    let clustered = texts
        .iter()
        .position(|text| text.starts_with(b"  UNIQUE KEY") && is_not_null(text, &columns));
    let counter = columns
        .iter()
        .find(|column| has_word(column, b"AUTO_INCREMENT"));
    let counter = counter
        .and_then(|column| quoted(column))
        .map(|(name, _)| name);
    let must_stay = |(at, text): (usize, &&[u8])| {
        let leads = counter.is_some() && leading_column(text) == counter;
        let clusters = !has_primary && clustered == Some(at);
        let slow = [&b" USING HASH"[..], b"  VECTOR KEY"];
        let in_place = !slow
            .iter()
            .any(|words| memchr::memmem::find(text, words).is_some());
        leads || clusters || !in_place
    };
    let is_key = |text: &[u8]| matches!(what_is(text), Some(What::Key(_) | What::FullText(_)));
    let last_kept = texts
        .iter()
        .enumerate()
        .filter(|(at, text)| is_key(text) && must_stay((*at, text)))
        .map(|(at, _)| at)
        .max();
    if let Some(last) = last_kept {
        for line in &mut lines[..=last] {
            if !matches!(line.what, What::ForeignKey(_)) {
                line.what = What::Stays;
            }
        }
    }
    Some(lines)
}

/// `None` for a definition of no known kind.
fn what_is(text: &[u8]) -> Option<What> {
    let word = |prefix: &[u8]| text.starts_with(prefix);
    if word(b"  `") || word(b"  PRIMARY KEY") {
        return Some(What::Stays);
    }
    if word(b"  CONSTRAINT `") {
        let (name, rest) = quoted(text)?;
        return Some(match rest.starts_with(b" FOREIGN KEY") {
            true => What::ForeignKey(unquote(name)?),
            false => What::Stays,
        });
    }
    if word(b"  CHECK") {
        return Some(What::Stays);
    }
    let name = || unquote(quoted(text)?.0);
    if word(b"  FULLTEXT KEY `") {
        return Some(What::FullText(name()?));
    }
    let keys: [&[u8]; 4] = [
        b"  KEY `",
        b"  UNIQUE KEY `",
        b"  SPATIAL KEY `",
        b"  VECTOR KEY `",
    ];
    keys.iter().any(|key| word(key)).then(name)?.map(What::Key)
}

/// The first name in backticks, still doubled inside, and what follows it.
fn quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let open = memchr::memchr(b'`', text)? + 1;
    let mut at = open;
    loop {
        at += memchr::memchr(b'`', &text[at..])?;
        match text.get(at + 1) {
            Some(b'`') => at += 2,
            _ => return Some((&text[open..at], &text[at + 1..])),
        }
    }
}

fn unquote(name: &[u8]) -> Option<String> {
    Some(std::str::from_utf8(name).ok()?.replace("``", "`"))
}

/// The first column of a key, still doubled inside; `None` for an expression.
fn leading_column(key: &[u8]) -> Option<&[u8]> {
    let (_, rest) = quoted(key)?;
    let columns = rest.strip_prefix(b" (")?;
    columns
        .starts_with(b"`")
        .then(|| quoted(columns))
        .flatten()
        .map(|(name, _)| name)
}

/// Whether a UNIQUE key is over whole columns none of which can be NULL.
fn is_not_null(key: &[u8], columns: &[&[u8]]) -> bool {
    let Some((_, rest)) = quoted(key) else {
        return false;
    };
    let Some(mut list) = rest.strip_prefix(b" (") else {
        return false;
    };
    loop {
        if !list.starts_with(b"`") {
            return false;
        }
        let Some((name, rest)) = quoted(list) else {
            return false;
        };
        let column = columns
            .iter()
            .find(|column| quoted(column).is_some_and(|(n, _)| n == name));
        if !column.is_some_and(|column| has_word(column, b" NOT NULL")) {
            return false;
        }
        let rest = rest.strip_prefix(b" DESC").unwrap_or(rest);
        match rest {
            [b')', ..] => return true,
            [b',', rest @ ..] => list = rest,
            _ => return false,
        }
    }
}

/// Whether a definition has words outside of quotes.
fn has_word(line: &[u8], words: &[u8]) -> bool {
    let mut plain = Vec::with_capacity(line.len());
    let mut open = None;
    let mut bytes = line.iter().copied();
    while let Some(byte) = bytes.next() {
        match (open, byte) {
            (None, b'\'' | b'`') => open = Some(byte),
            (None, _) => plain.push(byte),
            (Some(b'\''), b'\\') => drop(bytes.next()),
            (Some(quote), _) if quote == byte => open = None,
            _ => {}
        }
    }
    memchr::memmem::find(&plain, words).is_some()
}

/// A newline within quotes would have cut a definition in two.
fn quotes_are_closed(line: &[u8]) -> bool {
    let mut open = None;
    let mut bytes = line.iter().copied();
    while let Some(byte) = bytes.next() {
        match (open, byte) {
            (None, b'\'' | b'`') => open = Some(byte),
            (Some(b'\''), b'\\') => drop(bytes.next()),
            (Some(quote), _) if quote == byte => open = None,
            _ => {}
        }
    }
    open.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none() -> BTreeSet<String> {
        BTreeSet::new()
    }

    fn texts(alters: Vec<Vec<u8>>) -> Vec<String> {
        alters
            .into_iter()
            .map(|alter| String::from_utf8(alter).unwrap())
            .collect()
    }

    const ORDERS: &[u8] = b"CREATE TABLE `orders` (\n  `id` int NOT NULL AUTO_INCREMENT,\n  \
        `a` varchar(9) DEFAULT NULL COMMENT 'KEY `x`, (',\n  PRIMARY KEY (`id`),\n  \
        UNIQUE KEY `u` (`a`),\n  KEY `k``1` (`a`(3) DESC),\n  FULLTEXT KEY `f` (`a`),\n  \
        FULLTEXT KEY `g` (`a`) /*!50100 WITH PARSER `ngram` */ ,\n  \
        CONSTRAINT `fk` FOREIGN KEY (`a`) REFERENCES `p` (`id`),\n  CONSTRAINT `c` CHECK (`a` > 0)\n\
        ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4";

    #[test]
    fn keys_and_foreign_keys_wait_and_the_rest_stays() {
        let table = CreateTable::parse(ORDERS);
        assert_eq!(
            String::from_utf8(table.kept()).unwrap(),
            "CREATE TABLE `orders` (\n  `id` int NOT NULL AUTO_INCREMENT,\n  \
             `a` varchar(9) DEFAULT NULL COMMENT 'KEY `x`, (',\n  PRIMARY KEY (`id`),\n  \
             CONSTRAINT `c` CHECK (`a` > 0)\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"
        );
        assert_eq!(
            texts(table.key_alters(&none())),
            [
                "ADD UNIQUE KEY `u` (`a`), ADD KEY `k``1` (`a`(3) DESC)",
                "ADD FULLTEXT KEY `f` (`a`)",
                "ADD FULLTEXT KEY `g` (`a`) /*!50100 WITH PARSER `ngram` */",
            ]
        );
        assert_eq!(
            texts(table.foreign_key_alters(&none())),
            ["ADD CONSTRAINT `fk` FOREIGN KEY (`a`) REFERENCES `p` (`id`)"]
        );
    }

    #[test]
    fn what_is_there_already_is_not_added_again() {
        let table = CreateTable::parse(ORDERS);
        let there = [
            "u".to_owned(),
            "k`1".to_owned(),
            "f".to_owned(),
            "g".to_owned(),
        ]
        .into();
        assert_eq!(table.key_alters(&there), Vec::<Vec<u8>>::new());
        assert_eq!(
            table.foreign_key_alters(&["fk".to_owned()].into()),
            Vec::<Vec<u8>>::new()
        );
    }

    fn keeps_all(sql: &str) {
        let table = CreateTable::parse(sql.as_bytes());
        assert!(!table.defers(), "{sql}");
        assert_eq!(table.kept(), sql.as_bytes());
    }

    #[test]
    fn tables_that_cannot_wait_keep_everything() {
        let with = |tail: &str| {
            format!("CREATE TABLE `t` (\n  `a` int NOT NULL,\n  KEY `k` (`a`)\n{tail}")
        };
        keeps_all(&with(") ENGINE=MyISAM"));
        keeps_all(&with(") ENGINE=InnoDB\n PARTITION BY HASH (`a`)"));
        keeps_all(&with(
            ") ENGINE=InnoDB\n/*!50100 PARTITION BY HASH (`a`)\nPARTITIONS 2 */",
        ));
        keeps_all(&with(") ENGINE=InnoDB WITH SYSTEM VERSIONING"));
        keeps_all("CREATE TABLE `t` (\n  `a` text DEFAULT 'x\n  KEY `k` (`a`)'\n) ENGINE=InnoDB");
        keeps_all("CREATE TABLE `t` AS SELECT 1");
    }

    #[test]
    fn the_clustered_key_and_the_counters_key_stay_with_all_before_them() {
        let table = CreateTable::parse(
            b"CREATE TABLE `t` (\n  `a` int NOT NULL,\n  `b` int DEFAULT NULL,\n  \
              UNIQUE KEY `n` (`b`),\n  UNIQUE KEY `c` (`a`),\n  KEY `k` (`b`)\n) ENGINE=InnoDB",
        );
        assert_eq!(texts(table.key_alters(&none())), ["ADD KEY `k` (`b`)"]);
        let table = CreateTable::parse(
            b"CREATE TABLE `t` (\n  `a` int NOT NULL AUTO_INCREMENT,\n  `b` int NOT NULL,\n  \
              PRIMARY KEY (`b`),\n  KEY `x` (`b`),\n  KEY `c` (`a`),\n  KEY `k` (`b`)\n) ENGINE=InnoDB",
        );
        assert_eq!(texts(table.key_alters(&none())), ["ADD KEY `k` (`b`)"]);
    }

    #[test]
    fn a_word_in_a_comment_is_not_a_property() {
        let table = CreateTable::parse(
            b"CREATE TABLE `t` (\n  `a` int NOT NULL COMMENT 'AUTO_INCREMENT',\n  \
              PRIMARY KEY (`a`),\n  KEY `c` (`a`)\n) ENGINE=InnoDB",
        );
        assert!(table.defers());
    }
}
