//! The `USE` and `SET`s in force at a place in a dump, by value.
//!
//! A dump saves what it changes in user variables (`SET @saved_cs_client = @@character_set_client`)
//! and puts it back later. Those are resolved here and never reach a server: a [`Session`] says
//! what a connection must be told so that the next statement means what the dump meant, on a
//! fresh connection, after a reconnect, or coming from another frame.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use super::assignment::{Assignment, Setting, Source, is_known, parse_set};
use super::statement::{Kind, Statement, quote};

/// Two names of one thing: setting either sets both.
const CONNECTION: [&str; 2] = ["character_set_connection", "collation_connection"];

/// What whoever executes the statements decides by themselves. Checks wait for the end; and MariaDB's
/// client of 11 and later turns `autocommit` off around a table's rows: turning it on again would
/// commit half of somebody's transaction.
const NOT_THE_DUMPS: [&str; 3] = ["autocommit", "foreign_key_checks", "unique_checks"];

/// What is in force: the schema, and each session variable that differs from what the server had.
///
/// Equality and the serialized form cover what a connection can be told, not what was saved on
/// the way: at a place where [`Session::at_rest`] holds, nothing else is needed to go on.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(try_from = "Form", into = "Form")]
pub struct Session {
    /// The schema of the last `USE`.
    schema: Option<String>,
    /// The variables that were set, by lower-case name. What the server had first is absent.
    variables: BTreeMap<String, Setting>,
    /// What user variables hold and has not been put back; `None` is what the server had first.
    saved: BTreeMap<String, Option<(String, Setting)>>,
    /// A DELIMITER other than `;` is in force.
    delimiter_changed: bool,
}

/// The serialized form: permanent, part of the archive's index.
#[derive(Serialize, Deserialize)]
struct Form {
    /// The schema of the last `USE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    schema: Option<String>,
    /// Name → literal, behind the opening of its conditional comment and a space, if it has one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    set: BTreeMap<String, Setting>,
}

impl TryFrom<Form> for Session {
    type Error = String;

    fn try_from(form: Form) -> Result<Self, String> {
        match form.set.keys().find(|name| !is_known(name)) {
            Some(name) => Err(format!("{name} is not a session variable that dumps set")),
            None => Ok(Session {
                schema: form.schema,
                variables: form.set,
                ..Session::default()
            }),
        }
    }
}

impl From<Session> for Form {
    fn from(session: Session) -> Form {
        Form {
            schema: session.schema,
            set: session.variables,
        }
    }
}

impl PartialEq for Session {
    fn eq(&self, other: &Self) -> bool {
        (&self.schema, &self.variables) == (&other.schema, &other.variables)
    }
}

impl Eq for Session {}

impl Hash for Session {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.schema, &self.variables).hash(state);
    }
}

impl Session {
    /// Takes note of a statement of the dump. Kinds that leave the session alone are welcome.
    pub fn apply(&mut self, statement: &Statement<'_>) {
        match &statement.kind {
            Kind::Use { schema } => self.schema = Some(schema.clone()),
            Kind::Delimiter => {
                self.delimiter_changed = statement
                    .text
                    .trim_ascii()
                    .get("DELIMITER".len()..)
                    .is_none_or(|argument| argument.trim_ascii() != b";");
            }
            Kind::Set => {
                for assignment in parse_set(statement.sql).unwrap_or_default() {
                    self.assign(assignment);
                }
            }
            _ => {}
        }
    }

