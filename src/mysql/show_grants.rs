//! Parser for statements about accounts: the lines of SHOW GRANTS of both flavours, and accounts.sql.
//!
//! It reads tokens instead of searching for text, since names may contain anything, even ` TO PUBLIC`. Sessions must
//! not have ANSI_QUOTES.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::mysql::connect::literal;
use crate::sql::definer::{Account, unquoted};
use crate::sql::tokens::{Token, Tokens};

/// A GRANT, REVOKE or SET DEFAULT ROLE statement.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Whether the statement is a partial revoke (MySQL).
    pub revoke: bool,
    /// What is granted.
    pub what: What,
    /// The account, or one of its active roles.
    pub grantee: Account,
    /// GRANT or ADMIN of the WITH … OPTION clause.
    pub option: Option<&'static str>,
    /// Text of the privileges or roles.
    items: &'a str,
    /// Text of the object; empty for roles.
    on: &'a str,
    /// The line up to the end of the grantee.
    head: &'a str,
}

/// What a line grants.
#[derive(Debug, PartialEq, Eq)]
pub enum What {
    /// Roles, active or not.
    Roles(Vec<Account>),
    /// The default role.
    DefaultRole,
    /// Privileges on an object.
    Privileges {
        /// In upper case; `ALL` for all. Without privileges on columns, which never make a dump complete.
        privileges: BTreeSet<String>,
        /// The object.
        on: On,
    },
}

/// The object of a grant.
#[derive(Debug, PartialEq, Eq)]
pub enum On {
    /// `*.*`
    Global,
    /// `` `pattern`.* ``
    Schema(String),
    /// `` `schema`.`table` ``
    Table(String, String),
    /// `` PACKAGE BODY `schema`.`name` ``
    Routine {
        /// PROCEDURE, FUNCTION, PACKAGE, PACKAGE BODY or LIBRARY.
        kind: String,
        /// Schema of the routine.
        schema: String,
        /// Name of the routine.
        name: String,
    },
    /// The proxied account of GRANT PROXY.
    Proxied,
}

