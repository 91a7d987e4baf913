//! The options of the dump programs that every dump is made of, a backup's and a proof's.
//!
//! A proof dumps with those of the backup that it is about, as its manifest names them. Whoever can write
//! the store can write a manifest, so only options that stand here are ever taken from one.

/// The option that adds the history of MariaDB's system-versioned tables.
pub const HISTORY: &str = "dump-history";

/// Whether a program without an option can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The dump would be another without it.
    Always,
    /// Programs that do not know it do what it asks for anyway.
    WhereKnown,
}

/// What every dump is made of.
pub const OPTIONS: &[(&str, Need)] = &[
    // One snapshot without locks; --lock-tables is on by default.
    ("single-transaction", Need::Always),
    ("skip-lock-tables", Need::Always),
    // Rows as they come, about a megabyte of them in a statement.
    ("quick", Need::Always),
    ("extended-insert", Need::Always),
    ("net-buffer-length=1046528", Need::Always),
    ("max-allowed-packet=1G", Need::Always),
    ("hex-blob", Need::Always),
    ("tz-utc", Need::Always),
    // Everything that belongs to a schema.
    ("routines", Need::Always),
    ("triggers", Need::Always),
    ("events", Need::Always),
    ("create-options", Need::Always),
    // A table's lock would keep another stream's rows out, and its keys are our own affair.
    ("skip-add-locks", Need::Always),
    ("skip-disable-keys", Need::Always),
    ("add-drop-table", Need::Always),
    ("quote-names", Need::Always),
    ("set-charset", Need::Always),
    ("default-character-set=utf8mb4", Need::Always),
    // The trailer is one of the proofs that the dump is whole; without a date, equal data make
    // equal dumps.
    ("comments", Need::Always),
    ("skip-dump-date", Need::Always),
    // Tablespaces take PROCESS and belong to the installation; GTIDs belong to the manifest.
    ("no-tablespaces", Need::Always),
    ("set-gtid-purged=OFF", Need::WhereKnown),
    // Histograms: older servers refuse the question for them.
    ("column-statistics=0", Need::WhereKnown),
    // Masking policies take privileges that a backup account has not.
    ("skip-masking-policies", Need::WhereKnown),
    // Lets the server wait a day for a slow store instead of a minute.
    ("network-timeout", Need::WhereKnown),
];

/// Whether drctl gives dump programs this very option by itself.
pub fn is_ours(option: &str) -> bool {
    let Some(option) = option.strip_prefix("--") else {
        return false;
    };
    option == HISTORY || OPTIONS.iter().any(|(ours, _)| *ours == option)
}

/// Whether a dump with these options holds the history of system-versioned tables.
pub fn has_history(options: &[String]) -> bool {
    let mut options = options.iter().filter_map(|one| one.strip_prefix("--"));
    options.any(|option| option == HISTORY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_options_of_a_dump_are_taken_from_a_manifest() {
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
