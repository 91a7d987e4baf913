//! What accounts may do with single routines that a restore replaces: a server forgets it with the routine,
//! while it remembers privileges on a table that is dropped.
//!
//! It is noted in the marker before anything is dropped, and given back when the routines are there again.

use crate::apply::engine::Engine;
use crate::apply::lane::Lane;
use crate::apply::marker::SCHEMA;
use crate::error::Result;
use crate::server::connect::{is_denied, literal};
use crate::sql::statement::{ObjectId, quote};

/// One privilege row: host, user, kind of routine, privileges.
type Held = (String, String, String, String);

/// Notes what is held on these objects.
pub async fn note(engine: &mut Engine, replaced: &[ObjectId]) -> Result<()> {
    for routine in replaced.iter().filter(|object| object.kind.is_routine()) {
        let sql = format!(
            "SELECT Host, User, CONVERT(Routine_type USING utf8mb4), CONVERT(Proc_priv USING utf8mb4) \
             FROM mysql.procs_priv WHERE Db = {} AND Routine_name = {}",
            literal(&routine.schema),
            literal(&routine.name)
        );
        let held: Vec<Held> = match engine.control.query(&sql).await {
            Err(error) if is_denied(&error) => {
                engine.report.warn(
                    "what accounts may do with single routines cannot be read, and ends with the routines that are \
                     replaced: grant SELECT on mysql.procs_priv, or grant it anew"
                        .to_owned(),
                );
                return Ok(());
            }
            held => held?,
        };
        for held in held {
            if let Some(grant) = statement(routine, &held) {
                let grant = literal(&grant);
                let sql = format!(
                    "INSERT INTO {SCHEMA}.grants (statement) SELECT {grant} FROM DUAL WHERE NOT EXISTS \
                     (SELECT 1 FROM {SCHEMA}.grants WHERE statement = {grant})"
                );
                engine.control.persist(&sql).await?;
            }
        }
    }
    Ok(())
}

/// Gives back what was noted.
pub async fn give_back(engine: &mut Engine) -> Result<()> {
    for grant in noted(&mut engine.control).await? {
        engine.control.persist(&grant).await?;
    }
    Ok(())
}

/// What was noted, as statements.
pub async fn noted(control: &mut Lane) -> Result<Vec<String>> {
    let sql = format!("SELECT statement FROM {SCHEMA}.grants ORDER BY n");
    control.query(&sql).await
}

/// The statement that grants what is held; `None` where that is of another kind of routine of this name.
fn statement(routine: &ObjectId, (host, user, kind, privileges): &Held) -> Option<String> {
    if !kind.eq_ignore_ascii_case(routine.kind.noun()) {
        return None;
    }
    // GRANT is an option, not a privilege.
    let (option, privileges): (Vec<&str>, Vec<&str>) = privileges
        .split(',')
        .filter(|privilege| !privilege.is_empty())
        .partition(|privilege| privilege.eq_ignore_ascii_case("grant"));
    let privileges = match privileges.is_empty() {
        true => "USAGE".to_owned(),
        false => privileges.join(", ").to_uppercase(),
    };
    // A role of MariaDB has no host.
    let account = match host.is_empty() {
        true => quote(user),
        false => format!("{}@{}", quote(user), quote(host)),
    };
    let option = if option.is_empty() {
        ""
    } else {
        " WITH GRANT OPTION"
    };
    Some(format!(
        "GRANT {privileges} ON {} {} TO {account}{option}",
        kind.to_uppercase(),
        routine.quoted()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::statement::ObjectKind;

    #[test]
    fn what_is_held_becomes_the_grant_that_gave_it() {
        let pay = ObjectId::new(ObjectKind::Procedure, "shop", "pay");
        let held = |host: &str, kind: &str, privileges: &str| {
            (
                host.to_owned(),
                "app".to_owned(),
                kind.to_owned(),
                privileges.to_owned(),
            )
        };
        assert_eq!(
            statement(&pay, &held("%", "PROCEDURE", "Execute,Alter Routine,Grant")).unwrap(),
            "GRANT EXECUTE, ALTER ROUTINE ON PROCEDURE `shop`.`pay` TO `app`@`%` WITH GRANT OPTION"
        );
        assert_eq!(
            statement(&pay, &held("", "PROCEDURE", "Execute")).unwrap(),
            "GRANT EXECUTE ON PROCEDURE `shop`.`pay` TO `app`"
        );
        assert_eq!(statement(&pay, &held("%", "FUNCTION", "Execute")), None);
    }
}
