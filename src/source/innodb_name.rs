//! Names of tables as InnoDB spells them: as files.

use super::scope::is_system;

/// The schema and table behind InnoDB's spelling, or `None` for what is no user's table and for
/// names with letters whose short codes this does not know: nothing is said about those.
pub fn innodb_name(spelled: &str) -> Option<(String, String)> {
    let (schema, table) = spelled.split_once('/')?;
    // Partitions and subpartitions: t#P#p0, t#p#p0#sp#s0.
    let lower = table.to_ascii_lowercase();
    let table = lower.find("#p#").map_or(table, |at| &table[..at]);
    // Intermediate tables of ALTER, and the hidden tables of FULLTEXT indexes.
    if lower.starts_with("#sql") || is_fulltext_part(&lower) {
        return None;
    }
    let schema = decode(schema)?;
    (!is_system(&schema)).then_some(())?;
    Some((schema, decode(table)?))
}

/// `fts_000000000000042c_being_deleted`, `fts_…_0000000000000045_index_1`.
fn is_fulltext_part(lower: &str) -> bool {
    lower.strip_prefix("fts_").is_some_and(|rest| {
        let id = rest.split('_').next().unwrap_or_default();
        id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit()) && rest.len() > 17
    })
}

/// A name out of the file-name character set: `@` and four hex digits are one UTF-16 unit. Letters
/// of some alphabets have codes of two characters, from a table of the server's own: `None`.
fn decode(spelled: &str) -> Option<String> {
    let mut units = Vec::new();
    let mut rest = spelled;
    while let Some(c) = rest.chars().next() {
        if c == '@' {
            let code = rest.get(1..5)?;
            let hex = code.bytes().all(|b| b.is_ascii_hexdigit());
            units.push(u16::from_str_radix(code, 16).ok().filter(|_| hex)?);
            rest = &rest[5..];
        } else {
            units.extend(c.encode_utf16(&mut [0; 2]).iter());
            rest = &rest[c.len_utf8()..];
        }
    }
    String::from_utf16(&units).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn innodb_spells_names_as_files() {
        let name = |spelled| innodb_name(spelled).map(|(s, t)| format!("{s}/{t}"));
        for (spelled, expected) in [
            ("shop/t", Some("shop/t")),
            ("shop/a@0040b@002d@0020@002f", Some("shop/a@b- /")),
            ("we@0020ird/@d83d@de00", Some("we ird/😀")),
            ("shop/pp#P#p0", Some("shop/pp")),
            ("shop/pp#p#p0#sp#s1", Some("shop/pp")),
            ("shop/#sql-ib1065-2", None),
            ("shop/FTS_000000000000042c_BEING_DELETED", None),
            ("shop/fts_000000000000042c_0000000000000045_index_1", None),
            ("shop/fts_of_mine", Some("shop/fts_of_mine")),
            ("mysql/user", None),
            ("SYS_FOREIGN", None),
            // Letters of the short table: nothing is said.
            ("shop/@0p", None),
            ("shop/@0pabc", None),
        ] {
            assert_eq!(name(spelled).as_deref(), expected, "{spelled}");
        }
    }
}
