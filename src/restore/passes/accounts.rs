//! Creates the accounts of the backup that do not exist on the destination, with their privileges
//! (accounts.sql).
//!
//! Existing accounts are never changed: a restore must not change their privileges. If tables were selected,
//! a new account gets its global and schema privileges, and of the privileges on single objects only those
//! on the selected tables.
//!
//! On MariaDB, the account that creates a role becomes its administrator, and only an administrator can grant
//! it. So the account of the restore administers the roles that it created until the restore is complete
//! ([`Accounts::hand_over_roles`]).

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::archive::accounts::{roles, unknown};
use crate::archive::read::Archive;
use crate::mysql::Flavour;
use crate::mysql::blame::{GONE, NO_PLUGIN, NO_SUCH_ROLE};
use crate::mysql::connect::{is_denied, literal};
use crate::mysql::show_grants::{
    Line, On, What, account_of, executable, is_public, sets_default_role,
};
use crate::restore::inspect::destination::DestinationFacts;
use crate::restore::inspect::survey::Survey;
use crate::restore::options::Destination;
use crate::restore::passes::create::has_code;
use crate::restore::report::RestoreReport;
use crate::restore::scope::Scope;
use crate::restore::session::lane::{Lane, LaneConfig};
use crate::restore::state::open_marker::OpenMarker;
use crate::sql::definer::Account;
use crate::sql::scan::Scanner;
use crate::sql::statement::{Kind, ObjectId, ObjectKind, quote};
use crate::sql::tokens::Tokens;
use crate::util::error::{Error, Result};

/// A part of accounts.sql.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Statements that need no object. Executed first: definers must exist before their objects.
    Accounts,
    /// Privileges on single tables, views and their columns. A server grants them only on existing objects (a
    /// placeholder of a view suffices), and creates a view on a view only for a definer that may read it.
    TableGrants,
    /// Privileges on single routines and packages, which must exist.
    RoutineGrants,
}

/// Inputs of the passes of accounts.
pub struct Accounts<'a> {
    pub archive: &'a Archive,
    pub scope: &'a Scope,
    pub destination: Destination,
    pub facts: &'a DestinationFacts,
    pub survey: &'a Survey,
    pub lanes: &'a LaneConfig,
    pub resuming: bool,
    pub marker: &'a mut OpenMarker,
    pub report: &'a mut RestoreReport,
}

