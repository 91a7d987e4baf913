//! The options of a scratch server of drctl's own: what the backup needs, what the profile says, and nothing
//! that reaches outside.
//!
//! Pure. The manifest is not to be trusted (who can write the bucket must not own this machine), so
//! only known variables are taken from it, and only values made of harmless characters.

use std::collections::BTreeMap;

use crate::report::model::Profile;
use crate::server::{Flavour, ServerVersion};

/// Variables that data and definitions depend on, as the server that was dumped had them.
const OF_THE_DATA: &[&str] = &[
    "character_set_collations",
    "character_set_filesystem",
    "character_set_server",
    "collation_server",
    "explicit_defaults_for_timestamp",
    "ft_max_word_len",
    "ft_min_word_len",
    "innodb_default_row_format",
    "innodb_file_per_table",
    "innodb_ft_max_token_size",
    "innodb_ft_min_token_size",
    "log_bin_trust_function_creators",
    "ngram_token_size",
    "old_mode",
    "partial_revokes",
    "sql_mode",
];

/// Those that can only be chosen when a server makes its data.
const OF_THE_FILES: &[&str] = &["lower_case_table_names", "innodb_page_size"];

/// Variables of durability, which the profile `production` takes over; `log_bin` goes with them.
pub const OF_DURABILITY: &[&str] = &[
    "innodb_doublewrite",
    "innodb_flush_log_at_trx_commit",
    "sync_binlog",
];

/// What no backup changes: nothing runs by itself, no row is too long, and what a session of the server that was
/// dumped could make, the plain client can.
const FIXED: [&str; 8] = [
    "event-scheduler=OFF",
    "max-allowed-packet=1G",
    "performance-schema=OFF",
    "local-infile=OFF",
    "loose-mysqlx=OFF",
    "innodb-strict-mode=OFF",
    "loose-restrict-fk-on-non-standard-key=OFF",
    "loose-check-constraint-checks=OFF",
];

/// The least and the most memory for pages, bytes.
const BUFFER_POOL: (u64, u64) = (128 << 20, 64 << 30);

/// What a scratch server is fitted to.
#[derive(Debug, Clone, Copy)]
pub struct Fit<'a> {
    /// The server that will run.
    pub version: &'a ServerVersion,
    /// What the server that was dumped had set.
    pub fingerprint: &'a BTreeMap<String, String>,
    /// Data and indexes there, bytes.
    pub data_bytes: u64,
    /// Memory that may be taken, bytes.
    pub memory_bytes: u64,
    /// How durable it is.
    pub profile: Profile,
    /// Whether anybody can come in but by its socket.
    pub network: bool,
}

impl Fit<'_> {
    /// The options for making its data.
    pub fn files(&self) -> Vec<String> {
        self.taken(OF_THE_FILES).map(option).collect()
    }

    /// The options for running it, those of its files included.
    pub fn running(&self) -> Vec<String> {
        let mut all = self.files();
        all.extend(self.taken(OF_THE_DATA).map(option));
        all.extend(self.settings().into_iter().map(option));
        // What a server is told last, holds.
        all.extend(FIXED.iter().map(|one| format!("--{one}")));
        if !self.network {
            all.push("--skip-networking".to_owned());
            // Some make a certificate of their own first, which can take ten seconds.
            all.push("--loose-ssl=0".to_owned());
        }
        all
    }

    /// The settings that make up the profile, for the report.
    pub fn settings(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::from([(
            "innodb_buffer_pool_size".to_owned(),
            self.buffer_pool_bytes().to_string(),
        )]);
        let mut set = |name: &str, value: &str| {
            all.insert(name.to_owned(), value.to_owned());
        };
        if self.version.flavour == Flavour::MySql {
            set("innodb_redo_log_capacity", "1073741824");
        } else {
            set("innodb_log_file_size", "1073741824");
        }
        if self.profile == Profile::Relaxed {
            set("skip_log_bin", "ON");
            set("innodb_doublewrite", "OFF");
            set("innodb_flush_log_at_trx_commit", "0");
            set("innodb_flush_method", "nosync");
            return all;
        }
        for (name, value) in self.taken(OF_DURABILITY) {
            set(name, value);
        }
        if self
            .fingerprint
            .get("log_bin")
            .is_some_and(|on| on == "OFF")
        {
            set("skip_log_bin", "ON");
        } else {
            set("log_bin", "binlog");
            set("server_id", "1");
        }
        all
    }

    /// Room for the data and a little more, within what the machine can spare.
    fn buffer_pool_bytes(&self) -> u64 {
        let wanted = self.data_bytes.saturating_add(self.data_bytes / 4);
        let (least, most) = BUFFER_POOL;
        let whole = wanted.min(self.memory_bytes / 2).clamp(least, most);
        whole >> 20 << 20
    }

    fn taken<'a>(&'a self, names: &'a [&'static str]) -> impl Iterator<Item = (&'a str, &'a str)> {
        names.iter().filter_map(|name| {
            let value = self.fingerprint.get(*name)?;
            is_harmless(value).then_some((*name, value.as_str()))
        })
    }
}

