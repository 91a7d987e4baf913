//! Edits to the text of SHOW CREATE USER, so that executing it creates the same account.

use crate::mysql::connect::literal;
use crate::sql::tokens::{Token, Tokens};

/// Removes ` DEFAULT ROLE …` from MySQL's SHOW CREATE USER, since the roles may not exist yet, and are not granted
/// yet. The clause precedes the first ` REQUIRE `, which is always present.
pub fn without_default_role(text: &str) -> String {
    let at = |words: &[&str]| places(text, words).next();
    match (at(&["DEFAULT", "ROLE"]), at(&["REQUIRE"])) {
        (Some((from, _)), Some((to, _))) if from < to => {
            format!("{}{}", &text[..from], &text[to..])
        }
        _ => text.to_owned(),
    }
}

/// The first authentication method in MySQL's SHOW CREATE USER, and the range of its hash, which is hexadecimal:
/// `IDENTIFIED WITH 'method' AS 0x…`.
pub fn first_method(text: &str) -> Option<(&str, std::ops::Range<usize>)> {
    let (_, end) = places(text, &["IDENTIFIED", "WITH"]).next()?;
    let mut tokens = Tokens::new(&text.as_bytes()[end..]);
    let Some(Token::Text(method)) = tokens.next() else {
        return None;
    };
    if !tokens.eat("AS") {
        return None;
    }
    let hash = tokens.next()?.bytes()?;
    let to = text.len() - tokens.rest().len();
    let method = std::str::from_utf8(method).ok()?;
    Some((method, to - hash.len()..to))
}

/// The client certificate that an account requires: the REQUIRE clause.
#[derive(Debug, Default)]
pub struct Certificate {
    /// Whether any of the following is required.
    pub specified: bool,
    /// SUBJECT; empty for any.
    pub subject: Vec<u8>,
    /// ISSUER; empty for any.
    pub issuer: Vec<u8>,
    /// CIPHER; empty for any.
    pub cipher: Vec<u8>,
}

impl Certificate {
    /// SHOW CREATE USER with these values escaped. MySQL does not escape them between its quotes: a backslash would
    /// be lost, and a quote would end the string. `None` if the text does not contain the values.
    pub fn escaped(&self, text: &str) -> Option<String> {
        if !self.specified {
            return Some(text.to_owned());
        }
        let (_, begin) = places(text, &["REQUIRE"]).next()?;
        let (mut rest, mut escaped) = (&text[begin..], text[..begin].to_owned());
        for (word, raw) in [
            ("SUBJECT", &self.subject),
            ("ISSUER", &self.issuer),
            ("CIPHER", &self.cipher),
        ] {
            let raw = std::str::from_utf8(raw).ok()?;
            // The server shows one question mark per byte of a character outside the BMP.
            let shown: String = raw
                .chars()
                .map(|c| match c {
                    '\u{10000}'.. => "????".to_owned(),
                    c => c.to_string(),
                })
                .collect();
            if let Some(behind) = rest.strip_prefix(&format!(" {word} '{shown}'")) {
                rest = behind;
                escaped.push_str(&format!(" {word} {}", literal(raw)));
            } else if !raw.is_empty() {
                return None;
            }
        }
        // The clauses that may follow.
        let following = [" WITH ", " PASSWORD ", " ACCOUNT "];
        let ends = rest.is_empty() || following.iter().any(|clause| rest.starts_with(clause));
        ends.then(|| escaped + rest)
    }
}

/// SHOW CREATE USER with these comments and attributes (JSON) instead of those it shows. `None` if it shows none.
pub fn with_attributes(text: &str, attributes: Option<&str>) -> Option<String> {
    let Some(attributes) = attributes else {
        return Some(text.to_owned());
    };
    let (_, begin) = places(text, &["ATTRIBUTE"]).last()?;
    let mut tokens = Tokens::new(&text.as_bytes()[begin..]);
    let Some(Token::Text(_)) = tokens.next() else {
        return None;
    };
    let end = text.len() - tokens.rest().len();
    let (head, tail) = (&text[..begin], &text[end..]);
    Some(format!("{head} {}{tail}", literal(attributes)))
}

