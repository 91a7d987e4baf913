//! What a restored server is forgiven: nothing but what the restore itself is not yet done with.
//!
//! Events are created disabled and enabled when the restore is proven, so the proof meets them
//! disabled. Their definitions are summed up as they will be; whether an event was enabled is thus
//! the one thing that is not read from the server, and [`super::redump`] is told of which events.

use crate::sql::tokens::{Token, Tokens};

/// The definition of an enabled event, disabled; `None` where it is not enabled.
pub fn disabled_event(sql: &[u8]) -> Option<Vec<u8>> {
    let (token, tokens) = event_status(sql)?;
    token
        .is("ENABLE")
        .then(|| replace_last(&tokens, token, sql, b"DISABLE"))
}

/// The definition of a disabled event, enabled; `None` where it is not plainly disabled.
pub fn enabled_event(sql: &[u8]) -> Option<Vec<u8>> {
    let (token, tokens) = event_status(sql)?;
    // DISABLE ON SLAVE, DISABLE ON REPLICA: it runs elsewhere.
    let elsewhere = tokens.clone().next().is_some_and(|next| next.is("ON"));
    (token.is("DISABLE") && !elsewhere).then(|| replace_last(&tokens, token, sql, b"ENABLE"))
}

/// The word behind `ON COMPLETION [NOT] PRESERVE`, which the server always writes.
fn event_status(sql: &[u8]) -> Option<(Token<'_>, Tokens<'_>)> {
    let mut tokens = Tokens::new(sql);
    tokens.find(|token| token.is("EVENT"))?;
    loop {
        tokens.find(|token| token.is("ON"))?;
        if tokens.eat("COMPLETION") {
            break;
        }
    }
    tokens.find(|token| token.is("PRESERVE"))?;
    let status = tokens.next()?;
    Some((status, tokens))
}

fn replace_last(tokens: &Tokens<'_>, token: Token<'_>, sql: &[u8], with: &[u8]) -> Vec<u8> {
    let end = sql.len() - tokens.rest().len();
    let start = end - token.bytes().map_or(1, <[u8]>::len);
    [&sql[..start], with, &sql[end..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = "/*!50106 CREATE*/ /*!50117 DEFINER=`root`@`localhost`*/ /*!50106 EVENT `ON COMPLETION PRESERVE ENABLE` \
         ON SCHEDULE EVERY 1 SECOND STARTS '2026-01-01 00:00:00' ON COMPLETION NOT PRESERVE ENABLE \
         COMMENT 'ON COMPLETION PRESERVE ENABLE' DO insert into t values ('ENABLE') */";

    #[test]
    fn only_the_status_of_an_event_changes_and_it_changes_back() {
        let disabled = disabled_event(EVENT.as_bytes()).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&disabled),
            EVENT.replace("NOT PRESERVE ENABLE ", "NOT PRESERVE DISABLE ")
        );
        assert_eq!(enabled_event(&disabled).unwrap(), EVENT.as_bytes());
        assert_eq!(disabled_event(&disabled), None);
        assert_eq!(enabled_event(EVENT.as_bytes()), None);
    }

    #[test]
    fn an_event_that_only_runs_elsewhere_stays_as_it_is() {
        let elsewhere = EVENT.replace("NOT PRESERVE ENABLE ", "NOT PRESERVE DISABLE ON SLAVE ");
        assert_eq!(disabled_event(elsewhere.as_bytes()), None);
        assert_eq!(enabled_event(elsewhere.as_bytes()), None);
    }
}