    /// The schema in force.
    pub fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// The literal that a variable was set to, as the dump spells it.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(Setting::literal)
    }

    /// Sets a variable by a literal of our own, such as `sql_mode` to `''`. False if the
    /// variable is not one that dumps set, or the literal is none.
    #[must_use]
    pub fn set(&mut self, name: &str, literal: &str) -> bool {
        let setting = Setting::new(literal, None);
        match setting {
            Some(setting) if is_known(name) => {
                self.put(name, Some((name.to_owned(), setting)));
                true
            }
            _ => false,
        }
    }

    /// The same with every day allowed that a table may hold, `2026-02-31` too. Such days are in a table
    /// whose writers had allowed them; mysqldump's own `sql_mode` does not.
    #[must_use]
    pub fn with_any_day(&self) -> Session {
        self.with_mode("ALLOW_INVALID_DATES")
    }

    /// The same with one more part of its `sql_mode`, where it sets one.
    #[must_use]
    pub fn with_mode(&self, mode: &str) -> Session {
        let mut session = self.clone();
        if let Some(setting) = session.variables.get_mut("sql_mode")
            && let Some(modes) = setting.literal().strip_suffix('\'')
            && !modes
                .trim_start_matches('\'')
                .split(',')
                .any(|one| one == mode)
        {
            let comma = if modes == "'" { "" } else { "," };
            let literal = format!("{modes}{comma}{mode}'");
            if let Some(more) = Setting::new(&literal, setting.guard()) {
                *setting = more;
            }
        }
        session
    }

    /// Whether a backslash in quotes is a character like any other.
    pub fn no_backslash_escapes(&self) -> bool {
        self.variable("sql_mode")
            .is_some_and(|mode| mode.to_ascii_uppercase().contains("NO_BACKSLASH_ESCAPES"))
    }

    /// Whether nothing waits to be put back to a value that only this session knows: a frame may
    /// be cut here.
    ///
    /// What waits to be put back to the server's first value does no harm: whoever goes on from
    /// the serialized form puts back the same.
    pub fn at_rest(&self) -> bool {
        !self.delimiter_changed && self.saved.values().all(Option::is_none)
    }

    /// The statements that bring a connection to this session: a fresh one, or one in `current`.
    ///
    /// A variable that is set there and not here gets the server's global value (DEFAULT). None of
    /// them begins or ends a transaction, or turns checks on or off.
    pub fn statements_from(&self, current: Option<&Session>) -> Vec<String> {
        let fresh = Session::default();
        let current = current.unwrap_or(&fresh);
        let mut statements = Vec::new();
        if let Some(schema) = &self.schema
            && current.schema.as_ref() != Some(schema)
        {
            statements.push(format!("USE {}", quote(schema)));
        }
        let mut by_guard: BTreeMap<Option<&str>, Vec<String>> = BTreeMap::new();
        for (name, setting) in current.told() {
            let replaced = siblings(name).any(|name| self.variables.contains_key(name));
            if !replaced {
                let group = by_guard.entry(setting.guard()).or_default();
                group.push(format!("{name}=DEFAULT"));
            }
        }
        for (name, setting) in self.told() {
            if current.variables.get(name) != Some(setting) {
                let group = by_guard.entry(setting.guard()).or_default();
                group.push(format!("{name}={}", setting.literal()));
            }
        }
        for (guard, assignments) in by_guard {
            let assignments = assignments.join(",");
            statements.push(match guard {
                Some(guard) => format!("{guard} SET {assignments} */"),
                None => format!("SET {assignments}"),
            });
        }
        statements
    }

    /// The variables that a connection is told of.
    fn told(&self) -> impl Iterator<Item = (&String, &Setting)> {
        let all = self.variables.iter();
        all.filter(|(name, _)| !NOT_THE_DUMPS.contains(&name.as_str()))
    }

    fn assign(&mut self, assignment: Assignment) {
        match assignment {
            Assignment::Save { user, variable } => {
                let held = siblings(&variable)
                    .find_map(|name| self.variables.get_key_value(name))
                    .map(|(name, setting)| (name.clone(), setting.clone()));
                self.saved.insert(user, held);
            }
            Assignment::Set { variable, source } => match source {
                Source::Literal(setting) => {
                    self.put(&variable, Some((variable.clone(), setting)));
                }
                Source::Default => self.put(&variable, None),
                Source::User(user) => {
                    let held = self.saved.remove(&user).flatten();
                    self.put(&variable, held);
                }
            },
        }
    }

    fn put(&mut self, variable: &str, held: Option<(String, Setting)>) {
        for name in siblings(variable) {
            self.variables.remove(name);
        }
        if let Some((name, setting)) = held {
            self.variables.insert(name, setting);
        }
    }
}