/// The ranges of a sequence of words outside quotes, including the blank before the first word.
fn places<'a>(text: &'a str, words: &'a [&str]) -> impl Iterator<Item = (usize, usize)> + 'a {
    let mut tokens = Tokens::new(text.as_bytes());
    std::iter::from_fn(move || {
        loop {
            let from = text.len() - tokens.rest().len();
            if tokens.eat_all(words) {
                return Some((from, text.len() - tokens.rest().len()));
            }
            tokens.next()?;
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_default_role_is_removed() {
        let shown = "`a`@`%` IDENTIFIED WITH 'x' AS ' DEFAULT ROLE ' DEFAULT ROLE `r REQUIRE `@`%`,`s`@`%` REQUIRE NONE ACCOUNT UNLOCK";
        assert_eq!(
            without_default_role(shown),
            "`a`@`%` IDENTIFIED WITH 'x' AS ' DEFAULT ROLE ' REQUIRE NONE ACCOUNT UNLOCK"
        );
        for none in [
            "`a`@`%` IDENTIFIED WITH 'x' REQUIRE NONE PASSWORD EXPIRE DEFAULT",
            r#"`a`@`%` IDENTIFIED WITH 'x' REQUIRE NONE ATTRIBUTE '{"comment": "it\'s DEFAULT ROLE x REQUIRE y"}'"#,
        ] {
            assert_eq!(without_default_role(none), none);
        }
    }

    #[test]
    fn the_hash_of_the_first_method_is_found() {
        let shown = "`AS`@`%` IDENTIFIED WITH 'caching_sha2_password' AS 0x2441 AND IDENTIFIED WITH 'p' AS 0x00 REQUIRE NONE";
        let (method, hash) = first_method(shown).unwrap();
        assert_eq!(
            (method, &shown[hash]),
            ("'caching_sha2_password'", "0x2441")
        );
        assert_eq!(
            first_method("`a`@`%` IDENTIFIED WITH 'p' REQUIRE NONE"),
            None
        );
    }

    #[test]
    fn the_values_of_a_required_certificate_are_escaped() {
        let of = |subject: &str, issuer: &str, cipher: &str| Certificate {
            specified: true,
            subject: subject.as_bytes().to_vec(),
            issuer: issuer.as_bytes().to_vec(),
            cipher: cipher.as_bytes().to_vec(),
        };
        let tail = "PASSWORD EXPIRE DEFAULT ACCOUNT LOCK";
        for (certificate, shown, escaped) in [
            (
                of(r"/O=A\\B'C/", "", ""),
                r"SUBJECT '/O=A\\B'C/'",
                r"SUBJECT '/O=A\\\\B''C/'",
            ),
            (
                of("x' ACCOUNT UNLOCK ATTRIBUTE '{}", "i' y\\", "c"),
                "SUBJECT 'x' ACCOUNT UNLOCK ATTRIBUTE '{}' ISSUER 'i' y\\' CIPHER 'c'",
                "SUBJECT 'x'' ACCOUNT UNLOCK ATTRIBUTE ''{}' ISSUER 'i'' y\\\\' CIPHER 'c'",
            ),
            (of("", "", ""), "SUBJECT ''", "SUBJECT ''"),
            (of("😀ü", "", ""), "SUBJECT '????ü'", "SUBJECT '😀ü'"),
        ] {
            let text = format!("`REQUIRE`@`%` IDENTIFIED WITH 'REQUIRE' REQUIRE {shown} {tail}");
            let expected =
                format!("`REQUIRE`@`%` IDENTIFIED WITH 'REQUIRE' REQUIRE {escaped} {tail}");
            assert_eq!(certificate.escaped(&text), Some(expected));
        }
        let other = format!("`a`@`%` IDENTIFIED WITH 'x' REQUIRE SUBJECT 'other' {tail}");
        assert_eq!(of("a", "", "").escaped(&other), None);
        assert_eq!(of("", "", "").escaped(&other), None);
    }

    #[test]
    fn attributes_replace_those_that_are_shown() {
        let shown = r#"`ATTRIBUTE`@`%` REQUIRE NONE ATTRIBUTE '{"comment": "it\'s ????"}'"#;
        assert_eq!(
            with_attributes(shown, Some(r#"{"comment": "it's \" 😀"}"#)).unwrap(),
            r#"`ATTRIBUTE`@`%` REQUIRE NONE ATTRIBUTE '{"comment": "it''s \\" 😀"}'"#
        );
        assert_eq!(with_attributes(shown, None).unwrap(), shown);
        assert_eq!(with_attributes("`a`@`%` REQUIRE NONE", Some("{}")), None);
    }
}
