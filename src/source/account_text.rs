//! What is changed in a server's own words about an account, so that executing them makes the same account.

use crate::sql::tokens::{Token, Tokens};

/// Takes ` DEFAULT ROLE …` out of MySQL's SHOW CREATE USER: the roles need not exist yet, and are not granted
/// yet. It stands before the first ` REQUIRE `, which is always there.
pub fn without_default_role(text: &str) -> String {
    let at = |words: &[&str]| places(text, words).next();
    match (at(&["DEFAULT", "ROLE"]), at(&["REQUIRE"])) {
        (Some((from, _)), Some((to, _))) if from < to => {
            format!("{}{}", &text[..from], &text[to..])
        }
        _ => text.to_owned(),
    }
}

/// The method and the hash that MySQL's SHOW CREATE USER names first, in the hexadecimal form, and where the hash
/// stands: `IDENTIFIED WITH 'method' AS 0x…`.
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

/// A GRANT of MariaDB without what it repeats of the account: how it logs in, TLS, limits. CREATE USER says all of
/// that, and a password that is set again is no longer an expired one.
pub fn grant_alone(line: &str) -> String {
    let Some((_, to)) = places(line, &["TO"]).last() else {
        return line.to_owned();
    };
    let mut tokens = Tokens::new(&line.as_bytes()[to..]);
    tokens.next();
    if tokens.eat_mark(b'@') {
        tokens.next();
    }
    let end = line.len() - tokens.rest().len();
    let option = ["GRANT", "ADMIN"]
        .iter()
        .find(|word| places(&line[end..], &[word, "OPTION"]).next().is_some());
    match option {
        Some(word) => format!("{} WITH {word} OPTION", &line[..end]),
        None => line[..end].to_owned(),
    }
}

/// Where these words stand one behind the other outside of quotes: the byte before the blank in front of the first,
/// and the end of the last.
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
    fn a_default_role_is_taken_out_and_nothing_else() {
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
    fn a_grant_keeps_its_option_and_loses_what_the_account_has_already() {
        for (line, alone) in [
            (
                "GRANT USAGE ON *.* TO `a`@`%` IDENTIFIED BY PASSWORD '*B6' WITH MAX_QUERIES_PER_HOUR 1",
                "GRANT USAGE ON *.* TO `a`@`%`",
            ),
            (
                "GRANT ALL PRIVILEGES ON *.* TO `a`@`%` IDENTIFIED VIA p USING ' WITH GRANT OPTION' OR q REQUIRE SSL",
                "GRANT ALL PRIVILEGES ON *.* TO `a`@`%`",
            ),
            (
                "GRANT SELECT ON *.* TO `TO`@`%` REQUIRE SUBJECT '/CN=x' WITH GRANT OPTION MAX_QUERIES_PER_HOUR 1",
                "GRANT SELECT ON *.* TO `TO`@`%` WITH GRANT OPTION",
            ),
            (
                "GRANT `r` TO `r2` WITH ADMIN OPTION",
                "GRANT `r` TO `r2` WITH ADMIN OPTION",
            ),
            (
                "GRANT SELECT ON `a`.* TO PUBLIC",
                "GRANT SELECT ON `a`.* TO PUBLIC",
            ),
            (
                "GRANT PROXY ON ``@`%` TO `root`@`vm` WITH GRANT OPTION",
                "GRANT PROXY ON ``@`%` TO `root`@`vm` WITH GRANT OPTION",
            ),
            (
                "SET DEFAULT ROLE `r1` FOR `lim`@`%`",
                "SET DEFAULT ROLE `r1` FOR `lim`@`%`",
            ),
        ] {
            assert_eq!(grant_alone(line), alone);
        }
    }
}
