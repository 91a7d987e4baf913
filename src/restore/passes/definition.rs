//! Names of schemas in definitions that a restore reads or changes.
//!
//! Statements are executed unchanged except for these clauses, which all precede the body. Bodies are never
//! parsed.

use crate::sql::definer::replace;
use crate::sql::statement::quote;
use crate::sql::tokens::{Token, Tokens};

fn replace_last(tokens: &Tokens<'_>, token: Token<'_>, sql: &[u8], with: &[u8]) -> Vec<u8> {
    let end = end_of_token(sql, tokens);
    replace(sql, end - token.bytes().map_or(1, <[u8]>::len)..end, with)
}

/// End of the last token.
fn end_of_token(sql: &[u8], tokens: &Tokens<'_>) -> usize {
    sql.len() - tokens.rest().len()
}

/// A CREATE DATABASE or ALTER DATABASE with another schema name.
pub fn renamed_schema(sql: &[u8], schema: &str, new: &str) -> Option<Vec<u8>> {
    let mut tokens = Tokens::new(sql);
    tokens.find(|token| token.is("DATABASE") || token.is("SCHEMA"))?;
    let name = tokens.find(|token| token.name() == Some(Some(schema.to_owned())))?;
    Some(replace_last(&tokens, name, sql, quote(new).as_bytes()))
}

/// The options of a CREATE DATABASE.
pub fn schema_options<'a>(sql: &'a [u8], schema: &str) -> Option<&'a [u8]> {
    let mut tokens = Tokens::new(sql);
    tokens.find(|token| token.is("DATABASE") || token.is("SCHEMA"))?;
    tokens.find(|token| token.name() == Some(Some(schema.to_owned())))?;
    let options = sql[end_of_token(sql, &tokens)..].trim_ascii();
    (!options.is_empty()).then_some(options)
}

/// Whether a text may contain the schema as a qualifier: `old.`, quoted or not, in code, strings or comments.
/// May return true for other text.
pub fn names_schema(sql: &[u8], schema: &str) -> bool {
    let name = schema.as_bytes();
    if name.is_empty() || name.len() > sql.len() {
        return false;
    }
    sql.windows(name.len()).enumerate().any(|(at, window)| {
        if !window.eq_ignore_ascii_case(name) {
            return false;
        }
        let before = at.checked_sub(1).map(|at| sql[at]);
        let mut after = &sql[at + name.len()..];
        if let Some(quote) = before.filter(|b| matches!(b, b'`' | b'"'))
            && after.first() == Some(&quote)
        {
            after = &after[1..];
        } else if before.is_some_and(in_name) {
            return false;
        }
        after.trim_ascii_start().first() == Some(&b'.')
    })
}

/// Whether a name is qualified by the schema outside of strings and comments; also true if the text cannot be
/// tokenised.
pub fn qualifies_by(sql: &[u8], schema: &str) -> bool {
    let mut tokens = Tokens::new(sql);
    while let Some(token) = tokens.next() {
        let named = token.name().flatten();
        if named.is_some_and(|name| name.to_lowercase() == schema.to_lowercase())
            && tokens.eat_mark(b'.')
        {
            return true;
        }
    }
    !tokens.is_sound()
}

fn in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_renamed_in_its_own_statements() {
        let sql = b"CREATE DATABASE /*!32312 IF NOT EXISTS*/ `shop` /*!40100 DEFAULT CHARACTER SET latin1 */";
        assert_eq!(
            String::from_utf8_lossy(&renamed_schema(sql, "shop", "a`b").unwrap()),
            "CREATE DATABASE /*!32312 IF NOT EXISTS*/ `a``b` /*!40100 DEFAULT CHARACTER SET latin1 */"
        );
        assert_eq!(renamed_schema(sql, "other", "x"), None);
        assert_eq!(
            schema_options(sql, "shop").unwrap(),
            b"/*!40100 DEFAULT CHARACTER SET latin1 */"
        );
        assert_eq!(schema_options(b"CREATE DATABASE `shop`", "shop"), None);
    }

    #[test]
    fn a_qualifier_is_found_however_it_is_quoted() {
        for sql in [
            "`shop`.t",
            "SHOP . t",
            "'select 1 from shop.t'",
            "\"shop\".t",
            "(shop.`t`)",
        ] {
            assert!(names_schema(sql.as_bytes(), "shop"), "{sql}");
        }
        for sql in ["shopper.t", "workshop.t", "shop", "`shop` t", "t.shop", ""] {
            assert!(!names_schema(sql.as_bytes(), "shop"), "{sql}");
        }
    }

    #[test]
    fn strings_and_comments_of_a_table_do_not_reference_a_schema() {
        for sql in [
            "CREATE TABLE `t` (\n  `id` int DEFAULT nextval(`shop`.`s`)\n)",
            "CREATE TABLE `t` (\n  CONSTRAINT `c` FOREIGN KEY (`a`) REFERENCES `Shop`.`u` (`id`)\n)",
            "CREATE TABLE `t` (`a` int) ENGINE=MRG_MyISAM UNION=(`shop` . `u`)",
            "CREATE TABLE `t` (`a` text DEFAULT 'shop",
        ] {
            assert!(qualifies_by(sql.as_bytes(), "shop"), "{sql}");
        }
        for sql in [
            "CREATE TABLE `shop` (`shop` int COMMENT '`shop`.`s`', KEY `shop` (`shop`)) /* `shop`.`s` */",
            "CREATE TABLE `t` (`id` int DEFAULT nextval(`shop2`.`s`), `a` text DEFAULT 'it\\'s `shop`.x')",
        ] {
            assert!(!qualifies_by(sql.as_bytes(), "shop"), "{sql}");
        }
    }
}
