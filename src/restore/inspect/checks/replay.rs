//! What the account needs to make the destination a replica of drctl.

use crate::mysql::compat::super_includes;
use crate::restore::inspect::checks::Checks;
use crate::restore::inspect::refusal::Refusal;

/// Privileges that were split off from SUPER.
const ON_MYSQL: [&str; 3] = [
    "REPLICATION_SLAVE_ADMIN",
    "SYSTEM_VARIABLES_ADMIN",
    "REPLICATION CLIENT",
];

/// The same of MariaDB.
const ON_MARIADB: [&str; 4] = [
    "BINLOG ADMIN",
    "REPLICATION SLAVE ADMIN",
    "REPLICATION MASTER ADMIN",
    "SLAVE MONITOR",
];

/// What SUPER does not include: it removes the channel of the replay, and resets GTIDs.
const RESET: &str = "RELOAD";

impl Checks<'_> {
    pub(super) fn replay(&self) -> Option<Refusal> {
        self.options.replay.as_ref()?;
        let version = &self.facts.version;
        let by_super = super_includes(version) && self.facts.may(&["SUPER"]);
        let split: &[&str] = match version.is_mariadb() {
            true => &ON_MARIADB,
            false => &ON_MYSQL,
        };
        let mut missing: Vec<&str> = split
            .iter()
            .copied()
            .filter(|one| !by_super && !self.facts.may(&[one]))
            .collect();
        missing.extend((!self.facts.may(&[RESET])).then_some(RESET));
        if missing.is_empty() {
            return None;
        }
        let names = missing.join(", ");
        Some(Refusal::new(
            format!("the account lacks privileges to replay the binary log: {names}"),
            format!("GRANT {names} ON *.* TO the account"),
        ))
    }
}
