//! Parts of a table's definition that are specific to a server, and that another one may reject: the directories of
//! its files, and the counter of an ARCHIVE table.

use std::ops::Range;

use super::tokens::{Token, Tokens};

/// The directories in a CREATE TABLE, of the table, its indexes and its partitions, as written there, each once.
pub fn directories(sql: &[u8]) -> Vec<String> {
    let mut all = Vec::new();
    for (_, path) in places(sql) {
        let path = String::from_utf8_lossy(&path[1..path.len() - 1]).into_owned();
        if !all.contains(&path) {
            all.push(path);
        }
    }
    all
}

/// A CREATE TABLE without its directories; `None` if it has none.
pub fn without_directories(sql: &[u8]) -> Option<Vec<u8>> {
    let places = places(sql);
    let mut kept = Vec::with_capacity(sql.len());
    let mut from = 0;
    for (place, _) in &places {
        kept.extend_from_slice(&sql[from..place.start]);
        from = place.end;
    }
    kept.extend_from_slice(&sql[from..]);
    (!places.is_empty()).then_some(kept)
}

/// Each `DATA DIRECTORY='…'` and `INDEX DIRECTORY = '…'` with the space before it, and its quoted path.
fn places(sql: &[u8]) -> Vec<(Range<usize>, &[u8])> {
    const WORD: &[u8] = b"DIRECTORY";
    if memchr::memmem::find(sql, WORD).is_none() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut tokens = Tokens::new(sql);
    loop {
        let from = sql.len() - tokens.rest().len();
        let mut ahead = tokens.clone();
        let option = (ahead.eat("DATA") || ahead.eat("INDEX")) && ahead.eat("DIRECTORY");
        if option
            && ahead.eat_mark(b'=')
            && let Some(Token::Text(path)) = ahead.next()
        {
            found.push((from..sql.len() - ahead.rest().len(), path));
            tokens = ahead;
        } else if tokens.next().is_none() {
            return found;
        }
    }
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
            let kept = without_directories(with.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(kept).unwrap(), table(without));
        }
        assert_eq!(without_directories(table("ENGINE=InnoDB").as_bytes()), None);
        for damaged in DAMAGED {
            let damaged = format!("CREATE TABLE t (i int) DATA DIRECTORY={damaged}");
            assert!(directories(damaged.as_bytes()).is_empty());
        }
    }
}
