//! Events that the server drops when they are created, because their last execution time has passed.

use std::collections::BTreeSet;

use crate::archive::read::Archive;
use crate::mysql::connect::literal;
use crate::mysql::{ServerConfig, connect};
use crate::restore::frames::read_ahead::FrameSource;
use crate::sql::definer::unquoted;
use crate::sql::statement::{Kind, ObjectId, Section};
use crate::sql::tokens::Tokens;
use crate::util::cancel::Cancel;
use crate::util::error::Result;

/// The expired ones of the `missing` events.
pub(super) async fn expired(
    archive: &Archive,
    server: &ServerConfig,
    missing: &BTreeSet<ObjectId>,
    cancel: &Cancel,
) -> Result<BTreeSet<ObjectId>> {
    let mut expired = BTreeSet::new();
    if missing.is_empty() {
        return Ok(expired);
    }
    let mut connection = connect(server).await?;
    // Dumps create events in the server's own time zone.
    connection.run("SET SESSION time_zone = 'SYSTEM'").await?;
    let source = FrameSource::of(archive, cancel)?;
    let mut frames = source.read(|record| record.has(Section::PostData));
    while let Some(ready) = frames.next().await? {
        for (statement, sql) in ready.frame.of(Section::PostData) {
            let Kind::Create { object, .. } = &statement.kind else {
                continue;
            };
            if !missing.contains(object) {
                continue;
            }
            if let Some(time) = last_execution(sql) {
                let sql = format!("SELECT {} < NOW()", literal(&time));
                let has_passed: Option<u8> = connection.one(&sql).await?;
                if has_passed == Some(1) {
                    expired.insert(object.clone());
                }
            }
        }
    }
    connection.close().await;
    Ok(expired)
}

/// When an event is executed for the last time and then dropped; `None` if it is not dropped.
fn last_execution(sql: &[u8]) -> Option<String> {
    let mut tokens = Tokens::new(sql);
    tokens.find(|token| token.is("EVENT"))?;
    tokens.find(|token| token.is("SCHEDULE"))?;
    let mut last = tokens.eat("AT").then(|| tokens.next()).flatten();
    while !tokens.clone().eat_all(&["ON", "COMPLETION"]) {
        if tokens.next()?.is("ENDS") {
            last = tokens.next();
        }
    }
    let time = unquoted(last?)?;
    tokens
        .eat_all(&["ON", "COMPLETION", "NOT", "PRESERVE"])
        .then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_events_that_are_dropped_at_their_end_have_a_last_execution() {
        let of = |schedule: &str| {
            let sql = format!(
                "CREATE DEFINER=`r`@`h` EVENT `s`.`e` ON SCHEDULE {schedule} ENABLE DO SELECT 'ENDS'"
            );
            last_execution(sql.as_bytes())
        };
        let time = Some("2020-01-01 00:00:00".to_owned());
        assert_eq!(
            of("AT '2020-01-01 00:00:00' ON COMPLETION NOT PRESERVE"),
            time
        );
        assert_eq!(
            of(
                "EVERY 1 SECOND STARTS '2019-01-01 00:00:00' ENDS '2020-01-01 00:00:00' ON COMPLETION NOT PRESERVE"
            ),
            time
        );
        assert_eq!(of("AT '2020-01-01 00:00:00' ON COMPLETION PRESERVE"), None);
        assert_eq!(
            of("EVERY 1 DAY STARTS '2020-01-01 00:00:00' ON COMPLETION NOT PRESERVE"),
            None
        );
    }
}
