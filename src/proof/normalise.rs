//! What a restored server is forgiven: nothing but what the restore itself brought about.
//!
//! - Events are created disabled and enabled when the restore is proven, so the proof meets them
//!   disabled. Their definitions are summed up as they will be; whether an event was enabled is thus
//!   the one thing that is not read from the server.
//! - Where a missing definer got a substitute, that clause reads as the dump has it; where it names
//!   anybody else it stays as it is.
//! - A scratch server keeps tables in its own directory, wherever their definitions put them.
//! - MySQL with innodb_file_per_table off names its system tablespace in the definition of a table
//!   that was altered, as a restore does when it adds keys, and not before.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::sql::definer::{Account, definer, replace};
use crate::sql::placement::without_directories;
use crate::sql::statement::ObjectId;
use crate::sql::tokens::{Token, Tokens};

/// What MySQL says behind the definitions of a table that an ALTER left in the system tablespace.
const SYSTEM_TABLESPACE: &[u8] = b"\n) /*!50100 TABLESPACE `innodb_system` */ ";

/// Which objects of a restored server are forgiven what.
#[derive(Debug, Clone, Default)]
pub struct Forgiven {
    /// Events that the restore disabled until it is proven.
    pub disabled_events: BTreeSet<ObjectId>,
    /// Objects that got another definer: which one, and which one they had.
    pub definers: BTreeMap<ObjectId, (Account, Account)>,
    /// Tables that the restore altered, on a server that then names its system tablespace.
    pub altered_tables: BTreeSet<ObjectId>,
    /// Tables that a scratch server keeps in its own directory: as the dump defines them.
    pub placed: BTreeMap<ObjectId, Vec<u8>>,
}

impl Forgiven {
    /// A definition as it would be without the restore's own doing.
    pub fn apply<'a>(&self, object: &ObjectId, sql: &'a [u8]) -> Cow<'a, [u8]> {
        if let Some(dumped) = self.placed.get(object)
            && without_directories(dumped).as_deref() == Some(sql)
        {
            return Cow::Owned(dumped.clone());
        }
        let mut forgiven = Cow::Borrowed(sql);
        if let Some((substitute, had)) = self.definers.get(object)
            && let Some((account, place)) = definer(sql)
            && account == *substitute
        {
            forgiven = Cow::Owned(replace(sql, place, had.to_string().as_bytes()));
        }
        let more = if self.disabled_events.contains(object) {
            enabled_event(&forgiven)
        } else if self.altered_tables.contains(object) {
            without_system_tablespace(&forgiven)
        } else {
            None
        };
        more.map_or(forgiven, Cow::Owned)
    }
}

/// Whether a definition puts its table into the system tablespace.
pub fn names_system_tablespace(sql: &[u8]) -> bool {
    memchr::memmem::rfind(sql, SYSTEM_TABLESPACE).is_some()
}

fn without_system_tablespace(sql: &[u8]) -> Option<Vec<u8>> {
    let at = memchr::memmem::rfind(sql, SYSTEM_TABLESPACE)?;
    let rest = &sql[at + SYSTEM_TABLESPACE.len()..];
    Some([&sql[..at], b"\n) ", rest].concat())
}

/// The definition of an enabled event, disabled; `None` where it is not enabled.
pub fn disabled_event(sql: &[u8]) -> Option<Vec<u8>> {
    let (token, tokens) = event_status(sql)?;
    token
        .is("ENABLE")
        .then(|| replace_last(&tokens, token, sql, b"DISABLE"))
}

/// The definition of a disabled event, enabled; `None` where it is not plainly disabled.
fn enabled_event(sql: &[u8]) -> Option<Vec<u8>> {
    let (token, tokens) = event_status(sql)?;
    (token.is("DISABLE") && !is_of_replica(sql))
        .then(|| replace_last(&tokens, token, sql, b"ENABLE"))
}

/// Whether an event is disabled because it runs elsewhere: DISABLE ON SLAVE, DISABLE ON REPLICA.
pub fn is_of_replica(sql: &[u8]) -> bool {
    event_status(sql).is_some_and(|(status, mut tokens)| status.is("DISABLE") && tokens.eat("ON"))
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
    fn a_substitute_is_forgiven_where_it_was_put_and_nothing_beside_it() {
        let account = |user: &str| Account {
            user: user.into(),
            host: "localhost".into(),
        };
        let event = ObjectId::new(crate::sql::statement::ObjectKind::Event, "a", "e");
        let forgiven = Forgiven {
            disabled_events: BTreeSet::from([event.clone()]),
            definers: [(event.clone(), (account("stands"), account("root")))].into(),
            ..Forgiven::default()
        };
        let restored = EVENT
            .replace("`root`@", "`stands`@")
            .replace("NOT PRESERVE ENABLE ", "NOT PRESERVE DISABLE ");
        assert_eq!(
            *forgiven.apply(&event, restored.as_bytes()),
            *EVENT.as_bytes()
        );
        let view = ObjectId::new(crate::sql::statement::ObjectKind::View, "a", "v");
        for (object, other) in [
            (&event, restored.replace("`stands`@", "`else`@")),
            (&event, restored.replace("insert into t", "insert into u")),
            (&view, restored),
        ] {
            assert_ne!(*forgiven.apply(object, other.as_bytes()), *EVENT.as_bytes());
        }
    }

    #[test]
    fn only_altered_tables_are_forgiven_the_system_tablespace() {
        let table = ObjectId::table("a", "t");
        let own = "CREATE TABLE `t` (\n  `id` int COMMENT ') /*!50100 TABLESPACE `innodb_system` */ '\n) ENGINE=InnoDB";
        let altered = own.replace(
            "\n) ENGINE",
            "\n) /*!50100 TABLESPACE `innodb_system` */ ENGINE",
        );
        let forgiven = Forgiven {
            altered_tables: BTreeSet::from([table.clone()]),
            ..Forgiven::default()
        };
        let bytes = altered.as_bytes();
        assert_eq!(*forgiven.apply(&table, bytes), *own.as_bytes());
        assert_eq!(*forgiven.apply(&ObjectId::table("a", "u"), bytes), *bytes);
        assert!(names_system_tablespace(bytes) && !names_system_tablespace(own.as_bytes()));
    }

    #[test]
    fn an_event_that_only_runs_elsewhere_stays_as_it_is() {
        let elsewhere = EVENT.replace("NOT PRESERVE ENABLE ", "NOT PRESERVE DISABLE ON SLAVE ");
        assert_eq!(disabled_event(elsewhere.as_bytes()), None);
        assert_eq!(enabled_event(elsewhere.as_bytes()), None);
        assert!(is_of_replica(elsewhere.as_bytes()) && !is_of_replica(EVENT.as_bytes()));
    }
}