/// The names that hold the same as this one, itself included.
fn siblings(name: &str) -> impl Iterator<Item = &str> {
    let pair: &[&'static str] = if CONNECTION.contains(&name) {
        &CONNECTION
    } else {
        &[]
    };
    let alone = pair.is_empty().then_some(name);
    pair.iter().copied().chain(alone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::scan::Scanner;

    /// The session after some statements, each with its delimiter.
    fn after(sql: &str) -> Session {
        let mut scanner = Scanner::new();
        scanner.push(sql.as_bytes());
        scanner.finish();
        while scanner.next().unwrap().is_some() {}
        scanner.session().clone()
    }

    const HEADER: &str = "/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;\n\
        /*!40101 SET @OLD_CHARACTER_SET_RESULTS=@@CHARACTER_SET_RESULTS */;\n\
        /*!40101 SET @OLD_COLLATION_CONNECTION=@@COLLATION_CONNECTION */;\n\
        /*!50503 SET NAMES utf8mb4 */;\n\
        /*!40103 SET @OLD_TIME_ZONE=@@TIME_ZONE */;\n\
        /*!40103 SET TIME_ZONE='+00:00' */;\n\
        /*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;\n\
        /*M!100616 SET @OLD_NOTE_VERBOSITY=@@NOTE_VERBOSITY, NOTE_VERBOSITY=0 */;\n\
        USE `d`;\n";

    #[test]
    fn a_fresh_connection_is_told_everything_under_the_conditions_of_the_dump() {
        assert_eq!(
            after(HEADER).statements_from(None),
            [
                "USE `d`",
                "/*!40101 SET sql_mode='NO_AUTO_VALUE_ON_ZERO' */",
                "/*!40103 SET time_zone='+00:00' */",
                "/*!50503 SET character_set_client=utf8mb4,character_set_connection=utf8mb4,\
                 character_set_results=utf8mb4 */",
                "/*M!100616 SET note_verbosity=0 */",
            ]
        );
    }

    #[test]
    fn what_is_put_back_is_as_before() {
        let before = after(HEADER);
        let changed = format!(
            "{HEADER}/*!50003 SET @saved_cs_client      = @@character_set_client */ ;\n\
             /*!50003 SET @saved_col_connection = @@collation_connection */ ;\n\
             /*!50003 SET @saved_sql_mode       = @@sql_mode */ ;\n\
             /*!50003 SET character_set_client  = latin1 */ ;\n\
             /*!50003 SET collation_connection  = latin1_bin */ ;\n\
             /*!50003 SET sql_mode              = '' */ ;\n"
        );
        let back = format!(
            "{changed}/*!50003 SET sql_mode              = @saved_sql_mode */ ;\n\
             /*!50003 SET character_set_client  = @saved_cs_client */ ;\n\
             /*!50003 SET collation_connection  = @saved_col_connection */ ;\n"
        );
        assert!(before.at_rest());
        assert!(!after(&changed).at_rest());
        assert_eq!(
            after(&changed).statements_from(Some(&before)),
            [
                "/*!50003 SET character_set_client=latin1,collation_connection=latin1_bin,sql_mode='' */"
            ]
        );
        assert!(after(&back).at_rest());
        assert_eq!(after(&back), before);
        assert!(after(&back).statements_from(Some(&before)).is_empty());
    }

    #[test]
    fn any_day_is_allowed_beside_what_the_dump_sets_and_nothing_else_changes() {
        let header = after(HEADER);
        let told = header.with_any_day().statements_from(Some(&header));
        let mode = "NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES";
        assert_eq!(told, [format!("/*!40101 SET sql_mode='{mode}' */")]);
        let empty = after("SET sql_mode='';\n").with_any_day();
        assert_eq!(empty.variable("sql_mode"), Some("'ALLOW_INVALID_DATES'"));
        for same in [Session::default(), after("SET sql_mode=ANSI;\n")] {
            assert_eq!(same.with_any_day(), same);
        }
    }

    #[test]
    fn no_transaction_ends_and_no_check_begins_because_the_session_changes() {
        let around = after("SET @OLD_AUTOCOMMIT=@@AUTOCOMMIT, @@AUTOCOMMIT=0;\nSET sql_mode='';\n");
        assert_eq!(around.statements_from(None), ["SET sql_mode=''"]);
        let behind = Session::default().statements_from(Some(&around));
        assert_eq!(behind, ["SET sql_mode=DEFAULT"]);
    }

    #[test]
    fn what_the_server_had_first_is_its_default() {
        let set = after(HEADER);
        let unset = after(&format!(
            "{HEADER}/*!40103 SET TIME_ZONE=@OLD_TIME_ZONE */;\n\
             /*!40101 SET COLLATION_CONNECTION=@OLD_COLLATION_CONNECTION */;\n"
        ));
        assert_eq!(
            unset.statements_from(Some(&set)),
            [
                "/*!40103 SET time_zone=DEFAULT */",
                "/*!50503 SET character_set_connection=DEFAULT */"
            ]
        );
    }

    #[test]
    fn a_session_read_back_goes_on_like_the_one_that_was_written() {
        let history = "/*M!101100 SET \
            @old_system_versioning_insert_history=@@session.system_versioning_insert_history, \
            @@session.system_versioning_insert_history=1 */;\n";
        let written = after(&format!("{HEADER}{history}"));
        assert!(written.at_rest());
        let json = serde_json::to_string(&written).unwrap();
        assert_eq!(
            json,
            "{\"schema\":\"d\",\"set\":{\"character_set_client\":\"/*!50503 utf8mb4\",\
             \"character_set_connection\":\"/*!50503 utf8mb4\",\
             \"character_set_results\":\"/*!50503 utf8mb4\",\
             \"note_verbosity\":\"/*M!100616 0\",\"sql_mode\":\"/*!40101 'NO_AUTO_VALUE_ON_ZERO'\",\
             \"system_versioning_insert_history\":\"/*M!101100 1\",\
             \"time_zone\":\"/*!40103 '+00:00'\"}}"
        );
        let read: Session = serde_json::from_str(&json).unwrap();
        assert_eq!(read, written);
        let mut scanner = Scanner::resuming(read);
        scanner.push(
            b"/*M!101100 SET system_versioning_insert_history=@old_system_versioning_insert_history */;\n\
              /*!40101 SET SQL_MODE=@OLD_SQL_MODE */;\n",
        );
        while scanner.next().unwrap().is_some() {}
        assert_eq!(
            scanner
                .session()
                .variable("system_versioning_insert_history"),
            None
        );
        assert_eq!(scanner.session().variable("sql_mode"), None);
    }

    #[test]
    fn a_serialized_session_cannot_smuggle_statements() {
        for set in [
            r#"{"sql_log_bin":"0"}"#,
            r#"{"sql_mode":"'', GLOBAL max_connections=1"}"#,
            r#"{"sql_mode":"''; DROP DATABASE d"}"#,
            r#"{"sql_mode":"'a' 'b'"}"#,
            r#"{"sql_mode":"'a*/ b'"}"#,
            r#"{"sql_mode":"(SELECT 1)"}"#,
            r#"{"sql_mode":"/*!1*/ DROP 'x'"}"#,
            r#"{"sql_mode":""}"#,
        ] {
            let json = format!("{{\"set\":{set}}}");
            assert!(serde_json::from_str::<Session>(&json).is_err(), "{set}");
        }
    }

    #[test]
    fn a_delimiter_in_force_is_no_rest() {
        assert!(!after("DELIMITER ;;\n").at_rest());
        assert!(after("DELIMITER ;;\nDELIMITER ;\n").at_rest());
    }

    #[test]
    fn known_variables_are_overridden_by_literals() {
        let mut session = after(HEADER);
        assert!(session.set("timestamp", "0"));
        assert!(session.set("sql_mode", "''"));
        assert!(!session.set("sql_log_bin", "0"));
        assert!(!session.set("unique_checks", "0, sql_log_bin=0"));
        assert_eq!(
            session.statements_from(Some(&after(HEADER))),
            ["SET sql_mode='',timestamp=0"]
        );
    }
}
