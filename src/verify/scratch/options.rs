//! Server options of drctl's own scratch servers: what the backup needs, what the profile sets, and nothing
//! that reaches outside.
//!
//! No I/O. The manifest is untrusted (write access to the bucket must not give control of this machine), so
//! only known variables are taken from it, and only values of harmless characters.

use std::collections::BTreeMap;

use crate::monitor::report::model::Profile;
use crate::mysql::{Flavour, ServerVersion};
use crate::verify::scratch::data_dir::NO_KEYS;

/// Variables that data and definitions depend on; set as on the target.
const DATA_VARIABLES: &[&str] = &[
    "character_set_collations",
    "character_set_filesystem",
    "character_set_server",
    "collation_server",
    "explicit_defaults_for_timestamp",
    "ft_max_word_len",
    "ft_min_word_len",
    "innodb_default_row_format",
    "innodb_file_per_table",
    "innodb_ft_enable_stopword",
    "innodb_ft_max_token_size",
    "innodb_ft_min_token_size",
    "log_bin_trust_function_creators",
    "max_heap_table_size",
    "ngram_token_size",
    "old_mode",
    "partial_revokes",
    "sql_mode",
];

/// Variables that can only be set when a server's data are initialised.
const FILE_VARIABLES: &[&str] = &["lower_case_table_names", "innodb_page_size"];

/// Variables of durability, set by the profile `production`; `log_bin` belongs to them.
pub const DURABILITY_VARIABLES: &[&str] = &[
    "innodb_doublewrite",
    "innodb_flush_log_at_trx_commit",
    "sync_binlog",
];

/// Options that are the same for every backup: no background events, no limit on row sizes, and the plain
/// client can create whatever a session of the target could.
const FIXED: [&str; 7] = [
    "event-scheduler=OFF",
    "performance-schema=OFF",
    // The rows of a restore; its own clients ask for no files.
    "local-infile=ON",
    "loose-mysqlx=OFF",
    "innodb-strict-mode=OFF",
    "loose-restrict-fk-on-non-standard-key=OFF",
    "loose-check-constraint-checks=OFF",
];

/// Without these MySQL is no replica that is positioned by GTIDs.
const WITH_GTIDS: [&str; 2] = ["gtid-mode=ON", "enforce-gtid-consistency=ON"];

/// Minimum and maximum of the buffer pool in bytes.
const BUFFER_POOL: (u64, u64) = (128 << 20, 64 << 30);

/// Minimum and maximum size of the redo log in bytes.
const REDO_LOG: (u64, u64) = (64 << 20, 1 << 30);

/// Parameters of the options of a scratch server.
#[derive(Debug, Clone, Copy)]
pub struct ServerOptions<'a> {
    /// Version of the scratch server.
    pub version: &'a ServerVersion,
    /// Variables of the target server, from the manifest.
    pub fingerprint: &'a BTreeMap<String, String>,
    /// Bytes of data and indexes on the target.
    pub data_bytes: u64,
    /// Longest statement of the backup in bytes.
    pub longest_bytes: u64,
    /// Available memory in bytes.
    pub memory_bytes: u64,
    /// Durability settings.
    pub profile: Profile,
    /// Whether the server must be reachable by TCP, not only through its socket.
    pub network: bool,
    /// Whether a binary log will be replayed into the server.
    pub replays: bool,
}

