//! The session that a table's expressions need, as recorded in the index of an archive.

use serde::{Deserialize, Serialize};

use crate::sql::session::Session;
use crate::sql::statement::{ObjectId, quote};

use super::variables::{
    ALLOW_INVALID_DATES, MODES, NO_UNSIGNED_SUBTRACTION, SQL_MODE, Settings, TIME_ZONE, VARIABLES,
};

/// The session settings that a table's expressions need.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// The variables on which the expressions depend, with the values under which they return what is stored.
    #[serde(default)]
    pub settings: Settings,
    /// Number of rows whose values differ from what the expressions return under these settings, at the time of
    /// the backup.
    #[serde(rename = "unlike", default, skip_serializing_if = "is_zero")]
    pub mismatched_rows: u64,
    /// The columns and constraints of the mismatched rows; empty in archives of earlier versions.
    #[serde(rename = "unlike_of", default, skip_serializing_if = "Vec::is_empty")]
    pub mismatched: Vec<String>,
    /// CHECK constraints of MySQL among the expressions: rows satisfy them only under these settings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<String>,
    /// Whether the values that are computed while rows are loaded, with ALLOW_INVALID_DATES, differ from the
    /// stored ones.
    #[serde(rename = "again", default, skip_serializing_if = "std::ops::Not::not")]
    pub differs_when_loading: bool,
    /// The PARTITION BY clause of a table that is partitioned by values to be recomputed: added after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<String>,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Needs {
    /// Whether values have to be recomputed after loading: the sessions that load rows have the time zone UTC, as
    /// the dump's TIMESTAMPs do, and allow invalid dates.
    pub fn recomputes(&self) -> bool {
        let zone = self.settings.get(TIME_ZONE);
        self.differs_when_loading || zone.is_some_and(|zone| zone != "+00:00")
    }

    /// Whether the server may reject the table's definition without NO_UNSIGNED_SUBTRACTION.
    pub fn has_signed_subtraction(&self) -> bool {
        let modes = self.settings.get(SQL_MODE);
        modes.is_some_and(|modes| has_mode(modes, NO_UNSIGNED_SUBTRACTION))
    }

    /// The session in which the table is created.
    pub fn session_to_create(&self, session: &Session) -> Session {
        if self.has_signed_subtraction() {
            session.with_mode(NO_UNSIGNED_SUBTRACTION)
        } else {
            session.clone()
        }
    }

    /// The session in which rows are loaded: all settings except the time zone.
    pub fn session_to_load(&self, session: &Session) -> Session {
        self.settings
            .iter()
            .filter(|(name, _)| *name != TIME_ZONE)
            .fold(session.clone(), with_setting)
    }

    /// The session in which the expressions return the stored values.
    pub fn session_to_compute(&self, session: &Session) -> Session {
        let session = if self.differs_when_loading {
            session.without_mode(ALLOW_INVALID_DATES)
        } else {
            session.clone()
        };
        self.settings.iter().fold(session, with_setting)
    }

    /// Whether a client with the defaults of [`VARIABLES`] and the settings of a dump computes the same.
    pub fn is_default(&self) -> bool {
        let is_default = |(name, value): (&String, &String)| {
            VARIABLES
                .iter()
                .any(|(variable, default)| variable == name && default == value)
        };
        self.settings.iter().all(is_default)
    }

    /// Whether the comparison after a restore skips an expression, because some rows did not hold its result.
    pub fn is_mismatched(&self, name: &str) -> bool {
        self.mismatched_rows > 0
            && (self.mismatched.is_empty() || self.mismatched.iter().any(|one| one == name))
    }

    /// The SQL to execute after the dump, if a plain client loads it, to recompute the stored values; `None` if
    /// the defaults give the same.
    pub fn recomputation(&self, table: &ObjectId) -> Option<String> {
        if self.is_default() {
            return None;
        }
        let mut session = Session::default();
        if !session.set(SQL_MODE, "'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'") {
            return None;
        }
        let set = self
            .session_to_compute(&session)
            .statements_from(None)
            .join("; ");
        let checks: String = self
            .checks
            .iter()
            .map(|name| format!("ALTER CHECK {} ENFORCED, ", quote(name)))
            .collect();
        let partitions: String = self
            .partitions
            .iter()
            .map(|clause| format!("\n{clause}"))
            .collect();
        Some(format!(
            "{set}; ALTER TABLE {} {checks}FORCE, ALGORITHM=COPY{partitions};",
            table.quoted()
        ))
    }

    /// The settings as one SET for any client; `None` if there are none.
    pub fn set_statement(&self) -> Option<String> {
        let session = self.session_to_compute(&Session::default());
        session.statements_from(None).into_iter().next()
    }
}

fn has_mode(modes: &str, mode: &str) -> bool {
    modes.split(',').any(|one| one == mode)
}

/// Adds a setting. Archives are untrusted: a variable other than [`VARIABLES`], a mode other than [`MODES`] and a
/// value that is not a plain literal are ignored.
fn with_setting(mut session: Session, (name, value): (&String, &String)) -> Session {
    if name == SQL_MODE {
        if session.variable(SQL_MODE).is_none() {
            let _ = session.set(SQL_MODE, "''");
        }
        return MODES
            .into_iter()
            .filter(|mode| has_mode(value, mode))
            .fold(session, |session, mode| session.with_mode(mode));
    }
    if VARIABLES.iter().any(|(variable, _)| variable == name) {
        let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        let literal = if is_number {
            value.clone()
        } else {
            format!("'{value}'")
        };
        let _ = session.set(name, &literal);
    }
    session
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_gets_the_needed_settings_and_ignores_invalid_ones() {
        let settings = [
            ("time_zone", "+09:00"),
            ("lc_time_names", "de_DE"),
            ("sql_mode", "STRICT_ALL_TABLES,PAD_CHAR_TO_FULL_LENGTH"),
            ("default_regex_flags", ""),
            ("init_file", "x"),
            ("div_precision_increment", "4', sql_log_bin='0"),
        ];
        let needs = Needs {
            settings: settings.map(|(a, b)| (a.to_owned(), b.to_owned())).into(),
            ..Needs::default()
        };
        let mut session = Session::default();
        assert!(session.set("sql_mode", "'NO_AUTO_VALUE_ON_ZERO'"));
        assert_eq!(
            needs.session_to_compute(&session).statements_from(None),
            [
                "SET default_regex_flags='',lc_time_names='de_DE',sql_mode='NO_AUTO_VALUE_ON_ZERO,PAD_CHAR_TO_FULL_LENGTH',time_zone='+09:00'"
            ]
        );
        assert_eq!(
            needs
                .session_to_load(&session)
                .statements_from(Some(&session)),
            [
                "SET default_regex_flags='',lc_time_names='de_DE',sql_mode='NO_AUTO_VALUE_ON_ZERO,PAD_CHAR_TO_FULL_LENGTH'"
            ]
        );
        assert!(needs.recomputes());
        let invalid_dates = session.with_mode(ALLOW_INVALID_DATES);
        let loaded = needs.session_to_load(&invalid_dates);
        assert!(
            loaded
                .variable("sql_mode")
                .unwrap()
                .contains(ALLOW_INVALID_DATES)
        );
        let again = Needs {
            differs_when_loading: true,
            ..needs
        };
        assert!(
            !again
                .session_to_compute(&invalid_dates)
                .variable("sql_mode")
                .unwrap()
                .contains(ALLOW_INVALID_DATES)
        );
    }
}
