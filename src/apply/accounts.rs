//! accounts.sql: the accounts of the backup that the server does not have, and their privileges.
//!
//! An account that exists is left as it is: a restore must not change who may do what. With chosen
//! tables, an account gets its global and schema-wide privileges and those on these tables, and no
//! others on single objects.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::apply::engine::Engine;
use crate::apply::lane::Lane;
use crate::apply::marker;
use crate::apply::offered::{account_of, is_public, unknown};
use crate::error::{Error, Result};
use crate::server::blame::{GONE, NO_PLUGIN};
use crate::server::connect::server_code;
use crate::server::show_grants::{Line, On as Place};
use crate::sql::definer::Account;
use crate::sql::scan::Scanner;
use crate::sql::statement::{Kind, ObjectId, ObjectKind, quote};
use crate::sql::tokens::{Token, Tokens};

/// Which part of the accounts is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All that needs no object: it comes first, since definers have to be there.
    Accounts,
    /// Privileges on single tables, views (a place-holder will do) and their columns: a server grants
    /// them only where these exist, and makes a view on a view only for a definer that may see it.
    TableGrants,
    /// Privileges on single routines and packages, likewise.
    RoutineGrants,
}

/// Creates the accounts that are missing, or gives them what they may do to single objects.
pub async fn run(engine: &mut Engine, part: Part) -> Result<()> {
    let Some(sql) = engine.archive.accounts().await? else {
        return Err(Error::nothing("the backup has no accounts")
            .hint("restore without --accounts, and create the definers by hand"));
    };
    let Some(there) = engine.facts.accounts.clone() else {
        return Err(
            Error::refused("the account of the restore may not see which accounts exist")
                .hint("grant it SELECT on mysql.user"),
        );
    };
    let mut lane = Lane::open_patiently(engine.lane_config.clone()).await?;
    let mut scanner = Scanner::accounts();
    scanner.push(&sql);
    scanner.finish();
    let mut left_alone = BTreeSet::new();
    while let Some(statement) = scanner.next().map_err(unknown)? {
        if statement.kind != Kind::Account || part_of(statement.sql) != part {
            continue;
        }
        let account = account_of(statement.sql).ok_or_else(|| {
            Error::archive("accounts.sql holds a statement about no single account")
        })?;
        let name = account.to_string();
        if there.contains(&account) && !engine.marker.accounts.contains(&name) {
            left_alone.insert(name);
            continue;
        }
        if engine.marker.accounts.insert(name.clone()) {
            marker::note_account(&mut engine.control, &name).await?;
        }
        let on = single_object(statement.sql);
        if let Some(on) = &on
            && !engine.options.scope.is_everything()
            && !on.is_made_by(engine)
        {
            engine.report.warn(not_given(&account, on));
            continue;
        }
        let sql = as_known(engine, &account, statement.sql);
        let given = lane
            .step(async |lane| lane.run(&sql).await.map(|_| ()))
            .await;
        match (given, on) {
            // A server keeps privileges on what is gone: on an object or a column, or on a whole schema's.
            (Err(error), Some(on)) if has_code(&error, &GONE) => {
                engine.report.warn(not_given(&account, &on))
            }
            (Err(error), _) if engine.options.scratch && has_code(&error, &[NO_PLUGIN]) => {
                let plain = format!("CREATE USER IF NOT EXISTS {name} ACCOUNT LOCK");
                lane.persist(&plain).await?;
                engine.report.warn(made_plain(&name));
            }
            (given, _) => given.map_err(|error| error.context(format!("account {account}")))?,
        }
        if engine.options.scratch && is_public(&account) {
            let grant = String::from_utf8_lossy(statement.sql).into_owned();
            engine.report.granted_to_public.push(grant);
        }
        if part == Part::Accounts && Tokens::new(statement.sql).eat("CREATE") {
            engine.report.created_accounts.push(name.clone());
            // A role has no host, and nobody logs in as one.
            if engine.options.scratch && !account.host.is_empty() {
                let lock = format!("ALTER USER {name} ACCOUNT LOCK");
                lane.persist(&lock).await?;
            }
        }
    }
    // That a scratch server has an administrator of its own is nothing to tell.
    if !left_alone.is_empty() && part == Part::Accounts && !engine.options.scratch {
        let all = left_alone.into_iter().collect::<Vec<_>>().join(", ");
        engine
            .report
            .warn(format!("accounts that exist were left as they are: {all}"));
    }
    lane.close().await;
    Ok(())
}