impl ServerOptions<'_> {
    /// Options for initialising the data.
    pub fn initialisation(&self) -> Vec<String> {
        self.target_values(FILE_VARIABLES).map(option).collect()
    }

    /// Options for running the server, those for its files included.
    pub fn running(&self) -> Vec<String> {
        let mut all = self.initialisation();
        all.extend(self.target_values(DATA_VARIABLES).map(option));
        all.extend(self.settings().into_iter().map(option));
        // For repeated options, the last one applies.
        all.extend(FIXED.iter().map(|one| format!("--{one}")));
        all.push(format!("--max-allowed-packet={}", self.packet_bytes()));
        if self.replays && self.version.flavour == Flavour::MySql {
            all.extend(WITH_GTIDS.iter().map(|one| format!("--{one}")));
        }
        if !self.network {
            all.push("--skip-networking".to_owned());
            // Some servers create a certificate first, which can take ten seconds.
            all.push("--loose-ssl=0".to_owned());
            all.extend(NO_KEYS.map(str::to_owned));
        }
        all
    }

    /// Settings that the profile covers, for the report.
    pub fn settings(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::from([(
            "innodb_buffer_pool_size".to_owned(),
            self.buffer_pool_bytes().to_string(),
        )]);
        let redo = self.redo_log_bytes().to_string();
        let mut set = |name: &str, value: &str| {
            all.insert(name.to_owned(), value.to_owned());
        };
        if self.version.flavour == Flavour::MySql {
            set("innodb_redo_log_capacity", &redo);
        } else {
            set("innodb_log_file_size", &redo);
        }
        if self.profile == Profile::Relaxed {
            set("skip_log_bin", "ON");
            set("innodb_doublewrite", "OFF");
            set("innodb_flush_log_at_trx_commit", "0");
            set("innodb_flush_method", "nosync");
            return all;
        }
        for (name, value) in self.target_values(DURABILITY_VARIABLES) {
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

    /// `max_allowed_packet` of the target, since it truncates results of functions (`REPEAT`); the maximum if a
    /// statement of the backup may not fit.
    fn packet_bytes(&self) -> u64 {
        const MAX_BYTES: u64 = 1 << 30;
        const PACKET_OVERHEAD_BYTES: u64 = 1 << 20;
        let had = self.fingerprint.get("max_allowed_packet");
        had.and_then(|bytes| bytes.parse().ok())
            .filter(|bytes| self.longest_bytes.saturating_add(PACKET_OVERHEAD_BYTES) <= *bytes)
            .map_or(MAX_BYTES, |bytes: u64| bytes.min(MAX_BYTES))
    }

    /// Enough for the data and a little more, within the available memory.
    fn buffer_pool_bytes(&self) -> u64 {
        let wanted = self.data_bytes.saturating_add(self.data_bytes / 4);
        let (min, max) = BUFFER_POOL;
        let whole = wanted.min(self.memory_bytes / 2).clamp(min, max);
        whole >> 20 << 20
    }

    /// Some servers want ten times the longest row. All of it is allocated when the server starts.
    fn redo_log_bytes(&self) -> u64 {
        let (min, max) = REDO_LOG;
        let wanted = self.data_bytes.saturating_mul(10).clamp(min, max);
        wanted >> 20 << 20
    }

    fn target_values<'a>(
        &'a self,
        names: &'a [&'static str],
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        names.iter().filter_map(|name| {
            let value = self.fingerprint.get(*name)?;
            is_harmless(value).then_some((*name, value.as_str()))
        })
    }
}

/// An option with `loose-`: an unknown variable of another version is ignored; a wrong value of a known one
/// fails.
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
        let options = ServerOptions {
            version: &version,
            fingerprint: &fingerprint,
            data_bytes: 1 << 30,
            longest_bytes: 1 << 24,
            memory_bytes: 1 << 30,
            profile,
            network: false,
            replays: false,
        };
        options.running()
    }

    #[test]
    fn a_manifest_can_set_no_variables_but_those_of_its_data() {
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
    fn only_the_production_profile_is_as_durable_as_the_target() {
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
    fn the_buffer_pool_fits_the_data_and_takes_at_most_half_of_the_memory() {
        let pool = |options: Vec<String>| {
            let name = "--loose-innodb-buffer-pool-size=";
            let pool = options
                .iter()
                .find_map(|one| one.strip_prefix(name).map(str::to_owned));
            pool.unwrap().parse::<u64>().unwrap()
        };
        assert_eq!(pool(options(&[], Profile::Relaxed)), 512 << 20);
    }

    #[test]
    fn max_allowed_packet_is_that_of_the_target_unless_a_statement_would_not_fit() {
        let packet = |had: &[(&str, &str)]| {
            let all = options(had, Profile::Relaxed);
            let packets = all
                .iter()
                .filter_map(|one| one.strip_prefix("--max-allowed-packet="));
            packets.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(packet(&[("max_allowed_packet", "67108864")]), ["67108864"]);
        assert_eq!(
            packet(&[("max_allowed_packet", "16777216")]),
            ["1073741824"]
        );
        assert_eq!(packet(&[("max_allowed_packet", "1 --x")]), ["1073741824"]);
        assert_eq!(packet(&[]), ["1073741824"]);
    }
}
