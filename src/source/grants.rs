//! What the backup account may see, from SHOW GRANTS, and what it is missing.
//!
//! `information_schema` hides what an account may not see, and mysqldump leaves it out with exit 0:
//! an inventory taken with too few privileges agrees with a dump that lacks the same objects. So
//! completeness begins with the grants. SHOW GRANTS right after login speaks of the roles that are
//! active then, which are those that mysqldump's own login gets: lines that only hand out roles
//! count for nothing.
//!
//! Where servers are subtle, this errs on the side of "missing": table and column grants do not
//! count (the next table would be hidden), and of several patterns that match a schema only what
//! all of them grant does (a server takes the most specific one, and not their union).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::scope::{Scope, same_name};
use crate::server::schemas::Own;
use crate::server::show_grants::{Line, On, shape};
use crate::server::{Connection, ServerVersion};
use crate::sql::statement::quote;
use crate::{Error, Outcome, Result};

/// What an account holds, as far as a backup asks.
#[derive(Debug, Clone)]
pub struct Grants {
    /// Privileges on everything.
    global: BTreeSet<String>,
    /// Privileges on schemas that match a pattern, by grantee and pattern.
    schemas: BTreeMap<(String, String), BTreeSet<String>>,
    /// Privileges on whole tables, by schema and table.
    tables: BTreeMap<(String, String), BTreeSet<String>>,
    /// Partial revokes: what the global privileges leave out, by schema.
    revoked: BTreeMap<String, BTreeSet<String>>,
    /// Roles that the account could take but that a login may not activate.
    roles: BTreeSet<String>,
    /// The account, quoted as GRANT wants it.
    account: String,
    /// Whether the server does not know SHOW_ROUTINE.
    no_show_routine: bool,
    /// Whether `_` and `%` in schema names stand for themselves (`partial_revokes=ON`).
    literal_patterns: bool,
    /// Which schemas are the server's own, and how it tells names apart.
    own: Own,
}

/// One privilege that a complete backup needs and the account lacks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    /// The privilege, as GRANT names it.
    pub privilege: String,
    /// What it is missing on, as GRANT names it: `*.*`, `` `shop`.* ``.
    pub on: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.privilege, self.on)
    }
}

/// What reading the rows and definitions of a schema takes on every server.
const PER_SCHEMA: [&str; 4] = ["SELECT", "SHOW VIEW", "TRIGGER", "EVENT"];

impl Grants {
    /// Asks the server, whose own schemas these are, what the connection's account holds.
    pub async fn read(
        connection: &mut Connection,
        server: &ServerVersion,
        own: Own,
    ) -> Result<Grants> {
        let lines: Vec<String> = connection.rows("SHOW GRANTS").await?;
        let literal = connection.variable(&["partial_revokes"]).await?;
        let literal = literal.is_some_and(|value| value == "ON");
        let account: String = connection.one("SELECT CURRENT_USER()").await?;
        let mut grants = Grants::parse(&lines, literal, own)?;
        let (user, host) = account.rsplit_once('@').unwrap_or((&account, "%"));
        grants.account = format!("{}@{}", quote(user), quote(host));
        if !server.is_mariadb() {
            let known = connection.first_privilege(&["SHOW_ROUTINE"]).await?;
            grants.no_show_routine = known.is_none();
        }
        Ok(grants)
    }

    /// Understands the lines of SHOW GRANTS. `literal_patterns`: `partial_revokes` is on. A
    /// line of an unknown shape is an error, never ignored.
    pub fn parse(lines: &[String], literal_patterns: bool, own: Own) -> Result<Grants> {
        let mut grants = Grants {
            global: BTreeSet::new(),
            schemas: BTreeMap::new(),
            tables: BTreeMap::new(),
            revoked: BTreeMap::new(),
            roles: BTreeSet::new(),
            account: String::new(),
            no_show_routine: false,
            literal_patterns,
            own,
        };
        for line in lines {
            grants.line(line).ok_or_else(|| {
                Error::new(
                    Outcome::Source,
                    format!(
                        "SHOW GRANTS has a line of an unknown shape: {}",
                        shape(line)
                    ),
                )
                .hint("report it: what the account may see is not known for sure")
            })?;
        }
        Ok(grants)
    }

