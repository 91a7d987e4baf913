//! Privileges of the backup account, from SHOW GRANTS, and those that it lacks.
//!
//! `information_schema` hides objects for which an account has no privileges, and mysqldump omits them with
//! exit 0: an inventory taken with too few privileges agrees with a dump that lacks the same objects. A
//! complete backup therefore starts with the grants. SHOW GRANTS immediately after login shows the roles that
//! are active then, which are also active for mysqldump; lines that only grant roles do not count.
//!
//! When in doubt, a privilege is reported as missing: grants on tables and columns do not count (the next table would
//! be hidden), and of several patterns that match a schema only the privileges granted by all of them do (a
//! server applies the most specific pattern, not their union).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::mysql::names::is_like;
use crate::mysql::schemas::Own;
use crate::mysql::scope::Scope;
use crate::mysql::show_grants::{Line, On, What, without_hash};
use crate::mysql::{Connection, ServerVersion};
use crate::sql::statement::quote;
use crate::{Error, Outcome, Result};

/// The privileges of an account that matter to a backup.
#[derive(Debug, Clone)]
pub struct Grants {
    /// Privileges on `*.*`.
    global: BTreeSet<String>,
    /// Privileges on schemas, by grantee and pattern.
    schemas: BTreeMap<(String, String), BTreeSet<String>>,
    /// Privileges on whole tables, by schema and table.
    tables: BTreeMap<(String, String), BTreeSet<String>>,
    /// Partial revokes: exceptions from the global privileges, by schema.
    revoked: BTreeMap<String, BTreeSet<String>>,
    /// Roles granted to the account, active at login or not.
    roles: BTreeSet<String>,
    /// The account, quoted for GRANT.
    account: String,
    /// Whether the server has the privilege SHOW_ROUTINE.
    has_show_routine: bool,
    patterns: Patterns,
    own: Own,
}

/// Meaning of `_` and `%` in the schema names of grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patterns {
    /// Wildcards, unless escaped.
    Wildcards,
    /// Literal characters (`partial_revokes=ON`).
    Literal,
}

/// One privilege that a complete backup needs and the account lacks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    /// The privilege, in the spelling of GRANT.
    pub privilege: String,
    /// The object, in the spelling of GRANT: `*.*`, `` `shop`.* ``.
    pub on: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.privilege, self.on)
    }
}

/// Privileges needed to read the rows and definitions of a schema on every server.
const PER_SCHEMA: [&str; 4] = ["SELECT", "SHOW VIEW", "TRIGGER", "EVENT"];

impl Grants {
    /// Reads the privileges of the connection's account.
    pub async fn read(
        connection: &mut Connection,
        server: &ServerVersion,
        own: Own,
    ) -> Result<Grants> {
        let lines: Vec<String> = connection.rows("SHOW GRANTS").await?;
        let revokes = connection.variable(&["partial_revokes"]).await?;
        let patterns = match revokes.as_deref() {
            Some("ON") => Patterns::Literal,
            _ => Patterns::Wildcards,
        };
        let account: String = connection.one("SELECT CURRENT_USER()").await?;
        let mut grants = Grants::parse(&lines, patterns, own)?;
        let (user, host) = account.rsplit_once('@').unwrap_or((&account, "%"));
        grants.account = format!("{}@{}", quote(user), quote(host));
        if !server.is_mariadb() {
            let known = connection.first_privilege(&["SHOW_ROUTINE"]).await?;
            grants.has_show_routine = known.is_some();
        }
        Ok(grants)
    }

    /// Parses the lines of SHOW GRANTS.
    ///
    /// # Errors
    ///
    /// A line cannot be parsed; it is never ignored.
    pub fn parse(lines: &[String], patterns: Patterns, own: Own) -> Result<Grants> {
        let mut grants = Grants {
            global: BTreeSet::new(),
            schemas: BTreeMap::new(),
            tables: BTreeMap::new(),
            revoked: BTreeMap::new(),
            roles: BTreeSet::new(),
            account: String::new(),
            has_show_routine: true,
            patterns,
            own,
        };
        for line in lines {
            grants.line(line).ok_or_else(|| {
                Error::new(
                    Outcome::Source,
                    format!("cannot parse a line of SHOW GRANTS: {}", without_hash(line)),
                )
                .hint("report it; the privileges of the account are not known for certain")
            })?;
        }
        Ok(grants)
    }