/// An unknown variable of another version is nothing to fail on; a wrong value of a known one is.
fn option<N: AsRef<str>, V: AsRef<str>>((name, value): (N, V)) -> String {
    let (name, value) = (name.as_ref().replace('_', "-"), value.as_ref());
    match name.as_str() {
        "skip-log-bin" => "--skip-log-bin".to_owned(),
        _ => format!("--loose-{name}={value}"),
    }
}

fn is_harmless(value: &str) -> bool {
    value
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"_,.:+- =".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)], profile: Profile) -> Vec<String> {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()));
        let fingerprint: BTreeMap<String, String> = pairs.collect();
        let version = ServerVersion::parse("9.7.4", "").unwrap();
        let fit = Fit {
            version: &version,
            fingerprint: &fingerprint,
            data_bytes: 1 << 30,
            memory_bytes: 1 << 30,
            profile,
            network: false,
        };
        fit.running()
    }

    #[test]
    fn a_manifest_can_name_no_variable_but_those_of_its_data() {
        let given = options(
            &[
                ("collation_server", "utf8mb4_bin"),
                ("init_file", "/tmp/evil.sql"),
                ("plugin_load_add", "evil.so"),
                ("skip_networking", "0"),
                ("sql_mode", "ANSI_QUOTES' --init-file=/x"),
                ("event_scheduler", "ON"),
            ],
            Profile::Relaxed,
        );
        assert!(given.contains(&"--loose-collation-server=utf8mb4_bin".to_owned()));
        for never in ["evil", "/x", "networking=0", "scheduler=ON"] {
            assert!(!given.iter().any(|one| one.contains(never)), "{never}");
        }
        assert!(given.contains(&"--skip-networking".to_owned()));
    }

    #[test]
    fn only_the_production_profile_is_as_durable_as_the_source() {
        let durable = [
            ("innodb_flush_log_at_trx_commit", "1"),
            ("sync_binlog", "1"),
            ("log_bin", "ON"),
        ];
        let production = options(&durable, Profile::Production);
        assert!(production.contains(&"--loose-sync-binlog=1".to_owned()));
        assert!(production.contains(&"--loose-log-bin=binlog".to_owned()));
        let relaxed = options(&durable, Profile::Relaxed);
        assert!(relaxed.contains(&"--loose-innodb-flush-log-at-trx-commit=0".to_owned()));
        assert!(relaxed.contains(&"--skip-log-bin".to_owned()));
        assert!(!relaxed.iter().any(|one| one.contains("sync-binlog")));
    }

    #[test]
    fn the_pages_get_room_for_the_data_and_not_more_than_half_of_the_machine() {
        let pool = |options: Vec<String>| {
            let name = "--loose-innodb-buffer-pool-size=";
            let pool = options
                .iter()
                .find_map(|one| one.strip_prefix(name).map(str::to_owned));
            pool.unwrap().parse::<u64>().unwrap()
        };
        assert_eq!(pool(options(&[], Profile::Relaxed)), 512 << 20);
    }
}