    fn line(&mut self, line: &str) -> Option<()> {
        let (revoke, on, grantee, privileges) = match Line::parse(line)? {
            Line::Roles(roles) => {
                self.roles.extend(roles);
                return Some(());
            }
            Line::Privileges {
                revoke,
                privileges,
                on,
                grantee,
            } => (revoke, on, grantee, privileges),
        };
        let held = match (on, revoke) {
            (On::Other, _) => return Some(()),
            (On::Global, false) => &mut self.global,
            (On::Schema(schema), true) => self.revoked.entry(unescape(&schema)).or_default(),
            (On::Schema(pattern), false) => self.schemas.entry((grantee, pattern)).or_default(),
            (On::Table(schema, table), false) => self.tables.entry((schema, table)).or_default(),
            // Partial revokes are of schemas.
            (On::Global | On::Table(..), true) => return None,
        };
        held.extend(privileges);
        Some(())
    }

    /// Whether the account holds a privilege on everything.
    pub fn has_globally(&self, privilege: &str) -> bool {
        holds(&self.global, privilege)
    }

    /// Whether the account holds a privilege on every object of a schema, present and future.
    pub fn has_on_schema(&self, privilege: &str, schema: &str) -> bool {
        let revoked = self.revoked.iter().any(|(name, privileges)| {
            same_name(name, schema, self.own.folds()) && holds(privileges, privilege)
        });
        if self.has_globally(privilege) && !revoked {
            return true;
        }
        let grantees: BTreeSet<&String> = self.schemas.keys().map(|(grantee, _)| grantee).collect();
        grantees.into_iter().any(|grantee| {
            let of_grantee = || self.schemas.iter().filter(move |((g, _), _)| g == grantee);
            let exact = of_grantee().find(|((_, pattern), _)| {
                is_literal(pattern, self.literal_patterns)
                    && same_name(&unescape(pattern), schema, self.own.folds())
            });
            match exact {
                Some((_, privileges)) => holds(privileges, privilege),
                None => {
                    let mut matching = of_grantee()
                        .filter(|((_, pattern), _)| {
                            !is_literal(pattern, self.literal_patterns)
                                && matches_pattern(pattern, schema, self.own.folds())
                        })
                        .peekable();
                    matching.peek().is_some()
                        && matching.all(|(_, privileges)| holds(privileges, privilege))
                }
            }
        })
    }

    fn has_on_table(&self, privilege: &str, schema: &str, table: &str) -> bool {
        self.has_on_schema(privilege, schema)
            || self
                .tables
                .get(&(schema.to_owned(), table.to_owned()))
                .is_some_and(|privileges| holds(privileges, privilege))
    }

    /// What a complete backup of the scope needs and the account lacks.
    ///
    /// For all schemas the privileges are needed globally, without which the next schema would be
    /// out of sight; partial revokes on covered schemas are found by `schemas`, the covered
    /// schemas that are known to exist. For listed schemas they are needed on each.
    pub fn missing(
        &self,
        server: &ServerVersion,
        scope: &Scope,
        schemas: &[String],
    ) -> Vec<Missing> {
        let mut missing = BTreeSet::new();
        let mut need = |privilege: &str, on: String| {
            missing.insert(Missing {
                privilege: privilege.into(),
                on,
            });
        };
        let all = matches!(scope, Scope::All { .. });
        for privilege in PER_SCHEMA {
            if all && !self.has_globally(privilege) {
                need(privilege, "*.*".into());
                continue;
            }
            let listed: &[String] = match scope {
                Scope::All { .. } => schemas,
                Scope::Only(listed) => listed,
            };
            for schema in listed {
                if !self.has_on_schema(privilege, schema) {
                    need(privilege, format!("{}.*", quote(&escape(schema))));
                }
            }
        }
        // A partial revoke may also name a schema that the account no longer sees at all.
        if all {
            for (schema, privileges) in &self.revoked {
                for privilege in PER_SCHEMA {
                    if scope.covers(schema, &self.own)
                        && holds(privileges, privilege)
                        && !self.has_on_schema(privilege, schema)
                    {
                        need(privilege, format!("{}.*", quote(&escape(schema))));
                    }
                }
            }
        }
        if let Some((privilege, on)) = self.missing_for_routines(server) {
            need(privilege, on.into());
        }
        missing.into_iter().collect()
    }

