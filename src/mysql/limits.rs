//! Table of server variables that hide data from a session or end it early, if set globally, by `init_connect` or in
//! an option file; see [`crate::mysql::unfiltered_session`].

/// Effect of a harmful value on a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// The dump succeeds with missing or different data.
    WrongData,
    /// The dump fails.
    Fails,
    /// The dump fails if the store is slow; the value is a time in seconds, 0 for no limit.
    EndsSlowDump,
    /// None: the dump program sets the variable itself, or only drctl's own queries depend on it.
    None,
}

/// One variable.
#[derive(Debug)]
pub struct Limit {
    /// Name of the variable.
    pub name: &'static str,
    /// Start of the conditional comment for the servers that have the variable; empty if all do.
    guard: &'static str,
    /// Value in our sessions.
    ours: &'static str,
    /// Harmless values, as printed by the server; empty for [`Harm::EndsSlowDump`].
    harmless: &'static [&'static str],
    /// Effect of other values on a session that cannot set the variable.
    pub harm: Harm,
    /// Description of the effect, to follow "the server".
    pub effect: &'static str,
}

/// All variables. `DEFAULT` would be the global value, except for `system_versioning_asof`, where it means none
/// (MariaDB 10.11).
pub const LIMITS: &[Limit] = &[
    Limit {
        name: "sql_select_limit",
        guard: "",
        ours: "18446744073709551615",
        harmless: &["18446744073709551615"],
        harm: Harm::WrongData,
        effect: "shows every client only the first rows of a table",
    },
    Limit {
        name: "show_gipk_in_create_table_and_information_schema",
        guard: "/*!80030",
        ours: "ON",
        harmless: &["ON"],
        harm: Harm::WrongData,
        effect: "hides generated primary keys",
    },
    Limit {
        name: "system_versioning_asof",
        guard: "/*M!100304",
        ours: "DEFAULT",
        harmless: &["DEFAULT"],
        harm: Harm::WrongData,
        effect: "shows every client system-versioned tables as they were at another time",
    },
    // Setting max_join_size would reset sql_big_selects, which follows.
    Limit {
        name: "max_join_size",
        guard: "",
        ours: "18446744073709551615",
        harmless: &[],
        harm: Harm::None,
        effect: "",
    },
    Limit {
        name: "sql_big_selects",
        guard: "",
        ours: "1",
        harmless: &["ON", "1"],
        harm: Harm::Fails,
        effect: "refuses to read tables with more rows than max_join_size",
    },
    Limit {
        name: "max_execution_time",
        guard: "/*!50708",
        ours: "0",
        harmless: &["0"],
        harm: Harm::Fails,
        effect: "ends every query after that many milliseconds",
    },
    // mariadb-dump sets it to 0.
    Limit {
        name: "max_statement_time",
        guard: "/*M!100101",
        ours: "0",
        harmless: &[],
        harm: Harm::None,
        effect: "",
    },
    Limit {
        name: "use_secondary_engine",
        guard: "/*!80013",
        ours: "OFF",
        harmless: &[],
        harm: Harm::None,
        effect: "",
    },
    // Otherwise the definitions of one table may differ between two servers.
    Limit {
        name: "show_create_table_verbosity",
        guard: "/*!80011",
        ours: "OFF",
        harmless: &["OFF"],
        harm: Harm::WrongData,
        effect: "writes definitions with options that they were not given",
    },
    // Error messages of clients appear in drctl's own, which are in English.
    Limit {
        name: "lc_messages",
        guard: "",
        ours: "'en_US'",
        harmless: &[],
        harm: Harm::None,
        effect: "",
    },
    Limit {
        name: "net_write_timeout",
        guard: "",
        ours: "3600",
        harmless: &[],
        harm: Harm::EndsSlowDump,
        effect: "",
    },
    Limit {
        name: "wait_timeout",
        guard: "",
        ours: "604800",
        harmless: &[],
        harm: Harm::EndsSlowDump,
        effect: "",
    },
    Limit {
        name: "idle_transaction_timeout",
        guard: "/*M!100300",
        ours: "0",
        harmless: &[],
        harm: Harm::EndsSlowDump,
        effect: "",
    },
    Limit {
        name: "idle_readonly_transaction_timeout",
        guard: "/*M!100300",
        ours: "0",
        harmless: &[],
        harm: Harm::EndsSlowDump,
        effect: "",
    },
];

/// Minimum timeout that allows for a slow store, seconds.
pub const ENOUGH_SECONDS: u64 = 600;

impl Limit {
    /// Whether a value, as printed by the server, harms a session that cannot change it.
    pub fn harms(&self, value: &str) -> bool {
        match self.harm {
            Harm::None => false,
            Harm::EndsSlowDump => {
                let seconds = value.parse::<u64>();
                seconds.is_ok_and(|seconds| seconds > 0 && seconds < ENOUGH_SECONDS)
            }
            Harm::WrongData | Harm::Fails => !self
                .harmless
                .iter()
                .any(|one| one.eq_ignore_ascii_case(value)),
        }
    }

    /// The statement that sets a harmless value globally.
    pub fn fix(&self) -> String {
        let value = match self.harm {
            Harm::EndsSlowDump => ENOUGH_SECONDS.to_string(),
            _ => self.ours.to_owned(),
        };
        format!("SET GLOBAL {} = {value}", self.name)
    }
}

/// All assignments, for one `SET` that every server accepts. The first variable exists on every server.
pub fn assignments() -> String {
    let assign = |limit: &Limit| {
        let Limit {
            name, guard, ours, ..
        } = limit;
        if guard.is_empty() {
            format!(", {name} = {ours}")
        } else {
            format!(" {guard} , {name} = {ours} */")
        }
    };
    let all: String = LIMITS.iter().map(assign).collect();
    all.trim_start_matches([',', ' ']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_assignments_are_one_list_for_every_server() {
        let all = assignments();
        for part in [
            "sql_select_limit = 18446744073709551615 /*!80030 , ",
            " /*M!100304 , system_versioning_asof = DEFAULT */, max_join_size = ",
            "lc_messages = 'en_US', ",
        ] {
            assert!(all.contains(part), "{all}");
        }
    }

    #[test]
    fn harmful_values_are_recognised() {
        let harms = |name: &str, value: &str| {
            let limit = LIMITS.iter().find(|limit| limit.name == name).unwrap();
            limit.harms(value)
        };
        for (name, value, expected) in [
            ("sql_select_limit", "18446744073709551615", false),
            ("sql_select_limit", "10", true),
            ("system_versioning_asof", "DEFAULT", false),
            ("system_versioning_asof", "2020-01-01 00:00:00.000000", true),
            ("sql_big_selects", "on", false),
            ("sql_big_selects", "OFF", true),
            ("wait_timeout", "599", true),
            ("wait_timeout", "28800", false),
            ("idle_transaction_timeout", "0", false),
            ("max_statement_time", "1.000000", false),
        ] {
            assert_eq!(harms(name, value), expected, "{name} {value}");
        }
    }
}
