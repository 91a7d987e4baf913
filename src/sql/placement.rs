//! Parts of a definition that are specific to a server, and that another one may reject: where and how it stores the
//! data, and the counter of an ARCHIVE table.
//!
//! [`created`] is the only place that decides which of them a restore leaves out.

use std::ops::Range;

use super::definer::unquoted;
use super::tokens::{Token, Tokens};

/// What a definition requires of the server that stores its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// DATA DIRECTORY or INDEX DIRECTORY of a table or a partition: the path, as written there.
    Directory(String),
    /// A general tablespace (MySQL).
    Tablespace(String),
    /// The encryption of a table, or the default of a schema.
    Encryption(bool),
    /// A schema that is READ ONLY (MySQL), which the server prints in a comment.
    ReadOnly,
}

/// A definition, and what a restore makes of it.
#[derive(Debug, Clone)]
pub struct Changed {
    /// The definition in the dump.
    pub dumped: Vec<u8>,
    /// The definition that is executed; a server prints it like this.
    pub created: Vec<u8>,
}

/// One requirement, and its text.
struct Clause {
    storage: Storage,
    place: Range<usize>,
    /// What a server prints there that does without.
    without: &'static [u8],
}

/// The requirements of a CREATE TABLE or CREATE DATABASE, in order.
pub fn storage(sql: &[u8]) -> impl Iterator<Item = Storage> {
    clauses(sql).into_iter().map(|clause| clause.storage)
}

/// The directories in a CREATE TABLE, each once.
pub fn directories(sql: &[u8]) -> Vec<String> {
    let mut all = Vec::new();
    for storage in storage(sql) {
        if let Storage::Directory(path) = storage
            && !all.contains(&path)
        {
            all.push(path);
        }
    }
    all
}

/// The definition that a restore executes; `None` if it is that of the dump.
///
/// A schema becomes writable: its tables are still to be filled. A scratch server stores everything in its own
/// directory and tablespaces, and needs no keyring. How data are stored changes no value, and another server can be
/// given what a definition requires, so the drill of a sound backup must not fail for want of it.
pub fn created(sql: &[u8], on_scratch: bool) -> Option<Vec<u8>> {
    let mut kept = Vec::with_capacity(sql.len());
    let mut from = 0;
    let clauses = clauses(sql).into_iter();
    for clause in clauses.filter(|clause| on_scratch || clause.storage == Storage::ReadOnly) {
        kept.extend_from_slice(&sql[from..clause.place.start]);
        kept.extend_from_slice(clause.without);
        from = clause.place.end;
    }
    kept.extend_from_slice(&sql[from..]);
    (kept != sql).then_some(kept)
}

fn clauses(sql: &[u8]) -> Vec<Clause> {
    let mut found = Vec::new();
    let mut tokens = Tokens::new(sql);
    let is_schema = tokens.clone().eat_all(&["CREATE", "DATABASE"]);
    // Of the parentheses around columns and partitions, which have directories only.
    let mut depth = 0_usize;
    loop {
        let from = end(sql, &tokens);
        let mut ahead = tokens.clone();
        let storage = directory(&mut ahead).or_else(|| {
            (depth == 0)
                .then(|| option(&mut ahead, is_schema))
                .flatten()
        });
        if let Some(storage) = storage {
            let place = from..end(sql, &ahead);
            found.extend(if is_schema {
                // The server prints the default in any case.
                Some(Clause {
                    storage,
                    place: place.end.saturating_sub(b"'Y'".len())..place.end,
                    without: b"'N'",
                })
            } else {
                whole_comment(sql, place).map(|place| Clause {
                    storage,
                    place,
                    without: b"",
                })
            });
            tokens = ahead;
            continue;
        }
        match tokens.next() {
            Some(Token::Mark(b'(')) => depth += 1,
            Some(Token::Mark(b')')) => depth = depth.saturating_sub(1),
            Some(_) => {}
            None => break,
        }
    }
    found.extend(read_only(sql).filter(|_| is_schema));
    found
}

/// End of the last token.
fn end(sql: &[u8], tokens: &Tokens<'_>) -> usize {
    sql.len() - tokens.rest().len()
}