impl Accounts<'_> {
    /// Executes a part of accounts.sql for accounts that did not exist before the restore.
    pub async fn create(&mut self, part: Part) -> Result<()> {
        let Some(sql) = self.archive.accounts().await? else {
            return Err(Error::nothing("the backup has no accounts")
                .hint("restore without --accounts, and create the definers manually"));
        };
        let Some(existing) = &self.facts.accounts else {
            return Err(Error::refused(
                "the account of the restore may not see which accounts exist",
            )
            .hint("grant it SELECT on mysql.user"));
        };
        let mut lane = Lane::open_patiently(self.lanes.clone()).await?;
        let mut scanner = Scanner::accounts();
        scanner.push(&sql);
        scanner.finish();
        let mut unchanged = BTreeSet::new();
        while let Some(statement) = scanner.next().map_err(unknown)? {
            if statement.kind != Kind::Account || part_of(statement.sql) != part {
                continue;
            }
            let account = account_of(statement.sql).ok_or_else(|| {
                Error::archive("accounts.sql contains a statement that is not about one account")
            })?;
            let name = account.to_string();
            if existing.contains(&account) && !self.marker.contents.accounts.contains(&name) {
                unchanged.insert(name);
                continue;
            }
            self.marker.note_account(&name).await?;
            self.execute(&mut lane, &account, statement.sql).await?;
        }
        // The accounts of a scratch server are of no interest.
        if !unchanged.is_empty() && part == Part::Accounts && !self.destination.is_scratch() {
            let all = unchanged.into_iter().collect::<Vec<_>>().join(", ");
            self.report
                .warn(format!("existing accounts were not changed: {all}"));
        }
        lane.close().await;
        Ok(())
    }

    /// Executes one statement about an account that the restore creates.
    async fn execute(&mut self, lane: &mut Lane, account: &Account, sql: &[u8]) -> Result<()> {
        let scratch = self.destination.is_scratch();
        let (name, object) = (account.to_string(), single_object(sql));
        if let Some(object) = &object
            && !self.scope.is_everything()
            && !self.restores(object)
        {
            self.report.warn(not_granted(account, object));
            return Ok(());
        }
        if self.resuming && self.are_members(account, sql).await? {
            return Ok(());
        }
        let known = self.without_unknown_privileges(account, sql);
        let known = match std::str::from_utf8(&known) {
            Ok(text) => executable(text).into_owned().into_bytes(),
            Err(_) => known.into_owned(),
        };
        let executed = lane
            .step(async |lane| lane.run(&known).await.map(|_| ()))
            .await;
        match (executed, object) {
            // A server keeps privileges on objects, columns and schemas that were dropped.
            (Err(error), Some(object)) if has_code(&error, &GONE) => {
                self.report.warn(not_granted(account, &object));
            }
            (Err(error), _) if has_code(&error, &NO_SUCH_ROLE) && sets_default_role(sql) => {
                self.report.warn(no_default_role(account, sql));
            }
            (Err(error), _) if scratch && has_code(&error, &[NO_PLUGIN]) => {
                let create = format!("CREATE USER IF NOT EXISTS {name} ACCOUNT LOCK");
                lane.persist(&create).await?;
                self.report.warn(created_without_plugin(&name));
            }
            (executed, _) => {
                executed.map_err(|error| error.context(format!("account {account}")))?;
            }
        }
        if scratch && is_public(account) {
            let grant = String::from_utf8_lossy(sql).into_owned();
            self.report.granted_to_public.push(grant);
        }
        if Tokens::new(sql).eat("CREATE") {
            self.report.created_accounts.push(name.clone());
            // A role has no host, and cannot log in.
            if scratch && !account.host.is_empty() {
                let lock = format!("ALTER USER {name} ACCOUNT LOCK");
                lane.persist(&lock).await?;
            }
        }
        Ok(())
    }

    /// Whether a statement grants only MariaDB roles that the account already has. An earlier run may have
    /// handed over their administration, and can no longer grant them.
    async fn are_members(&mut self, account: &Account, sql: &[u8]) -> Result<bool> {
        let line = std::str::from_utf8(sql).ok().and_then(Line::parse);
        let Some(Line {
            what: What::Roles(roles),
            ..
        }) = line
        else {
            return Ok(false);
        };
        if self.facts.version.flavour == Flavour::MySql {
            return Ok(false);
        }
        for role in roles {
            if self.is_member(account, &role).await? != Some(true) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether an account has a role; `None` if this cannot be read.
    async fn is_member(&mut self, account: &Account, role: &Account) -> Result<Option<bool>> {
        let sql = format!(
            "SELECT 1 FROM mysql.roles_mapping WHERE role = {} AND user = {} AND host = {}",
            literal(&role.user),
            literal(&account.user),
            literal(&account.host)
        );
        match self.marker.control.query::<u8>(&sql).await {
            Err(error) if is_denied(&error) => Ok(None),
            rows => Ok(Some(!rows?.is_empty())),
        }
    }

    /// Revokes from the account of the restore the MariaDB roles that it administers only because it created
    /// them. A role without another administrator is kept and reported.
    pub async fn hand_over_roles(&mut self) -> Result<()> {
        if self.facts.version.flavour == Flavour::MySql {
            return Ok(());
        }
        let Some(sql) = self.archive.accounts().await? else {
            return Ok(());
        };
        let own = &self.facts.own_account;
        let (user, host) = own.rsplit_once('@').unwrap_or((own, ""));
        let own = Account {
            user: user.to_owned(),
            host: host.to_owned(),
        };
        for (name, role) in roles(&sql)? {
            let created = &self.marker.contents.accounts;
            let as_on_the_target = role.of_root && own.is_local_root();
            if as_on_the_target || !created.contains(&name) {
                continue;
            }
            let has_another = role
                .administrators
                .iter()
                .any(|other| created.contains(other) && *other != own.to_string());
            if !has_another {
                self.report.warn(format!(
                    "{own} is the only account that administers the role {name}: GRANT {name} TO … WITH ADMIN OPTION"
                ));
                continue;
            }
            if let Some(id) = role_of_name(&name)
                && self.is_member(&own, &id).await? != Some(false)
            {
                let revoke = format!("REVOKE {name} FROM CURRENT_USER");
                self.marker.control.persist(&revoke).await?;
            }
        }
        Ok(())
    }

    /// Creates the definers that exist neither on the scratch server nor in the backup: without them their
    /// objects could not be verified. The warning says that a restore into another server needs them.
    pub async fn create_missing_definers(&mut self) -> Result<()> {
        let existing = self.facts.accounts.clone().unwrap_or_default();
        let created = self.marker.contents.accounts.clone();
        let mut lane = Lane::open_patiently(self.lanes.clone()).await?;
        for (account, objects) in &self.survey.definers {
            let name = account.to_string();
            let Some(object) = objects.first() else {
                continue;
            };
            if existing.contains(account) || created.contains(&name) {
                continue;
            }
            self.marker.note_account(&name).await?;
            let create = if account.host.is_empty() {
                format!("CREATE ROLE IF NOT EXISTS {name}")
            } else {
                format!("CREATE USER IF NOT EXISTS {name} ACCOUNT LOCK")
            };
            lane.persist(&create).await?;
            self.report.created_accounts.push(name.clone());
            let grant = format!("GRANT ALL PRIVILEGES ON *.* TO {name}");
            lane.persist(&grant).await?;
            self.report.warn(format!(
                "the backup has no account {name}, the definer of {object}: the drill created one; a restore needs \
                 the account, or --definer"
            ));
        }
        lane.close().await;
        Ok(())
    }

    /// A statement without the dynamic privileges that this MySQL server does not know, because its version or
    /// components differ: it would reject the whole statement.
    fn without_unknown_privileges<'s>(
        &mut self,
        account: &Account,
        sql: &'s [u8],
    ) -> Cow<'s, [u8]> {
        let Some(known) = &self.facts.dynamic_privileges else {
            return Cow::Borrowed(sql);
        };
        let Some((kept, unknown)) = without_unknown(sql, known) else {
            return Cow::Borrowed(sql);
        };
        self.report.warn(format!(
            "{account} was not granted {}, which the server does not know",
            unknown.join(", ")
        ));
        Cow::Owned(kept)
    }

    /// Whether the restore creates an object. Names are compared as the server does; those of routines never
    /// depend on case.
    fn restores(&self, object: &SingleObject) -> bool {
        let id = |schema: &str, name: &str| {
            let id = if object.routine {
                ObjectId::new(ObjectKind::Function, schema, name.to_lowercase())
            } else {
                ObjectId::table(schema, name)
            };
            self.facts.folded(&id)
        };
        let wanted = id(&object.schema, &object.name);
        self.survey.creates.iter().any(|created| {
            let same_kind = if object.routine {
                created.kind.is_routine()
            } else {
                is_relation(created.kind)
            };
            same_kind && id(&created.schema, &created.name) == wanted
        })
    }
}

