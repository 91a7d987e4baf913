//! Session variables of every session of a restore, independent of the server's defaults.
//!
//! A server's global values and its `init_connect` are meant for the application. Some make a restore fail
//! (`transaction_read_only`), some drop connections (`completion_type = RELEASE`), some reject a definition
//! that the target accepted in a session with other values (`innodb_strict_mode`), some change it
//! (`explicit_defaults_for_timestamp`). So each session checks its variables, and sets those that differ.

use std::collections::BTreeMap;

use crate::archive::manifest::Manifest;
use crate::restore::inspect::destination::DestinationFacts;

/// A variable with the value that a restore needs.
#[derive(Debug)]
pub struct Wanted {
    /// Its name.
    pub name: &'static str,
    /// The value, as printed by `SHOW VARIABLES`.
    pub value: &'static str,
    /// Whether a session is unusable without this value.
    demanded: bool,
}

const fn demanded(name: &'static str, value: &'static str) -> Wanted {
    Wanted {
        name,
        value,
        demanded: true,
    }
}

/// A variable that only some backups need, and that needs a privilege, or is read-only in some versions.
const fn where_allowed(name: &'static str, value: &'static str) -> Wanted {
    Wanted {
        name,
        value,
        demanded: false,
    }
}

/// Variables that exist on the server are set; others are skipped.
const WANTED: &[Wanted] = &[
    // Transactions and connections.
    demanded("autocommit", "ON"),
    demanded("completion_type", "NO_CHAIN"),
    demanded("transaction_read_only", "OFF"),
    demanded("tx_read_only", "OFF"),
    demanded("transaction_isolation", "REPEATABLE-READ"),
    demanded("tx_isolation", "REPEATABLE-READ"),
    demanded("idle_transaction_timeout", "0"),
    demanded("idle_readonly_transaction_timeout", "0"),
    demanded("idle_write_transaction_timeout", "0"),
    // Limits of statements. Conflicts are retried; waiting longer for them does not help.
    demanded("lock_wait_timeout", "300"),
    demanded("innodb_lock_wait_timeout", "60"),
    demanded("max_execution_time", "0"),
    demanded("max_statement_time", "0"),
    demanded("sql_safe_updates", "OFF"),
    demanded("sql_big_selects", "ON"),
    demanded("low_priority_updates", "OFF"),
    demanded("big_tables", "OFF"),
    // All warnings about an INSERT are checked, some by their text.
    demanded("max_error_count", "65535"),
    demanded("lc_messages", "en_US"),
    // Rows precede the rows they reference, and were checked when they were written.
    demanded("foreign_key_checks", "OFF"),
    demanded("check_constraint_checks", "OFF"),
    // Changes that a server makes to definitions.
    demanded("sql_require_primary_key", "OFF"),
    demanded("sql_generate_invisible_primary_key", "OFF"),
    demanded("sql_if_exists", "OFF"),
    demanded("innodb_compression_default", "OFF"),
    demanded("alter_algorithm", "DEFAULT"),
    where_allowed("explicit_defaults_for_timestamp", "ON"),
    where_allowed("enforce_storage_engine", ""),
    where_allowed("show_create_table_skip_secondary_engine", "OFF"),
    // Definitions that a server would reject, but accepted in a session with these values.
    demanded("innodb_strict_mode", "OFF"),
    where_allowed(RESTRICT_FK, "OFF"),
];

/// Without it MySQL buffers changes of unique keys.
const WITHOUT_UNIQUE_CHECKS: Wanted = demanded("unique_checks", "OFF");

/// Without it MariaDB locks an empty table as a whole, and buffers its rows until the first statement ends: lanes that
/// share a table wait for each other, and loading took 1.4 times as long.
const WITH_UNIQUE_CHECKS: Wanted = demanded("unique_checks", "ON");

/// The variable that forbids foreign keys referencing non-unique keys.
pub const RESTRICT_FK: &str = "restrict_fk_on_non_standard_key";

/// ER_SPECIFIC_ACCESS_DENIED, ER_INCORRECT_GLOBAL_LOCAL_VAR, ER_GLOBAL_VARIABLE: the account lacks a
/// privilege, or the variable is not a session variable.
const NOT_ALLOWED: [u16; 3] = [1227, 1238, 1229];

/// Variables that a log sets for each of its statements.
const OF_THE_LOG: [&str; 4] = [
    "autocommit",
    "foreign_key_checks",
    "unique_checks",
    "check_constraint_checks",
];

/// The statements that prepare a client on a server with these global variables to replay a log.
pub fn for_a_log(global: &BTreeMap<String, String>) -> Vec<String> {
    let of_the_log = |name: &str| OF_THE_LOG.contains(&name);
    let given = global.iter().filter(|(name, _)| !of_the_log(name));
    let given: Vec<(String, String)> = given
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    changes(&given).into_iter().map(|one| one.sql).collect()
}

/// One statement of [`changes`].
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    /// The statement.
    pub sql: String,
    /// Whether the session is unusable if the server rejects it.
    demanded: bool,
}