/// `DATA DIRECTORY='…'`, `INDEX DIRECTORY = '…'`
fn directory<'a>(tokens: &mut Tokens<'a>) -> Option<Storage> {
    let mut ahead = tokens.clone();
    let option = (ahead.eat("DATA") || ahead.eat("INDEX")) && ahead.eat("DIRECTORY");
    match (option && ahead.eat_mark(b'=')).then(|| ahead.next())? {
        Some(Token::Text(path)) => {
            *tokens = ahead;
            let path = String::from_utf8_lossy(&path[1..path.len() - 1]);
            Some(Storage::Directory(path.into_owned()))
        }
        _ => None,
    }
}

/// ``TABLESPACE `…` ``, `ENCRYPTION='Y'`, and MariaDB's `` `encrypted`='yes' ``
fn option(tokens: &mut Tokens<'_>, is_schema: bool) -> Option<Storage> {
    const BUILT_IN: &str = "innodb_";
    let word = tokens.next()?;
    if word.is("TABLESPACE") && !is_schema {
        let name = tokens.next()?.name()??;
        return (!name.starts_with(BUILT_IN)).then_some(Storage::Tablespace(name));
    }
    let of_mysql = word.is("ENCRYPTION");
    let of_mariadb =
        matches!(word, Token::Name(_)) && (word.name()??).eq_ignore_ascii_case("encrypted");
    if !(of_mysql || of_mariadb) || !tokens.eat_mark(b'=') {
        return None;
    }
    let token = tokens.next()?;
    if of_mysql {
        // As the server prints it.
        return match token {
            Token::Text(b"'Y'") => Some(Storage::Encryption(true)),
            Token::Text(b"'N'") => Some(Storage::Encryption(false)),
            _ => None,
        };
    }
    let value = unquoted(token)?;
    // Without a plugin for keys the other values are accepted.
    (value.eq_ignore_ascii_case("yes")).then_some(Storage::Encryption(true))
}

/// The place of a clause with the conditional comment around it; `None` if the comment has more than that.
fn whole_comment(sql: &[u8], place: Range<usize>) -> Option<Range<usize>> {
    if !sql[place.clone()].trim_ascii_start().starts_with(b"/*!") {
        return Some(place);
    }
    let rest = sql[place.end..].trim_ascii_start().strip_prefix(b"*/")?;
    Some(place.start..sql.len() - rest.len())
}

/// ` /* READ ONLY = 1 */` at the end.
fn read_only(sql: &[u8]) -> Option<Clause> {
    let at = memchr::memmem::rfind(sql, b" /*")?;
    let comment = sql[at..].trim_ascii().strip_prefix(b"/*")?;
    let words = comment.strip_suffix(b"*/")?.iter();
    let words: Vec<u8> = words.copied().filter(|byte| *byte != b' ').collect();
    (words == b"READONLY=1").then_some(Clause {
        storage: Storage::ReadOnly,
        place: at..sql.len(),
        without: b"",
    })
}

