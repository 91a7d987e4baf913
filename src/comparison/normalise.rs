//! Expected deviations of a restored server: only those caused by the restore itself.
//!
//! - Events are created disabled and enabled once the restore is verified, so the comparison sees them
//!   disabled. Their definitions are digested as if enabled; so whether an event is enabled is the only
//!   property not read from the server.
//! - If a missing definer was substituted, the clause is digested with the original definer; any other
//!   definer is left as it is.
//! - What a restore leaves out of a definition ([`crate::sql::placement`]).
//! - A replayed binary log says neither how far the AUTO_INCREMENT counter of a table is, beyond its rows, nor whether
//!   an event is enabled, since a server disables events that it creates as a replica. Both are taken from the dump.
//! - MySQL with innodb_file_per_table off prints the system tablespace in the definition of a table after
//!   ALTER TABLE, which a restore uses to add keys, but not before.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::sql::definer::{Account, definer, replace};
use crate::sql::placement::{Changed, created};
use crate::sql::statement::{ObjectId, ObjectKind};
use crate::sql::tokens::{Token, Tokens};

/// Text that MySQL appends to the definition of a table that an ALTER left in the system tablespace.
const SYSTEM_TABLESPACE: &[u8] = b"\n) /*!50100 TABLESPACE `innodb_system` */ ";

/// Expected deviations, by object.
#[derive(Debug, Clone, Default)]
pub struct ExpectedDeviations {
    /// Events that the restore keeps disabled until it is verified.
    pub disabled_events: BTreeSet<ObjectId>,
    /// Objects with a substituted definer: the substitute, and the original.
    pub definers: BTreeMap<ObjectId, (Account, Account)>,
    /// Tables that the restore altered, on a server that then prints the system tablespace.
    pub altered_tables: BTreeSet<ObjectId>,
    /// Objects whose definitions the restore changed.
    pub changed: Arc<BTreeMap<ObjectId, Changed>>,
    /// Tables, schemas and events on a server that replayed a binary log, with their definitions in the dump.
    pub replayed: BTreeMap<ObjectId, Vec<u8>>,
}

impl ExpectedDeviations {
    /// A definition without the expected deviations.
    pub fn apply<'a>(&self, object: &ObjectId, sql: &'a [u8]) -> Cow<'a, [u8]> {
        if let Some(changed) = self.changed.get(object)
            && changed.created == sql
        {
            return Cow::Owned(changed.dumped.clone());
        }
        if let Some(dumped) = self.replayed.get(object)
            && is_same_after_replay(object, dumped, sql)
        {
            return Cow::Owned(dumped.clone());
        }
        let mut normalised = Cow::Borrowed(sql);
        if let Some((substitute, had)) = self.definers.get(object)
            && let Some((account, place)) = definer(sql)
            && account == *substitute
        {
            normalised = Cow::Owned(replace(sql, place, had.to_string().as_bytes()));
        }
        let more = if self.disabled_events.contains(object) {
            enabled_event(&normalised)
        } else if self.altered_tables.contains(object) {
            without_system_tablespace(&normalised)
        } else {
            None
        };
        more.map_or(normalised, Cow::Owned)
    }
}

/// Whether a definition differs only in what a replayed binary log does not say.
fn is_same_after_replay(object: &ObjectId, dumped: &[u8], found: &[u8]) -> bool {
    if object.kind == ObjectKind::Event {
        let without =
            |sql| event_status(sql).map(|(status, tokens)| without_status(sql, status, tokens));
        return without(dumped).is_some_and(|dumped| without(found) == Some(dumped));
    }
    // The drill created it as on a scratch server, and altered it.
    let logged = |sql| {
        let sql = without_counter(sql);
        created(&sql, true).map_or(sql, Cow::Owned)
    };
    let (theirs, mut ours) = (logged(dumped), logged(found));
    if !names_system_tablespace(dumped) {
        ours = without_system_tablespace(&ours).map_or(ours, Cow::Owned);
    }
    theirs == ours
}

/// A CREATE TABLE without its AUTO_INCREMENT counter.
fn without_counter(sql: &[u8]) -> Cow<'_, [u8]> {
    const ENGINE: &[u8] = b" ENGINE=";
    const COUNTER: &[u8] = b" AUTO_INCREMENT=";
    let find = || {
        let options = memchr::memmem::rfind(sql, b"\n) ")?;
        let engine = options + memchr::memmem::find(&sql[options..], ENGINE)? + ENGINE.len();
        let word = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
        let at = engine + sql[engine..].iter().take_while(word).count();
        let rest = sql[at..].strip_prefix(COUNTER)?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        Some([&sql[..at], &rest[digits..]].concat())
    };
    find().map_or(Cow::Borrowed(sql), Cow::Owned)
}

/// Whether a definition places its table in the system tablespace.
pub fn names_system_tablespace(sql: &[u8]) -> bool {
    memchr::memmem::rfind(sql, SYSTEM_TABLESPACE).is_some()
}

fn without_system_tablespace(sql: &[u8]) -> Option<Vec<u8>> {
    let at = memchr::memmem::rfind(sql, SYSTEM_TABLESPACE)?;
    let rest = &sql[at + SYSTEM_TABLESPACE.len()..];
    Some([&sql[..at], b"\n) ", rest].concat())
}

/// The definition of an enabled event, changed to disabled; `None` if it is not enabled.
pub fn disabled_event(sql: &[u8]) -> Option<Vec<u8>> {
    let (token, tokens) = event_status(sql)?;
    token
        .is("ENABLE")
        .then(|| replace_last(&tokens, token, sql, b"DISABLE"))
}