/// Definers that neither the server nor the backup has, on a server that is thrown away: they are made
/// up, since what they define could not be proven otherwise. Whoever restores needs them, and is told.
pub async fn make_up_definers(engine: &mut Engine) -> Result<()> {
    let there = engine.facts.accounts.clone().unwrap_or_default();
    let missing = engine.survey.definers.iter().filter(|(account, _)| {
        !there.contains(*account) && !engine.marker.accounts.contains(&account.to_string())
    });
    let missing: Vec<(Account, String)> = missing
        .filter_map(|(account, objects)| Some((account.clone(), objects.first()?.to_string())))
        .collect();
    let mut lane = Lane::open_patiently(engine.lane_config.clone()).await?;
    for (account, object) in missing {
        let name = account.to_string();
        engine.marker.accounts.insert(name.clone());
        marker::note_account(&mut engine.control, &name).await?;
        let create = match account.host.is_empty() {
            true => format!("CREATE ROLE IF NOT EXISTS {name}"),
            false => format!("CREATE USER IF NOT EXISTS {name} ACCOUNT LOCK"),
        };
        lane.persist(&create).await?;
        engine.report.created_accounts.push(name.clone());
        let grant = format!("GRANT ALL PRIVILEGES ON *.* TO {name}");
        lane.persist(&grant).await?;
        engine.report.warn(format!(
            "the backup has no account {name}, the definer of {object}: one was made up here, and a \
             restore needs it, or --definer"
        ));
    }
    lane.close().await;
    Ok(())
}

fn not_given(account: &Account, on: &On) -> String {
    format!("{account} was not given its privileges on {on}, which is not restored here")
}

/// That an account of a scratch server is not what it was.
pub fn made_plain(account: &str) -> String {
    format!(
        "{account} logs in by a plugin that the scratch server does not have, and was made without it: a restore \
         needs the plugin"
    )
}

fn has_code(error: &Error, codes: &[u16]) -> bool {
    server_code(error).is_some_and(|code| codes.contains(&code))
}

/// A statement without the dynamic privileges of MySQL that this server does not know, since a component or a
/// version of it is another: it would refuse all of them.
fn as_known<'a>(engine: &mut Engine, account: &Account, sql: &'a [u8]) -> Cow<'a, [u8]> {
    let Some(known) = &engine.facts.dynamic_privileges else {
        return Cow::Borrowed(sql);
    };
    let Some((kept, unknown)) = without_unknown(sql, known) else {
        return Cow::Borrowed(sql);
    };
    engine.report.warn(format!(
        "{account} was not given {}, which the server does not know",
        unknown.join(", ")
    ));
    Cow::Owned(kept)
}

/// What is left of a GRANT, and what was taken out of it; `None` where all of it is known.
fn without_unknown(sql: &[u8], known: &BTreeSet<String>) -> Option<(Vec<u8>, Vec<String>)> {
    let line = std::str::from_utf8(sql).ok()?;
    let Line::Privileges {
        revoke: false,
        privileges,
        on: Place::Global,
        ..
    } = Line::parse(line)?
    else {
        return None;
    };
    // Their names are one word with an underscore, which those of no other privilege have.
    let is_unknown = |privilege: &String| privilege.contains('_') && !known.contains(privilege);
    let (unknown, kept): (Vec<String>, Vec<String>) = privileges.into_iter().partition(is_unknown);
    if unknown.is_empty() {
        return None;
    }
    let kept = match kept.is_empty() {
        true => "USAGE".to_owned(),
        false => kept.join(", "),
    };
    let (_, rest) = line.split_once(" ON *.* ")?;
    Some((format!("GRANT {kept} ON *.* {rest}").into_bytes(), unknown))
}