/// A role from its quoted name.
fn role_of_name(name: &str) -> Option<Account> {
    let user = Tokens::new(name.as_bytes()).next()?.name()??;
    Some(Account {
        user,
        host: String::new(),
    })
}

fn not_granted(account: &Account, object: &SingleObject) -> String {
    format!("{account} was not granted its privileges on {object}, which was not restored")
}

/// Warning about an account that lacks the default role of a statement.
pub fn no_default_role(account: &Account, sql: &[u8]) -> String {
    format!(
        "{account} did not get a default role that does not exist here, or that the account was not granted (or only by \
         mandatory_roles): {}",
        String::from_utf8_lossy(sql)
    )
}

/// Warning about an account of a scratch server that lacks its authentication plugin.
pub fn created_without_plugin(account: &str) -> String {
    format!(
        "the scratch server lacks the authentication plugin of {account}: the account was created without it; a \
         restore needs the plugin"
    )
}

/// A GRANT without unknown dynamic privileges, and their names; `None` if all privileges are known.
fn without_unknown(sql: &[u8], known: &BTreeSet<String>) -> Option<(Vec<u8>, Vec<String>)> {
    let line = Line::parse(std::str::from_utf8(sql).ok()?)?;
    let What::Privileges {
        privileges,
        on: On::Global,
    } = &line.what
    else {
        return None;
    };
    // Only names of dynamic privileges contain an underscore.
    let is_unknown = |privilege: &String| privilege.contains('_') && !known.contains(privilege);
    let (unknown, kept): (Vec<String>, Vec<String>) =
        privileges.iter().cloned().partition(is_unknown);
    if unknown.is_empty() || line.revoke {
        return None;
    }
    let kept = if kept.is_empty() {
        "USAGE".to_owned()
    } else {
        kept.join(", ")
    };
    Some((line.with_privileges(&kept).into_bytes(), unknown))
}

fn part_of(sql: &[u8]) -> Part {
    match single_object(sql) {
        None => Part::Accounts,
        Some(object) if object.routine => Part::RoutineGrants,
        Some(_) => Part::TableGrants,
    }
}