impl Change {
    /// Whether the session remains usable if the server rejects the statement with this code.
    pub fn tolerates(&self, code: Option<u16>) -> bool {
        !self.demanded && code.is_some_and(|code| NOT_ALLOWED.contains(&code))
    }
}

/// The statements that bring a session with these variables to the required state.
pub fn changes(given: &[(String, String)]) -> Vec<Change> {
    let is_mariadb = given
        .iter()
        .any(|(name, value)| name.eq_ignore_ascii_case("version") && value.contains("MariaDB"));
    let unique_checks = if is_mariadb {
        &WITH_UNIQUE_CHECKS
    } else {
        &WITHOUT_UNIQUE_CHECKS
    };
    let wanted = WANTED.iter().chain([unique_checks]);
    let differing = wanted.filter(|wanted| {
        let value = given
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted.name));
        value.is_some_and(|(_, value)| !same(value, wanted.value))
    });
    let (demanded, others): (Vec<&Wanted>, Vec<&Wanted>) =
        differing.partition(|wanted| wanted.demanded);
    let all: Vec<String> = demanded.into_iter().map(assignment).collect();
    let first = (!all.is_empty()).then(|| Change {
        sql: format!("SET SESSION {}", all.join(", ")),
        demanded: true,
    });
    let others = others.into_iter().map(|wanted| Change {
        sql: format!("SET SESSION {}", assignment(wanted)),
        demanded: false,
    });
    first.into_iter().chain(others).collect()
}

/// Whether two values of a variable are equal: numbers may be printed with different precision.
fn same(a: &str, b: &str) -> bool {
    let number = |text: &str| text.parse::<f64>().ok();
    a.eq_ignore_ascii_case(b) || number(a).is_some_and(|a| number(b) == Some(a))
}

fn assignment(wanted: &Wanted) -> String {
    let value = match wanted.value {
        "" => "NULL".to_owned(),
        value if value.bytes().all(|byte| byte.is_ascii_digit()) => value.to_owned(),
        value => format!("'{value}'"),
    };
    format!("{} = {value}", wanted.name)
}

/// Warnings about variables that the account may not set in its session although the target had another
/// value.
pub fn warnings(facts: &DestinationFacts, manifest: &Manifest) -> Vec<String> {
    const RIGHTS: [&str; 3] = ["SESSION_VARIABLES_ADMIN", "SYSTEM_VARIABLES_ADMIN", "SUPER"];
    if facts.may(&RIGHTS) {
        return Vec::new();
    }
    let wanted = WANTED.iter().filter(|wanted| !wanted.demanded);
    let differing = wanted.filter_map(|wanted| {
        let theirs = manifest.server.fingerprint.get(wanted.name)?;
        let ours = facts.variables.get(wanted.name)?;
        (!same(ours, theirs) && !same(ours, wanted.value)).then(|| {
            format!(
                "{name} is {ours}, it was {theirs} on the target, and the account may not set \
                 it for its session: grant it SESSION_VARIABLES_ADMIN, or SET GLOBAL {name} = {theirs}",
                name = wanted.name
            )
        })
    });
    differing.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(own).collect()
    }

    fn statements(pairs: &[(&str, &str)]) -> Vec<String> {
        let all = changes(&given(pairs)).into_iter();
        all.map(|change| change.sql).collect()
    }

    #[test]
    fn only_differing_variables_are_set() {
        assert_eq!(
            statements(&[
                ("autocommit", "ON"),
                ("max_statement_time", "0.000000"),
                ("completion_type", "RELEASE"),
                ("tx_read_only", "ON"),
                ("a_variable_of_tomorrow", "ON"),
                ("restrict_fk_on_non_standard_key", "ON"),
                ("enforce_storage_engine", "MyISAM"),
            ]),
            [
                "SET SESSION completion_type = 'NO_CHAIN', tx_read_only = 'OFF'",
                "SET SESSION enforce_storage_engine = NULL",
                "SET SESSION restrict_fk_on_non_standard_key = 'OFF'",
            ]
        );
    }

    #[test]
    fn unique_checks_are_off_on_mysql_and_on_on_mariadb() {
        for (version, given, set) in [
            ("9.7.4", "ON", "SET SESSION unique_checks = 'OFF'"),
            (
                "10.11.19-MariaDB-ubu",
                "OFF",
                "SET SESSION unique_checks = 'ON'",
            ),
        ] {
            assert_eq!(
                statements(&[("version", version), ("unique_checks", given)]),
                [set]
            );
        }
        let default = [("version", "10.11.19-MariaDB"), ("unique_checks", "ON")];
        assert!(statements(&default).is_empty());
    }

    #[test]
    fn only_variables_that_some_backups_need_may_be_rejected() {
        let all = changes(&given(&[
            ("completion_type", "CHAIN"),
            ("restrict_fk_on_non_standard_key", "ON"),
        ]));
        let may = |code| {
            all.iter()
                .map(|change| change.tolerates(code))
                .collect::<Vec<_>>()
        };
        assert_eq!(may(Some(1227)), [false, true]);
        assert_eq!(may(Some(1205)), [false, false]);
        assert_eq!(may(None), [false, false]);
    }
}