impl<'a> Line<'a> {
    /// `None` if the line cannot be parsed.
    pub fn parse(line: &'a str) -> Option<Line<'a>> {
        let mut tokens = Tokens::new(line.as_bytes());
        let place = |tokens: &Tokens<'_>| line.len() - tokens.rest().len();
        let verb = tokens.next()?;
        if verb.is("SET") {
            tokens.eat_all(&["DEFAULT", "ROLE"]).then_some(())?;
            tokens.find(|token| token.is("TO") || token.is("FOR"))?;
            let grantee = account(&mut tokens)?;
            return Some(Line {
                revoke: false,
                what: What::DefaultRole,
                grantee,
                option: None,
                items: "",
                on: "",
                head: line,
            });
        }
        let revoke = verb.is("REVOKE");
        if !revoke && !verb.is("GRANT") {
            return None;
        }
        let begin = place(&tokens);
        let mut items = Items::default();
        let end = items.read(&mut tokens)?;
        let given = line.get(begin..place(&tokens) - end.len())?.trim();
        let begin = place(&tokens);
        let to = if revoke { "FROM" } else { "TO" };
        let (what, on) = match end {
            "ON" => {
                let on = object(&mut tokens)?;
                let text = line.get(begin..place(&tokens))?.trim();
                tokens.eat(to).then_some(())?;
                let privileges = items.privileges();
                (What::Privileges { privileges, on }, text)
            }
            end if end == to => (What::Roles(items.accounts), ""),
            _ => return None,
        };
        let grantee = account(&mut tokens)?;
        let head = line.get(..place(&tokens))?;
        let option = option(tokens.clone());
        Some(Line {
            revoke,
            what,
            grantee,
            option,
            items: given,
            on,
            head,
        })
    }

    /// The line without the properties of the account that MariaDB repeats in it (authentication, TLS, limits). CREATE
    /// USER contains them, and setting a password again would make an expired one valid.
    pub fn without_account_options(&self) -> String {
        match self.option {
            Some(word) => format!("{} WITH {word} OPTION", self.head),
            None => self.head.to_owned(),
        }
    }

    /// The REVOKE statement that reverts a grant of privileges. `None` if it grants none, or roles, which are revoked
    /// when they are dropped.
    pub fn revocation(&self) -> Option<String> {
        match &self.what {
            What::Privileges { .. } if self.revoke || self.items == "USAGE" => None,
            What::Privileges { .. } => {
                let option = self.option.map_or("", |_| ", GRANT OPTION");
                let (items, on, grantee) = (self.items, self.on, quoted(&self.grantee));
                Some(format!("REVOKE {items}{option} ON {on} FROM {grantee}"))
            }
            What::Roles(_) | What::DefaultRole => None,
        }
    }

    /// The line with its privileges replaced.
    pub fn with_privileges(&self, privileges: &str) -> String {
        let (verb, to) = if self.revoke {
            ("REVOKE", "FROM")
        } else {
            ("GRANT", "TO")
        };
        let option = match self.option {
            Some(word) => format!(" WITH {word} OPTION"),
            None => String::new(),
        };
        let (on, grantee) = (self.on, quoted(&self.grantee));
        format!("{verb} {privileges} ON {on} {to} {grantee}{option}")
    }

    /// Whether the grant is on a package of MariaDB, which only parses with `sql_mode=ORACLE`.
    pub fn is_on_a_package(&self) -> bool {
        matches!(&self.what, What::Privileges { on: On::Routine { kind, .. }, .. } if kind.starts_with("PACKAGE"))
    }
}

/// Whether a statement sets a default role. Servers keep one that was revoked or dropped, and accept none of these.
pub fn sets_default_role(sql: &[u8]) -> bool {
    Tokens::new(sql).eat_all(&["SET", "DEFAULT", "ROLE"])
}

/// A statement about accounts in a form that any `sql_mode` with backslash escapes accepts.
pub fn executable(sql: &str) -> Cow<'_, str> {
    match Line::parse(sql) {
        Some(line) if line.is_on_a_package() => Cow::Owned(format!(
            "SET STATEMENT sql_mode = 'ORACLE' FOR EXECUTE IMMEDIATE {}",
            literal(sql)
        )),
        _ => Cow::Borrowed(sql),
    }
}

/// The account that a statement creates, changes or grants to; `None` for other statements.
pub fn account_of(sql: &[u8]) -> Option<Account> {
    if let Some(line) = std::str::from_utf8(sql).ok().and_then(Line::parse) {
        return Some(line.grantee);
    }
    let mut tokens = Tokens::new(sql);
    let verb = tokens.next()?;
    if !["CREATE", "ALTER", "DROP"]
        .iter()
        .any(|known| verb.is(known))
    {
        return None;
    }
    tokens.find(|token| token.is("USER") || token.is("ROLE"))?;
    let _ = tokens.eat_all(&["IF", "NOT", "EXISTS"]) || tokens.eat_all(&["IF", "EXISTS"]);
    account(&mut tokens)
}

/// Whether this is the role that all accounts of MariaDB have.
pub fn is_public(account: &Account) -> bool {
    account.user == "PUBLIC" && account.host.is_empty()
}

/// An account in SQL; PUBLIC is a keyword there.
pub fn quoted(account: &Account) -> String {
    if is_public(account) {
        account.user.clone()
    } else {
        account.to_string()
    }
}

/// The privileges or roles after the verb.
#[derive(Default)]
struct Items {
    /// Privileges in upper case, each with whether it is on columns.
    words: Vec<(String, bool)>,
    /// Roles.
    accounts: Vec<Account>,
}

