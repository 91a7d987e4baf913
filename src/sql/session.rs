//! The session at a position in a dump: the effect of `USE` and `SET`, by value.
//!
//! A dump saves variables that it changes in user variables (`SET @saved_cs_client = @@character_set_client`) and
//! restores them later. Both are resolved here and never sent to a server: a [`Session`] yields the
//! statements that give the next statement of the dump its original meaning, on a new connection, after a reconnect,
//! or after another frame.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use super::assignment::{Assignment, Setting, Source, is_known, parse_set};
use super::statement::{Kind, Statement, quote};

/// Two variables that set each other.
const CONNECTION: [&str; 2] = ["character_set_connection", "collation_connection"];

/// Variables controlled by the restore, not by the dump. Checks are enabled at the end; and the client of MariaDB
/// 11 and later disables `autocommit` around the rows of a table: enabling it would commit a transaction of the
/// restore.
const NOT_SENT: [&str; 3] = ["autocommit", "foreign_key_checks", "unique_checks"];

/// The current schema, and each session variable with a value other than at the beginning.
///
/// Equality and the serialized form cover what can be set on a connection, not the saved values: if
/// [`Session::at_rest`], nothing else is needed to resume.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(try_from = "Form", into = "Form")]
pub struct Session {
    /// The schema of the last `USE`.
    schema: Option<String>,
    /// The variables that were set, by lower-case name; those with their initial value are absent.
    variables: BTreeMap<String, Setting>,
    /// Values in user variables that were not restored yet; `None` is the initial value.
    saved: BTreeMap<String, Option<(String, Setting)>>,
    /// Whether a DELIMITER other than `;` is in force.
    delimiter_changed: bool,
}

/// The serialized form: permanent, part of the archive's index.
#[derive(Serialize, Deserialize)]
struct Form {
    /// The schema of the last `USE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    schema: Option<String>,
    /// Name → literal, preceded by the opening of its conditional comment and a space, if there is one.
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
    /// Applies a statement of the dump; those that do not affect the session are ignored.
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

    /// The current schema.
    pub fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// The literal that a variable was set to, as written in the dump; `None` if it has its initial value.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(Setting::literal)
    }

    /// Sets a variable to a literal, such as `sql_mode` to `''`. Returns false if dumps do not set this variable, or
    /// the text is not one literal.
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

    /// This session with dates like `2026-02-31` allowed. A table may contain them; the `sql_mode` that mysqldump
    /// sets does not allow them.
    #[must_use]
    pub fn with_invalid_dates(&self) -> Session {
        self.with_mode("ALLOW_INVALID_DATES")
    }

    /// This session with another mode added to its `sql_mode`, if that is set.
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

    /// This session without a mode of its `sql_mode`.
    #[must_use]
    pub fn without_mode(&self, mode: &str) -> Session {
        let mut session = self.clone();
        if let Some(setting) = session.variables.get_mut("sql_mode") {
            let modes = setting.literal().trim_matches('\'').split(',');
            let kept: Vec<&str> = modes.filter(|one| *one != mode).collect();
            if let Some(less) = Setting::new(&format!("'{}'", kept.join(",")), setting.guard()) {
                *setting = less;
            }
        }
        session
    }

    /// The character set of the statements.
    pub fn charset(&self) -> Option<&str> {
        self.variable("character_set_client")
            .map(|literal| literal.trim_matches('\''))
    }

    /// This session for statements and literals in another character set.
    #[must_use]
    pub fn with_charset(&self, charset: &str) -> Session {
        let mut session = self.clone();
        for name in ["character_set_client", "character_set_connection"] {
            // A name of a character set is a literal.
            let _ = session.set(name, charset);
        }
        session
    }

    /// Whether a backslash in quotes is an ordinary character.
    pub fn no_backslash_escapes(&self) -> bool {
        self.variable("sql_mode")
            .is_some_and(|mode| mode.to_ascii_uppercase().contains("NO_BACKSLASH_ESCAPES"))
    }

    /// Whether a frame may end here: no saved value has yet to be restored, except initial values, which a session
    /// from the serialized form restores as well.
    pub fn at_rest(&self) -> bool {
        !self.delimiter_changed && self.saved.values().all(Option::is_none)
    }

    /// The statements that change a connection from `current`, or from a new connection, to this session.
    ///
    /// Variables that are set only in `current` get the server's global value (DEFAULT). No statement begins or ends
    /// a transaction, or changes checks.
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
        for (name, setting) in current.sent() {
            let replaced = siblings(name).any(|name| self.variables.contains_key(name));
            if !replaced {
                let group = by_guard.entry(setting.guard()).or_default();
                group.push(format!("{name}=DEFAULT"));
            }
        }
        for (name, setting) in self.sent() {
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

    /// The variables that are set on a connection.
    fn sent(&self) -> impl Iterator<Item = (&String, &Setting)> {
        self.variables
            .iter()
            .filter(|(name, _)| !NOT_SENT.contains(&name.as_str()))
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

/// The variables that are set together with this one, including itself.
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
    fn a_new_connection_gets_all_settings_in_the_conditional_comments_of_the_dump() {
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
    fn restored_values_are_those_from_before() {
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
    fn invalid_dates_are_allowed_in_addition_to_the_modes_of_the_dump() {
        let header = after(HEADER);
        let sent = header.with_invalid_dates().statements_from(Some(&header));
        let mode = "NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES";
        assert_eq!(sent, [format!("/*!40101 SET sql_mode='{mode}' */")]);
        let empty = after("SET sql_mode='';\n").with_invalid_dates();
        assert_eq!(empty.variable("sql_mode"), Some("'ALLOW_INVALID_DATES'"));
        for same in [Session::default(), after("SET sql_mode=ANSI;\n")] {
            assert_eq!(same.with_invalid_dates(), same);
        }
    }

    #[test]
    fn a_change_of_session_neither_ends_transactions_nor_enables_checks() {
        let around = after("SET @OLD_AUTOCOMMIT=@@AUTOCOMMIT, @@AUTOCOMMIT=0;\nSET sql_mode='';\n");
        assert_eq!(around.statements_from(None), ["SET sql_mode=''"]);
        let behind = Session::default().statements_from(Some(&around));
        assert_eq!(behind, ["SET sql_mode=DEFAULT"]);
    }

    #[test]
    fn an_initial_value_is_restored_as_the_default() {
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
    fn a_deserialized_session_continues_like_the_serialized_one() {
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
    fn a_serialized_session_cannot_inject_statements() {
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
    fn a_session_with_another_delimiter_is_not_at_rest() {
        assert!(!after("DELIMITER ;;\n").at_rest());
        assert!(after("DELIMITER ;;\nDELIMITER ;\n").at_rest());
    }

    #[test]
    fn known_variables_are_set_to_literals_and_no_others() {
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
