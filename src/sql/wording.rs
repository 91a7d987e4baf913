//! What servers write in two ways and mean as one: a definition in the words that its digest is made of.

use super::tokens::{Token, Tokens};

/// A CREATE TABLE without the character sets that their collations name already.
///
/// MySQL prints `COLLATE utf8mb4_bin` for a column that inherited it, and `CHARACTER SET utf8mb4
/// COLLATE utf8mb4_bin` once that very text was executed.
pub fn of_table(sql: &[u8]) -> Vec<u8> {
    let mut words = Vec::with_capacity(sql.len());
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
            words.extend_from_slice(sql[kept..start].trim_ascii_end());
            kept = end;
            tokens = ahead;
        }
    }
    words.extend_from_slice(&sql[kept..]);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(sql: &str) -> String {
        String::from_utf8(of_table(sql.as_bytes())).unwrap()
    }

    #[test]
    fn a_character_set_counts_where_its_collation_does_not_name_it() {
        let executed = "`t` char(3) CHARACTER SET latin2 COLLATE latin2_croatian_ci DEFAULT 'x'";
        let inherited = "`t` char(3) COLLATE latin2_croatian_ci DEFAULT 'x'";
        assert_eq!(words(executed), inherited);
        assert_eq!(words(inherited), inherited);
        for told in [
            "`t` char(3) CHARACTER SET latin1 COLLATE latin2_croatian_ci",
            "`t` char(3) CHARACTER SET latin2 DEFAULT 'x'",
            "`t` char(3) CHARACTER SET utf8mb3 COLLATE utf8mb32_ci",
            "`t` char(3) COMMENT 'CHARACTER SET latin2 COLLATE latin2_bin'",
            "`CHARACTER` int, `SET` char(3) CHARACTER SET binary",
        ] {
            assert_eq!(words(told), told);
        }
    }
}
