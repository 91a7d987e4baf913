//! The canonical form of a definition, over which its digest is computed: servers print some definitions in two ways.

use super::tokens::{Token, Tokens};

/// A CREATE TABLE without character sets that are implied by their collations.
///
/// MySQL prints `COLLATE utf8mb4_bin` for a column that inherited it, and `CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`
/// once that text was executed.
pub fn of_table(sql: &[u8]) -> Vec<u8> {
    let mut canonical = Vec::with_capacity(sql.len());
    let mut kept = 0;
    let mut tokens = Tokens::new(sql);
    while let Some(token) = tokens.next() {
        if !token.is("CHARACTER") {
            continue;
        }
        let start = sql.len() - tokens.rest().len() - "CHARACTER".len();
        let mut ahead = tokens.clone();
        if !ahead.eat("SET") {
            continue;
        }
        let charset = ahead.next();
        let end = sql.len() - ahead.rest().len();
        if let (Some(Token::Word(charset)), true) = (charset, ahead.eat("COLLATE"))
            && let Some(Token::Word(collation)) = ahead.next()
            && let Some(rest) = collation.strip_prefix(charset)
            && rest.first() == Some(&b'_')
        {
            canonical.extend_from_slice(sql[kept..start].trim_ascii_end());
            kept = end;
            tokens = ahead;
        }
    }
    canonical.extend_from_slice(&sql[kept..]);
    canonical
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(sql: &str) -> String {
        String::from_utf8(of_table(sql.as_bytes())).unwrap()
    }

    #[test]
    fn a_character_set_is_kept_unless_its_collation_implies_it() {
        let executed = "`t` char(3) CHARACTER SET latin2 COLLATE latin2_croatian_ci DEFAULT 'x'";
        let inherited = "`t` char(3) COLLATE latin2_croatian_ci DEFAULT 'x'";
        assert_eq!(canonical(executed), inherited);
        assert_eq!(canonical(inherited), inherited);
        for unchanged in [
            "`t` char(3) CHARACTER SET latin1 COLLATE latin2_croatian_ci",
            "`t` char(3) CHARACTER SET latin2 DEFAULT 'x'",
            "`t` char(3) CHARACTER SET utf8mb3 COLLATE utf8mb32_ci",
            "`t` char(3) COMMENT 'CHARACTER SET latin2 COLLATE latin2_bin'",
            "`CHARACTER` int, `SET` char(3) CHARACTER SET binary",
        ] {
            assert_eq!(canonical(unchanged), unchanged);
        }
    }
}