    /// What the account lacks to see the bodies of routines that other accounts defined.
    fn missing_for_routines(&self, server: &ServerVersion) -> Option<(&'static str, &'static str)> {
        let reads_mysql_proc = || self.has_on_table("SELECT", "mysql", "proc");
        if !server.is_mariadb() {
            // Partial revokes of SELECT do not hide routines.
            let sees = self.has_globally("SELECT") || self.has_globally("SHOW_ROUTINE");
            let fix = match self.no_show_routine {
                false => "SHOW_ROUTINE",
                true => "SELECT",
            };
            (!sees).then_some((fix, "*.*"))
        } else {
            // Who holds a privilege is on a server that knows it.
            let sees = reads_mysql_proc() || self.has_globally("SHOW CREATE ROUTINE");
            (!sees).then_some(("SELECT", "`mysql`.`proc`"))
        }
    }

    /// The error that says what is missing and how to grant it; `None` where nothing is.
    pub fn refusal(&self, missing: &[Missing]) -> Option<Error> {
        if missing.is_empty() {
            return None;
        }
        let mut by_object: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for Missing { privilege, on } in missing {
            by_object.entry(on).or_default().push(privilege);
        }
        let list: Vec<String> = missing.iter().map(Missing::to_string).collect();
        let grants: Vec<String> = by_object
            .iter()
            .map(|(on, privileges)| {
                format!(
                    "GRANT {} ON {on} TO {};",
                    privileges.join(", "),
                    self.account
                )
            })
            .collect();
        let roles = match self.roles.is_empty() {
            true => "",
            false => {
                " (or make the role that holds it a default role: only those are active in a dump)"
            }
        };
        Some(
            Error::new(
                Outcome::Source,
                format!(
                    "the backup account {} cannot see everything it is to back up; missing: {}",
                    self.account,
                    list.join(", ")
                ),
            )
            .hint(format!("run: {}{roles}", grants.join(" "))),
        )
    }
}

fn holds(privileges: &BTreeSet<String>, privilege: &str) -> bool {
    // ALL on a schema holds all there is to hold there; global ALL includes the rest.
    privileges.contains(privilege) || privileges.contains("ALL")
}

/// Whether a pattern has no wildcard in force.
fn is_literal(pattern: &str, literal_patterns: bool) -> bool {
    if literal_patterns {
        return true;
    }
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '%' | '_' => return false,
            _ => {}
        }
    }
    true
}

/// The name that a literal pattern means.
fn unescape(pattern: &str) -> String {
    pattern.replace("\\_", "_").replace("\\%", "%")
}

/// A schema's name as a pattern that means it alone.
fn escape(schema: &str) -> String {
    schema.replace('_', "\\_").replace('%', "\\%")
}