/// Which part a statement belongs to.
fn part_of(sql: &[u8]) -> Part {
    match single_object(sql) {
        None => Part::Accounts,
        Some(on) if on.routine => Part::RoutineGrants,
        Some(_) => Part::TableGrants,
    }
}

/// What a privilege on a single object is about.
#[derive(Debug, PartialEq, Eq)]
struct On {
    /// Whether it is a routine or a package, and not a table, view or sequence.
    routine: bool,
    /// The schema.
    schema: String,
    /// The name.
    name: String,
}

/// The single object that a GRANT or REVOKE is about: ON `schema`.`object` it is, ON `schema`.* not.
fn single_object(sql: &[u8]) -> Option<On> {
    let mut tokens = Tokens::new(sql);
    let verb = tokens.next()?;
    if !(verb.is("GRANT") || verb.is("REVOKE")) {
        return None;
    }
    tokens.find(|token| token.is("ON"))?;
    // PROCEDURE, FUNCTION, PACKAGE [BODY] stand unquoted before the name of what is no table.
    let routine = matches!(tokens.clone().next(), Some(Token::Word(_)));
    let mut schema = None;
    loop {
        let token = tokens.next()?;
        if token == Token::Mark(b'.') {
            return Some(On {
                routine,
                schema: schema?,
                name: tokens.next()?.name()??,
            });
        }
        if token.is("TO") || token.is("FROM") {
            return None;
        }
        schema = token.name().flatten();
    }
}

impl std::fmt::Display for On {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", quote(&self.schema), quote(&self.name))
    }
}

impl On {
    /// Whether the restore makes it. Capitals count as they do on the server; never in names of routines.
    fn is_made_by(&self, engine: &Engine) -> bool {
        let place = |schema: &str, name: &str| match self.routine {
            true => ObjectId::new(ObjectKind::Function, schema, name.to_lowercase()),
            false => ObjectId::table(schema, name),
        };
        let place = |schema: &str, name: &str| engine.facts.folded(&place(schema, name));
        let on = place(&self.schema, &self.name);
        engine.survey.creates.iter().any(|made| {
            let alike = match self.routine {
                true => made.kind.is_routine(),
                false => is_relation(made.kind),
            };
            alike && place(&made.schema, &made.name) == on
        })
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
    fn a_privilege_that_the_server_does_not_know_is_left_out_of_its_grant() {
        let known = ["BACKUP_ADMIN".to_owned()].into();
        let of = |sql: &str| {
            let (kept, unknown) = without_unknown(sql.as_bytes(), &known)?;
            Some((String::from_utf8(kept).unwrap(), unknown.join(" ")))
        };
        assert_eq!(
            of("GRANT BACKUP_ADMIN,FIREWALL_ADMIN ON *.* TO `a ON *.* `@`%` WITH GRANT OPTION"),
            Some((
                "GRANT BACKUP_ADMIN ON *.* TO `a ON *.* `@`%` WITH GRANT OPTION".into(),
                "FIREWALL_ADMIN".into()
            ))
        );
        assert_eq!(
            of("GRANT X_ADMIN ON *.* TO `a`@`%`").unwrap().0,
            "GRANT USAGE ON *.* TO `a`@`%`"
        );
        for whole in [
            "GRANT BACKUP_ADMIN ON *.* TO `a`@`%`",
            "GRANT SELECT, LOCK TABLES ON *.* TO `a`@`%`",
            "GRANT `X_ADMIN`@`%` TO `a`@`%`",
            "CREATE USER `a`@`%`",
        ] {
            assert_eq!(of(whole), None, "{whole}");
        }
    }

    #[test]
    fn the_single_object_of_a_grant_is_found() {
        let on = single_object(b"GRANT SELECT (`a`, `b`) ON `sh``op`.`t` TO `u`@`%`").unwrap();
        assert_eq!(on.to_string(), "`sh``op`.`t`");
    }

    #[test]
    fn a_grant_on_one_object_is_told_from_those_that_need_none() {
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
