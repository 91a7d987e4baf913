//! The table of a trigger.

use super::tokens::Tokens;

/// The table in `CREATE … TRIGGER name BEFORE INSERT ON table …`, without its schema.
pub fn trigger_table(sql: &[u8]) -> Option<String> {
    let mut tokens = Tokens::new(sql);
    tokens.find(|token| token.is("TRIGGER"))?;
    tokens.find(|token| token.is("BEFORE") || token.is("AFTER"))?;
    tokens.find(|token| token.is("ON"))?;
    let name = tokens.next()?.name()??;
    if tokens.eat_mark(b'.') {
        tokens.next()?.name()?
    } else {
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::tokens::DAMAGED;

    #[test]
    fn the_table_of_a_trigger_follows_on() {
        let sql = b"/*!50003 CREATE*/ /*!50003 TRIGGER `on` BEFORE INSERT ON `or ders` FOR EACH ROW SET @x=1 */";
        assert_eq!(trigger_table(sql).as_deref(), Some("or ders"));
        let sql =
            b"CREATE TRIGGER `s`.`t` AFTER UPDATE ON `s`.`a.b` FOR EACH ROW FOLLOWS x BEGIN END";
        assert_eq!(trigger_table(sql).as_deref(), Some("a.b"));
    }

    #[test]
    fn damaged_statements_do_not_panic() {
        for sql in DAMAGED {
            trigger_table(sql.as_bytes());
        }
    }
}
