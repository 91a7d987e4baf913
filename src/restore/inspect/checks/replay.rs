//! What the account needs to replay a binary log.

use crate::mysql::compat::super_includes;
use crate::replay::ReplayPath;
use crate::restore::inspect::checks::Checks;
use crate::restore::inspect::refusal::Refusal;

/// Privileges that make the destination a replica, all of which were split off from SUPER.
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

/// What the client needs: BINLOG statements, and the variables in front of them.
const CLIENT_ON_MYSQL: &str = "REPLICATION_APPLIER";
const CLIENT_ON_MARIADB: &str = "BINLOG REPLAY";

/// What sets `event_scheduler`; on MariaDB it is SUPER.
const SCHEDULER_ON_MYSQL: &str = "SYSTEM_VARIABLES_ADMIN";

impl Checks<'_> {
    /// Rows that a foreign key changed on the target are in no log: without the table that it references, nothing
    /// changes them here.
    pub(super) fn cascades(&self) -> Vec<Refusal> {
        let replays = self.options.replay.is_some();
        let cascades = self.survey.cascades.iter().filter(|_| replays);
        cascades
            .map(|(table, other)| {
                Refusal::new(
                    format!("a foreign key changes {table} with {other}, and such changes are not in the binary log"),
                    format!("add {}.{} to --tables", other.schema, other.name),
                )
            })
            .collect()
    }

    pub(super) fn replay(&self) -> Option<Refusal> {
        let stretch = self.options.replay.as_ref()?;
        let version = &self.facts.version;
        let by_super = super_includes(version) && self.facts.may(&["SUPER"]);
        let is_mariadb = version.is_mariadb();
        let is_on = |name: &str| self.facts.is_on(name);
        let (split, whole): (Vec<&str>, Vec<&str>) = match (&stretch.path, is_mariadb) {
            (ReplayPath::Replica(_), true) => (ON_MARIADB.to_vec(), vec![RESET]),
            (ReplayPath::Replica(_), false) => (ON_MYSQL.to_vec(), vec![RESET]),
            (ReplayPath::Client(_), true) => (
                vec![CLIENT_ON_MARIADB],
                is_on("event_scheduler")
                    .then_some("SUPER")
                    .into_iter()
                    .collect(),
            ),
            (ReplayPath::Client(_), false) => {
                let sets = is_on("event_scheduler").then_some(SCHEDULER_ON_MYSQL);
                let split = [CLIENT_ON_MYSQL].into_iter().chain(sets);
                (split.collect(), vec![])
            }
        };
        let split = split.into_iter().filter(|_| !by_super);
        let needed = split.chain(whole);
        let missing: Vec<&str> = needed.filter(|one| !self.facts.may(&[one])).collect();
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
