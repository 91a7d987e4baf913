//! The session variables on which an expression may depend.

use std::collections::BTreeMap;

/// Values of session variables, by name.
pub type Settings = BTreeMap<String, String>;

/// The variables, with their default values. `time_zone` and `sql_mode` are those of
/// the dump's own session.
pub const VARIABLES: [(&str, &str); 7] = [
    ("block_encryption_mode", "aes-128-ecb"),
    (DEFAULT_COLLATION, "utf8mb4_0900_ai_ci"),
    (DEFAULT_REGEX_FLAGS, ""),
    ("div_precision_increment", "4"),
    ("lc_time_names", "en_US"),
    (SQL_MODE, ""),
    (TIME_ZONE, "+00:00"),
];

/// Determines the value as which a TIMESTAMP is read.
pub const TIME_ZONE: &str = "time_zone";

/// A set of modes; an expression depends on single ones of them ([`MODES`]).
pub const SQL_MODE: &str = "sql_mode";

/// How literals of utf8mb4 are compared (MySQL). Setting it requires a privilege, so a session sets only values
/// other than the server's own.
pub const DEFAULT_COLLATION: &str = "default_collation_for_utf8mb4";

/// How MariaDB matches regular expressions.
pub const DEFAULT_REGEX_FLAGS: &str = "default_regex_flags";

/// Makes a negative difference of unsigned numbers a number instead of an error. MariaDB (1901) and partitions
/// (1563) accept some definitions only with it.
pub const NO_UNSIGNED_SUBTRACTION: &str = "NO_UNSIGNED_SUBTRACTION";

/// Makes `2026-02-31` a valid date. Every session that loads rows sets it, since tables may contain such dates.
pub const ALLOW_INVALID_DATES: &str = "ALLOW_INVALID_DATES";

/// How backslashes are parsed. No expression is computed under it: an ALTER in such a session doubles the
/// backslashes of the definition.
pub(super) const NO_BACKSLASH_ESCAPES: &str = "NO_BACKSLASH_ESCAPES";

/// Whether a CHAR is read with its trailing spaces.
pub(super) const PAD_CHAR_TO_FULL_LENGTH: &str = "PAD_CHAR_TO_FULL_LENGTH";

/// Whether fractional seconds are truncated or rounded.
pub(super) const TIME_TRUNCATE_FRACTIONAL: &str = "TIME_TRUNCATE_FRACTIONAL";

/// The modes that change the result of an expression and reject no row: those that the session of a restore can
/// have. Others (NO_ZERO_DATE, the strict modes) would reject rows.
pub const MODES: [&str; 4] = [
    ALLOW_INVALID_DATES,
    NO_UNSIGNED_SUBTRACTION,
    PAD_CHAR_TO_FULL_LENGTH,
    TIME_TRUNCATE_FRACTIONAL,
];

/// Dependencies of every temporal value, and of every text that is converted to one.
pub(super) const TEMPORAL: &[&str] = &[ALLOW_INVALID_DATES, TIME_TRUNCATE_FRACTIONAL];

/// The variable to which a dependency belongs: itself, or `sql_mode` for a mode.
pub fn variable_of(dependency: &'static str) -> &'static str {
    let is_mode = dependency.starts_with(|c: char| c.is_ascii_uppercase());
    if is_mode { SQL_MODE } else { dependency }
}

/// Every dependency there is, for a function about which nothing is known.
pub(super) fn all_dependencies() -> Vec<&'static str> {
    let variables = VARIABLES.iter().map(|(variable, _)| *variable);
    let variables = variables.filter(|variable| *variable != SQL_MODE);
    variables
        .chain(MODES)
        .chain([NO_BACKSLASH_ESCAPES])
        .collect()
}