/// A CREATE TABLE of MySQL's engine ARCHIVE without its AUTO_INCREMENT counter; `None` for any other table. The
/// engine rejects rows with a number below the counter (1022), and derives the counter from the rows.
pub fn without_archived_counter(sql: &[u8]) -> Option<Vec<u8>> {
    const OPTION: &[u8] = b"\n) ENGINE=ARCHIVE AUTO_INCREMENT=";
    let at = memchr::memmem::rfind(sql, OPTION)?;
    let rest = &sql[at + OPTION.len()..];
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    Some([&sql[..at], b"\n) ENGINE=ARCHIVE", &rest[digits..]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::tokens::DAMAGED;

    fn table(options: &str) -> String {
        format!(
            "CREATE TABLE `t` (\n  `DATA DIRECTORY` text COMMENT 'DATA DIRECTORY=''/x'' '\n) {options}"
        )
    }

    #[test]
    fn only_the_engine_archive_loses_its_counter() {
        let archive = table("ENGINE=ARCHIVE AUTO_INCREMENT=3 DEFAULT CHARSET=utf8mb4");
        let without = without_archived_counter(archive.as_bytes()).unwrap();
        assert_eq!(
            String::from_utf8(without).unwrap(),
            table("ENGINE=ARCHIVE DEFAULT CHARSET=utf8mb4")
        );
        for other in [
            "ENGINE=InnoDB AUTO_INCREMENT=3",
            "ENGINE=ARCHIVE DEFAULT CHARSET=latin1",
        ] {
            assert_eq!(without_archived_counter(table(other).as_bytes()), None);
        }
    }

    #[test]
    fn the_directories_of_a_table_and_of_its_partitions_are_found_and_removed() {
        for (with, without, named) in [
            (
                "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 DATA DIRECTORY='/a b/'",
                "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
                vec!["/a b/"],
            ),
            (
                "ENGINE=MyISAM DATA DIRECTORY='/a/' INDEX DIRECTORY='/b/'",
                "ENGINE=MyISAM",
                vec!["/a/", "/b/"],
            ),
            (
                "ENGINE=InnoDB\n/*!50100 PARTITION BY RANGE (`id`)\n(PARTITION p0 VALUES LESS THAN (10) DATA DIRECTORY = '/a/' ENGINE = InnoDB,\n PARTITION p1 VALUES LESS THAN (20) DATA DIRECTORY = '/a/' ENGINE = InnoDB) */",
                "ENGINE=InnoDB\n/*!50100 PARTITION BY RANGE (`id`)\n(PARTITION p0 VALUES LESS THAN (10) ENGINE = InnoDB,\n PARTITION p1 VALUES LESS THAN (20) ENGINE = InnoDB) */",
                vec!["/a/"],
            ),
        ] {
            let with = table(with);
            assert_eq!(directories(with.as_bytes()), named);
            let kept = created(with.as_bytes(), true).unwrap();
            assert_eq!(String::from_utf8(kept).unwrap(), table(without));
        }
        assert_eq!(created(table("ENGINE=InnoDB").as_bytes(), true), None);
        for damaged in DAMAGED {
            let damaged = format!("CREATE TABLE t (i int) DATA DIRECTORY={damaged}");
            assert!(directories(damaged.as_bytes()).is_empty());
        }
    }
    #[test]
    fn a_scratch_server_needs_neither_tablespaces_nor_keys() {
        let named = |name: &str| Storage::Tablespace(name.to_owned());
        for (with, without, required) in [
            (
                "/*!50100 TABLESPACE `t``s` */ ENGINE=InnoDB /*!80016 ENCRYPTION='Y' */",
                "ENGINE=InnoDB",
                vec![named("t`s"), Storage::Encryption(true)],
            ),
            (
                "ENGINE=InnoDB ENCRYPTION='N' COMMENT='ENCRYPTION=''Y'''\n/*!50100 PARTITION BY HASH (`id`)\nPARTITIONS 2 */",
                "ENGINE=InnoDB COMMENT='ENCRYPTION=''Y'''\n/*!50100 PARTITION BY HASH (`id`)\nPARTITIONS 2 */",
                vec![Storage::Encryption(false)],
            ),
            (
                "ENGINE=InnoDB `Encrypted`='yes' `encryption_key_id`='2'",
                "ENGINE=InnoDB `encryption_key_id`='2'",
                vec![Storage::Encryption(true)],
            ),
        ] {
            let with = table(with);
            assert_eq!(storage(with.as_bytes()).collect::<Vec<_>>(), required);
            let kept = created(with.as_bytes(), true).unwrap();
            assert_eq!(String::from_utf8(kept).unwrap(), table(without));
            assert_eq!(created(with.as_bytes(), false), None);
        }
        for kept in [
            "/*!50100 TABLESPACE `innodb_system` */ ENGINE=InnoDB",
            "/*!50100 TABLESPACE `ts` STORAGE DISK */ ENGINE=ndbcluster",
            "ENGINE=InnoDB `encrypted`='no'\n PARTITION BY HASH (`encrypted`='yes')",
        ] {
            assert_eq!(created(table(kept).as_bytes(), true), None);
        }
    }

    #[test]
    fn a_schema_is_created_writable_and_on_a_scratch_server_unencrypted() {
        let schema = |encrypted, read_only| {
            format!(
                "CREATE DATABASE /*!32312 IF NOT EXISTS*/ `d` /*!40100 DEFAULT CHARACTER SET latin1 */ \
                 /*!80016 DEFAULT ENCRYPTION='{encrypted}' */{read_only}"
            )
        };
        let created = |sql: &str, on_scratch| {
            created(sql.as_bytes(), on_scratch).map(|sql| String::from_utf8(sql).unwrap())
        };
        for read_only in [" /* READ ONLY = 1 */", " /* READ ONLY=1 */ "] {
            let both = schema('Y', read_only);
            assert_eq!(created(&both, false), Some(schema('Y', "")));
            assert_eq!(created(&both, true), Some(schema('N', "")));
        }
        assert_eq!(created(&schema('N', ""), true), None);
        assert_eq!(created(&schema('Y', ""), false), None);
    }
}
