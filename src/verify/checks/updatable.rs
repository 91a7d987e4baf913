//! Finds views of MariaDB that are not updatable only because of the order in which they were created.
//!
//! MariaDB decides whether a view is updatable when the view is created, from the objects below it at that moment, and
//! stores the decision. No dump shows it; neither does `IS_UPDATABLE`, which is computed from the definition. So a view
//! that should be updatable by its definition, but is not, is compared with a twin: a new view of the same definition.

use crate::monitor::report::model::Check;
use crate::mysql::Connection;
use crate::mysql::connect::{literal, server_code};
use crate::sql::statement::{ObjectId, quote};
use crate::sql::tokens::{Token, Tokens};
use crate::util::error::Result;
use crate::verify::checks::{failed, server_answer};

/// Name of the twin, in the schema of the view.
const TWIN: &str = "drctl_twin";

/// Returns a failed check for each view that its twin shows to be updatable.
pub async fn check<'a>(
    connection: &mut Connection,
    views: impl Iterator<Item = &'a ObjectId>,
) -> Result<Vec<Check>> {
    let mut found = Vec::new();
    for view in views {
        if is_updatable_by_definition(connection, view).await?
            && !is_updatable(connection, view).await?
            && is_twin_updatable(connection, view).await?
        {
            found.push(failed(
                format!("{view} can be updated"),
                "updatable, as when it is created after the views that it reads from",
                "not updatable: it was created before them",
            ));
        }
    }
    Ok(found)
}

async fn is_updatable_by_definition(connection: &mut Connection, view: &ObjectId) -> Result<bool> {
    let sql = format!(
        "SELECT is_updatable FROM information_schema.views WHERE table_schema = {} AND table_name = {}",
        literal(&view.schema),
        literal(&view.name)
    );
    let answer = server_answer(connection.row::<String>(&sql).await)?;
    Ok(answer.is_ok_and(|updatable| updatable.as_deref() == Some("YES")))
}

/// Whether the server does not refuse to prepare a DELETE as not updatable; other errors do not count.
async fn is_updatable(connection: &mut Connection, view: &ObjectId) -> Result<bool> {
    const NOT_UPDATABLE: u16 = 1288;
    let delete = format!("DELETE FROM {}", view.quoted());
    let prepare = format!("PREPARE drctl_twin FROM {}", literal(&delete));
    match connection.run(&prepare).await {
        Ok(()) => {
            connection.run("DEALLOCATE PREPARE drctl_twin").await?;
            Ok(true)
        }
        Err(error) if server_code(&error) == Some(NOT_UPDATABLE) => Ok(false),
        Err(error) if server_code(&error).is_some() => Ok(true),
        Err(error) => Err(error),
    }
}

async fn is_twin_updatable(connection: &mut Connection, view: &ObjectId) -> Result<bool> {
    let show = format!("SHOW CREATE VIEW {}", view.quoted());
    let rows = server_answer(connection.named_rows(&show).await)?;
    let rows = rows.unwrap_or_default();
    let create = rows.first().and_then(|row| row.get("Create View"));
    let twin = ObjectId {
        name: TWIN.to_owned(),
        ..view.clone()
    };
    let Some(create) = create.and_then(|create| renamed(create, &twin)) else {
        return Ok(false);
    };
    // Names in the same schema are not qualified.
    connection
        .run(&format!("USE {}", quote(&view.schema)))
        .await?;
    if server_answer(connection.run(&create).await)?.is_err() {
        return Ok(false);
    }
    let can = is_updatable(connection, &twin).await;
    connection
        .run(&format!("DROP VIEW {}", twin.quoted()))
        .await?;
    can
}

/// Replaces the name of the view in the output of SHOW CREATE VIEW.
fn renamed(create: &str, twin: &ObjectId) -> Option<String> {
    let mut tokens = Tokens::new(create.as_bytes());
    let place = |tokens: &Tokens<'_>| create.len() - tokens.rest().len();
    tokens.find(|token| token.is("VIEW"))?;
    let begin = place(&tokens);
    let Some(Token::Name(_)) = tokens.next() else {
        return None;
    };
    if tokens.eat_mark(b'.') {
        tokens.next()?;
    }
    let (head, rest) = (create.get(..begin)?, create.get(place(&tokens)..)?);
    Some(format!("{head} {}{rest}", twin.quoted()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::statement::ObjectKind;

    #[test]
    fn a_twin_differs_from_its_view_only_in_name() {
        let twin = ObjectId::new(ObjectKind::View, "s", TWIN);
        for name in ["`VIEW`", "`s`.`VIEW`"] {
            let create = format!(
                "CREATE ALGORITHM=MERGE DEFINER=`a VIEW `@`%` SQL SECURITY INVOKER VIEW {name} AS select 1 AS `VIEW`"
            );
            assert_eq!(
                renamed(&create, &twin).unwrap(),
                "CREATE ALGORITHM=MERGE DEFINER=`a VIEW `@`%` SQL SECURITY INVOKER VIEW `s`.`drctl_twin` AS select 1 AS `VIEW`"
            );
        }
        assert_eq!(renamed("CREATE", &twin), None);
    }
}
