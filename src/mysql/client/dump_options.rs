//! Options of the dump program for all dumps: those of backups and those of comparisons.
//!
//! A comparison dumps with the options recorded in the manifest of the backup. Since a manifest can be written by anyone
//! with write access to the store, only options listed here are used from it.

/// Includes the history of MariaDB's system-versioned tables.
pub const HISTORY: &str = "dump-history";

/// Whether an option is required.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Required: the dump would be different without it.
    Always,
    /// Used if supported; programs without it behave this way anyway.
    WhereKnown,
}

/// The options, without dashes.
pub const OPTIONS: &[(&str, Need)] = &[
    // A snapshot without locks; --lock-tables is on by default.
    ("single-transaction", Need::Always),
    ("skip-lock-tables", Need::Always),
    // Unbuffered rows, about 1 MB per statement.
    ("quick", Need::Always),
    ("extended-insert", Need::Always),
    ("net-buffer-length=1046528", Need::Always),
    ("max-allowed-packet=1G", Need::Always),
    ("hex-blob", Need::Always),
    ("tz-utc", Need::Always),
    // All objects of a schema.
    ("routines", Need::Always),
    ("triggers", Need::Always),
    ("events", Need::Always),
    ("create-options", Need::Always),
    // LOCK TABLES would block other connections of a restore, which also handles keys itself.
    ("skip-add-locks", Need::Always),
    ("skip-disable-keys", Need::Always),
    ("add-drop-table", Need::Always),
    ("quote-names", Need::Always),
    ("set-charset", Need::Always),
    ("default-character-set=utf8mb4", Need::Always),
    // The trailer shows that the dump is complete; without a date, equal data yield equal dumps.
    ("comments", Need::Always),
    ("skip-dump-date", Need::Always),
    // Tablespaces need PROCESS and belong to the installation; GTIDs are in the manifest.
    ("no-tablespaces", Need::Always),
    ("set-gtid-purged=OFF", Need::WhereKnown),
    // Older servers do not support the queries for histograms.
    ("column-statistics=0", Need::WhereKnown),
    // Masking policies need privileges that a backup account does not have.
    ("skip-masking-policies", Need::WhereKnown),
    // The server then waits a day for a slow store instead of a minute.
    ("network-timeout", Need::WhereKnown),
];

/// Whether drctl itself uses exactly this option.
pub fn is_ours(option: &str) -> bool {
    let Some(option) = option.strip_prefix("--") else {
        return false;
    };
    option == HISTORY || OPTIONS.iter().any(|(ours, _)| *ours == option)
}

/// Whether a dump with these options contains the history of system-versioned tables.
pub fn has_history(options: &[String]) -> bool {
    let mut options = options.iter().filter_map(|one| one.strip_prefix("--"));
    options.any(|option| option == HISTORY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_options_are_used_from_a_manifest() {
        for ours in ["--quick", "--max-allowed-packet=1G", "--dump-history"] {
            assert!(is_ours(ours), "{ours}");
        }
        for other in [
            "--init-command=CREATE USER evil",
            "--host=elsewhere",
            "--plugin-dir=/tmp",
            "--result-file=/tmp/x",
            "--max-allowed-packet=1K",
            "--where=0",
            "--databases",
            "quick",
            "-r/tmp/x",
            "",
        ] {
            assert!(!is_ours(other), "{other}");
        }
    }
}
