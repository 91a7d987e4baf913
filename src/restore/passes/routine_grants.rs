//! Privileges on single routines that a restore replaces. A server revokes them when a routine is dropped,
//! while it keeps privileges on a dropped table.
//!
//! They are recorded in the marker before anything is dropped, and granted again after the routines were created.

use crate::mysql::connect::{is_denied, literal};
use crate::mysql::show_grants::executable;
use crate::restore::report::RestoreReport;
use crate::restore::session::lane::Lane;
use crate::restore::state::marker::SCHEMA;
use crate::sql::statement::{ObjectId, quote};
use crate::util::error::Result;

/// One row of mysql.procs_priv: host, user, kind of routine, privileges.
type Privileges = (String, String, String, String);

/// Records the privileges on the objects that are replaced.
pub async fn note(control: &mut Lane, report: &mut RestoreReport) -> Result<()> {
    let replaced = report.replaced.clone();
    for routine in replaced.iter().filter(|object| object.kind.is_routine()) {
        let sql = format!(
            "SELECT Host, User, CONVERT(Routine_type USING utf8mb4), CONVERT(Proc_priv USING utf8mb4) \
             FROM mysql.procs_priv WHERE Db = {} AND Routine_name = {}",
            literal(&routine.schema),
            literal(&routine.name)
        );
        let rows: Vec<Privileges> = match control.query(&sql).await {
            Err(error) if is_denied(&error) => {
                report.warn(
                    "privileges on single routines cannot be read, and are lost when the routines are replaced: grant \
                     SELECT on mysql.procs_priv, or grant them again"
                        .to_owned(),
                );
                return Ok(());
            }
            rows => rows?,
        };
        for grant in rows.iter().filter_map(|row| grant_of(routine, row)) {
            let grant = literal(&grant);
            let sql = format!(
                "INSERT INTO {SCHEMA}.grants (statement) SELECT {grant} FROM DUAL WHERE NOT EXISTS \
                 (SELECT 1 FROM {SCHEMA}.grants WHERE statement = {grant})"
            );
            control.persist(&sql).await?;
        }
    }
    Ok(())
}

/// Grants the recorded privileges.
pub async fn grant_again(control: &mut Lane) -> Result<()> {
    for grant in noted(control).await? {
        control.persist(&grant).await?;
    }
    Ok(())
}

/// The recorded privileges, as GRANT statements.
pub async fn noted(control: &mut Lane) -> Result<Vec<String>> {
    let sql = format!("SELECT statement FROM {SCHEMA}.grants ORDER BY n");
    control.query(&sql).await
}

/// The GRANT of a row; `None` if it is for another kind of routine of the same name.
fn grant_of(routine: &ObjectId, (host, user, kind, privileges): &Privileges) -> Option<String> {
    if !kind.eq_ignore_ascii_case(routine.kind.noun()) {
        return None;
    }
    // GRANT is an option, not a privilege.
    let (option, privileges): (Vec<&str>, Vec<&str>) = privileges
        .split(',')
        .filter(|privilege| !privilege.is_empty())
        .partition(|privilege| privilege.eq_ignore_ascii_case("grant"));
    let privileges = if privileges.is_empty() {
        "USAGE".to_owned()
    } else {
        privileges.join(", ").to_uppercase()
    };
    // A MariaDB role has no host.
    let account = if host.is_empty() {
        quote(user)
    } else {
        format!("{}@{}", quote(user), quote(host))
    };
    let option = if option.is_empty() {
        ""
    } else {
        " WITH GRANT OPTION"
    };
    let grant = format!(
        "GRANT {privileges} ON {} {} TO {account}{option}",
        kind.to_uppercase(),
        routine.quoted()
    );
    Some(executable(&grant).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::statement::ObjectKind;

    #[test]
    fn a_row_of_privileges_becomes_a_grant() {
        let pay = ObjectId::new(ObjectKind::Procedure, "shop", "pay");
        let row = |host: &str, kind: &str, privileges: &str| {
            (
                host.to_owned(),
                "app".to_owned(),
                kind.to_owned(),
                privileges.to_owned(),
            )
        };
        assert_eq!(
            grant_of(&pay, &row("%", "PROCEDURE", "Execute,Alter Routine,Grant")).unwrap(),
            "GRANT EXECUTE, ALTER ROUTINE ON PROCEDURE `shop`.`pay` TO `app`@`%` WITH GRANT OPTION"
        );
        assert_eq!(
            grant_of(&pay, &row("", "PROCEDURE", "Execute")).unwrap(),
            "GRANT EXECUTE ON PROCEDURE `shop`.`pay` TO `app`"
        );
        assert_eq!(grant_of(&pay, &row("%", "FUNCTION", "Execute")), None);
        let package = ObjectId::new(ObjectKind::PackageBody, "shop", "pay");
        assert_eq!(
            grant_of(&package, &row("%", "PACKAGE BODY", "Execute")).unwrap(),
            "SET STATEMENT sql_mode = 'ORACLE' FOR EXECUTE IMMEDIATE \
             'GRANT EXECUTE ON PACKAGE BODY `shop`.`pay` TO `app`@`%`'"
        );
    }
}