/// SQL's LIKE.
fn matches_pattern(pattern: &str, name: &str, fold: bool) -> bool {
    fn like(pattern: &[char], name: &[char]) -> bool {
        match pattern {
            [] => name.is_empty(),
            ['%', rest @ ..] => (0..=name.len()).any(|skip| like(rest, &name[skip..])),
            ['_', rest @ ..] => !name.is_empty() && like(rest, &name[1..]),
            ['\\', c, rest @ ..] | [c, rest @ ..] => {
                name.first() == Some(c) && like(rest, &name[1..])
            }
        }
    }
    let chars = |text: &str| -> Vec<char> {
        match fold {
            true => text.to_lowercase().chars().collect(),
            false => text.chars().collect(),
        }
    };
    like(&chars(pattern), &chars(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::schemas::own;

    fn mysql() -> ServerVersion {
        ServerVersion::parse("9.7.4", "(Debian)").unwrap()
    }

    fn mariadb() -> ServerVersion {
        ServerVersion::parse("10.11.19-MariaDB-0+deb12u1", "Debian 12").unwrap()
    }

    fn grants(lines: &[&str]) -> Grants {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        Grants::parse(&lines, false, own("9.7.4", false, false)).unwrap()
    }

    fn shop() -> Scope {
        Scope::Only(vec!["shop".into()])
    }

    fn missing(server: &ServerVersion, scope: &Scope, lines: &[&str]) -> Vec<String> {
        grants(lines)
            .missing(server, scope, &["shop".into()])
            .iter()
            .map(Missing::to_string)
            .collect()
    }

    const MYSQL_FULL: [&str; 2] = [
        "GRANT SELECT, RELOAD, PROCESS, LOCK TABLES, SHOW VIEW, EVENT, TRIGGER ON *.* TO `b`@`%`",
        "GRANT BACKUP_ADMIN,SHOW_ROUTINE ON *.* TO `b`@`%`",
    ];

    #[test]
    fn each_privilege_that_is_taken_away_is_missed() {
        for privilege in PER_SCHEMA {
            let less = MYSQL_FULL[0]
                .replace(&format!("{privilege}, "), "")
                .replace(&format!(", {privilege} "), " ");
            assert_ne!(less, MYSQL_FULL[0]);
            assert_eq!(
                missing(&mysql(), &Scope::default(), &[&less, MYSQL_FULL[1]]),
                [format!("{privilege} on *.*")]
            );
            assert_eq!(
                missing(&mysql(), &shop(), &[&less, MYSQL_FULL[1]]),
                [format!("{privilege} on `shop`.*")]
            );
        }
        assert_eq!(missing(&mysql(), &Scope::default(), &MYSQL_FULL), [""; 0]);
    }

    #[test]
    fn a_role_that_is_not_active_gives_nothing() {
        let lines = ["GRANT USAGE ON *.* TO `a`@`%`", "GRANT `r1`@`%` TO `a`@`%`"];
        let grants = grants(&lines);
        let missing = grants.missing(&mysql(), &shop(), &[]);
        assert_eq!(missing.len(), 5);
        let error = grants.refusal(&missing).unwrap();
        assert!(error.to_string().contains("default role"), "{error}");
    }

    #[test]
    fn a_role_that_is_active_shows_as_the_accounts_own_or_as_its_own_lines() {
        let on_mysql = [
            "GRANT PROCESS ON *.* TO `a`@`%`",
            "GRANT SELECT, SHOW VIEW, EVENT, TRIGGER ON `shop`.* TO `a`@`%`",
            "GRANT `r1`@`%` TO `a`@`%`",
        ];
        assert_eq!(
            missing(&mysql(), &shop(), &on_mysql),
            ["SHOW_ROUTINE on *.*"]
        );
        let on_mariadb = [
            "GRANT `r1` TO `a`@`%`",
            "GRANT USAGE ON *.* TO `a`@`%` IDENTIFIED BY PASSWORD '*B69027D44F6E5EDC07F1AEAD1477967B16F28227'",
            "SET DEFAULT ROLE `r1` FOR `a`@`%`",
            "GRANT `r2` TO `r1`",
            "GRANT USAGE ON *.* TO `r1`",
            "GRANT SELECT, SHOW VIEW, EVENT, TRIGGER ON `shop`.* TO `r1`",
            "GRANT SELECT ON `mysql`.`proc` TO `r2`",
        ];
        assert_eq!(missing(&mariadb(), &shop(), &on_mariadb), [""; 0]);
    }

    #[test]
    fn a_partial_revoke_takes_away_what_a_global_grant_gave() {
        let mut lines = MYSQL_FULL.to_vec();
        lines.push("REVOKE SELECT ON `mysql`.* FROM `b`@`%`");
        assert_eq!(missing(&mysql(), &Scope::default(), &lines), [""; 0]);
        lines.push("REVOKE SHOW VIEW ON `shop`.* FROM `b`@`%`");
        let expected = ["SHOW VIEW on `shop`.*"];
        assert_eq!(missing(&mysql(), &Scope::default(), &lines), expected);
        assert_eq!(missing(&mysql(), &shop(), &lines), expected);
        // Also where the account can no longer see that the schema exists.
        let unseen: Vec<String> = grants(&lines)
            .missing(&mysql(), &Scope::default(), &[])
            .iter()
            .map(Missing::to_string)
            .collect();
        assert_eq!(unseen, expected);
    }

    #[test]
    fn grants_on_tables_columns_and_routines_are_not_grants_on_the_schema() {
        let lines = [
            "GRANT EXECUTE ON *.* TO `c`@`%` IDENTIFIED BY PASSWORD '*B6'",
            "GRANT SELECT (`a`), INSERT (`a`, `b ON c`) ON `shop`.`t` TO `c`@`%`",
            "GRANT SELECT, SHOW VIEW, TRIGGER ON `shop`.`t` TO `c`@`%`",
            "GRANT EXECUTE ON PROCEDURE `shop`.`p` TO `c`@`%`",
            "GRANT PROXY ON ``@`%` TO `c`@`%` WITH GRANT OPTION",
            "GRANT PROXY ON ''@'' TO 'c'@'%' WITH GRANT OPTION",
            "GRANT SELECT ON `mysql`.`proc` TO `c`@`%`",
        ];
        assert_eq!(missing(&mariadb(), &shop(), &lines).len(), 4);
    }

    #[test]
    fn all_privileges_hold_what_a_backup_needs() {
        let everything = ["GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION"];
        assert_eq!(missing(&mariadb(), &Scope::default(), &everything), [""; 0]);
        let of_schema = [
            "GRANT USAGE ON *.* TO `d`@`%`",
            "GRANT ALL PRIVILEGES ON `shop`.* TO `d`@`%` WITH GRANT OPTION",
        ];
        assert_eq!(
            missing(&mysql(), &shop(), &of_schema),
            ["SHOW_ROUTINE on *.*"]
        );
        assert_eq!(missing(&mysql(), &Scope::default(), &of_schema).len(), 5);
    }

    #[test]
    fn a_pattern_counts_where_it_is_in_force() {
        let all = |pattern: &str| format!("GRANT ALL PRIVILEGES ON `{pattern}`.* TO `d`@`%`");
        for (pattern, schema, holds, literally) in [
            ("shop", "shop", true, true),
            ("sh_p", "shop", true, false),
            ("sh\\_p", "shop", false, false),
            ("sh\\_p", "sh_p", true, true),
            ("s%", "shop", true, false),
            ("s%", "s%", true, true),
            ("%hop", "shops", false, false),
            ("a``b", "a`b", true, true),
            ("a.b c", "a.b c", true, true),
            ("SHOP", "shop", false, false),
        ] {
            let line = all(pattern);
            let grants = |literal| {
                Grants::parse(
                    std::slice::from_ref(&line),
                    literal,
                    own("9.7.4", false, false),
                )
                .unwrap()
            };
            assert_eq!(
                grants(false).has_on_schema("SELECT", schema),
                holds,
                "{pattern}"
            );
            assert_eq!(
                grants(true).has_on_schema("SELECT", schema),
                literally,
                "{pattern} literally"
            );
        }
        let folded = Grants::parse(&[all("SHOP")], false, own("9.7.4", true, false)).unwrap();
        assert!(folded.has_on_schema("SELECT", "shop"));
    }

    #[test]
    fn a_server_takes_the_most_specific_pattern_and_not_their_union() {
        let both = grants(&[
            "GRANT SELECT ON `shop`.* TO `d`@`%`",
            "GRANT TRIGGER ON `sho%`.* TO `d`@`%`",
            "GRANT EVENT ON `shop`.* TO `r`@`%`",
        ]);
        assert!(both.has_on_schema("SELECT", "shop"));
        assert!(!both.has_on_schema("TRIGGER", "shop"));
        assert!(
            both.has_on_schema("EVENT", "shop"),
            "another grantee adds to it"
        );
    }

    #[test]
    fn the_refusal_names_the_statement_to_run() {
        let mut grants = grants(&["GRANT SELECT ON `shop`.* TO `u`@`%`"]);
        grants.account = "`u`@`%`".into();
        let missing = grants.missing(&mysql(), &Scope::Only(vec!["shop_1".into()]), &[]);
        let error = grants.refusal(&missing).unwrap();
        assert_eq!(error.outcome(), Outcome::Source);
        assert!(
            error.to_string().ends_with(
                "run: GRANT SHOW_ROUTINE ON *.* TO `u`@`%`; \
                 GRANT EVENT, SELECT, SHOW VIEW, TRIGGER ON `shop\\_1`.* TO `u`@`%`;"
            ),
            "{error}"
        );
    }

    #[test]
    fn a_line_of_an_unknown_shape_is_an_error_without_its_secrets() {
        for line in [
            "",
            "DENY SELECT ON *.* TO `a`",
            "GRANT SELECT ON `a TO b",
            "GRANT x ON ! TO `a` IDENTIFIED BY PASSWORD '*ABC'",
        ] {
            let error =
                Grants::parse(&[line.to_owned()], false, own("9.7.4", false, false)).unwrap_err();
            assert!(!error.to_string().contains("ABC"), "{error}");
        }
    }
}