/// The object of a privilege on a single object.
#[derive(Debug, PartialEq, Eq)]
struct SingleObject {
    /// Whether the object is a routine or a package, not a table, view or sequence.
    routine: bool,
    schema: String,
    name: String,
}

/// The single object of a GRANT or REVOKE ON `schema`.`object`; `None` for ON `schema`.* and all others.
fn single_object(sql: &[u8]) -> Option<SingleObject> {
    let line = Line::parse(std::str::from_utf8(sql).ok()?)?;
    let What::Privileges { on, .. } = line.what else {
        return None;
    };
    let (routine, schema, name) = match on {
        On::Table(schema, name) => (false, schema, name),
        On::Routine { schema, name, .. } => (true, schema, name),
        On::Global | On::Schema(_) | On::Proxied => return None,
    };
    Some(SingleObject {
        routine,
        schema,
        name,
    })
}

impl std::fmt::Display for SingleObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", quote(&self.schema), quote(&self.name))
    }
}

fn is_relation(kind: ObjectKind) -> bool {
    matches!(
        kind,
        ObjectKind::Table | ObjectKind::View | ObjectKind::Sequence
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_dynamic_privileges_are_removed_from_a_grant() {
        let known = ["BACKUP_ADMIN".to_owned()].into();
        let reduced = |sql: &str| {
            let (kept, unknown) = without_unknown(sql.as_bytes(), &known)?;
            Some((String::from_utf8(kept).unwrap(), unknown.join(" ")))
        };
        assert_eq!(
            reduced(
                "GRANT BACKUP_ADMIN,FIREWALL_ADMIN ON *.* TO `a ON *.* `@`%` WITH GRANT OPTION"
            ),
            Some((
                "GRANT BACKUP_ADMIN ON *.* TO `a ON *.* `@`%` WITH GRANT OPTION".into(),
                "FIREWALL_ADMIN".into()
            ))
        );
        assert_eq!(
            reduced("GRANT X_ADMIN ON *.* TO `a`@`%`").unwrap().0,
            "GRANT USAGE ON *.* TO `a`@`%`"
        );
        for whole in [
            "GRANT BACKUP_ADMIN ON *.* TO `a`@`%`",
            "GRANT SELECT, LOCK TABLES ON *.* TO `a`@`%`",
            "GRANT `X_ADMIN`@`%` TO `a`@`%`",
            "CREATE USER `a`@`%`",
        ] {
            assert_eq!(reduced(whole), None, "{whole}");
        }
    }

    #[test]
    fn the_single_object_of_a_grant_is_found() {
        let object = single_object(b"GRANT SELECT (`a`, `b`) ON `sh``op`.`t` TO `u`@`%`").unwrap();
        assert_eq!(object.to_string(), "`sh``op`.`t`");
    }

    #[test]
    fn grants_are_sorted_by_the_objects_they_need() {
        for sql in [
            "GRANT SELECT ON `a`.`t` TO `u`@`%`",
            "GRANT SELECT, UPDATE (`on`, `b`) ON `a`.`t` TO `u`@`%` WITH GRANT OPTION",
            "REVOKE INSERT ON `procedure`.`t` FROM `u`@`%`",
        ] {
            assert_eq!(part_of(sql.as_bytes()), Part::TableGrants, "{sql}");
        }
        for sql in [
            "GRANT EXECUTE ON PROCEDURE `a`.`p` TO `u`@`%`",
            "GRANT EXECUTE ON FUNCTION `to`.`p` TO `u`@`%`",
            "GRANT EXECUTE ON PACKAGE BODY `a`.`p` TO `u`@`%`",
        ] {
            assert_eq!(part_of(sql.as_bytes()), Part::RoutineGrants, "{sql}");
        }
        for sql in [
            "GRANT SELECT ON *.* TO `u`@`%`",
            "GRANT SELECT ON `a`.* TO `u.v`@`10.0.0.1`",
            "GRANT SELECT ON `a.b`.* TO `u`@`%`",
            "REVOKE INSERT ON `a`.* FROM `u`@`%`",
            "GRANT `a`.`t` TO `u`@`%`",
            "GRANT PROXY ON 'a'@'1.2.3.4' TO 'u'@'%'",
            "GRANT PROXY ON ''@'%' TO 'root'@'localhost' WITH GRANT OPTION",
            "CREATE USER `u`@`%` IDENTIFIED BY 'ON `a`.`t`'",
            "SET DEFAULT ROLE `r`@`%` TO `u`@`%`",
        ] {
            assert_eq!(part_of(sql.as_bytes()), Part::Accounts, "{sql}");
        }
    }
}
