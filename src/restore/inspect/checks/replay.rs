//! What the account needs to replay a binary log.

use crate::mysql::compat::super_includes;
use crate::restore::inspect::checks::Checks;
use crate::restore::inspect::destination::DestinationFacts;
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

/// What commits transactions whose GTIDs have tags (MySQL 8.3 and later).
const TAGS: &str = "TRANSACTION_GTID_TAG";

/// What sets `event_scheduler`; on MariaDB it is SUPER.
const SCHEDULER_ON_MYSQL: &str = "SYSTEM_VARIABLES_ADMIN";

impl Checks<'_> {
    /// Not every server logs the rows that a foreign key changed: without the table that it references, nothing changes
    /// them here.
    pub(super) fn cascades(&self) -> Vec<Refusal> {
        let replays = self.options.replay.is_some();
        let cascades = self.survey.cascades.iter().filter(|_| replays);
        cascades
            .map(|(table, other)| {
                Refusal::new(
                    format!("a foreign key changes {table} with {other}, and such changes need not be in the binary log"),
                    format!("add {}.{} to --tables", other.schema, other.name),
                )
            })
            .collect()
    }

    pub(super) fn replay(&self) -> Option<Refusal> {
        let stretch = self.options.replay.as_ref()?;
        let tags = stretch.resolved.plan.expected.has_tags();
        privileges(self.facts, stretch.path.is_client(), tags)
    }
}

/// The privileges that the account lacks; `tags` if the log has GTIDs with tags.
pub fn privileges(facts: &DestinationFacts, by_client: bool, tags: bool) -> Option<Refusal> {
    let version = &facts.version;
    let by_super = super_includes(version) && facts.may(&["SUPER"]);
    let schedules = facts.is_on("event_scheduler");
    let (split, whole): (Vec<&str>, Option<&str>) = match (by_client, version.is_mariadb()) {
        (false, true) => (ON_MARIADB.to_vec(), Some(RESET)),
        (false, false) => (ON_MYSQL.to_vec(), Some(RESET)),
        (true, true) => (vec![CLIENT_ON_MARIADB], schedules.then_some("SUPER")),
        (true, false) => {
            let sets = schedules.then_some(SCHEDULER_ON_MYSQL);
            ([CLIENT_ON_MYSQL].into_iter().chain(sets).collect(), None)
        }
    };
    let split = split.into_iter().filter(|_| !by_super);
    let missing: Vec<&str> = split
        .chain(whole)
        .chain(tags.then_some(TAGS))
        .filter(|one| !facts.may(&[one]))
        .collect();
    if missing.is_empty() {
        return None;
    }
    let names = missing.join(", ");
    Some(Refusal::new(
        format!("the account lacks privileges to replay the binary log: {names}"),
        format!("GRANT {names} ON *.* TO the account"),
    ))
}
