//! Variables by which a server shows a session less than it holds, or something else, or ends it early,
//! for everybody (SET GLOBAL, `init_connect`, an option file): one table of them.
//!
//! Sessions of ours set each to its value here, and so do those of a dump program that takes a first
//! statement; of one that does not, [`super::whole`] asks the server beforehand what it would meet.

/// What a value of a variable does to a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// It lacks data, or shows others, and ends well.
    Lies,
    /// It fails.
    Fails,
    /// It fails where the store is slow: a time in seconds, of which 0 is none.
    Hurries,
    /// None: the dump program sets it by itself, or only what we read depends on it.
    None,
}

/// One variable.
#[derive(Debug)]
pub struct Limit {
    /// Its name.
    pub name: &'static str,
    /// What begins the conditional comment of the servers that have it; empty where all do.
    guard: &'static str,
    /// What our sessions set it to.
    ours: &'static str,
    /// How the server prints the values that do no harm; empty for [`Harm::Hurries`].
    good: &'static [&'static str],
    /// What others do to a session that cannot set it.
    pub harm: Harm,
    /// What the server then does, behind "the server".
    pub does: &'static str,
}

/// All of them. `DEFAULT` would be what the server has for everybody, but for `system_versioning_asof`
/// (MariaDB 10.11: it is none).
pub const LIMITS: &[Limit] = &[
    Limit {
        name: "sql_select_limit",
        guard: "",
        ours: "18446744073709551615",
        good: &["18446744073709551615"],
        harm: Harm::Lies,
        does: "shows every client only the first rows of a table",
    },
    Limit {
        name: "show_gipk_in_create_table_and_information_schema",
        guard: "/*!80030",
        ours: "ON",
        good: &["ON"],
        harm: Harm::Lies,
        does: "hides generated primary keys",
    },
    Limit {
        name: "system_versioning_asof",
        guard: "/*M!100304",
        ours: "DEFAULT",
        good: &["DEFAULT"],
        harm: Harm::Lies,
        does: "shows every client system-versioned tables as they were at another time",
    },
    // Without the other one, setting this one would set it.
    Limit {
        name: "max_join_size",
        guard: "",
        ours: "18446744073709551615",
        good: &[],
        harm: Harm::None,
        does: "",
    },
    Limit {
        name: "sql_big_selects",
        guard: "",
        ours: "1",
        good: &["ON", "1"],
        harm: Harm::Fails,
        does: "reads no table of more rows than max_join_size",
    },
    Limit {
        name: "max_execution_time",
        guard: "/*!50708",
        ours: "0",
        good: &["0"],
        harm: Harm::Fails,
        does: "ends every query after so many milliseconds",
    },
    // mariadb-dump sets it to 0.
    Limit {
        name: "max_statement_time",
        guard: "/*M!100101",
        ours: "0",
        good: &[],
        harm: Harm::None,
        does: "",
    },
    Limit {
        name: "use_secondary_engine",
        guard: "/*!80013",
        ours: "OFF",
        good: &[],
        harm: Harm::None,
        does: "",
    },
    // Definitions of one table in other words on two servers are a difference.
    Limit {
        name: "show_create_table_verbosity",
        guard: "/*!80011",
        ours: "OFF",
        good: &["OFF"],
        harm: Harm::Lies,
        does: "writes definitions with options that they were not given",
    },
    // What a client complains of is read by people who read this.
    Limit {
        name: "lc_messages",
        guard: "",
        ours: "'en_US'",
        good: &[],
        harm: Harm::None,
        does: "",
    },
    Limit {
        name: "net_write_timeout",
        guard: "",
        ours: "3600",
        good: &[],
        harm: Harm::Hurries,
        does: "",
    },
    Limit {
        name: "wait_timeout",
        guard: "",
        ours: "604800",
        good: &[],
        harm: Harm::Hurries,
        does: "",
    },
    Limit {
        name: "idle_transaction_timeout",
        guard: "/*M!100300",
        ours: "0",
        good: &[],
        harm: Harm::Hurries,
        does: "",
    },
    Limit {
        name: "idle_readonly_transaction_timeout",
        guard: "/*M!100300",
        ours: "0",
        good: &[],
        harm: Harm::Hurries,
        does: "",
    },
];

/// What a store may take to go on, seconds, at the least.
pub const ENOUGH_SECONDS: u64 = 600;

impl Limit {
    /// Whether a value, as the server prints it, harms a session that cannot set another.
    pub fn harms(&self, value: &str) -> bool {
        match self.harm {
            Harm::None => false,
            Harm::Hurries => {
                let seconds = value.parse::<u64>();
                seconds.is_ok_and(|seconds| seconds > 0 && seconds < ENOUGH_SECONDS)
            }
            Harm::Lies | Harm::Fails => !self.good.iter().any(|it| it.eq_ignore_ascii_case(value)),
        }
    }

    /// How to set it for everybody.
    pub fn fix(&self) -> String {
        let value = match self.harm {
            Harm::Hurries => ENOUGH_SECONDS.to_string(),
            _ => self.ours.to_owned(),
        };
        format!("SET GLOBAL {} = {value}", self.name)
    }
}

/// The assignments of all of them, for a `SET` that every server takes; first one that every server has.
pub fn assignments() -> String {
    let assign = |limit: &Limit| {
        let Limit {
            name, guard, ours, ..
        } = limit;
        match guard.is_empty() {
            true => format!(", {name} = {ours}"),
            false => format!(" {guard} , {name} = {ours} */"),
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
    fn a_value_harms_by_what_it_does() {
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
