//! What every session of a restore has, whatever the server gives to others: one table.
//!
//! A server's global values and its `init_connect` are meant for the application. Some of them stop a
//! restore (`transaction_read_only`), some let it lose connections (`completion_type = RELEASE`), some
//! refuse a definition that the backup's server took from a session that had them otherwise
//! (`innodb_strict_mode`), some change it (`explicit_defaults_for_timestamp`). So a session of a restore
//! looks at what it was given, and sets what differs.

use crate::apply::facts::TargetFacts;
use crate::archive::manifest::Manifest;

/// One variable and what a restore wants of it.
#[derive(Debug)]
pub struct Wanted {
    /// Its name.
    pub name: &'static str,
    /// The value, as `SHOW VARIABLES` prints it.
    pub value: &'static str,
    /// Whether a session that may not have it so is of no use.
    demanded: bool,
}

const fn demanded(name: &'static str, value: &'static str) -> Wanted {
    Wanted {
        name,
        value,
        demanded: true,
    }
}

/// Wanted by some backups only, and refused to accounts without a privilege, or read-only in some versions.
const fn where_allowed(name: &'static str, value: &'static str) -> Wanted {
    Wanted {
        name,
        value,
        demanded: false,
    }
}

/// What a server of either kind has of these is set; what it does not have is passed over.
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
    // Limits of statements. A conflict is repeated; waiting for it longer helps nobody.
    demanded("lock_wait_timeout", "300"),
    demanded("innodb_lock_wait_timeout", "60"),
    demanded("max_execution_time", "0"),
    demanded("max_statement_time", "0"),
    demanded("sql_safe_updates", "OFF"),
    demanded("sql_big_selects", "ON"),
    demanded("low_priority_updates", "OFF"),
    demanded("big_tables", "OFF"),
    // All warnings about an INSERT are looked at.
    demanded("max_error_count", "65535"),
    // Rows come before what they refer to, and were checked where they were written.
    demanded("foreign_key_checks", "OFF"),
    demanded("unique_checks", "OFF"),
    demanded("check_constraint_checks", "OFF"),
    // What a server would do to definitions on its own account.
    demanded("sql_require_primary_key", "OFF"),
    demanded("sql_generate_invisible_primary_key", "OFF"),
    demanded("sql_if_exists", "OFF"),
    demanded("innodb_compression_default", "OFF"),
    demanded("alter_algorithm", "DEFAULT"),
    where_allowed("explicit_defaults_for_timestamp", "ON"),
    where_allowed("enforce_storage_engine", ""),
    where_allowed("show_create_table_skip_secondary_engine", "OFF"),
    // What it would refuse, and took from a session that had these.
    demanded("innodb_strict_mode", "OFF"),
    where_allowed(RESTRICT_FK, "OFF"),
];

/// The variable that forbids foreign keys to what is no unique key.
pub const RESTRICT_FK: &str = "restrict_fk_on_non_standard_key";

/// ER_SPECIFIC_ACCESS_DENIED, ER_INCORRECT_GLOBAL_LOCAL_VAR, ER_GLOBAL_VARIABLE: not for this account, or
/// not for a session.
const NOT_ALLOWED: [u16; 3] = [1227, 1238, 1229];

/// One statement of [`changes`].
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    /// The statement.
    pub sql: String,
    /// Whether the session is of no use where the server refuses it.
    demanded: bool,
}

impl Change {
    /// Whether a session does without where the server answers it by this code.
    pub fn may_fail_by(&self, code: Option<u16>) -> bool {
        !self.demanded && code.is_some_and(|code| NOT_ALLOWED.contains(&code))
    }
}

/// What brings a session with these variables to the one that is wanted.
pub fn changes(given: &[(String, String)]) -> Vec<Change> {
    let differing = WANTED.iter().filter(|wanted| {
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

/// Whether two values of a variable are one: numbers are printed with more or fewer digits.
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

/// What the account of the restore may not set for itself although this backup's server had it otherwise.
pub fn warnings(facts: &TargetFacts, manifest: &Manifest) -> Vec<String> {
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
                "{name} is {ours}, it was {theirs} where the backup was made, and the account may not set \
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

    fn told(pairs: &[(&str, &str)]) -> Vec<String> {
        let all = changes(&given(pairs)).into_iter();
        all.map(|change| change.sql).collect()
    }

    #[test]
    fn a_session_is_told_only_what_it_has_otherwise() {
        assert_eq!(
            told(&[
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
    fn only_what_not_every_backup_needs_may_be_refused() {
        let all = changes(&given(&[
            ("completion_type", "CHAIN"),
            ("restrict_fk_on_non_standard_key", "ON"),
        ]));
        let may = |code| {
            all.iter()
                .map(|change| change.may_fail_by(code))
                .collect::<Vec<_>>()
        };
        assert_eq!(may(Some(1227)), [false, true]);
        assert_eq!(may(Some(1205)), [false, false]);
        assert_eq!(may(None), [false, false]);
    }
}