    fn line(&mut self, line: &str) -> Option<()> {
        let line = Line::parse(line)?;
        let (grantee, revoke) = (line.grantee.to_string(), line.revoke);
        let (privileges, on) = match line.what {
            What::Roles(roles) => {
                self.roles.extend(roles.iter().map(ToString::to_string));
                return Some(());
            }
            What::DefaultRole => return Some(()),
            What::Privileges { privileges, on } => (privileges, on),
        };
        let held = match (on, revoke) {
            // A dump does not need these.
            (On::Routine { .. } | On::Proxied, _) => return Some(()),
            (On::Global, false) => &mut self.global,
            (On::Schema(schema), true) => self.revoked.entry(unescape(&schema)).or_default(),
            (On::Schema(pattern), false) => self.schemas.entry((grantee, pattern)).or_default(),
            (On::Table(schema, table), false) => self.tables.entry((schema, table)).or_default(),
            // Partial revokes are on schemas.
            (On::Global | On::Table(..), true) => return None,
        };
        held.extend(privileges);
        Some(())
    }

    /// Whether the account has a privilege on `*.*`.
    pub fn has_globally(&self, privilege: &str) -> bool {
        holds(&self.global, privilege)
    }

    /// Whether the account has a privilege on all objects of a schema, present and future.
    pub fn has_on_schema(&self, privilege: &str, schema: &str) -> bool {
        let case = self.own.name_case();
        let revoked = self
            .revoked
            .iter()
            .any(|(name, privileges)| case.same(name, schema) && holds(privileges, privilege));
        if self.has_globally(privilege) && !revoked {
            return true;
        }
        let grantees: BTreeSet<&String> = self.schemas.keys().map(|(grantee, _)| grantee).collect();
        grantees.into_iter().any(|grantee| {
            let of_grantee = || self.schemas.iter().filter(move |((g, _), _)| g == grantee);
            let exact = of_grantee().find(|((_, pattern), _)| {
                is_literal(pattern, self.patterns) && case.same(&unescape(pattern), schema)
            });
            match exact {
                Some((_, privileges)) => holds(privileges, privilege),
                None => {
                    let mut matching = of_grantee()
                        .filter(|((_, pattern), _)| {
                            !is_literal(pattern, self.patterns)
                                && is_like(&case.fold(schema), &case.fold(pattern))
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

    /// The privileges that a complete backup of the scope needs and the account lacks.
    ///
    /// A backup of all schemas needs them globally, since the next schema would be hidden otherwise; `schemas`,
    /// those known to exist, are checked for partial revokes. A backup of listed schemas needs them on each.
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
        // A partial revoke may hide the schema itself.
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

    /// The privilege that the account lacks to see the bodies of routines of other definers, and its object.
    fn missing_for_routines(&self, server: &ServerVersion) -> Option<(&'static str, &'static str)> {
        let reads_mysql_proc = || self.has_on_table("SELECT", "mysql", "proc");
        if !server.is_mariadb() {
            // Partial revokes of SELECT do not hide routines.
            let sees = self.has_globally("SELECT") || self.has_globally("SHOW_ROUTINE");
            let fix = if self.has_show_routine {
                "SHOW_ROUTINE"
            } else {
                "SELECT"
            };
            (!sees).then_some((fix, "*.*"))
        } else {
            // If the account has SHOW CREATE ROUTINE, the server supports it.
            let sees = reads_mysql_proc() || self.has_globally("SHOW CREATE ROUTINE");
            (!sees).then_some(("SELECT", "`mysql`.`proc`"))
        }
    }

    /// The error that names the missing privileges and how to grant them; `None` if there are none.
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
        let roles = if self.roles.is_empty() {
            ""
        } else {
            " (or make the role that holds it a default role: only those are active in a dump)"
        };
        Some(
            Error::new(
                Outcome::Source,
                format!(
                    "the account {} lacks privileges for a complete backup; missing: {}",
                    self.account,
                    list.join(", ")
                ),
            )
            .hint(format!("run: {}{roles}", grants.join(" "))),
        )
    }
}

fn holds(privileges: &BTreeSet<String>, privilege: &str) -> bool {
    // ALL on a schema includes all privileges on schemas, global ALL includes the others.
    privileges.contains(privilege) || privileges.contains("ALL")
}

/// Whether a pattern has no effective wildcard.
fn is_literal(pattern: &str, patterns: Patterns) -> bool {
    let mut escaped = false;
    patterns == Patterns::Literal
        || !pattern.chars().any(|c| {
            let wildcard = !escaped && matches!(c, '%' | '_');
            escaped = !escaped && c == '\\';
            wildcard
        })
}

/// The name that a literal pattern stands for.
fn unescape(pattern: &str) -> String {
    pattern.replace("\\_", "_").replace("\\%", "%")
}

/// A schema's name as a pattern that matches only it.
fn escape(schema: &str) -> String {
    schema.replace('_', "\\_").replace('%', "\\%")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mysql::schemas::own;

    fn mysql() -> ServerVersion {
        ServerVersion::parse("9.7.4", "(Debian)").unwrap()
    }

    fn mariadb() -> ServerVersion {
        ServerVersion::parse("10.11.19-MariaDB-0+deb12u1", "Debian 12").unwrap()
    }

    fn grants(lines: &[&str]) -> Grants {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        Grants::parse(&lines, Patterns::Wildcards, own("9.7.4", false, false)).unwrap()
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
    fn each_missing_privilege_is_reported() {
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
    fn an_inactive_role_grants_nothing() {
        let lines = ["GRANT USAGE ON *.* TO `a`@`%`", "GRANT `r1`@`%` TO `a`@`%`"];
        let grants = grants(&lines);
        let missing = grants.missing(&mysql(), &shop(), &[]);
        assert_eq!(missing.len(), 5);
        let error = grants.refusal(&missing).unwrap();
        assert!(error.to_string().contains("default role"), "{error}");
    }

    #[test]
    fn privileges_of_an_active_role_count_on_both_flavours() {
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
    fn a_partial_revoke_restricts_a_global_grant() {
        let mut lines = MYSQL_FULL.to_vec();
        lines.push("REVOKE SELECT ON `mysql`.* FROM `b`@`%`");
        assert_eq!(missing(&mysql(), &Scope::default(), &lines), [""; 0]);
        lines.push("REVOKE SHOW VIEW ON `shop`.* FROM `b`@`%`");
        let expected = ["SHOW VIEW on `shop`.*"];
        assert_eq!(missing(&mysql(), &Scope::default(), &lines), expected);
        assert_eq!(missing(&mysql(), &shop(), &lines), expected);
        // Even if the account can no longer see the schema.
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
    fn all_privileges_suffice_for_a_backup() {
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
    fn patterns_match_unless_they_are_literal() {
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
            let grants = |patterns| {
                Grants::parse(
                    std::slice::from_ref(&line),
                    patterns,
                    own("9.7.4", false, false),
                )
                .unwrap()
            };
            assert_eq!(
                grants(Patterns::Wildcards).has_on_schema("SELECT", schema),
                holds,
                "{pattern}"
            );
            assert_eq!(
                grants(Patterns::Literal).has_on_schema("SELECT", schema),
                literally,
                "{pattern} literally"
            );
        }
        let folded = Grants::parse(
            &[all("SHOP")],
            Patterns::Wildcards,
            own("9.7.4", true, false),
        )
        .unwrap();
        assert!(folded.has_on_schema("SELECT", "shop"));
    }

    #[test]
    fn patterns_of_one_grantee_do_not_add_up() {
        let both = grants(&[
            "GRANT SELECT ON `shop`.* TO `d`@`%`",
            "GRANT TRIGGER ON `sho%`.* TO `d`@`%`",
            "GRANT EVENT ON `shop`.* TO `r`@`%`",
        ]);
        assert!(both.has_on_schema("SELECT", "shop"));
        assert!(!both.has_on_schema("TRIGGER", "shop"));
        assert!(
            both.has_on_schema("EVENT", "shop"),
            "privileges of different grantees add up"
        );
    }

    #[test]
    fn the_refusal_contains_the_grant_statements() {
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
    fn a_line_that_cannot_be_parsed_is_an_error_without_secrets() {
        for line in [
            "",
            "DENY SELECT ON *.* TO `a`",
            "GRANT SELECT ON `a TO b",
            "GRANT x ON ! TO `a` IDENTIFIED BY PASSWORD '*ABC'",
        ] {
            let error = Grants::parse(
                &[line.to_owned()],
                Patterns::Wildcards,
                own("9.7.4", false, false),
            )
            .unwrap_err();
            assert!(!error.to_string().contains("ABC"), "{error}");
        }
    }
}
