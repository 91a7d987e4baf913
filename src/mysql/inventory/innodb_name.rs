//! Names of tables in InnoDB, which are spelled like file names.

use crate::mysql::inventory::filename_codes;

/// Schema and table of a name in InnoDB, which may be that of a part of the table; `None` if it is not that of a table in
/// a schema.
pub fn innodb_name(spelled: &str) -> Option<(String, String)> {
    let (schema, table) = spelled.split_once('/')?;
    // Servers encode a # of a name, so what follows one is a part of the table: partitions and subpartitions (t#P#p0,
    // t#p#p0#sp#s0), MariaDB's VECTOR indexes (t#i#01). A name that starts with one is an intermediate table of ALTER.
    let table = table.split('#').next().unwrap_or_default();
    // Auxiliary tables of FULLTEXT indexes.
    if table.is_empty() || is_fulltext_part(&table.to_ascii_lowercase()) {
        return None;
    }
    Some((decode(schema)?, decode(table)?))
}

/// `fts_000000000000042c_being_deleted`, `fts_…_0000000000000045_index_1`.
fn is_fulltext_part(lower: &str) -> bool {
    lower.strip_prefix("fts_").is_some_and(|rest| {
        let id = rest.split('_').next().unwrap_or_default();
        id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit()) && rest.len() > 17
    })
}

/// Decodes the filename character set: `@` and four hex digits are a UTF-16 unit, `@` and two other characters a letter.
/// `None` for invalid codes.
fn decode(spelled: &str) -> Option<String> {
    let mut units = Vec::new();
    let mut rest = spelled;
    while let Some(c) = rest.chars().next() {
        let (letter, length) = match c {
            '@' => code(rest.get(1..)?)?,
            c => (Unit::Letter(c), c.len_utf8()),
        };
        match letter {
            Unit::Letter(c) => units.extend(c.encode_utf16(&mut [0; 2]).iter()),
            Unit::Hex(unit) => units.push(unit),
        }
        rest = &rest[length..];
    }
    String::from_utf16(&units).ok()
}

/// A decoded code.
enum Unit {
    Letter(char),
    /// A UTF-16 unit.
    Hex(u16),
}

/// Decodes the code at the start of `text`, which follows an `@`; the length includes the `@`. Codes of two characters
/// never start like those of four hex digits.
fn code(text: &str) -> Option<(Unit, usize)> {
    let mut chars = text.chars();
    if let Some(letter) = filename_codes::letter(chars.next()?, chars.next()?) {
        return Some((Unit::Letter(letter), 3));
    }
    let hex = text.get(..4)?;
    let digits = hex.bytes().all(|b| b.is_ascii_hexdigit());
    let unit = u16::from_str_radix(hex, 16).ok().filter(|_| digits)?;
    Some((Unit::Hex(unit), 5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_innodb_are_decoded() {
        let name = |spelled| innodb_name(spelled).map(|(s, t)| format!("{s}/{t}"));
        for (spelled, expected) in [
            ("shop/t", Some("shop/t")),
            ("shop/a@0040b@002d@0020@002f", Some("shop/a@b- /")),
            ("we@0020ird/@d83d@de00", Some("we ird/😀")),
            ("shop/pp#P#p0", Some("shop/pp")),
            ("shop/pp#p#p0#sp#s1", Some("shop/pp")),
            ("shop/vec#i#01", Some("shop/vec")),
            ("shop/a@0023i@002301#i#00", Some("shop/a#i#01")),
            ("shop/t#later#1", Some("shop/t")),
            ("shop/#sql-ib1065-2", None),
            ("shop/FTS_000000000000042c_BEING_DELETED", None),
            ("shop/fts_000000000000042c_0000000000000045_index_1", None),
            ("shop/fts_of_mine", Some("shop/fts_of_mine")),
            ("MYSQL/t", Some("MYSQL/t")),
            ("SYS_FOREIGN", None),
            // Latin, Cyrillic, Kanji, letters whose case is that of the code.
            ("@0p@0020d/t@0k@003f@0020@m0u", Some("é d/tä? жu")),
            (
                "@0p@0020d/@65e5@672c@0020@01c5@0020@Ta#p#p0",
                Some("é d/日本 ǅ Ƣ"),
            ),
            ("shop/@0pabc", Some("shop/éabc")),
            ("shop/@0P@0G", Some("shop/ÉÀ")),
            // Invalid codes.
            ("shop/@", None),
            ("shop/@00", None),
            ("shop/@é", None),
            ("shop/@zz01", None),
        ] {
            assert_eq!(name(spelled).as_deref(), expected, "{spelled}");
        }
    }
}
