//! One line of SHOW GRANTS, taken apart. Both flavours' spellings, in sessions without ANSI_QUOTES.

use std::collections::BTreeSet;

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// It hands out roles, or makes one the default: nothing about whether they are active.
    Roles(Vec<String>),
    /// It grants or revokes privileges.
    Privileges {
        /// Whether they are taken away (MySQL's partial revokes).
        revoke: bool,
        /// The privileges in upper case; `ALL` for all of them. Those on columns are left out: no
        /// such grant makes a dump complete.
        privileges: BTreeSet<String>,
        /// On what.
        on: On,
        /// Whose they are: the account, or a role that is active.
        grantee: String,
    },
}

impl Line {
    /// Takes a line apart; `None` for an unknown shape.
    pub fn parse(line: &str) -> Option<Line> {
        if line.starts_with("SET DEFAULT ROLE ") {
            return Some(Line::Roles(Vec::new()));
        }
        let (revoke, rest) = match line.strip_prefix("GRANT ") {
            Some(rest) => (false, rest),
            None => (true, line.strip_prefix("REVOKE ")?),
        };
        let mut words = Words(rest);
        let (items, end) = words.list(&["ON", "TO"])?;
        if end == "TO" {
            return Some(Line::Roles(items));
        }
        let on = words.object()?;
        let grantee = words.grantee(if revoke { "FROM" } else { "TO" })?;
        let whole = items.into_iter().filter(|item| !item.contains('('));
        let privileges = whole.map(|item| match item.to_uppercase() {
            all if all == "ALL PRIVILEGES" => "ALL".to_owned(),
            one => one,
        });
        Some(Line::Privileges {
            revoke,
            privileges: privileges.collect(),
            on,
            grantee,
        })
    }
}

/// What a GRANT is on.
#[derive(Debug, PartialEq, Eq)]
pub enum On {
    /// `*.*`
    Global,
    /// `` `pattern`.* ``
    Schema(String),
    /// `` `schema`.`table` ``
    Table(String, String),
    /// A routine, a proxy user: nothing that a dump asks for.
    Other,
}

/// The rest of a line of SHOW GRANTS.
struct Words<'a>(&'a str);

impl Words<'_> {
    /// Comma-separated items up to one of `ends`, and which it was. Quotes and parentheses nest.
    fn list(&mut self, ends: &[&'static str]) -> Option<(Vec<String>, &'static str)> {
        let (mut items, mut item) = (Vec::new(), String::new());
        let (mut quote, mut depth) = (None, 0usize);
        let mut at = 0;
        while let Some(c) = self.0[at..].chars().next() {
            let between_words = item.is_empty() || item.ends_with(' ');
            if quote.is_none() && depth == 0 && between_words {
                let rest = &self.0[at..];
                let end = ends
                    .iter()
                    .find(|end| rest.strip_prefix(**end).is_some_and(|r| r.starts_with(' ')));
                if let Some(end) = end {
                    items.push(item.trim().to_owned());
                    self.0 = &rest[end.len() + 1..];
                    return Some((items, end));
                }
            }
            match (quote, c) {
                (Some(open), c) if c == open => quote = None,
                (Some(_), _) => {}
                (None, '`' | '\'' | '"') => quote = Some(c),
                (None, '(') => depth += 1,
                (None, ')') => depth = depth.checked_sub(1)?,
                (None, ',') if depth == 0 => {
                    items.push(item.trim().to_owned());
                    item.clear();
                    at += 1;
                    continue;
                }
                _ => {}
            }
            item.push(c);
            at += c.len_utf8();
        }
        None
    }

    /// What the grant is on; leaves the text behind it.
    fn object(&mut self) -> Option<On> {
        if let Some(rest) = self.0.strip_prefix("*.* ") {
            self.0 = rest;
            return Some(On::Global);
        }
        // A name with no dot behind it is that of PROXY ON `user`@`host`.
        let named = self.name().and_then(|schema| {
            self.0 = self.0.strip_prefix('.')?;
            if let Some(rest) = self.0.strip_prefix("* ") {
                self.0 = rest;
                return Some(On::Schema(schema));
            }
            let table = self.name()?;
            self.0 = self.0.strip_prefix(' ')?;
            Some(On::Table(schema, table))
        });
        if named.is_some() {
            return named;
        }
        let words = ["PROCEDURE ", "FUNCTION ", "PACKAGE ", "LIBRARY ", "'"];
        words
            .iter()
            .any(|word| self.0.starts_with(word) || self.0.starts_with('@'))
            .then_some(On::Other)
    }

    /// A quoted name.
    fn name(&mut self) -> Option<String> {
        let open = self.0.chars().next().filter(|c| matches!(c, '`' | '"'))?;
        let (mut name, mut chars) = (String::new(), self.0.char_indices().skip(1).peekable());
        while let Some((at, c)) = chars.next() {
            if c != open {
                name.push(c);
            } else if chars.next_if(|(_, next)| *next == open).is_some() {
                name.push(open);
            } else {
                self.0 = &self.0[at + 1..];
                return Some(name);
            }
        }
        None
    }

    /// Whom the grant is for: the text behind TO or FROM, up to what MariaDB appends.
    fn grantee(&mut self, word: &str) -> Option<String> {
        let rest = match self.0.find(&format!("{word} ")) {
            Some(at) => &self.0[at + word.len() + 1..],
            None => return None,
        };
        let end = [" IDENTIFIED", " REQUIRE", " WITH"]
            .iter()
            .filter_map(|clause| rest.find(clause))
            .min()
            .unwrap_or(rest.len());
        Some(rest[..end].to_owned())
    }
}

/// A line without what might be a password's hash.
pub fn shape(line: &str) -> &str {
    line.find("IDENTIFIED").map_or(line, |at| &line[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_surrounds_the_grantee_is_not_part_of_it() {
        let parsed = |line| match Line::parse(line).unwrap() {
            Line::Privileges { on, grantee, .. } => (on, grantee),
            Line::Roles(roles) => panic!("{roles:?}"),
        };
        for line in [
            "GRANT USAGE ON *.* TO `a`@`%` IDENTIFIED BY PASSWORD '*B6'",
            "GRANT USAGE ON *.* TO `a`@`%` REQUIRE SSL WITH GRANT OPTION",
            "REVOKE SELECT ON *.* FROM `a`@`%`",
        ] {
            assert_eq!(parsed(line), (On::Global, "`a`@`%`".to_owned()), "{line}");
        }
        let (on, _) = parsed("GRANT SELECT ON `a``.b`.`t ON x` TO `u`@`h`");
        assert_eq!(on, On::Table("a`.b".into(), "t ON x".into()));
    }

    #[test]
    fn column_privileges_are_left_out() {
        let line = "GRANT SELECT (`a`, `b ON c`), INSERT, show view ON `s`.`t` TO `u`@`h`";
        let Some(Line::Privileges { privileges, .. }) = Line::parse(line) else {
            panic!()
        };
        assert_eq!(
            privileges.into_iter().collect::<Vec<_>>(),
            ["INSERT", "SHOW VIEW"]
        );
    }
}