/// The definition of a disabled event, changed to enabled; `None` if it is not plainly disabled.
fn enabled_event(sql: &[u8]) -> Option<Vec<u8>> {
    let (token, tokens) = event_status(sql)?;
    (token.is("DISABLE") && !is_of_replica(sql))
        .then(|| replace_last(&tokens, token, sql, b"ENABLE"))
}

/// Whether an event is disabled on replicas: DISABLE ON SLAVE, DISABLE ON REPLICA.
pub fn is_of_replica(sql: &[u8]) -> bool {
    event_status(sql).is_some_and(|(status, mut tokens)| status.is("DISABLE") && tokens.eat("ON"))
}

/// The word after `ON COMPLETION [NOT] PRESERVE`, which the server always prints.
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

fn without_status(sql: &[u8], status: Token<'_>, mut tokens: Tokens<'_>) -> Vec<u8> {
    let start = sql.len() - tokens.rest().len() - status.bytes().map_or(1, <[u8]>::len);
    // ON SLAVE, ON REPLICA
    if status.is("DISABLE") && tokens.eat("ON") {
        let _ = tokens.next();
    }
    [&sql[..start], tokens.rest()].concat()
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
    fn a_substituted_definer_is_expected_only_on_its_object() {
        let account = |user: &str| Account {
            user: user.into(),
            host: "localhost".into(),
        };
        let event = ObjectId::new(crate::sql::statement::ObjectKind::Event, "a", "e");
        let forgiven = ExpectedDeviations {
            disabled_events: BTreeSet::from([event.clone()]),
            definers: [(event.clone(), (account("stands"), account("root")))].into(),
            ..ExpectedDeviations::default()
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
    fn the_system_tablespace_is_expected_only_of_altered_tables() {
        let table = ObjectId::table("a", "t");
        let own = "CREATE TABLE `t` (\n  `id` int COMMENT ') /*!50100 TABLESPACE `innodb_system` */ '\n) ENGINE=InnoDB";
        let altered = own.replace(
            "\n) ENGINE",
            "\n) /*!50100 TABLESPACE `innodb_system` */ ENGINE",
        );
        let forgiven = ExpectedDeviations {
            altered_tables: BTreeSet::from([table.clone()]),
            ..ExpectedDeviations::default()
        };
        let bytes = altered.as_bytes();
        assert_eq!(*forgiven.apply(&table, bytes), *own.as_bytes());
        assert_eq!(*forgiven.apply(&ObjectId::table("a", "u"), bytes), *bytes);
        assert!(names_system_tablespace(bytes) && !names_system_tablespace(own.as_bytes()));
    }

    #[test]
    fn after_a_replay_only_counters_and_the_status_of_events_may_differ() {
        let event = ObjectId::new(ObjectKind::Event, "a", "e");
        let table = ObjectId::table("a", "t");
        let dumped = "CREATE TABLE `t` (\n  `id` int COMMENT ' ENGINE=X AUTO_INCREMENT=3'\n) ENGINE=InnoDB \
                      AUTO_INCREMENT=12 DEFAULT CHARSET=latin1 COMMENT=' AUTO_INCREMENT=7'";
        let replayed = ExpectedDeviations {
            replayed: [
                (event.clone(), EVENT.as_bytes().to_vec()),
                (table.clone(), dumped.as_bytes().to_vec()),
            ]
            .into(),
            ..ExpectedDeviations::default()
        };
        let is_forgiven = |object: &ObjectId, found: &str| {
            let dumped = &replayed.replayed[object];
            *replayed.apply(object, found.as_bytes()) == **dumped
        };
        for status in ["DISABLE", "DISABLE ON SLAVE", "DISABLE ON REPLICA"] {
            let found = EVENT.replace("NOT PRESERVE ENABLE ", &format!("NOT PRESERVE {status} "));
            assert!(is_forgiven(&event, &found), "{found}");
            assert!(!is_forgiven(
                &event,
                &found.replace("insert into t", "insert into u")
            ));
            assert!(!is_forgiven(&event, &found.replace("EVERY 1", "EVERY 2")));
        }
        for (had, has, same) in [
            ("InnoDB AUTO_INCREMENT=12", "InnoDB AUTO_INCREMENT=9", true),
            ("InnoDB AUTO_INCREMENT=12", "InnoDB", true),
            (
                "InnoDB AUTO_INCREMENT=12",
                "MyISAM AUTO_INCREMENT=12",
                false,
            ),
            ("AUTO_INCREMENT=3", "AUTO_INCREMENT=4", false),
            ("AUTO_INCREMENT=7", "AUTO_INCREMENT=8", false),
            ("latin1", "latin2", false),
        ] {
            assert_eq!(
                is_forgiven(&table, &dumped.replace(had, has)),
                same,
                "{has}"
            );
        }
    }

    #[test]
    fn an_event_disabled_on_replicas_is_not_changed() {
        let elsewhere = EVENT.replace("NOT PRESERVE ENABLE ", "NOT PRESERVE DISABLE ON SLAVE ");
        assert_eq!(disabled_event(elsewhere.as_bytes()), None);
        assert_eq!(enabled_event(elsewhere.as_bytes()), None);
        assert!(is_of_replica(elsewhere.as_bytes()) && !is_of_replica(EVENT.as_bytes()));
    }
}