impl Items {
    /// Reads up to ON, TO or FROM, and returns that word. Some hosted servers have privileges whose names contain FROM
    /// (`LOAD FROM S3`).
    fn read(&mut self, tokens: &mut Tokens<'_>) -> Option<&'static str> {
        let (mut words, mut columns): (Vec<String>, bool) = (Vec::new(), false);
        loop {
            match tokens.next()? {
                token @ Token::Word(word) => {
                    let end = ["ON", "TO", "FROM"].into_iter().find(|end| token.is(end));
                    if let Some(end) = end.filter(|end| *end == "ON" || words.is_empty()) {
                        self.close(&mut words, &mut columns);
                        return Some(end);
                    }
                    words.push(String::from_utf8(word.to_ascii_uppercase()).ok()?);
                }
                token @ (Token::Name(_) | Token::Text(_)) => {
                    let user = unquoted(token)?;
                    self.accounts.push(at_host(user, tokens)?);
                }
                Token::Mark(b'(') => {
                    columns = true;
                    tokens.find(|token| *token == Token::Mark(b')'))?;
                }
                Token::Mark(b',') => self.close(&mut words, &mut columns),
                Token::Mark(_) => return None,
            }
        }
    }

    fn close(&mut self, words: &mut Vec<String>, columns: &mut bool) {
        let words = std::mem::take(words).join(" ");
        let columns = std::mem::take(columns);
        if !words.is_empty() {
            self.words.push((words, columns));
        }
    }

    fn privileges(self) -> BTreeSet<String> {
        self.words
            .into_iter()
            .filter(|(_, columns)| !columns)
            .map(|(privilege, _)| match privilege.as_str() {
                "ALL PRIVILEGES" => "ALL".to_owned(),
                _ => privilege,
            })
            .collect()
    }
}

/// Reads the object of a grant.
fn object(tokens: &mut Tokens<'_>) -> Option<On> {
    const ROUTINES: [&str; 4] = ["PROCEDURE", "FUNCTION", "PACKAGE", "LIBRARY"];
    if tokens.eat_mark(b'*') {
        return (tokens.eat_mark(b'.') && tokens.eat_mark(b'*')).then_some(On::Global);
    }
    let first = tokens.next()?;
    let mut ahead = tokens.clone();
    let kind = ROUTINES.into_iter().find(|kind| first.is(kind));
    // A schema of that name is followed by a dot.
    if let Some(kind) = kind
        && !ahead.eat_mark(b'.')
    {
        let body = if tokens.eat("BODY") { " BODY" } else { "" };
        let schema = tokens.next()?.name()??;
        tokens.eat_mark(b'.').then_some(())?;
        return Some(On::Routine {
            kind: format!("{kind}{body}"),
            schema,
            name: tokens.next()?.name()??,
        });
    }
    if !tokens.eat_mark(b'.') {
        at_host(unquoted(first)?, tokens)?;
        return Some(On::Proxied);
    }
    let schema = first.name()??;
    if tokens.eat_mark(b'*') {
        return Some(On::Schema(schema));
    }
    Some(On::Table(schema, tokens.next()?.name()??))
}

/// Reads an account.
fn account(tokens: &mut Tokens<'_>) -> Option<Account> {
    let user = unquoted(tokens.next()?)?;
    at_host(user, tokens)
}

/// Reads the host, if any, that follows a user.
fn at_host(user: String, tokens: &mut Tokens<'_>) -> Option<Account> {
    let host = if tokens.eat_mark(b'@') {
        unquoted(tokens.next()?)?
    } else {
        String::new()
    };
    Some(Account { user, host })
}

/// GRANT or ADMIN, if followed by OPTION, in the rest of the line.
fn option(mut tokens: Tokens<'_>) -> Option<&'static str> {
    loop {
        let token = tokens.next()?;
        let word = ["GRANT", "ADMIN"].into_iter().find(|word| token.is(word));
        if word.is_some() && tokens.eat("OPTION") {
            return word;
        }
    }
}

/// The part of a line before a password hash, for messages.
pub fn without_hash(line: &str) -> &str {
    line.find("IDENTIFIED").map_or(line, |at| &line[..at])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::tokens::DAMAGED;

    fn on(line: &str) -> On {
        match Line::parse(line).unwrap().what {
            What::Privileges { on, .. } => on,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_grantee_ends_before_other_clauses() {
        for line in [
            "GRANT USAGE ON *.* TO `a`@`%` IDENTIFIED BY PASSWORD '*B6'",
            "GRANT USAGE ON *.* TO `a`@`%` REQUIRE SSL WITH GRANT OPTION",
            "REVOKE SELECT ON *.* FROM `a`@`%`",
        ] {
            let parsed = Line::parse(line).unwrap();
            assert_eq!(parsed.grantee.to_string(), "`a`@`%`", "{line}");
            assert_eq!(on(line), On::Global, "{line}");
        }
        assert_eq!(
            on("GRANT SELECT ON `a``.b`.`t ON x` TO `u`@`h`"),
            On::Table("a`.b".into(), "t ON x".into())
        );
    }

    #[test]
    fn keywords_in_names_are_not_keywords() {
        for (line, grantee) in [
            (
                "GRANT INSERT ON `u`.* TO `x TO PUBLIC`@`localhost`",
                "`x TO PUBLIC`@`localhost`",
            ),
            (
                "GRANT SELECT ON `d TO PUBLIC`.* TO `z`@`localhost`",
                "`z`@`localhost`",
            ),
            (
                "GRANT SELECT ON `d`.`t TO PUBLIC` TO `z`@`localhost` WITH GRANT OPTION",
                "`z`@`localhost`",
            ),
            (
                "GRANT SELECT (`c TO PUBLIC`) ON `d`.`t` TO `z`@` TO `",
                "`z`@` TO `",
            ),
            ("GRANT ` TO PUBLIC` TO ` FROM `", "` FROM `"),
            ("GRANT PROXY ON ` TO PUBLIC`@`%` TO `z`@`%`", "`z`@`%`"),
            ("GRANT PROXY ON '' TO 'z'@'%'", "`z`@`%`"),
            (
                "GRANT EXECUTE ON FUNCTION ` TO PUBLIC`.`f` TO `z`@`%` IDENTIFIED BY PASSWORD ' TO PUBLIC'",
                "`z`@`%`",
            ),
            ("SET DEFAULT ROLE ` TO PUBLIC` FOR `z`@`%`", "`z`@`%`"),
            ("GRANT SELECT ON `d`.* TO PUBLIC", "`PUBLIC`"),
        ] {
            let parsed = Line::parse(line).unwrap();
            assert_eq!(parsed.grantee.to_string(), grantee, "{line}");
            assert_eq!(is_public(&parsed.grantee), grantee == "`PUBLIC`", "{line}");
        }
    }

    #[test]
    fn objects_of_all_kinds_are_parsed() {
        let routine = |kind: &str, schema: &str| On::Routine {
            kind: kind.into(),
            schema: schema.into(),
            name: "p".into(),
        };
        for (line, found) in [
            (
                "GRANT EXECUTE ON PROCEDURE `a`.`p` TO `u`@`%`",
                routine("PROCEDURE", "a"),
            ),
            (
                "GRANT EXECUTE ON PACKAGE BODY `to`.`p` TO `u`@`%`",
                routine("PACKAGE BODY", "to"),
            ),
            (
                "GRANT EXECUTE ON PACKAGE `body`.`p` TO `u`@`%`",
                routine("PACKAGE", "body"),
            ),
            (
                "GRANT INSERT ON `procedure`.`t` TO `u`@`%`",
                On::Table("procedure".into(), "t".into()),
            ),
            (
                "GRANT SELECT ON `a.b`.* TO `u`@`%`",
                On::Schema("a.b".into()),
            ),
            ("GRANT PROXY ON 'a'@'1.2.3.4' TO 'u'@'%'", On::Proxied),
        ] {
            assert_eq!(on(line), found, "{line}");
        }
        for unknown in [
            "GRANT X ON NEWKIND `a`.`b` TO `u`",
            "SOMETHING NEW",
            "GRANT SELECT ON *.* FROM `a`",
        ] {
            assert_eq!(Line::parse(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn column_privileges_are_left_out() {
        let line =
            "GRANT SELECT (`a`, `b ON c`), INSERT, show view, LOAD FROM S3 ON `s`.`t` TO `u`@`h`";
        let What::Privileges { privileges, .. } = Line::parse(line).unwrap().what else {
            panic!()
        };
        assert_eq!(
            privileges.into_iter().collect::<Vec<_>>(),
            ["INSERT", "LOAD FROM S3", "SHOW VIEW"]
        );
    }

    #[test]
    fn roles_are_named_with_their_hosts() {
        let What::Roles(roles) = Line::parse("GRANT `r`@`%`,`s`@`h` TO `u`@`%` WITH ADMIN OPTION")
            .unwrap()
            .what
        else {
            panic!()
        };
        let names: Vec<String> = roles.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["`r`@`%`", "`s`@`h`"]);
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
            assert_eq!(Line::parse(line).unwrap().without_account_options(), alone);
        }
    }

    #[test]
    fn a_grant_can_be_reverted() {
        for (grant, back) in [
            (
                "GRANT SELECT, UPDATE (`a`) ON `s TO PUBLIC`.`t` TO PUBLIC",
                Some("REVOKE SELECT, UPDATE (`a`) ON `s TO PUBLIC`.`t` FROM PUBLIC"),
            ),
            (
                "GRANT SHOW DATABASES ON *.* TO PUBLIC WITH GRANT OPTION",
                Some("REVOKE SHOW DATABASES, GRANT OPTION ON *.* FROM PUBLIC"),
            ),
            ("GRANT USAGE ON *.* TO PUBLIC", None),
            ("GRANT `r` TO PUBLIC", None),
        ] {
            let line = Line::parse(grant).unwrap();
            assert_eq!(line.revocation().as_deref(), back, "{grant}");
        }
    }

    #[test]
    fn a_grant_on_a_package_is_executed_in_oracle_mode() {
        assert_eq!(
            executable("GRANT EXECUTE ON PACKAGE BODY `u`.`it's` TO `a`@`%`"),
            "SET STATEMENT sql_mode = 'ORACLE' FOR EXECUTE IMMEDIATE \
             'GRANT EXECUTE ON PACKAGE BODY `u`.`it''s` TO `a`@`%`'"
        );
        let other = "GRANT EXECUTE ON PROCEDURE `package`.`p` TO `a`@`%`";
        assert_eq!(executable(other), other);
    }

    #[test]
    fn the_account_of_a_statement_is_found() {
        for (sql, found) in [
            (
                "CREATE USER IF NOT EXISTS 'a'@'%' IDENTIFIED WITH 'x' AS 'TO `b`@`c`'",
                "`a`@`%`",
            ),
            ("CREATE USER `a b`@`10.0.0.%`", "`a b`@`10.0.0.%`"),
            ("ALTER USER 'it\\'s'@'%' PASSWORD EXPIRE", "`it's`@`%`"),
            (
                "GRANT SELECT, INSERT ON `to`.* TO `a`@`%` WITH GRANT OPTION",
                "`a`@`%`",
            ),
            ("GRANT `r`@`%` TO `a`@`%`", "`a`@`%`"),
            (
                "CREATE ROLE IF NOT EXISTS `r` WITH ADMIN CURRENT_USER",
                "`r`",
            ),
            ("SET DEFAULT ROLE `r`@`%` TO `a`@`%`", "`a`@`%`"),
            ("SET DEFAULT ROLE `r` FOR `a`@`%`", "`a`@`%`"),
            ("REVOKE INSERT ON `x`.* FROM `a`@`%`", "`a`@`%`"),
        ] {
            assert_eq!(
                account_of(sql.as_bytes()).unwrap().to_string(),
                found,
                "{sql}"
            );
        }
        assert_eq!(account_of(b"GRANT SELECT ON x"), None);
        assert_eq!(account_of(b"SET sql_mode = 'ORACLE'"), None);
    }

    #[test]
    fn damaged_statements_are_no_reason_to_panic() {
        for sql in DAMAGED {
            for head in [
                "",
                "GRANT ",
                "GRANT SELECT ON ",
                "GRANT SELECT ON `a`.",
                "REVOKE `r` FROM ",
            ] {
                let _ = account_of(format!("{head}{sql}").as_bytes());
            }
        }
    }
}
